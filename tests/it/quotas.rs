//! How many tasks and children a context may have at once.

use crate::{
    events::{said, said_on},
    util::{Counter, current_thread, in_time, multi_thread, settle},
};
use futures::{StreamExt, stream};
use headcount::{
    CloseReason, Context, OnConflict, OpenError, RefusedReason, Registry, State, TaskError,
};
use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};
use tokio::task::{LocalSet, yield_now};

fn with_tasks(most: usize) -> Context {
    Registry::new()
        .context_builder("ctx")
        .max_tasks(most)
        .open()
}

fn is_full(ctx: &Context) -> bool {
    match ctx.try_spawn(ready(())) {
        Ok(task) => {
            drop(task);
            false
        }
        Err(refused) => {
            assert_eq!(refused.reason(), RefusedReason::Full);
            true
        }
    }
}

#[tokio::test]
async fn a_spawn_beyond_the_most_is_handed_back() {
    let ctx = with_tasks(2);
    let tasks = [ctx.spawn(pending::<()>()), ctx.spawn(pending::<()>())];
    let refused = ctx.try_spawn(ready(42)).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Full);
    assert_eq!(refused.into_inner().await, 42);
    assert_eq!(ctx.live().await.tasks().len(), 2);
    assert_eq!(in_time(ctx.close_now()).await.refused(), 0);
    drop(tasks);
}

