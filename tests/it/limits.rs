//! Limits: how many are inside, who waits, and what becomes of them.

use crate::{
    limit_model,
    util::{
        Counter, Log, Notes, OnDrop, Wakes, current_thread, in_time, multi_thread, paused,
        poll_once, settle, within,
    },
};
use headcount::{
    AcquireError, Context, Limit, Permit, RefusedError, RefusedReason, Registry, State, Task,
    TaskError, leaks::LeakPolicy,
};
use std::{
    future::{pending, ready},
    panic::Location,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context as Cx, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use tokio::{sync::oneshot, time::sleep};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

fn ctx() -> Context {
    Registry::new().context("ctx")
}

/// The limit is full, and each of these waits, in this order.
fn full(limit: &Limit, waiting: usize) -> (Vec<Permit>, Vec<Boxed<Result<Permit, AcquireError>>>) {
    let permits = std::iter::from_fn(|| limit.try_acquire().ok()).collect();
    let waiters = (0..waiting).map(|_| {
        let mut waiter: Boxed<_> = Box::pin(limit.acquire());
        assert!(poll_once(waiter.as_mut()).is_pending());
        waiter
    });
    (permits, waiters.collect())
}

/// Which of those that wait have come in.
fn inside(waiters: &mut [Boxed<Result<Permit, AcquireError>>]) -> (Vec<usize>, Vec<Permit>) {
    let polled = waiters.iter_mut().enumerate();
    let inside = polled.filter_map(|(n, waiter)| match poll_once(waiter.as_mut()) {
        Poll::Ready(permit) => Some((n, permit.unwrap())),
        Poll::Pending => None,
    });
    inside.unzip()
}

/// What `usage` says: used, max, waiting.
fn usage(limit: &Limit) -> (usize, usize, usize) {
    let usage = limit.usage();
    (usage.used, usage.max, usage.waiting)
}

#[tokio::test]
async fn no_more_tasks_run_than_there_are_places() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 2);
    let (counter, most) = (Counter::default(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..20 {
        let (counter, most) = (counter.clone(), Arc::clone(&most));
        let job = async move {
            let _guard = counter.guard();
            most.fetch_max(counter.alive(), SeqCst);
            tokio::task::yield_now().await;
        };
        limit.spawn(job).await.unwrap();
    }
    ctx.idle().await;
    assert_eq!((counter.dropped(), most.load(SeqCst)), (20, 2));
}

#[tokio::test]
async fn a_spawn_waits_for_a_place_before_it_spawns() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (done, is_done) = oneshot::channel::<()>();
    limit.spawn(is_done).await.unwrap();
    let mut second = pin!(limit.spawn(async { 2 }));
    assert!(poll_once(second.as_mut()).is_pending());
    settle().await;
    assert_eq!(ctx.live().await.tasks().len(), 1);
    done.send(()).unwrap();
    assert_eq!(in_time(second).await.unwrap().await.unwrap(), 2);
}

/// Nothing is done before it is polled: not even a place in the queue.
#[tokio::test]
async fn a_spawn_that_is_not_polled_takes_no_place_and_does_not_queue() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let first = limit.spawn(async {});
    assert_eq!(usage(&limit), (0, 1, 0));
    let permit = limit.try_acquire().unwrap();
    let second = limit.acquire();
    assert_eq!(usage(&limit), (1, 1, 0));
    drop((first, second, permit));
}

#[test]
fn those_that_wait_come_in_in_order() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (mut permits, mut waiters) = full(&limit, 3);
    let mut came = Vec::new();
    while !waiters.is_empty() {
        permits.pop();
        let (in_now, more) = inside(&mut waiters);
        assert_eq!(in_now, [0]);
        drop(waiters.remove(0));
        came.extend(in_now);
        permits = more;
    }
    assert_eq!(came.len(), 3);
}

#[test]
fn one_that_comes_later_does_not_overtake_one_that_waits() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (permits, mut waiters) = full(&limit, 1);
    drop(permits);
    assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Full);
    let mut late = pin!(limit.acquire());
    assert!(poll_once(late.as_mut()).is_pending());
    assert_eq!(inside(&mut waiters).0, [0]);
}

#[test]
fn one_that_goes_from_the_middle_of_the_queue_does_not_disturb_the_order() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (permits, mut waiters) = full(&limit, 4);
    drop(waiters.remove(1));
    assert_eq!(usage(&limit), (1, 1, 3));
    drop(permits);
    let (came, permits) = inside(&mut waiters);
    assert_eq!(came, [0]);
    drop(waiters.remove(0));
    drop(permits);
    assert_eq!(inside(&mut waiters).0, [0]);
}

