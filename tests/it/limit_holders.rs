//! Who has the places of a limit: what dumps say, and tasks that wait for places that they have themselves.

use crate::util::settle;
use headcount::{
    Context, Level, Limit, Registry, Task,
    dump::{Awaited, LockKind, Waiter},
};
use std::future::pending;
use tokio::{sync::oneshot, task::LocalSet};

fn registry() -> (Registry, Context) {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let ctx = registry.context("ctx");
    (registry, ctx)
}

/// A task that waits for a place, and then ends.
fn waits(ctx: &Context, name: &'static str, limit: &Limit) -> Task<bool> {
    let limit = limit.clone();
    ctx.task(name)
        .spawn(async move { limit.acquire().await.is_ok() })
}

#[tokio::test]
async fn a_dump_says_who_has_the_places_that_a_task_waits_for() {
    let (registry, ctx) = registry();
    let uploads = ctx.limit("uploads", 2);
    let has = ctx.task("has").within(&uploads).spawn(pending::<()>());
    let has = has.await.unwrap();
    let permit = uploads.try_acquire().unwrap();
    waits(&ctx, "waits", &uploads);
    settle().await;
    let dump = registry.dump().await;
    let stack = &dump.find("waits").unwrap().stacks()[0];
    let Some(Awaited::Lock {
        id,
        kind,
        name,
        held_by,
        more,
        ..
    }) = stack.awaited()
    else {
        panic!("{dump}")
    };
    assert_eq!(
        (*id, *kind, &**name),
        (uploads.id(), LockKind::Limit, "uploads")
    );
    assert_eq!(
        (held_by.len(), *more, stack.leaf()),
        (2, 0, Some("headcount::Limit"))
    );
    assert_eq!(
        held_by[0].task(),
        Some(has.id()),
        "the task that was spawned"
    );
    assert!(held_by[0].by() == "task has" && held_by[1].task().is_none());
    let said = dump.to_string();
    assert!(
        said.contains("→ the limit uploads, held by task has at "),
        "{said}"
    );
    assert!(
        dump.deadlocks().is_empty(),
        "the permit is not a task's: {said}"
    );
    drop(permit);
    ctx.close_now().await;
}

#[tokio::test]
async fn a_task_that_waits_for_a_place_that_it_has_itself_is_a_deadlock() {
    let (registry, ctx) = registry();
    let jobs = ctx.limit("jobs", 1);
    let inner = jobs.clone();
    let outer = async move { drop(inner.spawn(async {}).await) };
    ctx.task("outer").within(&jobs).spawn(outer).await.unwrap();
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}")
    };
    let said = deadlock.to_string();
    let expected = "deadlock: a task waits for itself\n    ctx/outer waits for the limit jobs, held by task outer at ";
    assert!(said.starts_with(expected), "{said}");
    ctx.close_now().await;
}

/// One has the only place, and waits for another, which waits for the place.
#[tokio::test]
async fn tasks_that_wait_for_each_other_by_way_of_a_limit_are_a_deadlock() {
    let (registry, ctx) = registry();
    let jobs = ctx.limit("jobs", 1);
    let other = jobs.clone();
    let joins = async move {
        let own = Context::current().unwrap();
        let helper = own
            .task("helper")
            .spawn(async move { other.acquire().await.is_ok() });
        helper.await.is_ok()
    };
    ctx.task("joins").within(&jobs).spawn(joins).await.unwrap();
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}")
    };
    let paths: Vec<_> = deadlock.waiters().iter().map(Waiter::path).collect();
    assert_eq!(paths, ["ctx/joins", "ctx/helper"], "{deadlock}");
    ctx.close_now().await;
}