#[test]
fn a_plain_spawn_beyond_the_most_is_dropped_and_says_who_refused_it() {
    let mut line = 0;
    let said = said(async || {
        let server = Registry::new()
            .context_builder("server")
            .max_tasks(1)
            .open();
        let first = server.spawn(pending::<()>());
        let counter = Counter::default();
        let guard = counter.guard();
        line = line!() + 1;
        let task = server.task("late").spawn(async move { drop(guard) });
        assert_eq!((task.name(), counter.dropped()), ("late", 1));
        assert!(matches!(task.await, Err(TaskError::Refused)));
        first.abort();
        let report = in_time(server.close()).await;
        assert_eq!((report.refused(), report.refusals().len()), (1, 1));
        let refusal = &report.refusals()[0];
        assert_eq!(
            (refusal.reason(), refusal.count()),
            (RefusedReason::Full, 1)
        );
        let text = refusal.to_string();
        assert!(text.ends_with(", because the context was full"), "{text}");
        // From outside: nothing of its own is lost.
        assert!(report.is_clean(), "{report}");
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    for part in [
        "a task was refused because its context server is full: `max_tasks` is 1",
        "context=server",
        "task=late",
        "max_tasks=1",
        &format!("quotas.rs:{line}"),
    ] {
        assert!(said[0].contains(part), "{part}: {said:#?}");
    }
}

#[test]
fn a_line_that_is_refused_again_and_again_is_told_at_powers_of_ten() {
    let said = said_on(&current_thread(), async || {
        let ctx = with_tasks(0);
        for _ in 0..1_000 {
            drop(ctx.spawn(async {}));
            drop(ctx.wrap(async {}));
        }
        let report = in_time(ctx.close()).await;
        assert_eq!(report.refused(), 2_000);
        // It notices no close, because there is none.
        assert!(!report.to_string().contains("keeps spawning"), "{report}");
    });
    let told = |what: &str| said.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        told("a task was refused because its context ctx is full"),
        4
    );
    assert_eq!(
        told("a wrapped future was refused because its context ctx is full"),
        4
    );
    assert_eq!(said.len(), 8, "{said:#?}");
}

/// The words are of code that does not notice a close.
#[tokio::test]
async fn a_task_that_is_refused_again_and_again_is_not_said_to_miss_a_close() {
    let ctx = with_tasks(1);
    let own = ctx.downgrade();
    let supervisor = ctx.task("supervisor").spawn(async move {
        for _ in 0..20 {
            drop(own.spawn(async {}));
        }
    });
    supervisor.await.unwrap();
    let report = in_time(ctx.close()).await;
    let refusal = &report.refusals()[0];
    assert_eq!((refusal.count(), refusal.task()), (20, Some("supervisor")));
    let said = refusal.to_string();
    assert!(
        said.starts_with("spawns by task supervisor were refused 20 times at "),
        "{said}"
    );
    assert!(!report.to_string().contains("keeps spawning"), "{report}");
}

/// I16: work of its own was lost.
#[tokio::test]
async fn a_spawn_from_inside_that_is_dropped_makes_the_close_unclean() {
    let ctx = with_tasks(1);
    let own = ctx.downgrade();
    let task = ctx.spawn(async move { own.spawn(async {}).await.is_err() });
    assert!(task.await.unwrap());
    let report = in_time(ctx.close()).await;
    assert!(!report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_context_that_is_full_and_closes_says_that_it_closes() {
    let ctx = with_tasks(0);
    assert!(is_full(&ctx));
    in_time(ctx.close()).await;
    let refused = ctx.try_spawn(async {}).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
}

#[tokio::test]
async fn there_is_room_again_when_the_future_is_dropped_and_the_output_is_not_taken() {
    let ctx = with_tasks(1);
    let task = ctx.spawn(async { 42 });
    assert!(is_full(&ctx));
    task.finished().await;
    assert!(!is_full(&ctx));
    assert_eq!(task.await.unwrap(), 42);
}

#[tokio::test]
async fn there_is_room_again_however_a_task_ends() {
    let ctx = with_tasks(1);
    let panics = ctx.spawn(async { panic!("on purpose") });
    assert!(panics.await.is_err());
    let aborted = ctx.spawn(pending::<()>());
    aborted.abort();
    assert!(aborted.await.is_err());
    let closure = ctx.spawn_blocking(|| panic!("on purpose"));
    assert!(closure.await.is_err());
    let wrapped = ctx.wrap(pending::<()>());
    assert!(is_full(&ctx));
    drop(wrapped);
    assert!(!is_full(&ctx));
}

#[test]
fn there_is_room_again_when_the_runtime_of_a_task_has_ended() {
    let ctx = with_tasks(1);
    let runtime = current_thread();
    drop(ctx.task("lost").on(runtime.handle()).spawn(pending::<()>()));
    drop(runtime);
    current_thread().block_on(async { assert!(!is_full(&ctx)) });
}

/// On another thread than the one on which the task ends.
#[test]
fn there_is_room_by_the_time_that_the_handle_gives_the_output() {
    multi_thread(2).block_on(async {
        let ctx = with_tasks(1);
        for _ in 0..2_000 {
            let task = ctx.try_spawn(async {}).expect("there is room");
            task.await.unwrap();
        }
    });
}

#[test]
fn everything_that_is_listed_as_a_task_counts() {
    multi_thread(2).block_on(async {
        let ctx = with_tasks(5);
        let (go_on, wait) = mpsc::channel::<()>();
        let closure = ctx.spawn_blocking(move || wait.recv().is_ok());
        let wrapped = ctx.wrap(pending::<()>());
        let stream = ctx.wrap_stream(stream::pending::<()>());
        let spawned = ctx.spawn(pending::<()>());
        let local = LocalSet::new();
        let inside = local.run_until(async { ctx.spawn_local(pending::<()>()) });
        let local_task = inside.await;
        assert_eq!(ctx.live().await.tasks().len(), 5);
        assert!(is_full(&ctx));
        assert!(ctx.task("late").try_wrap(async {}).is_err());
        let refused = ctx.task("late").try_wrap_stream(stream::once(ready(1)));
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), RefusedReason::Full);
        assert_eq!(refused.into_inner().next().await, Some(1));
        let refused = ctx.task("late").try_spawn_blocking(|| 7).unwrap_err();
        assert_eq!(refused.into_inner()(), 7);
        drop(stream);
        assert!(!is_full(&ctx));
        go_on.send(()).unwrap();
        assert!(closure.await.unwrap());
        drop((wrapped, spawned, local_task, local));
        in_time(ctx.close_now()).await;
    });
}

/// The room of a future that was wrapped is free when that has ended, though the wrapper is still there.
#[tokio::test]
async fn a_wrapped_future_that_has_ended_counts_no_more() {
    let ctx = with_tasks(1);
    let mut wrapped = Box::pin(ctx.wrap(async { 42 }));
    assert!(is_full(&ctx));
    assert_eq!(wrapped.as_mut().await.unwrap(), 42);
    assert!(!is_full(&ctx));
}

#[tokio::test]
async fn a_task_that_waits_for_its_slot_counts() {
    let ctx = with_tasks(2);
    for _ in 0..2 {
        drop(ctx.task("job").slot("one").spawn(pending::<()>()));
    }
    settle().await;
    assert!(is_full(&ctx));
    in_time(ctx.close_now()).await;
}

#[tokio::test]
async fn a_task_without_room_replaces_none_in_its_slot() {
    let ctx = with_tasks(1);
    let job = || ctx.task("job").slot("one").on_conflict(OnConflict::Replace);
    let first = job().spawn(pending::<()>());
    let refused = job().try_spawn(async {}).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Full);
    settle().await;
    assert!(!first.is_finished());
    in_time(ctx.close_now()).await;
}

