//! Of [`super`].

use super::*;
use crate::table::testing::{Counted, Drops, Guest};

fn slot() -> Slot<Guest> {
    Slot::new(5)
}

/// Fills a slot that no test fills twice without emptying it.
fn fill(slot: &Slot<Guest>, holds: u64, guest: Guest) {
    // SAFETY: the slot is free, and the tests have one thread.
    unsafe {
        slot.fill(holds, |place| {
            place.write(guest);
        });
    }
}

fn complete(slot: &Slot<Guest>, later: Counted) {
    // SAFETY: those who call this have `HELD`, and call it once.
    unsafe { slot.complete(later) }
}

fn later(slot: &Slot<Guest>) -> Option<&Counted> {
    // SAFETY: those who call this have a hold, and let go of it later.
    unsafe { slot.later() }
}

/// Empties a slot of which the last hold is gone; says whether it can be filled again.
fn empty(slot: &Slot<Guest>, keep_shell: bool) -> bool {
    // SAFETY: those who call this were told that they let go last.
    unsafe { slot.empty(keep_shell) }.2
}

#[test]
fn a_free_slot_is_not_pinned() {
    let slot = slot();
    assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    assert_eq!(slot.generation(), 5);
}

/// L3: by the tenant's own generation, or by any.
#[test]
fn a_tenant_is_pinned_by_its_generation_only() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(7));
    assert_eq!([slot.pin(Some(4)), slot.pin(Some(6))], [None, None]);
    assert_eq!([slot.pin(Some(5)), slot.pin(None)], [Some(5), Some(5)]);
    // SAFETY: it is pinned.
    assert_eq!(unsafe { slot.tenant() }.value, 7);
}

/// L3.
#[test]
fn the_next_tenant_has_the_next_generation() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(1));
    slot.unlist();
    assert_eq!(slot.release(OWNED), Gone::Last);
    assert!(empty(&slot, false));
    assert_eq!((slot.generation(), slot.pin(None)), (6, None));
    fill(&slot, OWNED, Guest::new(2));
    assert_eq!((slot.pin(Some(5)), slot.pin(Some(6))), (None, Some(6)));
}

#[test]
fn who_left_the_list_is_not_pinned() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    assert_eq!(slot.unlist(), (true, true));
    assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    assert_eq!(slot.release(OWNED), Gone::Last);
    empty(&slot, false);
}

#[test]
fn who_was_struck_is_not_pinned() {
    for holds in [0, OWNED] {
        let slot = slot();
        fill(&slot, holds, Guest::new(0));
        assert_eq!(slot.pin(None), Some(5));
        assert!(slot.strike());
        assert_eq!((slot.pin(None), slot.pin(Some(5))), (None, None));
    }
}

#[test]
fn a_tenant_is_struck_once() {
    let slot = slot();
    fill(&slot, 0, Guest::new(0));
    assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
    assert!(slot.strike() && !slot.strike());
}

#[test]
fn an_owner_learns_that_its_tenant_was_struck() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    slot.pin(None);
    assert!(slot.strike());
    assert_eq!(slot.unlist(), (false, false), "struck, and pinned");
}

#[test]
fn who_comes_after_the_owner_does_not_strike() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    slot.pin(None);
    assert_eq!(slot.unlist(), (true, false), "listed, and pinned");
    assert!(!slot.strike());
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
        fill(&slot, holds, Guest::new(0));
        (0..pins).for_each(|_| assert_eq!(slot.pin(None), Some(5)));
        assert_eq!(slot.unlist(), (true, is_alone));
    }
}

/// Whoever lets go last is told so, and nobody else, whatever the order.
#[test]
fn the_last_of_owner_held_and_pins_is_told_so() {
    let holds = [OWNED, HELD, PIN, PIN];
    for first in 0..4 {
        for turn in 1..4 {
            let slot = slot();
            fill(&slot, OWNED | HELD, Guest::new(0));
            assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
            slot.unlist();
            let order = [0, turn, turn % 3 + 1, (turn + 1) % 3 + 1];
            let gone = order.map(|at| slot.release(holds[(first + at) % 4]));
            let not_yet = Gone::NotYet;
            assert_eq!(gone, [not_yet, not_yet, not_yet, Gone::Last]);
            empty(&slot, false);
        }
    }
}