#[test]
fn a_place_that_was_given_to_one_that_goes_is_given_to_the_next() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (permits, mut waiters) = full(&limit, 2);
    drop(permits);
    assert_eq!(usage(&limit), (1, 1, 1));
    drop(waiters.remove(0));
    assert_eq!(usage(&limit), (1, 1, 0));
    assert_eq!(inside(&mut waiters).0, [0]);
}

#[test]
fn one_that_waits_is_woken_once_when_it_is_its_turn() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = limit.try_acquire().unwrap();
    let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
    let mut waiters: Vec<_> = wakes.iter().map(|_| Box::pin(limit.acquire())).collect();
    for (waiter, wakes) in waiters.iter_mut().zip(&wakes) {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(
            waiter
                .as_mut()
                .poll(&mut Cx::from_waker(&waker))
                .is_pending()
        );
    }
    drop(permit);
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [1, 0]);
    drop(waiters.remove(0));
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [1, 1]);
}

/// A future may be polled by another task than before.
#[test]
fn the_waker_that_was_seen_last_is_woken() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = limit.try_acquire().unwrap();
    let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
    let mut waiter = pin!(limit.acquire());
    for wakes in &wakes {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(
            waiter
                .as_mut()
                .poll(&mut Cx::from_waker(&waker))
                .is_pending()
        );
    }
    drop(permit);
    assert_eq!(wakes.each_ref().map(|wakes| wakes.count()), [0, 1]);
    // The other one is not kept.
    assert_eq!(Arc::strong_count(&wakes[0]), 1);
}

// The queue.

#[tokio::test]
async fn what_finds_the_queue_full_is_handed_back_at_once() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1).queue(1);
    let _full = full(&limit, 1);
    assert_eq!(
        in_time(limit.acquire()).await.unwrap_err(),
        AcquireError::Full
    );
    let refused = in_time(limit.spawn(ready(42))).await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Full);
    assert_eq!(refused.into_inner().await, 42);
    assert_eq!(limit.usage().to_string(), "1 of 1 used, 1 waiting");
}

#[tokio::test]
async fn with_a_queue_of_zero_nothing_waits() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1).queue(0);
    let task = limit.spawn(pending::<()>()).await.unwrap();
    assert_eq!(
        in_time(limit.spawn(async {})).await.unwrap_err().reason(),
        RefusedReason::Full
    );
    task.abort();
    assert!(task.await.is_err());
    assert!(limit.acquire().await.is_ok());
}

#[test]
fn the_queue_has_room_for_1024_unless_told() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 0);
    let (_, waiters) = full(&limit, 1_024);
    let mut late = pin!(limit.acquire());
    assert!(matches!(
        poll_once(late.as_mut()),
        Poll::Ready(Err(AcquireError::Full))
    ));
    assert_eq!((limit.usage().waiting, limit.usage().queue), (1_024, 1_024));
    drop(waiters);
}

#[test]
fn a_queue_that_is_made_shorter_keeps_those_that_wait() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (permits, mut waiters) = full(&limit, 3);
    let limit = limit.queue(1);
    assert_eq!(usage(&limit), (1, 1, 3));
    drop(permits);
    assert_eq!(inside(&mut waiters).0, [0]);
}

// Places of tasks.

fn is_free_again(limit: &Limit) {
    assert_eq!(limit.usage().used, 0);
    drop(limit.try_acquire().unwrap());
}

#[tokio::test]
async fn a_place_is_free_when_the_future_has_returned_though_its_output_is_not_taken() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let task = limit.try_spawn(async { 42 }).unwrap();
    task.finished().await;
    is_free_again(&limit);
    assert_eq!(task.await.unwrap(), 42);
}

#[tokio::test]
async fn a_place_is_free_when_the_task_was_aborted() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let task = limit.try_spawn(pending::<()>()).unwrap();
    settle().await;
    task.abort();
    // Not when the abort is asked for: when the future is dropped.
    assert_eq!(limit.usage().used, 1);
    assert!(matches!(task.await, Err(TaskError::Aborted)));
    is_free_again(&limit);
}

