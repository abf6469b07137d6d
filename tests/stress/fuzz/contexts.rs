//! Contexts and their handles.

use super::{
    destructor::Destructor,
    kinds::Kind,
    model::Model,
    needs::Plan,
    panics::never,
    target::{Door, Target},
    values::{Value, own_value},
    world::{At, Ctx, World},
};
use crate::common::{Dice, lock};
use headcount::{Context, ContextBuilder, OnFailure, State};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

/// Contexts below each other, at the most.
const DEPTH: usize = 6;

pub(crate) fn open(world: &Arc<World>, dice: &mut Dice, _: At) {
    open_any(world, &[], dice);
}

/// One that needs others, which may be closed.
pub(crate) fn open_needing(world: &Arc<World>, dice: &mut Dice, _: At) {
    let needs = 1 + dice.below(8) / 6;
    let needs: Vec<_> = (0..needs)
        .filter_map(|_| world.contexts.pick(dice))
        .collect();
    open_any(world, &needs, dice);
}

fn open_any(world: &Arc<World>, needs: &[Ctx], dice: &mut Dice) {
    let parent = if dice.once_in(3) {
        None
    } else {
        world.contexts.pick(dice)
    };
    let parent = parent.filter(|parent| parent.model.depth < DEPTH);
    if let Some(ctx) = open_below(world, parent.as_ref(), needs, dice) {
        world.put(&world.contexts, ctx, dice);
    }
}

fn open_below(
    world: &Arc<World>,
    parent: Option<&Ctx>,
    needs: &[Ctx],
    dice: &mut Dice,
) -> Option<Ctx> {
    let _inside = world.enter(dice);
    let name = world.name("c");
    let plan = Plan::new(world, parent, needs, dice);
    let above = parent.map_or(&world.root, |parent| &parent.model);
    let needed = plan.needed(world);
    // Before it is opened: what it needs may not close from then on.
    let model = Model::new(name.clone(), Some(Arc::clone(above)), needed);
    let builder = match parent {
        Some(parent) => parent.handle.child_builder(name),
        None => world.registry.context_builder(name),
    };
    let handle = start(world, &plan, builder, &model, dice)?;
    Some(known(world, handle, model))
}

fn known(world: &World, handle: Context, model: Arc<Model>) -> Ctx {
    model.opened(handle.downgrade());
    lock(&world.models).push(Arc::clone(&model));
    Ctx { handle, model }
}

fn start(
    world: &World,
    plan: &Plan<'_>,
    builder: ContextBuilder<'_>,
    model: &Model,
    dice: &mut Dice,
) -> Option<Context> {
    let mut builder = builder
        .grace(Duration::from_micros(dice.below(4) as u64 * 700))
        .hook_timeout(Duration::from_millis(1 + dice.below(3) as u64))
        .kind(["context", "server", "connection"][dice.below(3)]);
    builder = match dice.below(4) {
        0 => {
            model.close_on_failure();
            builder.on_failure(OnFailure::Close)
        }
        1 => builder.on_failure(OnFailure::Report),
        _ => builder,
    };
    if dice.once_in(4) {
        builder = builder.closes_by_drop();
    }
    let needs = plan.needs.iter().map(|need| &need.handle);
    for need in needs.chain(&plan.alien) {
        builder = builder.needs(need);
    }
    if dice.once_in(2) {
        let opened = never("an opening", || builder.try_open())?;
        plan.check(world, opened.as_ref().map(|_| ()));
        let ctx = opened.ok()?;
        world.counts.contexts.fetch_add(1, SeqCst);
        return Some(ctx);
    }
    let ctx = never("an opening", || builder.open())?;
    plan.check_opened(world, &ctx);
    // One that is closed from the start was not accepted; one that is open was.
    let count = match ctx.state() {
        State::Open => &world.counts.contexts,
        _ => &world.counts.contexts_perhaps,
    };
    count.fetch_add(1, SeqCst);
    Some(ctx)
}

/// Below a context that may be gone.
pub(crate) fn open_weak(world: &Arc<World>, dice: &mut Dice, _: At) {
    let parent = world.weak.pick(dice);
    let Some(parent) = parent.filter(|parent| parent.model.depth < DEPTH) else {
        return;
    };
    let _inside = world.enter(dice);
    let name = world.name("c");
    let target = Target::Weak(parent.clone());
    let door = Door::of(&target);
    let opened = never("an opening", || parent.handle.try_child(name.clone()));
    match opened {
        Some(Ok(handle)) => {
            world.check(!door.is_shut(), "a context that is shut took a child");
            world.counts.contexts.fetch_add(1, SeqCst);
            let model = Model::new(name, Some(Arc::clone(&parent.model)), Vec::new());
            let ctx = known(world, handle, model);
            world.put(&world.contexts, ctx, dice);
        }
        Some(Err(_)) => {
            let is_open = target.state() == State::Open && !parent.model.may_finish();
            world.check(!is_open, "an open context took no child");
        }
        None => {}
    }
}

pub(crate) fn duplicate(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(ctx) = world.contexts.pick(dice) {
        world.put(&world.contexts, ctx, dice);
    }
}

pub(crate) fn drop_handle(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(ctx) = world.contexts.take(dice) {
        let _inside = world.enter(dice);
        never("dropping the handle of a context", || drop(ctx));
    }
}

pub(crate) fn downgrade(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(ctx) = world.contexts.pick(dice) {
        world.put(&world.weak, ctx.downgrade(), dice);
    }
}

pub(crate) fn upgrade(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(weak) = world.weak.pick(dice) else {
        return;
    };
    if let Some(ctx) = weak.upgrade() {
        world.put(&world.contexts, ctx, dice);
    } else {
        let is_open = !weak.handle.is_cancelled() && !weak.model.may_finish();
        world.check(!is_open, "it has no handle, and is open");
        world.check(weak.upgrade().is_none(), "a handle came back");
    }
}

/// The parent owns the handle of its child.
pub(crate) fn give_to_parent(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(parent) = world.contexts.pick(dice) else {
        return;
    };
    if let Some(child) = open_below(world, Some(&parent), &[], dice) {
        let value = Value::new(world, Destructor::of_handle(child));
        own_value(world, &parent, value, dice);
    }
}

pub(crate) fn view(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let was_cancelled = ctx.handle.is_cancelled();
    let state = ctx.handle.state();
    let is_right = !was_cancelled || state != State::Open;
    world.check(is_right, "it was cancelled and is open");
    world.check(ctx.handle.name() == ctx.model.name, "another name");
    for child in ctx.handle.children() {
        let path = child.path();
        world.check(path.starts_with(&ctx.handle.path()), "a child elsewhere");
        drop((child.state(), child.holders()));
    }
    let parent = ctx.handle.parent().map(|parent| parent.id());
    let known = ctx.model.parent.as_ref().and_then(|parent| parent.id.get());
    world.check(parent.as_ref() == known, "another parent");
    if world.has(Kind::Listings) && dice.once_in(4) {
        drop(ctx.handle.holders().to_string());
    }
}

/// A token of the context that is cancelled by hand.
pub(crate) fn cancel_token(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(ctx) = world.contexts.pick(dice) {
        let token = ctx.handle.token();
        if dice.once_in(8) {
            super::panics::contain(|| token.cancel());
        } else {
            token.child_token().cancel();
        }
    }
}

pub(crate) fn end_runtime(world: &Arc<World>, dice: &mut Dice, at: At) {
    if world.shape == super::runtimes::Shape::SeveralThatEnd && dice.once_in(2) {
        let how = super::runtimes::Shutdown::any(dice);
        world.runtimes.any(dice).end(how, at == At::Thread);
    }
}
