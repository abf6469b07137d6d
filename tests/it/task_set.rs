//! Sets of tasks that are joined in the order in which they end.

use crate::util::{
    Counter, OnDrop, Wakes, current_thread, in_time, multi_thread, poll_once, settle,
};
use headcount::{Context, Registry, TaskError, TaskSet};
use std::{
    future::pending,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{self, Poll, Wake, Waker},
    time::Duration,
};
use tokio::{sync::oneshot, task::LocalSet};

fn context() -> Context {
    Registry::new().context("ctx")
}

#[tokio::test]
async fn tasks_are_joined_in_the_order_in_which_they_end() {
    let ctx = context();
    let mut set = ctx.join_set();
    let mut finish: Vec<_> = (0..4)
        .map(|n| {
            let (finish, finished) = oneshot::channel::<()>();
            set.spawn(async move {
                finished.await.unwrap();
                n
            });
            Some(finish)
        })
        .collect();
    // Nothing was joined so far, and so nothing was polled: the order is that of the ends all the same.
    for n in [2, 0, 3, 1] {
        finish[n].take().unwrap().send(()).unwrap();
        settle().await;
    }
    // It had ended when it was added, after all others.
    let early = ctx.spawn(async { 4 });
    settle().await;
    set.insert(early);
    let mut joined = Vec::new();
    while let Some(result) = in_time(set.join_next()).await {
        joined.push(result.unwrap());
    }
    assert_eq!((joined, set.len()), (vec![2, 0, 3, 1, 4], 0));
    assert!(in_time(ctx.close()).await.is_clean());
}

#[tokio::test]
async fn a_set_holds_what_was_not_joined() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let mut set = ctx.join_set();
    assert!(set.is_empty() && set.try_join_next().is_none());
    assert!(in_time(set.join_next()).await.is_none());
    let first = set.spawn_named("first", async { 1 });
    let second = set.spawn_blocking(|| 2);
    let third = set.insert(ctx.task("third").kind("job").spawn(async { 3 }));
    let live = registry.live().await;
    let names = (live.find("first").is_some(), live.kind("job").len());
    assert_eq!((set.len(), names), (3, (true, 1)));
    let mut ids = Vec::new();
    while let Some((id, result)) = in_time(set.join_next_with_id()).await {
        ids.push((id, result.unwrap()));
    }
    ids.sort_by_key(|(_, output)| *output);
    assert_eq!(ids, [(first.id(), 1), (second.id(), 2), (third.id(), 3)]);
    set.spawn(async { 4 });
    settle().await;
    assert_eq!(set.try_join_next().unwrap().unwrap(), 4);
    assert!(set.try_join_next().is_none() && set.is_empty());
}

#[tokio::test]
async fn a_set_that_is_dropped_aborts_its_tasks() {
    let ctx = context();
    let counter = Counter::default();
    let mut set = ctx.join_set();
    for _ in 0..3 {
        let guard = counter.guard();
        set.spawn(async move {
            pending::<()>().await;
            guard
        });
    }
    let guard = counter.guard();
    set.spawn(async move { guard });
    settle().await;
    drop(set);
    settle().await;
    assert_eq!(counter.alive(), 0);
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (1, 3));
}

#[tokio::test]
async fn tasks_that_are_detached_run_on() {
    let ctx = context();
    let counter = Counter::default();
    let mut set = ctx.join_set();
    let (finish, finished) = oneshot::channel::<()>();
    let guard = counter.guard();
    set.spawn(async move {
        finished.await.unwrap();
        guard
    });
    let guard = counter.guard();
    set.spawn(async move { guard });
    settle().await;
    set.detach_all();
    assert_eq!(
        (set.len(), counter.alive()),
        (0, 1),
        "the output is dropped"
    );
    // What is spawned next has the place of one that runs on.
    let guard = counter.guard();
    set.spawn(async move {
        pending::<()>().await;
        guard
    });
    finish.send(()).unwrap();
    settle().await;
    assert_eq!(counter.alive(), 1);
    assert!(set.try_join_next().is_none());
    in_time(set.shutdown()).await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (2, 1));
}

