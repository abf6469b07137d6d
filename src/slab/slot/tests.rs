//! Of [`super`].

use super::*;
use crate::slab::testing::{Drops, TestEntry};

fn slot() -> Slot<TestEntry> {
    Slot::new(5)
}

/// Fills a slot that no test fills twice without emptying it.
fn fill(slot: &Slot<TestEntry>, holds: u64, entry: TestEntry) {
    // SAFETY: the slot is free, and the tests have one thread.
    unsafe {
        *slot.vacant() = entry;
        slot.list(holds, SeqCst);
    }
}

/// Empties a slot of which the last hold is gone; says whether it can be filled again.
fn empty(slot: &Slot<TestEntry>) -> bool {
    // SAFETY: those who call this were told that they released last.
    unsafe {
        *slot.vacant() = TestEntry::default();
        slot.make_free()
    }
}

/// The owner's, once.
fn unlist(slot: &Slot<TestEntry>) -> (bool, bool) {
    // SAFETY: those who call this have `OWNED`.
    unsafe { slot.unlist() }
}

fn bury(slot: &Slot<TestEntry>) -> bool {
    // SAFETY: those who call this have a pin.
    unsafe { slot.bury() }
}

fn release(slot: &Slot<TestEntry>, hold: u64) -> Gone {
    // SAFETY: those who call this have that hold, and do not use it again.
    unsafe { slot.release(hold) }
}

fn pin_again(slot: &Slot<TestEntry>) {
    // SAFETY: those who call this have a pin.
    unsafe { slot.pin_again() }
}

fn make_ready(slot: &Slot<TestEntry>) -> bool {
    // SAFETY: those who call this have `OWNED`.
    unsafe { slot.make_ready() }
}

fn release_unready(slot: &Slot<TestEntry>) -> Option<Gone> {
    // SAFETY: those who call this have `HELD`, and do not use it again.
    unsafe { slot.release_unready() }
}

#[test]
fn a_free_slot_is_not_pinned() {
    let slot = slot();
    assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    assert_eq!(slot.generation(), 5);
}

/// L3: by the entry's own generation, or by any.
#[test]
fn an_entry_is_pinned_by_its_generation_only() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(7));
    assert_eq!([slot.pin(Some(4)), slot.pin(Some(6))], [None, None]);
    assert_eq!([slot.pin(Some(5)), slot.pin(None)], [Some(5), Some(5)]);
    // SAFETY: it is pinned.
    assert_eq!(unsafe { slot.entry() }.value, 7);
}

/// L3.
#[test]
fn the_next_entry_has_the_next_generation() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(1));
    unlist(&slot);
    assert_eq!(release(&slot, OWNED), Gone::Last);
    assert!(empty(&slot));
    assert_eq!((slot.generation(), slot.pin(None)), (6, None));
    fill(&slot, OWNED, TestEntry::new(2));
    assert_eq!((slot.pin(Some(5)), slot.pin(Some(6))), (None, Some(6)));
}

#[test]
fn who_left_the_list_is_not_pinned() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    assert_eq!(unlist(&slot), (true, true));
    assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    assert_eq!(release(&slot, OWNED), Gone::Last);
    empty(&slot);
}

#[test]
fn what_was_buried_is_not_pinned() {
    for holds in [0, OWNED] {
        let slot = slot();
        fill(&slot, holds, TestEntry::new(0));
        assert_eq!(slot.pin(None), Some(5));
        assert!(bury(&slot));
        assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    }
}

#[test]
fn an_entry_is_buried_once() {
    let slot = slot();
    fill(&slot, 0, TestEntry::new(0));
    assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
    assert!(bury(&slot) && !bury(&slot));
}

#[test]
fn an_owner_learns_that_its_entry_was_buried() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    slot.pin(None);
    assert!(bury(&slot));
    assert_eq!(unlist(&slot), (false, false), "buried, and pinned");
}

#[test]
fn who_comes_after_the_owner_does_not_bury() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    slot.pin(None);
    assert_eq!(unlist(&slot), (true, false), "listed, and pinned");
    assert!(!bury(&slot));
}

#[test]
fn an_owner_is_alone_without_pins_and_a_second_hold() {
    for (holds, pins, is_alone) in [
        (OWNED, 0, true),
        (OWNED, 1, false),
        (OWNED | HELD, 0, false),
        (OWNED | HELD, 1, false),
    ] {
        let slot = slot();
        fill(&slot, holds, TestEntry::new(0));
        (0..pins).for_each(|_| assert_eq!(slot.pin(None), Some(5)));
        assert_eq!(unlist(&slot), (true, is_alone));
    }
}

/// The last to let go is told so, and no other, whatever the order.
#[test]
fn the_last_of_owner_held_and_pins_is_told_so() {
    let holds = [OWNED, HELD, PIN, PIN];
    for first in 0..4 {
        for turn in 1..4 {
            let slot = slot();
            fill(&slot, OWNED | HELD, TestEntry::new(0));
            assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
            unlist(&slot);
            let order = [0, turn, turn % 3 + 1, (turn + 1) % 3 + 1];
            let gone = order.map(|at| release(&slot, holds[(first + at) % 4]));
            let not_yet = Gone::NotYet;
            assert_eq!(gone, [not_yet, not_yet, not_yet, Gone::Last]);
            empty(&slot);
        }
    }
}

#[test]
fn nobody_is_the_last_while_the_entry_is_listed() {
    let slot = slot();
    fill(&slot, OWNED | HELD, TestEntry::new(0));
    slot.pin(None);
    let gone = [PIN, HELD, OWNED].map(|hold| release(&slot, hold));
    assert_eq!(gone, [Gone::NotYet; 3]);
}

