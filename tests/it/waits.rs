//! What a dump says of waits: which, how many, and how they belong together.

use crate::{
    dump::{LONG, SLEEPS, ignore, sleeps},
    util::{multi_thread, settle},
};
use futures::{FutureExt, SinkExt, future::join_all};
use headcount::{
    Registry,
    dump::{Activity, Dump},
    leaks::{LeakKind, LeakPolicy},
};
use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

/// What a dump prints of one task that waits for this, without its head.
async fn said(waits: impl Future<Output = ()> + Send + 'static) -> String {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let task = ctx.task("task").spawn(waits);
    settle().await;
    let trace = task.trace().await.unwrap().to_string();
    task.abort();
    ctx.close().await;
    let lines = trace.lines().skip(1).map(str::trim);
    lines.collect::<Vec<_>>().join("\n")
}

/// How each of the stacks begins.
async fn joints(waits: impl Future<Output = ()> + Send + 'static) -> Vec<String> {
    let said = said(waits).await;
    let here = "it::waits::";
    let begin = said.lines().filter(|line| line.contains(here));
    let begin = begin.map(|line| line.split(here).next().unwrap().trim().to_owned());
    begin.collect()
}

#[tokio::test]
async fn waits_for_all_are_told_from_waits_for_any() {
    let all = ["", "and"];
    let any = ["either", "or"];
    let cases = [
        (
            all,
            async { ignore(tokio::join!(pause(), sleep(LONG))) }.boxed(),
        ),
        (
            all,
            async { ignore(futures::join!(pause(), sleep(LONG))) }.boxed(),
        ),
        (
            all,
            async { ignore(join_all([sleep(LONG).boxed(), pause().boxed()]).await) }.boxed(),
        ),
        (
            any,
            async {
                tokio::select! { () = sleep(LONG) => {} () = pause() => {} }
            }
            .boxed(),
        ),
        (
            any,
            async {
                let both = (pin!(sleep(LONG)), pin!(pause()));
                ignore(futures::future::select(both.0, both.1).await);
            }
            .boxed(),
        ),
        (any, async { ignore(timeout(LONG, pause()).await) }.boxed()),
        (
            ["", "also"],
            async {
                let (mut one, mut other) = (pin!(sleep(LONG)), pin!(pause()));
                poll_fn(
                    |cx| match (one.as_mut().poll(cx), other.as_mut().poll(cx)) {
                        (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(()),
                        _ => Poll::Pending,
                    },
                )
                .await;
            }
            .boxed(),
        ),
    ];
    for (n, (expected, waits)) in cases.into_iter().enumerate() {
        let found = joints(waits).await;
        let first = found.iter().filter(|joint| !joint.is_empty());
        let expected: Vec<_> = expected.iter().filter(|joint| !joint.is_empty()).collect();
        assert_eq!(first.collect::<Vec<_>>(), expected, "case {n}: {found:?}");
    }
}

async fn pause() {
    Notify::new().notified().await;
}

#[tokio::test]
async fn equal_stacks_of_one_task_are_printed_once_and_counted() {
    let said = said(async { ignore(join_all((0..30).map(|_| sleeps())).await) }).await;
    assert!(said.starts_with("30 × it::waits::"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(
        said.matches(&format!("dump.rs:{SLEEPS}")).count(),
        1,
        "{said}"
    );
}

/// It is polled again at once, whatever it is polled for.
#[tokio::test]
async fn a_task_that_yields_in_a_loop_is_not_parked() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("yields").cancellable().spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let wakes = poll_fn::<(), _>(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    ctx.task("wakes").cancellable().spawn(wakes);
    ctx.task("parked").cancellable().spawn(sleeps());
    settle().await;
    let dump = registry.dump().await;
    for (name, activity) in [
        ("yields", "yielding"),
        ("wakes", "yielding"),
        ("parked", "parked"),
    ] {
        let task = dump.find(name).unwrap();
        let head = task.to_string();
        assert!(
            head.starts_with(&format!("ctx/{name}: {activity}")),
            "{head}"
        );
        assert_eq!(
            task.activity() == Activity::Yielding,
            activity == "yielding"
        );
    }
    ctx.close().await;
}

#[tokio::test]
async fn a_future_that_keeps_an_earlier_waker_is_not_said_to_wait_for_nothing() {
    let mut waker = None;
    let keeps = poll_fn::<(), _>(move |cx| {
        waker.get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    });
    let said = said(keeps).await;
    assert_eq!(
        said,
        "waits for nothing that could wake it, unless it keeps the waker of an earlier poll"
    );
}

/// Names that users know, of futures that they do not.
#[tokio::test]
async fn what_is_awaited_is_named_as_it_was_called() {
    let registry = Registry::new();
    let closing = registry.context("closing");
    let endless = closing.task("endless").spawn(pending::<()>());
    let lock = Arc::new(futures::lock::Mutex::new(()));
    let _held = lock.clone().lock_owned().await;
    let owned = lock.clone();
    let shared = sleeps().boxed().shared();
    let token = tokio_util::sync::CancellationToken::new();
    let semaphore = Arc::new(Semaphore::new(0));
    let (mut full, _kept) = futures::channel::mpsc::channel::<()>(0);
    let other = closing.clone();
    let (_never, received) = futures::channel::oneshot::channel::<()>();
    let tracker = tokio_util::task::TaskTracker::new();
    let _token = tracker.token();
    let cases = [
        (
            "headcount::Context::close_within",
            async move { ignore(other.close_within(LONG).await) }.boxed(),
        ),
        (
            "futures::lock::Mutex::lock",
            async move { ignore(lock.lock().await) }.boxed(),
        ),
        (
            "futures::lock::Mutex::lock_owned",
            async move { ignore(owned.lock_owned().await) }.boxed(),
        ),
        ("futures::future::Shared", shared.boxed()),
        (
            "tokio_util::sync::CancellationToken::cancelled",
            async move { token.cancelled().await }.boxed(),
        ),
        (
            "tokio::sync::Semaphore::acquire_owned",
            async move { ignore(semaphore.acquire_owned().await) }.boxed(),
        ),
        ("tokio::sync::Notify::notified", pause().boxed()),
        (
            "futures_channel::mpsc::Sender::poll_flush",
            async move {
                full.send(()).await.unwrap();
                full.send(()).await.unwrap();
            }
            .boxed(),
        ),
        (
            "futures_channel::oneshot::Receiver",
            async move { ignore(received.await) }.boxed(),
        ),
        (
            "tokio_util::task::TaskTracker::wait",
            async move { tracker.wait().await }.boxed(),
        ),
    ];
    for (name, waits) in cases {
        let said = said(waits).await;
        let is_named = said
            .lines()
            .any(|line| line.trim_start_matches("→ ") == name);
        assert!(is_named, "{name}: {said}");
    }
    endless.abort();
}

/// It is in its first poll, which nothing has counted before.
#[test]
fn a_hook_that_blocks_is_said_to_poll_for_as_long_as_it_does() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (go, gone) = mpsc::channel::<()>();
        let (on, started) = tokio::sync::oneshot::channel();
        let hook = || async move {
            on.send(Instant::now()).unwrap();
            ignore(gone.recv());
        };
        ctx.on_close(hook).unwrap();
        ctx.request_close("enough");
        let started = started.await.unwrap();
        thread::sleep(Duration::from_millis(200));
        let least = started
            .elapsed()
            .checked_sub(Duration::from_millis(50))
            .unwrap();
        let dump = registry.dump_within(Duration::from_millis(10)).await;
        let activity = dump.hooks()[0].activity();
        assert!(
            matches!(activity, Activity::Polling(time) if time >= least),
            "{dump}"
        );
        drop(go);
        ctx.close().await;
    });
}