#[tokio::test]
async fn a_place_is_free_when_the_future_has_panicked() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let task = limit.try_spawn(async { panic!("on purpose") }).unwrap();
    assert!(task.await.unwrap_err().is_panic());
    is_free_again(&limit);
}

#[tokio::test]
async fn a_place_is_free_when_the_destructor_of_the_future_has_panicked() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let bad = OnDrop::new(|| panic!("on purpose"));
    let task = limit.try_spawn(async move {
        let _bad = bad;
        pending::<()>().await;
    });
    let task = task.unwrap();
    settle().await;
    task.abort();
    assert!(task.await.unwrap_err().is_panic());
    is_free_again(&limit);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_the_task_has_taken_longer_than_its_deadline() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let job = ctx.task("job").deadline(Duration::from_secs(1));
    let task = job.within(&limit).try_spawn(pending::<()>()).unwrap();
    assert!(matches!(in_time(task).await, Err(TaskError::TimedOut)));
    is_free_again(&limit);
}

#[test]
fn a_place_is_free_when_the_runtime_of_the_task_has_ended() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let runtime = current_thread();
    let task = {
        let _inside = runtime.enter();
        limit.try_spawn(pending::<()>()).unwrap()
    };
    assert_eq!(limit.usage().used, 1);
    drop(runtime);
    assert!(task.is_finished());
    assert_eq!(limit.usage().used, 0);
}

#[tokio::test]
async fn the_future_is_gone_by_the_time_that_its_place_is_given_to_the_next() {
    let ctx = ctx();
    let (limit, log) = (ctx.limit("jobs", 1), Log::default());
    let (done, is_done) = oneshot::channel::<()>();
    let notes = Notes(log.clone(), "first dropped");
    let first = async move {
        let _notes = notes;
        let _ = is_done.await;
    };
    limit.spawn(first).await.unwrap();
    let second = log.clone();
    let second = limit.spawn(async move { second.note("second runs") });
    let second = tokio::spawn(second);
    settle().await;
    done.send(()).unwrap();
    in_time(second).await.unwrap().unwrap().await.unwrap();
    assert_eq!(log.all(), ["first dropped", "second runs"]);
}

/// The handle may be awaited on another thread than the one on which the task ends.
#[test]
fn a_place_is_free_by_the_time_that_the_handle_gives_the_output() {
    multi_thread(2).block_on(async {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 1);
        for _ in 0..2_000 {
            let task = limit.try_spawn(async {}).expect("the place is free");
            task.await.unwrap();
        }
    });
}

#[test]
fn a_blocking_closure_has_its_place_until_it_has_returned() {
    multi_thread(2).block_on(async {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 1);
        let (go_on, wait) = mpsc::channel::<()>();
        let job = ctx.task("job").within(&limit);
        let task = job.spawn_blocking(move || wait.recv().is_ok());
        let task = task.await.unwrap();
        assert_eq!(usage(&limit), (1, 1, 0));
        let refused = ctx.task("job").within(&limit).try_spawn_blocking(|| 7);
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.reason(), refused.into_inner()()),
            (RefusedReason::Full, 7)
        );
        go_on.send(()).unwrap();
        assert!(task.await.unwrap());
        is_free_again(&limit);
    });
}

#[tokio::test]
async fn a_blocking_closure_that_panics_gives_its_place_back() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let job = ctx.task("job").within(&limit);
    let task = job.try_spawn_blocking(|| panic!("on purpose")).unwrap();
    assert!(task.await.unwrap_err().is_panic());
    is_free_again(&limit);
}

// The close.

#[tokio::test]
async fn those_that_wait_are_refused_in_the_call_that_begins_the_close() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 0);
    let (mut acquire, mut spawn) = (pin!(limit.acquire()), pin!(limit.spawn(ready(42))));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Cx::from_waker(&waker);
    assert!(acquire.as_mut().poll(&mut cx).is_pending());
    assert!(spawn.as_mut().poll(&mut cx).is_pending());
    ctx.request_close("test");
    assert_eq!(wakes.count(), 2);
    assert_eq!(limit.usage().waiting, 0);
    assert_eq!(acquire.await.unwrap_err(), AcquireError::Closed);
    let refused = spawn.await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(refused.into_inner().await, 42);
    assert!(in_time(ctx.close()).await.is_clean());
}

/// Without a runtime nothing drives the close.
#[test]
fn those_that_wait_are_refused_where_there_is_no_runtime() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 0);
    let (_, mut waiters) = full(&limit, 1);
    ctx.request_close("test");
    let refused = poll_once(waiters[0].as_mut());
    assert!(matches!(refused, Poll::Ready(Err(AcquireError::Closed))));
}