#[tokio::test]
async fn a_task_that_finds_its_slot_taken_leaves_its_room() {
    let ctx = with_tasks(2);
    let job = || ctx.task("job").slot("one").on_conflict(OnConflict::Reject);
    let _first = job().spawn(pending::<()>());
    for _ in 0..3 {
        let refused = job().try_spawn(ready(())).unwrap_err();
        assert_eq!(refused.reason(), RefusedReason::SlotTaken);
    }
    assert!(!is_full(&ctx));
    in_time(ctx.close_now()).await;
}

#[tokio::test]
async fn tasks_of_children_do_not_count() {
    let ctx = with_tasks(1);
    let child = ctx.child("child");
    for _ in 0..3 {
        child.try_spawn(pending::<()>()).unwrap();
    }
    assert!(!is_full(&ctx));
    in_time(ctx.close_now()).await;
}

#[tokio::test]
async fn hooks_do_not_count() {
    let ctx = with_tasks(0);
    ctx.on_close(|| async {}).unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!(report.hooks().ran, 1);
}

#[tokio::test]
async fn an_enormous_quota_is_none() {
    let ctx = with_tasks(usize::MAX);
    for _ in 0..100 {
        drop(ctx.try_spawn(async {}).unwrap());
    }
    assert_eq!(in_time(ctx.close()).await.finished(), 100);
}

#[tokio::test]
async fn a_listing_says_how_many_there_are_and_may_be() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").max_tasks(3).max_children(2);
    let ctx = ctx.open();
    let _child = ctx.child("child");
    drop(ctx.spawn(pending::<()>()));
    let live = registry.live().await;
    let detail = live.find("ctx").unwrap().detail();
    assert_eq!(detail.unwrap(), "1 of 3 tasks, 1 of 2 children");
    assert_eq!(live.find("child").unwrap().detail(), None);
    in_time(ctx.close_now()).await;
}

#[test]
fn debug_of_a_builder_says_how_many_there_may_be() {
    let registry = Registry::new();
    let builder = registry.context_builder("ctx").max_tasks(3).max_children(2);
    let said = format!("{builder:?}");
    assert!(
        said.contains("max_tasks: Some(3)") && said.contains("max_children: Some(2)"),
        "{said}"
    );
}

/// Eight threads spawn what they can, and the futures count themselves.
#[test]
fn eight_threads_never_bring_in_more_than_there_may_be() {
    const MOST: usize = 5;
    let (runtime, ctx) = (multi_thread(2), with_tasks(MOST));
    let (counter, most) = (Counter::default(), Arc::new(AtomicUsize::new(0)));
    let (came, full) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let spawn_some = || {
        let _inside = runtime.enter();
        for _ in 0..2_000 {
            let (counter, most) = (counter.clone(), Arc::clone(&most));
            let job = async move {
                let _guard = counter.guard();
                most.fetch_max(counter.alive(), SeqCst);
                yield_now().await;
            };
            let spawned = ctx.try_spawn(job).map_err(|refused| refused.reason());
            let counted = match spawned {
                Ok(_) => &came,
                Err(RefusedReason::Full) => &full,
                Err(other) => panic!("{other}"),
            };
            counted.fetch_add(1, SeqCst);
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(spawn_some);
        }
    });
    let report = runtime.block_on(in_time(ctx.close()));
    let (came, full) = (came.load(SeqCst), full.load(SeqCst));
    assert_eq!((report.finished(), counter.dropped()), (came as u64, came));
    assert!(came > MOST && full > 0, "{came} came, {full} were refused");
    assert!((1..=MOST).contains(&most.load(SeqCst)), "{most:?}");
}

