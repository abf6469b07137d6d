//! Tasks of all sorts, and their handles.

use super::{
    closes::NO_RUNTIME,
    destructor::Destructor,
    kinds::Kind,
    model::{
        ACCEPTED, DROPPED, FAILED, Fate, Model, RETURNED, Running, STARTED, check_scope,
        in_destructor,
    },
    ops,
    panics::{expecting, failure, never, on_purpose},
    script::{Manner, Script, local_script, script},
    world::{At, Ctx, WeakCtx, World},
};
use crate::common::{Dice, lock};
use futures::future::BoxFuture;
use headcount::{
    Context, EndCheck, OnConflict, RefusedError, RefusedReason, Registry, ResourceId, State, Task,
    TaskBuilder, TaskError, Wrapped,
};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

const SPAWNED: Manner = Manner {
    has_timers: true,
    may_wait: true,
    is_task: true,
};

const WRAPPED: Manner = Manner {
    has_timers: false,
    may_wait: true,
    is_task: false,
};

/// A task of the registry itself, which has a long grace period: it ends by itself.
const FREE: Manner = Manner {
    has_timers: true,
    may_wait: false,
    is_task: true,
};

/// The id that tasks have which were refused.
pub(crate) fn refused_id() -> ResourceId {
    let runtime = crate::common::current_thread();
    runtime.block_on(async {
        let closed = Registry::new().context("closed");
        closed.close().await;
        closed.spawn(async {}).id()
    })
}

thread_local! {
    /// How many handles of tasks this thread is dropping: an output may be dropped with them.
    static DROPS_HANDLE: Cell<usize> = const { Cell::new(0) };
}

/// What a task returns.
pub(crate) struct Output {
    world: Arc<World>,
    destructor: Destructor,
    /// Whose code its destructor is.
    scope: Option<Arc<Model>>,
    is_claimed: AtomicBool,
}

impl Output {
    pub(crate) fn new(
        world: &Arc<World>,
        own: &WeakCtx,
        scope: Option<Arc<Model>>,
        dice: &mut Dice,
    ) -> Self {
        world.counts.outputs.fetch_add(1, SeqCst);
        let scope = scope.filter(|_| world.has(Kind::OutputScope));
        Self {
            world: Arc::clone(world),
            destructor: Destructor::new(world, own, dice),
            scope,
            is_claimed: AtomicBool::new(false),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.world.counts.outputs_dropped.fetch_add(1, SeqCst);
        let is_ours = self.is_claimed.load(SeqCst) || DROPS_HANDLE.get() > 0;
        let scope = self.scope.take().filter(|_| !is_ours);
        if let Some(scope) = &scope {
            check_scope(scope, "the destructor of an output that no handle claims");
        }
        let _running = scope.as_ref().map(Running::new);
        self.destructor.run();
    }
}

/// The handle of a task, with what is known of the task.
pub(crate) struct TaskHandle {
    task: Option<Task<Output>>,
    fate: Arc<Fate>,
}

impl TaskHandle {
    fn new(task: Task<Output>, fate: &Arc<Fate>) -> Self {
        Self {
            task: Some(task),
            fate: Arc::clone(fate),
        }
    }

    fn task(&self) -> &Task<Output> {
        self.task.as_ref().expect("it is there until it is dropped")
    }

    #[cfg(feature = "dump")]
    pub(crate) async fn trace(&self) {
        drop(self.task().trace().await);
    }

    /// What is listed under this id while its future is alive.
    pub(crate) fn alive(&self) -> Option<ResourceId> {
        (!self.fate.flags.has(DROPPED)).then(|| self.task().id())
    }
}

impl Future for TaskHandle {
    type Output = Result<Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut().expect("it is there until it is dropped");
        let result = std::task::ready!(Pin::new(task).poll(cx));
        judge(&self.fate, &result);
        Poll::Ready(result)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        DROPS_HANDLE.set(DROPS_HANDLE.get() + 1);
        let task = self.task.take();
        never("dropping the handle of a task", || drop(task));
        DROPS_HANDLE.set(DROPS_HANDLE.get() - 1);
    }
}

