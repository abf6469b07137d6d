//! The close: that it ends, that it does not end early, and what it tells (I1, I2, I8, I10, §4).

use crate::util::{Counter, Log, Notes, age, in_time, poll_once, settle};
use headcount::{CloseReason, CloseStatus, Context, OnFailure, Registry, State, TaskError};
use std::{pin::pin, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// I1
#[tokio::test]
async fn close_returns_after_every_future_is_dropped() {
    let counter = Counter::default();
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    for ctx in [&ctx, &child] {
        for _ in 0..100 {
            let (guard, weak) = (counter.guard(), ctx.downgrade());
            ctx.spawn(async move {
                weak.cancelled().await;
                tokio::task::yield_now().await;
                drop(guard);
            });
        }
    }
    let report = in_time(ctx.close()).await;
    assert_eq!(counter.alive(), 0);
    assert_eq!(
        (report.finished(), report.children(), report.is_clean()),
        (200, 1, true)
    );
}

/// I1: not before, however long it takes.
#[tokio::test(start_paused = true)]
async fn close_does_not_return_while_one_task_runs() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::MAX)
        .open();
    let (finish, finished) = oneshot::channel::<()>();
    ctx.spawn(async move { finished.await });
    let mut close = pin!(ctx.close());
    for _ in 0..10 {
        assert!(
            tokio::time::timeout(Duration::from_secs(3600), &mut close)
                .await
                .is_err()
        );
    }
    assert_eq!(ctx.state(), State::Closing);
    finish.send(()).unwrap();
    assert_eq!(in_time(close).await.finished(), 1);
}

/// I1: a future that is dropped slowly is still a future.
#[test]
fn close_waits_for_destructors() {
    let rt = crate::util::multi_thread(2);
    rt.block_on(async {
        for _ in 0..20 {
            let ctx = Registry::new().context("ctx");
            let log = Log::default();
            let slow = crate::util::OnDrop::new({
                let log = log.clone();
                move || {
                    std::thread::sleep(Duration::from_millis(5));
                    log.note("dropped");
                }
            });
            let weak = ctx.downgrade();
            ctx.spawn(async move {
                let _slow = slow;
                weak.cancelled().await;
            });
            in_time(ctx.close()).await;
            assert_eq!(log.all(), ["dropped"]);
        }
    });
}

/// I1, I2: an output that no handle can claim is dropped before close returns.
#[tokio::test]
async fn close_returns_after_unclaimed_outputs_are_dropped() {
    let counter = Counter::default();
    let ctx = Registry::new().context("ctx");
    for _ in 0..10 {
        let guard = counter.guard();
        drop(ctx.spawn(async move { guard }));
    }
    in_time(ctx.close()).await;
    assert_eq!((counter.alive(), counter.dropped()), (0, 10));
}

/// §4, S7: the steps of the close, in order.
#[tokio::test]
async fn the_steps_of_a_close_come_in_order() {
    let log = Log::default();
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let note = |what: &'static str| {
        let log = log.clone();
        move || async move { log.note(what) }
    };
    drop(
        ctx.own("first", "value", Notes(log.clone(), "owned 1"))
            .unwrap(),
    );
    drop(
        ctx.own("second", "value", Notes(log.clone(), "owned 2"))
            .unwrap(),
    );
    ctx.on_close(note("on_close 1")).unwrap();
    ctx.on_close(note("on_close 2")).unwrap();
    ctx.on_closing(note("on_closing 1")).unwrap();
    ctx.on_closing(note("on_closing 2")).unwrap();
    child.on_closing(note("child on_closing")).unwrap();
    child.on_close(note("child on_close")).unwrap();
    for (ctx, what) in [(&ctx, "task"), (&child, "child task")] {
        let (token, log) = (ctx.token(), log.clone());
        ctx.spawn(async move {
            token.cancelled().await;
            log.note(what);
        });
    }
    settle().await;
    in_time(ctx.close()).await;
    let mut all = log.all();
    // Tasks run side by side; the child's must end before the child's hook.
    let at = |what: &str| log.all().iter().position(|noted| noted == what).unwrap();
    assert!(at("child task") < at("child on_close"));
    all.retain(|what| !what.contains("task"));
    assert_eq!(
        all,
        [
            "on_closing 2",
            "on_closing 1",
            "child on_closing",
            "child on_close",
            "on_close 2",
            "on_close 1",
            "owned 2",
            "owned 1"
        ]
    );
    assert!(at("task") < at("on_close 2"));
}

