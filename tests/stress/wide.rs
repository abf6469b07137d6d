//! I13, I4, I1: a million tasks that are all alive are listed, and all closed.

use crate::common::{current_thread, multi_thread, short_or_full, within};
use headcount::{Registry, Resource};
use std::{collections::HashSet, time::Duration};
use tokio::time::timeout;

const WIDTH: usize = 1_000_000;
const LIMIT: Duration = Duration::from_secs(240);

#[test]
#[ignore = "stress: takes seconds and a gigabyte, run by .ci/run"]
fn a_million_live_tasks_are_listed_and_closed() {
    within(2 * LIMIT, |notes| {
        let runtimes = short_or_full(
            vec![multi_thread(2)],
            vec![current_thread(), multi_thread(2)],
        );
        for runtime in runtimes {
            let registry = Registry::new();
            runtime.block_on(async {
                let ctx = registry.context_builder("wide").grace(LIMIT).open();
                notes.now("spawning");
                for _ in 0..WIDTH {
                    let task = ctx.task("one").cancellable();
                    drop(task.spawn(std::future::pending::<()>()));
                }
                notes.now("listing");
                let live = timeout(LIMIT, registry.live()).await.unwrap();
                assert_eq!(live.len(), WIDTH + 1);
                assert_eq!(registry.count(), WIDTH + 1);

                let ids: HashSet<_> = live.iter().map(Resource::id).collect();
                assert_eq!(ids.len(), WIDTH + 1);
                let tasks = live.tasks();
                assert_eq!(tasks.len(), WIDTH);
                assert!(tasks.iter().all(|task| task.parent() == Some(ctx.id())));
                drop((live, tasks, ids));
                assert_eq!(ctx.live().await.len(), WIDTH + 1);
                notes.now("closing");
                let report = timeout(LIMIT, ctx.close()).await.unwrap();
                assert_eq!(report.cancelled(), WIDTH as u64);
                assert!(report.is_clean());
                assert_eq!(registry.live().await.len(), 1, "the closed context");
                drop(ctx);
                assert_eq!(registry.count(), 0);
            });
        }
    });
}
