//! A task that has a strong handle to its own context, and uses it: the context then never closes by itself.
//!
//! A handle that is a variable of a task is the task's own, whatever line took it. One that the task reaches through a reference
//! may be shared with code that closes the context, so it is no leak.

use crate::util::settle;
use headcount::{
    Context, Level, Registry,
    leaks::{LeakKind, LeakPolicy, LeakReport},
};
use std::{
    future::pending,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tokio::sync::oneshot;

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

async fn look(registry: &Registry) -> LeakReport {
    let policy = LeakPolicy::new().settle(Duration::ZERO);
    registry.leaks(&policy).await
}

/// Runs a task that has a handle to its own context, which the line that spawns it has taken, and uses it once; then nothing else
/// has a handle. Expects one finding, which names both lines.
async fn assert_pinned<F>(what: &str, uses: impl FnOnce(Context) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let registry = registry();
    let ctx = registry.context("ctx");
    let (own, taken) = (ctx.clone(), line!());
    let (task, spawned) = (ctx.task("user").spawn(uses(own)), line!());
    settle().await;
    let shared = look(&registry).await;
    assert!(shared.is_clean(), "{what}: another one has it\n{shared}");
    drop(ctx);
    let report = look(&registry).await;
    let findings: Vec<_> = report.findings().iter().collect();
    let [finding] = findings[..] else {
        panic!("{what}: {report}")
    };
    assert_eq!(
        (finding.kind(), finding.name()),
        (LeakKind::PinsItself, "ctx"),
        "{what}"
    );
    let site = |line| format!("{}:{line}", file!());
    let advice = finding.advice();
    let says = format!(
        "in the task spawned at {}, keep a `WeakContext`",
        site(spawned)
    );
    assert!(advice.starts_with(&says), "{what}: {report}");
    assert!(advice.ends_with(&site(taken)), "{what}: {report}");
    task.abort();
    drop(task.await);
    settle().await;
    assert!(
        look(&registry)
            .await
            .of_kind(LeakKind::PinsItself)
            .next()
            .is_none()
    );
}

/// The uses, each with a name.
macro_rules! pinned_by {
    ($($test:ident: |$own:ident| $use:expr;)+) => { $(
        #[tokio::test]
        async fn $test() {
            assert_pinned(stringify!($test), |$own| async move {
                $use;
                pending::<()>().await;
                drop($own);
            })
            .await;
        }
    )+ };
}

pinned_by! {
    one_that_spawns: |own| drop(own.spawn(async {}));
    one_that_tries_to_spawn: |own| drop(own.try_spawn(async {}));
    one_that_spawns_a_closure: |own| drop(own.spawn_blocking(|| ()).await);
    one_that_spawns_a_named_task: |own| drop(own.task("named").spawn(async {}));
    one_that_opens_a_child: |own| own.child("child").close().await;
    one_that_tries_to_open_a_child: |own| own.try_child("child").unwrap().close().await;
    one_that_runs_with_a_child: |own| own.with_child("child", async |_| ()).await;
    one_that_gives_a_value: |own| drop(own.own("value", "value", ()));
    one_that_registers: |own| drop(own.register("entry", "entry"));
    one_that_adds_a_hook: |own| drop(own.on_close(|| async {}));
    one_that_adds_a_hook_for_the_beginning: |own| drop(own.on_closing(|| async {}));
    one_that_wraps: |own| own.wrap(async {}).await.unwrap();
    one_that_makes_a_set: |own| drop(own.join_set::<()>());
    one_that_touches: |own| own.touch();
    one_that_asks_for_the_end: |own| drop(own.cancelled_owned());
    one_that_waits_for_the_end: |own| drop(own.cancelled().await);
    one_that_works_until_the_end: |own| own.run_until_cancelled(pending::<()>()).await;
    one_that_waits_to_be_alone: |own| own.idle().await;
    one_that_waits_for_the_close: |own| drop(own.closed());
}

/// Its own in a future that is polled in another one.
#[tokio::test]
async fn a_handle_that_was_passed_to_an_inner_future() {
    async fn inner(own: Context) {
        drop(own.spawn(async {}));
        pending::<()>().await;
    }
    assert_pinned("inner", |own| async move {
        tokio::time::timeout(Duration::from_secs(3_600), inner(own))
            .await
            .ok();
    })
    .await;
}

/// A closure's variables are on the stack of its thread.
#[tokio::test]
async fn a_blocking_closure_that_uses_its_own_handle_is_a_leak() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let (used, is_used) = oneshot::channel();
    let (go, going) = mpsc::channel::<()>();
    let own = ctx.clone();
    let task = ctx.spawn_blocking(move || {
        drop(own.spawn(async {}));
        used.send(()).unwrap();
        going.recv().unwrap_err();
        drop(own);
    });
    is_used.await.unwrap();
    assert!(look(&registry).await.is_clean());
    drop(ctx);
    let report = look(&registry).await;
    assert_eq!(report.of_kind(LeakKind::PinsItself).count(), 1, "{report}");
    drop(go);
    task.await.unwrap();
}

