//! Tasks: what they come to, who gets it, and what is left of them (I4, I6, I12, S14).

use crate::util::{Counter, Log, OnDrop, Wakes, in_time, poll_once, settle};
use headcount::{OnConflict, Registry, State, Task, TaskError};
use std::{pin::pin, rc::Rc, sync::Arc, task::Waker, time::Duration};
use tokio::{runtime::LocalRuntime, sync::oneshot, task::LocalSet};

#[tokio::test]
async fn a_task_gives_its_output_to_its_handle() {
    let ctx = Registry::new().context("ctx");
    assert_eq!(
        in_time(ctx.spawn(async { "async" })).await.unwrap(),
        "async"
    );
    assert_eq!(
        in_time(ctx.spawn_blocking(|| "blocking")).await.unwrap(),
        "blocking"
    );
    let local = LocalSet::new();
    let output = local
        .run_until(async { ctx.spawn_local(async { std::rc::Rc::new("local") }).await })
        .await;
    assert_eq!(*output.unwrap(), "local");
    assert_eq!(in_time(ctx.close()).await.finished(), 3);
}

/// A `LocalRuntime` is a `LocalSet` for all that runs on it.
#[test]
fn local_tasks_run_on_a_local_runtime() {
    let runtime = LocalRuntime::new().unwrap();
    let counter = Counter::default();
    runtime.block_on(async {
        let ctx = Registry::new().context("ctx");
        let output = ctx.spawn_local(async {
            tokio::task::yield_now().await;
            Rc::new("local")
        });
        assert_eq!(*in_time(output).await.unwrap(), "local");
        let until_cancelled = ctx.task("cancellable").cancellable();
        let cancelled = until_cancelled.try_spawn_local(std::future::pending::<()>());
        drop(cancelled.unwrap());
        let hasty = ctx.child_builder("hasty").grace(Duration::ZERO).open();
        let guard = counter.guard();
        drop(hasty.spawn_local(async move {
            let _not_send = (Rc::new(()), guard);
            std::future::pending::<()>().await;
        }));
        settle().await;
        let report = in_time(ctx.close()).await;
        let counts = (report.finished(), report.cancelled(), report.aborted());
        assert_eq!(counts, (1, 1, 1));
        assert_eq!(counter.alive(), 0);
    });
}

/// I1: the runtime drops what it has, and the close goes on where it is awaited.
#[test]
fn local_tasks_end_with_their_local_runtime() {
    let runtime = LocalRuntime::new().unwrap();
    let counter = Counter::default();
    let ctx = runtime.block_on(async {
        let ctx = Registry::new().context("ctx");
        let guard = counter.guard();
        drop(ctx.spawn_local(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }));
        ctx.request_close("its driver runs there");
        settle().await;
        ctx
    });
    assert_eq!((ctx.state(), counter.alive()), (State::Closing, 1));
    drop(runtime);
    assert_eq!((ctx.state(), counter.alive()), (State::Closing, 0));
    let report = LocalRuntime::new().unwrap().block_on(in_time(ctx.close()));
    assert_eq!(report.aborted(), 1);
}

/// I4
#[tokio::test]
async fn a_task_is_listed_from_before_its_first_poll_until_it_is_done() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    let task = ctx
        .task("job")
        .kind("work")
        .spawn(async move { finished.await });
    let listed = registry.live().await.find("job").cloned().unwrap();
    assert_eq!(
        (listed.kind(), listed.state(), listed.id()),
        ("work", State::Waiting, task.id())
    );
    assert_eq!(listed.parent(), Some(ctx.id()));
    settle().await;
    assert_eq!(
        registry.live_now().find("job").unwrap().state(),
        State::Running
    );
    finish.send(()).unwrap();
    in_time(task).await.unwrap().unwrap();
    assert!(
        registry.live().await.tasks().is_empty(),
        "a joined task is off the list"
    );
}

/// I4: until after its future is dropped.
#[tokio::test]
async fn a_task_is_listed_while_its_destructor_runs() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let log = Log::default();
    let on_drop = OnDrop::new({
        let (registry, log) = (registry.clone(), log.clone());
        move || log.note(format!("{}", registry.live_now().find("job").is_some()))
    });
    let job = ctx.task("job").spawn(async move { drop(on_drop) });
    in_time(job).await.unwrap();
    let on_drop = OnDrop::new({
        let (registry, log) = (registry.clone(), log.clone());
        move || log.note(format!("{}", registry.live_now().find("job").is_some()))
    });
    let job = ctx.task("job").spawn(async move {
        let _on_drop = on_drop;
        std::future::pending::<()>().await;
    });
    settle().await;
    job.abort();
    let _ = in_time(job).await;
    assert_eq!(log.all(), ["true", "true"]);
}

