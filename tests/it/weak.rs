//! Weak handles (I3, S3, S19).

use crate::util::{in_time, settle};
use headcount::{Registry, State};

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
