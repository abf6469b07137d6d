//! What tasks and hooks do: a few random steps, then an end of some sort.

use super::{
    closes,
    destructor::Destructor,
    fate::{FAILED, Fate, FutureGuard, RETURNED},
    handles::{Output, TaskHandle},
    kinds::Kind,
    model::Model,
    needs, ops,
    panics::{expecting, on_purpose},
    running::{Running, check_scope, in_destructor},
    target::Target,
    tasks::spawn_one,
    values::Value,
    world::{At, Ctx, WeakCtx, World},
};
use crate::common::Dice;
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture, select};
use headcount::{Live, Registration, Tracked};
use std::{
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    thread,
    time::Duration,
};
use tokio::runtime::Handle;

/// What a script may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// It is polled on one runtime, which has timers.
    pub(crate) has_timers: bool,
    /// It may wait for what never comes, because it is aborted when its context closes.
    pub(crate) may_wait: bool,
    /// It is a task of tokio, which gives up the thread now and then.
    pub(crate) is_task: bool,
}

/// A future that knows what happens to it. Fields are dropped in this order.
pub(crate) struct Script<R> {
    destructor: Destructor,
    run: Option<R>,
    guard: FutureGuard,
}

impl<R: Future<Output = Output> + Unpin> Future for Script<R> {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let script = &mut *self;
        let fate = &script.guard.0;
        fate.start();
        check_scope(&fate.model, "a task");
        let _running = Running::new(&fate.model);
        let run = script
            .run
            .as_mut()
            .expect("it is there until it is dropped");
        match catch_unwind(AssertUnwindSafe(|| run.poll_unpin(cx))) {
            Ok(polled) => {
                if polled.is_ready() {
                    fate.flags.set(RETURNED);
                }
                polled
            }
            Err(payload) => {
                fate.flags.set(FAILED);
                resume_unwind(payload)
            }
        }
    }
}

impl<R> Drop for Script<R> {
    fn drop(&mut self) {
        let fate = Arc::clone(&self.guard.0);
        let _running = in_destructor(&fate.model, &fate.flags);
        let run = self.run.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(run)));
        let ran = catch_unwind(AssertUnwindSafe(|| self.destructor.run()));
        if let Err(payload) = dropped.and(ran) {
            fate.flags.set(FAILED);
            if !thread::panicking() {
                resume_unwind(payload);
            }
        }
    }
}

pub(crate) fn script(
    world: &Arc<World>,
    own: &WeakCtx,
    fate: &Arc<Fate>,
    manner: Manner,
    dice: &mut Dice,
) -> Script<BoxFuture<'static, Output>> {
    let steps = Steps::new(world, own, manner, dice);
    Script {
        destructor: Destructor::new(world, own, dice),
        run: Some(steps.run(Arc::clone(&fate.model)).boxed()),
        guard: FutureGuard(Arc::clone(fate)),
    }
}

/// One that may not leave its thread.
pub(crate) fn local_script(
    world: &Arc<World>,
    own: &WeakCtx,
    fate: &Arc<Fate>,
    dice: &mut Dice,
) -> Script<LocalBoxFuture<'static, Output>> {
    let manner = Manner {
        has_timers: false,
        may_wait: true,
        is_task: true,
    };
    let steps = Steps::new(world, own, manner, dice);
    let scope = Arc::clone(&fate.model);
    let run = async move {
        let stays = Rc::new(());
        let output = steps.run(scope).await;
        drop(stays);
        output
    };
    Script {
        destructor: Destructor::new(world, own, dice),
        run: Some(run.boxed_local()),
        guard: FutureGuard(Arc::clone(fate)),
    }
}

/// Sleeps. Where a runtime is ending tokio panics, as for any user; then this is over.
async fn nap(limit: Duration) {
    if Handle::try_current().is_err() {
        return;
    }
    let Some(mut sleep) = expecting(ENDING, || Box::pin(tokio::time::sleep(limit))) else {
        return;
    };
    poll_fn(|cx| expecting(ENDING, || sleep.as_mut().poll(cx)).unwrap_or(Poll::Ready(()))).await;
}

/// What tokio says of a timer whose runtime is ending.
const ENDING: &str = "is being shutdown";

/// Things that a task holds for a while.
#[expect(dead_code, reason = "they are only there to be dropped")]
enum Carried {
    Context(Ctx),
    Value(Tracked<Value>),
    Registration(Registration),
    Listing(Live),
    Task(TaskHandle),
}

/// The steps of a task or hook, as an async block.
pub(crate) struct Steps {
    world: Arc<World>,
    own: WeakCtx,
    manner: Manner,
    dice: Dice,
}

impl Steps {
    pub(crate) fn new(world: &Arc<World>, own: &WeakCtx, manner: Manner, dice: &mut Dice) -> Self {
        Self {
            world: Arc::clone(world),
            own: own.clone(),
            manner,
            dice: dice.fork(dice.clone().below(1 << 30)),
        }
    }

