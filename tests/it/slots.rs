//! Slots: one task at a time for each key of a context (S14).

use crate::util::{Counter, Log, OnDrop, current_thread, in_time, multi_thread, paused, settle};
use headcount::{Context, OnConflict, RefusedReason, Registry, TaskBuilder, TaskError};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{sync::oneshot, task::LocalSet};

fn context() -> Context {
    Registry::new().context("ctx")
}

fn slot(ctx: &Context, on_conflict: OnConflict) -> TaskBuilder<'_> {
    ctx.task("job").slot("slot").on_conflict(on_conflict)
}

/// Dropped, it says so, some time later than the task was aborted.
fn last_words(log: &Log, said: &'static str) -> OnDrop<impl FnOnce() + use<>> {
    let log = log.clone();
    OnDrop::new(move || log.note(said))
}

#[tokio::test]
async fn tasks_of_a_slot_run_one_after_the_other() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let log = Log::default();
    let tasks: Vec<_> = (0..3)
        .map(|n| {
            let (log, gone) = (log.clone(), last_words(&log, "gone"));
            slot(&ctx, OnConflict::Wait).spawn(async move {
                let _gone = gone;
                log.note(format!("starts {n}"));
                tokio::task::yield_now().await;
                log.note(format!("ends {n}"));
                n
            })
        })
        .collect();
    let other = ctx.task("job").slot("other").spawn(async { 7 });
    assert_eq!(
        registry.live().await.tasks().len(),
        4,
        "those that wait are listed"
    );
    assert_eq!(in_time(other).await.unwrap(), 7);
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(in_time(task).await.unwrap(), n);
    }
    let turn = |n| {
        [
            format!("starts {n}"),
            format!("ends {n}"),
            "gone".to_owned(),
        ]
    };
    assert_eq!(log.all(), [turn(0), turn(1), turn(2)].concat());
    assert_eq!(in_time(ctx.close()).await.finished(), 4);
}

/// The default, with a key that was made.
#[tokio::test]
async fn a_task_waits_unless_it_says_otherwise() {
    let ctx = context();
    let (finish, finished) = oneshot::channel::<()>();
    let key = |n: u32| format!("user-{n}");
    let first = ctx
        .task("a")
        .slot(key(1))
        .spawn(async { finished.await.is_ok() });
    let second = ctx.task("b").slot(key(1)).spawn(async {});
    settle().await;
    assert!(!second.is_finished());
    finish.send(()).unwrap();
    assert!(in_time(first).await.unwrap());
    in_time(second).await.unwrap();
}

#[tokio::test]
async fn a_task_that_replaces_another_starts_when_that_is_gone() {
    let ctx = context();
    let log = Log::default();
    let task = |on_conflict, n: usize| {
        let (log, gone) = (log.clone(), last_words(&log, "gone"));
        slot(&ctx, on_conflict).spawn(async move {
            let _gone = gone;
            log.note(format!("starts {n}"));
            pending::<()>().await;
        })
    };
    let first = task(OnConflict::Replace, 1);
    settle().await;
    let waits = task(OnConflict::Wait, 2);
    settle().await;
    let replaces = task(OnConflict::Replace, 3);
    // In the same breath: the one before has not been polled.
    let last = task(OnConflict::Replace, 4);
    for aborted in [first, waits, replaces] {
        assert!(matches!(in_time(aborted).await, Err(TaskError::Aborted)));
    }
    settle().await;
    assert_eq!(log.all()[..3], ["starts 1", "gone", "gone"]);
    assert_eq!(log.all()[3..], ["gone", "starts 4"]);
    last.abort();
    assert_eq!(in_time(ctx.close()).await.aborted(), 4);
}

/// A future that does not go at once is not overlapped.
#[test]
fn a_replaced_task_that_is_slow_to_go_is_waited_for() {
    multi_thread(2).block_on(async {
        let ctx = context();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for n in 0..200 {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let on_conflict = [OnConflict::Replace, OnConflict::Wait][n % 2];
            tasks.push(slot(&ctx, on_conflict).spawn(async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                let _gone = OnDrop::new(move || {
                    std::thread::yield_now();
                    running.fetch_sub(1, SeqCst);
                });
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            }));
            tokio::task::yield_now().await;
        }
        for task in tasks {
            let _ = in_time(task).await;
        }
        assert_eq!((most.load(SeqCst), running.load(SeqCst)), (1, 0));
        let report = in_time(ctx.close()).await;
        assert_eq!(report.finished() + report.aborted(), 200);
    });
}

