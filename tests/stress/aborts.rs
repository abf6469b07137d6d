//! S14: aborts, and forced closes, that race the first poll of what they end.

use crate::common::{TIME_LIMIT, multi_thread, short_or_full, within};
use headcount::{Context, Registry, TaskError};
use std::{future::pending, hint::spin_loop, time::Duration};
use tokio::time::timeout;

/// Each is aborted at another moment: before, in, or after its first poll.
async fn abort_one(ctx: Context, number: u64) {
    let task = ctx.spawn(async move {
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
        pending::<()>().await;
    });
    for _ in 0..number * 13 % 101 {
        spin_loop();
    }
    if number % 5 == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    let ended = timeout(TIME_LIMIT, task)
        .await
        .expect("an abort is not lost");
    assert!(matches!(ended, Err(TaskError::Aborted)));
}

#[test]
#[ignore = "stress"]
fn no_abort_that_races_a_first_poll_is_lost() {
    within(10 * TIME_LIMIT, |_| {
        multi_thread(4).block_on(async {
            let ctx = Registry::new().context("ctx");
            let rounds = short_or_full(3_000, 60_000);
            for _ in 0..rounds {
                let aborts = (0..50).map(|number| tokio::spawn(abort_one(ctx.clone(), number)));
                let aborts: Vec<_> = aborts.collect();
                for abort in aborts {
                    abort.await.unwrap();
                }
            }
            assert_eq!(ctx.close().await.aborted(), rounds * 50);
        });
    });
}

#[test]
#[ignore = "stress"]
fn a_forced_close_that_races_spawns_ends_them_all() {
    within(10 * TIME_LIMIT, |_| {
        multi_thread(4).block_on(async {
            let registry = Registry::new();
            for _ in 0..short_or_full(3_000, 60_000) {
                let ctx = registry.context_builder("ctx").grace(Duration::ZERO).open();
                let spawning = (0..3).map(|_| {
                    let ctx = ctx.clone();
                    tokio::spawn(async move {
                        while let Ok(task) = ctx.try_spawn(pending::<()>()) {
                            drop(task);
                            tokio::task::yield_now().await;
                        }
                    })
                });
                let spawning: Vec<_> = spawning.collect();
                let closed = timeout(TIME_LIMIT, ctx.close()).await;
                closed.expect("every task is aborted");
                for spawning in spawning {
                    spawning.await.unwrap();
                }
            }
            assert!(registry.is_empty());
        });
    });
}
