//! What can be done with the handle of a task, besides awaiting it.

use crate::util::{Counter, OnDrop, Wakes, in_time, multi_thread, paused, poll_once, settle};
use futures::FutureExt;
use headcount::{AbortHandle, Context, Registry, StartError, Task, TaskError};
use std::{
    future::pending,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::Waker,
    time::Duration,
};
use tokio::sync::oneshot;

fn context() -> Context {
    Registry::new().context("ctx")
}

/// Awaits many finished tasks in a row, and says how often another task ran meanwhile.
async fn runs_beside(tasks: Vec<Task<()>>, wait: impl AsyncFn(Task<()>) + Send + 'static) -> usize {
    settle().await;
    assert!(tasks.iter().all(Task::is_finished));
    let (runs, is_done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let other = tokio::spawn({
        let (runs, is_done) = (Arc::clone(&runs), Arc::clone(&is_done));
        async move {
            while !is_done.load(SeqCst) {
                runs.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    for task in tasks {
        wait(task).await;
    }
    is_done.store(true, SeqCst);
    in_time(other).await.unwrap();
    runs.load(SeqCst)
}

/// A task that awaits one finished task after the other lets others run now and then, also if they were refused.
#[tokio::test]
async fn awaiting_many_finished_tasks_yields() {
    let ctx = context();
    let many = |ctx: &Context| (0..1_024).map(|_| ctx.spawn(async {})).collect::<Vec<_>>();
    let finished = many(&ctx);
    let watched = many(&ctx);
    let bound = many(&ctx);
    assert!(runs_beside(finished, async |task| drop(task.await)).await >= 4);
    assert!(runs_beside(watched, async |task| task.finished().await).await >= 4);
    assert!(runs_beside(bound, async |task| drop(task.abort_on_drop().await)).await >= 4);
    in_time(ctx.close()).await;
    let refused = many(&ctx);
    assert!(runs_beside(refused, async |task| drop(task.await)).await >= 4);
    let refused = many(&ctx);
    assert!(runs_beside(refused, async |task| task.finished().await).await >= 4);
}

#[tokio::test]
async fn an_abort_handle_ends_the_task_and_claims_nothing() {
    let ctx = context();
    let counter = Counter::default();
    let guard = counter.guard();
    let task = ctx.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let (first, second) = (task.abort_handle(), task.abort_handle().clone());
    assert_eq!((first.id(), second.id()), (task.id(), task.id()));
    settle().await;
    assert!(!first.is_finished());
    second.abort();
    assert!(matches!(in_time(task).await, Err(TaskError::Aborted)));
    assert!(first.is_finished() && counter.alive() == 0);
    first.abort();
    assert_eq!(in_time(ctx.close()).await.aborted(), 1);
}

/// I6: an output that no handle can claim is dropped, though the task can still be aborted.
#[tokio::test]
async fn an_abort_handle_keeps_no_output_alive() {
    let ctx = context();
    let counter = Counter::default();
    let guard = counter.guard();
    let task = ctx.spawn(async move { guard });
    let handle = task.abort_handle();
    drop(task);
    settle().await;
    assert_eq!((counter.alive(), handle.is_finished()), (0, true));

    let guard = counter.guard();
    let task = ctx.spawn(async move { guard });
    let handle = task.abort_handle();
    settle().await;
    assert_eq!((counter.alive(), handle.is_finished()), (1, true));
    drop(task);
    assert_eq!(counter.alive(), 0);
}

/// Its slot may be another task's by then, and that is left alone.
#[tokio::test]
async fn an_abort_handle_of_a_task_that_has_ended_aborts_no_other() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let handles: Vec<AbortHandle> = (0..64)
        .map(|_| ctx.spawn(async {}).abort_handle())
        .collect();
    settle().await;
    let tasks: Vec<_> = (0..64).map(|_| ctx.spawn(pending::<()>())).collect();
    settle().await;
    for handle in &handles {
        handle.abort();
    }
    settle().await;
    assert!(tasks.iter().all(|task| !task.is_finished()));
    assert!(handles.iter().all(AbortHandle::is_finished));
    for task in &tasks {
        task.abort();
    }
    in_time(ctx.close()).await;
    // It outlives its context and its registry.
    drop((ctx, registry));
    for handle in &handles {
        handle.abort();
        assert!(handle.is_finished());
    }
}

#[tokio::test]
async fn an_abort_handle_of_a_refused_task_does_nothing() {
    let ctx = context();
    in_time(ctx.close()).await;
    let task = ctx.spawn(async {});
    let handle = task.abort_handle();
    handle.abort();
    assert!(handle.is_finished());
    assert_eq!(handle.id().to_string(), "#refused");
    assert_eq!(format!("{handle:?}").matches("#refused").count(), 1);
}

#[tokio::test]
async fn a_task_is_aborted_when_it_is_dropped_unless_it_is_detached() {
    let ctx = context();
    let bound = ctx.spawn(pending::<()>()).abort_on_drop();
    assert!(!bound.is_finished());
    drop(bound);
    let detached = ctx.spawn(async { 1 }).abort_on_drop().detach();
    assert_eq!(in_time(detached).await.unwrap(), 1);
    let mut awaited = ctx.spawn(async { 2 }).abort_on_drop();
    assert!(poll_once(Pin::new(&mut awaited)).is_pending());
    assert_eq!(in_time(&mut awaited).await.unwrap(), 2);
    drop(awaited);
    let finished = ctx.spawn(async { 3 }).abort_on_drop();
    in_time(finished.finished()).await;
    drop(finished);
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (3, 1));
}

#[tokio::test]
async fn several_wait_for_the_end_of_a_task_and_its_output_stays() {
    let ctx = context();
    let (finish, finished) = oneshot::channel();
    let mut task = ctx.spawn(async move { finished.await.unwrap() });
    // The handle itself has waited before.
    assert!(poll_once(Pin::new(&mut task)).is_pending());
    let wakes = [(); 3].map(|()| Arc::new(Wakes::default()));
    let [first, second, dropped] = &wakes;
    {
        let waits = [first, second, dropped].map(|wakes| {
            let mut wait = Box::pin(task.finished());
            let waker = Waker::from(Arc::clone(wakes));
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(wait.poll_unpin(&mut cx).is_pending());
            assert!(wait.poll_unpin(&mut cx).is_pending());
            wait
        });
        let [first_wait, second_wait, dropped_wait] = waits;
        drop(dropped_wait);
        assert_eq!(Arc::strong_count(dropped), 1, "its waker is gone");
        finish.send(7).unwrap();
        in_time(first_wait).await;
        assert!(poll_once(pin!(second_wait)).is_ready());
    }
    let woken = wakes.each_ref().map(|wakes| wakes.count());
    assert_eq!((woken[1], woken[2]), (1, 0), "{woken:?}");
    assert!(task.is_finished());
    in_time(task.finished()).await;
    assert_eq!(in_time(&mut task).await.unwrap(), 7);
    // Also when the output is taken.
    in_time(task.finished()).await;
}

/// A waiter whose waker panics concerns none of the others.
#[tokio::test]
async fn one_that_waits_is_woken_though_the_waker_of_another_panics() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let ctx = context();
    let task = ctx.spawn(tokio::task::yield_now());
    let (mut first, mut second) = (Box::pin(task.finished()), Box::pin(task.finished()));
    let (panics, wakes) = (Waker::from(Arc::new(Panics)), Arc::new(Wakes::default()));
    let counts = Waker::from(Arc::clone(&wakes));
    let mut cx = std::task::Context::from_waker(&panics);
    assert!(first.poll_unpin(&mut cx).is_pending());
    let mut cx = std::task::Context::from_waker(&counts);
    assert!(second.poll_unpin(&mut cx).is_pending());
    in_time(ctx.close()).await;
    assert_eq!(wakes.count(), 1);
    in_time(async { tokio::join!(first, second) }).await;
}

/// On real threads: none that waits is forgotten, whenever it came.
#[test]
fn waiting_for_the_end_races_with_the_end() {
    multi_thread(2).block_on(async {
        let ctx = context();
        for _ in 0..2_000 {
            let task = Arc::new(ctx.spawn(tokio::task::yield_now()));
            let waits = [(); 2].map(|()| {
                let task = Arc::clone(&task);
                tokio::spawn(async move {
                    task.finished().await;
                    assert!(task.is_finished());
                })
            });
            for wait in waits {
                in_time(wait).await.unwrap();
            }
            let task = Arc::into_inner(task).unwrap();
            in_time(task).await.unwrap();
        }
        assert!(in_time(ctx.close()).await.is_clean());
    });
}

#[tokio::test]
async fn a_task_is_shared() {
    let ctx = context();
    let shared = ctx.spawn(async { 42 }).shared();
    let (first, second) = in_time(async { tokio::join!(shared.clone(), shared) }).await;
    assert_eq!((first.unwrap(), second.unwrap()), (42, 42));

    let shared = ctx
        .task("forever")
        .cancellable()
        .spawn(pending::<()>())
        .shared();
    let other = shared.clone();
    ctx.request_close("enough");
    let (first, second) = in_time(async { tokio::join!(other, shared) }).await;
    assert!(matches!(first, Err(TaskError::Cancelled)));
    assert!(matches!(second, Err(TaskError::Cancelled)));
}

#[tokio::test]
async fn the_first_to_ask_gets_the_payload_and_the_others_the_message() {
    let ctx = context();
    let panics = async { std::panic::panic_any(7_u8) };
    let shared = ctx
        .task("seven")
        .spawn(panics)
        .map(|result: Result<(), _>| result)
        .shared();
    let (first, second) = in_time(async { tokio::join!(shared.clone(), shared) }).await;
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    let message = "a panic whose payload is no string";
    assert_eq!(
        (first.message(), second.message()),
        (Some(message), Some(message))
    );
    assert_eq!(
        (first.task_name(), second.task_name()),
        (Some("seven"), Some("seven"))
    );
    assert_eq!(*second.into_panic().downcast::<u8>().unwrap(), 7);
    let late = first.clone().into_panic();
    assert_eq!(late.downcast_ref::<String>().unwrap(), message);
    assert_eq!(
        first
            .try_into_panic()
            .unwrap()
            .downcast_ref::<String>()
            .unwrap(),
        message
    );
    assert_eq!(in_time(ctx.close()).await.panicked(), 1);
}

#[tokio::test]
async fn an_error_that_is_no_panic_has_no_payload_and_no_name() {
    let ctx = context();
    let task = ctx.spawn(pending::<()>());
    task.abort();
    let error = in_time(task).await.unwrap_err();
    assert_eq!((error.message(), error.task_name()), (None, None));
    let error = error.try_into_panic().unwrap_err();
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.into_panic()));
    let said = payload.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("the task was aborted"), "{said}");
}

