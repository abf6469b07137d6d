//! Slots: the next in line against the one before it, which goes, is replaced, or is just being spawned.

use super::outcomes::Outcomes;
use crate::{
    context::slots::{OnConflict, Slots, Turn},
    name::Label,
    table::store::Table,
};
use loom::thread;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn enter(slots: &Arc<Slots>, on_conflict: OnConflict, table: &Table) -> Option<Turn> {
    let key = Label::borrowed("slot");
    slots.enter(&key, on_conflict, table.table_ref()).ok()
}

fn poll(turn: &mut Turn, waker: &Waker) -> bool {
    turn.poll(&mut Context::from_waker(waker)).is_ready()
}

/// The next in line has its turn at once, or is woken when the one before it is gone; never before that.
#[test]
fn the_next_in_line_is_woken_when_the_one_before_it_is_gone() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (slots, table) = (Arc::<Slots>::default(), Table::new());
        let mut first = enter(&slots, OnConflict::Wait, &table).unwrap();
        let mut second = enter(&slots, OnConflict::Wait, &table).unwrap();
        assert!(poll(&mut first, Waker::noop()));
        let is_gone = Arc::new(AtomicBool::new(false));
        let leaver = thread::spawn({
            let is_gone = Arc::clone(&is_gone);
            move || {
                is_gone.store(true, SeqCst);
                drop(first);
            }
        });
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let at_once = poll(&mut second, &waker);
        assert!(!at_once || is_gone.load(SeqCst), "two at a time");
        leaver.join().unwrap();
        let was_woken = woken.0.load(SeqCst);
        assert!(at_once || was_woken, "it waits for ever");
        assert!(poll(&mut second, &waker));
        saw.saw((at_once, was_woken));
        drop(second);
        // Nothing is left of the slot.
        assert!(enter(&slots, OnConflict::Reject, &table).is_some());
    });
    outcomes.assert_all([(true, false), (false, true)]);
}

/// Of two that come at the same time and do not wait one is refused, unless the other is gone by then.
#[test]
fn one_of_two_that_do_not_wait_is_refused() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (slots, table) = (Arc::<Slots>::default(), Arc::new(Table::new()));
        let try_enter = |slots: &Arc<Slots>, table: &Table| {
            let turn = enter(slots, OnConflict::Reject, table);
            turn.map(|mut turn| assert!(poll(&mut turn, Waker::noop())))
                .is_some()
        };
        let other = thread::spawn({
            let (slots, table) = (Arc::clone(&slots), Arc::clone(&table));
            move || try_enter(&slots, &table)
        });
        let here = try_enter(&slots, &table);
        let there = other.join().unwrap();
        assert!(here || there);
        saw.saw((here, there));
    });
    outcomes.assert_all([(true, true), (true, false), (false, true)]);
}