// Children.

fn with_children(most: usize) -> Context {
    let builder = Registry::new();
    let builder = builder.context_builder("server").max_children(most);
    builder.open()
}

#[tokio::test]
async fn a_child_beyond_the_most_is_not_opened_and_it_is_said_of_what() {
    let server = with_children(1);
    let conn = server.child("conn-1");
    let full = server.child_builder("conn-2").try_open().unwrap_err();
    assert_eq!(full, OpenError::Full("server".to_owned()));
    assert_eq!(
        full.to_string(),
        "the parent server has as many children as it may"
    );
    assert!(server.try_child("conn-2").is_err());
    assert!(server.downgrade().try_child("conn-2").is_err());
    assert_eq!(server.children().len(), 1);
    drop(conn);
    assert_eq!(in_time(server.close()).await.children(), 1);
}

#[tokio::test]
async fn a_child_beyond_the_most_is_closed_from_the_start() {
    let server = with_children(0);
    let conn = server.child("conn");
    assert_eq!(
        (conn.state(), conn.close_reason()),
        (State::Closed, Some(CloseReason::Full))
    );
    assert_eq!(CloseReason::Full.to_string(), "its parent was full");
    assert!(conn.try_spawn(async {}).is_err());
    let report = in_time(server.close()).await;
    assert_eq!(report.children(), 0);
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn there_is_room_for_another_child_when_one_has_closed() {
    let server = with_children(1);
    let conn = server.child("conn");
    let own = conn.downgrade();
    conn.spawn(async move { drop(own.cancelled().await) });
    conn.request_close("test");
    // It closes, and has not closed.
    assert!(server.try_child("late").is_err());
    in_time(conn.close()).await;
    // A handle that is left does not count.
    assert!(server.try_child("late").is_ok());
}

#[tokio::test]
async fn there_is_room_for_another_child_when_one_was_dropped_and_has_closed() {
    let server = with_children(1);
    let conn = server.child_builder("conn").closes_by_drop().open();
    drop(conn);
    in_time(server.idle()).await;
    assert!(server.try_child("late").is_ok());
}

#[tokio::test]
async fn contexts_below_the_children_do_not_count() {
    let server = with_children(1);
    let conn = server.child("conn");
    let below = [conn.child("one"), conn.child("two")];
    assert!(below.iter().all(|ctx| ctx.state() == State::Open));
}

#[tokio::test]
async fn a_full_parent_that_closes_says_that_it_closes() {
    let server = with_children(0);
    in_time(server.close()).await;
    let error = server.child_builder("conn").try_open().unwrap_err();
    assert_eq!(error, OpenError::Closed);
}

#[tokio::test]
async fn a_child_that_cannot_have_what_it_needs_leaves_its_room() {
    let registry = Registry::new();
    let db = registry.context("db");
    in_time(db.close()).await;
    let server = registry.context_builder("server").max_children(1).open();
    for _ in 0..3 {
        let error = server.child_builder("conn").needs(&db).try_open();
        assert_eq!(error.unwrap_err(), OpenError::NeedClosed("db".to_owned()));
    }
    assert!(server.try_child("conn").is_ok());
}

#[tokio::test]
async fn the_body_of_a_child_runs_though_its_parent_is_full() {
    let server = with_children(0);
    let state = server.with_child("request", async |ctx| ctx.state());
    assert_eq!(in_time(state).await, State::Closed);
}

#[test]
fn eight_threads_never_open_more_children_than_there_may_be() {
    const MOST: usize = 3;
    let runtime = multi_thread(2);
    let server = with_children(MOST);
    let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                runtime.block_on(async {
                    for _ in 0..300 {
                        if let Ok(child) = server.try_child("child") {
                            most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                            open.fetch_sub(1, SeqCst);
                            child.close().await;
                        }
                    }
                });
            });
        }
    });
    assert!((1..=MOST).contains(&most.load(SeqCst)), "{most:?}");
    assert_eq!(server.children().len(), 0);
    runtime.block_on(in_time(server.close()));
}