/// A name cannot spoil a terminal.
#[tokio::test]
async fn the_name_of_a_task_that_panicked_is_printed_on_one_line() {
    let ctx = context();
    let task = ctx.task("a\nb").spawn(async { panic!("on purpose") });
    let error = in_time(task).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "the task a\\nb panicked: on purpose");
    assert_eq!(error.to_string(), "the task panicked: on purpose");
    let closure = ctx.task("closure").spawn_blocking(|| panic!("on purpose"));
    assert_eq!(
        in_time(closure).await.unwrap_err().task_name(),
        Some("closure")
    );
}

#[test]
fn a_task_ends_at_its_deadline() {
    paused().block_on(async {
        let ctx = context();
        let counter = Counter::default();
        let guard = counter.guard();
        let late = ctx.task("late").deadline(Duration::from_secs(60));
        let late = late.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let in_time_for_it = ctx.task("early").deadline(Duration::from_secs(60));
        let in_time_for_it = in_time_for_it.spawn(async {
            tokio::time::sleep(Duration::from_secs(59)).await;
            1
        });
        tokio::time::sleep(Duration::from_millis(59_500)).await;
        assert_eq!((counter.alive(), late.is_finished()), (1, false));
        assert!(matches!(late.await, Err(TaskError::TimedOut)));
        assert_eq!(counter.alive(), 0);
        assert_eq!(in_time_for_it.await.unwrap(), 1);
        let report = ctx.close().await;
        assert_eq!((report.finished(), report.cancelled()), (1, 1));
        assert!(report.is_clean());
    });
}

