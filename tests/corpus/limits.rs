//! What is a leak because there is too much of it, or because it lasts too long.

use crate::world::{Line, World, culprit, lock};
use headcount::{Context, OnConflict, Registration, Task, Tracked, leaks::LeakPolicy};
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

/// A hook for each request, on a context that lives on.
pub(crate) async fn hooks_grow(world: World) -> Context {
    let server = world.context("server");
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        drop(culprit!(world, server.on_close(|| async {})));
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    server
}

pub(crate) async fn hooks_grow_fixed(world: World) -> Context {
    let server = world.context("server");
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        let hook = server.on_close(|| async {}).unwrap();
        assert!(hook.cancel());
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    server
}

/// Handles of tasks that have ended, each with an output that is never taken.
pub(crate) async fn outputs_grow(world: World) -> (Context, Vec<Task<Vec<u8>>>) {
    let (server, mut kept) = (world.context("server"), Vec::new());
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        let task = culprit!(world, server.spawn(async { vec![0; 100] }));
        task.finished().await;
        kept.push(task);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    (server, kept)
}

pub(crate) async fn outputs_grow_fixed(world: World) -> Context {
    let server = world.context("server");
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        let task = server.spawn(async { vec![0; 100] });
        assert_eq!(task.await.unwrap().len(), 100);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    server
}

/// Handles of one value that lives on.
pub(crate) async fn handles_grow(world: World) -> Vec<Tracked<()>> {
    let mut kept = vec![world.own("users", "pool", ())];
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        let pool = culprit!(world, kept[0].clone());
        kept.push(pool);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    kept
}

pub(crate) async fn handles_grow_fixed(world: World) -> Tracked<()> {
    let pool = world.own("users", "pool", ());
    let mut growth = world.growth().await;
    for _ in 0..ROUNDS {
        drop(pool.clone());
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    pool
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

/// One a round stays, of many that come and go: a dip hides it from who looks for what never falls.
pub(crate) async fn grows_behind_a_dip(world: World) -> Vec<Registration> {
    rounds_with_a_dip(&world, async |kept: &mut Vec<Registration>| {
        let listener = culprit!(world, world.register("resize", "listener"));
        kept.push(listener);
    })
    .await
}

pub(crate) async fn grows_behind_a_dip_fixed(world: World) -> Vec<Registration> {
    rounds_with_a_dip(&world, async |kept: &mut Vec<Registration>| {
        let listener = world.register("resize", "listener");
        kept.push(listener);
        kept.pop();
    })
    .await
}

/// In the middle what is kept goes down by two once.
async fn rounds_with_a_dip(
    world: &World,
    mut round: impl AsyncFnMut(&mut Vec<Registration>),
) -> Vec<Registration> {
    let mut growth = world.growth().await;
    let mut kept = Vec::new();
    for n in 0..4 * ROUNDS {
        round(&mut kept).await;
        if n == 2 * ROUNDS {
            kept.truncate(kept.len().saturating_sub(2));
        }
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    kept
}

/// Opens a connection for each request, and gives none back.
pub(crate) async fn pool_without_ceiling(world: World) -> Vec<Tracked<()>> {
    let mut growth = world.growth().await;
    let mut pool = Vec::new();
    for _ in 0..4 * ROUNDS {
        let conn = culprit!(world, world.own("conn", "conn", ()));
        pool.push(conn);
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    pool
}

/// It fills, and stands still.
pub(crate) async fn pool_without_ceiling_fixed(world: World) -> Vec<Tracked<()>> {
    let mut growth = world.growth().await;
    let mut pool = Vec::new();
    for _ in 0..4 * ROUNDS {
        if pool.len() < 2 * ROUNDS {
            pool.push(world.own("conn", "conn", ()));
        }
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    pool
}

/// Values that tasks take from a helper and put away: the line to look at is the one that takes.
pub(crate) async fn entries_grow(world: World) -> Vec<Tracked<()>> {
    let server = world.context("server");
    let mut growth = world.growth().await;
    let mut kept = Vec::new();
    for _ in 0..2 * ROUNDS {
        let made = world.own("entry", "entry", ());
        let w = world.clone();
        let take = async move { culprit!(w, made.clone()) };
        kept.push(server.task("request").spawn(take).await.unwrap());
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    server.close().await;
    kept
}

pub(crate) async fn entries_grow_fixed(world: World) -> Option<Tracked<()>> {
    let server = world.context("server");
    let mut growth = world.growth().await;
    let mut latest = None;
    for _ in 0..2 * ROUNDS {
        let made = world.own("entry", "entry", ());
        let take = async move { made.clone() };
        latest = Some(server.task("request").spawn(take).await.unwrap());
        growth.sample().await;
    }
    world.judge_by(LeakPolicy::new().growth(&growth));
    server.close().await;
    latest
}

/// It is known that these are kept, and that is accepted: one in the same file is not.
pub(crate) async fn beside_an_allowed_one(world: World) -> [headcount::Context; 2] {
    let known = world.context("session".to_owned());
    known.close().await;
    let report = world.leaks(&LeakPolicy::new().settle(Duration::ZERO)).await;
    let print = report.findings()[0].fingerprint();
    let known_leak = headcount::leaks::Allow::fingerprint(print).because("known");
    world.judge_by(LeakPolicy::new().allow(known_leak));
    let other = world.context("session".to_owned());
    let (file, line) = (file!(), line!() - 1);
    // Not by the macro: it begins in the same column as the known one.
    world.suspect(Line { file, line });
    other.spawn(async {}).await.unwrap();
    other.close().await;
    [known, other]
}

/// Both have gone: what is allowed and there is waited for in each run.
pub(crate) async fn beside_an_allowed_one_fixed(world: World) {
    let known = world.context("session".to_owned());
    known.close().await;
    let report = world.leaks(&LeakPolicy::new().settle(Duration::ZERO)).await;
    let print = report.findings()[0].fingerprint();
    let known_leak = headcount::leaks::Allow::fingerprint(print).because("known");
    world.judge_by(LeakPolicy::new().allow(known_leak));
    let other = world.context("session".to_owned());
    other.spawn(async {}).await.unwrap();
    other.close().await;
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