/// The line of a listing is of one moment, whenever it is printed.
#[test]
fn a_listed_task_does_not_block_for_longer_than_it_has_lived() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (go, gone) = mpsc::channel::<()>();
        let (on, started) = tokio::sync::oneshot::channel();
        ctx.task("blocks").spawn(async move {
            on.send(()).unwrap();
            ignore(gone.recv());
        });
        started.await.unwrap();
        thread::sleep(Duration::from_millis(150));
        let live = registry.live().await;
        thread::sleep(Duration::from_millis(150));
        let task = live.find("blocks").unwrap();
        let (age, blocking) = (task.age(), task.blocks_runtime());
        assert!(
            blocking.is_some_and(|blocking| blocking <= age),
            "{blocking:?} in {age:?}"
        );
        drop(go);
        ctx.close().await;
    });
}

#[tokio::test]
async fn what_asks_is_not_listed_with_itself() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("other").cancellable().spawn(sleeps());
    settle().await;
    let names = |dump: &Dump| {
        let names = dump
            .tasks()
            .iter()
            .map(|task| task.resource().name().to_owned());
        names.collect::<Vec<_>>()
    };
    let own = registry.clone();
    let asks = ctx.task("asks").spawn(async move { own.dump().await });
    let dump = asks.await.unwrap();
    assert_eq!(names(&dump), ["other"], "{dump}");
    assert!(
        dump.to_string()
            .contains("the task that asks for this dump is left out"),
        "{dump}"
    );
    // Nor is a future that is polled within another.
    let (own, context) = (registry.clone(), ctx.clone());
    let outer = ctx.task("outer").spawn(async move {
        let inner = context.task("inner").wrap(async move { own.dump().await });
        inner.await.unwrap()
    });
    let dump = outer.await.unwrap();
    assert_eq!(names(&dump), ["other"], "{dump}");
    ctx.close().await;
    let dump = registry.dump().await.to_string();
    assert_eq!(dump, "0 tasks", "nothing is left out");
}