/// I6
#[tokio::test]
async fn no_value_of_a_task_outlives_it() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    // Captured state goes with the future, an unclaimed output with the task.
    let (captured, output) = (counter.guard(), counter.guard());
    let task = ctx.spawn(async move {
        let _captured = captured;
        output
    });
    settle().await;
    assert!(task.is_finished());
    assert_eq!(counter.dropped(), 1, "the output waits for its handle");
    drop(task);
    assert_eq!(counter.dropped(), 2);
    let output = counter.guard();
    drop(ctx.spawn(async move { output }));
    settle().await;
    assert_eq!(counter.dropped(), 3, "no handle can claim it");
}

/// I6: a claimed output belongs to its claimant alone.
#[tokio::test]
async fn a_claimed_output_is_dropped_once() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    let guard = counter.guard();
    let output = in_time(ctx.spawn(async move { guard })).await.unwrap();
    assert_eq!((counter.alive(), counter.dropped()), (1, 0));
    drop(output);
    assert_eq!((counter.alive(), counter.dropped()), (0, 1));
}

#[tokio::test]
async fn dropping_a_handle_detaches_it() {
    let ctx = Registry::new().context("ctx");
    let log = Log::default();
    drop(ctx.spawn({
        let log = log.clone();
        async move { log.note("ran") }
    }));
    settle().await;
    assert_eq!(log.all(), ["ran"]);
}

/// S14: aborting twice, or after the end, does nothing.
#[tokio::test]
async fn abort_is_idempotent_and_late_aborts_do_nothing() {
    let ctx = Registry::new().context("ctx");
    let task = ctx.spawn(std::future::pending::<()>());
    task.abort();
    task.abort();
    assert!(matches!(in_time(task).await, Err(TaskError::Aborted)));
    let task = ctx.spawn(async { 1 });
    settle().await;
    task.abort();
    assert_eq!(in_time(task).await.unwrap(), 1);
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (1, 1));
}

/// S14: what is aborted before it starts never runs, a closure no more than a future.
#[test]
fn what_is_aborted_before_it_starts_never_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ctx, log) = (Registry::new().context("ctx"), Log::default());
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let first = ctx.spawn_blocking(move || wait.recv());
        let (in_closure, in_future) = (log.clone(), log.clone());
        let queued = ctx.spawn_blocking(move || in_closure.note("closure"));
        let future = ctx.spawn(async move { in_future.note("future") });
        queued.abort();
        future.abort();
        let_go.send(()).unwrap();
        assert!(matches!(in_time(future).await, Err(TaskError::Aborted)));
        assert!(matches!(in_time(queued).await, Err(TaskError::Aborted)));
        assert!(in_time(first).await.unwrap().is_ok());
        assert!(log.all().is_empty(), "{:?}", log.all());
        assert_eq!(in_time(ctx.close()).await.aborted(), 2);
    });
}

/// S14: a task that is aborted while it runs ends at its next wait, also if it is the task itself that does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_aborted_while_it_runs_ends_at_its_next_wait() {
    let ctx = Registry::new().context("ctx");
    let (say, said) = std::sync::mpsc::channel();
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let task = ctx.spawn(async move {
        say.send(()).unwrap();
        wait.recv().unwrap();
        std::future::pending::<()>().await;
    });
    said.recv().unwrap();
    task.abort();
    assert!(!task.is_finished());
    let_go.send(()).unwrap();
    assert!(matches!(in_time(task).await, Err(TaskError::Aborted)));

    let (hand_over, handed) = oneshot::channel::<Task<()>>();
    let (finish, finished) = oneshot::channel::<()>();
    let itself = ctx.spawn(async move {
        handed.await.unwrap().abort();
        let _finish = finish;
        std::future::pending::<()>().await;
    });
    hand_over.send(itself).unwrap();
    assert!(in_time(finished).await.is_err());
    assert_eq!(in_time(ctx.close()).await.aborted(), 2);
}