#[test]
fn those_that_wait_are_refused_when_the_last_handle_of_the_context_is_dropped() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").closes_by_drop().open();
    let limit = ctx.limit("jobs", 0);
    let (_, mut waiters) = full(&limit, 1);
    drop(ctx);
    let refused = poll_once(waiters[0].as_mut());
    assert!(matches!(refused, Poll::Ready(Err(AcquireError::Closed))));
}

#[tokio::test]
async fn those_that_wait_are_refused_when_a_context_above_closes() {
    let server = Registry::new().context("server");
    let conn = server.child("conn");
    let limit = conn.limit("jobs", 0);
    let waiting = tokio::spawn(limit.spawn(async {}));
    settle().await;
    in_time(server.close()).await;
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
}

/// I2: the gate decides.
#[tokio::test]
async fn a_place_that_was_given_before_the_close_spawns_nothing_after_it() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = limit.acquire().await.unwrap();
    let mut waiting = pin!(limit.spawn(ready(42)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(permit);
    ctx.request_close("test");
    let refused = waiting.await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(limit.usage().used, 0);
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.refused()), (0, 0));
}

#[tokio::test]
async fn nothing_comes_in_after_the_close() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1).queue(0);
    in_time(ctx.close()).await;
    assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Closed);
    assert_eq!(
        in_time(limit.acquire()).await.unwrap_err(),
        AcquireError::Closed
    );
    let refused = in_time(limit.spawn(async {})).await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    let refused = limit.try_spawn(async {}).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    limit.set(7);
    assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Closed);
}

#[tokio::test]
async fn a_limit_of_a_context_that_is_closed_is_closed_from_the_start() {
    let ctx = ctx();
    in_time(ctx.close()).await;
    let limit = ctx.limit("jobs", 1);
    assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Closed);
    assert!(ctx.live().await.find("jobs").is_none());
}

#[tokio::test]
async fn a_limit_of_a_context_that_is_closing_is_closed_from_the_start() {
    let ctx = ctx();
    let own = ctx.clone();
    let late = Arc::new(Mutex::new(None));
    let made = Arc::clone(&late);
    ctx.spawn(async move {
        own.cancelled().await;
        *made.lock().unwrap() = Some(own.limit("jobs", 1).try_acquire().unwrap_err());
    });
    in_time(ctx.close()).await;
    assert_eq!(*late.lock().unwrap(), Some(AcquireError::Closed));
}

#[tokio::test]
async fn a_permit_does_not_keep_the_close_waiting() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = limit.acquire().await.unwrap();
    assert!(in_time(ctx.close()).await.is_clean());
    drop(permit);
    assert_eq!(limit.usage().used, 0);
}

/// Its own tasks are let in, so those that wait may be as well: until it has run dry.
#[tokio::test]
async fn a_context_that_finishes_refuses_what_waited_outside_and_closes() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    limit.spawn(tokio::task::yield_now()).await.unwrap();
    let outside = tokio::spawn(limit.spawn(async {}));
    settle_until_waiting(&limit).await;
    let finished = ctx.finish();
    let refused = in_time(outside).await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(in_time(finished).await.finished(), 1);
}

async fn settle_until_waiting(limit: &Limit) {
    // It waits, or has the place that became free, and is not polled before we wait.
    while limit.usage().waiting == 0 && limit.usage().used == 0 {
        tokio::task::yield_now().await;
    }
}

// Changing it.

#[test]
fn places_that_are_added_go_to_those_that_wait_in_order() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let (_permits, mut waiters) = full(&limit, 4);
    limit.set(3);
    assert_eq!(usage(&limit), (3, 3, 2));
    assert_eq!(inside(&mut waiters).0, [0, 1]);
}

#[test]
fn fewer_places_than_are_used_throw_none_out_and_let_none_in() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 3);
    let (mut permits, mut waiters) = full(&limit, 1);
    limit.set(1);
    assert_eq!(limit.usage().to_string(), "3 of 1 used, 1 waiting");
    for used in [2, 1] {
        permits.pop();
        assert_eq!(usage(&limit), (used, 1, 1));
        assert!(inside(&mut waiters).0.is_empty());
    }
    permits.pop();
    assert_eq!(usage(&limit), (1, 1, 0));
    assert_eq!(inside(&mut waiters).0, [0]);
}