/// Whether a result is what happened to the future.
fn judge(fate: &Fate, result: &Result<Output, TaskError>) {
    let flags = &fate.flags;
    let is_right = match result {
        Ok(output) => {
            output.is_claimed.store(true, SeqCst);
            flags.has(RETURNED) && !flags.has(FAILED)
        }
        Err(TaskError::Panicked(..)) => flags.has(FAILED),
        Err(TaskError::Refused) => !flags.has(STARTED),
        Err(_) => !flags.has(RETURNED) && !flags.has(FAILED),
    };
    if !is_right || !flags.has(DROPPED) {
        let result = result.as_ref().map(|_| ());
        failure(format_args!("a task gave {result:?}, but {fate:?}"));
    }
}

/// A task builder with random settings.
fn builder<'a>(world: &World, ctx: &'a Ctx, dice: &mut Dice) -> TaskBuilder<'a> {
    if dice.once_in(8) {
        let name = ["first", "second"][dice.below(2)];
        let on_conflict =
            [OnConflict::Wait, OnConflict::Replace, OnConflict::Reject][dice.below(3)];
        return ctx.handle.task(name).slot(name).on_conflict(on_conflict);
    }
    let mut task = ctx.handle.task(world.name("t"));
    if dice.once_in(3) {
        task = task.cancellable();
    }
    if dice.once_in(4) {
        task = task.kind("worker");
    }
    if dice.once_in(4) {
        task = task.on(&world.runtimes.any(dice).handle);
    }
    task
}

pub(crate) fn spawn(world: &Arc<World>, dice: &mut Dice, _: At) {
    let ctx = world.contexts.pick(dice);
    if let Some(ctx) = ctx {
        let _inside = world.enter(dice);
        spawn_one(world, &ctx, dice);
    }
}

pub(crate) fn spawn_one(world: &Arc<World>, ctx: &Ctx, dice: &mut Dice) {
    let fate = world.fate(&ctx.model, "spawned");
    let script = script(world, &ctx.downgrade(), &fate, SPAWNED, dice);
    let task = builder(world, ctx, dice);
    // Without any runtime `spawn` panics, as it says.
    let task = if dice.once_in(6) {
        start(world, ctx, task.essential(), script, dice)
    } else {
        start(world, ctx, task, script, dice)
    };
    if let Some(task) = task {
        spawned(world, task, &fate, dice);
    }
}

fn start<C, F>(
    world: &World,
    ctx: &Ctx,
    task: TaskBuilder<'_, C>,
    script: F,
    dice: &mut Dice,
) -> Option<Task<Output>>
where
    C: EndCheck<Output>,
    F: Future<Output = Output> + Send + 'static,
{
    if Handle::try_current().is_err() || dice.once_in(2) {
        let tried = never("a spawn", || task.try_spawn(script));
        tried.and_then(|tried| accepted(world, ctx, tried))
    } else {
        world.may_refuse("a spawn", || task.spawn(script))
    }
}

/// A task that returns an error, or not.
pub(crate) fn spawn_fallible(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let fate = world.fate(&ctx.model, "fallible");
    let script = script(world, &ctx.downgrade(), &fate, SPAWNED, dice);
    let fails = dice.once_in(2);
    // By hand: an `async` block forgets an output if the destructor of the future that it comes from panics.
    let mut script = Box::pin(script);
    let script = poll_fn(move |cx| {
        let polled = script.as_mut().poll(cx);
        polled.map(|output| {
            if fails {
                Err(Printed(output))
            } else {
                Ok(output)
            }
        })
    });
    let task = builder(world, &ctx, dice).fallible();
    let task = never("a spawn", || task.try_spawn(script));
    let Some(task) = task.and_then(|tried| accepted(world, &ctx, tried)) else {
        return;
    };
    fate.accept();
    DROPS_HANDLE.set(DROPS_HANDLE.get() + 1);
    never("dropping the handle of a task", || drop(task));
    DROPS_HANDLE.set(DROPS_HANDLE.get() - 1);
}

