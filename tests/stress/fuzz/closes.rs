//! Closes: begun, awaited, given up, joined, from outside and from inside.

use super::{
    endings::{Ending, Whole},
    kinds::Kind,
    panics::{HandMadeWaker, PanicsIn, expecting, failure, never},
    running::is_running_inside,
    tasks,
    world::{At, Ctx, Stored, WeakCtx, World},
    wrapped,
};
use crate::common::{Dice, TIME_LIMIT, lock};
use headcount::{CloseReason, CloseStatus};
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

/// What a close says that has no runtime to run on.
pub(crate) const NO_RUNTIME: &str = "has no tokio runtime to run on";
/// What tokio says where there are no timers; it is how the crate finds out.
const NO_TIMERS: &str = "there is no reactor running";

/// I10: waits for an end from inside of it, with the thread; it returns at once.
pub(crate) fn inside(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) {
    let Some(ctx) = own_or_needed(own, dice) else {
        return;
    };
    let model = Arc::clone(&ctx.model);
    if !world.has(Kind::CloseInside) || !is_running_inside(&model) {
        return;
    }
    let deadline = Instant::now() + TIME_LIMIT;
    let waker = Waker::from(HandMadeWaker::new(PanicsIn::Never));
    let ending = Ending::patient(world, dice);
    let Some(call) = never("an end from inside", || Whole::Context(ctx).call(ending)) else {
        return;
    };
    let mut wait = pin!(call.wait(&model));
    let mut polls = 0_usize;
    loop {
        polls += 1;
        let polled = never("an end from inside", || {
            wait.as_mut().poll(&mut Context::from_waker(&waker))
        });
        match polled {
            Some(Poll::Pending) => {}
            Some(Poll::Ready(report)) => {
                let has_begun = report.is_some_and(|report| report.status() == CloseStatus::Begun);
                // What it needs may go on without one that is late.
                let is_right = has_begun || own.model.is_hurried();
                return world.check(is_right, "closed from inside");
            }
            None => return,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let name = &model.name;
            failure(format_args!(
                "{ending:?} of {name} from inside has not returned after {polls} polls"
            ));
            return;
        }
        thread::park_timeout(left);
    }
}

/// The context itself, or one that it needs.
fn own_or_needed(own: &WeakCtx, dice: &mut Dice) -> Option<Ctx> {
    let needs = &own.model.needs;
    if needs.is_empty() || dice.once_in(2) {
        return own.upgrade();
    }
    let model = &needs[dice.below(needs.len())];
    let handle = model.weak.get()?.upgrade()?;
    let model = Arc::clone(model);
    Some(Ctx { handle, model })
}

/// Begins an end, polls it once and drops it.
pub(crate) fn begin_once(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) {
    let ctx = if dice.once_in(2) {
        world.contexts.pick(dice)
    } else {
        own.upgrade()
    };
    if let Some(ctx) = ctx {
        let _inside = world.enter(dice);
        let waker = world.waker(At::Drop, dice);
        let model = Arc::clone(&ctx.model);
        let ending = Ending::patient(world, dice);
        let Some(call) = never("an end", || Whole::Context(ctx).call(ending)) else {
            return;
        };
        let mut wait = pin!(call.wait(&model));
        let mut cx = Context::from_waker(&waker);
        drop(expecting(NO_RUNTIME, || wait.as_mut().poll(&mut cx)));
    }
}

/// Ends something and waits for that with a limit, in a task.
pub(crate) async fn end_in_time(world: &Arc<World>, limit: Duration, dice: &mut Dice) {
    if let Some(ctx) = world.contexts.pick(dice) {
        let model = Arc::clone(&ctx.model);
        let ending = Ending::limited(world, limit, dice);
        let call = Whole::Context(ctx).call(ending);
        drop(call.wait(&model).await);
    }
}

/// Ends something and waits for that, or waits until it is idle, in a task.
pub(crate) async fn wait(world: &Arc<World>, dice: &mut Dice) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    if dice.once_in(4) {
        return ctx.handle.idle().await;
    }
    let ending = Ending::patient(world, dice);
    Whole::Context(ctx).end(ending, dice.once_in(2)).await;
}

pub(crate) fn request(world: &Arc<World>, dice: &mut Dice, _: At) {
    let reason = match dice.below(4) {
        0 => CloseReason::Culled,
        1 => CloseReason::Superseded,
        _ => CloseReason::from("requested"),
    };
    let _inside = world.enter(dice);
    if dice.once_in(3) {
        if let Some(weak) = world.weak.pick(dice) {
            never("a request to close", || weak.handle.request_close(reason));
        }
    } else if let Some(ctx) = world.contexts.pick(dice) {
        never("a request to close", || ctx.handle.request_close(reason));
        Whole::Context(ctx).check_begun();
    }
}

/// Ends something, and does not even wait for the beginning.
pub(crate) fn end(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let limit = Duration::from_micros(dice.below(3_000) as u64);
    let ending = if dice.once_in(2) {
        Ending::limited(world, limit, dice)
    } else {
        Ending::patient(world, dice)
    };
    let _inside = world.enter(dice);
    never("an end", || drop(Whole::Context(ctx).call(ending)));
}

