//! What fails, what follows from it, and what is lost (I12, I16).

use crate::util::{Counter, OnDrop, current_thread, in_time, settle};
use headcount::{
    CloseReason, Context, FailureKind, OnConflict, OnFailure, Registry, State, TaskError,
    WeakContext,
};
use std::{
    future::{pending, poll_fn},
    task::Poll,
    time::Duration,
};
use tokio::task::LocalSet;

fn with_policy(registry: &Registry, policy: OnFailure) -> Context {
    registry.context_builder("ctx").on_failure(policy).open()
}

/// The kind and the message of the only failure of a close.
async fn only_failure(ctx: &Context) -> (FailureKind, String) {
    let report = in_time(ctx.close()).await;
    assert_eq!(report.failures().len(), 1, "{report}");
    let failure = &report.failures()[0];
    (failure.kind(), failure.message().to_owned())
}

mod values {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_what_where_and_why() {
        let server = Registry::new().context("server");
        let conn = server.child("conn");
        let line = line!() + 1;
        drop(conn.task("reader").spawn(async { panic!("bad input") }));
        settle().await;
        let report = in_time(server.close()).await;
        let failure = report.failures()[0].clone();
        assert_eq!(
            (failure.what(), failure.path(), failure.message()),
            ("reader", "server/conn", "bad input")
        );
        assert_eq!(failure.kind(), FailureKind::TaskPanicked);
        assert_eq!(failure.location().unwrap().line(), line);
        let file = file!();
        assert_eq!(
            failure.to_string(),
            format!("task reader (spawned at {file}:{line}) panicked: bad input [server/conn]")
        );
        assert_eq!(failure, report.failures()[0]);
        assert_eq!(conn.closed().await.failures(), report.failures());
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_of_hooks_and_values_has_its_kind() {
        use FailureKind::{DestructorPanicked, HookFailed, HookPanicked, HookTimedOut};
        let ctx = Registry::new().context("ctx");
        let value = std::sync::Mutex::new(OnDrop::new(|| panic!("value")));
        drop(ctx.own("value", "value", value).unwrap());
        ctx.on_close(|| async { Err::<(), _>("error") }).unwrap();
        ctx.on_close(|| async { panic!("panic") }).unwrap();
        ctx.on_close(pending::<()>).unwrap();
        ctx.on_close(|| {
            let bomb = OnDrop::new(|| panic!("bomb"));
            poll_fn(move |_| {
                let _ = &bomb;
                Poll::Ready(())
            })
        })
        .unwrap();
        let report = in_time(ctx.close()).await;
        let said: Vec<_> = report
            .failures()
            .iter()
            .map(|failure| (failure.kind(), failure.message()))
            .collect();
        assert_eq!(
            said,
            [
                (HookPanicked, "bomb"),
                (HookTimedOut, "timed out"),
                (HookPanicked, "panic"),
                (HookFailed, "error"),
                (DestructorPanicked, "value"),
            ]
        );
        let value = report.failures().last().unwrap();
        assert_eq!((value.what(), value.location()), ("value", None));
    }

    #[cfg(feature = "dump")]
    #[tokio::test(start_paused = true)]
    async fn a_hook_that_times_out_has_the_stack_of_its_awaits() {
        let ctx = Registry::new().context("ctx");
        ctx.on_close(|| tokio::time::sleep(Duration::from_secs(60)))
            .unwrap();
        let report = in_time(ctx.close()).await;
        let stack = report.failures()[0].stack().unwrap();
        assert!(stack.contains("tokio::time::Sleep"), "{stack}");
    }

    #[test]
    fn a_hook_without_a_runtime_is_interrupted() {
        let runtime = current_thread();
        let parent = runtime.block_on(async { Registry::new().context("parent") });
        let child = {
            let _entered = runtime.enter();
            parent.child("child")
        };
        child.on_close(|| async {}).unwrap();
        drop(runtime);
        drop(child);
        let report = current_thread().block_on(in_time(parent.close()));
        assert_eq!(
            report.failures()[0].kind(),
            FailureKind::HookInterrupted,
            "{report}"
        );
        assert!(!report.is_clean());
    }