/// S14
#[tokio::test]
async fn a_task_that_replaces_another_aborts_it() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    let search = |guard| {
        let task = ctx.task("search").slot("search");
        task.on_conflict(OnConflict::Replace).spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        })
    };
    let bystander = ctx.task("search").spawn(std::future::pending::<()>());
    let first = search(counter.guard());
    settle().await;
    let second = search(counter.guard());
    assert!(matches!(in_time(first).await, Err(TaskError::Aborted)));
    settle().await;
    assert_eq!(
        (
            counter.alive(),
            second.is_finished(),
            bystander.is_finished()
        ),
        (1, false, false)
    );
    // One that has ended is not replaced, and nothing of it is kept.
    second.abort();
    let _ = in_time(second).await;
    let third = ctx.task("search").slot("search");
    let third = third.on_conflict(OnConflict::Replace).spawn(async { 3 });
    assert_eq!(in_time(third).await.unwrap(), 3);
    bystander.abort();
    assert_eq!(in_time(ctx.close()).await.aborted(), 3);
}

/// I12
#[tokio::test]
async fn a_panic_reaches_the_handle_with_payload_and_message() {
    let ctx = Registry::new().context("ctx");
    let number = std::hint::black_box(7);
    let error = in_time(ctx.spawn(async move { panic!("number {number}") }))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: number 7");
    let payload = error.try_into_panic().unwrap();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "number 7");
    let error = in_time(ctx.spawn(async { std::panic::panic_any(7_u8) }))
        .await
        .unwrap_err();
    assert_eq!(
        *error.try_into_panic().unwrap().downcast::<u8>().unwrap(),
        7
    );
    let error = in_time(ctx.spawn_blocking(|| panic!("blocking")))
        .await
        .unwrap_err();
    assert!(matches!(&error, TaskError::Panicked(_, message) if message == "blocking"));
    assert!(ctx.spawn(async {}).await.is_ok());
    assert_eq!(in_time(ctx.close()).await.panicked(), 3);
}

/// I12: a panic in a destructor is a panic of the task.
#[tokio::test]
async fn a_panic_in_a_destructor_reaches_the_handle() {
    let ctx = Registry::new().context("ctx");
    let bomb = || OnDrop::new(|| panic!("destructor"));
    let task = {
        let bomb = bomb();
        ctx.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        })
    };
    settle().await;
    task.abort();
    assert!(
        matches!(in_time(task).await, Err(TaskError::Panicked(_, message)) if message == "destructor")
    );
    // An output that no handle claims panics where no caller sees it.
    let bomb = bomb();
    drop(ctx.spawn(async move { bomb }));
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.panicked()), (1, 1));
}

#[tokio::test]
async fn a_cancellable_task_is_dropped_when_its_context_closes() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    let guard = counter.guard();
    let task = ctx.task("poller").cancellable().spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    let done = ctx.task("done").cancellable().spawn(async { 1 });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert!(matches!(task.await, Err(TaskError::Cancelled)));
    assert_eq!(done.await.unwrap(), 1);
    assert_eq!(
        (
            counter.alive(),
            report.cancelled(),
            report.finished(),
            report.is_clean()
        ),
        (0, 1, 1, true)
    );
}

#[tokio::test]
async fn an_unnamed_task_is_named_after_its_future() {
    async fn poller() {
        std::future::pending::<()>().await;
    }
    let ctx = Registry::new().context("ctx");
    let named = ctx.spawn(poller());
    assert!(
        named.name().ends_with("::poller") && !named.name().ends_with('}'),
        "{}",
        named.name()
    );
    let block = ctx.spawn(std::future::pending::<()>());
    assert_eq!(block.name(), "core::future::pending::Pending<()>");
    drop((named, block));
    in_time(Registry::new().close()).await;
}

#[tokio::test]
async fn a_task_reports_where_it_was_spawned() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let line = line!() + 1;
    let plain = ctx.spawn(std::future::pending::<()>());
    let built = ctx.task("built").spawn(std::future::pending::<()>());
    let tried = ctx.try_spawn(std::future::pending::<()>()).unwrap();
    let blocking = ctx.spawn_blocking(|| std::thread::sleep(Duration::from_millis(50)));
    let wrapped = ctx.wrap(std::future::pending::<()>());
    let live = registry.live().await.tasks();
    let lines: Vec<_> = live
        .iter()
        .map(|task| (task.location().file(), task.location().line()))
        .collect();
    let here = |n| (file!(), line + n);
    assert_eq!(lines, [here(0), here(1), here(2), here(3), here(4)]);
    drop((plain, built, tried, blocking, wrapped));
}

