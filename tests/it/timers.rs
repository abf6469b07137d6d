//! The crate's own timers: they need no runtime, and do not panic when one ends.

use crate::util::{current_thread, in_time, multi_thread, paused, poll_once, settle, within};
use futures::FutureExt;
use headcount::{Registry, leaks::LeakPolicy};
use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};
use tokio::runtime::Builder;

const TIME_LIMIT: Duration = Duration::from_secs(60);
const MS: Duration = Duration::from_millis(1);

/// How many panics of tokio's timers there were while this ran: such a panic ends a process built to abort.
fn timer_panics(body: impl FnOnce() + Send + 'static) -> usize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static COUNTS: std::sync::Once = std::sync::Once::new();
    COUNTS.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let said = panic.to_string();
            if said.contains("timers are disabled") || said.contains("being shutdown") {
                PANICS.fetch_add(1, SeqCst);
            }
            before(panic);
        }));
    });
    let before = PANICS.load(SeqCst);
    within(TIME_LIMIT, body);
    PANICS.load(SeqCst) - before
}

/// Polled first on one runtime, then on another; with the clock running and paused.
#[test]
fn a_close_within_a_limit_outlives_the_runtime_it_was_begun_on() {
    let panics = timer_panics(|| {
        for first in [current_thread(), multi_thread(1), paused()] {
            let second = multi_thread(1);
            let ctx = second.block_on(async { Registry::new().context("ctx") });
            ctx.task("deaf").spawn(std::future::pending::<()>());
            let mut close = Box::pin(ctx.close_within(20 * MS));
            first.block_on(async { assert!(poll_once(close.as_mut()).is_pending()) });
            drop(first);
            assert!(second.block_on(close).is_err());
            second.block_on(async {
                ctx.task("late").try_spawn(async {}).unwrap_err();
            });
            let dead = current_thread();
            let handle = dead.handle().clone();
            let mut close = Box::pin(ctx.close_within(20 * MS));
            dead.block_on(async { assert!(poll_once(close.as_mut()).is_pending()) });
            drop(dead);
            assert!(handle.block_on(close).is_err());
            // Its runtime takes the task along.
            drop(second);
            current_thread().block_on(in_time(ctx.close()));
        }
    });
    assert_eq!(panics, 0);
}

/// `Handle::block_on` goes on after the end of its runtime, in a blocking closure too.
#[test]
fn who_waits_by_a_handle_panics_not_when_the_runtime_ends() {
    let panics = timer_panics(|| {
        let rt = multi_thread(2);
        let handle = rt.handle().clone();
        let other = multi_thread(1);
        let ctx = other.block_on(async { Registry::new().context("ctx") });
        ctx.task("deaf").spawn(std::future::pending::<()>());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let (handle, ctx) = (handle.clone(), ctx.clone());
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        drop(handle.block_on(ctx.close_within(5 * MS)));
                    }
                })
            })
            .collect();
        let own = ctx.clone();
        rt.spawn_blocking(move || {
            for _ in 0..20 {
                drop(tokio::runtime::Handle::current().block_on(own.close_within(5 * MS)));
            }
        });
        std::thread::sleep(20 * MS);
        rt.shutdown_background();
        for waiter in waiters {
            waiter.join().expect("it waits on");
        }
        drop(other);
    });
    assert_eq!(panics, 0);
}

/// I8: grace periods and hook limits hold on a runtime that has no timers.
#[test]
fn limits_hold_on_a_runtime_without_timers() {
    let panics = timer_panics(|| {
        Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async {
                let registry = Registry::new();
                let ctx = registry
                    .context_builder("ctx")
                    .grace(MS)
                    .hook_timeout(MS)
                    .open();
                ctx.task("deaf").spawn(std::future::pending::<()>());
                ctx.on_close(std::future::pending::<()>).unwrap();
                let report = in_time_without_timers(ctx.close()).await;
                assert_eq!((report.aborted(), report.hooks().timed_out), (1, 1));
                let other = registry.context("other");
                let wrapped = other.wrap(std::future::pending::<()>());
                assert!(other.close_within(MS).await.is_err());
                drop(wrapped);
                other.close().await;
                registry.leaks(&LeakPolicy::nothing_left().settle(MS)).await;
            });
    });
    assert_eq!(panics, 0);
}

/// A watchdog is `within`.
async fn in_time_without_timers<F: Future>(future: F) -> F::Output {
    future.await
}

/// Outside of any runtime.
#[test]
fn limits_hold_where_there_is_no_runtime() {
    let panics = timer_panics(|| {
        let rt = multi_thread(1);
        let ctx = rt.block_on(async { Registry::new().context("ctx") });
        ctx.task("deaf").spawn(std::future::pending::<()>());
        let still = futures::executor::block_on(ctx.close_within(MS));
        assert!(still.is_err());
        drop(rt);
    });
    assert_eq!(panics, 0);
}

/// As ever: a clock that is paused decides how long things take.
#[test]
fn limits_follow_a_paused_clock() {
    paused().block_on(async {
        let started = tokio::time::Instant::now();
        let hour = Duration::from_secs(3_600);
        let ctx = Registry::new().context_builder("ctx").grace(hour).open();
        ctx.task("deaf").spawn(std::future::pending::<()>());
        settle().await;
        let mut close = pin!(ctx.close_within(hour / 2));
        assert!(close.as_mut().now_or_never().is_none());
        assert!(in_time(close).await.is_err());
        assert_eq!(started.elapsed(), hour / 2);
        let report = ctx.close().await;
        assert_eq!(report.aborted(), 1);
        assert_eq!(report.duration(), hour);
    });
}
