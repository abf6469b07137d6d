//! A report takes time in proportion to what there is, whatever the shape of it.
//!
//! Each test measures one shape at two sizes. It measures the processor time of its own thread, and takes the best of
//! several, so that it does not matter what else the machine does meanwhile.

use crate::util::{Counter, settle};
use cpu_time::ThreadTime;
use headcount::{Context, Level, Registry, leaks::LeakPolicy};
use std::{future::pending, time::Duration};

const FEW: usize = 1_000;
const TIMES: usize = 8;
/// Of work in proportion, 8 times as much takes 7 to 12 times as long: there are sorts, and caches that become too
/// small. Of quadratic work it takes 64 times as long.
const LIMIT: u32 = 20;
const ATTEMPTS: usize = 3;

/// Longer than a close within its grace period is waited for.
const LONG: Duration = Duration::from_secs(3_600);

/// For a program that runs.
fn running() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

/// For the end of one.
fn over() -> LeakPolicy {
    LeakPolicy::nothing_left().settle(Duration::ZERO)
}

/// What a test made: it is alive as long as this.
struct Shape<T> {
    _alive: T,
    policy: LeakPolicy,
    /// How many findings there must be.
    findings: usize,
}

fn shape<T>(alive: T, policy: LeakPolicy, findings: usize) -> Shape<T> {
    Shape {
        _alive: alive,
        policy,
        findings,
    }
}

/// Makes the shape in two sizes, and compares what a report takes, printed and drawn.
async fn assert_proportional<T>(make: impl AsyncFn(&Registry, usize) -> Shape<T>) {
    let few = {
        let registry = registry();
        let shape = make(&registry, FEW).await;
        let mut times = Vec::new();
        for _ in 0..ATTEMPTS {
            times.push(time_of_report(&registry, &shape).await);
        }
        times.into_iter().min().unwrap()
    };
    let registry = registry();
    let shape = make(&registry, TIMES * FEW).await;
    let mut times = Vec::new();
    while times.last().is_none_or(|many| *many >= few * LIMIT) {
        assert!(
            times.len() < ATTEMPTS,
            "{few:?} for {FEW}, and for {TIMES} times as many {times:?}"
        );
        times.push(time_of_report(&registry, &shape).await);
    }
}

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

async fn time_of_report<T>(registry: &Registry, shape: &Shape<T>) -> Duration {
    let begun = ThreadTime::now();
    let report = registry.leaks(&shape.policy).await;
    // Most of that is done on other threads, whose time is not measured: once more on this one.
    let at_once = registry.leaks_now(&shape.policy);
    let text = report.to_string();
    let graph = report.graph();
    let drawn = [
        #[cfg(feature = "testing")]
        graph.svg(),
        graph.dot(),
        graph.mermaid(),
        #[cfg(feature = "serde")]
        graph.json(),
    ];
    let findings = report.findings().len();
    assert_eq!(at_once.findings().len(), findings);
    drop((report, at_once, graph));
    let took = begun.elapsed();
    assert_eq!(findings, shape.findings, "{text}");
    assert!(drawn.iter().all(|drawn| !drawn.is_empty()));
    took
}

/// A context that is closed, and that this is the last handle of.
async fn closed(registry: &Registry) -> Context {
    let ctx = registry.context("ctx");
    ctx.close().await;
    ctx
}

#[tokio::test]
async fn leaks_that_each_have_handles() {
    assert_proportional(async |registry, n| {
        let mut held = Vec::new();
        for _ in 0..n {
            let ctx = closed(registry).await;
            held.push((ctx.clone(), ctx));
        }
        shape(held, running(), n)
    })
    .await;
}

#[tokio::test]
async fn a_leak_with_many_handles() {
    assert_proportional(async |registry, n| {
        let ctx = closed(registry).await;
        let mut handles = vec![ctx];
        for _ in 0..n {
            handles.push(handles[0].clone());
        }
        shape(handles, running(), 1)
    })
    .await;
}

/// A cache of which many have handles, and which keeps as many leaks.
#[tokio::test]
async fn leaks_in_something_with_many_handles() {
    assert_proportional(async |registry, n| {
        let cache = registry.own("cache", "cache", ());
        let (mut users, mut held) = (Vec::new(), Vec::new());
        for _ in 0..n {
            users.push(cache.clone());
            let ctx = closed(registry).await;
            ctx.held_by(&cache);
            held.push(ctx);
        }
        shape((cache, users, held), running(), n)
    })
    .await;
}