    /// I16: the list is cut, the counters are not, and what is not listed is unseen as well.
    #[tokio::test]
    async fn of_a_hundred_failures_32_are_listed_and_all_are_counted() {
        let registry = Registry::new();
        for unseen in [0, 1] {
            let ctx = registry.context("ctx");
            let child = ctx.child("child");
            let tasks: Vec<_> = (0..100)
                .map(|_| child.spawn(async { panic!("one of many") }))
                .collect();
            settle().await;
            for task in tasks.into_iter().skip(unseen) {
                assert!(task.await.unwrap_err().is_panic());
            }
            let report = in_time(ctx.close()).await;
            assert_eq!((report.failures().len(), report.panicked()), (32, 100));
            assert_eq!(report.is_clean(), unseen == 0);
        }
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_told_what_went_wrong_so_far() {
        let ctx = Registry::new().context("ctx");
        let child = ctx.child("child");
        let _ = child.task("boom").spawn(async { panic!("so far") }).await;
        ctx.spawn(async {}).await.unwrap();
        ctx.spawn(pending::<()>());
        let weak = ctx.downgrade();
        ctx.task("late").spawn(async move {
            weak.cancelled().await;
            let ctx = weak.upgrade().unwrap();
            drop(ctx.spawn(async {}));
        });
        settle().await;
        let limit = Duration::from_millis(20);
        let still = ctx.close_within(limit).await.unwrap_err();
        assert_eq!(still.failures()[0].path(), "ctx/child");
        assert_eq!(
            (still.finished(), still.panicked(), still.refused()),
            (2, 1, 1),
            "{still}"
        );
        assert_eq!((still.cancelled(), still.aborted()), (0, 0));
    }

    #[cfg(feature = "serde")]
    #[tokio::test]
    async fn a_failure_is_serialized_with_all_it_says() {
        let ctx = Registry::new().context("ctx");
        ctx.on_close(|| async { Err::<(), _>("disk full") })
            .unwrap();
        let report = in_time(ctx.close()).await;
        let json = serde_json::to_value(&report).unwrap();
        let failure = &json["failures"][0];
        assert_eq!(failure["kind"], "hook_failed");
        assert_eq!(failure["message"], "disk full");
        assert_eq!(failure["path"], "ctx");
        assert_eq!(json["is_clean"], false);
        let reason = serde_json::to_value(CloseReason::Failed(report.failures()[0].clone()));
        assert_eq!(reason.unwrap()["failed"]["message"], "disk full");
    }
}

mod fallible {
    use super::*;

    #[tokio::test]
    async fn an_error_is_a_failure_and_reaches_the_handle_as_ever() {
        let ctx = Registry::new().context("ctx");
        let ok = ctx
            .task("ok")
            .fallible()
            .spawn(async { Ok::<_, String>(1) });
        assert_eq!(ok.await.unwrap(), Ok(1));
        let failed = ctx
            .task("err")
            .fallible()
            .spawn(async { Err::<u8, _>("disk full") });
        assert_eq!(failed.await.unwrap(), Err("disk full"));
        let report = in_time(ctx.close()).await;
        assert_eq!((report.failed(), report.finished()), (1, 2));
        assert!(report.is_clean(), "it was seen: {report}");
        let line = report.failures()[0].to_string();
        assert!(line.ends_with("failed: disk full [ctx]"), "{line}");
    }

    /// Each way to start one does the same.
    #[tokio::test]
    async fn every_kind_of_task_can_be_fallible() {
        let ctx = Registry::new().context("ctx");
        let fails = || Err::<(), _>("an error");
        let builder = || ctx.task("task").fallible();
        LocalSet::new()
            .run_until(async {
                let tasks = [
                    builder().spawn(async move { fails() }),
                    builder().try_spawn(async move { fails() }).unwrap(),
                    builder().cancellable().spawn(async move { fails() }),
                    builder().spawn_blocking(fails),
                    builder().try_spawn_blocking(fails).unwrap(),
                    builder().spawn_local(async move { fails() }),
                    builder().try_spawn_local(async move { fails() }).unwrap(),
                    builder().essential().spawn(async move { fails() }),
                ];
                for task in tasks {
                    assert_eq!(in_time(task).await.unwrap(), Err("an error"));
                }
            })
            .await;
        let report = in_time(ctx.close()).await;
        assert_eq!((report.failed(), report.failures().len()), (8, 8));
        let kinds = report.failures().iter().map(headcount::Failure::kind);
        assert!(
            kinds
                .into_iter()
                .all(|kind| kind == FailureKind::TaskFailed)
        );
    }

