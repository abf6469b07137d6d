//! What is promised of contexts that others need (I17).

use super::{
    fate::Fate,
    handles::DropsHandle,
    model::Model,
    panics::{failure, never},
    script::script,
    target::{Door, Target},
    tasks::SPAWNED,
    world::{At, Ctx, WeakCtx, World},
};
use crate::common::Dice;
use headcount::{Context, OpenError, RefusedReason, Registry, State};
use std::sync::Arc;

/// A context that is to be opened.
pub(crate) struct Plan<'a> {
    pub(crate) parent: Option<&'a Ctx>,
    pub(crate) needs: &'a [Ctx],
    /// One of another registry, which it is to need as well.
    pub(crate) alien: Option<Context>,
    /// The parent takes no children.
    is_shut: bool,
    /// Something that it needs is closed, is to close, or is finishing without the code that opens this.
    is_late: bool,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        world: &World,
        parent: Option<&'a Ctx>,
        needs: &'a [Ctx],
        dice: &mut Dice,
    ) -> Self {
        let is_alien = !needs.is_empty() && dice.once_in(16);
        let state = parent.map_or_else(|| world.registry.state(), |parent| parent.handle.state());
        let above = parent.map_or(&world.root, |parent| &parent.model);
        Self {
            parent,
            needs,
            alien: is_alien.then(|| Registry::new().context("alien")),
            is_shut: state != State::Open || above.refuses(),
            is_late: needs
                .iter()
                .any(|need| is_to_close(&need.handle) || need.model.refuses()),
        }
    }

    fn above<'w>(&'w self, world: &'w World) -> &'w Arc<Model> {
        self.parent.map_or(&world.root, |parent| &parent.model)
    }

    /// Why it cannot be opened, whatever else happens.
    fn impossible(&self, world: &World) -> Option<OpenError> {
        let above = self.above(world);
        let mut needs = self.needs.iter();
        let ancestor = needs.find(|need| above.is_awaited_by(&need.model));
        let ancestor = ancestor.map(|need| OpenError::NeedsAncestor(need.handle.name().to_owned()));
        let name = |alien: &Context| OpenError::OtherRegistry(alien.name().to_owned());
        ancestor.or_else(|| self.alien.as_ref().map(name))
    }

    /// What it needs, unless it is closed from the start because it cannot need that.
    pub(crate) fn needed(&self, world: &World) -> Vec<Arc<Model>> {
        if self.impossible(world).is_some() {
            return Vec::new();
        }
        self.needs
            .iter()
            .map(|need| Arc::clone(&need.model))
            .collect()
    }

    /// Whether it is opened where that is possible, and else the error says why not.
    pub(crate) fn check(&self, world: &World, said: Result<(), &OpenError>) {
        let is_right = match (self.impossible(world), said) {
            (Some(known), said) => said == Err(&known),
            (None, Ok(())) => !self.is_shut && !self.is_late,
            (None, Err(OpenError::Closed)) => self.may_be_shut(world),
            (None, Err(OpenError::NeedClosed(name))) => {
                let mut needs = self.needs.iter();
                needs.any(|need| need.handle.name() == name && may_refuse(need))
            }
            (None, Err(_)) => false,
        };
        if !is_right {
            let needs: Vec<_> = self.needs.iter().map(|need| need.handle.path()).collect();
            let above = &self.above(world).name;
            failure(format_args!("below {above}, with {needs:?}: {said:?}"));
        }
    }

    fn may_be_shut(&self, world: &World) -> bool {
        let state = match self.parent {
            Some(parent) => parent.handle.state(),
            None => world.registry.state(),
        };
        state != State::Open || self.above(world).may_finish()
    }

    /// One that was opened without a word about that: it is open, or it is not.
    pub(crate) fn check_opened(&self, world: &World, ctx: &Context) {
        match ctx.state() {
            State::Open => self.check(world, Ok(())),
            state if self.impossible(world).is_some() || self.is_shut || self.is_late => {
                world.check(state == State::Closed, "it is not closed from the start");
            }
            _ => {}
        }
    }
}

/// Whether it may be that others cannot come to need it.
fn may_refuse(need: &Ctx) -> bool {
    is_to_close(&need.handle) || need.model.may_finish()
}

fn is_to_close(ctx: &Context) -> bool {
    ctx.state() != State::Open || ctx.close_reason().is_some()
}

/// What is needed accepts work of the code that needs it, as long as that is there.
pub(crate) fn use_needed(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) {
    let needs = &own.model.needs;
    let current = Context::current().map(|current| current.id());
    if needs.is_empty() || current.as_ref() != own.model.id.get() {
        return;
    }
    let model = &needs[dice.below(needs.len())];
    let Some(handle) = model.weak.get().cloned() else {
        return;
    };
    let (model, state) = (Arc::clone(model), handle.state());
    let target = Target::Weak(WeakCtx { handle, model });
    let fate = world.fate(target.model(), "saved");
    let script = script(world, &target.weak(), &fate, SPAWNED, dice);
    let _inside = world.runtimes.enter(dice);
    let task = target.task(world.name("t"));
    let Some(saved) = never("a spawn", || task.try_spawn(script)) else {
        return;
    };
    // At the deadline of a close it may have been left behind.
    let is_held = !own.model.is_hurried();
    world.check(
        !is_held || state == State::Open,
        "it is needed and not open",
    );
    match saved {
        Ok(task) => {
            Door::unknown().accepted(&fate);
            let _drops = DropsHandle::new();
            never("dropping the handle of a task", || drop(task));
        }
        Err(refused) => {
            let is_closed = refused.reason() == RefusedReason::Closed;
            world.check(!is_held || !is_closed, "what is needed refused work");
            drop(refused.into_inner());
            world.check(is_gone(&fate), "what was handed back began");
        }
    }
}

fn is_gone(fate: &Fate) -> bool {
    fate.flags.has(super::fate::DROPPED) && !fate.flags.has(super::fate::STARTED)
}

/// A context that is not open any more has outlived what needs it.
pub(crate) fn view(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    if target.state() != State::Open {
        target.model().check_order("though that closes");
    }
}
