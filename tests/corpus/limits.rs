//! What is a leak because there is too much of it, or because it lasts too long.

use crate::world::{World, culprit, lock};
use headcount::{OnConflict, Registration, Tracked, leaks::LeakPolicy};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const ROUNDS: usize = 5;

/// Subscribes at each round, and never unsubscribes.
pub(crate) async fn subscriptions_grow(world: World) -> Vec<Registration> {
    let mut growth = world.growth().await;
    let mut kept = Vec::new();
    for _ in 0..ROUNDS {
        let listener = culprit!(world, world.register("resize", "listener"));
        kept.push(listener);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    kept
}

pub(crate) async fn subscriptions_grow_fixed(world: World) -> Option<Registration> {
    let mut growth = world.growth().await;
    let mut latest = None;
    for _ in 0..ROUNDS {
        latest = Some(world.register("resize", "listener"));
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    latest
}

type Queue = Arc<Mutex<Vec<usize>>>;

/// Only the program can count it: a probe does.
pub(crate) async fn probe_grows(world: World) -> Queue {
    let queue = Queue::default();
    let counted = Arc::downgrade(&queue);
    world.probe("jobs", move || {
        counted.upgrade().map_or(0, |jobs| lock(&jobs).len())
    });
    let mut growth = world.growth().await;
    for round in 0..ROUNDS {
        lock(&queue).push(round);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    queue
}

pub(crate) async fn probe_grows_fixed(world: World) -> Queue {
    let queue = Queue::default();
    let counted = Arc::downgrade(&queue);
    world.probe("jobs", move || {
        counted.upgrade().map_or(0, |jobs| lock(&jobs).len())
    });
    let mut growth = world.growth().await;
    for round in 0..ROUNDS {
        lock(&queue).push(round);
        lock(&queue).truncate(2);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    queue
}

pub(crate) type Cache = BTreeMap<usize, Tracked<usize>>;

/// A cache that throws nothing away.
pub(crate) async fn cache_without_eviction(world: World) -> Cache {
    world.judge_by(LeakPolicy::new().max_count("entry", 3));
    let mut cache = Cache::new();
    for key in 0..5 {
        let entry = culprit!(world, world.own(format!("entry {key}"), "entry", key));
        cache.insert(key, entry);
    }
    cache
}

pub(crate) async fn cache_without_eviction_fixed(world: World) -> Cache {
    world.judge_by(LeakPolicy::new().max_count("entry", 3));
    let mut cache = Cache::new();
    for key in 0..5 {
        let entry = world.own(format!("entry {key}"), "entry", key);
        cache.insert(key, entry);
        while cache.len() > 3 {
            cache.pop_first();
        }
    }
    cache
}

/// A request that should have been answered by now.
pub(crate) async fn request_too_old(world: World) -> Registration {
    world.judge_by(LeakPolicy::new().max_age("request", Duration::ZERO));
    let request = culprit!(world, world.register("GET /", "request"));
    world.has_aged().await;
    request
}

pub(crate) async fn request_too_old_fixed(world: World) -> Registration {
    world.judge_by(LeakPolicy::new().max_age("request", Duration::ZERO));
    drop(world.register("GET /", "request"));
    world.register("pool", "pool")
}

/// More tasks of a kind than are allowed.
pub(crate) async fn too_many_tasks(world: World) -> headcount::Context {
    world.judge_by(LeakPolicy::new().max_count("job", 2));
    let queue = world.context("queue");
    for n in 0..3 {
        let job = queue.task(format!("job {n}")).kind("job").cancellable();
        culprit!(world, job.spawn(std::future::pending::<()>()));
    }
    queue
}

pub(crate) async fn too_many_tasks_fixed(world: World) -> headcount::Context {
    world.judge_by(LeakPolicy::new().max_count("job", 2));
    let queue = world.context("queue");
    for _ in 0..3 {
        let job = queue.task("job").kind("job").cancellable();
        let job = job.slot("job").on_conflict(OnConflict::Replace);
        job.spawn(std::future::pending::<()>());
    }
    queue
}

/// A task that runs longer than its kind may.
pub(crate) async fn task_too_old(world: World) -> headcount::Context {
    world.judge_by(LeakPolicy::new().max_age("job", Duration::ZERO));
    let queue = world.context("queue");
    let job = queue.task("job").kind("job").cancellable();
    culprit!(world, job.spawn(std::future::pending::<()>()));
    world.has_aged().await;
    queue
}

pub(crate) async fn task_too_old_fixed(world: World) -> headcount::Context {
    world.judge_by(LeakPolicy::new().max_age("job", Duration::ZERO));
    let queue = world.context("queue");
    let job = queue.task("job").kind("job").cancellable();
    job.spawn(async {}).await.unwrap();
    queue
}