#[tokio::test]
async fn a_chain_of_leaks() {
    assert_proportional(async |registry, n| shape(chain(registry, n), over(), 1)).await;
}

/// The first is held by this test, and each other one by the one before.
fn chain(registry: &Registry, n: usize) -> Vec<headcount::Tracked<()>> {
    let mut chain = vec![registry.own("0", "link", ())];
    for at in 1..n {
        let link = registry.own(format!("{at}"), "link", ());
        link.held_by(&chain[at - 1]);
        chain.push(link);
    }
    chain
}

#[tokio::test]
async fn leaks_at_the_end_of_a_chain() {
    assert_proportional(async |registry, n| {
        let chain = chain(registry, n);
        let mut held = Vec::new();
        for _ in 0..n {
            let ctx = closed(registry).await;
            ctx.held_by(chain.last().unwrap());
            held.push(ctx);
        }
        shape((chain, held), running(), n)
    })
    .await;
}

#[tokio::test]
async fn tasks_of_one_context() {
    assert_proportional(async |registry, n| {
        let ctx = registry.context("ctx");
        for _ in 0..n {
            ctx.task("task").cancellable().spawn(pending::<()>());
        }
        settle().await;
        shape(ctx, over(), 1)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_context_that_run_on() {
    assert_proportional(async |registry, n| {
        let ctx = registry.context_builder("ctx").grace(Duration::ZERO).open();
        let mut tasks = Vec::new();
        for _ in 0..n {
            tasks.push(ctx.wrap(pending::<()>()));
        }
        ctx.request_close("enough");
        tokio::time::sleep(Duration::from_secs(1)).await;
        shape((ctx, tasks), running(), n)
    })
    .await;
}

#[tokio::test]
async fn contexts_in_a_ring() {
    assert_proportional(async |registry, n| {
        let mut ring = Vec::new();
        for _ in 0..n {
            ring.push(closed(registry).await);
        }
        for (at, ctx) in ring.iter().enumerate() {
            ctx.held_by(&ring[(at + 1) % n]);
        }
        shape(ring, running(), 1)
    })
    .await;
}

#[tokio::test]
async fn contexts_in_a_ring_with_values_that_are_no_leaks() {
    assert_proportional(async |registry, n| {
        let mut ring = Vec::new();
        for _ in 0..n {
            ring.push((closed(registry).await, registry.own("value", "kind", ())));
        }
        for (at, (ctx, value)) in ring.iter().enumerate() {
            ctx.held_by(value);
            value.held_by(&ring[(at + 1) % n].0);
        }
        shape(ring, running(), n)
    })
    .await;
}

#[tokio::test]
async fn contexts_that_hold_what_holds_them() {
    assert_proportional(async |registry, n| {
        let mut hub = registry.own("hub", "kind", ());
        let mut held = Vec::new();
        for _ in 0..n {
            let ctx = closed(registry).await;
            ctx.held_by(&hub);
            hub.held_by(&ctx);
            held.push((ctx, hub.clone()));
        }
        hub = held[0].1.clone();
        hub.held_by(&held[0].0);
        shape((held, hub), running(), n)
    })
    .await;
}

/// No other way leads back to one of the contexts than through all of what the first value keeps.
#[tokio::test]
async fn contexts_in_rings_through_two_values_with_many_handles() {
    assert_proportional(async |registry, n| {
        let (first, last) = (
            registry.own("first", "kind", ()),
            registry.own("last", "kind", ()),
        );
        let mut held = Vec::new();
        for _ in 0..n {
            let ctx = closed(registry).await;
            ctx.held_by(&first);
            let (between, of_last) = (first.clone(), last.clone());
            of_last.held_by(&ctx);
            held.push((ctx, between, of_last, registry.own("between", "kind", ())));
            let (_, handle, _, between) = held.last().unwrap();
            handle.held_by(between);
            between.held_by(&last);
        }
        first.held_by(&held[0].3);
        last.held_by(&held[0].0);
        shape((held, first, last), running(), n)
    })
    .await;
}

/// Each keeps its close from ending. Time stands still, so that no close looks for deadlocks meanwhile.
#[tokio::test(start_paused = true)]
async fn hooks_that_do_not_end() {
    assert_proportional(async |registry, n| {
        let (mut closing, running) = (Vec::new(), Counter::default());
        for _ in 0..n {
            let ctx = registry.context_builder("ctx").hook_timeout(LONG).open();
            let hook = running.clone();
            ctx.on_close(|| async move {
                let _running = hook.guard();
                pending::<()>().await;
            })
            .unwrap();
            ctx.request_close("enough");
            closing.push(ctx);
        }
        until(&running, n).await;
        shape(closing, over(), n)
    })
    .await;
}

#[tokio::test]
async fn tasks_that_each_hold_a_leak() {
    assert_proportional(async |registry, n| {
        let workers = registry.context("workers");
        let mut leaks = Vec::new();
        for _ in 0..n {
            leaks.push(closed(registry).await);
        }
        held_by_tasks(&workers, &leaks).await;
        shape(workers, running(), n)
    })
    .await;
}

#[tokio::test]
async fn a_leak_that_many_tasks_hold() {
    assert_proportional(async |registry, n| {
        let workers = registry.context("workers");
        let leak = closed(registry).await;
        held_by_tasks(&workers, &vec![leak; n]).await;
        shape(workers, running(), 1)
    })
    .await;
}

/// Returns when a task has a handle of each.
async fn held_by_tasks(workers: &Context, leaks: &[Context]) {
    let holding = Counter::default();
    for leak in leaks {
        let (weak, held) = (leak.downgrade(), holding.clone());
        workers.task("holder").cancellable().spawn(async move {
            let _leak = weak.upgrade();
            let _held = held.guard();
            pending::<()>().await;
        });
    }
    until(&holding, leaks.len()).await;
}

/// Returns when so many of them are alive.
async fn until(counter: &Counter, alive: usize) {
    while counter.alive() < alive {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_small_rings() {
    assert_proportional(async |registry, n| {
        let mut rings = Vec::new();
        for _ in 0..n {
            let pair = [
                registry.own("one", "kind", ()),
                registry.own("other", "kind", ()),
            ];
            pair[0].held_by(&pair[1]);
            pair[1].held_by(&pair[0]);
            rings.push(pair);
        }
        shape(rings, over(), n)
    })
    .await;
}

/// Each context of a deep tree, held by the task at the bottom.
#[tokio::test]
async fn a_deep_tree() {
    assert_proportional(async |registry, n| {
        let mut tree = vec![registry.context("ctx")];
        for _ in 1..n {
            tree.push(tree.last().unwrap().child("ctx"));
        }
        let weak: Vec<_> = tree.iter().map(Context::downgrade).collect();
        tree.last().unwrap().spawn(async move {
            // Not in a closure: a line of a library would have its stack looked up.
            let mut held = Vec::new();
            for weak in &weak {
                held.push(weak.upgrade());
            }
            pending::<()>().await;
        });
        settle().await;
        shape((), running(), n)
    })
    .await;
}

#[tokio::test]
async fn leaks_held_by_what_is_left_out() {
    assert_proportional(async |registry, n| {
        let pool = registry.own("pool", "pool", ());
        let (mut users, mut held) = (Vec::new(), Vec::new());
        for _ in 0..n {
            users.push(pool.clone());
            let ctx = closed(registry).await;
            ctx.held_by(&pool);
            held.push((ctx, registry.own("value", "value", ())));
        }
        shape((pool, users, held), over().ignore_kind("pool"), n)
    })
    .await;
}

#[tokio::test]
async fn kinds_with_limits() {
    assert_proportional(async |registry, n| {
        let mut policy = running();
        let mut held = Vec::new();
        for at in 0..n {
            let kind = format!("kind-{at}");
            held.push(registry.own("value", kind.clone(), ()));
            policy = policy
                .max_count(kind.clone(), 0)
                .max_age(kind, Duration::MAX);
        }
        shape(held, policy, n)
    })
    .await;
}

#[tokio::test]
async fn kinds_that_grow() {
    assert_proportional(async |registry, n| {
        let mut growth = registry.growth().await;
        let mut held = Vec::new();
        for _ in 0..4 {
            for at in 0..n {
                held.push(registry.register("value", format!("kind-{at}")));
            }
            growth.sample().await;
        }
        shape(held, running().growth(&growth), n)
    })
    .await;
}
