//! Closes across runtimes and their ends (I8, I11).

use crate::util::{Counter, current_thread, in_time, multi_thread, poll_once, settle};
use headcount::{RefusedReason, Registry, State, TaskError};
use std::{pin::pin, time::Duration};

/// A context whose runtime is gone closes on another, hooks and all.
#[test]
fn a_context_closes_on_another_runtime_when_its_own_is_gone() {
    let counter = Counter::default();
    let rt = current_thread();
    let ctx = rt.block_on(async {
        let ctx = Registry::new().context("ctx");
        let (in_task, in_hook) = (counter.guard(), counter.guard());
        ctx.spawn(async move {
            let _in_task = in_task;
            std::future::pending::<()>().await;
        });
        ctx.on_close(move || async move { drop(in_hook) }).unwrap();
        settle().await;
        ctx
    });
    drop(rt);
    assert_eq!(ctx.state(), State::Open);
    let report = current_thread().block_on(in_time(ctx.close()));
    assert_eq!(
        (report.aborted(), report.hooks().ran, counter.alive()),
        (1, 1, 0)
    );
}

/// I8: the runtime that drove the close ends in the middle of it; another one takes over.
#[test]
fn a_close_whose_runtime_ends_is_taken_over_by_who_awaits_it() {
    let registry = Registry::new();
    let first = current_thread();
    let (ctx, child) = first.block_on(async {
        let ctx = registry
            .context_builder("ctx")
            .hook_timeout(Duration::from_millis(200))
            .open();
        let child = ctx.child("child");
        child.on_close(|| async {}).unwrap();
        ctx.on_close(|| async {}).unwrap();
        ctx.on_close(|| async { std::future::pending::<()>().await })
            .unwrap();
        let mut close = pin!(ctx.close());
        assert!(poll_once(close.as_mut()).is_pending());
        while child.state() != State::Closed {
            tokio::task::yield_now().await;
        }
        settle().await;
        (ctx.clone(), child)
    });
    assert_eq!(ctx.state(), State::Closing);
    drop(first);
    assert_eq!(ctx.state(), State::Closing);
    let report = current_thread().block_on(in_time(ctx.closed()));
    assert_eq!(
        (report.hooks().ran, report.hooks().failed),
        (2, 1),
        "the child's ran as well"
    );
    assert!(
        report.failures()[0]
            .message()
            .contains("its runtime has ended"),
        "{report}"
    );
    drop((ctx, child));
    assert!(registry.is_empty());
}

/// I8: a caller on another runtime was waiting all the while.
#[test]
fn a_waiting_closer_takes_over_when_the_driving_runtime_ends() {
    let first = multi_thread(1);
    let second = multi_thread(1);
    for _ in 0..20 {
        let rt = multi_thread(1);
        let ctx = rt.block_on(async {
            Registry::new()
                .context_builder("ctx")
                .hook_timeout(Duration::from_millis(50))
                .open()
        });
        let counter = Counter::default();
        let guard = counter.guard();
        ctx.on_close(move || async move { drop(guard) }).unwrap();
        ctx.on_close(|| async { std::future::pending::<()>().await })
            .unwrap();
        let waiters = [&first, &second].map(|rt| {
            let ctx = ctx.clone();
            rt.spawn(async move { ctx.close().await })
        });
        std::thread::sleep(Duration::from_millis(5));
        rt.shutdown_timeout(Duration::from_secs(1));
        for waiter in waiters {
            let report = first.block_on(in_time(waiter)).unwrap();
            assert_eq!(report.hooks().ran, 1, "{report}");
        }
        assert_eq!(counter.dropped(), 1);
    }
    first.shutdown_background();
    second.shutdown_background();
}

/// I11: the runtime ends while a dropped context is closing on it: no driver is left.
#[test]
fn a_background_close_ends_with_its_runtime() {
    for settle_first in [false, true] {
        let registry = Registry::new();
        let counter = Counter::default();
        let rt = current_thread();
        let weak = rt.block_on(async {
            let ctx = registry.context("ctx");
            let child = ctx.child("child");
            let weak = ctx.downgrade();
            for ctx in [&ctx, &child] {
                let guard = counter.guard();
                ctx.spawn(async move {
                    let _guard = guard;
                    std::future::pending::<()>().await;
                });
                let guard = counter.guard();
                ctx.on_close(move || async move { drop(guard) }).unwrap();
                drop(ctx.own("value", "value", counter.guard()).unwrap());
            }
            drop((ctx, child));
            if settle_first {
                settle().await;
            }
            weak
        });
        assert_eq!((weak.state(), counter.alive()), (State::Closing, 6));
        drop(rt);
        assert_eq!((weak.state(), counter.alive()), (State::Closed, 0));
        assert!(registry.is_empty());
    }
}

/// A context that is opened outside uses the first runtime it sees.
#[test]
fn a_context_opened_without_a_runtime_uses_the_first_it_sees() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let rt = current_thread();
    let here = rt.block_on(async {
        in_time(ctx.spawn(async { tokio::runtime::Handle::current().id() }))
            .await
            .unwrap()
    });
    assert_eq!(here, rt.handle().id());
    // From now on from any thread.
    let task = ctx.spawn(async { 5 });
    assert_eq!(rt.block_on(in_time(task)).unwrap(), 5);
    rt.block_on(in_time(registry.close()));
}