/// §4, step 2: the call that begins the close cancels all tokens; hooks start after that.
#[tokio::test]
async fn on_closing_hooks_start_after_all_tokens_are_cancelled() {
    let ctx = Registry::new().context("ctx");
    let child = ctx.child("child");
    let (tell, told) = oneshot::channel();
    let tokens = [ctx.token(), child.token()];
    child
        .on_closing(move || async move {
            let _ = tell.send(tokens.map(|token| token.is_cancelled()));
        })
        .unwrap();
    let closing = ctx.close();
    assert!(ctx.token().is_cancelled() && child.token().is_cancelled());
    assert!(ctx.is_cancelled() && child.is_cancelled());
    in_time(closing).await;
    assert_eq!(told.await.unwrap(), [true, true]);
}

/// I8, S6
#[tokio::test]
async fn concurrent_closers_share_one_report_and_the_first_reason_wins() {
    let ctx = Registry::new().context("ctx");
    let ran = Counter::default();
    let guard = ran.guard();
    ctx.on_close(move || async move { drop(guard) }).unwrap();
    ctx.request_close("first");
    ctx.request_close(CloseReason::Culled);
    let reports = in_time(futures::future::join_all((0..10).map(|_| ctx.close()))).await;
    for report in &reports {
        assert_eq!(report.reason(), &CloseReason::Requested("first".into()));
        assert_eq!(
            (report.hooks().ran, report.duration()),
            (1, reports[0].duration())
        );
    }
    assert_eq!(ctx.close().await.duration(), reports[0].duration());
    assert_eq!(ran.dropped(), 1);
}

/// I8: dropping a close abandons nothing.
#[tokio::test]
async fn a_close_goes_on_when_its_future_is_dropped() {
    let ctx = Registry::new().context("ctx");
    let (finish, finished) = oneshot::channel::<()>();
    ctx.spawn(async move { finished.await });
    {
        let mut close = pin!(ctx.close());
        assert!(poll_once(close.as_mut()).is_pending());
    }
    assert_eq!(ctx.state(), State::Closing);
    finish.send(()).unwrap();
    assert_eq!(in_time(ctx.closed()).await.finished(), 1);
    assert_eq!(ctx.state(), State::Closed);
}

/// S19
#[tokio::test]
async fn closed_waits_without_closing() {
    let ctx = Registry::new().context("ctx");
    let mut closed = pin!(ctx.closed());
    assert!(poll_once(closed.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(closed.as_mut()).is_pending());
    assert_eq!(ctx.state(), State::Open);
    ctx.request_close("now");
    assert_eq!(in_time(closed).await.reason(), &CloseReason::from("now"));
}

/// §4, step 3: cancel, grace, abort, and waiting on.
#[tokio::test(start_paused = true)]
async fn who_does_not_listen_is_aborted_after_the_grace_period() {
    let counter = Counter::default();
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::from_secs(7))
        .open();
    let guard = counter.guard();
    let deaf = ctx.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    let start = Instant::now();
    let report = in_time(ctx.close()).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(
        (report.aborted(), report.is_clean(), counter.alive()),
        (1, false, 0)
    );
    assert!(matches!(deaf.await, Err(TaskError::Aborted)));
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_is_five_seconds_unless_set_and_children_inherit_it() {
    let registry = Registry::new();
    let ctx = registry.context("default");
    ctx.spawn(std::future::pending::<()>());
    let start = Instant::now();
    in_time(ctx.close()).await;
    assert_eq!(start.elapsed().as_secs(), 5);

    let ctx = registry
        .context_builder("set")
        .grace(Duration::from_secs(2))
        .open();
    let child = ctx.child("child");
    child.spawn(std::future::pending::<()>());
    let start = Instant::now();
    in_time(ctx.close()).await;
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn close_within_says_who_is_in_the_way_and_the_close_goes_on() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .grace(Duration::MAX)
        .open();
    let child = ctx.child("child");
    let (finish, finished) = oneshot::channel::<()>();
    child.task("straggler").spawn(async move { finished.await });
    let other = ctx.task("not in the way any more").spawn(async {});
    other.await.unwrap();

    let still = in_time(ctx.close_within(Duration::from_secs(3)))
        .await
        .unwrap_err();
    let remaining = still.remaining();
    assert_eq!(remaining.tasks().len(), 1);
    assert!(remaining.find("straggler").is_some() && remaining.find("child").is_some());
    let said = still.to_string();
    assert!(
        said.contains("straggler (task running for ")
            && said.contains(age("for 3.0s, spawned at ")),
        "{said}"
    );
    assert!(said.contains("close.rs"), "{said}");

    finish.send(()).unwrap();
    assert_eq!(
        in_time(ctx.close_within(Duration::from_secs(3)))
            .await
            .unwrap()
            .finished(),
        2
    );
}

/// I10
#[tokio::test]
async fn close_from_inside_a_task_begins_and_returns() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    let status = ctx.spawn(async move {
        let ctx = weak.upgrade().unwrap();
        ctx.close().await.status()
    });
    assert_eq!(in_time(status).await.unwrap(), CloseStatus::Begun);
    let report = in_time(ctx.closed()).await;
    assert_eq!(
        (report.status(), report.finished()),
        (CloseStatus::Closed, 1)
    );
}

