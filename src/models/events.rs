//! A listing and the events after it: what is alive is in one of them, and what has gone in neither.

use super::outcomes::Outcomes;
use crate::{
    events::broadcast::{Broadcast, Subscription},
    slab::{
        slab::Slab,
        testing::{TestEntry, listed, own},
    },
};
use loom::thread;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

type World = (Arc<Slab<TestEntry>>, Arc<Broadcast<(bool, usize)>>);

fn world() -> World {
    (Slab::with_stripes(1), Arc::default())
}

/// Says that an entry is there from here on, or is not any more, if there are subscribers: when that is so.
fn tell((_, events): &World, is_there: bool) {
    if events.is_heard() {
        drop(events.send((is_there, 7)));
    }
}

/// Subscribes, lists, and applies what was sent since, when all is over.
struct Follower {
    subscription: Subscription<(bool, usize)>,
    alive: BTreeSet<usize>,
    seq: u64,
}

impl Follower {
    fn new((slab, events): &World) -> Self {
        let subscription = events.subscribe();
        let seq = events.latest();
        let alive = listed(slab).into_iter().map(|(_, value)| value).collect();
        Self {
            subscription,
            alive,
            seq,
        }
    }

    /// What is alive, and how many events said so.
    fn catch_up(mut self) -> (BTreeSet<usize>, usize) {
        let mut events = VecDeque::new();
        let taken = self.subscription.take(&mut events);
        assert_eq!(taken.lost, 0);
        let events = (taken.first..).zip(events);
        let events: Vec<_> = events.filter(|(seq, _)| *seq > self.seq).collect();
        let count = events.len();
        for (_, (is_there, value)) in events {
            if is_there {
                self.alive.insert(value);
            } else {
                self.alive.remove(&value);
            }
        }
        (self.alive, count)
    }
}

/// Whether it was in the listing, and how many events followed, in each order of the steps.
fn follow(ends: bool) -> Outcomes<(bool, usize)> {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let world = world();
        let other = thread::spawn({
            let world = (Arc::clone(&world.0), Arc::clone(&world.1));
            move || {
                let owner = own(&world.0, 0, TestEntry::new(7));
                tell(&world, true);
                if !ends {
                    return Some(owner);
                }
                owner.leave(|_| tell(&world, false), |left| drop(left));
                None
            }
        });
        let follower = Follower::new(&world);
        let was_listed = !follower.alive.is_empty();
        let left = other.join().unwrap();
        let (alive, events) = follower.catch_up();
        assert_eq!(alive.len(), usize::from(left.is_some()));
        drop(left);
        saw.saw((was_listed, events));
    });
    outcomes
}

#[test]
fn what_stays_is_in_the_listing_or_follows() {
    follow(false).assert_all([(false, 1), (true, 0), (true, 1)]);
}

#[test]
fn what_goes_is_taken_out_again() {
    let seen = follow(true);
    seen.assert_all([(false, 0), (false, 1), (false, 2), (true, 1), (true, 2)]);
}
