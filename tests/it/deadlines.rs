//! Closes that end by a deadline, at once, or when all has run dry (I8, I18).

use crate::util::{Counter, Log, OnDrop, current_thread, in_time, multi_thread, paused, settle};
use futures::{FutureExt, future::BoxFuture};
use headcount::{CloseReason, CloseStatus, Context, OpenError, Registry, State, WeakContext};
use std::{
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Saves in its grace period, on what it needs, after so long.
fn saves(ctx: &Context, on: &Context, after: Duration, saved: &Arc<AtomicUsize>) {
    let (own, on, saved) = (ctx.downgrade(), on.downgrade(), Arc::clone(saved));
    ctx.spawn(async move {
        own.cancelled().await;
        sleep(after).await;
        let count = async move { saved.fetch_add(1, SeqCst) };
        on.upgrade().unwrap().spawn(count).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_time_for_what_comes_after() {
    let (registry, saved) = (Registry::new(), Arc::default());
    let db = registry.context("db");
    let jobs = registry.context_builder("jobs").needs(&db).open();
    for n in 0..20 {
        saves(&jobs, &db, millis(n), &saved);
    }
    jobs.task("stubborn").spawn(pending::<()>());
    let flushed = Counter::default();
    let flush = flushed.guard();
    db.on_close(|| async move {
        sleep(millis(10)).await;
        drop(flush);
    })
    .unwrap();
    settle().await;
    let start = Instant::now();
    let report = in_time(registry.close_by(millis(300))).await.unwrap();
    assert!(start.elapsed() < millis(300), "{:?}", start.elapsed());
    assert_eq!((saved.load(SeqCst), flushed.dropped()), (20, 1));
    assert_eq!((report.aborted(), report.hooks().timed_out), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_chain_shares_the_time() {
    let registry = Registry::new();
    let outer = registry.context("outer");
    let middle = outer.child("middle");
    let inner = middle.child("inner");
    for ctx in [&outer, &middle, &inner] {
        ctx.spawn(pending::<()>());
        ctx.on_close(async || pending::<()>().await).unwrap();
    }
    let start = Instant::now();
    let report = in_time(outer.close_by(millis(1_200))).await;
    assert!(start.elapsed() <= millis(1_200), "{:?}", start.elapsed());
    let report = report.unwrap();
    assert_eq!((report.aborted(), report.hooks().timed_out), (3, 3));
}

/// A chain of contexts with a hook each, and a task in the innermost one that ends so long after its cancellation.
fn chain(registry: &Registry, length: usize, hooks: bool, takes: Duration) -> Vec<Context> {
    let mut chain = vec![registry.context("outermost")];
    for _ in 1..length {
        chain.push(chain.last().unwrap().child("inner"));
    }
    if hooks {
        for ctx in &chain {
            ctx.on_close(async || sleep(millis(500)).await).unwrap();
        }
    }
    let innermost = chain.last().unwrap();
    let own = innermost.downgrade();
    innermost.spawn(async move {
        own.cancelled().await;
        sleep(takes).await;
    });
    chain
}

/// Those that come after have a second each, and leave the rest to the grace period of the one before them.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_far_enough_leaves_the_whole_grace_period() {
    let registry = Registry::new();
    let chain = chain(&registry, 7, true, millis(4_500));
    settle().await;
    let report = in_time(registry.close_by(millis(25_000))).await.unwrap();
    assert_eq!((report.aborted(), report.hooks().timed_out), (0, 0));
    assert!(report.is_clean(), "{report}");
    drop(chain);
}

/// What has nothing to do needs no part of the time.
#[tokio::test(start_paused = true)]
async fn empty_contexts_get_no_part_of_the_time() {
    let registry = Registry::new();
    let chain = chain(&registry, 7, false, millis(2_000));
    settle().await;
    let report = in_time(registry.close_by(millis(3_000))).await.unwrap();
    assert!(report.is_clean(), "{report}");
    drop(chain);
}

/// A hook that comes late to a context that had nothing to do has its turn, though what came before took all of its time.
#[tokio::test(start_paused = true)]
async fn a_late_hook_of_an_empty_context_has_its_turn() {
    let registry = Registry::new();
    let outer = registry.context("outer");
    let inner = outer.child("inner");
    inner.spawn(pending::<()>());
    inner.on_close(async || pending::<()>().await).unwrap();
    settle().await;
    let closing = registry.close_by(millis(3_000));
    outer.on_close(async || sleep(millis(1)).await).unwrap();
    let report = in_time(closing).await.unwrap();
    // Those that ran to their end, and the one of `inner`.
    assert_eq!((report.hooks().ran, report.hooks().timed_out), (1, 1));
}

/// What cannot be ended is left behind: it takes nothing else's turn away, and the close waits for it.
#[test]
fn what_cannot_be_ended_is_left_behind() {
    paused().block_on(async {
        let (registry, log) = (Registry::new(), Log::default());
        let db = registry.context("db");
        let jobs = registry.context_builder("jobs").needs(&db).open();
        let worker = jobs.child("worker");
        for (ctx, name) in [(&db, "db"), (&jobs, "jobs"), (&worker, "worker")] {
            let log = log.clone();
            ctx.on_close(move || async move { log.note(name) }).unwrap();
        }
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let started = Arc::new(tokio::sync::Notify::new());
        let has_started = Arc::clone(&started);
        worker.task("blocked").spawn_blocking(move || {
            has_started.notify_one();
            let _ = gone.recv();
        });
        in_time(started.notified()).await;
        let closing = tokio::spawn(registry.close_by(millis(400)));
        // By hand: tokio does not move the paused clock while a thread of its pool is busy.
        for _ in 0..40 {
            settle().await;
            assert!(!closing.is_finished());
            tokio::time::advance(millis(10)).await;
        }
        let still = closing.await.unwrap().unwrap_err();
        // The thread is still blocked, and what comes after it has had its turn.
        in_time(db.closed()).await;
        assert_eq!(log.all(), ["worker", "jobs", "db"]);
        assert!(still.remaining().find("blocked").is_some(), "{still}");
        assert_eq!(
            (db.state(), worker.state()),
            (State::Closed, State::Closing)
        );
        drop(go);
        let report = in_time(registry.closed()).await;
        assert_eq!(
            (report.status(), report.finished()),
            (CloseStatus::Closed, 1)
        );
        assert_eq!(
            (worker.state(), registry.state()),
            (State::Closed, State::Closed)
        );
    });
}

/// What one child has left behind keeps nothing open that its parent needs, though the parent itself was not hurried.
#[test]
fn what_a_child_left_behind_holds_up_neither_its_parent_nor_what_that_needs() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let db = registry.context("db");
        let jobs = registry.context_builder("jobs").needs(&db).open();
        let worker = jobs.child("worker");
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let started = Arc::new(tokio::sync::Notify::new());
        let has_started = Arc::clone(&started);
        worker.spawn_blocking(move || {
            has_started.notify_one();
            let _ = gone.recv();
        });
        in_time(started.notified()).await;
        drop(worker.close_by(millis(1)));
        let closing = registry.close();
        in_time(db.closed()).await;
        assert_eq!(
            [db.state(), jobs.state(), worker.state()],
            [State::Closed, State::Closing, State::Closing]
        );
        drop(go);
        in_time(closing).await;
    });
}

/// A task that leaves after a child was released is noticed, though it is not the last one inside.
#[test]
fn a_parent_with_a_child_that_is_left_behind_waits_for_its_own_tasks() {
    let runtime = multi_thread(2);
    runtime.block_on(async {
        let ctx = Registry::new().context("ctx");
        let child = ctx.child("child");
        let (go, gone) = std::sync::mpsc::channel::<()>();
        child.spawn_blocking(move || gone.recv().is_ok());
        let own = ctx.downgrade();
        let ended = Counter::default();
        let guard = ended.guard();
        ctx.spawn(async move {
            own.cancelled().await;
            sleep(millis(320)).await;
            drop(guard);
        });
        let seen = ended.clone();
        let (tell, told) = oneshot::channel();
        ctx.on_close(|| async move { tell.send(seen.dropped()).unwrap() })
            .unwrap();
        let closing = ctx.close_by(millis(600));
        assert_eq!(in_time(told).await.unwrap(), 1);
        drop(go);
        in_time(closing).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn close_now_aborts_at_once_and_gives_a_hook_a_second() {
    let ctx = Registry::new().context("ctx");
    ctx.spawn(pending::<()>());
    ctx.on_close(async || pending::<()>().await).unwrap();
    ctx.on_close(async || sleep(millis(900)).await).unwrap();
    let start = Instant::now();
    let report = in_time(ctx.close_now()).await;
    assert_eq!(start.elapsed().as_millis() / 10, 190);
    assert_eq!((report.aborted(), report.hooks().timed_out), (1, 1));
}

/// I8: of a close that runs, in its drain and in the middle of a hook.
#[tokio::test(start_paused = true)]
async fn a_close_that_runs_is_hurried() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .hook_timeout(Duration::MAX)
        .open();
    ctx.spawn(pending::<()>());
    ctx.on_close(async || pending::<()>().await).unwrap();
    let first = ctx.close_with("first");
    sleep(millis(100)).await;
    let start = Instant::now();
    let report = in_time(ctx.close_by(millis(400))).await.unwrap();
    assert!(start.elapsed() <= millis(400));
    assert_eq!(
        (report.reason(), in_time(first).await.aborted()),
        (&CloseReason::from("first"), 1)
    );

    let ctx = Registry::new()
        .context_builder("ctx")
        .hook_timeout(Duration::MAX)
        .open();
    ctx.on_close(async || pending::<()>().await).unwrap();
    let first = ctx.close();
    sleep(millis(5_000)).await;
    let start = Instant::now();
    let report = in_time(ctx.close_now()).await;
    assert_eq!(
        (start.elapsed().as_millis(), report.hooks().timed_out),
        (1_000, 1)
    );
    in_time(first).await;
}

#[tokio::test(start_paused = true)]
async fn the_earliest_deadline_wins() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::MAX)
        .open();
    ctx.spawn(pending::<()>());
    let start = Instant::now();
    let late = ctx.close_by(Duration::from_secs(100));
    let early = ctx.close_by(Instant::now() + millis(100));
    let never = ctx.close_by(Duration::MAX);
    for report in [
        in_time(late).await,
        in_time(early).await,
        in_time(never).await,
    ] {
        assert_eq!(report.unwrap().aborted(), 1);
    }
    assert_eq!(start.elapsed().as_millis(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_is_now() {
    let ctx = Registry::new().context("ctx");
    ctx.spawn(pending::<()>());
    ctx.on_close(async || sleep(millis(500)).await).unwrap();
    let past = Instant::now();
    let start = Instant::now();
    let report = in_time(ctx.close_by(past)).await.unwrap();
    assert_eq!((report.aborted(), report.hooks().ran), (1, 1));
    assert_eq!(start.elapsed().as_millis(), 500);
}

#[tokio::test]
async fn close_by_from_inside_begins() {
    let ctx = Registry::new().context("ctx");
    let own = ctx.downgrade();
    let status = ctx.spawn(async move {
        let ctx = own.upgrade().unwrap();
        let report = ctx.close_by(Duration::from_secs(5)).await.unwrap();
        report.status()
    });
    assert_eq!(in_time(status).await.unwrap(), CloseStatus::Begun);
    in_time(ctx.closed()).await;
}

#[test]
fn close_now_from_a_destructor_and_from_two_threads() {
    let runtime = multi_thread(2);
    let registry = Registry::new();
    runtime.block_on(async {
        let ctx = registry.context("ctx");
        let child = ctx.child("child");
        let own = ctx.downgrade();
        let closes = OnDrop::new(move || drop(own.upgrade().map(|ctx| ctx.close_now())));
        child.spawn(async move {
            let _closes = closes;
            pending::<()>().await;
        });
        settle().await;
        let (one, other) = (child.clone(), child.clone());
        let closes = [
            tokio::spawn(async move { one.close_now().await }),
            tokio::spawn(async move { other.close_now().await }),
        ];
        for close in closes {
            assert_eq!(in_time(close).await.unwrap().aborted(), 1);
        }
        let report = in_time(ctx.closed()).await;
        assert_eq!(report.reason(), &CloseReason::from("close_now"));
    });
}

/// A parent's task that waits for a child's, and tidies up after it: both grace periods end at the same moment.
#[tokio::test(start_paused = true)]
async fn a_keeper_sees_the_end_of_what_it_keeps() {
    let server = Registry::new().context("server");
    let kept = Arc::new(AtomicUsize::new(0));
    for _ in 0..50 {
        let (own, kept) = (server.downgrade(), Arc::clone(&kept));
        server.spawn(async move {
            let conn = own.upgrade().unwrap().child("conn");
            drop(own);
            assert!(conn.spawn(pending::<()>()).await.is_err());
            conn.close().await;
            sleep(millis(500)).await;
            kept.fetch_add(1, SeqCst);
        });
    }
    settle().await;
    let start = Instant::now();
    let report = in_time(server.close()).await;
    assert_eq!((kept.load(SeqCst), report.aborted()), (50, 50));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn all_views_agree_once_the_call_returns() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    drop(ctx.close_with("why"));
    for ctx in [&ctx, &child] {
        let weak = ctx.downgrade();
        assert!(ctx.is_cancelled() && weak.is_cancelled() && ctx.token().is_cancelled());
        assert_eq!(
            (ctx.state(), weak.state()),
            (State::Closing, State::Closing)
        );
        assert_eq!(
            weak.close_reason().unwrap().root(),
            &CloseReason::from("why")
        );
        assert_eq!(
            in_time(weak.cancelled()).await.root(),
            &CloseReason::from("why")
        );
        assert!(ctx.try_spawn(async {}).is_err());
    }
    in_time(ctx.closed()).await;
}

/// A token that is given away can be cancelled without harm.
#[tokio::test]
async fn a_token_cancels_nothing_else() {
    let ctx = Registry::new().context("ctx");
    ctx.token().cancel();
    assert!(!ctx.token().is_cancelled());
    let task = ctx.task("task").cancellable().spawn(async { 42 });
    assert_eq!(in_time(task).await.unwrap(), 42);
    in_time(ctx.close()).await;
}

/// It takes a message in that poll, and would be dropped with it in hand.
#[tokio::test]
async fn a_cancellable_task_is_not_polled_by_its_own_cancellation() {
    let ctx = Registry::new().context("ctx");
    let polls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&polls);
    let task = ctx.task("task").cancellable().spawn(poll_fn(move |_| {
        seen.fetch_add(1, SeqCst);
        Poll::<()>::Pending
    }));
    settle().await;
    in_time(ctx.close()).await;
    assert!(in_time(task).await.is_err());
    assert_eq!(polls.load(SeqCst), 1);
}

#[tokio::test]
async fn finish_waits_until_all_has_run_dry() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let (weak, sibling) = (ctx.downgrade(), child.downgrade());
    let (go, gone) = oneshot::channel::<()>();
    ctx.spawn(async move {
        gone.await.unwrap();
        let late = sibling.upgrade().unwrap().spawn(async { "late" });
        let ctx = weak.upgrade().unwrap();
        ctx.spawn(async {});
        drop(ctx.child("another"));
        late.await.unwrap()
    });
    settle().await;
    let finished = ctx.finish();
    assert_eq!((ctx.state(), ctx.is_cancelled()), (State::Open, false));
    assert!(ctx.try_spawn(async {}).is_err() && child.try_spawn(async {}).is_err());
    assert!(ctx.try_child("outsider").is_err());
    let outsider = ctx.child("outsider").close_reason().unwrap();
    assert_eq!(outsider.root(), &CloseReason::Finished);
    settle().await;
    assert_eq!((ctx.close_reason(), child.state()), (None, State::Open));
    go.send(()).unwrap();
    let report = in_time(finished).await;
    assert_eq!(report.reason(), &CloseReason::Finished);
    assert_eq!((report.finished(), report.cancelled()), (3, 0));
    assert!(matches!(child.close_reason(), Some(CloseReason::Parent(_))));
}

#[tokio::test]
async fn finish_goes_on_when_its_future_and_the_handles_are_dropped() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (go, gone) = oneshot::channel::<()>();
    let task = ctx.spawn(async move { gone.await.is_ok() });
    drop(ctx.finish());
    let weak = ctx.downgrade();
    drop(ctx);
    settle().await;
    assert_eq!(
        (weak.state(), weak.is_cancelled(), weak.close_reason()),
        (State::Open, false, None)
    );
    go.send(()).unwrap();
    assert!(in_time(task).await.unwrap());
    assert_eq!(
        in_time(weak.closed()).await.reason(),
        &CloseReason::Finished
    );
    in_time(registry.idle()).await;
}

#[tokio::test]
async fn finish_from_inside_begins() {
    let ctx = Registry::new().context("ctx");
    let own = ctx.downgrade();
    let status = ctx.spawn(async move { own.upgrade().unwrap().finish().await.status() });
    assert_eq!(in_time(status).await.unwrap(), CloseStatus::Begun);
    assert_eq!(in_time(ctx.closed()).await.reason(), &CloseReason::Finished);
}

#[tokio::test]
async fn finish_lets_those_that_need_it_work_on_it() {
    let (registry, saved) = (Registry::new(), Arc::default());
    let db = registry.context("db");
    let jobs = registry.context_builder("jobs").needs(&db).open();
    let (on, count) = (db.downgrade(), Arc::clone(&saved));
    jobs.spawn(async move {
        settle().await;
        let count = async move { AtomicUsize::fetch_add(&count, 1, SeqCst) };
        on.upgrade().unwrap().spawn(count).await.unwrap();
    });
    let report = in_time(db.finish()).await;
    assert_eq!((saved.load(SeqCst), report.refused()), (1, 0));
    assert_eq!(jobs.state(), State::Closed);
}

/// No outsider comes to need it any more; what belongs to it may, and no outsider comes into that.
#[tokio::test]
async fn what_finishes_is_needed_by_its_own_alone() {
    let registry = Registry::new();
    let db = registry.context("db");
    let (own, outer) = (db.downgrade(), registry.clone());
    let (go, gone) = oneshot::channel::<()>();
    let opened = db.spawn(async move {
        gone.await.unwrap();
        let db = own.upgrade().unwrap();
        let helper = outer.context_builder("helper").needs(&db).try_open();
        let helper = helper.unwrap();
        tokio::spawn(async move { helper.try_spawn(async {}).is_err() })
            .await
            .unwrap()
    });
    let finished = db.finish();
    let outsider = registry.context_builder("jobs").needs(&db).try_open();
    assert_eq!(
        outsider.unwrap_err(),
        OpenError::NeedClosed(String::from("db"))
    );
    go.send(()).unwrap();
    assert!(in_time(opened).await.unwrap(), "an outsider comes in");
    let report = in_time(finished).await;
    assert_eq!(report.reason(), &CloseReason::Finished);
}

/// Tasks that spawn others for ever never run dry; a deadline ends them.
#[tokio::test(start_paused = true)]
async fn what_never_runs_dry_is_ended_by_more() {
    fn again(own: WeakContext) -> BoxFuture<'static, ()> {
        go_on(own).boxed()
    }
    async fn go_on(own: WeakContext) {
        sleep(millis(1)).await;
        let ctx = own.upgrade();
        if let Some(ctx) = ctx.filter(|ctx| !ctx.is_cancelled()) {
            ctx.spawn(again(own));
        }
    }
    let ctx = Registry::new().context("ctx");
    ctx.spawn(again(ctx.downgrade()));
    let finished = ctx.finish();
    sleep(millis(100)).await;
    assert_eq!(ctx.state(), State::Open);
    in_time(ctx.close_by(millis(100))).await.unwrap();
    assert_eq!(
        in_time(finished).await.reason(),
        &CloseReason::from("close_by")
    );

    let ctx = Registry::new().context("ctx");
    ctx.spawn(again(ctx.downgrade()));
    ctx.spawn(pending::<()>());
    let start = Instant::now();
    let report = in_time(ctx.finish_by(millis(800))).await.unwrap();
    assert_eq!((report.aborted(), start.elapsed().as_millis()), (1, 700));
}

#[tokio::test]
async fn an_empty_context_finishes_at_once() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let idle = ctx.child("idle");
    in_time(ctx.finish()).await;
    assert_eq!(idle.state(), State::Closed);
    in_time(ctx.finish()).await;
    in_time(ctx.finish_by(Duration::ZERO)).await.unwrap();
    assert_eq!(
        in_time(registry.finish()).await.reason(),
        &CloseReason::Finished
    );
}

#[test]
fn finish_without_a_runtime_is_done_by_those_that_await_it() {
    let registry = Registry::new();
    let ctx = current_thread().block_on(async { registry.context("ctx") });
    let finished = ctx.finish();
    let report = current_thread().block_on(in_time(finished));
    assert_eq!(report.reason(), &CloseReason::Finished);
}

#[tokio::test]
async fn a_context_can_be_awaited_while_it_stays_open() {
    let ctx = Registry::new().context("ctx");
    let child = ctx.child("child");
    let task = ctx.spawn(async {});
    let idle = tokio::spawn(ctx.idle());
    in_time(task).await.unwrap();
    settle().await;
    assert!(!idle.is_finished());
    in_time(child.close()).await;
    in_time(idle).await.unwrap();
    assert_eq!(ctx.state(), State::Open);
}
