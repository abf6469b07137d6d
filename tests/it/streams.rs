//! Streams counted here and polled elsewhere.

use crate::util::{Counter, Wakes, in_time, poll_once, settle};
use futures::{Stream, StreamExt, stream};
use headcount::{Context, RefusedReason, Registry, TaskError};
use std::{
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

fn hasty() -> Context {
    let grace = Duration::from_millis(5);
    Registry::new().context_builder("ctx").grace(grace).open()
}

#[tokio::test]
async fn a_wrapped_stream_is_listed_and_awaited_until_it_has_ended() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
    let source = stream::poll_fn(move |cx| take.poll_recv(cx));
    let mut body = ctx.task("body").kind("response").wrap_stream(source);
    assert_eq!(
        registry.live().await.find("body").unwrap().kind(),
        "response"
    );
    give.send(1).unwrap();
    assert_eq!(in_time(body.next()).await.unwrap().unwrap(), 1);
    let mut close = pin!(ctx.close());
    assert!(poll_once(close.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(close.as_mut()).is_pending());
    give.send(2).unwrap();
    assert_eq!(in_time(body.next()).await.unwrap().unwrap(), 2);
    drop(give);
    assert!(in_time(body.next()).await.is_none());
    assert!(in_time(body.next()).await.is_none());
    let report = in_time(close).await;
    assert_eq!((report.finished(), report.is_clean()), (1, true));
}

#[tokio::test]
async fn the_items_of_a_wrapped_stream_are_made_in_its_context() {
    let ctx = Registry::new().context("ctx");
    let named = stream::once(async { Context::current().unwrap().name().to_owned() });
    let names: Vec<_> = in_time(ctx.wrap_stream(named).map(Result::unwrap).collect()).await;
    assert_eq!(names, ["ctx"]);
}

#[tokio::test]
async fn a_wrapped_stream_that_is_dropped_counts_as_aborted() {
    let ctx = Registry::new().context("ctx");
    let counter = Counter::default();
    let guard = counter.guard();
    let stream = ctx.wrap_stream(stream::repeat(0).map(move |n| {
        let _held = &guard;
        n
    }));
    drop(stream);
    assert_eq!(counter.alive(), 0);
    let mut begun = ctx.wrap_stream(stream::repeat(0));
    assert_eq!(in_time(begun.next()).await.unwrap().unwrap(), 0);
    drop(begun);
    assert_eq!(in_time(ctx.close()).await.aborted(), 2);
}

/// Also one that always has an item, and one that waits.
#[tokio::test]
async fn a_wrapped_stream_is_cut_off_after_the_grace_period_and_says_so() {
    let ctx = hasty();
    let counter = Counter::default();
    let guard = counter.guard();
    let waits = ctx.wrap_stream(stream::pending::<u8>().chain(stream::iter([guard]).map(|_| 0)));
    let waits = tokio::spawn(waits.collect::<Vec<_>>());
    let mut busy = Box::pin(ctx.wrap_stream(stream::repeat(1)));
    settle().await;
    let mut close = pin!(ctx.close());
    let mut last = None;
    while poll_once(close.as_mut()).is_pending() {
        while let Poll::Ready(Some(item)) = poll_once(pin!(busy.next())) {
            let is_error = item.is_err();
            last = Some(item);
            if is_error {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(matches!(last, Some(Err(TaskError::Aborted))));
    assert!(in_time(busy.next()).await.is_none());
    let items = in_time(waits).await.unwrap();
    assert!(matches!(items[..], [Err(TaskError::Aborted)]));
    assert_eq!(counter.alive(), 0);
}

#[tokio::test]
async fn a_wrapped_stream_is_refused_on_a_closed_context() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.close()).await;
    let counter = Counter::default();
    let guard = counter.guard();
    let source = stream::once(async move { drop(guard) });
    let mut refused = pin!(ctx.wrap_stream(source));
    assert_eq!((counter.dropped(), refused.size_hint()), (1, (1, Some(1))));
    assert!(matches!(
        in_time(refused.next()).await,
        Some(Err(TaskError::Refused))
    ));
    assert_eq!(refused.size_hint(), (0, Some(0)));
    assert!(in_time(refused.next()).await.is_none());
    let refused = ctx
        .task("body")
        .try_wrap_stream(stream::iter([42]))
        .unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(refused.into_inner().next().await, Some(42));
}

/// I12: the panic goes on to the owner that polls.
#[tokio::test]
async fn a_panic_of_a_wrapped_stream_passes_through_and_is_counted() {
    let ctx = Registry::new().context("ctx");
    let source = stream::iter([1, 2]).map(|n| {
        assert!(n < 2, "on purpose");
        n
    });
    let mut wrapped = ctx.wrap_stream(source);
    assert_eq!(wrapped.next().await.unwrap().unwrap(), 1);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| poll_once(pin!(wrapped.next()))));
    assert!(caught.is_err());
    assert!(in_time(wrapped.next()).await.is_none(), "it has ended");
    assert_eq!(in_time(ctx.close()).await.panicked(), 1);
}

#[tokio::test]
async fn a_wrapped_stream_has_at_most_one_item_more() {
    let ctx = Registry::new().context("ctx");
    let wrapped = ctx.wrap_stream(stream::iter([1, 2, 3]));
    assert_eq!(wrapped.size_hint(), (0, Some(4)));
    assert_eq!(ctx.wrap_stream(stream::repeat(0)).size_hint(), (0, None));
    let text = format!("{wrapped:?}");
    assert_eq!(text, "WrappedStream { has_ended: false, .. }");
}

/// One that waits is woken when it is aborted.
#[tokio::test]
async fn a_wrapped_stream_that_waits_is_woken_by_an_abort() {
    let ctx = hasty();
    let mut wrapped = ctx.wrap_stream(stream::pending::<u8>());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(Pin::new(&mut wrapped).poll_next(&mut cx).is_pending());
    let close = tokio::spawn(ctx.close());
    let mut seen = 0;
    // It may be woken before that, to be asked where it waits.
    let last = loop {
        while wakes.count() == seen {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen = wakes.count();
        if let Poll::Ready(last) = Pin::new(&mut wrapped).poll_next(&mut cx) {
            break last;
        }
    };
    assert!(matches!(last, Some(Err(TaskError::Aborted))));
    assert_eq!(in_time(close).await.unwrap().aborted(), 1);
}
