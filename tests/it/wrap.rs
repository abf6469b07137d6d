//! Futures counted here and polled elsewhere.

use crate::util::{Counter, OnDrop, in_time, poll_once, settle};
use headcount::{Context, RefusedReason, Registry, State, TaskError};
use std::{pin::pin, time::Duration};
use tokio::sync::oneshot;

#[tokio::test]
async fn a_wrapped_future_is_listed_and_awaited_wherever_it_runs() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    let other = crate::util::multi_thread(1);
    let wrapped = other.spawn(ctx.wrap(async move {
        finished.await.unwrap();
        Context::current().unwrap().name().to_owned()
    }));
    assert_eq!(registry.live().await.tasks().len(), 1);
    let mut close = pin!(ctx.close());
    assert!(poll_once(close.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(close.as_mut()).is_pending());
    finish.send(()).unwrap();
    assert_eq!(in_time(close).await.finished(), 1);
    assert_eq!(in_time(wrapped).await.unwrap().unwrap(), "ctx");
    assert!(registry.live().await.tasks().is_empty());
    other.shutdown_background();
}

#[tokio::test]
async fn a_wrapped_future_that_is_dropped_counts_as_aborted() {
    let ctx = Registry::new().context("ctx");
    let counter = Counter::default();
    let guard = counter.guard();
    let never_polled = ctx.wrap(async move { drop(guard) });
    drop(never_polled);
    assert_eq!(counter.dropped(), 1);
    let guard = counter.guard();
    let handle = tokio::spawn(ctx.wrap(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    }));
    settle().await;
    handle.abort();
    handle.await.unwrap_err();
    let report = in_time(ctx.close()).await;
    assert_eq!((report.aborted(), counter.alive()), (2, 0));
}

#[tokio::test]
async fn a_wrapped_future_is_ended_after_the_grace_period() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::from_millis(5))
        .open();
    let handle = tokio::spawn(ctx.wrap(std::future::pending::<()>()));
    assert_eq!(in_time(ctx.close()).await.aborted(), 1);
    assert!(matches!(handle.await.unwrap(), Err(TaskError::Aborted)));
}

/// I12: the panic goes on to the owner that polls.
#[tokio::test]
async fn a_panic_of_a_wrapped_future_passes_through_and_is_counted() {
    let ctx = Registry::new().context("ctx");
    let handle = tokio::spawn(ctx.wrap(async { panic!("on purpose") }));
    assert!(in_time(handle).await.unwrap_err().is_panic());
    let bomb = OnDrop::new(|| panic!("destructor"));
    let handle = tokio::spawn(ctx.wrap(async move { drop(bomb) }));
    assert!(in_time(handle).await.unwrap_err().is_panic());
    assert_eq!(in_time(ctx.close()).await.panicked(), 2);
}

#[tokio::test]
async fn a_wrap_on_a_closed_context_is_refused() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.close()).await;
    let counter = Counter::default();
    let guard = counter.guard();
    let wrapped = ctx.wrap(async move { drop(guard) });
    assert_eq!(counter.dropped(), 1, "dropped at once");
    assert!(matches!(wrapped.await, Err(TaskError::Refused)));
    let refused = ctx.try_wrap(async { 42 }).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(refused.into_inner().await, 42);
}

#[tokio::test]
async fn a_wrapped_future_may_borrow_and_need_not_be_send() {
    let ctx = Registry::new().context("ctx");
    let text = std::rc::Rc::new(String::from("borrowed"));
    let borrowed = &text;
    assert_eq!(ctx.wrap(async { borrowed.len() }).await.unwrap(), 8);
    assert_eq!(ctx.state(), State::Open);
    assert_eq!(in_time(ctx.close()).await.finished(), 1);
}

#[tokio::test]
async fn a_wrapped_future_has_a_name_and_a_kind() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (named, plain) = (
        ctx.task("named").kind("request").wrap(async {}),
        ctx.wrap(async {}),
    );
    let live = registry.live().await.tasks();
    assert_eq!(live.find("named").unwrap().kind(), "request");
    assert_eq!(live.kind("wrapped").len(), 1);
    drop((named, plain));
    in_time(ctx.close()).await;
    assert!(ctx.task("late").try_wrap(async {}).is_err());
}
