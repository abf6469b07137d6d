//! A listing and the events after it: what is alive is in one of them, and what has gone in neither.

use super::outcomes::{Outcomes, bounded_long};
use crate::{
    events::{
        What,
        broadcast::{Broadcast, Subscription},
    },
    name::Label,
    registry::registry::Registry,
    slab::{
        slab::Slab,
        testing::{TestEntry, listed, own},
    },
    table::{
        record::{Facts, Outcome},
        task_entry::{Role, TaskKind},
    },
    task::guard::TaskGuard,
};
use loom::thread;
use std::{
    collections::{BTreeSet, VecDeque},
    panic::Location,
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

/// A real task of a real registry, which ends.
#[test]
fn a_task_is_off_the_list_before_its_end_is_told() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(2).check(move || {
        let registry = Registry::new();
        let task = thread::spawn({
            let node = Arc::clone(&registry.root().node);
            move || {
                let facts = Facts {
                    name: Label::borrowed("task"),
                    kind: Label::borrowed("task"),
                    location: Location::caller(),
                };
                let guard = TaskGuard::admit(&node).expect("it is open");
                let mut task = guard.list_alone(facts, Role::Task(TaskKind::Wrapped));
                task.leave(Outcome::Finished, |_| {});
            }
        });
        let mut events = registry.events();
        let live = registry.live_now();
        let mut alive = !live.is_empty();
        let was_listed = alive;
        task.join().unwrap();
        let mut count = 0;
        while let Some(Ok(event)) = events.try_next() {
            if event.seq() > live.seq() {
                alive = matches!(event.what(), What::Spawned);
                count += 1;
            }
        }
        assert!(!alive, "it is gone, and nothing said so");
        saw.saw((was_listed, count));
    });
    for seen in [(false, 0), (true, 1), (true, 2)] {
        assert!(outcomes.has(&seen), "{seen:?}");
    }
}