    #[tokio::test]
    async fn a_panic_of_a_fallible_task_is_one_failure() {
        let ctx = Registry::new().context("ctx");
        let task = ctx
            .task("task")
            .fallible()
            .essential()
            .spawn(poll_fn(|_| -> Poll<Result<(), String>> { panic!("boom") }));
        assert!(task.await.unwrap_err().is_panic());
        let only = only_failure(&ctx).await;
        assert_eq!(only, (FailureKind::TaskPanicked, "boom".to_owned()));
        assert_eq!(ctx.closed().await.failed(), 0);
    }

    /// Printing is user code: it may panic, and it belongs to the task.
    #[tokio::test]
    async fn an_error_that_panics_when_it_is_printed_is_a_failure_all_the_same() {
        struct Bomb;
        impl std::fmt::Display for Bomb {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                assert_eq!(Context::current().unwrap().name(), "ctx");
                panic!("in Display")
            }
        }
        let ctx = Registry::new().context("ctx");
        drop(
            ctx.task("task")
                .fallible()
                .spawn(async { Err::<(), _>(Bomb) }),
        );
        let (kind, message) = only_failure(&ctx).await;
        assert_eq!(kind, FailureKind::TaskFailed);
        assert!(message.ends_with("in Display"), "{message}");
    }

    #[tokio::test]
    async fn one_that_is_refused_is_handed_back() {
        let ctx = Registry::new().context("ctx");
        in_time(ctx.close()).await;
        let refused = ctx
            .task("late")
            .fallible()
            .essential()
            .try_spawn(async { Err::<(), _>("never polled") });
        assert_eq!(refused.unwrap_err().into_inner().await, Err("never polled"));
    }
}

mod essential {
    use super::*;