#[tokio::test]
async fn a_deadline_of_zero_lets_a_task_run_to_its_first_wait() {
    let ctx = context();
    let zero = || ctx.task("zero").deadline(Duration::ZERO);
    assert_eq!(in_time(zero().spawn(async { 1 })).await.unwrap(), 1);
    let waits = in_time(zero().spawn(pending::<()>())).await;
    assert!(matches!(waits, Err(TaskError::TimedOut)));
    let closure = in_time(zero().spawn_blocking(|| 2)).await;
    assert_eq!(closure.unwrap(), 2, "no effect on closures");
    let wrapped = in_time(zero().wrap(tokio::task::yield_now())).await;
    assert!(wrapped.is_ok(), "nor on wrapped futures");
    let never = ctx.task("never").deadline(Duration::MAX).cancellable();
    let never = never.spawn(pending::<()>());
    settle().await;
    assert!(!never.is_finished());
    in_time(ctx.close()).await;
    assert!(matches!(never.await, Err(TaskError::Cancelled)));
}

/// What comes first counts, also of a task that is cancellable as well.
#[tokio::test]
async fn a_destructor_that_panics_at_the_deadline_is_a_panic() {
    let ctx = context();
    let bomb = OnDrop::new(|| panic!("destructor"));
    let late = ctx
        .task("late")
        .cancellable()
        .deadline(Duration::from_millis(1));
    let late = late.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    let error = in_time(late).await.unwrap_err();
    assert_eq!(error.message(), Some("destructor"));
    assert_eq!(in_time(ctx.close()).await.panicked(), 1);
}