/// At the end of a test the chain leads through the task.
#[tokio::test]
async fn at_the_end_the_task_that_has_the_handle_is_named() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let own = ctx.clone();
    let task = ctx.task("user").spawn(async move {
        drop(own.child("child"));
        pending::<()>().await;
    });
    settle().await;
    drop(ctx);
    let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await;
    let said = report.to_string();
    assert!(
        said.contains("by task user, which has it in a variable"),
        "{said}"
    );
    assert!(
        report.findings()[0]
            .advice()
            .contains("keep a `WeakContext`"),
        "{said}"
    );
    task.abort();
}

/// Whether a hook has the handle is not known, so the report says where the hooks are, and no more.
#[tokio::test]
async fn at_the_end_the_hooks_that_may_have_the_handle_are_named() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let (own, taken) = (ctx.clone(), line!());
    let line = line!() + 1;
    let hook = ctx.on_close(move || async move { drop(own) }).unwrap();
    drop(ctx);
    assert!(look(&registry).await.is_clean());
    let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await;
    let advice = report.findings()[0].advice();
    assert!(
        advice.contains(&format!("taken at {}:{taken}", file!())),
        "{report}"
    );
    let hooks = format!(
        "capture a `WeakContext` instead (hooks were registered at {}:{line}",
        file!()
    );
    assert!(advice.contains(&hooks), "{report}");
    assert!(hook.cancel());
}

/// Nothing here is a leak: other code has the handle, or the task is another one's.
async fn assert_fine(registry: &Registry) {
    settle().await;
    for _ in 0..2 {
        let report = look(registry).await;
        assert!(report.is_clean(), "{report}");
    }
    registry.close_now().await;
}

/// The main function has it as well, and closes by it.
#[tokio::test]
async fn a_handle_in_a_struct_that_main_shares_with_the_tasks_is_fine() {
    let registry = registry();
    let server = Arc::new((registry.context("server"), ()));
    let shared = Arc::clone(&server);
    server.0.spawn(async move {
        drop(shared.0.child("child").close().await);
        drop(shared.0.spawn(async {}));
        pending::<()>().await;
    });
    assert_fine(&registry).await;
    drop(server);
}

#[tokio::test]
async fn a_handle_in_a_static_is_fine() {
    static SERVER: Mutex<Option<Context>> = Mutex::new(None);
    let registry = registry();
    *SERVER.lock().unwrap() = Some(registry.context("server"));
    let weak = SERVER.lock().unwrap().as_ref().unwrap().downgrade();
    weak.spawn(async {
        drop(SERVER.lock().unwrap().as_ref().unwrap().spawn(async {}));
        pending::<()>().await;
    });
    assert_fine(&registry).await;
    drop(SERVER.lock().unwrap().take());
}

/// The README's right form.
#[tokio::test]
async fn a_handle_that_moved_into_a_task_of_the_parent_is_fine() {
    let registry = registry();
    let server = registry.context("server");
    let conn = server.child("conn");
    server.spawn(async move {
        drop(conn.task("reader").spawn(async {}).await);
        conn.cancelled().await;
    });
    assert_fine(&registry).await;
}

/// Other code had it in a variable, and used it later.
#[tokio::test]
async fn a_handle_that_a_task_gave_back_is_fine_once_it_is_used() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let (give, given) = oneshot::channel();
    weak.spawn(async move {
        drop(ctx.spawn(async {}));
        give.send(ctx).unwrap();
        pending::<()>().await;
    });
    let ctx = given.await.unwrap();
    assert_eq!(
        look(&registry).await.of_kind(LeakKind::PinsItself).count(),
        1
    );
    drop(ctx.spawn(async {}));
    assert_fine(&registry).await;
}

/// A handle that was taken in a task, and is used elsewhere.
#[tokio::test]
async fn a_handle_that_a_task_handed_out_is_fine_once_it_is_used() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let (give, given) = oneshot::channel();
    ctx.spawn(async move {
        give.send(weak.upgrade().unwrap()).ok();
        pending::<()>().await;
    });
    let handed_out = given.await.unwrap();
    drop(ctx);
    drop(handed_out.task("task").spawn(async {}));
    assert_fine(&registry).await;
}

/// A use through a reference is not shown as one that says where the handle is.
#[tokio::test]
async fn a_use_in_passing_is_no_touch() {
    let registry = registry();
    let ctx = registry.context("ctx");
    drop(ctx.spawn(async {}));
    let shared = Arc::new(ctx);
    let own = Arc::clone(&shared);
    registry
        .spawn(async move { drop(own.spawn(async {})) })
        .await
        .unwrap();
    let holders = shared.holders();
    assert_eq!(
        holders.iter().next().unwrap().last_touch(),
        None,
        "{holders}"
    );
}