/// Makes a future of some end, for others to poll.
pub(crate) fn store(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let weak = ctx.downgrade();
    let kind = dice.below(9);
    let mut has_timers = false;
    let registry = world.registry.clone();
    let future: futures::future::BoxFuture<'static, ()> = match kind {
        0..3 => {
            let ending = Ending::patient(world, dice);
            Whole::Context(ctx).end(ending, dice.once_in(2))
        }
        3 => Box::pin(async move { ctx.model.saw(&ctx.handle.closed().await) }),
        4 => Box::pin(async move { weak.model.saw(&weak.handle.closed().await) }),
        5 if world.has(Kind::TimersElsewhere) => {
            has_timers = true;
            let limit = Duration::from_micros(dice.below(3_000) as u64);
            let ending = Ending::limited(world, limit, dice);
            Whole::Context(ctx).end(ending, dice.once_in(2))
        }
        6 => Box::pin(async move { registry.idle().await }),
        7 => Box::pin(ctx.handle.idle()),
        _ => Box::pin(async move {
            let run = weak
                .handle
                .run_until_cancelled(std::future::pending::<()>());
            assert!(run.await.is_none());
        }),
    };
    let stored = Stored {
        future,
        has_timers,
        is_delicate: has_timers || kind == 6 || kind == 7,
    };
    world.put(&world.stored, stored, dice);
}

/// Polls a stored future once; true if it is over.
fn poll_once(stored: &mut Stored, waker: &Waker) -> bool {
    let mut cx = Context::from_waker(waker);
    let expected = if stored.has_timers {
        NO_TIMERS
    } else {
        NO_RUNTIME
    };
    let polled = expecting(expected, || stored.future.as_mut().poll(&mut cx));
    // One that panicked is over, too.
    polled.is_none_or(|polled| polled.is_ready())
}

pub(crate) fn poll(world: &Arc<World>, dice: &mut Dice, at: At) {
    let Some(mut stored) = world.stored.take(dice) else {
        return;
    };
    let inside = if stored.has_timers {
        Some(world.runtimes.enter(dice))
    } else {
        world.enter(dice)
    };
    let waker = world.waker(if stored.is_delicate { At::Poll } else { at }, dice);
    if !poll_once(&mut stored, &waker) {
        world.put(&world.stored, stored, dice);
    }
    drop(inside);
}

/// Polls a stored future for a while, on a thread.
pub(crate) fn poll_for_a_while(world: &Arc<World>, dice: &mut Dice, at: At) {
    let Some(mut stored) = world.stored.take(dice) else {
        return;
    };
    let _inside = world.runtimes.enter(dice);
    let until = Instant::now() + Duration::from_micros(if at == At::Thread { 2_000 } else { 0 });
    let waker = Waker::from(HandMadeWaker::new(PanicsIn::Never));
    while !poll_once(&mut stored, &waker) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return world.put(&world.stored, stored, dice);
        }
        thread::park_timeout(left);
    }
}

pub(crate) fn drop_stored(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(stored) = world.stored.take(dice) {
        super::panics::contain(|| drop(stored));
    }
}

/// Gives a stored future to a runtime.
pub(crate) fn spawn_stored(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(stored) = world.stored.take(dice) {
        let runtime = &world.runtimes.any(dice).handle;
        let plain = runtime.spawn(stored.future).abort_handle();
        lock(&world.plain).push(plain);
    }
}

pub(crate) fn close_registry(world: &Arc<World>, dice: &mut Dice, _: At) {
    // It ends everything, so it is rare.
    if !dice.once_in(20) {
        return;
    }
    let whole = Whole::of_registry(world);
    let limit = Duration::from_micros(dice.below(3_000) as u64);
    let has_timers = world.has(Kind::TimersElsewhere) && dice.once_in(2);
    let ending = if has_timers {
        Ending::limited(world, limit, dice)
    } else {
        Ending::patient(world, dice)
    };
    let mut stored = Stored {
        future: whole.end(ending, true),
        has_timers,
        is_delicate: true,
    };
    let _inside = if has_timers {
        Some(world.runtimes.enter(dice))
    } else {
        world.enter(dice)
    };
    let waker = world.waker(At::Poll, dice);
    if !poll_once(&mut stored, &waker) {
        world.put(&world.stored, stored, dice);
    }
}

/// Forgets something that a close does not wait for.
pub(crate) fn forget(world: &Arc<World>, dice: &mut Dice, at: At) {
    if !dice.once_in(4) {
        return;
    }
    match dice.below(4) {
        0 => tasks::forget_task(world, dice, at),
        1 => wrapped::forget_wrapped(world, dice, at),
        2 => {
            if let Some(ctx) = world.contexts.pick(dice) {
                lock(&world.counts.forgotten).push(ctx.handle.id());
                world.forget(ctx);
            }
        }
        _ => {
            if let Some(value) = world.values.pick(dice) {
                world.forget(value);
            }
        }
    }
}
