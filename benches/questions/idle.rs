//! What does a task cost that waits for the end, as most tasks of a service do?
//!
//! Every side spawns so many tasks that watch for the shutdown, shuts down, and awaits them all.
//! Read the ratio in the last column: 0.12 means that `headcount` costs 12 % of that peer.

use crate::common::{Bar, Contest, Form, current_thread, peers::HandRolled, per};
use headcount::Registry;
use kameo::Actor;
use std::time::Instant;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

async fn wait(token: CancellationToken) {
    token.cancelled().await;
}

pub(crate) fn headcount(registry: &Registry, runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let ctx = registry.context("service");
        let token = ctx.token();
        for _ in 0..tasks {
            drop(ctx.task("waiter").spawn(wait(token.clone())));
        }
        tokio::task::yield_now().await;
        let report = ctx.close().await;
        assert_eq!(report.finished(), tasks as u64);
        per(start, tasks)
    })
}

pub(crate) fn join_set(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let (mut set, token) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..tasks {
            set.spawn(wait(token.clone()));
        }
        tokio::task::yield_now().await;
        token.cancel();
        while set.join_next().await.is_some() {}
        per(start, tasks)
    })
}

fn tracker(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        for _ in 0..tasks {
            tracker.spawn(wait(token.clone()));
        }
        tokio::task::yield_now().await;
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
            all.spawn("waiter", wait);
        }
        tokio::task::yield_now().await;
        all.close().await;
        per(start, tasks)
    })
}

fn subsystems(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let token = CancellationToken::new();
        let all = Toplevel::new_with_shutdown_token(
            async move |top: &mut SubsystemHandle| {
                for _ in 0..tasks {
                    top.start(SubsystemBuilder::new(
                        "waiter",
                        async |sub: &mut SubsystemHandle| {
                            sub.on_shutdown_requested().await;
                            Ok::<_, std::io::Error>(())
                        },
                    ));
                }
                tokio::task::yield_now().await;
                top.request_shutdown();
            },
            token,
        );
        let limit = std::time::Duration::from_secs(60);
        all.handle_shutdown_requests(limit)
            .await
            .expect("all of them end");
        per(start, tasks)
    })
}

#[derive(Actor)]
struct Waiter;

fn actors(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let start = Instant::now();
        let all: Vec<_> = (0..tasks).map(|_| Waiter::spawn(Waiter)).collect();
        tokio::task::yield_now().await;
        for actor in &all {
            actor.stop_gracefully().await.expect("it is running");
        }
        for actor in all {
            actor.wait_for_shutdown().await;
        }
        per(start, tasks)
    })
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let (runtime, registry) = (current_thread(), Registry::new());
    let tasks = form.size(20_000);
    let contest = || {
        let title = format!("current_thread, {tasks} tasks that wait for the end");
        Contest::new(title, "ns a task").side("headcount", {
            let (registry, runtime) = (&registry, &runtime);
            move || headcount(registry, runtime, tasks)
        })
    };
    let light = contest()
        .side("JoinSet + token", || join_set(&runtime, tasks))
        .side("TaskTracker + token", || tracker(&runtime, tasks))
        .side("hand-rolled registry", || hand_rolled(&runtime, tasks))
        .run(form.rounds(40));
    let heavy = contest()
        .side("tokio-graceful-shutdown", || subsystems(&runtime, tasks))
        .side("kameo", || actors(&runtime, tasks))
        .run(form.rounds(8));
    vec![
        Bar::new(
            "idle_task_cost",
            light.ratio_to("JoinSet + token"),
            1.35,
            1.00,
        ),
        Bar::new(
            "vs_tgs",
            heavy.ratio_to("tokio-graceful-shutdown"),
            0.12,
            0.08,
        ),
        Bar::new("vs_actors", heavy.ratio_to("kameo"), 0.12, 0.08),
    ]
}