    async fn run(mut self, scope: Arc<Model>) -> Output {
        self.steps().await;
        let is_checked = self.manner.is_task || self.world.has(Kind::WrappedOutputScope);
        let scope = is_checked.then_some(scope);
        Output::new(&self.world, &self.own, scope, &mut self.dice)
    }

    pub(crate) async fn steps(&mut self) {
        let mut carried = Vec::new();
        for _ in 0..self.dice.below(5) {
            match self.dice.below(10) {
                0..3 => tokio::task::yield_now().await,
                3..5 => ops::act(&self.world, &mut self.dice, At::Poll),
                5 => self.carry(&mut carried),
                6 => self.at_once(),
                7 => self.measured().await,
                _ if self.manner.may_wait => self.wait().await,
                _ => {}
            }
        }
    }

    fn carry(&mut self, carried: &mut Vec<Carried>) {
        let (world, dice) = (&self.world, &mut self.dice);
        let thing = match dice.below(6) {
            0 | 1 => world.contexts.pick(dice).map(Carried::Context),
            2 => world.values.pick(dice).map(Carried::Value),
            3 => world.registrations.take(dice).map(Carried::Registration),
            4 => world.listings.pick(dice).map(Carried::Listing),
            _ => world.tasks.take(dice).map(Carried::Task),
        };
        carried.extend(thing);
        if dice.once_in(3) {
            carried.clear();
        }
    }

    /// What does not wait.
    fn at_once(&mut self) {
        match self.dice.below(7) {
            0 if self.world.has(Kind::TaskPanics) => on_purpose("a task"),
            1 | 2 => self.spawn_until_refused(),
            3 => closes::inside(&self.world, &self.own, &mut self.dice),
            6 => needs::use_needed(&self.world, &self.own, &mut self.dice),
            4 => closes::begin_once(&self.world, &self.own, &mut self.dice),
            _ => drop(self.own.upgrade()),
        }
    }

    fn spawn_until_refused(&mut self) {
        for _ in 0..self.dice.below(8) {
            if self.own.handle.is_cancelled() && self.dice.once_in(2) {
                return;
            }
            let own = if self.dice.once_in(2) {
                Some(Target::Weak(self.own.clone()))
            } else {
                self.own.upgrade().map(Target::Strong)
            };
            if let Some(own) = own {
                spawn_one(&self.world, &own, &mut self.dice);
            }
        }
    }

    /// What takes time, but not for ever.
    async fn measured(&mut self) {
        let micros = self.dice.below(1_500) as u64;
        let limit = Duration::from_micros(micros);
        match self.dice.below(8) {
            0..3 if self.manner.has_timers => nap(limit).await,
            3 if self.manner.has_timers => {
                let waited = pin!(self.wait_for_one());
                select(waited, pin!(nap(limit))).await;
            }
            4 if self.manner.has_timers => {
                closes::end_in_time(&self.world, limit, &mut self.dice).await;
            }
            5 if self.world.has(Kind::Listings) => drop(self.world.registry.live().await),
            6 => self.ask().await,
            _ => {}
        }
    }

    async fn wait_for_one(&mut self) {
        if let Some(task) = self.world.tasks.take(&mut self.dice) {
            drop(task.await);
        }
    }

    #[cfg(feature = "dump")]
    async fn ask(&mut self) {
        if !self.world.has(Kind::Dump) || !self.manner.has_timers {
            return;
        }
        let limit = Duration::from_millis(1);
        if self.dice.once_in(2) {
            drop(self.world.registry.dump_within(limit).await);
        } else if let Some(task) = self.world.tasks.take(&mut self.dice) {
            task.trace().await;
            self.world.put(&self.world.tasks, task, &mut self.dice);
        }
    }

    #[cfg(not(feature = "dump"))]
    async fn ask(&mut self) {
        tokio::task::yield_now().await;
    }

    /// What may take for ever, if the context does not close.
    async fn wait(&mut self) {
        match self.dice.below(8) {
            0 => pending().await,
            1 => drop(self.own.handle.cancelled().await),
            2 => drop(self.own.handle.closed().await),
            3 => drop(self.own.handle.run_until_cancelled(pending::<()>()).await),
            4 => self.wait_for_one().await,
            5 => closes::wait(&self.world, &mut self.dice).await,
            6 if self.manner.is_task && self.world.has(Kind::RefusedLoop) => {
                self.spawn_for_ever().await;
            }
            _ => self.world.registry.idle().await,
        }
    }

    /// A spawn that is refused is over at once, so this task never waits: it goes on until it is aborted.
    async fn spawn_for_ever(&mut self) {
        self.own.handle.cancelled().await;
        while let Some(own) = self.own.upgrade() {
            if !own.handle.is_cancelled() {
                // Its token was cancelled by hand.
                return;
            }
            self.world.counts.spawns.fetch_add(1, SeqCst);
            let refused = own.handle.spawn(async {});
            assert!(refused.await.is_err());
        }
    }
}
