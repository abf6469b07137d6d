//! Whose code is running (S15, L6).

use crate::util::{Log, OnDrop, in_time, settle};
use headcount::{CloseStatus, Context, Registry};
use tokio::task::LocalSet;

fn here() -> Option<String> {
    Context::current().map(|ctx| ctx.name().to_owned())
}

/// S15
#[tokio::test]
async fn every_kind_of_task_knows_its_context() {
    let ctx = Registry::new().context("ctx");
    let name = || Some("ctx".to_owned());
    assert_eq!(here(), None);
    assert_eq!(in_time(ctx.spawn(async { here() })).await.unwrap(), name());
    assert_eq!(in_time(ctx.spawn_blocking(here)).await.unwrap(), name());
    assert_eq!(
        in_time(tokio::spawn(ctx.wrap(async { here() })))
            .await
            .unwrap()
            .unwrap(),
        name()
    );
    let local = LocalSet::new();
    let local = local
        .run_until(async { ctx.spawn_local(async { here() }).await })
        .await;
    assert_eq!(local.unwrap(), name());
    // S15: what is spawned by other means does not.
    assert_eq!(
        in_time(ctx.spawn(async { tokio::spawn(async { here() }).await }))
            .await
            .unwrap()
            .unwrap(),
        None
    );
    let pooled = ctx.spawn(async { tokio::task::spawn_blocking(here).await });
    assert_eq!(in_time(pooled).await.unwrap().unwrap(), None);
    assert_eq!(here(), None);
}

#[tokio::test]
async fn hooks_and_destructors_know_their_context() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    let note = |log: &Log| {
        let log = log.clone();
        move || log.note(here().unwrap_or_default())
    };
    let (closing, close) = (note(&log), note(&log));
    ctx.on_closing(move || async move { closing() }).unwrap();
    ctx.on_close(move || async move {
        tokio::task::yield_now().await;
        close();
    })
    .unwrap();
    let on_drop = OnDrop::new(note(&log));
    ctx.task("cancelled").cancellable().spawn(async move {
        let _on_drop = on_drop;
        std::future::pending::<()>().await;
    });
    settle().await;
    in_time(ctx.close()).await;
    assert_eq!(log.all(), ["ctx", "ctx", "ctx"]);
}

#[tokio::test]
async fn the_innermost_scope_counts_and_the_outer_one_comes_back() {
    let (one, two) = (Registry::new(), Registry::new());
    let (ctx, other) = (one.context("one"), two.context("two"));
    let mark = |registry: &Registry| registry.register("mark", "mark");
    let (_one, _two, _extra) = (mark(&one), mark(&two), mark(&two));
    let marks = || Registry::current().live_now().kind("mark").len();
    let seen = ctx.spawn({
        let (two, other) = (two.clone(), other.clone());
        async move {
            let outer = (here(), marks());
            let scoped = two.scope(async { (here(), marks()) }).await;
            let wrapped = other.wrap(async { (here(), marks()) }).await.unwrap();
            tokio::task::yield_now().await;
            (outer, scoped, wrapped, (here(), marks()))
        }
    });
    let (outer, scoped, wrapped, after) = in_time(seen).await.unwrap();
    let of = |name: &str, marks| (Some(name.to_owned()), marks);
    assert_eq!(outer, of("one", 1));
    assert_eq!(scoped, (None, 2), "a scope is a registry, not a context");
    assert_eq!(wrapped, of("two", 2));
    assert_eq!(after, of("one", 1));
}

/// The scope is left also when the code in it panics.
#[tokio::test]
async fn a_panic_leaves_no_scope_behind() {
    let ctx = Registry::new().context("ctx");
    in_time(ctx.spawn(async { panic!("on purpose") }))
        .await
        .unwrap_err();
    assert_eq!(in_time(tokio::spawn(async { here() })).await.unwrap(), None);
    let registry = Registry::new();
    let scoped = tokio::spawn(registry.scope(async { panic!("on purpose") }));
    in_time(scoped).await.unwrap_err();
    assert_eq!(
        (
            here(),
            in_time(tokio::spawn(async { here() })).await.unwrap()
        ),
        (None, None)
    );
}

#[tokio::test]
async fn a_free_spawn_lands_on_the_current_context() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let path = ctx.spawn(async { headcount::spawn(async { here() }).await.unwrap() });
    assert_eq!(in_time(path).await.unwrap(), Some("ctx".to_owned()));
    let outside = registry
        .scope(async { headcount::spawn(async { here() }) })
        .await;
    assert_eq!(in_time(outside).await.unwrap(), None);
    assert_eq!(in_time(ctx.close()).await.finished(), 2);
    assert_eq!(in_time(registry.close()).await.finished(), 3);
}

/// I10: a scope is no task, so closing from inside it waits; but not if a task is around it.
#[tokio::test]
async fn a_registry_closes_from_inside_its_scope() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let report = registry.scope(async { registry.close().await }).await;
    assert_eq!(report.status(), CloseStatus::Closed);
    drop(ctx);

    let (registry, other) = (Registry::new(), Registry::new());
    let (ctx, elsewhere) = (registry.context("ctx"), other.context("elsewhere"));
    let (weak, scoped) = (ctx.downgrade(), registry.clone());
    let statuses = ctx.spawn(async move {
        let ctx = weak.upgrade().unwrap();
        let scoped = scoped.scope(async { ctx.close().await.status() }).await;
        let wrapped = elsewhere
            .wrap(async { ctx.close().await.status() })
            .await
            .unwrap();
        (scoped, wrapped, elsewhere.close().await.status())
    });
    let begun = CloseStatus::Begun;
    assert_eq!(
        in_time(statuses).await.unwrap(),
        (begun, begun, CloseStatus::Closed)
    );
    assert!(in_time(ctx.closed()).await.is_clean());
}

/// The global registry outlives runtimes: a free spawn goes to the one that is here.
#[test]
fn free_spawns_use_the_runtime_that_is_here() {
    let registry = Registry::new();
    for _ in 0..3 {
        let rt = crate::util::current_thread();
        let here = rt.block_on(registry.scope(async {
            in_time(headcount::spawn(async {
                tokio::runtime::Handle::current().id()
            }))
            .await
            .unwrap()
        }));
        assert_eq!(here, rt.handle().id());
    }
}
