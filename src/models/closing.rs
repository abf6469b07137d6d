//! The gate: spawn against close, closers against each other, the last one out.

use super::outcomes::{Outcomes, bounded};
use crate::sync::{Mutex, lock};
#[cfg(feature = "dump")]
use crate::trace::inquiry::Inquiry;
use crate::{
    context::gate::{Gate, Left, MANY},
    table::{
        record::State,
        slots::Slots,
        testing::{Drops, Guest, own, share},
    },
};
use loom::thread;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// I2: a spawn is refused or awaited. The closer either finds nobody inside, and then nobody who was
/// let in is still alive; or it will be told when the last one leaves.
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
                    gate.enter().map(|()| {
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
            assert_eq!(alive.load(SeqCst), 0, "found empty, and somebody is alive");
            assert!(gate.enter().is_err(), "let in after the close began");
        }
        let left: Vec<_> = spawners
            .into_iter()
            .map(|spawner| spawner.join().unwrap())
            .collect();
        let told = left
            .iter()
            .any(|left| matches!(left, Ok(Left::Drained) | Err(Left::Drained)));
        assert!(
            is_empty || told,
            "somebody was inside, and nobody said when they left"
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

/// Without a runtime the rest of a close falls to exactly one: whoever gives it up, if nobody is
/// inside, or one of those who leave; and nobody is inside then.
#[test]
fn an_orphaned_close_is_finished_by_exactly_one() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter().is_ok() && gate.enter().is_ok());
        gate.begin();
        let slot = Arc::new(Mutex::new(None));
        let finishes = |gate: &Gate, slot: &Mutex<_>| {
            let orphan: Option<()> = gate.take_orphan(slot, |()| {});
            assert!(orphan.is_none() || gate.inside() == 0);
            orphan.is_some()
        };
        let leavers: Vec<_> = (0..2)
            .map(|_| {
                let (gate, slot) = (Arc::clone(&gate), Arc::clone(&slot));
                thread::spawn(move || gate.leave() == Left::Orphaned && finishes(&gate, &slot))
            })
            .collect();
        *lock(&slot) = Some(());
        gate.orphan();
        let here = finishes(&gate, &slot);
        let there = leavers.into_iter().map(|leaver| leaver.join().unwrap());
        let finishers = there.filter(|finishes| *finishes).count() + usize::from(here);
        assert_eq!(finishers, 1);
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}

/// `idle`: whoever watches an open gate is told when the last one leaves, or finds it empty.
#[test]
fn a_watcher_finds_the_gate_empty_or_is_told() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter().is_ok());
        let leaver = thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.leave()
        });
        gate.watch();
        let is_empty = gate.inside() == 0;
        let told = leaver.join().unwrap() == Left::Drained;
        assert!(is_empty || told);
        saw.saw((is_empty, told));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// A close that finds nobody inside, or is told that the last one left, knows how many have finished.
#[test]
fn a_close_knows_how_many_have_finished() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        assert!(gate.enter().is_ok() && gate.enter().is_ok());
        let leavers = [(); 2].map(|()| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let left = gate.leave_finished();
                assert!(left == Left::Quietly || gate.finished() == 2);
                left
            })
        });
        assert_eq!(gate.begin(), State::Open);
        let is_empty = gate.inside() == 0;
        assert!(!is_empty || gate.finished() == 2);
        let left = leavers.map(|leaver| leaver.join().unwrap());
        let told = left.iter().filter(|left| **left == Left::Drained).count();
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
        assert!(gate.enter().is_ok() && gate.enter().is_ok());
        let leavers = [(); 2].map(|()| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.leave_finished())
        });
        assert_eq!(gate.begin(), State::Open);
        let is_empty = gate.inside() == 0;
        assert!(!is_empty || gate.finished() == MANY + 2);
        let left = leavers.map(|leaver| leaver.join().unwrap());
        assert!(is_empty || left.contains(&Left::Drained));
        assert_eq!((gate.finished(), gate.inside()), (MANY + 2, 0));
        saw.saw(is_empty);
    });
    outcomes.assert_all([false, true]);
}

/// A spawn that got in before the abort, and can be aborted only after it, aborts itself: whoever looks
/// for tasks sees it complete, or it sees the abort.
#[test]
fn an_abort_reaches_a_spawn_that_was_on_its_way() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        // The table has a block already, and a place in it was used before.
        drop(own(&slots, 0, Guest::new(0)));
        let gate = Arc::new(Gate::new());
        assert!(gate.enter().is_ok());
        let spawner = thread::spawn({
            let (slots, gate) = (Arc::clone(&slots), Arc::clone(&gate));
            move || {
                let (_, place, held) = share(&slots, 0, Guest::new(0));
                held.complete(drops.counted());
                (gate.is_aborting(), place, held)
            }
        });
        gate.abort();
        let mut aborted = false;
        slots.directory().scan(0, 1, |look| {
            aborted = look.later().is_some();
        });
        let (aborts_itself, ..) = spawner.join().unwrap();
        assert!(aborted || aborts_itself, "the abort missed it");
        saw.saw((aborted, aborts_itself));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// A task whose first poll leaves its waker, and looks at the gate then: a close that gave up on its tasks finds the
/// waker, or the poll sees the close.
#[cfg(feature = "dump")]
#[test]
fn an_abort_reaches_a_first_poll_that_was_on_its_way() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        drop(own(&slots, 0, Guest::new(0)));
        let gate = Arc::new(Gate::new());
        assert!(gate.enter().is_ok());
        let task = thread::spawn({
            let (slots, gate) = (Arc::clone(&slots), Arc::clone(&gate));
            move || {
                let place = own(&slots, 0, Guest::new(0));
                place.complete(drops.counted());
                (gate.is_aborting(), place)
            }
        });
        gate.abort();
        let mut woken = false;
        slots.directory().scan(0, 1, |look| {
            woken = look.later().is_some();
        });
        let (ends_itself, _place) = task.join().unwrap();
        assert!(woken || ends_itself, "the abort missed it");
        saw.saw((woken, ends_itself));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// As somebody aborts a task that is listed, whatever its context does.
#[cfg(feature = "dump")]
#[test]
fn a_mark_reaches_a_first_poll_that_was_on_its_way() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        let (mark, place) = (Arc::new(Inquiry::default()), own(&slots, 0, Guest::new(0)));
        let task = thread::spawn({
            let mark = Arc::clone(&mark);
            move || {
                place.complete(drops.counted());
                (mark.is_aborted(), place)
            }
        });
        let mut woken = false;
        slots.directory().scan(0, 1, |look| {
            mark.abort();
            woken = look.later().is_some();
        });
        let (ends_itself, _place) = task.join().unwrap();
        assert!(woken || ends_itself, "the abort missed it");
        saw.saw((woken, ends_itself));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}
