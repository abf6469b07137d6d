//! `stats`: the sums of a report at any time.

use crate::util::{in_time, multi_thread, settle};
use headcount::{CloseReport, Context, Registry, Stats};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

fn of_report(report: &CloseReport) -> Stats {
    let mut stats = Stats::default();
    stats.finished = report.finished();
    stats.cancelled = report.cancelled();
    stats.aborted = report.aborted();
    stats.forced = report.forced();
    stats.panicked = report.panicked();
    stats.failed = report.failed();
    stats.restarted = report.restarted();
    stats.refused = report.refused();
    stats.closed = report.children();
    stats.spawned = stats.ended();
    stats
}

/// One task of each outcome, in a child that closes, and in one that stays.
async fn one_of_each(ctx: &Context) {
    let ends = async |ctx: &Context| {
        ctx.spawn(async {}).await.unwrap();
        ctx.spawn(async { panic!("on purpose") }).await.unwrap_err();
        let failed = ctx
            .task("fails")
            .fallible()
            .spawn(async { Err::<(), _>("on purpose") });
        failed.await.unwrap().unwrap_err();
        let aborted = ctx.spawn(pending::<()>());
        aborted.abort();
        aborted.await.unwrap_err();
        let late = ctx
            .task("late")
            .deadline(Duration::ZERO)
            .spawn(pending::<()>());
        late.await.unwrap_err();
        ctx.wrap(async {}).await.unwrap();
    };
    ends(ctx).await;
    let child = ctx.child("closes");
    ends(&child).await;
    let forced = child.spawn(pending::<()>());
    in_time(child.close_now()).await;
    drop(forced);
    drop(child.spawn(async {}));
}

#[tokio::test(start_paused = true)]
async fn they_are_the_sums_of_the_report() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    one_of_each(&ctx).await;
    let open = ctx.child("stays open");
    one_of_each(&open).await;
    let runs = open.spawn(pending::<()>());

    let stats = ctx.stats();
    assert_eq!((stats.running, stats.contexts, stats.closed), (1, 1, 2));
    assert_eq!(stats.spawned, 27);
    assert_eq!(
        (stats.finished, stats.panicked, stats.cancelled),
        (12, 4, 4)
    );
    assert_eq!((stats.aborted, stats.forced), (6, 2));
    assert_eq!((stats.failed, stats.refused), (4, 2));
    assert_eq!(registry.stats().spawned, stats.spawned);

    runs.abort();
    in_time(runs).await.unwrap_err();
    let before = ctx.stats();
    let report = in_time(ctx.close()).await;
    let after = ctx.stats();
    assert_eq!(after, of_report(&report));
    assert_eq!((before.contexts, before.closed), (1, 2));
    let mut expected = before;
    (expected.contexts, expected.closed) = (0, 3);
    assert_eq!(after, expected);
    drop((open, ctx));
    let report = in_time(registry.close()).await;
    assert_eq!(registry.stats(), of_report(&report));
}

/// None of the sums goes down, while contexts close and hand theirs on.
#[test]
fn sums_only_grow_while_others_are_at_work() {
    let registry = Registry::new();
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = multi_thread(2);
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let (registry, stop) = (registry.clone(), Arc::clone(&stop));
            runtime.spawn(async move {
                while !stop.load(SeqCst) {
                    let ctx = registry.context("ctx");
                    let child = ctx.child("child");
                    let grandchild = child.child("grandchild");
                    for ctx in [&ctx, &child, &grandchild] {
                        drop(ctx.spawn(async {}));
                        drop(ctx.spawn(tokio::task::yield_now()));
                        ctx.spawn(pending::<()>()).abort();
                        drop(ctx.task("cancelled").cancellable().spawn(pending::<()>()));
                    }
                    in_time(grandchild.close()).await;
                    drop(child.spawn(async {}));
                    drop(grandchild.spawn(async {}));
                    drop((grandchild, child));
                    in_time(ctx.close()).await;
                }
            })
        })
        .collect();
    let sums = |stats: &Stats| {
        [
            stats.finished,
            stats.cancelled,
            stats.aborted,
            stats.refused,
            stats.closed,
            stats.ended(),
        ]
    };
    let mut before = sums(&registry.stats());
    let mut grown = 0;
    while grown < 2_000 {
        let stats = registry.stats();
        let now = sums(&stats);
        let has_less = now.iter().zip(&before).any(|(now, before)| now < before);
        assert!(!has_less, "{now:?} after {before:?}");
        assert!(stats.spawned >= stats.ended());
        grown += usize::from(now != before);
        before = now;
    }
    stop.store(true, SeqCst);
    runtime.block_on(async {
        for busy in busy {
            in_time(busy).await.unwrap();
        }
        let report = in_time(registry.close()).await;
        assert_eq!(registry.stats(), of_report(&report));
        assert!(registry.stats().closed >= 3);
    });
}

#[tokio::test]
async fn kinds_are_counted() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let _value = registry.own("value", "cache", ());
    let arc = Arc::new(());
    registry.track(&arc, "arc", "cache");
    let tasks: Vec<_> = (0..1_000).map(|_| ctx.spawn(pending::<()>())).collect();
    settle().await;
    let count = async || {
        let counts = registry.count_by_kind().await;
        let counts = counts
            .iter()
            .map(|of| format!("{} {} {}", of.count, of.state, of.kind));
        counts.collect::<Vec<_>>()
    };
    assert_eq!(
        count().await,
        ["2 live cache", "1 open context", "1000 running task"]
    );
    drop(arc);
    drop(tasks);
    in_time(ctx.close_now()).await;
    assert_eq!(count().await, ["1 live cache", "1 closed context"]);
}