#[test]
fn an_entry_without_an_owner_goes_with_the_last_pin_after_the_burial() {
    let slot = slot();
    fill(&slot, 0, TestEntry::new(0));
    assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
    assert_eq!(release(&slot, PIN), Gone::NotYet);
    bury(&slot);
    pin_again(&slot);
    assert_eq!(
        [release(&slot, PIN), release(&slot, PIN)],
        [Gone::NotYet, Gone::Last]
    );
    empty(&slot);
}

#[test]
fn an_entry_with_an_owner_stays_for_it_after_a_burial() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    slot.pin(None);
    bury(&slot);
    assert_eq!(release(&slot, PIN), Gone::NotYet);
    unlist(&slot);
    assert_eq!(release(&slot, OWNED), Gone::Last);
    empty(&slot);
}

#[test]
fn who_was_pinned_is_pinned_again_after_it_left_the_list() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    slot.pin(None);
    unlist(&slot);
    pin_again(&slot);
    let gone = [OWNED, PIN, PIN].map(|hold| release(&slot, hold));
    assert_eq!(gone, [Gone::NotYet, Gone::NotYet, Gone::Last]);
    empty(&slot);
}

#[test]
fn a_holder_leaves_before_it_is_ready_and_is_not_there_after() {
    let slot = slot();
    fill(&slot, OWNED | HELD, TestEntry::new(0));
    assert!(slot.is_held() && !slot.is_ready());
    assert_eq!(release_unready(&slot), Some(Gone::NotYet));
    assert!(!slot.is_held());
    assert!(!make_ready(&slot), "no handle waits for it");
}

#[test]
fn a_holder_who_finds_it_ready_stays() {
    let slot = slot();
    fill(&slot, OWNED | HELD, TestEntry::new(0));
    assert!(make_ready(&slot), "a handle waits for it");
    assert_eq!(release_unready(&slot), None);
    assert!(slot.is_held() && slot.is_ready());
}

#[test]
fn a_holder_who_leaves_unready_can_be_the_last() {
    let slot = slot();
    fill(&slot, OWNED | HELD, TestEntry::new(0));
    unlist(&slot);
    assert_eq!(release(&slot, OWNED), Gone::NotYet);
    assert_eq!(release_unready(&slot), Some(Gone::Last));
    empty(&slot);
}

#[test]
fn an_emptied_slot_has_none_of_the_flags() {
    let slot = slot();
    fill(&slot, OWNED | HELD, TestEntry::new(0));
    unlist(&slot);
    release(&slot, HELD);
    release(&slot, OWNED);
    assert!(empty(&slot));
    assert_eq!(slot.state.load(Relaxed), free(6));
}

/// L3.
#[test]
fn a_slot_without_generations_left_stays_empty() {
    let (slot, drops) = (Slot::new(u32::MAX), Drops::default());
    fill(&slot, OWNED, TestEntry::new(0).counted(&drops));
    assert_eq!(slot.pin(None), Some(u32::MAX));
    unlist(&slot);
    release(&slot, OWNED);
    assert_eq!(release(&slot, PIN), Gone::Last);
    assert!(!empty(&slot), "it is not to be filled again");
    assert_eq!((slot.pin(None), drops.count()), (None, 1));
}

/// Whatever it is that holds the entry there.
#[test]
fn a_slot_takes_an_entry_along_that_left_the_list() {
    for hold in [OWNED, HELD, PIN] {
        let (slot, drops) = (slot(), Drops::default());
        fill(&slot, OWNED | HELD, TestEntry::new(0).counted(&drops));
        slot.pin(None);
        unlist(&slot);
        release(&slot, (OWNED | HELD) + PIN - hold);
        drop(slot);
        assert_eq!(drops.count(), 1);
    }
}

/// It was dropped when the slot was emptied, and not again.
#[test]
fn a_slot_without_an_entry_drops_none() {
    let (slot, drops) = (slot(), Drops::default());
    fill(&slot, OWNED, TestEntry::new(0).counted(&drops));
    unlist(&slot);
    release(&slot, OWNED);
    empty(&slot);
    assert_eq!(drops.count(), 1);
    drop(slot);
    assert_eq!(drops.count(), 1);
}

/// Refused before they are counted: a panic that is caught leaves the count as it was, however often that happens.
#[test]
fn so_many_pins_that_they_could_run_into_the_flags_are_refused() {
    let slot = slot();
    fill(&slot, OWNED, TestEntry::new(0));
    slot.state.fetch_add(MOST_PINS - PIN, Relaxed);
    assert_eq!(slot.pin(None), Some(5));
    let full = slot.state.load(Relaxed);
    for _ in 0..3 {
        let pinned = crate::panics::guarded(|| slot.pin(None));
        let again = crate::panics::guarded(|| pin_again(&slot));
        for payload in [pinned.map(drop).unwrap_err(), again.unwrap_err()] {
            let said = crate::panics::message(&*payload);
            assert!(said.contains("hold one entry"), "{said}");
        }
        assert_eq!(slot.state.load(Relaxed), full);
    }
}

#[test]
fn a_slot_takes_its_entry_along() {
    for holds in [0, OWNED, OWNED | HELD] {
        let (slot, drops) = (slot(), Drops::default());
        fill(&slot, holds, TestEntry::new(0).counted(&drops));
        drop(slot);
        assert_eq!(drops.count(), 1);
    }
}
