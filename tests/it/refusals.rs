//! I19, I2: spawns on a context that closes are refused without harm, and told seldom enough to be read.

use crate::{
    events::said_on,
    util::{current_thread, in_time, paused, settle},
};
use headcount::{Context, Registry, TaskError};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// A task that spawns on its own context for as long as that can be upgraded, and does not look at the results.
fn supervise(ctx: &Context) -> Arc<AtomicUsize> {
    let (weak, refused) = (ctx.downgrade(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&refused);
    ctx.task("supervisor").spawn(async move {
        while let Some(ctx) = weak.upgrade() {
            if ctx.spawn(std::future::ready(())).await.is_err() {
                counter.fetch_add(1, SeqCst);
            }
        }
    });
    refused
}

/// On one thread: everything else runs on, the grace period comes to an end, and so does the close.
#[test]
fn a_task_that_spawns_on_for_ever_does_not_keep_its_context_from_closing() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    let said = said_on(&current_thread(), async move || {
        let registry = Registry::new();
        let ctx = registry
            .context_builder("svc")
            .grace(Duration::from_millis(500))
            .open();
        let refused = supervise(&ctx);
        settle().await;
        let still = ctx
            .close_within(Duration::from_millis(10))
            .await
            .unwrap_err();
        let says = "supervisor keeps spawning on its closing context: refused ";
        assert!(still.to_string().contains(says), "{still}");
        assert!(
            still.refusals()[0]
                .location()
                .file()
                .ends_with("refusals.rs")
        );
        let report = in_time(ctx.close()).await;
        assert_eq!(report.aborted(), 1, "{report}");
        assert_eq!(report.refusals()[0].count(), report.refused());
        assert_eq!(report.refusals()[0].task(), Some("supervisor"));
        assert!(report.to_string().contains(says), "{report}");
        // It may have been aborted when it was about to count the last one.
        let counted = refused.load(SeqCst) as u64;
        assert!(
            (counted..=counted + 1).contains(&report.refused()),
            "{report}"
        );
        counter.store(usize::try_from(report.refused()).unwrap(), SeqCst);
    });
    let refused = refused.load(SeqCst);
    assert!(refused > 100, "{refused}");
    let told: Vec<_> = said
        .iter()
        .filter(|line| line.contains("was refused"))
        .collect();
    let powers = refused.ilog10() as usize + 1;
    assert_eq!(told.len(), powers, "{refused} refusals: {told:#?}");
    assert!(told[1].contains(", 10 times so far"), "{told:#?}");
    let aborted = said
        .iter()
        .find(|line| line.contains("the grace period is over"));
    let says = "supervisor keeps spawning on its closing context: refused ";
    assert!(aborted.unwrap().contains(says), "{said:#?}");
}

/// One event a line of code, in whatever context: a server that goes down has a thousand of them.
#[test]
fn a_line_that_is_refused_in_many_contexts_is_told_at_powers_of_ten() {
    let said = said_on(&paused(), async || {
        let registry = Registry::new();
        for _ in 0..1_000 {
            let ctx = registry.context("conn");
            in_time(ctx.close()).await;
            drop(ctx.spawn(async {}));
            drop(ctx.wrap(async {}));
        }
    });
    let told = |what: &str| said.iter().filter(|line| line.contains(what)).count();
    assert_eq!(told("a task was refused"), 4, "{said:#?}");
    assert_eq!(told("a wrapped future was refused"), 4, "{said:#?}");
    assert_eq!(said.len(), 8, "{said:#?}");
}

/// Reports say which line it was, with those of the contexts below.
#[test]
fn refusals_of_children_are_in_the_report_of_the_parent() {
    paused().block_on(async {
        let parent = Registry::new().context("parent");
        let child = parent.child("child");
        let weak = child.downgrade();
        child.task("late").spawn(async move {
            weak.cancelled().await;
            let child = weak.upgrade().unwrap();
            for _ in 0..3 {
                drop(child.spawn(async {}));
            }
        });
        settle().await;
        let report = in_time(parent.close()).await;
        let refusal = &report.refusals()[0];
        assert_eq!((refusal.count(), refusal.task()), (3, Some("late")));
        assert_eq!((report.refused(), report.refusals().len()), (3, 1));
        // A few are no fault, and not worth a line.
        assert!(!report.to_string().contains("keeps spawning"), "{report}");
    });
}

/// Whether another task runs while this one does something that never waits for anything.
async fn lets_others_run(task: impl Future<Output = ()>) -> bool {
    let ran = Arc::new(AtomicBool::new(false));
    let other = tokio::spawn({
        let ran = Arc::clone(&ran);
        async move { ran.store(true, SeqCst) }
    });
    let mut task = pin!(task);
    task.as_mut().await;
    let ran = ran.load(SeqCst);
    other.await.unwrap();
    ran
}

#[test]
fn who_awaits_1024_finished_tasks_in_a_row_lets_others_run() {
    current_thread().block_on(async {
        let ctx = Registry::new().context("ctx");
        let tasks: Vec<_> = (0..1_024).map(|n| ctx.spawn(async move { n })).collect();
        settle().await;
        assert!(tasks.iter().all(headcount::Task::is_finished));
        let await_all = async {
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), n);
            }
        };
        assert!(lets_others_run(await_all).await);
        in_time(ctx.close()).await;
    });
}

#[test]
fn who_awaits_1024_refused_tasks_in_a_row_lets_others_run() {
    current_thread().block_on(async {
        let ctx = Registry::new().context("ctx");
        in_time(ctx.close()).await;
        let tasks: Vec<_> = (0..1_024).map(|_| ctx.spawn(async {})).collect();
        let await_all = async {
            for task in tasks {
                assert!(matches!(task.await, Err(TaskError::Refused)));
            }
        };
        assert!(lets_others_run(await_all).await);
    });
}

#[test]
fn a_refused_wrap_is_named_as_it_was_to_be() {
    let said = said_on(&paused(), async || {
        let ctx = Registry::new().context("ctx");
        in_time(ctx.close()).await;
        drop(ctx.task("conn").wrap(async {}));
    });
    assert!(said.iter().any(|line| line.contains("conn")), "{said:#?}");
}