#[test]
fn a_task_that_never_waits_is_not_told_to_look_at_its_token() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry.context_builder("ctx").grace(Duration::ZERO).open();
        let (go, gone) = mpsc::channel::<()>();
        let (on, started) = tokio::sync::oneshot::channel();
        ctx.task("spins").spawn(async move {
            on.send(()).unwrap();
            ignore(gone.recv());
        });
        started.await.unwrap();
        ctx.close_within(Duration::from_millis(100))
            .await
            .unwrap_err();
        let report = registry
            .leaks(&LeakPolicy::new().settle(Duration::ZERO))
            .await;
        let found = report.of_kind(LeakKind::StillRunning).next().unwrap();
        let advice = found.advice();
        assert!(
            advice.contains("the task never yields") && !advice.contains("cancellable"),
            "{report}"
        );
        drop(go);
        ctx.close().await;
    });
}

#[tokio::test]
async fn a_task_that_is_a_leak_of_any_kind_is_reported_with_its_stack() {
    let registry = Registry::new();
    registry.task("task").cancellable().spawn(sleeps());
    sleep(Duration::from_millis(40)).await;
    let policies = [
        (LeakKind::StillThere, LeakPolicy::nothing_left()),
        (
            LeakKind::TooOld,
            LeakPolicy::new().max_age("task", Duration::ZERO),
        ),
    ];
    for (kind, policy) in policies {
        let report = registry.leaks(&policy.settle(Duration::ZERO)).await;
        let task = report.of_kind(kind).find(|found| found.name() == "task");
        let said = task
            .unwrap_or_else(|| panic!("{kind}: {report}"))
            .to_string();
        let here = format!("tests/it/dump.rs:{SLEEPS}");
        assert!(said.contains("waits at") && said.contains(&here), "{said}");
    }
    registry.close().await;
}

/// The lock is handed to the first future, which is not polled while the task awaits the second.
#[tokio::test]
async fn a_turn_that_was_given_to_a_future_which_is_not_polled_shows_in_the_second_dump() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let held = lock.clone().lock_owned().await;
    let (one, other) = (lock.clone(), lock);
    ctx.task("stuck").spawn(async move {
        let mut first = pin!(one.lock());
        assert!(first.as_mut().now_or_never().is_none());
        poll_fn(|cx| {
            let _: () = assert!(first.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        ignore(other.lock().await);
    });
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.find("stuck").unwrap().polled_in_vain(), None, "{dump}");
    let dump = registry.dump().await;
    assert_eq!(
        dump.find("stuck").unwrap().polled_in_vain(),
        None,
        "it was not polled: {dump}"
    );
    drop(held);
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(
        dump.find("stuck").unwrap().polled_in_vain(),
        Some(1),
        "{dump}"
    );
    assert!(
        dump.to_string()
            .contains("polled once since a dump first found it waiting there"),
        "{dump}"
    );
    let dump = registry.dump().await;
    assert_eq!(
        dump.find("stuck").unwrap().polled_in_vain(),
        Some(1),
        "{dump}"
    );
    ctx.close_now().await;
}
