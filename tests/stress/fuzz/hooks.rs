//! Hooks of all sorts.

use super::{
    destructor::Destructor,
    fate::{ACCEPTED, CANCELLED, DROPPED, EARLY, FAILED, Flags, RETURNED, STARTED},
    kinds::Kind,
    panics::{failure, never, on_purpose},
    records::{HookGuard, HookRecord, When},
    running::{Running, check_scope, in_destructor},
    script::{Manner, Steps},
    target::Target,
    world::{At, World},
};
use crate::common::{Dice, lock};
use futures::future::BoxFuture;
use headcount::State;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};
use tokio::runtime::Handle;

const MANNER: Manner = Manner {
    has_timers: true,
    may_wait: true,
    is_task: false,
};

type Said = Result<(), &'static str>;

/// The future of a hook. Fields are dropped in this order.
struct HookFuture {
    world: Arc<World>,
    destructor: Destructor,
    run: Option<BoxFuture<'static, Said>>,
    guard: HookGuard,
}

impl Future for HookFuture {
    type Output = Said;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Said> {
        let hook = Arc::clone(&self.guard.0);
        check_scope(&hook.model, "a hook that is polled");
        if self.world.has(Kind::HookRuntime) && Handle::try_current().is_err() {
            failure(format_args!(
                "a hook of {} runs without a runtime",
                hook.model.name
            ));
        }
        let _running = Running::new(&hook.model);
        let run = self.run.as_mut().expect("it is there until it is dropped");
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(said)) => {
                if said.is_err() {
                    hook.flags.set(FAILED);
                }
                hook.flags.set(RETURNED);
                Poll::Ready(said)
            }
            Err(payload) => {
                hook.flags.set(FAILED);
                hook.flags.set(RETURNED);
                resume_unwind(payload)
            }
        }
    }
}

impl Drop for HookFuture {
    fn drop(&mut self) {
        let hook = Arc::clone(&self.guard.0);
        let _running = in_destructor(&hook.model, &hook.flags);
        let run = self.run.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(run)));
        let ran = catch_unwind(AssertUnwindSafe(|| self.destructor.run()));
        if let Err(payload) = dropped.and(ran) {
            hook.flags.set(FAILED);
            if !thread::panicking() {
                resume_unwind(payload);
            }
        }
    }
}

pub(crate) fn register(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(target) = Target::pick(world, dice) {
        let has_both = matches!(target, Target::Strong(_));
        let when = if has_both && dice.once_in(3) {
            When::Closing
        } else {
            When::Close
        };
        register_on(world, &target, when, dice);
    }
}

fn register_on(world: &Arc<World>, target: &Target, when: When, dice: &mut Dice) {
    let (own, model) = (target.weak(), target.model());
    let destructor = Destructor::kept(world, &own, dice);
    let mut steps = Steps::new(world, &own, MANNER, dice);
    let (fails, panics) = (
        dice.once_in(8),
        world.has(Kind::TaskPanics) && dice.once_in(8),
    );
    // In the order in which they are registered.
    let mut hooks = lock(&model.hooks);
    let record = Arc::new(HookRecord {
        flags: Flags::default(),
        number: hooks.len(),
        when,
        model: Arc::clone(model),
    });
    let mut future = HookFuture {
        world: Arc::clone(world),
        destructor,
        run: None,
        guard: HookGuard(Arc::clone(&record)),
    };
    let hook = move || {
        future.guard.0.start();
        future.run = Some(Box::pin(async move {
            steps.steps().await;
            if panics {
                on_purpose("a hook");
            }
            if fails { Err("on purpose") } else { Ok(()) }
        }));
        future
    };
    let hook = match (target, when) {
        (Target::Strong(ctx), When::Closing) => ctx.handle.on_closing(hook),
        (Target::Strong(ctx), When::Close) => ctx.handle.on_close(hook),
        (Target::Weak(ctx), _) => ctx.handle.on_close(hook),
    };
    if hook.is_ok() {
        record.flags.set(ACCEPTED);
        if target.state() == State::Open {
            record.flags.set(EARLY);
        }
        hooks.push(Arc::clone(&record));
    }
    drop(hooks);
    match hook {
        Ok(hook) => world.put(&world.hooks, (hook, record), dice),
        Err(refused) => {
            let is_over = target.state() != State::Open;
            world.check(is_over, "an open context refused a hook");
            drop(refused);
        }
    }
}

pub(crate) fn cancel(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some((hook, record)) = world.hooks.take(dice) else {
        return;
    };
    let is_cancelled = never("the cancellation of a hook", || hook.cancel()) == Some(true);
    if is_cancelled {
        record.flags.set(CANCELLED);
        if record.flags.has(STARTED) {
            failure("a hook that ran was cancelled");
        }
        world.check(record.flags.has(DROPPED), "a cancelled hook is there");
        world.check(!hook.cancel(), "a hook was cancelled twice");
    }
    drop(hook);
}

pub(crate) fn drop_hook(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop(world.hooks.take(dice));
}