    #[tokio::test]
    async fn its_end_while_the_context_is_open_is_a_failure() {
        let registry = Registry::new();
        let returned = registry.context("ctx");
        let task = returned.task("task").essential().spawn(async { 5 });
        assert_eq!(task.await.unwrap(), 5);
        let said = only_failure(&returned).await;
        assert_eq!(
            said,
            (FailureKind::EssentialEnded, "it returned".to_owned())
        );
        assert_eq!(returned.closed().await.failed(), 1);

        let aborted = registry.context("ctx");
        let task = aborted.task("task").essential().spawn(pending::<()>());
        task.abort();
        assert!(matches!(task.await, Err(TaskError::Aborted)));
        let said = only_failure(&aborted).await;
        assert_eq!(
            said,
            (FailureKind::EssentialEnded, "it was aborted".to_owned())
        );

        let panicked = registry.context("ctx");
        let task = panicked
            .task("task")
            .essential()
            .spawn(async { panic!("boom") });
        assert!(task.await.is_err());
        let said = only_failure(&panicked).await;
        assert_eq!(said, (FailureKind::TaskPanicked, "boom".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn its_end_by_the_close_is_none() {
        let root = Registry::new();
        let ctx = root
            .context_builder("ctx")
            .grace(Duration::from_secs(1))
            .on_failure(OnFailure::Close)
            .open();
        let child = ctx.child("child");
        let start = |ctx: &Context| {
            ctx.task("forced").essential().spawn(pending::<()>());
            ctx.task("cancelled")
                .cancellable()
                .essential()
                .spawn(pending::<()>());
            let weak = ctx.downgrade();
            ctx.task("watches")
                .essential()
                .spawn(async move { weak.cancelled().await });
        };
        start(&ctx);
        start(&child);
        settle().await;
        let report = in_time(ctx.close()).await;
        assert_eq!(
            (report.failed(), report.failures().len()),
            (0, 0),
            "{report}"
        );
        assert_eq!((report.aborted(), report.forced()), (2, 2));
        assert_eq!(report.reason(), &CloseReason::from("close"));
    }

    /// The hook runs before the gate of the child is closed or its token cancelled, but the close has begun.
    #[tokio::test]
    async fn its_end_while_a_context_above_begins_to_close_is_none() {
        let ctx = Registry::new().context("ctx");
        let child = ctx.child("child");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        child
            .task("task")
            .essential()
            .spawn(async { drop(stopped.await) });
        ctx.on_closing(move || {
            let _ = stop.send(());
            std::future::ready(())
        })
        .unwrap();
        settle().await;
        let report = in_time(ctx.close()).await;
        assert!(report.failures().is_empty(), "{report}");
    }

    #[tokio::test]
    async fn every_kind_of_task_can_be_essential() {
        let ctx = Registry::new().context("ctx");
        let builder = || ctx.task("task").essential();
        LocalSet::new()
            .run_until(async {
                let tasks = [
                    builder().spawn(async {}),
                    builder().try_spawn(async {}).unwrap(),
                    builder().spawn_blocking(|| {}),
                    builder().try_spawn_blocking(|| {}).unwrap(),
                    builder().spawn_local(async {}),
                    builder().try_spawn_local(async {}).unwrap(),
                ];
                for task in tasks {
                    in_time(task).await.unwrap();
                }
            })
            .await;
        assert_eq!(in_time(ctx.close()).await.failed(), 6);
    }
}

mod policy {
    use super::*;

    /// I12: the nearest context that sets it decides.
    #[tokio::test]
    async fn a_panic_in_a_grandchild_closes_the_context_at_the_top() {
        let registry = Registry::new();
        let top = with_policy(&registry, OnFailure::Close);
        let middle = top.child("middle");
        let bottom = middle.child("bottom");
        let sibling = top.child("sibling");
        drop(bottom.task("worker").spawn(async { panic!("deep down") }));
        let report = in_time(top.closed()).await;
        let CloseReason::Failed(failure) = report.reason() else {
            panic!("{report}")
        };
        assert_eq!(
            (failure.what(), failure.path()),
            ("worker", "ctx/middle/bottom")
        );
        assert!(matches!(
            middle.closed().await.reason(),
            CloseReason::Parent(_)
        ));
        assert_eq!(sibling.state(), State::Closed);
        assert!(!report.is_clean());
    }

    #[tokio::test]
    async fn the_nearest_setting_hides_those_above_it() {
        let registry = Registry::new();
        let top = with_policy(&registry, OnFailure::Close);
        let quiet = top
            .child_builder("quiet")
            .on_failure(OnFailure::Report)
            .open();
        let below = quiet.child("below");
        let strict = below
            .child_builder("strict")
            .on_failure(OnFailure::Close)
            .open();
        let fail = |ctx: &Context| ctx.spawn(async { panic!("on purpose") });
        fail(&below).await.unwrap_err();
        fail(&quiet).await.unwrap_err();
        settle().await;
        assert_eq!((top.state(), below.state()), (State::Open, State::Open));
        fail(&strict).await.unwrap_err();
        in_time(strict.closed()).await;
        settle().await;
        assert_eq!((top.state(), below.state()), (State::Open, State::Open));
        fail(&top).await.unwrap_err();
        in_time(top.closed()).await;
    }

    #[tokio::test]
    async fn errors_and_essential_ends_close_as_panics_do() {
        let registry = Registry::new();
        let failed = with_policy(&registry, OnFailure::Close);
        let task = failed.task("task").fallible();
        drop(task.spawn(async { Err::<(), _>("an error") }));
        let report = in_time(failed.closed()).await;
        assert!(report.reason().to_string().contains("an error"), "{report}");

        let ended = with_policy(&registry, OnFailure::Close);
        drop(ended.task("task").essential().spawn(async {}));
        let report = in_time(ended.closed()).await;
        assert!(
            report.reason().to_string().contains("it returned"),
            "{report}"
        );
    }

    /// I12
    #[tokio::test]
    async fn hooks_and_destructors_trigger_nothing() {
        let registry = Registry::new();
        let top = with_policy(&registry, OnFailure::Close);
        let child = top.child("child");
        child.on_close(|| async { panic!("hook") }).unwrap();
        let value = std::sync::Mutex::new(OnDrop::new(|| panic!("value")));
        drop(child.own("value", "value", value).unwrap());
        in_time(child.close()).await;
        let output = OnDrop::new(|| panic!("output"));
        drop(top.spawn(async move { output }));
        settle().await;
        assert_eq!(top.state(), State::Open);
        let report = in_time(top.close()).await;
        assert_eq!(report.failures().len(), 3, "{report}");
    }

    #[tokio::test]
    async fn a_registry_can_close_with_its_first_failure() {
        let registry = Registry::builder()
            .grace(Duration::from_secs(7))
            .hook_timeout(Duration::ZERO)
            .on_failure(OnFailure::Close)
            .build();
        let (one, two) = (registry.context("one"), registry.context("two"));
        let inherits = format!("{:?}", registry.context_builder("three"));
        assert!(
            inherits.contains("7s") && inherits.contains("0ns"),
            "{inherits}"
        );
        drop(one.spawn(async { panic!("on purpose") }));
        let report = in_time(two.closed()).await;
        assert!(matches!(report.reason(), CloseReason::Parent(_)));
        let report = in_time(registry.close()).await;
        assert!(
            matches!(report.reason(), CloseReason::Failed(_)),
            "{report}"
        );
    }

    /// The first reason wins (I8), and a second failure does no harm.
    #[tokio::test]
    async fn a_failure_of_a_context_that_closes_is_only_reported() {
        let registry = Registry::new();
        let ctx = with_policy(&registry, OnFailure::Close);
        let weak = ctx.downgrade();
        ctx.spawn(async move {
            weak.cancelled().await;
            panic!("while it closes")
        });
        settle().await;
        let report = in_time(ctx.close()).await;
        assert_eq!(report.reason(), &CloseReason::from("close"));
        assert_eq!((report.panicked(), report.failures().len()), (1, 1));
    }

    /// The destructor of what is refused fails a task of the context that refuses: its policy begins the close that goes on.
    #[tokio::test]
    async fn a_policy_may_close_the_context_that_is_refusing_just_now() {
        let registry = Registry::new();
        let top = with_policy(&registry, OnFailure::Close);
        let child = top.child("child");
        in_time(child.close()).await;
        let counter = Counter::default();
        let guard = counter.guard();
        let (give, failing) = std::sync::mpsc::channel();
        let fails = {
            let top = top.downgrade();
            OnDrop::new(move || {
                let top = top.upgrade().unwrap();
                let wrapped = top.wrap(async { panic!("while another is refused") });
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    futures::executor::block_on(wrapped)
                }));
                give.send(polled.is_err()).unwrap();
            })
        };
        let refused = child.spawn(async move {
            let _captured = (guard, fails);
            pending::<()>().await;
        });
        assert!(matches!(refused.await, Err(TaskError::Refused)));
        assert!(failing.recv().unwrap());
        let report = in_time(top.closed()).await;
        assert!(
            matches!(report.reason(), CloseReason::Failed(_)),
            "{report}"
        );
        assert_eq!(
            (report.panicked(), report.refused(), counter.alive()),
            (1, 1, 0)
        );
    }
}

mod clean {
    use super::*;