/// S15, and the blocking pool: a closure that has not started can be aborted, one that has cannot.
#[test]
fn a_started_blocking_task_is_awaited_and_a_waiting_one_is_dropped() {
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let counter = Counter::default();
    rt.block_on(async {
        let registry = Registry::new();
        let ctx = registry
            .context_builder("ctx")
            .grace(Duration::from_millis(10))
            .open();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let started = ctx
            .task("started")
            .spawn_blocking(move || gone.recv().is_ok());
        while registry.live_now().find("started").unwrap().state() != State::Running {
            tokio::task::yield_now().await;
        }
        let guard = counter.guard();
        let waiting = ctx.task("waiting").spawn_blocking(move || drop(guard));
        let still = in_time(ctx.close_within(Duration::from_millis(100)))
            .await
            .unwrap_err();
        let said = still.to_string();
        assert!(
            said.contains("started (blocking running") && said.contains("cannot be aborted"),
            "{said}"
        );
        // tokio drops it when a thread gets to it.
        go.send(()).unwrap();
        assert!(matches!(in_time(waiting).await, Err(TaskError::Aborted)));
        assert_eq!(counter.dropped(), 1);
        let report = in_time(ctx.close()).await;
        assert!(started.await.unwrap());
        assert_eq!((report.finished(), report.aborted()), (1, 1));
    });
}

#[tokio::test]
async fn a_spawn_uses_the_runtime_it_is_told_to() {
    let other = crate::util::multi_thread(1);
    let ctx = Registry::new().context("ctx");
    let id = |handle: &tokio::runtime::Handle| handle.id();
    let here = in_time(ctx.spawn(async { tokio::runtime::Handle::current().id() }))
        .await
        .unwrap();
    let there = ctx
        .task("there")
        .on(other.handle())
        .spawn(async { tokio::runtime::Handle::current().id() });
    assert_eq!(here, id(&tokio::runtime::Handle::current()));
    assert_eq!(in_time(there).await.unwrap(), id(other.handle()));
    in_time(ctx.close()).await;
    other.shutdown_background();
}

#[tokio::test]
async fn a_task_handle_wakes_its_latest_waker_and_lets_go_of_it() {
    let ctx = Registry::new().context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    let mut task = ctx.spawn(async move { finished.await });
    let (first, second) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    for wakes in [&first, &second] {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(
            pin!(&mut task)
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(Arc::strong_count(&first), 1, "a replaced waker is let go");
    finish.send(()).unwrap();
    settle().await;
    assert_eq!((first.count(), second.count()), (0, 1));
    drop(task);
    assert_eq!(Arc::strong_count(&second), 1);
}

#[tokio::test]
#[should_panic(expected = "polled again")]
async fn a_task_polled_again_after_its_result_panics() {
    let ctx = Registry::new().context("ctx");
    let mut task = ctx.spawn(async {});
    (&mut task).await.unwrap();
    let _ = poll_once(pin!(task));
}

/// Local tasks move only while their `LocalSet` is polled; dropping the set ends them.
#[tokio::test]
async fn local_tasks_end_with_their_local_set() {
    let counter = Counter::default();
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::from_millis(5))
        .open();
    let local = LocalSet::new();
    let task: Task<()> = local
        .run_until(async {
            let guard = counter.guard();
            let task = ctx.spawn_local(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
            task
        })
        .await;
    assert!(ctx.close_within(Duration::from_millis(50)).await.is_err());
    assert_eq!(counter.alive(), 1);
    drop(local);
    assert_eq!(in_time(ctx.close()).await.aborted(), 1);
    assert_eq!(counter.alive(), 0);
    assert!(matches!(task.await, Err(TaskError::Aborted)));
}

/// A local task that is aborted by the close ends as soon as its set is polled.
#[tokio::test(start_paused = true)]
async fn local_tasks_are_drained_inside_their_set() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::from_millis(5))
        .open();
    LocalSet::new()
        .run_until(async {
            drop(ctx.spawn_local(std::future::pending::<()>()));
            drop(
                ctx.task("cancellable")
                    .cancellable()
                    .spawn_local(std::future::pending::<()>()),
            );
            let report = in_time(ctx.close()).await;
            assert_eq!((report.aborted(), report.cancelled()), (1, 1));
        })
        .await;
}