/// I10: a descendant's task is inside as well, a sibling's is not.
#[tokio::test]
async fn close_from_inside_a_descendant_begins_and_from_a_sibling_waits() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let grandchild = child.child("grandchild");
    let sibling = registry.context("sibling");
    let close = |ctx: Context| async move { ctx.close().await.status() };
    let inside = grandchild.spawn(close(ctx.clone()));
    assert_eq!(in_time(inside).await.unwrap(), CloseStatus::Begun);
    let outside = sibling.spawn(close(ctx.clone()));
    assert_eq!(in_time(outside).await.unwrap(), CloseStatus::Closed);
    assert_eq!(in_time(sibling.close()).await.finished(), 1);
}

/// I10: also from a hook, from `closed`, from `close_within`, from the registry's close, and from a
/// blocking closure.
#[tokio::test]
async fn nothing_that_waits_for_itself_hangs() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let log = Log::default();
    ctx.on_close({
        let (ctx, log) = (ctx.downgrade(), log.clone());
        move || async move {
            let ctx = ctx.upgrade().unwrap();
            log.note(format!("{:?}", ctx.close().await.status()));
            log.note(format!("{:?}", ctx.closed().await.status()));
            log.note(format!(
                "{:?}",
                ctx.close_within(Duration::MAX).await.unwrap().status()
            ));
        }
    })
    .unwrap();
    let handle = tokio::runtime::Handle::current();
    let weak = ctx.downgrade();
    let blocking = ctx.spawn_blocking(move || {
        let ctx = weak.upgrade().unwrap();
        handle.block_on(ctx.close()).status()
    });
    assert_eq!(in_time(blocking).await.unwrap(), CloseStatus::Begun);
    let report = in_time(ctx.closed()).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(log.all(), ["Begun", "Begun", "Begun"]);

    let ctx = registry.context("another");
    let whole = registry.clone();
    let status = ctx.spawn(async move { whole.close().await.status() });
    assert_eq!(in_time(status).await.unwrap(), CloseStatus::Begun);
    assert!(in_time(registry.close()).await.is_clean());
}

/// I10: a task that waits for `closed()` of its own context is told of the beginning.
#[tokio::test]
async fn closed_from_inside_resolves_when_the_close_begins() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    let task = ctx.spawn(async move { weak.upgrade().unwrap().closed().await.status() });
    settle().await;
    assert!(!task.is_finished());
    assert!(in_time(ctx.close()).await.is_clean());
    assert_eq!(task.await.unwrap(), CloseStatus::Begun);
}