/// An error that is an output.
struct Printed(#[expect(dead_code, reason = "it is dropped")] Output);

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error on purpose")
    }
}

/// What a `try_` method gave; what it hands back is dropped.
fn accepted<T, F>(world: &World, ctx: &Ctx, tried: Result<T, RefusedError<F>>) -> Option<T> {
    match tried {
        Ok(task) => Some(task),
        Err(refused) => {
            let is_closed = refused.reason() == RefusedReason::Closed;
            let is_right = !is_closed || ctx.handle.state() != State::Open;
            world.check(is_right, "a spawn on an open context was refused");
            drop(refused.into_inner());
            None
        }
    }
}

/// A spawn has returned this handle.
fn spawned(world: &Arc<World>, task: Task<Output>, fate: &Arc<Fate>, dice: &mut Dice) {
    if task.id() != world.refused_id {
        fate.accept();
    }
    let task = TaskHandle::new(task, fate);
    if dice.once_in(3) {
        drop(task);
    } else {
        world.put(&world.tasks, task, dice);
    }
}

pub(crate) fn spawn_blocking(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let fate = world.fate(&ctx.model, "blocking");
    let closure = closure(world, &ctx.downgrade(), &fate, dice);
    let task = builder(world, &ctx, dice);
    let task = if Handle::try_current().is_err() || dice.once_in(2) {
        let tried = never("a blocking spawn", || task.try_spawn_blocking(closure));
        tried.and_then(|tried| accepted(world, &ctx, tried))
    } else {
        world.may_refuse("a blocking spawn", || task.spawn_blocking(closure))
    };
    if let Some(task) = task {
        spawned(world, task, &fate, dice);
    }
}

/// A closure that does something, and takes its time for that.
fn closure(
    world: &Arc<World>,
    own: &WeakCtx,
    fate: &Arc<Fate>,
    dice: &mut Dice,
) -> impl FnOnce() -> Output + Send + 'static {
    let guard = Guarded {
        destructor: Destructor::new(world, own, dice),
        guard: super::model::FutureGuard(Arc::clone(fate)),
    };
    let (world, own) = (Arc::clone(world), own.clone());
    let mut dice = dice.fork(dice.clone().below(1 << 30));
    move || {
        let guard = guard;
        let fate = Arc::clone(&guard.guard.0);
        fate.flags.set(STARTED);
        check_scope(&fate.model, "a blocking closure");
        let _running = Running::new(&fate.model);
        let ran = catch_unwind(AssertUnwindSafe(|| work(&world, &own, &mut dice)));
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(guard)));
        match ran.and(dropped) {
            Ok(()) => {
                fate.flags.set(RETURNED);
                Output::new(&world, &own, Some(fate.model.clone()), &mut dice)
            }
            Err(payload) => {
                fate.flags.set(FAILED);
                resume_unwind(payload)
            }
        }
    }
}

/// The captured values of a closure, dropped in this order.
struct Guarded {
    destructor: Destructor,
    guard: super::model::FutureGuard,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let fate = Arc::clone(&self.guard.0);
        let _running = in_destructor(&fate.model, &fate.flags);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.destructor.run())) {
            fate.flags.set(FAILED);
            if !std::thread::panicking() {
                resume_unwind(payload);
            }
        }
    }
}

fn work(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) {
    let started = Instant::now();
    let most = Duration::from_micros(dice.below(800) as u64);
    while started.elapsed() < most && !own.handle.is_cancelled() {
        std::thread::yield_now();
    }
    match dice.below(5) {
        0 | 1 => ops::act(world, dice, At::Poll),
        2 if world.has(Kind::TaskPanics) => on_purpose("a blocking closure"),
        3 => super::closes::inside(world, own),
        _ => {}
    }
}

