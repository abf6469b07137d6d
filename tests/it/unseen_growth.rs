//! What grows though it is not listed: hooks, handles, and what handles keep. It is counted by the line that made it, shown on the
//! context, and seen by [`Growth`](headcount::leaks::Growth) and by limits.

use headcount::{
    Level, Registry, Resource,
    leaks::{Growth, LeakKind, LeakPolicy},
};
use std::time::Duration;

const ROUNDS: usize = 6;

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

/// Runs some rounds, each of which keeps something. Expects one count that rises by one a round, of this kind and line.
async fn assert_rising<T>(
    registry: &Registry,
    kind: &str,
    line: u32,
    mut round: impl AsyncFnMut(usize) -> T,
) -> (Growth, Vec<T>) {
    let mut growth = registry.growth().await;
    let mut kept = Vec::new();
    for n in 0..ROUNDS {
        kept.push(round(n).await);
        growth.sample().await;
    }
    let rising = growth.rising();
    let found: Vec<_> = rising
        .iter()
        .map(|rise| (rise.name(), rise.site()))
        .collect();
    assert_eq!(found, [(kind, Some((file!(), line)))], "{growth}");
    let counts = rising[0].counts();
    assert_eq!(counts.last(), Some(&ROUNDS), "{growth}");
    let report = registry.leaks(&looks_once().growth(&growth)).await;
    let finding = report.of_kind(LeakKind::Growing).next().unwrap();
    let site = format!("{}:{line}", file!());
    assert!(finding.advice().contains(&site), "{report}");
    // As many as there are may be allowed, and not one less.
    let limit = |most| looks_once().max_count(kind.to_owned(), most);
    let fine = registry.leaks(&limit(ROUNDS)).await;
    assert_eq!(fine.of_kind(LeakKind::TooMany).count(), 0, "{fine}");
    let report = registry.leaks(&limit(ROUNDS - 1)).await;
    let finding = report.of_kind(LeakKind::TooMany).next().unwrap();
    let said = finding.to_string();
    assert!(
        said.contains(&format!("{ROUNDS} alive, {} allowed", ROUNDS - 1)),
        "{said}"
    );
    assert!(finding.advice().contains(&site), "{said}");
    (growth, kept)
}

fn looks_once() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

async fn listed(registry: &Registry, name: &str) -> Resource {
    registry.live().await.find(name).unwrap().clone()
}