#[tokio::test]
async fn a_task_whose_slot_is_taken_is_refused_and_handed_back() {
    let ctx = context();
    let (finish, finished) = oneshot::channel::<()>();
    let first = slot(&ctx, OnConflict::Reject).spawn(async { finished.await.is_ok() });
    let counter = Counter::default();
    let guard = counter.guard();
    let refused = slot(&ctx, OnConflict::Reject).try_spawn(async move { drop(guard) });
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.reason(), counter.alive()),
        (RefusedReason::SlotTaken, 1)
    );
    assert_eq!(
        refused.to_string(),
        "another task has the slot; `into_inner()` returns the future or closure"
    );
    in_time(refused.into_inner()).await;
    let refused = in_time(slot(&ctx, OnConflict::Reject).spawn(async {})).await;
    assert!(matches!(refused, Err(TaskError::Refused)));
    finish.send(()).unwrap();
    assert!(in_time(first).await.unwrap());
    in_time(slot(&ctx, OnConflict::Reject).spawn(async {}))
        .await
        .unwrap();
    // It was refused, and the context had nothing to do with it.
    let report = in_time(ctx.close()).await;
    assert_eq!(
        (report.finished(), report.refused(), report.aborted()),
        (2, 0, 0)
    );
}

#[tokio::test]
async fn a_task_on_a_closed_context_takes_no_slot() {
    let ctx = context();
    let (finish, finished) = oneshot::channel::<()>();
    let holder = slot(&ctx, OnConflict::Wait).spawn(async { finished.await.is_ok() });
    ctx.request_close("enough");
    settle().await;
    let replaces = in_time(slot(&ctx, OnConflict::Replace).spawn(async {})).await;
    assert!(matches!(replaces, Err(TaskError::Refused)));
    finish.send(()).unwrap();
    assert!(in_time(holder).await.unwrap(), "it was not replaced");
    in_time(ctx.close()).await;
}

/// I1: those that wait are the context's tasks as well.
#[tokio::test]
async fn a_close_ends_those_that_wait() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::from_millis(5))
        .open();
    let counter = Counter::default();
    let spawn = |builder: TaskBuilder<'_>| {
        let guard = counter.guard();
        builder.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        })
    };
    let holder = spawn(slot(&ctx, OnConflict::Wait));
    let waits = spawn(slot(&ctx, OnConflict::Wait));
    let cancellable = spawn(slot(&ctx, OnConflict::Wait).cancellable());
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.cancelled(), counter.alive()), (1, 0));
    assert!(matches!(
        in_time(cancellable).await,
        Err(TaskError::Cancelled)
    ));
    for task in [holder, waits] {
        assert!(matches!(in_time(task).await, Err(TaskError::Aborted)));
    }
}

#[tokio::test]
async fn one_that_leaves_the_line_is_passed_over() {
    let ctx = context();
    let (finish, finished) = oneshot::channel::<()>();
    let holder = slot(&ctx, OnConflict::Wait).spawn(async { finished.await.is_ok() });
    let leaves = slot(&ctx, OnConflict::Wait).spawn(async {});
    let last = slot(&ctx, OnConflict::Wait).spawn(async { 3 });
    settle().await;
    leaves.abort();
    assert!(matches!(in_time(leaves).await, Err(TaskError::Aborted)));
    settle().await;
    assert!(!last.is_finished());
    finish.send(()).unwrap();
    assert!(in_time(holder).await.unwrap());
    assert_eq!(in_time(last).await.unwrap(), 3);
}

#[test]
fn the_deadline_of_a_task_begins_with_its_turn() {
    paused().block_on(async {
        let ctx = context();
        let minute = Duration::from_secs(60);
        let holder = slot(&ctx, OnConflict::Wait).spawn(tokio::time::sleep(10 * minute));
        let late = slot(&ctx, OnConflict::Wait).deadline(minute);
        let late = late.spawn(async move {
            tokio::time::sleep(minute / 2).await;
            1
        });
        let too_late = slot(&ctx, OnConflict::Wait).deadline(minute);
        let too_late = too_late.spawn(pending::<()>());
        holder.await.unwrap();
        assert_eq!(late.await.unwrap(), 1);
        assert!(matches!(too_late.await, Err(TaskError::TimedOut)));
    });
}

