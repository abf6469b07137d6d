//! Contexts for one piece of code, registrations of a context, contexts that close by drop, and spans of tasks.

use crate::{
    events::said_on,
    util::{Counter, current_thread, in_time, poll_once, settle},
};
use headcount::{
    CloseReason, Context, Registry, State, WeakContext,
    leaks::{LeakKind, LeakPolicy},
};
use std::{future::pending, panic::AssertUnwindSafe, sync::OnceLock, time::Duration};

#[tokio::test]
async fn a_body_has_a_context_that_is_closed_behind_it() {
    let registry = Registry::new();
    let body = registry.with_context("job", async |ctx| {
        let weak = ctx.downgrade();
        ctx.spawn(async move { weak.cancelled().await });
        ctx.on_close(|| async {}).unwrap();
        (ctx.path(), ctx.downgrade())
    });
    let (path, weak) = in_time(body).await;
    assert_eq!((path.as_str(), weak.state()), ("job", State::Closed));
    assert!(registry.is_empty(), "{}", registry.live_now());

    let server = registry.context("server");
    let path = in_time(server.with_child("request", async |ctx| ctx.path())).await;
    assert_eq!(path, "server/request");
    assert_eq!(in_time(server.close()).await.children(), 1);
    let state = in_time(server.with_child("late", async |ctx| ctx.state())).await;
    assert_eq!(state, State::Closed);
}

#[tokio::test]
async fn the_free_function_uses_the_current_registry() {
    let registry = Registry::new();
    let scoped = registry.scope(async {
        let body = headcount::with_context("job", async |_ctx| Registry::current().count());
        body.await
    });
    assert_eq!(in_time(scoped).await, 1);
}

/// The body is its caller's code: it may close the context itself, and keep what it borrowed.
#[tokio::test]
async fn a_body_may_borrow_and_close() {
    let registry = Registry::new();
    let mut seen = Vec::new();
    let body = registry.with_context("job", async |ctx| {
        seen.push(ctx.close().await.status());
        seen.len()
    });
    assert_eq!(in_time(body).await, 1);
    assert_eq!(seen, [headcount::CloseStatus::Closed]);
    let spawned = tokio::spawn(registry.with_context("job", async |_ctx| 7));
    assert_eq!(in_time(spawned).await.unwrap(), 7);
}

/// I1: the panic goes on when nothing of the context is left.
#[tokio::test]
async fn a_context_is_closed_though_its_body_panics() {
    let registry = Registry::new();
    let counter = Counter::default();
    let held: OnceLock<WeakContext> = OnceLock::new();
    let body = registry.with_context("job", async |ctx| {
        held.set(ctx.downgrade()).unwrap();
        let guard = counter.guard();
        ctx.task("beside").cancellable().spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        settle().await;
        panic!("on purpose");
    });
    let caught: Result<(), _> =
        in_time(futures::FutureExt::catch_unwind(AssertUnwindSafe(body))).await;
    assert_eq!(
        *caught.unwrap_err().downcast::<&str>().unwrap(),
        "on purpose"
    );
    assert_eq!(
        (counter.alive(), held.get().unwrap().state()),
        (0, State::Closed)
    );
    assert!(registry.is_empty());
    // Also before it has made a future.
    let body = registry.with_context("job", |_ctx| -> std::future::Ready<()> {
        panic!("at once")
    });
    let caught = in_time(futures::FutureExt::catch_unwind(AssertUnwindSafe(body))).await;
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "at once");
    assert!(registry.is_empty());
}

#[test]
fn a_context_is_closed_in_the_background_if_its_body_is_dropped() {
    let said = said_on(&current_thread(), async || {
        let registry = Registry::new();
        let held: OnceLock<WeakContext> = OnceLock::new();
        let mut body = Box::pin(registry.with_context("job", async |ctx| {
            held.set(ctx.downgrade()).unwrap();
            ctx.task("beside").cancellable().spawn(pending::<()>());
            pending::<()>().await;
        }));
        assert!(poll_once(body.as_mut()).is_pending());
        drop(body);
        let weak = held.get().unwrap();
        assert!(weak.is_cancelled());
        in_time(weak.closed()).await;
        drop(registry.with_context("unpolled", async |_ctx| ()));
        in_time(registry.idle()).await;
        let report = registry.leaks(&LeakPolicy::new()).await;
        assert!(report.findings().is_empty(), "{report}");
    });
    assert!(said.is_empty(), "{said:?}");
}

/// Whatever code calls it, and wherever.
#[tokio::test]
async fn a_registration_is_listed_under_the_context_that_made_it() {
    let registry = Registry::new();
    let (conn, other) = (registry.context("conn"), registry.context("other"));
    let by_task = {
        let conn = conn.clone();
        other.spawn(async move {
            (
                conn.register("inside", "upload"),
                headcount::register("plain", "upload"),
            )
        })
    };
    let (inside, plain) = in_time(by_task).await.unwrap();
    let outside = conn.register("outside", "upload");
    let live = registry.live().await;
    let parent = |name| live.find(name).unwrap().parent();
    assert_eq!(
        (parent("inside"), parent("outside")),
        (Some(conn.id()), Some(conn.id()))
    );
    assert_eq!(parent("plain"), Some(other.id()));
    assert!(
        live.find("outside")
            .unwrap()
            .location()
            .file()
            .ends_with("with_context.rs")
    );
    drop((inside, outside));
    // It may outlive the context of the task that happened to make it.
    for ctx in [&conn, &other] {
        assert!(in_time(ctx.close()).await.is_clean());
    }
    drop((conn, other));
    let policy = LeakPolicy::new().settle(Duration::from_millis(1));
    let report = registry.leaks(&policy).await;
    assert!(report.findings().is_empty(), "{report}");
    drop(plain);
}