#[test]
fn nobody_is_the_last_while_the_tenant_is_listed() {
    let slot = slot();
    fill(&slot, OWNED | HELD, Guest::new(0));
    slot.pin(None);
    let gone = [PIN, HELD, OWNED].map(|hold| slot.release(hold));
    assert_eq!(gone, [Gone::NotYet; 3]);
}

#[test]
fn a_tenant_without_an_owner_goes_with_the_last_pin_after_the_strike() {
    let slot = slot();
    fill(&slot, 0, Guest::new(0));
    assert_eq!((slot.pin(None), slot.pin(None)), (Some(5), Some(5)));
    assert_eq!(slot.release(PIN), Gone::NotYet);
    slot.strike();
    slot.pin_again();
    assert_eq!(
        [slot.release(PIN), slot.release(PIN)],
        [Gone::NotYet, Gone::Last]
    );
    empty(&slot, false);
}

#[test]
fn a_tenant_with_an_owner_stays_for_it_after_a_strike() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    slot.pin(None);
    slot.strike();
    assert_eq!(slot.release(PIN), Gone::NotYet);
    slot.unlist();
    assert_eq!(slot.release(OWNED), Gone::Last);
    empty(&slot, false);
}

#[test]
fn who_was_pinned_is_pinned_again_after_it_left_the_list() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    slot.pin(None);
    slot.unlist();
    slot.pin_again();
    let gone = [OWNED, PIN, PIN].map(|hold| slot.release(hold));
    assert_eq!(gone, [Gone::NotYet, Gone::NotYet, Gone::Last]);
    empty(&slot, false);
}

#[test]
fn what_comes_later_is_invisible_before_it_is_complete() {
    let (slot, drops) = (slot(), Drops::default());
    fill(&slot, OWNED | HELD, Guest::new(0));
    assert!(later(&slot).is_none() && !slot.has_later());
    complete(&slot, drops.counted());
    assert!(later(&slot).is_some() && slot.has_later());
    assert_eq!(drops.count(), 0);
}

#[test]
fn a_holder_leaves_before_it_is_ready_and_is_not_there_after() {
    let slot = slot();
    fill(&slot, OWNED | HELD, Guest::new(0));
    assert!(slot.is_held() && !slot.is_ready());
    assert_eq!(slot.leave_unready(), Some(Gone::NotYet));
    assert!(!slot.is_held());
    assert!(!slot.ready(), "nobody waits for it");
}

#[test]
fn a_holder_who_finds_it_ready_stays() {
    let slot = slot();
    fill(&slot, OWNED | HELD, Guest::new(0));
    assert!(slot.ready(), "somebody waits for it");
    assert_eq!(slot.leave_unready(), None);
    assert!(slot.is_held() && slot.is_ready());
}

#[test]
fn a_holder_who_leaves_unready_can_be_the_last() {
    let slot = slot();
    fill(&slot, OWNED | HELD, Guest::new(0));
    slot.unlist();
    assert_eq!(slot.release(OWNED), Gone::NotYet);
    assert_eq!(slot.leave_unready(), Some(Gone::Last));
    empty(&slot, false);
}

/// A tenant that left nothing behind but its shell, in a free slot.
fn vacated(drops: &Drops, keep_shell: bool) -> Slot<Guest> {
    let slot = slot();
    fill(&slot, OWNED | HELD, Guest::new(0));
    complete(&slot, drops.counted());
    slot.unlist();
    slot.release(HELD);
    slot.release(OWNED);
    assert!(empty(&slot, keep_shell));
    slot
}