#[test]
fn free_places_go_first_when_there_are_to_be_fewer() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 4);
    let permit = limit.try_acquire().unwrap();
    limit.set(2);
    assert_eq!(usage(&limit), (1, 2, 0));
    let _second = limit.try_acquire().unwrap();
    assert!(limit.try_acquire().is_err());
    drop(permit);
    assert!(limit.try_acquire().is_ok());
}

/// It had been promised before there were to be fewer; it is not there to be promised again.
#[test]
fn a_given_place_that_is_not_wanted_pays_for_the_lowered_limit() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 2);
    let (mut permits, mut waiters) = full(&limit, 2);
    permits.pop();
    limit.set(1);
    assert_eq!(usage(&limit), (2, 1, 1));
    drop(waiters.remove(0));
    assert_eq!(usage(&limit), (1, 1, 1));
    assert!(inside(&mut waiters).0.is_empty());
}

#[test]
fn a_limit_that_is_lowered_and_raised_again_has_as_many_places_as_before() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 3);
    let (permits, _) = full(&limit, 0);
    limit.set(0);
    limit.set(2);
    limit.set(3);
    assert_eq!(usage(&limit), (3, 3, 0));
    drop(permits);
    let (permits, _) = full(&limit, 0);
    assert_eq!(permits.len(), 3);
}

#[test]
fn a_limit_of_zero_lets_nothing_in_before_it_is_set() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 0);
    let (permits, mut waiters) = full(&limit, 1);
    assert!(permits.is_empty());
    limit.set(1);
    assert_eq!(inside(&mut waiters).0, [0]);
}

#[test]
fn an_enormous_limit_is_as_great_as_a_semaphore_may_be() {
    let ctx = ctx();
    let most = tokio::sync::Semaphore::MAX_PERMITS;
    let limit = ctx.limit("jobs", usize::MAX).queue(usize::MAX);
    assert_eq!((limit.usage().max, limit.usage().queue), (most, usize::MAX));
    let permit = limit.try_acquire().unwrap();
    limit.set(0);
    limit.set(usize::MAX);
    assert_eq!(usage(&limit), (1, most, 0));
    drop(permit);
    limit.set(usize::MAX);
    assert_eq!(usage(&limit), (0, most, 0));
}

// Listed.

#[tokio::test]
async fn a_limit_is_a_line_of_the_listing() {
    let registry = Registry::new();
    let server = registry.context("server");
    let line = line!() + 1;
    let limit = server.limit("uploads", 8);
    let _full = full(&limit, 3);
    let live = registry.live().await;
    let listed = live.find("uploads").unwrap();
    assert_eq!((listed.kind(), listed.state()), ("limit", State::Live));
    assert_eq!(
        (listed.parent(), listed.id()),
        (Some(server.id()), limit.id())
    );
    assert_eq!(listed.location().line(), line);
    assert_eq!(listed.detail().unwrap(), "8 of 8 used, 3 waiting");
    let text = live.to_string();
    assert!(
        text.contains("uploads  limit · 8 of 8 used, 3 waiting · "),
        "{text}"
    );
}

#[tokio::test]
async fn a_limit_is_listed_until_its_last_handle_is_dropped_and_the_last_place_is_free() {
    let ctx = ctx();
    let is_listed = || async { ctx.live().await.find("jobs").is_some() };
    let limit = ctx.limit("jobs", 2);
    let permit = limit.try_acquire().unwrap();
    let (done, is_done) = oneshot::channel::<()>();
    let task = limit.try_spawn(is_done).unwrap();
    drop((limit.clone(), limit));
    assert!(is_listed().await);
    drop(permit);
    assert!(is_listed().await);
    done.send(()).unwrap();
    task.await.unwrap().unwrap();
    assert!(!is_listed().await);
}

#[tokio::test]
async fn a_limit_that_outlives_its_context_is_not_listed_and_is_no_leak() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let limit = ctx.limit("jobs", 2);
    let permit = limit.try_acquire().unwrap();
    in_time(ctx.close()).await;
    drop(ctx);
    assert!(registry.is_empty());
    let report = registry.leaks(&LeakPolicy::new()).await;
    assert!(report.findings().is_empty(), "{report}");
    drop((limit, permit));
    assert!(registry.is_empty());
}