    /// Whether a close is clean after this.
    async fn is_clean(run: impl AsyncFnOnce(&Context)) -> bool {
        let grace = Duration::from_millis(5);
        let ctx = Registry::new().context_builder("ctx").grace(grace).open();
        run(&ctx).await;
        settle().await;
        in_time(ctx.close()).await.is_clean()
    }

    #[tokio::test]
    async fn what_loses_nothing_is_clean() {
        assert!(is_clean(async |ctx| ctx.spawn(pending::<()>()).abort()).await);
        let superseded = is_clean(async |ctx| {
            for _ in 0..3 {
                let task = ctx
                    .task("latest")
                    .slot("latest")
                    .on_conflict(OnConflict::Replace)
                    .cancellable();
                task.spawn(pending::<()>());
            }
        });
        assert!(superseded.await);
        assert!(is_clean(async |ctx| drop(ctx.wrap(pending::<()>()))).await);
        let seen = is_clean(async |ctx| {
            let task = ctx.spawn(async { panic!("seen") });
            assert!(task.await.is_err());
        });
        assert!(seen.await);
        let outside = is_clean(async |ctx| {
            ctx.request_close("begins");
            drop(ctx.spawn(async {}));
            drop(ctx.wrap(async {}));
        });
        assert!(outside.await);
        let handed_back = is_clean(async |ctx| {
            let weak = ctx.downgrade();
            ctx.spawn(async move {
                weak.cancelled().await;
                let ctx = weak.upgrade().unwrap();
                assert!(ctx.try_spawn(async {}).is_err());
            });
        });
        assert!(handed_back.await);
    }

    async fn spawn_when_cancelled(own: WeakContext, on: WeakContext) {
        own.cancelled().await;
        if let Some(on) = on.upgrade() {
            drop(on.spawn(async { unreachable!("it is refused") }));
        }
    }