#[tokio::test]
async fn a_set_is_shut_down() {
    let ctx = context();
    let counter = Counter::default();
    let mut set = ctx.join_set();
    for n in 0..4 {
        let guard = counter.guard();
        set.spawn(async move {
            let _guard = guard;
            assert!(n > 0, "on purpose");
            pending::<()>().await;
        });
    }
    settle().await;
    set.abort_all();
    assert_eq!(set.len(), 4);
    in_time(set.shutdown()).await;
    assert_eq!((set.len(), counter.alive()), (0, 0));
    let report = in_time(ctx.close()).await;
    assert_eq!((report.panicked(), report.aborted()), (1, 3));
}

#[tokio::test]
async fn all_are_joined_in_the_order_in_which_they_end() {
    let ctx = context();
    let mut set = ctx.join_set();
    let (finish, finished) = oneshot::channel::<()>();
    set.spawn(async move {
        finished.await.unwrap();
        "late"
    });
    set.spawn(async move {
        finish.send(()).unwrap();
        "early"
    });
    assert_eq!(in_time(set.join_all()).await, ["early", "late"]);
    assert!(in_time(ctx.join_set::<()>().join_all()).await.is_empty());
}

#[tokio::test]
async fn joining_all_panics_with_the_first_task_without_an_output() {
    async fn panic_of(set: TaskSet<()>) -> String {
        let joined = tokio::spawn(set.join_all());
        let panic = in_time(joined).await.unwrap_err().into_panic();
        match panic.downcast::<String>() {
            Ok(said) => *said,
            Err(panic) => (*panic.downcast::<&'static str>().unwrap()).to_owned(),
        }
    }
    let ctx = context();
    let mut set = ctx.join_set();
    set.spawn(async { panic!("on purpose") });
    set.spawn(pending());
    assert_eq!(panic_of(set).await, "on purpose");
    let mut set = ctx.join_set();
    set.spawn(pending()).abort();
    assert!(panic_of(set).await.ends_with("the task was aborted"));
    let report = in_time(ctx.close()).await;
    assert_eq!((report.panicked(), report.aborted()), (1, 2));
}

/// I1: the tasks are the context's.
#[tokio::test]
async fn the_close_awaits_the_tasks_of_a_set_and_the_set_stays_usable() {
    let ctx = context();
    let mut set = ctx.join_set();
    let weak = ctx.downgrade();
    set.spawn(async move {
        weak.cancelled().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        1
    });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), set.len()), (1, 1));
    assert!(set.spawn(async { 2 }).is_finished());
    assert_eq!(in_time(set.join_next()).await.unwrap().unwrap(), 1);
    let refused = in_time(set.join_next()).await.unwrap();
    assert!(matches!(refused, Err(TaskError::Refused)));
    // The context is gone.
    drop(ctx);
    settle().await;
    set.spawn(async { 3 });
    let refused = set.try_join_next().unwrap();
    assert!(matches!(refused, Err(TaskError::Refused)));
    assert!(in_time(set.join_next()).await.is_none());
}

/// I3
#[tokio::test]
async fn a_set_does_not_keep_its_context_open() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let mut set = weak.join_set();
    set.spawn(pending::<()>());
    assert_eq!(ctx.holders().strong_count(), 1);
    drop(ctx);
    assert!(weak.is_cancelled());
    set.abort_all();
    in_time(weak.closed()).await;
    assert!(matches!(
        in_time(set.join_next()).await,
        Some(Err(TaskError::Aborted))
    ));
}

#[test]
fn a_set_outlives_its_runtime() {
    let runtime = current_thread();
    let (ctx, mut set) = runtime.block_on(async {
        let ctx = context();
        let mut set = ctx.join_set();
        set.spawn(pending::<()>());
        set.spawn(async {});
        settle().await;
        (ctx, set)
    });
    drop(runtime);
    let other = current_thread();
    other.block_on(async {
        let mut ends = Vec::new();
        while let Some(result) = in_time(set.join_next()).await {
            ends.push(result.map_err(|error| matches!(error, TaskError::Aborted)));
        }
        assert_eq!(ends, [Ok(()), Err(true)]);
        in_time(ctx.close()).await;
    });
}

#[tokio::test]
async fn local_tasks_are_joined_as_well() {
    let ctx = context();
    let local = LocalSet::new();
    let joined = local.run_until(async {
        let mut set = ctx.join_set();
        set.spawn_local(async { Rc::new(1) });
        set.spawn_local(async { Rc::new(2) });
        set.join_all().await
    });
    let sum: i32 = in_time(joined).await.iter().map(|n| **n).sum();
    assert_eq!(sum, 3);
    in_time(ctx.close()).await;
}