/// One place of two is enough to go on, and so is one whose holder is not known, or that was given to code that is about to run.
#[tokio::test]
async fn it_is_no_deadlock_while_one_place_may_become_free() {
    let (registry, ctx) = registry();
    let jobs = ctx.limit("jobs", 2);
    let (go, gone) = oneshot::channel::<()>();
    let free = ctx.task("free").within(&jobs).spawn(gone);
    free.await.unwrap();
    let inner = jobs.clone();
    let outer = async move { inner.acquire().await.is_ok() };
    let outer = ctx.task("outer").within(&jobs).spawn(outer).await.unwrap();
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    go.send(()).unwrap();
    assert!(outer.await.unwrap());

    registry.set_level(Level::Off);
    let one = ctx.limit("one", 1);
    let unrecorded = one.acquire().await.unwrap();
    registry.set_level(Level::Holders);
    one.set(2);
    let inner = one.clone();
    let outer = async move { inner.acquire().await.is_ok() };
    ctx.task("outer").within(&one).spawn(outer).await.unwrap();
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    drop(unrecorded);
    ctx.close_now().await;
}

/// The limit is one of the server, and the close of a connection finds that its tasks will never end.
#[tokio::test(start_paused = true)]
async fn the_close_of_another_context_names_the_deadlock() {
    let (_registry, server) = registry();
    let jobs = server.limit("jobs", 1);
    let conn = server.child("conn");
    let inner = jobs.clone();
    let outer = async move { inner.acquire().await.is_ok() };
    let outer = conn.task("outer").within(&jobs).spawn(outer).await;
    settle().await;
    let report = conn.close().await;
    assert_eq!(report.deadlocks().len(), 1, "{report}");
    assert!(report.deadlocks()[0].contains("the limit jobs"), "{report}");
    drop(outer);
    assert_eq!(jobs.usage().used, 0);
    server.close().await;
}

/// A connection that waits to spawn within a limit of the server is asked what it waits for, and answers with nothing else.
#[tokio::test]
async fn a_spawn_within_the_limit_of_another_context_names_the_limit() {
    let (registry, server) = registry();
    let jobs = server.limit("jobs", 1);
    let conn = server.child("conn");
    let (own, inner) = (conn.downgrade(), jobs.clone());
    let outer = async move {
        let spawned = own.task("inner").within(&inner).spawn(async {}).await;
        spawned.is_ok()
    };
    let outer = conn.task("outer").within(&jobs).spawn(outer).await.unwrap();
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.find("outer").unwrap().stacks().len(), 1, "{dump}");
    assert_eq!(dump.deadlocks().len(), 1, "{dump}");
    conn.request_close("enough");
    assert!(!outer.await.unwrap(), "its close ends the waiting");
    server.close().await;
}

#[tokio::test]
async fn local_tasks_have_places_too() {
    let (_registry, ctx) = registry();
    let pages = ctx.limit("pages", 1);
    let local = LocalSet::new();
    let (go, gone) = oneshot::channel::<()>();
    local
        .run_until(async {
            let first = pages.spawn_local(gone).await.unwrap();
            let full = ctx.task("page").within(&pages).try_spawn_local(async {});
            assert!(full.is_err());
            let mut second = Box::pin(ctx.task("page").within(&pages).spawn_local(async { 7 }));
            assert!(futures::poll!(&mut second).is_pending());
            go.send(()).unwrap();
            first.await.unwrap().unwrap();
            assert_eq!(second.await.unwrap().await.unwrap(), 7);
        })
        .await;
    assert_eq!(pages.usage().used, 0);
    ctx.close().await;
}

#[tokio::test]
async fn a_weak_context_has_limits_as_long_as_it_is_open() {
    let (_registry, ctx) = registry();
    let weak = ctx.downgrade();
    let limit = weak.limit("uploads", 1);
    assert!(limit.try_acquire().is_ok());
    assert_eq!(
        ctx.live().await.find("uploads").unwrap().parent(),
        Some(ctx.id())
    );
    ctx.close().await;
    assert!(limit.try_acquire().is_err() && weak.limit("late", 1).try_acquire().is_err());
    drop(ctx);
    assert!(weak.limit("later", 1).try_acquire().is_err());
}
