//! A restart of a supervised task that is asked for when nothing may follow.

use crate::util::{in_time, settle};
use headcount::{
    Registry,
    supervision::{Restart, SupervisedState, SupervisionEnd},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The attempt that runs comes to its end: its work is not thrown away for a restart that would be refused.
#[tokio::test(start_paused = true)]
async fn a_restart_is_refused_while_the_context_finishes() {
    let ctx = Registry::new().context("ctx");
    let go = Arc::new(Notify::new());
    let gone = Arc::clone(&go);
    let feed = ctx
        .task("feed")
        .restart(Restart::on_failure())
        .run(move |_| {
            let gone = Arc::clone(&gone);
            async move { gone.notified().await }
        });
    settle().await;
    let finishing = ctx.finish();
    assert!(!feed.restart_now());
    settle().await;
    assert_eq!(
        (feed.state(), feed.attempts()),
        (SupervisedState::Running, 1)
    );
    go.notify_one();
    assert_eq!(in_time(feed.ended()).await, SupervisionEnd::Finished);
    assert!(in_time(finishing).await.is_clean());
}

/// No attempt may follow, so none is spent: what ends the task is the close, also where its budget is.
#[tokio::test(start_paused = true)]
async fn a_failure_while_the_context_finishes_spends_no_budget() {
    let ctx = Registry::new().context("ctx");
    let go = Arc::new(Notify::new());
    let gone = Arc::clone(&go);
    let rules = Restart::on_failure().budget(0, Duration::from_secs(60));
    let feed = ctx.task("feed").restart(rules).run(move |_| {
        let gone = Arc::clone(&gone);
        async move {
            gone.notified().await;
            Err::<(), _>("no route")
        }
    });
    settle().await;
    let finishing = ctx.finish();
    go.notify_one();
    assert_eq!(in_time(feed.ended()).await, SupervisionEnd::Closed);
    assert_eq!(feed.last_failure().unwrap().message(), "no route");
    in_time(finishing).await;
}

/// To stop is possible meanwhile.
#[tokio::test(start_paused = true)]
async fn a_task_can_be_stopped_while_the_context_finishes() {
    let ctx = Registry::new().context("ctx");
    let feed = ctx.task("feed").restart(Restart::on_failure());
    let feed = feed.run(|_| std::future::pending::<()>());
    settle().await;
    let finishing = ctx.finish();
    assert!(feed.stop());
    assert_eq!(in_time(feed.ended()).await, SupervisionEnd::Stopped);
    in_time(finishing).await;
}
