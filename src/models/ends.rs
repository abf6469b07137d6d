//! The end of a slab: it goes with its last entry, and a hold that was given up does not touch it any more.
//!
//! loom does not know when memory is freed. So each block has a `Lifetime` here: code that reaches it by its address
//! reads it, and its end writes it.

use super::outcomes::{Outcomes, bounded};
use crate::slab::{
    guard::{HandleGuard, OwnerGuard},
    pins::Pinned,
    slab::Slab,
    testing::{Drops, TestEntry, share},
};
use loom::thread;
use std::sync::{Arc, Weak};

/// An entry that alone keeps its slab, in the hand of its owner and of another, and what tells of both.
struct Last {
    place: OwnerGuard<TestEntry>,
    held: HandleGuard<TestEntry>,
    slab: Weak<Slab<TestEntry>>,
    drops: Drops,
}

impl Last {
    fn new() -> Self {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let (_, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        Self {
            place,
            held,
            slab: Arc::downgrade(&slab),
            drops,
        }
    }
}

/// Two give up their holds, one of them on a thread of its own: afterwards entry and slab are gone.
fn both_leave(
    owner: impl Fn(OwnerGuard<TestEntry>, &Drops) + Copy + Send + Sync + 'static,
    holder: impl Fn(HandleGuard<TestEntry>) -> bool + Copy + Send + Sync + 'static,
) -> Outcomes<(bool, bool)> {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let Last {
            place,
            held,
            slab,
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
        assert_eq!((drops.count(), slab.strong_count()), (1, 0));
        saw.saw((said, gone_after_owner));
    });
    outcomes
}

#[test]
fn the_last_of_owner_and_holder_takes_the_slab_along() {
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
    let outcomes = both_leave(
        |place, _| drop(place),
        |held| held.release_unready().is_ok(),
    );
    outcomes.assert_all([(true, true), (true, false)]);
}

/// As a task delivers its result while its handle is dropped.
#[test]
fn who_delivers_and_leaves_touches_nothing_afterwards() {
    let outcomes = both_leave(
        |place, drops| {
            let deliver = |place: &OwnerGuard<TestEntry>| {
                place.make_ready();
            };
            place.leave(deliver, |_| assert!(drops.count() <= 1));
        },
        |held| held.release_unready().is_ok(),
    );
    // Whether it left before the result was there, and then the owner is the last; else either may be.
    outcomes.assert_all([(true, true), (false, true), (false, false)]);
}

/// One who looks keeps the slab by a reference of its own, and lets go of the entry first.
#[test]
fn the_last_who_looks_takes_the_slab_along() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let Last {
            place,
            held,
            slab: weak,
            drops,
        } = Last::new();
        drop(held);
        let slab = weak.upgrade().unwrap();
        let looker = thread::spawn({
            let drops = drops.clone();
            move || {
                let mut pinned = None;
                slab.directory().scan(0, 1, |look| {
                    pinned = Some(Pinned::of(look, &slab));
                });
                drop(slab);
                let clone = pinned.clone();
                let seen = pinned.map(|pinned| (pinned.value, drops.count()));
                assert!(seen.is_none_or(|seen| seen == (7, 0)));
                drop(clone);
                (seen.is_some(), drops.count() == 1)
            }
        });
        drop(place);
        let (was_seen, is_gone) = looker.join().unwrap();
        assert_eq!((drops.count(), weak.strong_count()), (1, 0));
        saw.saw((was_seen, is_gone));
    });
    // Neither: what is left of an entry is dropped after its place is free.
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}

/// A block that the slab gives back ends while another who had an entry in it lets go.
#[test]
fn a_block_that_is_given_back_is_touched_by_nobody_who_left_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let slab = Slab::with_stripes(1);
        // The first block has one place, the second two.
        let first = slab.reserve_on(0).list(TestEntry::new(0));
        let (_, place, held) = share(&slab, 0, TestEntry::new(7));
        assert_eq!(slab.blocks(), 2);
        assert!(slab.remove(first));
        let owner = thread::spawn(move || drop(place));
        let is_unready = held.release_unready().is_ok();
        owner.join().unwrap();
        assert_eq!((slab.len(), slab.blocks()), (0, 1));
        saw.saw(is_unready);
    });
    outcomes.assert_all([true]);
}
