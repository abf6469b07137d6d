//! Dumps in the middle of everything: no wake-up is lost, nothing is polled when it must not be, and every task ends
//! once.

use crate::common::{TIME_LIMIT, multi_thread, short_or_full, within};
use headcount::{Registry, TaskError};
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};

/// Rings of tasks that hand a number round.
const RINGS: usize = 16;
const RING: usize = 4;

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn dumps_lose_no_wake_up_while_tasks_are_woken_finished_aborted_and_closed() {
    let rounds = short_or_full(200_000, 2_000_000);
    within(Duration::from_secs(300), move |notes| {
        multi_thread(4).block_on(async {
            let registry = Registry::new();
            let is_over = Arc::new(AtomicBool::new(false));
            let dumping = tokio::spawn(dump_all_the_time(registry.clone(), is_over.clone()));
            let churning = tokio::spawn(churn(registry.clone(), is_over.clone()));
            let rings: Vec<_> = (0..RINGS)
                .map(|_| tokio::spawn(ring(registry.clone(), rounds)))
                .collect();
            for (n, ring) in rings.into_iter().enumerate() {
                notes.now(format_args!("ring {n}"));
                let turned = timeout(TIME_LIMIT * 5, ring).await;
                assert_eq!(
                    turned.expect("no wake-up is lost").expect("no panic"),
                    rounds
                );
            }
            is_over.store(true, SeqCst);
            let dumps = dumping.await.expect("no panic");
            let ended = churning.await.expect("no panic");
            println!("{dumps} dumps, {ended} tasks came and went");
            assert!(dumps > 20 && ended > 1_000, "{dumps} {ended}");
            registry.close().await;
        });
    });
}

async fn dump_all_the_time(registry: Registry, is_over: Arc<AtomicBool>) -> usize {
    let mut dumps = 0;
    while !is_over.load(Relaxed) {
        let dump = registry.dump_within(Duration::from_millis(20)).await;
        assert!(
            dump.tasks()
                .iter()
                .all(|task| !task.resource().name().is_empty())
        );
        dumps += 1;
    }
    dumps
}

/// Tasks that finish, are aborted, or are closed, each at a moment of its own.
async fn churn(registry: Registry, is_over: Arc<AtomicBool>) -> usize {
    let mut ended = 0;
    while !is_over.load(Relaxed) {
        let ctx = registry
            .context_builder("churn")
            .grace(Duration::from_millis(1))
            .open();
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let task = ctx.task("short").cancellable();
                task.spawn(async move {
                    for _ in 0..n {
                        tokio::task::yield_now().await;
                    }
                    if n % 2 == 0 {
                        std::future::pending::<()>().await;
                    }
                })
            })
            .collect();
        tasks[0].abort();
        tokio::task::yield_now().await;
        ctx.close().await;
        for task in tasks {
            let result = task.await;
            assert!(matches!(
                result,
                Ok(()) | Err(TaskError::Cancelled | TaskError::Aborted)
            ));
            ended += 1;
        }
    }
    ended
}

/// Hands a number round until it has gone so many rounds; a lost wake-up stops it.
async fn ring(registry: Registry, rounds: usize) -> usize {
    let ctx = registry.context("ring");
    let (first, mut last) = mpsc::channel::<usize>(1);
    for _ in 0..RING {
        let (give, take) = mpsc::channel(1);
        let mut from = std::mem::replace(&mut last, take);
        ctx.task("link").cancellable().spawn(async move {
            while let Some(round) = from.recv().await {
                if give.send(round).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut turned = 0;
    for round in 0..rounds {
        first.send(round).await.expect("the ring is there");
        assert_eq!(last.recv().await, Some(round));
        turned += 1;
    }
    ctx.close().await;
    turned
}

/// Programs that join, time out, cancel and close, each of which comes to its end.
const PROGRAMS: usize = 8;
/// Dumps at the least, on however slow a machine, and ten times as many rounds.
const ENOUGH: usize = 20;

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn busy_programs_give_no_false_alarms() {
    let time = Duration::from_secs(short_or_full(3, 60));
    within(time + TIME_LIMIT * 5, move |notes| {
        multi_thread(4).block_on(async {
            let registry = Registry::new();
            let is_over = Arc::new(AtomicBool::new(false));
            let rounds = Arc::new(AtomicUsize::new(0));
            let programs: Vec<_> = (0..PROGRAMS)
                .map(|_| tokio::spawn(program(registry.clone(), is_over.clone(), rounds.clone())))
                .collect();
            let (started, mut dumps) = (Instant::now(), 0);
            while started.elapsed() < time || dumps < ENOUGH || rounds.load(Relaxed) < 10 * ENOUGH {
                notes.now(format_args!("dump {dumps}"));
                let dump = registry.dump().await;
                assert!(dump.deadlocks().is_empty(), "{dump}");
                dumps += 1;
            }
            is_over.store(true, SeqCst);
            for (n, program) in programs.into_iter().enumerate() {
                notes.now(format_args!("program {n}"));
                let ended = timeout(TIME_LIMIT, program).await;
                ended.expect("it comes to its end").expect("no panic");
            }
            println!("{dumps} dumps, {} rounds", rounds.load(Relaxed));
        });
    });
}

/// Who joins whom, and who closes what, is never in a circle.
async fn program(registry: Registry, is_over: Arc<AtomicBool>, rounds: Arc<AtomicUsize>) {
    while !is_over.load(Relaxed) {
        let (above, aside) = (registry.context("above"), registry.context("aside"));
        let below = above.child("below");
        let inner = below.spawn(tokio::task::yield_now());
        let outer = above.spawn(async move { drop(inner.await) });
        let closed = below.clone();
        let closer = above.spawn(async move { drop(closed.close().await) });
        let late = above
            .task("late")
            .cancellable()
            .spawn(async move { tokio::join!(outer, closer) });
        let waits = above.clone();
        aside.spawn(async move { drop(waits.closed().await) });
        let joins = aside.spawn(async move { drop(late.await) });
        drop(timeout(Duration::from_millis(1), joins).await);
        above.close().await;
        aside.close().await;
        rounds.fetch_add(1, Relaxed);
    }
}
