//! What does it cost to put something on the list and take it off again?
//!
//! `headcount` makes a `Registration` and drops it; the peers insert an `Arc` with the same facts into
//! a map under a number, and remove it. They do not look at the clock, and cannot be listed in
//! bounded steps. Read the ratio in the last column.

use crate::common::{Bar, Contest, Form, Outcome, per};
use arc_swap::ArcSwap;
use headcount::Registry;
use std::{
    borrow::Cow,
    collections::HashMap,
    panic::Location,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

/// What the peers keep of an entry.
#[derive(Clone)]
struct Facts {
    _name: Cow<'static, str>,
    _kind: Cow<'static, str>,
    _location: &'static Location<'static>,
}

#[track_caller]
fn facts() -> Arc<Facts> {
    Arc::new(Facts {
        _name: "entry".into(),
        _kind: "resource".into(),
        _location: Location::caller(),
    })
}

/// So many threads do `pair` so many times at once; what one of them cost.
fn on(threads: usize, pairs: usize, pair: impl Fn() + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        for _ in 0..pairs / 10 {
            pair();
        }
        barrier.wait();
        let start = Instant::now();
        for _ in 0..pairs {
            pair();
        }
        per(start, pairs)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let own = one();
        let others = others
            .into_iter()
            .map(|other| other.join().expect("no panic"));
        others.fold(own, f64::max)
    })
}

#[derive(Default)]
struct Stores {
    next: AtomicU64,
    mutex: Mutex<HashMap<u64, Arc<Facts>>>,
    dashmap: dashmap::DashMap<u64, Arc<Facts>>,
    papaya: papaya::HashMap<u64, Arc<Facts>>,
    slab: sharded_slab::Slab<Arc<Facts>>,
    snapshot: ArcSwap<HashMap<u64, Arc<Facts>>>,
}

impl Stores {
    fn id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    fn mutex(&self) {
        let id = self.id();
        self.mutex.lock().expect("no panic").insert(id, facts());
        self.mutex.lock().expect("no panic").remove(&id);
    }

    fn dashmap(&self) {
        let id = self.id();
        self.dashmap.insert(id, facts());
        self.dashmap.remove(&id);
    }

    fn papaya(&self) {
        let id = self.id();
        self.papaya.pin().insert(id, facts());
        self.papaya.pin().remove(&id);
    }

    fn slab(&self) {
        let key = self.slab.insert(facts()).expect("there is room");
        self.slab.remove(key);
    }

    fn snapshot(&self) {
        let (id, facts) = (self.id(), facts());
        self.snapshot.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.insert(id, Arc::clone(&facts));
            map
        });
        self.snapshot.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(&id);
            map
        });
    }
}

fn contest(threads: usize, pairs: usize, rounds: usize) -> Outcome {
    let (registry, stores) = (Registry::new(), Stores::default());
    let slow = pairs / 100 + 1;
    // What a snapshot is copied for.
    let live: HashMap<_, _> = (0..10_000).map(|id| (u64::MAX - id, facts())).collect();
    stores.snapshot.store(Arc::new(live));
    let title = format!("register + remove, threads: {threads}");
    Contest::new(title, "ns a pair")
        .side("headcount", || {
            on(threads, pairs, || {
                drop(registry.register("entry", "resource"));
            })
        })
        .side("DashMap", || on(threads, pairs, || stores.dashmap()))
        .side("Mutex<HashMap>", || on(threads, pairs, || stores.mutex()))
        .side("papaya", || on(threads, pairs, || stores.papaya()))
        .side("sharded_slab (no list)", || {
            on(threads, pairs, || stores.slab())
        })
        .side("ArcSwap<HashMap> of 10,000", || {
            on(threads, slow / 10 + 1, || stores.snapshot())
        })
        .run(rounds)
}

/// With so many threads about that have used the registry, and sleep.
fn among_idle(registry: &Registry, idle: usize, pairs: usize) -> f64 {
    let (ready, wait) = (Barrier::new(idle + 1), Barrier::new(idle + 1));
    thread::scope(|scope| {
        for _ in 0..idle {
            scope.spawn(|| {
                drop(registry.register("idler", "resource"));
                ready.wait();
                wait.wait();
            });
        }
        ready.wait();
        let cost = on(1, pairs, || drop(registry.register("entry", "resource")));
        wait.wait();
        cost
    })
}

fn idle(form: Form) -> Outcome {
    let (registry, pairs) = (Registry::new(), form.size(200_000));
    Contest::new("register + remove among 64 idle threads", "ns a pair")
        .side("with them", || among_idle(&registry, 64, pairs))
        .side("without", || among_idle(&registry, 0, pairs))
        .run(form.rounds(15))
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let one = contest(1, form.size(200_000), form.rounds(15));
    let two = contest(2, form.size(200_000), form.rounds(15));
    vec![
        Bar::new("register_1t", one.ratio_to("DashMap"), 0.9, 0.7),
        Bar::new("register_2t", two.ratio_to("DashMap"), 0.35, 0.15),
        Bar::new(
            "register_idle64",
            idle(form).ratio_to("without"),
            1.10,
            1.02,
        ),
    ]
}