#[test]
fn a_shell_that_is_kept_is_there_to_be_taken_once() {
    let drops = Drops::default();
    let slot = vacated(&drops, true);
    assert_eq!(drops.count(), 0);
    // SAFETY: the slot is free.
    let [shell, none] = unsafe { [slot.take_shell(), slot.take_shell()] };
    assert!(shell.is_some() && none.is_none());
}

#[test]
fn a_shell_that_is_not_kept_goes_with_its_tenant() {
    let drops = Drops::default();
    let slot = vacated(&drops, false);
    assert_eq!(drops.count(), 1);
    // SAFETY: the slot is free.
    assert!(unsafe { slot.take_shell() }.is_none());
}

#[test]
fn what_was_later_of_one_tenant_is_not_of_the_next() {
    let drops = Drops::default();
    let slot = vacated(&drops, true);
    fill(&slot, OWNED | HELD, Guest::new(0));
    assert!(later(&slot).is_none() && !slot.has_later());
}

#[test]
fn an_emptied_slot_has_none_of_the_flags() {
    let drops = Drops::default();
    let slot = vacated(&drops, false);
    assert_eq!(slot.state.load(Relaxed), free(6));
}

/// L3.
#[test]
fn a_slot_without_generations_left_stays_empty() {
    let (slot, drops) = (Slot::new(u32::MAX), Drops::default());
    fill(&slot, OWNED, Guest::new(0).counted(&drops));
    assert_eq!(slot.pin(None), Some(u32::MAX));
    slot.unlist();
    slot.release(OWNED);
    assert_eq!(slot.release(PIN), Gone::Last);
    assert!(!empty(&slot, false), "it is not to be filled again");
    assert_eq!((slot.pin(None), drops.count()), (None, 1));
}

#[test]
fn a_slot_takes_its_tenant_along() {
    let holds = [0, OWNED, OWNED | HELD];
    for (holds, later) in [0, 1, 2].map(|at| (holds[at], at == 2)) {
        let (slot, drops) = (slot(), Drops::default());
        fill(&slot, holds, Guest::new(0).counted(&drops));
        if later {
            complete(&slot, drops.counted());
        }
        drop(slot);
        assert_eq!(drops.count(), 1 + usize::from(later));
    }
}

/// Whatever it is that holds the tenant there.
#[test]
fn a_slot_takes_a_tenant_along_that_left_the_list() {
    for hold in [OWNED, HELD, PIN] {
        let (slot, drops) = (slot(), Drops::default());
        fill(&slot, OWNED | HELD, Guest::new(0).counted(&drops));
        slot.pin(None);
        slot.unlist();
        slot.release((OWNED | HELD) + PIN - hold);
        drop(slot);
        assert_eq!(drops.count(), 1);
    }
}

/// It was dropped when the slot was emptied, and not again.
#[test]
fn a_slot_without_a_tenant_drops_none() {
    let (slot, drops) = (slot(), Drops::default());
    fill(&slot, OWNED, Guest::new(0).counted(&drops));
    slot.unlist();
    slot.release(OWNED);
    empty(&slot, false);
    assert_eq!(drops.count(), 1);
    drop(slot);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_slot_takes_a_shell_along() {
    let drops = Drops::default();
    drop(vacated(&drops, true));
    assert_eq!(drops.count(), 1);
}

/// Refused before they are counted: a panic that is caught leaves the count as it was, however often that happens.
#[test]
fn so_many_pins_that_they_could_run_into_the_flags_are_refused() {
    let slot = slot();
    fill(&slot, OWNED, Guest::new(0));
    slot.state.fetch_add(MOST_PINS - PIN, Relaxed);
    assert_eq!(slot.pin(None), Some(5));
    let full = slot.state.load(Relaxed);
    for _ in 0..3 {
        let pinned = crate::panics::guarded(|| slot.pin(None));
        let again = crate::panics::guarded(|| slot.pin_again());
        for payload in [pinned.map(drop).unwrap_err(), again.unwrap_err()] {
            let said = crate::panics::message(&*payload);
            assert!(said.contains("hold one entry"), "{said}");
        }
        assert_eq!(slot.state.load(Relaxed), full);
    }
}
