//! Tasks of all sorts.

use super::{
    destructor::Destructor,
    fate::{DROPPED, FAILED, Fate, FutureGuard, RETURNED},
    handles::{DropsHandle, Output, TaskHandle},
    kinds::Kind,
    ops,
    panics::{never, on_purpose},
    running::{Running, check_scope, in_destructor},
    script::{Manner, local_script, script},
    target::{Door, Target},
    world::{At, WeakCtx, World},
};
use crate::common::Dice;
use headcount::{
    Context, EndCheck, OnConflict, RefusedError, RefusedReason, Registry, ResourceId, State, Task,
    TaskBuilder,
};
use std::{
    future::{Future, poll_fn},
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

pub(crate) const SPAWNED: Manner = Manner {
    has_timers: true,
    may_wait: true,
    is_task: true,
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

/// A task builder with random settings. In a slot if it is to be noted that it runs in one.
pub(crate) fn builder<'a>(
    world: &World,
    target: &'a Target,
    fate: Option<&Fate>,
    dice: &mut Dice,
) -> TaskBuilder<'a> {
    if dice.once_in(8) {
        let name = ["first", "second"][dice.below(2)];
        let on_conflict =
            [OnConflict::Wait, OnConflict::Replace, OnConflict::Reject][dice.below(3)];
        let _ = fate.map(|fate| fate.slot.set(name));
        let task = target.task(name.to_owned());
        return task.slot(name).on_conflict(on_conflict);
    }
    let mut task = target.task(world.name("t"));
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
    if let Some(target) = Target::pick(world, dice) {
        let _inside = world.enter(dice);
        spawn_one(world, &target, dice);
    }
}

pub(crate) fn spawn_one(world: &Arc<World>, target: &Target, dice: &mut Dice) {
    let fate = world.fate(target.model(), "spawned");
    let script = script(world, &target.weak(), &fate, SPAWNED, dice);
    let door = Door::of(target);
    let task = match target {
        Target::Weak(ctx) if dice.once_in(4) => {
            let tried = never("a spawn", || ctx.handle.try_spawn(script));
            tried.and_then(|tried| accepted(world, target, tried))
        }
        Target::Weak(ctx) if Handle::try_current().is_ok() && dice.once_in(4) => {
            world.may_refuse("a spawn", || ctx.handle.spawn(script))
        }
        _ => spawn_built(world, target, &fate, script, dice),
    };
    if let Some(task) = task {
        spawned(world, &door, task, &fate, dice);
    }
}

fn spawn_built<F>(
    world: &World,
    target: &Target,
    fate: &Fate,
    script: F,
    dice: &mut Dice,
) -> Option<Task<Output>>
where
    F: Future<Output = Output> + Send + 'static,
{
    let task = builder(world, target, Some(fate), dice);
    match dice.below(12) {
        0 | 1 => start(world, target, task.essential(), script, dice),
        2 => {
            let limit = Duration::from_micros(dice.below(2_000) as u64);
            start(world, target, task.deadline(limit), script, dice)
        }
        _ => start(world, target, task, script, dice),
    }
}

/// Without any runtime `spawn` panics, as it says.
fn start<C, F>(
    world: &World,
    target: &Target,
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
        tried.and_then(|tried| accepted(world, target, tried))
    } else {
        world.may_refuse("a spawn", || task.spawn(script))
    }
}

/// A task that returns an error, or not.
pub(crate) fn spawn_fallible(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let fate = world.fate(target.model(), "fallible");
    let script = script(world, &target.weak(), &fate, SPAWNED, dice);
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
    let task = builder(world, &target, Some(&fate), dice).fallible();
    let door = Door::of(&target);
    let task = never("a spawn", || task.try_spawn(script));
    let Some(task) = task.and_then(|tried| accepted(world, &target, tried)) else {
        return;
    };
    door.accepted(&fate);
    let _drops = DropsHandle::new();
    never("dropping the handle of a task", || drop(task));
}