async fn line_of(registry: &Registry, name: &str) -> String {
    let printed = registry.live().await.to_string();
    let line = printed.lines().find(|line| line.contains(name));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn hooks_of_a_context_that_lives_on() {
    let registry = registry();
    let server = registry.context("server");
    let (hook, line) = (|| server.on_close(|| async {}).unwrap(), line!());
    let (_, hooks) = assert_rising(&registry, "hook", line, async |_| hook()).await;
    assert_eq!(listed(&registry, "server").await.hooks(), ROUNDS);
    assert!(line_of(&registry, "server").await.contains(" · 6 hooks · "));
    assert!(hooks[0].cancel());
    assert_eq!(listed(&registry, "server").await.hooks(), ROUNDS - 1);
    assert_eq!(server.close().await.hooks().ran, ROUNDS as u64 - 1);
    assert_eq!(listed(&registry, "server").await.hooks(), 0);
}

#[tokio::test]
async fn hooks_for_the_beginning_of_the_close_and_hooks_of_the_registry() {
    let first = registry();
    let server = first.context("server");
    let (hook, line) = (|| server.on_closing(|| async {}).unwrap(), line!());
    assert_rising(&first, "hook", line, async |_| hook()).await;
    let second = registry();
    let (hook, line) = (|| second.on_close(|| async {}).unwrap(), line!());
    assert_rising(&second, "hook", line, async |_| hook()).await;
}

/// Each keeps the output of its task.
#[tokio::test]
async fn handles_of_tasks_that_have_ended() {
    let registry = registry();
    let server = registry.context("server");
    let line = line!() + 1;
    let spawn = |n: usize| server.spawn(async move { vec![0_u8; n] });
    let kind = "handle of an ended task";
    let (_, mut tasks) = assert_rising(&registry, kind, line, async |n| {
        let task = spawn(n);
        task.finished().await;
        task
    })
    .await;
    let server = listed(&registry, "server").await;
    assert_eq!(server.handles_of_ended_tasks(), ROUNDS);
    let printed = line_of(&registry, "server").await;
    assert!(
        printed.contains(" · 6 handles of ended tasks · "),
        "{printed}"
    );
    drop(tasks.pop().unwrap().await.unwrap());
    drop(tasks.pop());
    let server = listed(&registry, "server").await;
    assert_eq!(server.handles_of_ended_tasks(), ROUNDS - 2);
    // Those that run are tasks, and listed.
    assert_eq!(registry.live().await.tasks().len(), 0);
}

/// The same where the outputs may not leave their thread, and in a set.
#[tokio::test]
async fn handles_of_local_tasks_and_of_a_set() {
    let registry = registry();
    let server = registry.context("server");
    let mut set = server.join_set();
    let (kind, line) = ("handle of an ended task", line!() + 2);
    assert_rising(&registry, kind, line, async |n| {
        set.spawn(async move { n });
        tokio::task::yield_now().await;
    })
    .await;
    drop(set);
    assert_eq!(
        listed(&registry, "server").await.handles_of_ended_tasks(),
        0
    );
    let local = tokio::task::LocalSet::new();
    let (task, server) = local
        .run_until(async {
            let task = server.spawn_local(async {});
            task.finished().await;
            (task, listed(&registry, "server").await)
        })
        .await;
    assert_eq!(server.handles_of_ended_tasks(), 1);
    drop(task);
}

#[tokio::test]
async fn weak_handles_of_a_context_that_lives_on() {
    let registry = registry();
    let (server, line) = (registry.context("server"), line!());
    let kind = "weak handle of a context";
    let (_, mut weak) = assert_rising(&registry, kind, line, async |_| server.downgrade()).await;
    assert_eq!(listed(&registry, "server").await.weak_count(), ROUNDS);
    assert!(line_of(&registry, "server").await.contains(" · 6 weak · "));
    weak.push(weak[0].clone());
    weak.truncate(2);
    assert_eq!(listed(&registry, "server").await.weak_count(), 2);
}

/// They are not listed any more, and their weak handles keep what is known of them.
#[tokio::test]
async fn weak_handles_of_contexts_that_are_gone() {
    let registry = registry();
    let server = registry.context("server");
    let (open, line) = (|| server.child("conn"), line!());
    let kind = "closed context with weak handles";
    let (mut growth, mut weak) = assert_rising(&registry, kind, line, async |_| {
        let conn = open();
        let weak = conn.downgrade();
        conn.close().await;
        weak
    })
    .await;
    let copies = weak.clone();
    weak.clear();
    growth.sample().await;
    assert_eq!(growth.changes()[0].more(), ROUNDS);
    drop(copies);
    growth.sample().await;
    assert!(growth.changes().is_empty(), "{growth}");
}

#[tokio::test]
async fn handles_of_one_value_that_lives_on() {
    let registry = registry();
    let pool = registry.own("users", "pool", ());
    let (clone, line) = (|| pool.clone(), line!());
    assert_rising(&registry, "handle of a pool", line, async |_| clone()).await;
}

#[tokio::test]
async fn handles_of_one_context_that_lives_on() {
    let registry = registry();
    let server = registry.context("server");
    let (clone, line) = (|| server.clone(), line!());
    assert_rising(&registry, "handle of a context", line, async |_| clone()).await;
}

/// What was not recorded is counted by the line that made the thing, and so is a plain `Arc`.
#[tokio::test]
async fn handles_that_were_not_recorded() {
    let first = registry();
    first.set_level(Level::Off);
    let (pool, line) = (first.own("users", "pool", ()), line!());
    let kind = "untracked handle of a pool";
    assert_rising(&first, kind, line, async |_| pool.clone()).await;
    let second = registry();
    let plain = std::sync::Arc::new(());
    let line = line!() + 1;
    second.track(&plain, "users", "pool");
    assert_rising(&second, kind, line, async |_| std::sync::Arc::clone(&plain)).await;
}

/// These are listed by themselves, and always were.
#[tokio::test]
async fn values_that_a_context_owns() {
    let registry = registry();
    let server = registry.context("server");
    let line = line!() + 2;
    let (growth, values) = assert_rising(&registry, "buffer", line, async |_| {
        server.own("buffer", "buffer", ()).unwrap()
    })
    .await;
    drop((growth, values));
}

/// The context has a handle as well.
#[tokio::test]
async fn values_that_a_context_owns_and_whose_handles_are_not_recorded() {
    let registry = registry();
    registry.set_level(Level::Off);
    let server = registry.context("server");
    let line = line!() + 2;
    assert_rising(&registry, "buffer", line, async |_| {
        server.own("buffer", "buffer", ()).unwrap()
    })
    .await;
}

/// What comes and goes, or stays as it is, does not grow.
#[tokio::test]
async fn what_is_given_up_again_does_not_grow() {
    let registry = registry();
    let server = registry.context("server");
    let pool = server.own("users", "pool", ()).unwrap();
    let (_hook, _weak) = (server.on_close(|| async {}).unwrap(), server.downgrade());
    let _copies = (server.clone(), pool.clone());
    let mut growth = registry.growth().await;
    for _ in 0..ROUNDS {
        let hook = server.on_close(|| async {}).unwrap();
        let task = server.spawn(async { 42 });
        let conn = server.child("conn");
        let (weak, copy) = (conn.downgrade(), pool.clone());
        assert_eq!(task.await.unwrap(), 42);
        conn.close().await;
        drop((conn, weak, copy));
        assert!(hook.cancel());
        growth.sample_now();
    }
    assert!(growth.changes().is_empty(), "{:?}", growth.changes());
}

/// I5: a listing that counts handles keeps no output.
#[tokio::test]
async fn a_listing_of_kept_handles_keeps_no_output() {
    let counter = crate::util::Counter::default();
    let registry = registry();
    let server = registry.context("server");
    let guard = counter.guard();
    let task = server.spawn(async move { guard });
    task.finished().await;
    let live = registry.live().await;
    assert_eq!(counter.alive(), 1);
    drop(task);
    assert_eq!(counter.alive(), 0);
    assert_eq!(live.find("server").unwrap().handles_of_ended_tasks(), 1);
}
