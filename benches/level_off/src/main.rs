//! Spawns, polls twice and awaits empty tasks of a context, a thousand at a time; prints nanoseconds a task.

use headcount::{Level, Registry};
use std::time::Instant;

const TASKS: usize = 1_000;

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let registry = Registry::new();
        registry.set_level(Level::Off);
        let ctx = registry.context("ctx");
        let mut costs = Vec::new();
        for _ in 0..rounds {
            costs.push(round(&ctx).await);
        }
        costs.sort_by(f64::total_cmp);
        println!("{}", costs[costs.len() / 2]);
        ctx.close().await;
    });
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn round(ctx: &headcount::Context) -> f64 {
    let start = Instant::now();
    // A handle comes and goes, as in a service that opens something for each batch.
    let held = ctx.clone();
    let mut tasks = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        tasks.push(held.task("task").spawn(tokio::task::yield_now()));
    }
    for task in tasks {
        task.await.expect("it ends by itself");
    }
    start.elapsed().as_nanos() as f64 / TASKS as f64
}
