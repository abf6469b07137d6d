//! `stop_on`: a future that closes when it is done.

use crate::{
    events::said,
    util::{in_time, settle},
};
use headcount::{CloseReason, Registry};
use std::{
    future::pending,
    sync::{Arc, Weak},
};
use tokio::sync::oneshot;

#[tokio::test(start_paused = true)]
async fn the_close_begins_when_the_future_is_done() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (stop, asked) = oneshot::channel::<()>();
    ctx.stop_on(asked, "asked");
    settle().await;
    assert!(!ctx.is_cancelled());
    stop.send(()).unwrap();
    assert_eq!(
        in_time(ctx.closed()).await.reason(),
        &CloseReason::from("asked")
    );
    assert!(!registry.readiness().is_ready() || registry.close_reason().is_none());
    registry.stop_on(async {}, "done");
    assert_eq!(
        in_time(registry.closed()).await.reason(),
        &CloseReason::from("done")
    );
}

/// It is no task: code that waits for tasks is not held up by it.
#[tokio::test(start_paused = true)]
async fn it_holds_up_neither_idle_nor_finish_and_ends_with_the_close() {
    let ctx = Registry::new().context("ctx");
    let held = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&held);
    ctx.stop_on(
        async move {
            pending::<()>().await;
            drop(held);
        },
        "never",
    );
    settle().await;
    in_time(ctx.idle()).await;
    assert_eq!(in_time(ctx.finish()).await.reason(), &CloseReason::Finished);
    settle().await;
    assert!(
        weak.upgrade().is_none(),
        "the future is dropped when the close begins"
    );
}

#[tokio::test(start_paused = true)]
async fn it_does_not_keep_the_context_open() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").closes_by_drop().open();
    ctx.stop_on(pending::<()>(), "never");
    drop(ctx);
    settle().await;
    assert!(registry.is_empty(), "{}", registry.live_now());
}

#[test]
fn a_future_that_panics_is_told_and_closes_nothing() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        ctx.stop_on(async { panic!("on purpose") }, "never");
        settle().await;
        assert!(!ctx.is_cancelled());
        in_time(ctx.close()).await;
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].contains("panicked: on purpose (passed to `stop_on` at tests/it/stop_on.rs:"),
        "{said:#?}"
    );
}

#[test]
#[should_panic(expected = "`stop_on` of `ctx` has no tokio runtime to run on")]
fn without_a_runtime_it_panics() {
    Registry::new().context("ctx").stop_on(async {}, "never");
}
