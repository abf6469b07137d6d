//! The gate: spawn against close, closers against each other, the last one out.

use super::outcomes::{Outcomes, bounded};
use crate::{
    context::gate::{Gate, MANY, OnLeave},
    poll::state::PollState,
    slab::{
        slab::Slab,
        testing::{TestEntry, own},
    },
    sync::{Mutex, lock},
    table::record::State,
};
use loom::thread;
use std::sync::{
    Arc,
    atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

/// I2: a spawn is refused or awaited. The closer either finds the gate empty, and then none of those
/// that were let in is still alive; or it is notified when the last one leaves.
#[test]
fn a_spawn_is_refused_or_awaited() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        let alive = Arc::new(AtomicUsize::new(0));
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                let (gate, alive) = (Arc::clone(&gate), Arc::clone(&alive));
                thread::spawn(move || {
                    gate.enter(|| false).map(|()| {
                        alive.fetch_add(1, SeqCst);
                        thread::yield_now();
                        alive.fetch_sub(1, SeqCst);
                        gate.leave()
                    })
                })
            })
            .collect();
        assert_eq!(gate.begin(), State::Open);
        let is_empty = gate.inside() == 0;
        if is_empty {
            assert_eq!(alive.load(SeqCst), 0, "found empty, and a task is alive");
            assert!(
                gate.enter(|| false).is_err(),
                "let in after the close began"
            );
        }
        let left: Vec<_> = spawners
            .into_iter()
            .map(|spawner| spawner.join().unwrap())
            .collect();
        let told = left.iter().any(|left| {
            matches!(
                left,
                Ok(OnLeave::NotifyDrained) | Err(OnLeave::NotifyDrained)
            )
        });
        assert!(
            is_empty || told,
            "a task was inside, and its end was not announced"
        );
        assert_eq!(gate.inside(), 0);
        saw.saw((left.iter().filter(|left| left.is_ok()).count(), is_empty));
    });
    // Accepted spawns, and whether the closer found the gate empty.
    outcomes.assert_all([
        (0, false),
        (0, true),
        (1, false),
        (1, true),
        (2, false),
        (2, true),
    ]);
}

/// I8: of two closers one begins, and one ends.
#[test]
fn one_of_two_closers_begins_and_one_ends() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        let close = |gate: &Gate| (gate.begin() == State::Open, gate.end());
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || close(&gate)
        });
        let here = close(&gate);
        let there = other.join().unwrap();
        assert!(here.0 != there.0 && here.1 != there.1);
        saw.saw((here.0, here.1));
    });
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}

/// Without a runtime the rest of a close falls to exactly one: the driver that gives it up, if the gate is
/// empty, or one of those that leave; and the gate is empty then.
#[test]
fn a_close_that_nobody_drives_is_finished_by_exactly_one() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter(|| false).is_ok() && gate.enter(|| false).is_ok());
        gate.begin();
        let slot = Arc::new(Mutex::new(None));
        let finishes = |gate: &Gate, slot: &Mutex<_>| {
            let undriven: Option<()> = gate.take_undriven(slot, |()| {});
            assert!(undriven.is_none() || gate.inside() == 0);
            undriven.is_some()
        };
        let leavers: Vec<_> = (0..2)
            .map(|_| {
                let (gate, slot) = (Arc::clone(&gate), Arc::clone(&slot));
                thread::spawn(move || {
                    gate.leave() == OnLeave::FinishClose && finishes(&gate, &slot)
                })
            })
            .collect();
        *lock(&slot) = Some(());
        gate.leave_undriven();
        let here = finishes(&gate, &slot);
        let there = leavers.into_iter().map(|leaver| leaver.join().unwrap());
        let finishers = there.filter(|finishes| *finishes).count() + usize::from(here);
        assert_eq!(finishers, 1);
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}