#[tokio::test]
async fn a_registration_that_outlives_its_context_is_a_leak() {
    let registry = Registry::new();
    let conn = registry.context("conn");
    let upload = conn.register("report.csv", "upload");
    let policy = LeakPolicy::new().settle(Duration::from_millis(1));
    assert!(registry.leaks(&policy).await.findings().is_empty());
    assert!(in_time(conn.close()).await.is_clean());
    // One that was made when it was closed already.
    let late = conn.register("late.csv", "upload");
    drop(conn);
    let report = registry.leaks(&policy).await;
    let found: Vec<_> = report
        .findings()
        .iter()
        .map(|leak| (leak.kind(), leak.name()))
        .collect();
    let kind = LeakKind::ClosedButHeld;
    assert_eq!(
        found,
        [(kind, "report.csv"), (kind, "late.csv")],
        "{report}"
    );
    let advice = report.findings()[0].advice();
    assert!(
        advice.starts_with("drop the registration made at "),
        "{advice}"
    );
    drop((upload, late));
    assert!(registry.leaks(&policy).await.findings().is_empty());
}

/// I11: it closes as every context does whose last handle is dropped, and that is no surprise.
#[test]
fn a_context_that_closes_by_drop_does_so_without_a_warning() {
    let said = said_on(&current_thread(), async || {
        let registry = Registry::new();
        let conn = registry.context_builder("conn").closes_by_drop().open();
        let (weak, counter) = (conn.downgrade(), Counter::default());
        let guard = counter.guard();
        conn.task("reader").cancellable().spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let closed = tokio::spawn(conn.closed());
        settle().await;
        drop(conn);
        assert!(weak.is_cancelled());
        let report = in_time(closed).await.unwrap();
        assert_eq!(
            (report.reason(), report.cancelled()),
            (&CloseReason::Dropped, 1)
        );
        assert_eq!(counter.alive(), 0);
        in_time(registry.idle()).await;
        let report = registry.leaks(&LeakPolicy::new()).await;
        assert!(report.findings().is_empty(), "{report}");
    });
    assert!(said.is_empty(), "{said:?}");
}

/// Its children are contexts like any other.
#[test]
fn a_child_of_a_context_that_closes_by_drop_does_not_inherit_that() {
    let said = said_on(&current_thread(), async || {
        let registry = Registry::new();
        let conn = registry.context_builder("conn").closes_by_drop().open();
        drop(conn.child("child"));
        in_time(conn.close()).await;
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("the last handle of an open context was dropped"));
}

fn current_span() -> Option<String> {
    tracing::Span::current()
        .metadata()
        .map(|metadata| metadata.name().to_owned())
}

/// Only what asks for it; while it is polled, and while it is dropped.
#[test]
fn a_task_runs_in_the_span_of_its_caller() {
    said_on(&current_thread(), async || {
        let ctx = Registry::new().context("ctx");
        let request = tracing::info_span!("request");
        let (task, closure, plain, dropped) = request.in_scope(|| {
            let task = ctx.task("task").in_current_span().spawn(async {
                tokio::task::yield_now().await;
                current_span()
            });
            let closure = ctx.task("closure").in_current_span();
            let plain = ctx.task("plain").spawn(async { current_span() });
            let (give, take) = tokio::sync::oneshot::channel();
            let guard = crate::util::OnDrop::new(move || give.send(current_span()).unwrap());
            let aborted = ctx.task("aborted").in_current_span().spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            (
                task,
                closure.spawn_blocking(current_span),
                plain,
                (aborted, take),
            )
        });
        settle().await;
        let (aborted, take) = dropped;
        aborted.abort();
        assert_eq!(in_time(take).await.unwrap().as_deref(), Some("request"));
        assert_eq!(in_time(task).await.unwrap().as_deref(), Some("request"));
        // The subscriber of the test is that of its thread alone, and a closure runs on another one.
        in_time(closure).await.unwrap();
        assert_eq!(in_time(plain).await.unwrap(), None);
        assert_eq!(current_span(), None);
        in_time(ctx.close()).await;
    });
}

/// Outside of every span there is none to run in.
#[tokio::test]
async fn a_task_in_no_span_runs_in_none() {
    let ctx = Registry::new().context("ctx");
    let task = ctx
        .task("task")
        .in_current_span()
        .spawn(async { current_span() });
    assert_eq!(in_time(task).await.unwrap(), None);
    let inside = ctx.spawn(async {
        Context::current()
            .unwrap()
            .task("inner")
            .spawn(async { 1 })
            .await
    });
    assert_eq!(in_time(inside).await.unwrap().unwrap(), 1);
}
