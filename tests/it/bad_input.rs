//! What is wrong gets a clear answer, and nothing is lost.

use crate::util::{Counter, OnDrop, Wakes, current_thread, in_time, settle};
use headcount::{RefusedReason, Registry, TaskError};
use std::{
    panic::catch_unwind,
    sync::{Arc, Mutex},
    task::Waker,
    time::Duration,
};

#[tokio::test]
async fn a_spawn_on_a_closed_context_drops_the_future_unpolled() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.close()).await;
    let counter = Counter::default();
    let guard = counter.guard();
    let polled = Counter::default();
    let task = ctx.task("late").spawn({
        let polled = polled.clone();
        async move {
            drop(polled.guard());
            drop(guard);
        }
    });
    assert_eq!(
        (counter.dropped(), task.name(), task.is_finished()),
        (1, "late", true)
    );
    task.abort();
    assert_eq!(task.id().to_string(), "#refused");
    assert!(matches!(task.await, Err(TaskError::Refused)));
    assert_eq!(polled.dropped(), 0);
    assert!(matches!(
        ctx.spawn_blocking(|| 1).await,
        Err(TaskError::Refused)
    ));
    assert!(matches!(
        ctx.spawn_local(async {}).await,
        Err(TaskError::Refused)
    ));
}

#[tokio::test]
async fn try_spawn_hands_everything_back() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.close()).await;
    let refused = ctx.try_spawn(async { 1 }).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(refused.into_inner().await, 1);
    assert_eq!(
        ctx.task("t")
            .try_spawn_blocking(|| 2)
            .unwrap_err()
            .into_inner()(),
        2
    );
    assert_eq!(
        ctx.task("t")
            .try_spawn_local(async { 3 })
            .unwrap_err()
            .into_inner()
            .await,
        3
    );
    assert_eq!(
        ctx.task("t")
            .try_spawn(async { 4 })
            .unwrap_err()
            .into_inner()
            .await,
        4
    );
}

/// As `tokio::spawn`: a panic that says what to do, at the caller's line; and a twin that does not.
#[test]
fn without_a_runtime_a_spawn_panics_at_the_callers_line() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let line = Arc::new(Mutex::new(None));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new({
        let (line, this) = (line.clone(), std::thread::current().id());
        move |info| {
            if std::thread::current().id() == this {
                *line.lock().unwrap() = info.location().map(|at| (at.file().to_owned(), at.line()));
            }
        }
    }));
    let mut failures = Vec::new();
    let mut check = |what: &str, at: u32, run: &dyn Fn()| {
        let panic = catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let place = line.lock().unwrap().take();
        if place != Some((file!().to_owned(), at))
            || !message.contains("open the context inside one")
        {
            failures.push(format!("{what}: {place:?} {message}"));
        }
    };
    // One line each, or `line!()` would not be the line of the call.
    #[rustfmt::skip]
    let () = {
        check("spawn", line!(), &|| drop(ctx.spawn(async {})));
        check("task.spawn", line!(), &|| drop(ctx.task("t").spawn(async {})));
        check("spawn_blocking", line!(), &|| drop(ctx.spawn_blocking(|| ())));
        check("free spawn", line!(), &|| drop(headcount::spawn(async {})));
    };
    let local = catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(ctx.spawn_local(async {}))
    }))
    .is_err();
    let local_line = line.lock().unwrap().take().map(|(file, _)| file);
    std::panic::set_hook(hook);
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(
        local && local_line.as_deref() == Some(file!()),
        "{local_line:?}"
    );
    assert_eq!(
        ctx.try_spawn(async {}).unwrap_err().reason(),
        RefusedReason::NoRuntime
    );
    assert_eq!(
        ctx.task("t")
            .try_spawn_blocking(|| ())
            .unwrap_err()
            .reason(),
        RefusedReason::NoRuntime
    );
    // Nothing is left of them, and the context still closes.
    assert_eq!(registry.count(), 1);
    let report = current_thread().block_on(in_time(ctx.close()));
    assert_eq!(
        (report.finished(), report.aborted()),
        (0, 1),
        "the local one was let in and dropped"
    );
}

#[test]
fn without_any_runtime_a_close_says_so() {
    let ctx = Registry::new().context("ctx");
    ctx.request_close("begins all the same");
    let closed = catch_unwind(std::panic::AssertUnwindSafe(|| {
        futures::executor::block_on(ctx.close())
    }));
    let message = *closed.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("the close of `ctx` has no tokio runtime to run on"),
        "{message}"
    );
    assert!(current_thread().block_on(in_time(ctx.close())).is_clean());
}