pub(crate) fn spawn_local(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let runtime = world.runtimes.any(dice);
    let (world, under_way) = (Arc::clone(world), world.begin());
    let mut dice = dice.fork(dice.clone().below(1 << 30));
    runtime.on_local_set(Box::new(move || {
        let _under_way = under_way;
        let fate = world.fate(&ctx.model, "local");
        let script = local_script(&world, &ctx.downgrade(), &fate, &mut dice);
        let task = builder(&world, &ctx, &mut dice);
        let task = if dice.once_in(2) {
            let tried = never("a local spawn", || task.try_spawn_local(script));
            tried.and_then(|tried| accepted(&world, &ctx, tried))
        } else {
            world.may_refuse("a local spawn", || task.spawn_local(script))
        };
        if let Some(task) = task {
            spawned(&world, task, &fate, &mut dice);
        }
    }));
}

/// A task of the registry itself.
pub(crate) fn spawn_free(world: &Arc<World>, dice: &mut Dice, _: At) {
    let _inside = world.runtimes.enter(dice);
    let Some(own) = world.weak.pick(dice) else {
        return;
    };
    let fate = world.fate(&world.root, "free");
    let script = script(world, &own, &fate, FREE, dice);
    world.counts.spawns.fetch_add(1, SeqCst);
    let spawn = world
        .registry
        .scope(async move { never("a free spawn", || headcount::spawn(script)) });
    let mut spawn = pin!(spawn);
    let mut cx = task::Context::from_waker(Waker::noop());
    if let Poll::Ready(Some(task)) = spawn.as_mut().poll(&mut cx) {
        spawned(world, task, &fate, dice);
    }
}

pub(crate) fn abort(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(task) = world.tasks.take(dice) {
        never("an abort", || task.task().abort());
        let is_finished = task.task().is_finished();
        let is_right =
            !is_finished || task.fate.flags.has(DROPPED) || task.alive() == Some(world.refused_id);
        world.check(is_right, "a task is finished, and its future is there");
        world.put(&world.tasks, task, dice);
    }
}

pub(crate) fn drop_task(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop(world.tasks.take(dice));
}

pub(crate) fn poll_task(world: &Arc<World>, dice: &mut Dice, at: At) {
    let Some(mut task) = world.tasks.take(dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let waker = world.waker(at, dice);
    let mut cx = task::Context::from_waker(&waker);
    match Pin::new(&mut task).poll(&mut cx) {
        Poll::Pending => world.put(&world.tasks, task, dice),
        Poll::Ready(result) => drop(black_box(result)),
    }
}

pub(crate) fn forget_task(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(mut task) = world.tasks.take(dice) {
        // Its output, if it has one, is forgotten with it.
        if let Some(inner) = task.task.take() {
            world.forget(inner);
        }
    }
}

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
    let Some(ctx) = world.contexts.pick(dice) else {
        return;
    };
    let fate = world.fate(&ctx.model, "wrapped");
    let script = script(world, &ctx.downgrade(), &fate, WRAPPED, dice);
    let task = builder(world, &ctx, dice);
    let wrapped = if dice.once_in(2) {
        let tried = never("a wrap", || task.try_wrap(script));
        tried.and_then(|tried| accepted(world, &ctx, tried))
    } else {
        world.may_refuse("a wrap", || task.wrap(script))
    };
    let Some(wrapped) = wrapped else { return };
    // One that was refused has ended.
    if format!("{wrapped:?}").contains("has_ended: false") {
        fate.accept();
    }
    let future = Box::pin(wrapped);
    world.put(&world.wrapped, StoredWrapped { future, fate }, dice);
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

/// The context whose code is running can be asked for from anywhere.
pub(crate) fn ask_current(_: &Arc<World>, _: &mut Dice, _: At) {
    if let Some(current) = Context::current() {
        drop((current.path(), current.state(), current.holders()));
    }
}
