//! L8, L3, I4: 64 threads register and drop while another thread lists.

use crate::common::{Dice, current_thread, lock, short_or_full, within};
use headcount::{Live, Registry, ResourceId};
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Barrier, Mutex,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::Duration,
};

const THREADS: usize = 64;
/// Every so many entries are held until their thread is through with all.
const ANCHOR: u32 = 100;
/// Others that one thread holds at a time: the first in is the first out.
const WINDOW: usize = 64;

/// How far one thread is. Entries are numbered; anchors aside, all below a mark have passed it.
#[derive(Default)]
struct Marks {
    /// Registered for certain.
    registered: AtomicU32,
    /// Perhaps being dropped.
    ending: AtomicU32,
    /// Dropped for certain.
    ended: AtomicU32,
    /// Anchors are perhaps being dropped.
    is_leaving: AtomicBool,
    /// Anchors are dropped for certain.
    has_left: AtomicBool,
}

/// The marks of one thread at one moment.
#[derive(Clone, Copy)]
struct Seen {
    registered: u32,
    ending: u32,
    ended: u32,
    is_leaving: bool,
    has_left: bool,
}

impl Marks {
    fn seen(&self) -> Seen {
        Seen {
            registered: self.registered.load(SeqCst),
            ending: self.ending.load(SeqCst),
            ended: self.ended.load(SeqCst),
            is_leaving: self.is_leaving.load(SeqCst),
            has_left: self.has_left.load(SeqCst),
        }
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn listings_are_right_while_64_threads_register_and_drop() {
    within(Duration::from_secs(300), |notes| {
        let dice = Dice::new();
        let each = short_or_full(10_000, 100_000);
        let registry = Registry::new();
        let marks: Vec<Marks> = (0..THREADS).map(|_| Marks::default()).collect();
        let ids = Mutex::new(HashSet::new());
        let begin = Barrier::new(THREADS);
        let (is_over, scans) = (AtomicBool::new(false), AtomicU32::new(0));
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (dice, marks) = (dice.fork(thread), &marks[thread]);
                    let (registry, ids, begin) = (&registry, &ids, &begin);
                    scope.spawn(move || {
                        begin.wait();
                        let own = register(registry, thread, marks, each, dice);
                        let count = own.len();
                        let mut ids = lock(ids);
                        let before = ids.len();
                        ids.extend(own);
                        assert_eq!(ids.len(), before + count, "an id was given twice (L3)");
                    })
                })
                .collect();
            scope.spawn(|| {
                let runtime = current_thread();
                while !is_over.load(SeqCst) {
                    let number = scans.fetch_add(1, Relaxed);
                    notes.now(format_args!("scan {number}"));
                    let before: Vec<Seen> = marks.iter().map(Marks::seen).collect();
                    let live = if number % 2 == 0 {
                        registry.live_now()
                    } else {
                        runtime.block_on(registry.live())
                    };
                    let after: Vec<Seen> = marks.iter().map(Marks::seen).collect();
                    check(&live, &before, &after);
                    most.fetch_max(live.len(), Relaxed);
                }
            });
            let ends: Vec<_> = writers
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            is_over.store(true, SeqCst);
            assert!(ends.iter().all(Result::is_ok), "a writer panicked");
        });
        let scans = scans.into_inner();
        assert!(scans >= 10, "only {scans} scans while it was going on");
        let most = most.into_inner();
        println!(
            "{} registrations, {scans} scans of up to {most}",
            THREADS * each as usize
        );
        assert!(most > 2_000, "they came one after the other");
        assert_eq!(registry.count(), 0);
        assert!(registry.live_now().is_empty());
    });
}

fn register(
    registry: &Registry,
    thread: usize,
    marks: &Marks,
    each: u32,
    mut dice: Dice,
) -> Vec<ResourceId> {
    let (mut anchors, mut held, mut ids) = (Vec::new(), VecDeque::new(), Vec::new());
    let drop_first = |held: &mut VecDeque<_>| {
        if let Some((number, entry)) = held.pop_front() {
            marks.ending.store(number + 1, SeqCst);
            drop::<headcount::Registration>(entry);
            marks.ended.store(number + 1, SeqCst);
        }
    };
    for number in 0..each {
        let entry = registry.register(format!("{thread}/{number}"), "stress");
        marks.registered.store(number + 1, SeqCst);
        ids.push(entry.id());
        if number % ANCHOR == 0 {
            anchors.push(entry);
        } else {
            held.push_back((number, entry));
        }
        // So that all threads are under way at once, on however few cores.
        if dice.once_in(20) {
            thread::yield_now();
        }
        let keep = dice.below(WINDOW);
        while held.len() > keep {
            drop_first(&mut held);
        }
    }
    while !held.is_empty() {
        drop_first(&mut held);
    }
    marks.is_leaving.store(true, SeqCst);
    drop(anchors);
    marks.has_left.store(true, SeqCst);
    ids
}

/// I4, between two looks at the marks: what was held all the while is there, what was dropped before
/// is not, and nothing is there twice.
fn check(live: &Live, before: &[Seen], after: &[Seen]) {
    let mut ids = HashSet::new();
    let mut present = HashSet::new();
    for entry in live {
        assert!(ids.insert(entry.id()), "{entry:?} is listed twice");
        let (thread, number) = entry.name().split_once('/').expect("a name of ours");
        let thread: usize = thread.parse().expect("a thread");
        let number: u32 = number.parse().expect("a number");
        assert!(present.insert((thread, number)), "{entry:?} has two ids");
        let seen = before[thread];
        let had_ended = if number % ANCHOR == 0 {
            seen.has_left
        } else {
            number < seen.ended
        };
        assert!(!had_ended, "{entry:?} had ended before the scan began");
    }
    for (thread, (before, after)) in before.iter().zip(after).enumerate() {
        let is_held = |number: &u32| {
            if number % ANCHOR == 0 {
                !after.is_leaving
            } else {
                *number >= after.ending
            }
        };
        for number in (0..before.registered).filter(is_held) {
            let is_there = present.contains(&(thread, number));
            assert!(
                is_there,
                "{thread}/{number} was held all the while and is missing"
            );
        }
    }
}
