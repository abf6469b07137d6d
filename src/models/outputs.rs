//! A task's result: delivered against a handle that is dropped.

use super::outcomes::{Outcomes, bounded};
use crate::{
    id::ResourceId,
    name::Label,
    slab::testing::{Counted, Drops},
    table::{
        record::{Class, Facts, Meta, Outcome, Record, State},
        store::Table,
        task_entry::{Role, TaskHandle, TaskHold as _, TaskKind},
    },
    task::{
        guard::TaskGuard,
        handle::{Task, Whereabouts},
    },
};
use loom::thread;
use std::{
    panic::Location,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A context as far as its tasks need one: it keeps the table.
struct Owner {
    meta: Meta,
    table: Arc<Table>,
}

impl Record for Owner {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Context
    }

    fn state(&self) -> State {
        State::Open
    }

    fn parent(&self) -> Option<&dyn Record> {
        None
    }
}

fn facts() -> Facts {
    Facts {
        name: Label::borrowed("name"),
        kind: Label::borrowed("kind"),
        location: Location::caller(),
    }
}

fn owner() -> Arc<Owner> {
    let id = ResourceId {
        table: 0,
        index: 0,
        generation: 0,
    };
    Arc::new(Owner {
        meta: Meta::new(id, facts()),
        table: Arc::new(Table::new()),
    })
}

/// A task of its own context, and its handle.
fn insert(owner: &Arc<Owner>) -> (TaskGuard<'static>, TaskHandle) {
    insert_of(owner, TaskKind::Spawned)
}

fn insert_of(owner: &Arc<Owner>, kind: TaskKind) -> (TaskGuard<'static>, TaskHandle) {
    let role = Role::Task(kind);
    let context = Arc::clone(owner) as Arc<dyn Record>;
    let (entry, handle) = owner.table.insert_task(facts(), context, role);
    (TaskGuard::listed(entry), handle)
}

fn handle(held: TaskHandle) -> Task<Counted> {
    Task::accepted(held, Whereabouts::entry())
}

/// What a task does at its end; says whether its result is dropped when it has.
fn end(mut guard: TaskGuard<'_>, drops: &Drops) -> bool {
    let result = drops.counted();
    guard.leave(Outcome::Finished, |task| {
        Whereabouts::entry()
            .find(task)
            .deliver(Ok(result), None, task);
    });
    drops.count() == 1
}

fn poll(task: &mut Task<Counted>, waker: &Waker) -> bool {
    match Pin::new(task).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(result) => result.is_ok(),
        Poll::Pending => false,
    }
}

/// I6: the result is claimed, or dropped by the one that comes second; once, and never left behind.
#[test]
fn a_result_is_claimed_or_dropped_exactly_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let (owner, drops) = (owner(), Drops::default());
        let (guard, held) = insert(&owner);
        let task = thread::spawn({
            let drops = drops.clone();
            move || end(guard, &drops)
        });
        let mut handle = handle(held);
        let claimed = poll(&mut handle, Waker::noop());
        drop(handle);
        let dropped_by_task = task.join().unwrap();
        assert_eq!((drops.count(), owner.table.count()), (1, 0));
        saw.saw((claimed, dropped_by_task));
    });
    // Claimed and dropped here before the task has returned from delivering, too.
    outcomes.assert_all([(false, false), (false, true), (true, false), (true, true)]);
}

/// The same of a handle that was never polled: exactly one of the two is told to drop the result.
#[test]
fn a_result_that_nobody_waits_for_is_dropped_exactly_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (owner, drops) = (owner(), Drops::default());
        let (guard, held) = insert(&owner);
        let task = thread::spawn({
            let drops = drops.clone();
            move || end(guard, &drops)
        });
        drop(handle(held));
        let dropped_here = drops.count();
        let dropped_by_task = task.join().unwrap();
        assert_eq!((drops.count(), owner.table.count()), (1, 0));
        saw.saw((dropped_here, dropped_by_task));
    });
    outcomes.assert_all([(0, true), (1, false), (1, true)]);
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A handle has its result at once, or is woken when it is there.
#[test]
fn a_handle_that_waits_is_woken() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let (owner, drops) = (owner(), Drops::default());
        let (guard, held) = insert(&owner);
        let task = thread::spawn({
            let drops = drops.clone();
            move || end(guard, &drops)
        });
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut handle = handle(held);
        let at_once = poll(&mut handle, &waker);
        task.join().unwrap();
        let was_woken = woken.0.load(SeqCst);
        assert!(at_once || was_woken && poll(&mut handle, &waker));
        drop(handle);
        assert_eq!((drops.count(), owner.table.count()), (1, 0));
        saw.saw((at_once, was_woken));
    });
    outcomes.assert_all([(true, false), (false, true)]);
}