#[tokio::test]
async fn names_are_kept_whole_and_printed_short_and_escaped() {
    let registry = Registry::new();
    let long = "n".repeat(1 << 20);
    let ctx = registry
        .context_builder(long.clone())
        .kind("k\u{1b}[2J\nkind")
        .open();
    let task = ctx.task("line\none").spawn(std::future::pending::<()>());
    let _empty = registry.register("", "");
    let live = registry.live().await;
    assert_eq!(
        (ctx.name().len(), live.find(&long).unwrap().name().len()),
        (1 << 20, 1 << 20)
    );
    assert_eq!(task.name(), "line\none");
    let printed = live.to_string();
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(
        printed.len() < 1_000 && printed.contains("… (1048576 bytes)"),
        "{printed}"
    );
    assert!(
        printed.contains("k\\u{1b}[2J\\nkind") && printed.contains("line\\none"),
        "{printed}"
    );
    task.abort();
    let report = in_time(ctx.close()).await;
    assert!(report.to_string().len() < 1_000);
}

#[tokio::test(start_paused = true)]
async fn zero_and_enormous_durations_mean_what_they_say() {
    let registry = Registry::new();
    let hasty = registry
        .context_builder("hasty")
        .grace(Duration::ZERO)
        .hook_timeout(Duration::ZERO)
        .open();
    hasty.spawn(std::future::pending::<()>());
    hasty.on_close(|| async {}).unwrap();
    hasty
        .on_close(|| async { tokio::task::yield_now().await })
        .unwrap();
    let report = in_time(hasty.close()).await;
    assert_eq!(
        (
            report.aborted(),
            report.hooks().ran,
            report.hooks().timed_out
        ),
        (1, 1, 1)
    );

    let patient = registry
        .context_builder("patient")
        .grace(Duration::MAX)
        .hook_timeout(Duration::MAX)
        .open();
    patient.spawn(async { tokio::time::sleep(Duration::from_secs(1_000_000)).await });
    patient
        .on_close(|| async { tokio::time::sleep(Duration::from_secs(1_000_000)).await })
        .unwrap();
    assert!(patient.close_within(Duration::ZERO).await.is_err());
    assert!(
        in_time(patient.close_within(Duration::MAX))
            .await
            .unwrap()
            .is_clean()
    );
    assert!(registry.live().await.older_than(Duration::MAX).is_empty());
}

struct Twice;
impl Future for Twice {
    type Output = ();
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        panic!("in poll")
    }
}
impl Drop for Twice {
    fn drop(&mut self) {
        panic!("in drop")
    }
}

/// A future that panics in `poll` and again in its destructor is one panic, the first.
#[tokio::test]
async fn a_future_that_panics_twice_panicked_once() {
    let ctx = Registry::new().context("ctx");
    let error = in_time(ctx.spawn(Twice)).await.unwrap_err();
    assert!(
        matches!(&error, TaskError::Panicked(_, message) if message == "in poll"),
        "{error}"
    );
    let unpolled = ctx.task("unpolled").spawn(Twice);
    unpolled.abort();
    assert!(
        matches!(in_time(unpolled).await, Err(TaskError::Panicked(_, message)) if message == "in drop")
    );
    assert_eq!(in_time(ctx.close()).await.panicked(), 2);
    drop(ctx.spawn(Twice));
}

/// A payload that panics when it is dropped does no other harm.
#[tokio::test]
async fn a_panic_payload_that_panics_is_survived() {
    let ctx = Registry::new().context("ctx");
    drop(ctx.spawn(async { std::panic::panic_any(OnDrop::new(|| panic!("payload"))) }));
    ctx.on_close(|| async { std::panic::panic_any(OnDrop::new(|| panic!("payload"))) })
        .unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!((report.panicked(), report.hooks().failed), (1, 1));
}

/// A waker that is called after its task is gone does nothing.
#[tokio::test]
async fn a_late_waker_does_nothing() {
    let ctx = Registry::new().context("ctx");
    let stored: Arc<Mutex<Option<Waker>>> = Arc::default();
    let task = ctx.spawn({
        let stored = stored.clone();
        std::future::poll_fn(move |cx| {
            *stored.lock().unwrap() = Some(cx.waker().clone());
            std::task::Poll::<()>::Pending
        })
    });
    settle().await;
    task.abort();
    in_time(task).await.unwrap_err();
    in_time(ctx.close()).await;
    let waker = stored.lock().unwrap().take().unwrap();
    waker.wake_by_ref();
    drop(ctx);
    waker.wake();
}

struct Bomb;
impl std::task::Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("waker")
    }
}

/// A waker that panics when it is woken does not take the task's context along.
#[tokio::test]
async fn a_waker_that_panics_is_survived() {
    let ctx = Registry::new().context("ctx");
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let mut task = ctx.spawn(async move { finished.await });
    let waker = Waker::from(Arc::new(Bomb));
    assert!(
        std::pin::pin!(&mut task)
            .poll(&mut std::task::Context::from_waker(&waker))
            .is_pending()
    );
    finish.send(()).unwrap();
    assert_eq!(in_time(ctx.close()).await.finished(), 1);
    assert_eq!(Arc::strong_count(&Arc::new(Wakes::default())), 1);
}
