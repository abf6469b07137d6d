//! Weak handles (I3, S3, S19).

use crate::{
    events::said_on,
    util::{Counter, current_thread, in_time, settle},
};
use headcount::{Context, Level, RefusedReason, Registry, State, TaskError};
use std::time::Duration;

fn count(said: &[String], what: &str) -> usize {
    said.iter().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn a_weak_handle_tells_what_it_knows_for_ever() {
    let ctx = Registry::new().context("ctx").child("child");
    let weak = ctx.downgrade();
    assert_eq!(
        (weak.id(), weak.name(), weak.path(), weak.state()),
        (ctx.id(), "child", "ctx/child".into(), ctx.state())
    );
    let id = ctx.id();
    in_time(ctx.close()).await;
    drop(ctx);
    settle().await;
    assert_eq!(
        (weak.id(), weak.name(), weak.path(), weak.state()),
        (id, "child", "ctx/child".into(), State::Closed)
    );
    assert!(weak.is_cancelled() && weak.upgrade().is_none());
    in_time(weak.cancelled()).await;
}

/// S19
#[tokio::test]
async fn cancelled_resolves_when_the_context_closes() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    let waiter = tokio::spawn(async move { weak.cancelled().await });
    settle().await;
    assert!(!waiter.is_finished());
    in_time(ctx.close()).await;
    in_time(waiter).await.unwrap();
}

#[tokio::test]
async fn an_upgraded_handle_keeps_the_context_open() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let strong = weak.upgrade().unwrap();
    drop(ctx);
    settle().await;
    assert_eq!(strong.state(), State::Open);
    assert_eq!(
        registry.live_now().find("ctx").unwrap().strong_count(),
        Some(1)
    );
    in_time(strong.close()).await;
}

/// I3: upgrades against the last drop, many times.
#[test]
fn an_upgrade_either_holds_the_context_or_fails() {
    let rt = crate::util::multi_thread(1);
    let (mut held, mut failed) = (0, 0);
    for _ in 0..500 {
        let registry = Registry::new();
        let ctx = rt.block_on(async { registry.context("ctx") });
        let weak = ctx.downgrade();
        let upgrader = std::thread::spawn(move || weak.upgrade());
        drop(ctx);
        match upgrader.join().unwrap() {
            Some(ctx) => {
                assert_eq!(ctx.state(), State::Open);
                held += 1;
                rt.block_on(in_time(ctx.close()));
            }
            None => failed += 1,
        }
        rt.block_on(in_time(registry.idle()));
        assert_eq!(registry.count(), 0);
    }
    assert!(failed > 0, "{held} held, {failed} failed");
}

/// A task may end its own context without holding it.
#[tokio::test]
async fn a_weak_handle_requests_a_close_and_runs_until_it() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    assert_eq!(weak.run_until_cancelled(async { 1 }).await, Some(1));
    let task = ctx.spawn(async move {
        weak.request_close("enough");
        weak.run_until_cancelled(std::future::pending::<()>()).await
    });
    assert_eq!(
        in_time(ctx.closed()).await.reason(),
        &headcount::CloseReason::from("enough")
    );
    assert_eq!(task.await.unwrap(), None);
    let weak = ctx.downgrade();
    drop(ctx);
    weak.request_close("gone");
    assert_eq!(
        weak.run_until_cancelled(std::future::pending::<()>()).await,
        None
    );
}

/// S19: waiting for the end without holding the context open.
#[tokio::test]
async fn a_weak_handle_waits_for_the_end() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let waiter = tokio::spawn(async move { weak.closed().await });
    settle().await;
    assert!(!waiter.is_finished());
    drop(ctx);
    in_time(waiter).await.unwrap();
    in_time(registry.idle()).await;
}

/// I2: what a weak handle starts is counted, listed and awaited as what a strong one does.
#[tokio::test]
async fn a_weak_handle_starts_what_a_strong_one_does() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let named = weak.task("named").kind("job").spawn(async { 1 });
    let unnamed = weak.try_spawn(async { 2 }).unwrap();
    let spawned = weak.spawn(async { 3 });
    let wrapped = weak.wrap(async { 4 });
    let child = weak.try_child("child").unwrap();
    let _hook = weak.on_close(|| async {}).unwrap();
    let live = registry.live().await;
    assert_eq!((live.tasks().len(), live.kind("job").len()), (4, 1));
    assert_eq!(child.parent().unwrap().id(), ctx.id());
    let outputs = (
        in_time(named).await.unwrap(),
        in_time(unnamed).await.unwrap(),
        in_time(spawned).await.unwrap(),
        in_time(wrapped).await.unwrap(),
    );
    assert_eq!(outputs, (1, 2, 3, 4));
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.children()), (4, 1));
    assert_eq!(report.hooks().ran, 1);
    assert_eq!(child.state(), State::Closed);
}

