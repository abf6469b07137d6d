//! What does a short task cost, from spawn to join?
//!
//! Every side spawns so many tasks at a time that yield once (two polls each) and awaits their end.
//! `headcount` names each of them, lists it, and closes the context; the peers know less.
//! Read the ratio in the last column: 1.35 means that it takes 35 % longer than that peer.

use crate::common::{
    Bar, Contest, Form, Outcome, current_thread, multi_thread, peers::HandRolled, per,
};
use headcount::Registry;
use std::time::Instant;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

async fn work() {
    tokio::task::yield_now().await;
}

pub(crate) fn headcount(registry: &Registry, runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let ctx = registry.context("batch");
        for _ in 0..tasks {
            drop(ctx.task("worker").spawn(work()));
        }
        let report = ctx.close().await;
        let cost = per(start, tasks);
        assert_eq!(report.finished(), tasks as u64);
        cost
    })
}

pub(crate) fn join_set(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            set.spawn(work());
        }
        while set.join_next().await.is_some() {}
        per(start, tasks)
    })
}

fn bare(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let mut handles = Vec::with_capacity(tasks);
        for _ in 0..tasks {
            handles.push(tokio::spawn(work()));
        }
        for handle in handles {
            handle.await.expect("it does not panic");
        }
        per(start, tasks)
    })
}

fn tracker(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        for _ in 0..tasks {
            tracker.spawn(work());
        }
        token.cancel();
        tracker.close();
        tracker.wait().await;
        per(start, tasks)
    })
}

fn hand_rolled(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let mut all = HandRolled::default();
        for _ in 0..tasks {
            all.spawn("worker", |_| work());
        }
        all.close().await;
        per(start, tasks)
    })
}

fn contest(title: &str, runtime: &Runtime, tasks: usize, rounds: usize) -> Outcome {
    let registry = Registry::new();
    Contest::new(format!("{title}, {tasks} at a time"), "ns a task")
        .side("headcount", || headcount(&registry, runtime, tasks))
        .side("JoinSet", || join_set(runtime, tasks))
        .side("hand-rolled registry", || hand_rolled(runtime, tasks))
        .side("tokio::spawn", || bare(runtime, tasks))
        .side("TaskTracker + token", || tracker(runtime, tasks))
        .run(rounds)
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let one = current_thread();
    let few = contest("current_thread", &one, form.size(1_000), form.rounds(300));
    let many = contest("current_thread", &one, form.size(100_000), form.rounds(15));
    let all = multi_thread();
    let threads = contest("multi_thread", &all, form.size(100_000), form.rounds(15));
    vec![
        Bar::new("spawn_ct_1k", few.ratio_to("JoinSet"), 1.15, 0.95),
        Bar::new("spawn_ct_100k", many.ratio_to("JoinSet"), 1.35, 1.05),
        Bar::new("spawn_mt_100k", threads.ratio_to("JoinSet"), 1.10, 0.80),
        Bar::new(
            "spawn_vs_tracker",
            few.ratio_to("TaskTracker + token"),
            1.45,
            1.15,
        ),
        Bar::new(
            "spawn_vs_handrolled",
            few.ratio_to("hand-rolled registry"),
            0.75,
            0.60,
        ),
    ]
}
