//! Parents and children (I14, S1, S8).

use crate::util::{Counter, in_time, poll_once, settle};
use headcount::{CloseReason, Registry, State};
use std::{pin::pin, time::Duration};
use tokio::sync::oneshot;

#[tokio::test]
async fn a_context_knows_its_place() {
    let ctx = Registry::new().context("ctx");
    let child = ctx.child("child");
    let grandchild = child.child("grandchild");
    assert!(ctx.parent().is_none());
    assert_eq!(child.parent().unwrap().id(), ctx.id());
    assert_eq!(
        (grandchild.path(), grandchild.name()),
        ("ctx/child/grandchild".into(), "grandchild")
    );
    let second = ctx.child("second");
    let names = |ctx: &headcount::Context| {
        ctx.children()
            .iter()
            .map(|child| child.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&ctx), ["child", "second"]);
    in_time(child.close()).await;
    assert_eq!(names(&ctx), ["second"]);
    drop(second);
    settle().await;
    assert!(names(&ctx).is_empty());
}

/// S1
#[tokio::test]
async fn states_go_from_open_through_closing_to_closed() {
    let ctx = Registry::new().context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    let child = ctx.child("child");
    child.spawn(async move { finished.await });
    assert_eq!((ctx.state(), child.state()), (State::Open, State::Open));
    assert!(!ctx.is_cancelled());
    ctx.request_close("now");
    assert_eq!(ctx.state(), State::Closing);
    assert!(ctx.is_cancelled());
    in_time(child.cancelled()).await;
    assert_eq!(
        (ctx.state(), child.state()),
        (State::Closing, State::Closing)
    );
    finish.send(()).unwrap();
    in_time(ctx.closed()).await;
    assert_eq!((ctx.state(), child.state()), (State::Closed, State::Closed));
    assert!(matches!(
        child.closed().await.reason(),
        CloseReason::Parent(_)
    ));
}

/// I14
#[tokio::test]
async fn a_parent_waits_for_children_whose_handles_are_gone() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    let child = ctx.child("child");
    let guard = counter.guard();
    child.spawn(async move {
        let _ = finished.await;
        drop(guard);
    });
    drop(child);
    let mut close = pin!(ctx.close());
    assert!(poll_once(close.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(close.as_mut()).is_pending());
    assert_eq!(counter.alive(), 1);
    finish.send(()).unwrap();
    let report = in_time(close).await;
    assert_eq!(
        (counter.alive(), report.finished(), report.children()),
        (0, 1, 1)
    );
}

/// I14: also for hooks and owned values of a grandchild.
#[tokio::test(start_paused = true)]
async fn a_parent_waits_for_hooks_and_values_of_descendants() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    let child = ctx.child("child");
    let grandchild = child.child("grandchild");
    let guard = counter.guard();
    grandchild
        .on_close(move || async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(guard);
        })
        .unwrap();
    drop(grandchild.own("value", "value", counter.guard()).unwrap());
    drop(grandchild);
    in_time(ctx.close()).await;
    assert_eq!((counter.alive(), counter.dropped()), (0, 2));
    assert_eq!(child.state(), State::Closed);
}

#[tokio::test]
async fn a_child_closes_alone() {
    let ctx = Registry::new().context("ctx");
    let (one, two) = (ctx.child("one"), ctx.child("two"));
    one.spawn(std::future::pending::<()>()).abort();
    in_time(one.close()).await;
    assert_eq!((ctx.state(), two.state()), (State::Open, State::Open));
    assert!(
        !ctx.token().is_cancelled() && !two.token().is_cancelled() && one.token().is_cancelled()
    );
    two.spawn(async {}).await.unwrap();
}

#[tokio::test]
async fn a_child_of_a_closing_context_is_closed_from_the_start() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    ctx.spawn(async move { finished.await });
    ctx.request_close("now");
    let child = ctx.child("late");
    assert_eq!(child.state(), State::Closed);
    assert!(child.is_cancelled() && child.token().is_cancelled());
    assert!(child.try_spawn(async {}).is_err() && child.on_close(|| async {}).is_err());
    assert!(child.own("value", "value", 1).is_err());
    assert!(ctx.try_child("late").is_err() && ctx.child_builder("late").try_open().is_err());
    assert!(matches!(
        in_time(child.close()).await.reason(),
        CloseReason::Parent(_)
    ));
    let grandchild = child.child("of a closed one");
    assert_eq!(grandchild.state(), State::Closed);
    finish.send(()).unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!((report.refused(), report.children()), (0, 0));
    drop((ctx, child, grandchild));
    assert!(registry.is_empty());
}

/// I14: a storm of children against the close of their parent.
#[test]
fn children_opened_during_a_close_are_refused_or_awaited() {
    let rt = crate::util::multi_thread(2);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..200 {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let opener = std::thread::spawn({
            let (ctx, handle) = (ctx.clone(), rt.handle().clone());
            move || {
                let _enter = handle.enter();
                (0..100)
                    .filter_map(|_| ctx.try_child("child").ok())
                    .collect::<Vec<_>>()
            }
        });
        for _ in 0..round % 40 {
            std::thread::yield_now();
        }
        let report = rt.block_on(in_time(ctx.close()));
        let children = opener.join().unwrap();
        assert_eq!(report.children(), children.len() as u64);
        assert!(children.iter().all(|child| child.state() == State::Closed));
        accepted += children.len();
        refused += 100 - children.len();
        drop((ctx, children));
        assert_eq!(registry.count(), 0);
    }
    assert!(
        accepted > 0 && refused > 0,
        "no interleaving: {accepted} accepted, {refused} refused"
    );
}

/// I13
#[tokio::test]
async fn a_chain_of_contexts_closes_and_drops_without_recursion() {
    let registry = Registry::new();
    let mut chain = vec![registry.context("top")];
    for n in 1..5_000 {
        chain.push(chain[n - 1].child("link"));
    }
    chain[4_999].spawn(std::future::pending::<()>()).abort();
    assert_eq!(in_time(chain[0].close()).await.children(), 4_999);
    drop(chain);
    assert!(registry.is_empty());
}

/// §5: a parent never holds a child open, a child never its parent.
#[tokio::test]
async fn dropping_the_parent_closes_the_child() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    drop(ctx);
    assert!(matches!(
        in_time(child.closed()).await.reason(),
        CloseReason::Parent(_)
    ));
    drop(child);
    settle().await;
    assert!(registry.is_empty());
}

/// A parent's report tells what went wrong below it.
#[tokio::test]
async fn failures_of_descendants_reach_the_report_of_the_parent() {
    let ctx = Registry::new().context("ctx");
    let children: Vec<_> = (0..40)
        .map(|n| ctx.child("child").child(format!("grandchild-{n}")))
        .collect();
    for child in &children {
        child
            .on_close(|| async { Err::<(), _>("disk full") })
            .unwrap();
        child.on_close(|| async {}).unwrap();
    }
    let report = in_time(ctx.close()).await;
    assert_eq!(
        (report.hooks().ran, report.hooks().failed, report.is_clean()),
        (80, 40, false)
    );
    assert_eq!(report.failures().len(), 32, "capped");
    let first = report.failures()[0].to_string();
    assert!(
        first.ends_with("disk full [ctx/child/grandchild-0]"),
        "{first}"
    );
    assert!(!children[0].closed().await.is_clean());
}