/// I3
#[tokio::test]
async fn a_weak_spawn_takes_no_handle() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let builder = weak.task("later");
    let hook = weak.on_close(|| async {}).unwrap();
    let _child = weak.try_child("child").unwrap();
    let _task = weak.spawn(std::future::pending::<()>());
    let holders = weak.holders();
    assert_eq!((holders.strong_count(), holders.iter().len()), (1, 1));
    drop(ctx);
    assert_eq!(weak.state(), State::Closing);
    assert!(builder.try_spawn(async {}).is_err());
    hook.cancel();
    in_time(registry.close()).await;
}

/// A task may spawn on its own context, and the close awaits that as well.
#[tokio::test]
async fn a_task_spawns_on_its_own_context() {
    let ctx = Registry::new().context("ctx");
    let outer = ctx.spawn(async {
        let own = Context::current().unwrap();
        own.spawn(async { tokio::time::sleep(Duration::from_millis(5)).await })
            .id()
    });
    in_time(outer).await.unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.is_clean()), (2, true));
}

#[tokio::test]
async fn a_weak_handle_of_a_closing_context_hands_back_what_it_refuses() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    let counter = Counter::default();
    let (late, seen) = (weak.clone(), counter.clone());
    ctx.task("late").spawn(async move {
        late.cancelled().await;
        let (guard, second) = (seen.guard(), seen.guard());
        let refused = late.try_spawn(async move { drop(guard) }).unwrap_err();
        assert_eq!(
            (refused.reason(), seen.dropped()),
            (RefusedReason::Closed, 0)
        );
        let spawned = late.spawn(async move { drop(second) });
        assert_eq!(seen.dropped(), 1);
        assert!(matches!(spawned.await, Err(TaskError::Refused)));
        assert!(late.try_child("child").is_err());
        // Nothing has run yet that comes after the tasks.
        late.on_close(|| async {}).unwrap();
    });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.refused(), report.hooks().ran), (1, 1), "{report}");
    assert_eq!(report.panicked(), 0, "{report}");
    assert_eq!(counter.alive(), 0);
}

/// I16: a refusal that comes after the report of its context counts in the next one that is to come.
#[test]
fn a_weak_handle_of_a_context_that_is_gone_refuses() {
    let said = said_on(&current_thread(), async || {
        let registry = Registry::new();
        let server = registry.context("server");
        let gone = server.child("closed").child("gone");
        let weak = gone.downgrade();
        in_time(gone.close()).await;
        drop(gone);
        settle().await;
        let counter = Counter::default();
        for _ in 0..3 {
            let guard = counter.guard();
            let refused = weak.spawn(async move { drop(guard) });
            assert!(matches!(in_time(refused).await, Err(TaskError::Refused)));
        }
        assert_eq!(counter.dropped(), 3);
        assert!(matches!(weak.wrap(async {}).await, Err(TaskError::Refused)));
        let refused = weak.task("named").try_spawn(async { 42 }).unwrap_err();
        assert_eq!(in_time(refused.into_inner()).await, 42);
        let refused = weak.task("closure").try_spawn_blocking(|| 42).unwrap_err();
        assert_eq!(refused.into_inner()(), 42);
        assert!(weak.try_child("child").is_err());
        let hook = weak
            .on_close(|| async { Err::<(), _>("run") })
            .err()
            .unwrap();
        assert_eq!(hook.into_inner()().await, Err("run"));
        let report = in_time(server.close()).await;
        assert_eq!((report.refused(), report.children()), (4, 2), "{report}");

        // The registry counts what no context can count any more.
        in_time(weak.spawn(async {})).await.unwrap_err();
        let report = in_time(registry.close()).await;
        assert_eq!(report.refused(), 5, "{report}");
    });
    assert_eq!(count(&said, "a task was refused"), 2, "{said:?}");
    assert_eq!(count(&said, "a wrapped future was refused"), 1, "{said:?}");
}

/// Nothing counts it any more; it is refused and said all the same.
#[test]
fn a_weak_handle_that_outlives_its_registry_refuses() {
    let said = said_on(&current_thread(), async || {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let weak = ctx.downgrade();
        in_time(registry.close()).await;
        drop((ctx, registry));
        settle().await;
        for _ in 0..2 {
            in_time(weak.spawn(async {})).await.unwrap_err();
        }
        assert!(weak.try_spawn(async {}).is_err());
    });
    assert_eq!(count(&said, "a task was refused"), 1, "{said:?}");
}

/// Also outside of every runtime: there is nothing to run.
#[test]
fn a_weak_handle_of_a_context_that_is_gone_needs_no_runtime_to_refuse() {
    let runtime = current_thread();
    let weak = runtime.block_on(async {
        let ctx = Registry::new().context("ctx");
        in_time(ctx.close()).await;
        ctx.downgrade()
    });
    drop(runtime);
    assert!(weak.spawn(async {}).is_finished());
}

#[test]
#[should_panic(expected = "there is no tokio runtime")]
fn a_weak_spawn_without_a_runtime_panics() {
    let ctx = Registry::new().context("ctx");
    drop(ctx.downgrade().spawn(async {}));
}