/// The next one runs though the destructor of the one before panics.
#[tokio::test]
async fn a_slot_is_free_after_a_panic() {
    let ctx = context();
    let bomb = OnDrop::new(|| panic!("destructor"));
    let first = slot(&ctx, OnConflict::Wait).spawn(async move {
        let _bomb = bomb;
        tokio::task::yield_now().await;
    });
    let second = slot(&ctx, OnConflict::Wait).spawn(async { panic!("on purpose") });
    let third = slot(&ctx, OnConflict::Wait).spawn(async { 3 });
    assert_eq!(
        in_time(first).await.unwrap_err().message(),
        Some("destructor")
    );
    let second: Result<(), _> = in_time(second).await;
    assert_eq!(second.unwrap_err().message(), Some("on purpose"));
    assert_eq!(in_time(third).await.unwrap(), 3);
}

/// A closure cannot wait, whatever it asks for, and replaces none that it could not wait for.
#[tokio::test]
async fn a_closure_takes_a_slot_that_is_free() {
    let ctx = context();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let first = slot(&ctx, OnConflict::Wait).spawn_blocking(move || finished.recv().is_ok());
    for on_conflict in [OnConflict::Wait, OnConflict::Replace, OnConflict::Reject] {
        let refused = slot(&ctx, on_conflict)
            .try_spawn_blocking(|| 2)
            .unwrap_err();
        assert_eq!(refused.reason(), RefusedReason::SlotTaken);
        assert_eq!(refused.into_inner()(), 2);
    }
    let waits = slot(&ctx, OnConflict::Wait).spawn(async { 3 });
    settle().await;
    assert!(!waits.is_finished());
    finish.send(()).unwrap();
    assert!(in_time(first).await.unwrap());
    assert_eq!(in_time(waits).await.unwrap(), 3);
}

#[tokio::test]
async fn local_tasks_wait_in_the_same_line() {
    let ctx = context();
    let local = LocalSet::new();
    let ran = local.run_until(async {
        let first = slot(&ctx, OnConflict::Wait).spawn_local(pending::<()>());
        let second = slot(&ctx, OnConflict::Replace).spawn_local(async { std::rc::Rc::new(2) });
        assert!(matches!(first.await, Err(TaskError::Aborted)));
        *second.await.unwrap()
    });
    assert_eq!(in_time(ran).await, 2);
}

/// A wrapped future is polled by others, who may not poll it at all.
#[tokio::test]
async fn a_wrapped_future_takes_no_slot() {
    let ctx = context();
    let wrapped = slot(&ctx, OnConflict::Reject).wrap(async { 1 });
    let task = slot(&ctx, OnConflict::Reject).spawn(async { 2 });
    assert_eq!(in_time(task).await.unwrap(), 2);
    assert_eq!(in_time(wrapped).await.unwrap(), 1);
}

#[tokio::test]
async fn a_policy_without_a_slot_has_no_effect() {
    let ctx = context();
    let spawn = || {
        ctx.task("job")
            .on_conflict(OnConflict::Reject)
            .spawn(async {})
    };
    let (first, second) = (spawn(), spawn());
    in_time(first).await.unwrap();
    in_time(second).await.unwrap();
}

/// I13: a line of thousands that is replaced by each of thousands, and a line of thousands that is aborted.
#[test]
fn long_lines_go_in_no_time() {
    let runtime = current_thread();
    runtime.block_on(async {
        let ctx = context();
        for on_conflict in [OnConflict::Replace, OnConflict::Wait] {
            let tasks: Vec<_> = (0..20_000)
                .map(|_| slot(&ctx, on_conflict).spawn(pending::<()>()))
                .collect();
            settle().await;
            for task in &tasks {
                task.abort();
            }
            for task in tasks {
                assert!(in_time(task).await.is_err());
            }
        }
        assert_eq!(in_time(ctx.close()).await.aborted(), 40_000);
    });
}