#[test]
fn a_limit_outlives_its_registry_and_its_runtime() {
    let runtime = current_thread();
    let (limit, permit) = runtime.block_on(async {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 2);
        let permit = limit.acquire().await.unwrap();
        in_time(ctx.close()).await;
        (limit, permit)
    });
    drop(runtime);
    assert_eq!(usage(&limit), (1, 2, 0));
    drop(permit);
    assert_eq!(limit.name(), "jobs");
    assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Closed);
    limit.set(9);
    let refused = current_thread()
        .block_on(limit.spawn(ready(42)))
        .unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_kept_and_not_printed_whole() {
    let ctx = ctx();
    let name = "x".repeat(1 << 20);
    let limit = ctx.limit(name.clone(), 1);
    assert_eq!(limit.name(), name);
    assert_eq!(ctx.live().await.find(&name).unwrap().kind(), "limit");
    assert!(ctx.live().await.to_string().len() < 10_000);
}

#[tokio::test]
async fn two_limits_of_one_name_have_nothing_to_do_with_each_other() {
    let ctx = ctx();
    let (one, two) = (ctx.limit("jobs", 1), ctx.limit("jobs", 1));
    let _permit = one.try_acquire().unwrap();
    assert!(two.try_acquire().is_ok());
    assert_ne!(one.id(), two.id());
}

// Tasks with settings.

#[tokio::test]
async fn a_task_within_a_limit_has_its_name_kind_and_settings() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let job = ctx.task("job").kind("upload").cancellable().within(&limit);
    let task = job.spawn(pending::<()>()).await.unwrap();
    let live = ctx.live().await;
    assert_eq!(live.find("job").unwrap().kind(), "upload");
    in_time(ctx.close()).await;
    assert!(matches!(task.await, Err(TaskError::Cancelled)));
}

#[tokio::test]
async fn a_task_is_listed_on_the_line_that_asked_for_it() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 4);
    let line = line!();
    let (by_limit, named) = (limit.spawn(pending::<()>()), ctx.task("b").within(&limit));
    let named = named.spawn(pending::<()>());
    let tried = limit.try_spawn(pending::<()>()).unwrap();
    let tasks = [by_limit.await.unwrap(), named.await.unwrap(), tried];
    let live = ctx.live().await;
    let here = Location::caller().file();
    for (task, line) in tasks.iter().zip([line + 1, line + 2, line + 3]) {
        let at = live
            .iter()
            .find(|one| one.id() == task.id())
            .unwrap()
            .location();
        assert_eq!((at.file(), at.line()), (here, line), "{}", task.name());
    }
}

/// The limit is the server's, the task is the connection's.
#[tokio::test]
async fn a_task_of_another_context_may_be_within_a_limit() {
    let server = Registry::new().context("server");
    let (limit, conn) = (server.limit("queries", 1), server.child("conn"));
    let query = conn.task("query").within(&limit).spawn(pending::<()>());
    let query = query.await.unwrap();
    assert_eq!(conn.live().await.tasks().len(), 1);
    assert_eq!(limit.usage().used, 1);
    query.abort();
    assert!(query.await.is_err());
    assert_eq!(limit.usage().used, 0);
}

#[tokio::test]
async fn the_close_of_the_context_of_the_task_ends_the_waiting_as_well() {
    let server = Registry::new().context("server");
    let (limit, conn) = (server.limit("queries", 0), server.child("conn"));
    let mut waiting = pin!(conn.task("query").within(&limit).spawn(ready(42)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert_eq!(limit.usage().waiting, 1);
    in_time(conn.close()).await;
    let refused = in_time(waiting).await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
    assert_eq!(refused.into_inner().await, 42);
    assert_eq!(limit.usage().waiting, 0);
    let late = conn.task("query").within(&limit).spawn(async {});
    assert_eq!(
        in_time(late).await.unwrap_err().reason(),
        RefusedReason::Closed
    );
}

#[tokio::test]
async fn the_close_of_the_context_of_the_limit_ends_the_waiting_of_tasks_elsewhere() {
    let registry = Registry::new();
    let (pool, server) = (registry.context("pool"), registry.context("server"));
    let limit = pool.limit("queries", 0);
    let mut waiting = pin!(server.task("query").within(&limit).spawn(ready(42)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    in_time(pool.close()).await;
    let refused = in_time(waiting).await.unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::Closed);
}

#[tokio::test]
async fn a_refused_spawn_gives_its_place_back() {
    let registry = Registry::new();
    let server = registry.context("server");
    let conn = registry.context_builder("conn").max_tasks(0).open();
    let limit = server.limit("queries", 1);
    for _ in 0..3 {
        let refused = conn.task("query").within(&limit).spawn(ready(42)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), RefusedReason::Full);
        assert_eq!(refused.into_inner().await, 42);
    }
    assert_eq!(limit.usage().used, 0);
}

#[test]
fn a_spawn_without_a_runtime_is_handed_back_and_gives_its_place_back() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let refused = limit.try_spawn(async {}).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::NoRuntime);
    let Poll::Ready(refused) = poll_once(pin!(limit.spawn(async {}))) else {
        panic!("it does not wait")
    };
    assert_eq!(refused.unwrap_err().reason(), RefusedReason::NoRuntime);
    assert_eq!(limit.usage().used, 0);
}