/// An error that is an output.
struct Printed(#[expect(dead_code, reason = "it is dropped")] Output);

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error on purpose")
    }
}

/// What a `try_` method gave; what it hands back is dropped.
pub(crate) fn accepted<T, F>(
    world: &World,
    target: &Target,
    tried: Result<T, RefusedError<F>>,
) -> Option<T> {
    match tried {
        Ok(task) => Some(task),
        Err(refused) => {
            let is_closed = refused.reason() == RefusedReason::Closed;
            let is_open = target.state() == State::Open && !target.model().may_finish();
            let is_right = !is_closed || !is_open;
            world.check(is_right, "a spawn on an open context was refused");
            drop(refused.into_inner());
            None
        }
    }
}

/// A spawn has returned this handle.
fn spawned(world: &Arc<World>, door: &Door, task: Task<Output>, fate: &Arc<Fate>, dice: &mut Dice) {
    door.settle(world, fate, task.id());
    let task = TaskHandle::new(task, fate);
    if dice.once_in(3) {
        drop(task);
    } else {
        world.put(&world.tasks, task, dice);
    }
}

pub(crate) fn spawn_blocking(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    let _inside = world.enter(dice);
    let fate = world.fate(target.model(), "blocking");
    let closure = closure(world, &target.weak(), &fate, dice);
    let task = builder(world, &target, Some(&fate), dice);
    let door = Door::of(&target);
    let task = if Handle::try_current().is_err() || dice.once_in(2) {
        let tried = never("a blocking spawn", || task.try_spawn_blocking(closure));
        tried.and_then(|tried| accepted(world, &target, tried))
    } else {
        world.may_refuse("a blocking spawn", || task.spawn_blocking(closure))
    };
    if let Some(task) = task {
        spawned(world, &door, task, &fate, dice);
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
        guard: FutureGuard(Arc::clone(fate)),
    };
    let (world, own) = (Arc::clone(world), own.clone());
    let mut dice = dice.fork(dice.clone().below(1 << 30));
    move || {
        let guard = guard;
        let fate = Arc::clone(&guard.guard.0);
        fate.start();
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
    guard: FutureGuard,
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
        3 => super::closes::inside(world, own, dice),
        _ => {}
    }
}

pub(crate) fn spawn_local(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    let runtime = world.runtimes.any(dice);
    let (world, under_way) = (Arc::clone(world), world.begin());
    let mut dice = dice.fork(dice.clone().below(1 << 30));
    runtime.on_local_set(Box::new(move || {
        let _under_way = under_way;
        let fate = world.fate(target.model(), "local");
        let script = local_script(&world, &target.weak(), &fate, &mut dice);
        let task = builder(&world, &target, Some(&fate), &mut dice);
        let door = Door::of(&target);
        let task = if dice.once_in(2) {
            let tried = never("a local spawn", || task.try_spawn_local(script));
            tried.and_then(|tried| accepted(&world, &target, tried))
        } else {
            world.may_refuse("a local spawn", || task.spawn_local(script))
        };
        if let Some(task) = task {
            spawned(&world, &door, task, &fate, &mut dice);
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
        spawned(world, &Door::unknown(), task, &fate, dice);
    }
}

pub(crate) fn abort(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(task) = world.tasks.take(dice) {
        never("an abort", || task.task().abort());
        let is_finished = task.task().is_finished();
        let is_right = !is_finished
            || task.fate().flags.has(DROPPED)
            || task.alive() == Some(world.refused_id);
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
    if let Some(task) = world.tasks.take(dice) {
        // Its output, if it has one, is forgotten with it.
        if let Some((inner, _)) = task.into_inner() {
            world.forget(inner);
        }
    }
}

/// The context whose code is running can be asked for from anywhere.
pub(crate) fn ask_current(_: &Arc<World>, _: &mut Dice, _: At) {
    if let Some(current) = Context::current() {
        drop((current.path(), current.state(), current.holders()));
    }
}