/// `idle`: a watcher of an open gate is notified when the last one leaves, or finds it empty.
#[test]
fn a_watcher_finds_the_gate_empty_or_is_told() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter(|| false).is_ok());
        let leaver = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.leave()
        });
        gate.watch();
        let is_empty = gate.inside() == 0;
        let told = leaver.join().unwrap() == OnLeave::NotifyDrained;
        assert!(is_empty || told);
        saw.saw((is_empty, told));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// A close that finds the gate empty, or is notified that the last one left, knows how many have finished.
#[test]
fn a_close_knows_how_many_have_finished() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter(|| false).is_ok() && gate.enter(|| false).is_ok());
        let leavers = [(); 2].map(|()| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let left = gate.leave_finished();
                assert!(left == OnLeave::Nothing || gate.finished() == 2);
                left
            })
        });
        assert_eq!(gate.begin(), State::Open);
        let is_empty = gate.inside() == 0;
        assert!(!is_empty || gate.finished() == 2);
        let left = leavers.map(|leaver| leaver.join().unwrap());
        let told = left
            .iter()
            .filter(|left| **left == OnLeave::NotifyDrained)
            .count();
        assert!(told <= 1 && (is_empty || told == 1));
        assert_eq!((gate.finished(), gate.inside()), (2, 0));
        saw.saw((is_empty, told));
    });
    outcomes.assert_all([(false, 1), (true, 0), (true, 1)]);
}

/// The same when two of them find so many that they put them aside: one does.
#[test]
fn a_close_knows_how_many_have_finished_though_they_are_put_aside() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let gate = Arc::new(Gate::after(MANY));
        assert!(gate.enter(|| false).is_ok() && gate.enter(|| false).is_ok());
        let leavers = [(); 2].map(|()| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.leave_finished())
        });
        assert_eq!(gate.begin(), State::Open);
        let is_empty = gate.inside() == 0;
        assert!(!is_empty || gate.finished() == MANY + 2);
        let left = leavers.map(|leaver| leaver.join().unwrap());
        assert!(is_empty || left.contains(&OnLeave::NotifyDrained));
        assert_eq!((gate.finished(), gate.inside()), (MANY + 2, 0));
        saw.saw(is_empty);
    });
    outcomes.assert_all([false, true]);
}

/// A spawn that got in before the abort, and is listed too late for it, aborts itself: the scan for tasks finds it, or
/// it sees the abort.
#[test]
fn an_abort_reaches_a_spawn_that_was_on_its_way() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let slab = Slab::with_stripes(1);
        // The slab has a block already, and a place in it was used before.
        drop(own(&slab, 0, TestEntry::new(0)));
        let gate = Arc::new(Gate::new());
        assert!(gate.enter(|| false).is_ok());
        let spawner = thread::spawn({
            let (slab, gate) = (Arc::clone(&slab), Arc::clone(&gate));
            move || {
                let owner = own(&slab, 0, TestEntry::new(0));
                (gate.is_aborting(), owner)
            }
        });
        gate.abort();
        let mut found = false;
        slab.directory().scan(0, 1, |_| found = true);
        let (aborts_itself, _owner) = spawner.join().unwrap();
        assert!(found || aborts_itself, "the abort missed it");
        saw.saw((found, aborts_itself));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// A task whose first poll leaves its waker while an abort is requested: the abort finds the waker, or the poll sees the
/// abort.
#[test]
fn an_abort_reaches_a_first_poll_that_was_on_its_way() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let state = Arc::new(PollState::default());
        // Stands for the waker. Relaxed: it is ordered by the flags alone.
        let waker = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let task = thread::spawn({
            let (state, waker) = (Arc::clone(&state), Arc::clone(&waker));
            move || {
                waker.store(1, Relaxed);
                state.note_waker()
            }
        });
        state.request_abort();
        let woken = waker.load(Relaxed) == 1;
        let ends_itself = task.join().unwrap();
        assert!(woken || ends_itself, "the abort missed it");
        saw.saw((woken, ends_itself));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}