/// I2: a storm of spawns against a close; each is refused or awaited.
#[test]
fn spawns_during_a_close_are_refused_or_awaited() {
    let rt = crate::util::multi_thread(2);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..200 {
        let ctx = Registry::new().context("ctx");
        let counter = Counter::default();
        let spawner = std::thread::spawn({
            let (ctx, counter, _enter) = (ctx.clone(), counter.clone(), rt.enter());
            let handle = rt.handle().clone();
            move || {
                let _enter = handle.enter();
                let mut accepted = 0;
                for _ in 0..200 {
                    let guard = counter.guard();
                    accepted += usize::from(ctx.try_spawn(async move { drop(guard) }).is_ok());
                }
                accepted
            }
        });
        for _ in 0..round % 50 {
            std::thread::yield_now();
        }
        let report = rt.block_on(in_time(ctx.close()));
        let alive = counter.alive();
        let ok = spawner.join().unwrap();
        assert!(
            alive <= 1,
            "only a future on its way to its refusal may be alive: {alive}"
        );
        assert_eq!(report.finished(), ok as u64);
        accepted += ok;
        refused += 200 - ok;
    }
    assert!(
        accepted > 0 && refused > 0,
        "no interleaving: {accepted} accepted, {refused} refused"
    );
}

#[tokio::test]
async fn a_closed_context_closes_again_at_once_and_keeps_its_report() {
    let ctx = Registry::new().context("ctx");
    ctx.spawn(async {}).await.unwrap();
    let first = in_time(ctx.close()).await;
    let mut again = pin!(ctx.close());
    assert!(poll_once(again.as_mut()).is_ready());
    assert_eq!(first.status(), CloseStatus::Closed);
    let mut closed = pin!(ctx.closed());
    assert!(poll_once(closed.as_mut()).is_ready());
}

/// I12, unless the context asks for it.
#[tokio::test]
async fn a_panic_stays_with_its_task_unless_the_context_asks_for_it() {
    let registry = Registry::new();
    let calm = registry.context("calm");
    let sibling = calm.spawn(std::future::pending::<()>());
    let panicked = calm.spawn(async { panic!("on purpose") });
    assert!(
        matches!(in_time(panicked).await, Err(TaskError::Panicked(_, message)) if message == "on purpose")
    );
    settle().await;
    assert_eq!((calm.state(), sibling.is_finished()), (State::Open, false));
    sibling.abort();
    assert_eq!(in_time(calm.close()).await.panicked(), 1);

    let strict = registry
        .context_builder("strict")
        .on_failure(OnFailure::Close)
        .open();
    let sibling = strict
        .task("sibling")
        .cancellable()
        .spawn(std::future::pending::<()>());
    let panicked = strict.spawn(async { panic!("on purpose") });
    let report = in_time(strict.closed()).await;
    assert!(
        matches!(report.reason(), CloseReason::Failed(failure) if failure.message() == "on purpose")
    );
    assert_eq!((report.panicked(), report.cancelled()), (1, 1));
    assert!(matches!(sibling.await, Err(TaskError::Cancelled)));
    assert!(panicked.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn the_report_prints_what_happened() {
    let grace = Duration::from_secs(1);
    let ctx = Registry::new().context_builder("svc").grace(grace).open();
    ctx.spawn(async {}).await.unwrap();
    ctx.spawn(async { panic!("on purpose") }).await.unwrap_err();
    ctx.spawn(std::future::pending::<()>());
    ctx.task("polite")
        .cancellable()
        .spawn(std::future::pending::<()>());
    ctx.on_close(|| async { Err::<(), _>("disk full") })
        .unwrap();
    let child = ctx.child("child");
    ctx.request_close("deploy");
    ctx.spawn(async {});
    let report = in_time(ctx.closed()).await;
    drop(child);
    let printed = report.to_string();
    assert!(
        printed.starts_with("closed svc (requested: deploy) in "),
        "{printed}"
    );
    assert!(
        printed.contains("tasks: 1 finished, 1 cancelled, 1 aborted, 1 panicked, 1 refused"),
        "{printed}"
    );
    assert!(printed.contains("descendants: 1 closed"), "{printed}");
    assert!(
        printed.contains("hooks: 1 ran, 1 failed, 0 timed out"),
        "{printed}"
    );
    assert!(
        printed.contains("! hook it::close::the_report_prints_what_happened at tests/it/close.rs:"),
        "{printed}"
    );
    assert!(
        printed.contains(
            "! task it::close::the_report_prints_what_happened (spawned at tests/it/close.rs:"
        ),
        "{printed}"
    );
    assert!(
        printed.contains(") panicked: on purpose [svc]"),
        "{printed}"
    );
    let failures = printed.split("\n  ! did not end in time").next().unwrap();
    assert!(failures.ends_with("disk full [svc]"), "{printed}");
}