#[test]
fn a_spawn_after_the_end_of_the_runtime_is_handed_back_and_gives_its_place_back() {
    let runtime = current_thread();
    let (ctx, limit) = runtime.block_on(async {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 1);
        (ctx, limit)
    });
    drop(runtime);
    let refused = limit.try_spawn(ready(42)).unwrap_err();
    assert_eq!(refused.reason(), RefusedReason::RuntimeGone);
    assert_eq!(limit.usage().used, 0);
    drop(ctx);
}

#[test]
fn a_place_needs_no_runtime() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = futures::executor::block_on(limit.acquire()).unwrap();
    let own = limit.clone();
    let waiting = thread::spawn(move || futures::executor::block_on(own.acquire()).map(drop));
    drop(permit);
    within(Duration::from_secs(60), move || waiting.join().unwrap()).unwrap();
}

#[tokio::test]
async fn dropping_a_spawn_that_waits_drops_its_future_unpolled() {
    let ctx = ctx();
    let (limit, counter) = (ctx.limit("jobs", 0), Counter::default());
    let guard = counter.guard();
    let mut waiting = Box::pin(limit.spawn(async move {
        let _guard = guard;
        panic!("it is polled");
    }));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(waiting);
    assert_eq!((counter.alive(), usage(&limit)), (0, (0, 0, 0)));
    assert_eq!(in_time(ctx.close()).await.finished(), 0);
}

/// A task that holds a place and wants another waits for itself; it is cut off as every other at the close.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_a_place_inside_its_own_limit_ends_with_the_close() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let own = limit.clone();
    let task = limit.try_spawn(async move { own.acquire().await.map(drop) });
    let task = task.unwrap();
    settle().await;
    assert_eq!(usage(&limit), (1, 1, 1));
    assert!(in_time(ctx.close()).await.is_clean());
    assert_eq!(task.await.unwrap(), Err(AcquireError::Closed));
}

// Foreign code.

/// A waker that uses the limit, and panics.
struct Meddles(Limit, AtomicUsize);

impl Wake for Meddles {
    fn wake(self: Arc<Self>) {
        let (usage, _) = (self.0.usage(), self.0.try_acquire().is_ok());
        self.0.set(usage.max);
        self.1.fetch_add(1, SeqCst);
        panic!("on purpose");
    }
}

/// I9.
#[test]
fn wakers_run_under_no_lock_and_may_panic() {
    within(Duration::from_secs(60), || {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 1);
        let permit = limit.try_acquire().unwrap();
        let meddles = Arc::new(Meddles(limit.clone(), AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&meddles));
        let mut cx = Cx::from_waker(&waker);
        let mut waiters: Vec<_> = (0..4).map(|_| Box::pin(limit.acquire())).collect();
        for waiter in &mut waiters {
            assert!(waiter.as_mut().poll(&mut cx).is_pending());
        }
        drop(permit);
        assert_eq!(meddles.1.load(SeqCst), 1);
        drop(waiters.remove(0));
        assert_eq!(meddles.1.load(SeqCst), 2);
        limit.set(2);
        assert_eq!(meddles.1.load(SeqCst), 3);
        ctx.request_close("test");
        assert_eq!(meddles.1.load(SeqCst), 4);
    });
}

/// A waker whose destructor uses the limit.
struct UsesItWhenDropped(Limit);

impl Wake for UsesItWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UsesItWhenDropped {
    fn drop(&mut self) {
        drop(self.0.try_acquire());
        self.0.set(self.0.usage().max);
    }
}

