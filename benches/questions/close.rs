//! What does the end of a whole tree cost, and does a task cost more when many others are alive?
//!
//! `close_tree` closes contexts full of tasks that honour the token; the peer is one `JoinSet` with one
//! token, which knows nothing of a tree. `scale` spawns and ends tasks while others are alive and
//! idle: many of them against few.

use crate::common::{Bar, Contest, Form, current_thread, per};
use headcount::{Context, Registry};
use std::time::Instant;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

async fn wait(token: CancellationToken) {
    token.cancelled().await;
}

fn tree(runtime: &Runtime, contexts: usize, tasks: usize) -> f64 {
    runtime.block_on(async {
        let registry = Registry::new();
        let root = registry.context("root");
        let children: Vec<Context> = (0..contexts).map(|_| root.child("branch")).collect();
        for child in &children {
            let token = child.token();
            for _ in 0..tasks {
                drop(child.task("leaf").spawn(wait(token.clone())));
            }
        }
        tokio::task::yield_now().await;
        let start = Instant::now();
        let report = root.close().await;
        let cost = per(start, contexts * tasks);
        assert_eq!(report.finished(), (contexts * tasks) as u64);
        cost
    })
}

fn flat(runtime: &Runtime, tasks: usize) -> f64 {
    runtime.block_on(async {
        let (mut set, token) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..tasks {
            set.spawn(wait(token.clone()));
        }
        tokio::task::yield_now().await;
        let start = Instant::now();
        token.cancel();
        while set.join_next().await.is_some() {}
        per(start, tasks)
    })
}

/// A registry with so many idle tasks, and a runtime they are on.
struct Crowd {
    runtime: Runtime,
    registry: Registry,
    ctx: Context,
}

impl Crowd {
    fn of(tasks: usize) -> Self {
        let (runtime, registry) = (current_thread(), Registry::new());
        let ctx = runtime.block_on(async {
            let ctx = registry.context("crowd");
            for _ in 0..tasks {
                drop(ctx.task("idler").spawn(std::future::pending::<()>()));
            }
            tokio::task::yield_now().await;
            ctx
        });
        Self {
            runtime,
            registry,
            ctx,
        }
    }

    /// What one more task costs.
    fn one_more(&self, tasks: usize) -> f64 {
        self.runtime.block_on(async {
            let start = Instant::now();
            let ctx = self.registry.context("more");
            for _ in 0..tasks {
                drop(ctx.task("worker").spawn(tokio::task::yield_now()));
            }
            ctx.close().await;
            per(start, tasks)
        })
    }

    fn leave(self) {
        for task in self.registry.live_now().tasks() {
            drop(task);
        }
        drop(self.ctx);
        drop(self.runtime);
    }
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let runtime = current_thread();
    let (contexts, tasks) = (form.size(1_000), 100);
    let trees = Contest::new(
        format!("closing {contexts} contexts of {tasks} tasks"),
        "ns a task",
    )
    .side("headcount", || tree(&runtime, contexts, tasks))
    .side("one JoinSet + token", || flat(&runtime, contexts * tasks))
    .run(form.rounds(11));
    drop(runtime);

    let (many, few) = (
        Crowd::of(form.size(1_000_000)),
        Crowd::of(form.size(10_000)),
    );
    let scale = Contest::new("one more task, 1,000 at a time", "ns a task")
        .side("among 1,000,000", || many.one_more(1_000))
        .side("among 10,000", || few.one_more(1_000))
        .run(form.rounds(100));
    many.leave();
    few.leave();
    vec![
        Bar::new(
            "close_tree",
            trees.ratio_to("one JoinSet + token"),
            1.5,
            1.1,
        ),
        Bar::new("scale", scale.ratio_to("among 10,000"), 1.3, 1.1),
    ]
}
