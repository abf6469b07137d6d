//! A close goes on while stacks are looked up.

use headcount::{Context, Registry};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};
use tokio::runtime::Builder;

/// No stack is looked up until something is sent, or it was given up to wait for that. The library that does so works on one at a
/// time.
fn block_look_ups() -> (Sender<()>, Arc<AtomicUsize>) {
    let ((begin, begun), (release, released)) = (mpsc::channel(), mpsc::channel());
    let gave_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&gave_up);
    let block = move || {
        begin.send(()).unwrap();
        if released.recv_timeout(Duration::from_secs(10)).is_err() {
            count.fetch_add(1, SeqCst);
        }
    };
    thread::spawn(move || {
        let mut block = Some(block);
        backtrace::trace(|_| {
            block.take().into_iter().for_each(|block| block());
            false
        });
    });
    begun.recv().unwrap();
    (release, gave_up)
}

/// Closes a context whose last hook lets look-ups begin, and returns what its report says.
fn close(prepare: impl FnOnce(&Context)) -> String {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .unwrap()
        .block_on(close_here(Duration::from_millis(1), prepare))
}

async fn close_here(limit: Duration, prepare: impl FnOnce(&Context)) -> String {
    let registry = Registry::new();
    let ctx = registry
        .context_builder("db")
        .grace(limit)
        .hook_timeout(limit)
        .open();
    let (release, gave_up) = block_look_ups();
    ctx.on_close(|| async move { release.send(()).unwrap() })
        .unwrap();
    prepare(&ctx);
    let report = ctx.close().await;
    assert_eq!(gave_up.load(SeqCst), 0, "the hook waited for a look-up");
    format!("{report:#}")
}

#[test]
fn hooks_do_not_wait_for_the_stacks_of_aborted_tasks() {
    let report = close(|ctx| {
        let stuck = async { tokio::sync::Notify::new().notified().await };
        drop(ctx.task("stuck").spawn(stuck));
    });
    assert!(report.contains("Notify::notified"), "{report}");
}

#[test]
fn hooks_do_not_wait_for_the_stack_of_one_before_them() {
    let report = close(|ctx| {
        let stuck = || async { tokio::sync::Notify::new().notified().await };
        ctx.on_close(stuck).unwrap();
    });
    assert!(
        report.contains("did not end in time: the on_clos"),
        "{report}"
    );
}

#[test]
fn hooks_do_not_wait_for_the_stack_of_one_that_ran_beside_the_tasks() {
    let report = close(|ctx| {
        let stuck = || async { tokio::sync::Notify::new().notified().await };
        ctx.on_closing(stuck).unwrap();
    });
    assert!(
        report.contains("did not end in time: the on_clos"),
        "{report}"
    );
}

/// Stacks are looked up beside the pool then, and not on the thread that all timers of the crate share: the second hook would never
/// come to its limit.
#[test]
fn limits_do_not_wait_for_a_look_up_that_the_pool_has_no_thread_for() {
    let builder = &mut Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let report = runtime.block_on(async {
        let (release, released) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || released.recv());
        // Longer than it takes to see that the pool is busy.
        let limit = Duration::from_millis(100);
        let report = close_here(limit, |ctx| {
            for _ in 0..2 {
                let stuck = || async { tokio::sync::Notify::new().notified().await };
                ctx.on_close(stuck).unwrap();
            }
        });
        let report = report.await;
        drop(release);
        assert!(busy.await.unwrap().is_err());
        report
    });
    assert!(report.contains("2 timed out"), "{report}");
}