#[test]
fn wakers_are_dropped_under_no_lock() {
    within(Duration::from_secs(60), || {
        let ctx = ctx();
        let limit = ctx.limit("jobs", 0);
        for round in 0..4 {
            let mut waiter = Box::pin(limit.acquire());
            for _ in 0..2 {
                let waker = Waker::from(Arc::new(UsesItWhenDropped(limit.clone())));
                assert!(
                    waiter
                        .as_mut()
                        .poll(&mut Cx::from_waker(&waker))
                        .is_pending()
                );
            }
            match round {
                0 => drop(waiter),
                1 => {
                    limit.set(1);
                    assert!(poll_once(waiter.as_mut()).is_ready());
                    limit.set(0);
                }
                2 => {
                    limit.set(1);
                    drop(waiter);
                    limit.set(0);
                }
                _ => {
                    ctx.request_close("test");
                    assert!(poll_once(waiter.as_mut()).is_ready());
                }
            }
        }
    });
}

#[test]
fn limits_and_what_they_give_cross_threads() {
    fn crosses<T: Send + Sync + 'static>(_: &T) {}
    fn is_send<T: Send + 'static>(_: T) {}
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    crosses(&limit);
    crosses(&limit.try_acquire().unwrap());
    is_send(limit.acquire());
    is_send(limit.spawn(async {}));
    let spawned: fn(RefusedError<()>) = drop;
    let _ = spawned;
}

#[test]
fn debug_names_the_limit() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", 1);
    let permit = limit.try_acquire().unwrap();
    for said in [
        format!("{limit:?}"),
        format!("{permit:?}"),
        format!("{:?}", ctx.task("job").within(&limit)),
    ] {
        assert!(said.contains("jobs"), "{said}");
    }
    assert!(format!("{limit:?}").contains("used: 1"), "{limit:?}");
}

/// Who takes one place after the other without ever waiting lets others run now and then.
#[tokio::test]
async fn taking_places_is_part_of_the_cooperative_budget() {
    let ctx = ctx();
    let limit = ctx.limit("jobs", usize::MAX);
    let ran = Arc::new(AtomicUsize::new(0));
    let other = Arc::clone(&ran);
    tokio::spawn(async move { other.fetch_add(1, SeqCst) });
    for _ in 0..1_024 {
        drop(limit.acquire().await.unwrap());
    }
    assert_eq!(ran.load(SeqCst), 1);
}

/// The seed of a run: that of `HEADCOUNT_SEED`, or the time.
fn seed() -> u64 {
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed();
    match std::env::var("HEADCOUNT_SEED") {
        Ok(seed) => seed.parse().expect("HEADCOUNT_SEED is a number"),
        Err(_) => now().map_or(1, |now| u64::from(now.subsec_nanos())),
    }
}

#[test]
fn a_hundred_thousand_operations_are_as_in_the_model() {
    let seed = seed();
    println!("HEADCOUNT_SEED={seed}");
    paused().block_on(tokio::task::unconstrained(limit_model::run(seed, 100_000)));
}

/// Real threads, and places that change under them: never more are inside than there may be.
#[test]
fn never_more_are_inside_than_there_are_places_whatever_changes() {
    multi_thread(4).block_on(async {
        let ctx = ctx();
        let (limit, counter) = (ctx.limit("jobs", 4), Counter::default());
        let (most, jobs) = (Arc::new(AtomicUsize::new(0)), 400);
        let spawners = (0..8).map(|_| {
            let (limit, counter, most) = (limit.clone(), counter.clone(), Arc::clone(&most));
            tokio::spawn(async move {
                for _ in 0..jobs {
                    let (counter, most) = (counter.clone(), Arc::clone(&most));
                    let job = async move {
                        let _guard = counter.guard();
                        most.fetch_max(counter.alive(), SeqCst);
                        tokio::task::yield_now().await;
                    };
                    drop::<Task<()>>(limit.spawn(job).await.unwrap());
                }
            })
        });
        let spawners: Vec<_> = spawners.collect();
        for round in 0..200 {
            limit.set(1 + round % 4);
            let usage = limit.usage();
            assert!(usage.waiting == 0 || usage.used >= usage.max, "{usage:?}");
            tokio::task::yield_now().await;
        }
        for spawner in spawners {
            spawner.await.unwrap();
        }
        ctx.idle().await;
        assert_eq!(counter.dropped(), 8 * jobs);
        assert!(most.load(SeqCst) <= 4, "{most:?}");
        assert_eq!(limit.usage().used, 0);
        sleep(Duration::ZERO).await;
    });
}
