//! The end of a table: it goes with its last tenant, and nobody who gave up a hold touches it any more.
//!
//! loom does not know when memory is freed. So each block has a `Lifetime` here: whoever reaches it by its address
//! reads it, and its end writes it.

use super::outcomes::{Outcomes, bounded};
use crate::table::{
    hold::{Held, Place},
    pins::Pinned,
    slots::Slots,
    testing::{Drops, Guest, share},
};
use loom::thread;
use std::sync::{Arc, Weak};

/// A tenant that alone keeps its table, in the hand of its owner and of another, and what tells of both.
struct Last {
    place: Place<Guest>,
    held: Held<Guest>,
    table: Weak<Slots<Guest>>,
    drops: Drops,
}

impl Last {
    fn new() -> Self {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        let (_, place, held) = share(&slots, 0, Guest::new(7).counted(&drops));
        Self {
            place,
            held,
            table: Arc::downgrade(&slots),
            drops,
        }
    }
}

/// Two give up their holds, one of them on a thread of its own: afterwards tenant and table are gone.
fn both_leave(
    owner: impl Fn(Place<Guest>, &Drops) + Copy + Send + Sync + 'static,
    holder: impl Fn(Held<Guest>) -> bool + Copy + Send + Sync + 'static,
) -> Outcomes<(bool, bool)> {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let Last {
            place,
            held,
            table,
            drops,
        } = Last::new();
        let leaver = thread::spawn({
            let drops = drops.clone();
            move || {
                owner(place, &drops);
                drops.count() == 1
            }
        });
        let said = holder(held);
        let gone_after_owner = leaver.join().unwrap();
        assert_eq!((drops.count(), table.strong_count()), (1, 0));
        saw.saw((said, gone_after_owner));
    });
    outcomes
}

#[test]
fn the_last_of_owner_and_holder_takes_the_table_along() {
    let outcomes = both_leave(
        |place, _| drop(place),
        |held| {
            drop(held);
            true
        },
    );
    outcomes.assert_all([(true, true), (true, false)]);
}

/// As a handle is dropped whose task has not ended.
#[test]
fn who_leaves_unready_touches_nothing_afterwards() {
    let outcomes = both_leave(|place, _| drop(place), |held| held.leave_unready().is_ok());
    outcomes.assert_all([(true, true), (true, false)]);
}

/// As a task delivers its result while its handle is dropped.
#[test]
fn who_delivers_and_leaves_touches_nothing_afterwards() {
    let outcomes = both_leave(
        |place, drops| {
            place.leave(
                |place| {
                    place.ready();
                },
                |_| assert!(drops.count() <= 1),
            );
        },
        |held| held.leave_unready().is_ok(),
    );
    // Whether it left before the result was there, and then the owner is the last; else either may be.
    outcomes.assert_all([(true, true), (false, true), (false, false)]);
}

/// One who looks keeps the table by a reference of its own, and lets go of the tenant first.
#[test]
fn the_last_who_looks_takes_the_table_along() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let Last {
            place,
            held,
            table,
            drops,
        } = Last::new();
        drop(held);
        let slots = table.upgrade().unwrap();
        let looker = thread::spawn({
            let drops = drops.clone();
            move || {
                let mut pinned = None;
                slots.directory().scan(0, 1, |look| {
                    pinned = Some(Pinned::of(look, &slots));
                });
                drop(slots);
                let clone = pinned.clone();
                let seen = pinned.map(|pinned| (pinned.value, drops.count()));
                assert!(seen.is_none_or(|seen| seen == (7, 0)));
                drop(clone);
                (seen.is_some(), drops.count() == 1)
            }
        });
        drop(place);
        let (was_seen, is_gone) = looker.join().unwrap();
        assert_eq!((drops.count(), table.strong_count()), (1, 0));
        saw.saw((was_seen, is_gone));
    });
    outcomes.assert_all([(true, true), (true, false), (false, true)]);
}

/// A block that the table gives back ends while another who had a tenant in it lets go.
#[test]
fn a_block_that_is_given_back_is_touched_by_nobody_who_left_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let slots = Slots::with_stripes(1);
        // The first block has one place, the second two.
        let first = slots.reserve_on(0).list(Guest::new(0));
        let (_, place, held) = share(&slots, 0, Guest::new(7));
        assert_eq!(slots.blocks(), 2);
        assert!(slots.remove(first));
        let owner = thread::spawn(move || drop(place));
        let is_unready = held.leave_unready().is_ok();
        owner.join().unwrap();
        assert_eq!((slots.len(), slots.blocks()), (0, 1));
        saw.saw(is_unready);
    });
    outcomes.assert_all([true]);
}