/// One that waits for the end, and leaves the output to the handle, is done at once, or is woken when the result is there.
#[test]
fn one_that_waits_for_the_end_is_woken() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let (owner, drops) = (owner(), Drops::default());
        let (guard, held) = insert(&owner);
        let task = thread::spawn({
            let drops = drops.clone();
            move || end(guard, &drops)
        });
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut handle = handle(held);
        let at_once = {
            let mut finished = pin!(handle.finished());
            let at_once = finished.as_mut().poll(&mut cx).is_ready();
            assert!(!at_once || handle.is_finished());
            task.join().unwrap();
            let was_woken = woken.0.load(SeqCst);
            assert!(at_once || was_woken && finished.poll(&mut cx).is_ready());
            at_once
        };
        assert!(poll(&mut handle, &waker), "the output was taken");
        drop(handle);
        assert_eq!((drops.count(), owner.table.count()), (1, 0));
        saw.saw(at_once);
    });
    outcomes.assert_all([true, false]);
}

/// I5: a reader of a task is never the one that drops its result.
#[test]
fn a_result_is_dropped_though_somebody_looks_at_the_task() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (owner, drops) = (owner(), Drops::default());
        let (guard, held) = insert(&owner);
        let task = thread::spawn({
            let drops = drops.clone();
            move || end(guard, &drops)
        });
        let dropper = thread::spawn(move || drop(handle(held)));
        let mut threads = Some((task, dropper));
        let mut join = || {
            let (task, dropper) = threads.take()?;
            dropper.join().unwrap();
            Some(task.join().unwrap())
        };
        let mut was_seen = false;
        let mut by_task = None;
        owner.table.for_each(|_| {
            by_task = join();
            assert_eq!(drops.count(), 1);
            was_seen = true;
        });
        let by_task = by_task.or_else(&mut join);
        assert_eq!((drops.count(), owner.table.count()), (1, 0));
        saw.saw((was_seen, by_task));
    });
    outcomes.assert_all([
        (false, Some(false)),
        (false, Some(true)),
        (true, Some(false)),
        (true, Some(true)),
    ]);
}

/// A task that waits is woken by one of two who abort it at once, or finds the abort itself; also if it was polled before by
/// another executor.
#[test]
fn an_abort_wakes_a_task_that_waits_or_is_found_by_it() {
    for kind in [TaskKind::Spawned, TaskKind::Wrapped] {
        let outcomes = Outcomes::new();
        let saw = outcomes.clone();
        bounded(3).check(move || {
            let owner = owner();
            let (guard, held) = insert_of(&owner, kind);
            if kind == TaskKind::Wrapped {
                guard.park(&mut Context::from_waker(Waker::noop()));
            }
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&woken));
            let task = thread::spawn(move || {
                let is_aborting = guard.is_aborting();
                if !is_aborting {
                    guard.park(&mut Context::from_waker(&waker));
                }
                // A wrapped future looks again.
                (
                    is_aborting || kind == TaskKind::Wrapped && guard.is_aborting(),
                    guard,
                )
            });
            let other = thread::spawn({
                let table = Arc::clone(&owner.table);
                move || table.for_each(|task| task.request_abort())
            });
            held.request_abort();
            other.join().unwrap();
            let (was_found, mut guard) = task.join().unwrap();
            let was_woken = woken.0.load(SeqCst);
            assert!(was_found || was_woken);
            guard.leave(Outcome::Aborted, |_| {});
            drop(held);
            assert_eq!(owner.table.count(), 0);
            saw.saw((was_found, was_woken));
        });
        let saw: Vec<_> = [false, true]
            .into_iter()
            .filter(|was_woken| outcomes.has(&(!was_woken, *was_woken)))
            .collect();
        assert_eq!(saw, [false, true], "{kind:?}");
    }
}