/// Cancel safety, and: one that joins is woken once for one end.
#[tokio::test]
async fn dropping_a_join_loses_nothing() {
    let ctx = context();
    let mut set = ctx.join_set();
    let (finish, finished) = oneshot::channel::<()>();
    set.spawn(async move {
        finished.await.unwrap();
        7
    });
    settle().await;
    assert!(poll_once(pin!(set.join_next())).is_pending());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(set.poll_join_next(&mut cx).is_pending());
    finish.send(()).unwrap();
    settle().await;
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Some(result)) = set.poll_join_next(&mut cx) else {
        panic!("it has ended");
    };
    assert_eq!(result.unwrap(), 7);
    assert!(matches!(set.poll_join_next(&mut cx), Poll::Ready(None)));
}

/// An output whose destructor panics concerns none of the others.
#[tokio::test]
async fn a_set_is_dropped_though_an_output_panics() {
    let ctx = context();
    let counter = Counter::default();
    let mut set = ctx.join_set();
    for _ in 0..3 {
        let guard = counter.guard();
        set.spawn(async move {
            OnDrop::new(move || {
                drop(guard);
                panic!("on purpose")
            })
        });
    }
    settle().await;
    drop(set);
    assert_eq!(counter.alive(), 0);
    in_time(ctx.close()).await;
}

/// It takes part in tokio's budget: a loop over many ended tasks lets others run.
#[tokio::test]
async fn joining_many_yields() {
    let ctx = context();
    let mut set = ctx.join_set();
    for _ in 0..1_024 {
        set.spawn(async {});
    }
    settle().await;
    let joined = tokio::task::unconstrained(async { poll_once(pin!(set.join_next())) }).await;
    assert!(joined.is_ready());
    let mut all = pin!(set.join_all());
    let polls = tokio::spawn(async {});
    let mut pending = 0;
    std::future::poll_fn(|cx| {
        let polled = all.as_mut().poll(cx);
        pending += usize::from(polled.is_pending());
        polled.map(drop)
    })
    .await;
    assert!(pending >= 4, "{pending}");
    in_time(polls).await.unwrap();
}

#[test]
fn many_are_joined_while_they_end_on_other_threads() {
    multi_thread(2).block_on(async {
        let ctx = context();
        let mut set = ctx.join_set();
        let (mut sum, mut spawned) = (0, 0);
        for n in 0..10_000_u64 {
            spawned += n;
            set.spawn(async move { n });
            while let Some(result) = set.try_join_next() {
                sum += result.unwrap();
            }
        }
        while let Some(result) = in_time(set.join_next()).await {
            sum += result.unwrap();
        }
        assert_eq!(sum, spawned);
        assert_eq!(in_time(ctx.close()).await.finished(), 10_000);
    });
}

/// Panics when it wakes a task, or when it is dropped.
struct BadWaker {
    panics_in_wake: bool,
}

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        assert!(!self.panics_in_wake, "a waker that wakes");
    }
}

impl Drop for BadWaker {
    fn drop(&mut self) {
        assert!(self.panics_in_wake, "a waker that is dropped");
    }
}

/// They change nothing: neither is a task lost that was to be added, nor does the set panic.
#[tokio::test]
async fn wakers_of_who_joins_that_panic_concern_no_one_else() {
    for panics_in_wake in [true, false] {
        let ctx = context();
        let mut set = ctx.join_set();
        set.spawn(async { pending().await });
        let ended = ctx.spawn(async { 1 });
        settle().await;
        let waker = Waker::from(Arc::new(BadWaker { panics_in_wake }));
        assert!(
            set.poll_join_next(&mut task::Context::from_waker(&waker))
                .is_pending()
        );
        // Only the set has it from here on.
        drop(waker);
        set.insert(ended);
        assert_eq!((set.len(), set.try_join_next().unwrap().unwrap()), (2, 1));

        let waker = Waker::from(Arc::new(BadWaker { panics_in_wake }));
        assert!(
            set.poll_join_next(&mut task::Context::from_waker(&waker))
                .is_pending()
        );
        drop(waker);
        drop(set);
        in_time(ctx.close()).await;
    }
}
