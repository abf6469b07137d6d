//! Hooks (I7; S3, S4, S5).

use crate::util::{Counter, Log, Notes, OnDrop, current_thread, in_time, settle};
use cpu_time::ThreadTime;
use headcount::{Registry, State};
use std::{pin::pin, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// I7, S4, S7
#[tokio::test(start_paused = true)]
async fn hooks_run_lifo_and_one_that_fails_does_not_stop_the_next() {
    let log = Log::default();
    let ctx = Registry::new()
        .context_builder("ctx")
        .hook_timeout(Duration::from_secs(3))
        .open();
    let note = |what: &'static str| {
        let log = log.clone();
        move || async move { log.note(what) }
    };
    ctx.on_close(note("last")).unwrap();
    ctx.on_close(|| async { Err::<(), _>("an error") }).unwrap();
    ctx.on_close(note("after the hang")).unwrap();
    ctx.on_close(std::future::pending::<()>).unwrap();
    ctx.on_close(note("after the panics")).unwrap();
    ctx.on_close(|| async { panic!("in the future") }).unwrap();
    let panics = || -> std::future::Ready<()> { panic!("in the closure") };
    ctx.on_close(panics).unwrap();
    ctx.on_close(note("first")).unwrap();

    let start = Instant::now();
    let report = in_time(ctx.close()).await;
    assert_eq!(
        log.all(),
        ["first", "after the panics", "after the hang", "last"]
    );
    assert_eq!(start.elapsed().as_secs(), 3);
    let hooks = report.hooks();
    assert_eq!((hooks.ran, hooks.failed, hooks.timed_out), (7, 3, 1));
    let failures = report.failures();
    for (failure, end) in failures.iter().zip([
        "panicked: in the closure",
        "panicked: in the future",
        "timed out",
        "an error",
    ]) {
        let failure = failure.to_string();
        assert!(failure.ends_with(&format!("{end} [ctx]")), "{failure}");
    }
    assert_eq!(failures.len(), 4);
    assert!(!report.is_clean());
}

/// I7, S5
#[tokio::test]
async fn a_hook_registered_while_closing_still_runs() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    ctx.on_close({
        let (ctx, log) = (ctx.downgrade(), log.clone());
        move || async move {
            let ctx = ctx.upgrade().unwrap();
            assert_eq!(ctx.state(), State::Closing);
            log.note("outer");
            for what in ["on_closing", "on_close"] {
                let log = log.clone();
                let hook = move || async move { log.note(what) };
                if what == "on_close" {
                    ctx.on_close(hook)
                } else {
                    ctx.on_closing(hook)
                }
                .unwrap();
            }
        }
    })
    .unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!(log.all(), ["outer", "on_close", "on_closing"]);
    assert!(report.is_clean(), "{report}");
}

/// I7, S5: never lost silently.
#[tokio::test]
async fn a_hook_registered_after_the_close_is_handed_back() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.close()).await;
    let log = Log::default();
    let hook = {
        let log = log.clone();
        move || async move { log.note("ran by hand") }
    };
    let refused = ctx.on_close(hook).unwrap_err();
    let refused = ctx.on_closing(refused.into_inner()).unwrap_err();
    assert!(log.all().is_empty());
    (refused.into_inner())().await;
    assert_eq!(log.all(), ["ran by hand"]);
}

/// S3
#[tokio::test]
async fn a_cancelled_hook_does_not_run_and_cancelling_again_does_nothing() {
    let ctx = Registry::new().context("ctx");
    let counter = Counter::default();
    let (one, two) = (counter.guard(), counter.guard());
    let close = ctx
        .on_close(move || async move {
            drop(one);
            panic!("it was cancelled")
        })
        .unwrap();
    let closing = ctx
        .on_closing(move || async move {
            drop(two);
            panic!("it was cancelled")
        })
        .unwrap();
    let kept = ctx.on_close(|| async {}).unwrap();
    assert!(close.cancel() && closing.cancel());
    assert_eq!(counter.dropped(), 2);
    assert!(!close.cancel() && !closing.cancel());
    let report = in_time(ctx.close()).await;
    assert_eq!((report.hooks().ran, report.is_clean()), (1, true));
    assert!(!kept.cancel(), "it has run");
    // S3: neither does it hold the context.
    let weak = ctx.downgrade();
    drop(ctx);
    assert!(weak.upgrade().is_none());
    assert!(!kept.cancel());
}

