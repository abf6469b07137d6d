//! `builds spawn 200`: spawns and polls twice empty tasks of a context, a thousand at a time, and closes it, 200 times;
//! prints nanoseconds a task.
//!
//! `builds dump 10000` (with the feature `dump`): dumps that many parked tasks; prints milliseconds, and the longest
//! time in milliseconds that the thread of the runtime was held. Where the system can tell (Linux), times in which it gave
//! the processor to another thread do not count: on two cores those are as long as its time slices.

use headcount::{Level, Registry};
use std::time::Instant;

const TASKS: usize = 1_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let question = args.next().unwrap_or_default();
    let size = args.next().and_then(|size| size.parse().ok()).unwrap_or(1);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if question == "dump" {
        // The code that measures gets its turn after each task.
        runtime.event_interval(1);
    }
    let runtime = runtime.enable_all().build().expect("a runtime");
    let registry = Registry::new();
    registry.set_level(Level::Off);
    runtime.block_on(async {
        match &*question {
            #[cfg(feature = "dump")]
            "dump" => dump::measure(&registry, size).await,
            _ => spawn(&registry, size).await,
        }
    });
}

async fn spawn(registry: &Registry, rounds: usize) {
    let mut costs = Vec::new();
    for _ in 0..rounds {
        costs.push(round(registry).await);
    }
    costs.sort_by(f64::total_cmp);
    println!("{}", costs[costs.len() / 2]);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn round(registry: &Registry) -> f64 {
    let start = Instant::now();
    let ctx = registry.context("batch");
    // A handle comes and goes, as in a service that opens something for each batch.
    let held = ctx.clone();
    for _ in 0..TASKS {
        drop(held.task("task").spawn(tokio::task::yield_now()));
    }
    drop(held);
    ctx.close().await;
    start.elapsed().as_nanos() as f64 / TASKS as f64
}

#[cfg(feature = "dump")]
mod dump {
    use headcount::Registry;
    use std::{
        cell::Cell,
        rc::Rc,
        time::{Duration, Instant},
    };
    use tokio::{sync::Notify, time::sleep};

    /// Half of them sleep, and half wait for one of two things.
    pub(crate) async fn measure(registry: &Registry, tasks: usize) {
        let ctx = registry.context("ctx");
        for n in 0..tasks {
            let task = ctx.task("parked").cancellable();
            if n % 2 == 0 {
                task.spawn(async { sleep(Duration::from_secs(1_000)).await });
            } else {
                task.spawn(async {
                    let never = Notify::new();
                    tokio::join!(never.notified(), sleep(Duration::from_secs(1_000)));
                });
            }
        }
        tokio::task::yield_now().await;
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let set = tokio::task::LocalSet::new();
        let seen = Rc::clone(&longest);
        set.run_until(async move {
            let watching = tokio::task::spawn_local(watch(seen));
            let start = Instant::now();
            let dump = ctx.dump().await;
            let took = start.elapsed();
            watching.abort();
            assert!(dump.tasks().iter().all(|task| !task.stacks().is_empty()));
            let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
            println!("{} {}", millis(took), millis(longest.get()));
            ctx.close().await;
        })
        .await;
    }

    /// Notes the longest time between two of its polls in which the system did not give the processor to another thread.
    async fn watch(longest: Rc<Cell<Duration>>) {
        loop {
            let (start, before) = (Instant::now(), preempted());
            tokio::task::yield_now().await;
            let took = start.elapsed();
            if preempted() == before {
                longest.set(longest.get().max(took));
            }
        }
    }

    /// How often the system took the processor from this thread before it was done.
    #[cfg(target_os = "linux")]
    fn preempted() -> i64 {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("the system counts");
        usage.involuntary_context_switches()
    }

    #[cfg(not(target_os = "linux"))]
    fn preempted() -> i64 {
        0
    }
}
