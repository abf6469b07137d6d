//! Wrapped futures, which other code polls.

use super::{
    closes::NO_RUNTIME,
    fate::{ACCEPTED, DROPPED, Fate},
    handles::{Output, judge},
    panics::{expecting, never},
    script::{Manner, Script, script},
    target::{Door, Target},
    tasks::{accepted, builder},
    world::{At, World},
};
use crate::common::{Dice, lock};
use futures::future::BoxFuture;
use headcount::Wrapped;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

const WRAPPED: Manner = Manner {
    has_timers: false,
    may_wait: true,
    is_task: false,
};

/// A wrapped future, with what is known of it.
pub(crate) struct StoredWrapped {
    future: Pin<Box<Wrapped<Script<BoxFuture<'static, Output>>>>>,
    fate: Arc<Fate>,
}

impl Future for StoredWrapped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let result = std::task::ready!(self.future.as_mut().poll(cx));
        judge(&self.fate, &result);
        drop(result);
        Poll::Ready(())
    }
}

pub(crate) fn wrap(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    let fate = world.fate(target.model(), "wrapped");
    let script = script(world, &target.weak(), &fate, WRAPPED, dice);
    let door = Door::of(&target);
    let wrapped = match &target {
        Target::Weak(ctx) if dice.once_in(2) => {
            world.may_refuse("a wrap", || ctx.handle.wrap(script))
        }
        _ => wrap_by(world, &target, script, dice),
    };
    let Some(wrapped) = wrapped else { return };
    // One that was refused has ended.
    if format!("{wrapped:?}").contains("has_ended: false") {
        door.accepted(&fate);
    } else {
        world.check(fate.flags.has(DROPPED), "a wrap that was refused is there");
    }
    let future = Box::pin(wrapped);
    world.put(&world.wrapped, StoredWrapped { future, fate }, dice);
}

fn wrap_by<F: Future<Output = Output>>(
    world: &Arc<World>,
    target: &Target,
    script: F,
    dice: &mut Dice,
) -> Option<Wrapped<F>> {
    let task = builder(world, target, None, dice);
    if dice.once_in(2) {
        let tried = never("a wrap", || task.try_wrap(script));
        tried.and_then(|tried| accepted(world, target, tried))
    } else {
        world.may_refuse("a wrap", || task.wrap(script))
    }
}

pub(crate) fn poll_wrapped(world: &Arc<World>, dice: &mut Dice, at: At) {
    let Some(mut wrapped) = world.wrapped.take(dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let waker = world.waker(at, dice);
    let mut cx = task::Context::from_waker(&waker);
    // It may await a close, where no runtime is.
    let polled = expecting(NO_RUNTIME, || Pin::new(&mut wrapped).poll(&mut cx));
    if polled.is_some_and(|polled| polled.is_pending()) {
        world.put(&world.wrapped, wrapped, dice);
    }
}

pub(crate) fn drop_wrapped(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop(world.wrapped.take(dice));
}

/// Gives a wrapped future to a runtime.
pub(crate) fn spawn_wrapped(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(wrapped) = world.wrapped.take(dice) {
        let runtime = &world.runtimes.any(dice).handle;
        let plain = runtime.spawn(wrapped).abort_handle();
        lock(&world.plain).push(plain);
    }
}

pub(crate) fn forget_wrapped(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(wrapped) = world.wrapped.take(dice) {
        let is_inside = !wrapped.fate.flags.has(DROPPED) && wrapped.fate.flags.has(ACCEPTED);
        if is_inside {
            wrapped.fate.model.forget_inside();
        }
        world.forget(wrapped);
    }
}