/// I7: dropping the handle leaves the hook in place.
#[tokio::test]
async fn a_hook_runs_exactly_once_whatever_becomes_of_its_handle() {
    let ctx = Registry::new().context("ctx");
    let counter = Counter::default();
    for _ in 0..5 {
        let guard = counter.guard();
        drop(ctx.on_close(move || async move { drop(guard) }).unwrap());
    }
    in_time(futures::future::join(ctx.close(), ctx.close())).await;
    assert_eq!((counter.alive(), counter.dropped()), (0, 5));
}

/// §4, steps 2 and 4: `on_closing` hooks run beside the drain, and the `on_close` hooks wait for them.
#[tokio::test(start_paused = true)]
async fn on_closing_hooks_run_beside_the_drain_and_are_awaited() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    let (tell, told) = oneshot::channel::<()>();
    ctx.spawn({
        let log = log.clone();
        async move {
            told.await.unwrap();
            log.note("task");
        }
    });
    ctx.on_closing({
        let log = log.clone();
        move || async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tell.send(()).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            log.note("on_closing");
        }
    })
    .unwrap();
    ctx.on_close({
        let log = log.clone();
        move || async move { log.note("on_close") }
    })
    .unwrap();
    in_time(ctx.close()).await;
    assert_eq!(log.all(), ["task", "on_closing", "on_close"]);
}

/// I7: a hook time limit also holds for `on_closing`, and a hook that ends at its limit is dropped.
#[tokio::test(start_paused = true)]
async fn hooks_that_hang_are_dropped_at_the_limit() {
    let counter = Counter::default();
    let ctx = Registry::new()
        .context_builder("ctx")
        .hook_timeout(Duration::from_secs(2))
        .open();
    let (one, two) = (counter.guard(), counter.guard());
    let hang = |guard| {
        move || async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    };
    ctx.on_closing(hang(one)).unwrap();
    ctx.on_close(hang(two)).unwrap();
    let start = Instant::now();
    let report = in_time(ctx.close()).await;
    assert_eq!(
        (start.elapsed().as_secs(), report.hooks().timed_out),
        (4, 2)
    );
    assert_eq!(counter.dropped(), 2);
}

/// A hook that panics in its destructor as well is one failure and no more.
#[tokio::test]
async fn a_hook_that_panics_while_it_is_dropped_is_noted() {
    let ctx = Registry::new()
        .context_builder("ctx")
        .hook_timeout(Duration::ZERO)
        .open();
    ctx.on_close(|| async {}).unwrap();
    ctx.on_close(|| {
        let bomb = OnDrop::new(|| panic!("destructor"));
        async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        }
    })
    .unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!((report.hooks().ran, report.hooks().timed_out), (1, 1));
}

/// A hook may spawn a child or a task nowhere any more, and says so.
#[tokio::test]
async fn hooks_cannot_reopen_what_closes() {
    let ctx = Registry::new().context("ctx");
    let weak = ctx.downgrade();
    let (tell, told) = oneshot::channel();
    ctx.on_close(move || async move {
        let ctx = weak.upgrade().unwrap();
        let spawn = ctx.try_spawn(async {}).is_err();
        let child = ctx.try_child("child").is_err();
        tell.send((spawn, child, ctx.child("closed").state()))
            .unwrap();
    })
    .unwrap();
    in_time(ctx.close()).await;
    assert_eq!(told.await.unwrap(), (true, true, State::Closed));
}

/// I8: dropping the close future in the middle of a hook does not interrupt the hook.
#[tokio::test(start_paused = true)]
async fn a_hook_runs_on_when_the_close_future_is_dropped() {
    let ctx = Registry::new().context("ctx");
    let log = Log::default();
    ctx.on_close({
        let log = log.clone();
        move || async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            log.note("done");
        }
    })
    .unwrap();
    {
        let mut close = pin!(ctx.close());
        assert!(
            tokio::time::timeout(Duration::from_millis(500), &mut close)
                .await
                .is_err()
        );
    }
    settle().await;
    assert!(log.all().is_empty());
    assert_eq!(in_time(ctx.closed()).await.hooks().ran, 1);
    assert_eq!(log.all(), ["done"]);
}

/// I7: a hook that uses a value finds it, because the value was there before the hook.
#[tokio::test]
async fn hooks_and_owned_values_are_one_stack() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    let note = |what: &'static str| {
        let log = log.clone();
        move || async move { log.note(what) }
    };
    let own = |what| drop(ctx.own(what, "value", Notes(log.clone(), what)).unwrap());
    own("value 1");
    ctx.on_close(note("hook 2")).unwrap();
    own("value 3");
    own("value 4");
    ctx.on_close(note("hook 5")).unwrap();
    in_time(ctx.close()).await;
    assert_eq!(
        log.all(),
        ["hook 5", "value 4", "value 3", "hook 2", "value 1"]
    );
}