#[tokio::test]
async fn a_task_knows_its_own_id_and_name() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    assert!(Context::current_task().is_none());
    let task = ctx.task("poller").kind("job").spawn({
        let registry = registry.clone();
        async move { registry.scope(async { Context::current_task() }).await }
    });
    let id = task.id();
    let itself = in_time(task).await.unwrap().unwrap();
    assert_eq!(
        (itself.id(), itself.name(), itself.kind()),
        (id, "poller", "job")
    );
    assert!(itself.location().file().ends_with("task_handles.rs"));
    assert_eq!(itself.to_string(), format!("poller {id}"));
    let closure = ctx.task("closure").spawn_blocking(Context::current_task);
    assert_eq!(in_time(closure).await.unwrap().unwrap().name(), "closure");
    let wrapped = ctx.task("wrapped").wrap(async { Context::current_task() });
    assert_eq!(in_time(wrapped).await.unwrap().unwrap().name(), "wrapped");
    let (give, take) = oneshot::channel();
    ctx.on_close(|| async { give.send(Context::current_task()).unwrap() })
        .unwrap();
    in_time(ctx.close()).await;
    assert!(take.await.unwrap().is_none());
}

#[tokio::test]
async fn a_task_says_when_it_is_ready() {
    let ctx = context();
    let (finish, finished) = oneshot::channel();
    let start = ctx.task("server").start(|ready| async move {
        tokio::task::yield_now().await;
        ready.set("address");
        finished.await.unwrap()
    });
    let (task, address) = in_time(start).await.unwrap();
    assert_eq!(
        (task.name(), address, task.is_finished()),
        ("server", "address", false)
    );
    finish.send(7).unwrap();
    assert_eq!(in_time(task).await.unwrap(), 7);
    // It is ready and has ended in one breath.
    let start = ctx
        .task("quick")
        .start(async |ready: headcount::ReadySender<_>| {
            ready.set(1);
            2
        });
    let (task, value) = in_time(start).await.unwrap();
    assert_eq!((value, in_time(task).await.unwrap()), (1, 2));
    assert!(in_time(ctx.close()).await.is_clean());
}

#[tokio::test]
async fn a_task_that_ends_before_it_is_ready_is_an_error() {
    type Sender = headcount::ReadySender<()>;
    let ctx = context();
    let start = ctx.task("ends").start(|ready: Sender| async move {
        drop(ready);
        tokio::task::yield_now().await;
        "no port"
    });
    let error = in_time(start).await.unwrap_err();
    assert_eq!(error.to_string(), "the task returned before it was ready");
    assert_eq!(format!("{error:?}"), "Ended(..)");
    assert!(matches!(error, StartError::Ended("no port")));

    let start = ctx
        .task("panics")
        .start(|_ready: Sender| async { panic!("no port") });
    let error: StartError<()> = in_time(start).await.unwrap_err();
    let said = "the task did not become ready: the task panicked: no port";
    assert_eq!(error.to_string(), said);

    // Another has the sender, and keeps it.
    let (give, take) = oneshot::channel();
    let start = ctx
        .task("hands over")
        .start(|ready: Sender| async { give.send(ready).ok() });
    let error = in_time(start).await.unwrap_err();
    assert!(matches!(error, StartError::Ended(Some(()))));
    take.await.unwrap().set(());

    let deadline = ctx.task("late").deadline(Duration::from_millis(1));
    let start = deadline.start(|ready: Sender| async move {
        let _ready = ready;
        pending::<()>().await;
    });
    let error = in_time(start).await.unwrap_err();
    assert!(matches!(error, StartError::Failed(TaskError::TimedOut)));

    in_time(ctx.close()).await;
    let start = ctx
        .task("refused")
        .start(|ready: Sender| async move { ready.set(()) });
    let error = in_time(start).await.unwrap_err();
    assert!(matches!(error, StartError::Failed(TaskError::Refused)));
}

/// No other code has its handle, so nothing could end it any more.
#[tokio::test]
async fn a_task_whose_start_is_given_up_is_aborted() {
    let ctx = context();
    let start = ctx
        .task("server")
        .start(|ready: headcount::ReadySender<()>| async move {
            let _ready = ready;
            pending::<()>().await;
        });
    let mut start = Box::pin(start);
    assert!(poll_once(start.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(start.as_mut()).is_pending());
    drop(start);
    drop(
        ctx.task("unpolled")
            .start(|_: headcount::ReadySender<()>| pending::<()>()),
    );
    assert_eq!(in_time(ctx.close()).await.aborted(), 2);
}