    #[tokio::test]
    async fn what_is_lost_is_not_clean() {
        let forced = is_clean(async |ctx| drop(ctx.spawn(pending::<()>())));
        assert!(!forced.await);
        let unseen = is_clean(async |ctx| drop(ctx.spawn(async { panic!("unseen") })));
        assert!(!unseen.await);
        let wrapped = is_clean(async |ctx| {
            let wrapped = ctx.wrap(async { panic!("in foreign hands") });
            assert!(tokio::spawn(wrapped).await.is_err());
        });
        assert!(!wrapped.await);
        let inside = is_clean(async |ctx| {
            let weak = ctx.downgrade();
            ctx.spawn(spawn_when_cancelled(weak.clone(), weak));
        });
        assert!(!inside.await);
        let below = is_clean(async |ctx| {
            let (child, weak) = (ctx.child("child"), ctx.downgrade());
            child.spawn(spawn_when_cancelled(weak.clone(), weak));
            drop(ctx.own("child", "handle", child).unwrap());
        });
        assert!(!below.await);
        let hook = is_clean(async |ctx| {
            let weak = ctx.downgrade();
            ctx.on_close(move || async move {
                drop(weak.upgrade().unwrap().spawn(async {}));
            })
            .unwrap();
        });
        assert!(!hook.await);
    }

    /// A sibling is outside: the work that it brings comes too late, as that of any other.
    #[tokio::test]
    async fn a_refusal_of_a_task_from_beside_or_above_is_from_outside() {
        let parent = Registry::new().context("parent");
        let child = parent.child("child");
        parent.spawn(spawn_when_cancelled(child.downgrade(), child.downgrade()));
        settle().await;
        let report = in_time(child.close()).await;
        settle().await;
        assert_eq!(report.status(), headcount::CloseStatus::Closed);
        assert!(report.is_clean(), "{report}");
        assert!(in_time(parent.close()).await.is_clean());
    }

    /// Seen means that the result was taken, and each report judges for itself.
    #[tokio::test]
    async fn a_parent_judges_what_was_seen_when_its_own_report_is_made() {
        let parent = Registry::new().context("parent");
        let child = parent.child("child");
        let task = child.spawn(async { panic!("on purpose") });
        settle().await;
        assert!(task.is_finished(), "to look is not to take");
        assert!(!in_time(child.close()).await.is_clean());
        assert!(task.await.is_err());
        let report = in_time(parent.close()).await;
        assert_eq!((report.panicked(), report.failures().len()), (1, 1));
        assert!(report.is_clean(), "{report}");
        assert!(!child.closed().await.is_clean(), "that report is made");
    }

    #[tokio::test]
    async fn a_result_that_is_dropped_with_its_handle_is_unseen() {
        let ctx = Registry::new().context("ctx");
        let task = ctx.spawn(async { panic!("on purpose") });
        settle().await;
        drop(task);
        assert!(!in_time(ctx.close()).await.is_clean());
    }

    #[test]
    fn a_task_that_ends_with_its_runtime_is_lost() {
        let runtime = current_thread();
        let ctx = runtime.block_on(async {
            let ctx = Registry::new().context("ctx");
            ctx.spawn(pending::<()>());
            settle().await;
            ctx
        });
        drop(runtime);
        let report = current_thread().block_on(in_time(ctx.close()));
        assert_eq!((report.aborted(), report.forced()), (1, 0));
        assert!(!report.is_clean(), "{report}");
        assert!(
            report
                .to_string()
                .contains("1 task ended because its runtime ended"),
            "{report}"
        );
    }

    #[tokio::test]
    async fn what_was_aborted_by_hand_before_the_force_was_not_forced() {
        let grace = Duration::ZERO;
        let ctx = Registry::new().context_builder("ctx").grace(grace).open();
        let hangs = ctx.spawn(async {
            tokio::task::yield_now().await;
            pending::<()>().await;
        });
        settle().await;
        hangs.abort();
        let report = in_time(ctx.close()).await;
        assert_eq!((report.aborted(), report.forced()), (1, 0));
        assert!(report.is_clean(), "{report}");
    }

    /// A refusal after the end of a close is counted where it can still be read.
    #[tokio::test]
    async fn late_refusals_count_in_the_first_ancestor_that_is_not_closed() {
        let registry = Registry::new();
        let top = registry.context("top");
        let middle = top.child("middle");
        let bottom = middle.child("bottom");
        assert_eq!(in_time(middle.close()).await.refused(), 0);
        drop(bottom.spawn(async {}));
        drop(middle.spawn(async {}));
        let late = middle.child("closed from the start");
        drop(late.spawn(async {}));
        let report = in_time(top.close()).await;
        assert_eq!((report.refused(), report.is_clean()), (3, true));
        drop(bottom.spawn(async {}));
        assert_eq!(in_time(registry.close()).await.refused(), 4);
        assert_eq!(middle.closed().await.refused(), 0);
    }
}
