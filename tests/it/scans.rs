//! A close does not wait for a scan that another close makes for all, and that is not polled any more.

use crate::util::{OnDrop, current_thread, multi_thread};
use headcount::Registry;
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
#[cfg(feature = "dump")]
use tokio::time::sleep;
use tokio::time::timeout;

const MS: Duration = Duration::from_millis(1);
/// Long after every limit here, and long before the end of the task that blocks the runtime.
const LONG: Duration = Duration::from_secs(60);

/// The runtime stops in the middle of the scan for tasks to abort.
#[test]
fn a_runtime_that_stands_still_does_not_stop_the_aborts_of_other_closes() {
    let (registry, sleeping) = (Registry::new(), current_thread());
    let is_aborted = Arc::new(AtomicBool::new(false));
    sleeping.block_on(async {
        let ctx = registry.context_builder("a").grace(20 * MS).open();
        let is_aborted = Arc::clone(&is_aborted);
        ctx.spawn(async move {
            let _noted = OnDrop::new(move || is_aborted.store(true, SeqCst));
            pending::<()>().await;
        });
        for _ in 0..20_000 {
            ctx.spawn(pending::<()>());
        }
        tokio::task::yield_now().await;
        ctx.request_close("test");
    });
    sleeping.block_on(async {
        while !is_aborted.load(SeqCst) {
            tokio::task::yield_now().await;
        }
    });
    let closed = multi_thread(2).block_on(async {
        let ctx = registry.context_builder("b").grace(50 * MS).open();
        ctx.spawn(pending::<()>());
        timeout(LONG, ctx.close()).await
    });
    assert_eq!(closed.unwrap().aborted(), 1);
}

/// It stops in the middle of a look for deadlocks, the first of which is a second after the close began.
#[cfg(feature = "dump")]
#[test]
fn a_runtime_that_stands_still_does_not_stop_the_deadlock_checks_of_others() {
    let (registry, sleeping) = (Registry::new(), current_thread());
    sleeping.block_on(async {
        let ctx = registry.context_builder("a").grace(10 * LONG).open();
        let never = ctx.spawn(pending::<()>());
        ctx.spawn(async move { never.await.unwrap() });
        sleep(5 * MS).await;
        ctx.request_close("test");
        sleep(1_030 * MS).await;
    });
    multi_thread(2).block_on(async {
        let ctx = registry.context_builder("b").grace(200 * MS).open();
        ctx.spawn(pending::<()>());
        let within = timeout(LONG, ctx.close_within(50 * MS)).await;
        assert!(within.expect("it has a limit").is_err());
        assert_eq!(timeout(LONG, ctx.close()).await.unwrap().aborted(), 1);
    });
}

/// A future that is not polled while the other branch of a `select!` runs has the look.
#[cfg(feature = "dump")]
#[test]
fn a_close_within_that_is_not_polled_does_not_stop_the_force_of_others() {
    multi_thread(2).block_on(async {
        for delay in [30, 90, 150, 210] {
            let registry = Registry::new();
            let slow = registry.context_builder("a").grace(10 * LONG).open();
            let other = registry.context_builder("b").grace(50 * MS).open();
            other.spawn(pending::<()>());
            // A local task that waits for another, and whose `LocalSet` is not polled just now: it does not answer.
            let never = slow.spawn(pending::<()>());
            let set = tokio::task::LocalSet::new();
            let waits = async {
                slow.spawn_local(async move { never.await.unwrap() });
                sleep(5 * MS).await;
            };
            set.run_until(waits).await;
            let mut within = Box::pin(slow.close_within(20 * MS));
            tokio::select! {
                _ = &mut within => {}
                () = sleep(delay * MS) => {
                    let closed = timeout(LONG, other.close()).await;
                    assert_eq!(closed.unwrap().aborted(), 1);
                }
            }
        }
    });
}
