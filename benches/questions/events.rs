//! What does a subscriber to events cost a task?
//!
//! The work is that of `spawn`: so many short tasks of one context, on one thread. With a subscriber that keeps up on the same
//! thread, until it has all events; and without one. Read the ratio in the last column: 1.25 means that tasks with a subscriber
//! take 25 % longer.

use crate::common::{Bar, Contest, Form, current_thread, per};
use headcount::Registry;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{runtime::Runtime, task::yield_now};

/// Spawns and closes, and waits until so many events were seen in all.
fn batch(registry: &Registry, runtime: &Runtime, tasks: usize, seen: Option<&AtomicUsize>) -> f64 {
    runtime.block_on(async {
        let before = seen.map(|seen| seen.load(Relaxed));
        let start = Instant::now();
        let ctx = registry.context("batch");
        for _ in 0..tasks {
            drop(ctx.task("worker").spawn(yield_now()));
        }
        drop(ctx.close().await);
        drop(ctx);
        if let Some((seen, before)) = seen.zip(before) {
            // Opened, closing, closed, gone; and two of each task.
            while seen.load(Relaxed) < before + 4 + 2 * tasks {
                yield_now().await;
            }
        }
        per(start, tasks)
    })
}

/// A registry with a subscriber that counts.
fn subscribed(runtime: &Runtime) -> (Registry, Arc<AtomicUsize>) {
    let (registry, seen) = (Registry::new(), Arc::new(AtomicUsize::new(0)));
    let (mut events, counts) = (registry.events(), Arc::clone(&seen));
    runtime.spawn(async move {
        while let Some(event) = events.next().await {
            drop(event.expect("it keeps up"));
            counts.fetch_add(1, Relaxed);
        }
    });
    (registry, seen)
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let (runtime, tasks) = (current_thread(), form.size(1_000));
    let (heard, seen) = subscribed(&runtime);
    let unheard = Registry::new();
    let title = format!("events, current_thread, {tasks} at a time");
    let outcome = Contest::new(title, "ns a task")
        .side("one subscriber", || {
            batch(&heard, &runtime, tasks, Some(&seen))
        })
        .side("no subscriber", || batch(&unheard, &runtime, tasks, None))
        .run(form.rounds(300));
    vec![Bar::new(
        "events_one",
        outcome.ratio_to("no subscriber"),
        1.25,
        1.15,
    )]
}
