//! What does a live task weigh, and what is left when a million have come and gone?
//!
//! Bytes as asked of the allocator. `idle_task_bytes` is what a task weighs beyond the same task
//! spawned with `tokio::spawn`; both numbers are per task, the table's spare room included.

use crate::common::{Bar, Form, current_thread, heap};
use headcount::Registry;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Bytes held and allocations made per task, while so many wait for the end.
struct Weight {
    bytes: f64,
    allocations: f64,
}

async fn wait(token: CancellationToken) {
    token.cancelled().await;
}

/// Weighs what `spawn` leaves alive; what it returns is kept until then.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn weigh<T>(runtime: &Runtime, tasks: usize, spawn: impl Fn(&CancellationToken) -> T) -> Weight {
    runtime.block_on(async {
        let token = CancellationToken::new();
        heap::start();
        let kept = spawn(&token);
        tokio::task::yield_now().await;
        let (bytes, allocations) = heap::read();
        heap::stop();
        token.cancel();
        drop(kept);
        tokio::task::yield_now().await;
        Weight {
            bytes: bytes as f64 / tasks as f64,
            allocations: allocations as f64 / tasks as f64,
        }
    })
}

fn weights(form: Form) -> (Weight, Weight) {
    let (runtime, tasks) = (current_thread(), form.size(20_000));
    let registry = Registry::new();
    let bare = || {
        weigh(&runtime, tasks, |token| {
            for _ in 0..tasks {
                tokio::spawn(wait(token.clone()));
            }
        })
    };
    let join_set = weigh(&runtime, tasks, |token| {
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            set.spawn(wait(token.clone()));
        }
        set
    });
    // The first one grows the queue of the runtime.
    let (_, bare) = (bare(), bare());
    let headcount = weigh(&runtime, tasks, |token| {
        let ctx = registry.context("idle");
        for _ in 0..tasks {
            drop(ctx.task("waiter").spawn(wait(token.clone())));
        }
        ctx
    });
    println!("# a task that waits for the end, of {tasks}");
    for (name, weight) in [
        ("headcount", &headcount),
        ("JoinSet", &join_set),
        ("tokio::spawn", &bare),
    ] {
        let Weight { bytes, allocations } = weight;
        println!("#   {name:<24} {bytes:>10.1} bytes {allocations:>6.2} allocations");
    }
    (headcount, bare)
}

/// Bytes held when all have come and gone, to bytes held before, after a runtime that has had the same
/// burst without `headcount`, so that what it keeps for itself is in both.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn burst(tasks: usize) -> f64 {
    heap::start();
    let runtime = current_thread();
    let (registry, before, after) = runtime.block_on(async {
        for _ in 0..tasks {
            tokio::spawn(tokio::task::yield_now());
        }
        all_gone().await;
        let registry = Registry::new();
        let ctx = registry.context("burst");
        let before = heap::read().0;
        for _ in 0..tasks {
            drop(ctx.spawn(tokio::task::yield_now()));
        }
        all_gone().await;
        let after = heap::read().0;
        ctx.close().await;
        (registry, before, after)
    });
    drop((registry, runtime));
    heap::stop();
    println!("# {tasks} tasks at once on one context: {before} bytes before, {after} after");
    after as f64 / before as f64
}

/// Lets the runtime run until it has no tasks left.
async fn all_gone() {
    while tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
        > 0
    {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let (headcount, bare) = weights(form);
    let burst = burst(form.size(1_000_000));
    vec![
        Bar::new(
            "idle_task_bytes",
            headcount.bytes - bare.bytes,
            280.0,
            180.0,
        ),
        Bar::new("idle_task_allocs", headcount.allocations, 3.0, 2.0),
        Bar::new("burst_memory", burst, 1.10, 1.02),
    ]
}