/// I7: what a hook adds is next, and what a destructor adds as well.
#[tokio::test]
async fn what_is_added_while_the_stack_unwinds_is_next() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    drop(
        ctx.own("first", "value", Notes(log.clone(), "first"))
            .unwrap(),
    );
    let adds = {
        let (ctx, log) = (ctx.downgrade(), log.clone());
        move || {
            let ctx = ctx.upgrade().unwrap();
            let late = Notes(log.clone(), "value of a destructor");
            drop(ctx.own("late", "value", late).unwrap());
        }
    };
    let value = std::sync::Mutex::new(OnDrop::new(adds));
    drop(ctx.own("adds", "value", value).unwrap());
    let hook = {
        let (ctx, log) = (ctx.downgrade(), log.clone());
        move || async move {
            let ctx = ctx.upgrade().unwrap();
            let late = Notes(log.clone(), "value of a hook");
            drop(ctx.own("late", "value", late).unwrap());
            ctx.on_close(move || async move { log.note("hook of a hook") })
                .unwrap();
        }
    };
    ctx.on_close(hook).unwrap();
    let report = in_time(ctx.close()).await;
    assert_eq!(
        log.all(),
        [
            "hook of a hook",
            "value of a hook",
            "value of a destructor",
            "first"
        ]
    );
    assert!(report.is_clean(), "{report}");
    let refused = ctx.own("too late", "value", ()).is_err();
    assert!(refused && ctx.on_close(|| async {}).is_err());
}

/// I7, I11: where no runtime can run the hooks, they are dropped, in the same order, and named.
#[test]
fn without_a_runtime_the_same_stack_is_unwound_in_the_same_order() {
    let runtime = current_thread();
    let (log, registry) = (Log::default(), Registry::new());
    let ctx = {
        let _entered = runtime.enter();
        registry.context("ctx")
    };
    let own = |what| drop(ctx.own(what, "value", Notes(log.clone(), what)).unwrap());
    let hook = |what| {
        let captured = Notes(log.clone(), what);
        ctx.on_close(move || async move { drop(captured) }).unwrap();
    };
    own("value 1");
    hook("hook 2");
    own("value 3");
    hook("hook 4");
    drop(runtime);
    let parent = ctx.downgrade();
    drop(ctx);
    assert_eq!(parent.state(), State::Closed);
    assert_eq!(log.all(), ["hook 4", "value 3", "hook 2", "value 1"]);
}

/// S3: a hook that runs cannot be cancelled, also not by itself.
#[tokio::test]
async fn a_hook_that_runs_cannot_be_cancelled() {
    let ctx = Registry::new().context("ctx");
    let (give, take) = oneshot::channel::<headcount::Hook>();
    let (tell, told) = oneshot::channel();
    let hook = ctx
        .on_close(move || async move { tell.send(take.await.unwrap().cancel()).unwrap() })
        .unwrap();
    let closing = ctx.close();
    let mut closing = pin!(closing);
    tokio::select! {
        biased;
        _ = &mut closing => panic!("the hook waits"),
        () = settle() => {}
    }
    assert!(give.send(hook).is_ok());
    let report = in_time(closing).await;
    assert_eq!((told.await, report.hooks().ran), (Ok(false), 1));
}

/// I13: to cancel a thousand hooks takes about as long among a hundred thousand as among a thousand.
#[test]
fn cancelling_a_hook_does_not_search_through_the_others() {
    const CANCELLED: usize = 1_000;
    let took = |others: usize| {
        let ctx = Registry::new().context("ctx");
        let mut hooks: Vec<_> = (0..others)
            .map(|_| ctx.on_close(|| async {}).unwrap())
            .collect();
        // From the middle: a search from either end would meet half of the others each time.
        hooks.drain(..(others - CANCELLED) / 2);
        hooks.truncate(CANCELLED);
        let start = ThreadTime::now();
        assert!(hooks.iter().all(headcount::Hook::cancel));
        start.elapsed()
    };
    let ratios = (0..3).map(|_| {
        let few = took(CANCELLED).max(Duration::from_micros(20));
        took(100 * CANCELLED).as_secs_f64() / few.as_secs_f64()
    });
    let least = ratios.fold(f64::MAX, f64::min);
    assert!(least < 10., "{least} times as long among 100 times as many");
}