/// The crate has timers of its own.
#[test]
fn a_runtime_without_timers_closes_within_the_same_time_limits() {
    let rt = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    rt.block_on(async {
        let registry = Registry::new();
        for grace in [Duration::ZERO, Duration::from_secs(60)] {
            let ctx = registry.context_builder("ctx").grace(grace).open();
            let weak = ctx.downgrade();
            ctx.spawn(async move {
                weak.cancelled().await;
                if grace.is_zero() {
                    std::future::pending::<()>().await;
                }
            });
            ctx.on_close(settle).unwrap();
            let report = ctx.close().await;
            assert_eq!(report.is_clean(), !grace.is_zero(), "{report}");
        }
    });
}

/// The runtime's own count of tasks agrees, on one thread at once.
#[test]
fn after_a_close_the_runtime_has_no_task_of_ours_left() {
    let rt = current_thread();
    rt.block_on(async {
        let alive = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = alive();
        let ctx = Registry::new().context("ctx");
        let children: Vec<_> = (0..20).map(|_| ctx.child("child")).collect();
        for ctx in &children {
            for _ in 0..20 {
                ctx.task("task")
                    .cancellable()
                    .spawn(std::future::pending::<()>());
            }
        }
        settle().await;
        assert_eq!(alive(), before + 400);
        in_time(ctx.close()).await;
        assert_eq!(alive(), before);
    });
}

/// A runtime that is not driven is no reason to hang: the caller that awaits the close has one.
#[test]
fn a_close_does_not_depend_on_a_runtime_that_stands_still() {
    let idle = current_thread();
    let counter = Counter::default();
    let ctx = idle.block_on(async { Registry::new().context("ctx") });
    let guard = counter.guard();
    ctx.on_close(move || async move { drop(guard) }).unwrap();
    assert!(current_thread().block_on(in_time(ctx.close())).is_clean());
    assert_eq!(counter.dropped(), 1);
}

/// I8, I11: dropped on a runtime that ends, it goes on on its own.
#[test]
fn a_background_close_moves_to_the_contexts_own_runtime() {
    let own = multi_thread(1);
    let registry = Registry::new();
    let ctx = own.block_on(async { registry.context("ctx") });
    let counter = Counter::default();
    let guard = counter.guard();
    ctx.on_close(move || async move { drop(guard) }).unwrap();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    ctx.spawn(async move { finished.await });
    let other = current_thread();
    other.block_on(async move {
        drop(ctx);
        settle().await;
    });
    drop(other);
    assert_eq!(counter.alive(), 1);
    finish.send(()).unwrap();
    own.block_on(in_time(registry.idle()));
    assert_eq!((counter.alive(), registry.count()), (0, 0));
}

/// As a static one is used by several tests, each on a runtime of its own.
#[test]
fn a_context_that_outlives_its_runtime_works_on_the_one_at_hand() {
    let registry = Registry::new();
    let first = current_thread();
    let ctx = first.block_on(async {
        let ctx = registry.context("client");
        assert!(ctx.spawn(async {}).await.is_ok());
        ctx
    });
    drop(first);
    for _ in 0..2 {
        let next = current_thread();
        next.block_on(async {
            assert_eq!(in_time(ctx.spawn(async { 1 })).await.unwrap(), 1);
            let task = ctx.try_spawn(async { 2 }).unwrap();
            assert_eq!(in_time(task).await.unwrap(), 2);
            let blocking = ctx.spawn_blocking(|| 3);
            assert_eq!(in_time(blocking).await.unwrap(), 3);
            let child = ctx.child("request");
            assert_eq!(in_time(child.spawn(async { 4 })).await.unwrap(), 4);
            in_time(child.close()).await;
        });
    }
    let last = current_thread();
    let report = last.block_on(in_time(ctx.close()));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_task_whose_runtime_is_gone_is_handed_back_where_there_is_no_other() {
    let said = crate::events::said_by(|_| {
        let registry = Registry::new();
        let runtime = current_thread();
        let ctx = runtime.block_on(async { registry.context("client") });
        drop(runtime);
        for _ in 0..3 {
            let refused = ctx.try_spawn(async { 1 }).unwrap_err();
            assert_eq!(refused.reason(), RefusedReason::RuntimeGone);
        }
        let task = ctx.spawn(async { 1 });
        let last = current_thread();
        let result = last.block_on(in_time(task));
        assert!(matches!(result, Err(TaskError::RuntimeGone)));
        last.block_on(in_time(ctx.close()));
    });
    let told = said.iter().filter(|line| line.contains("has ended"));
    assert_eq!(told.count(), 1, "{said:#?}");
    assert!(said[0].contains("context=client"), "{said:#?}");
}

/// Another thread's runtime is not asked each time.
#[test]
fn a_context_is_used_from_other_runtimes_and_from_none() {
    let (own, other) = (multi_thread(1), current_thread());
    let ctx = own.block_on(async { Registry::new().context("ctx") });
    let id = own.handle().id();
    let ran_on = || async { tokio::runtime::Handle::current().id() };
    for _ in 0..3 {
        let task = ctx.spawn(ran_on());
        assert_eq!(other.block_on(in_time(task)).unwrap(), id);
        let ran = other.block_on(async { in_time(ctx.spawn(ran_on())).await.unwrap() });
        assert_eq!(ran, id);
    }
    other.block_on(in_time(ctx.close()));
}
