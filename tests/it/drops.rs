//! Dropping handles, futures and runtimes (I3, I11).

use crate::util::{Counter, OnDrop, current_thread, in_time, settle};
use headcount::{CloseReason, Context, Registry, State, TaskError};
use std::time::Duration;

/// I11
#[tokio::test]
async fn dropping_the_last_handle_closes_in_the_background() {
    let registry = Registry::new();
    let counter = Counter::default();
    let ctx = registry.context("ctx");
    let (second, weak, token) = (ctx.clone(), ctx.downgrade(), ctx.token());
    let (in_task, in_hook) = (counter.guard(), counter.guard());
    ctx.spawn({
        let weak = weak.clone();
        async move {
            weak.cancelled().await;
            drop(in_task);
        }
    });
    ctx.on_close(move || async move { drop(in_hook) }).unwrap();
    drop(ctx.own("value", "value", counter.guard()).unwrap());
    drop(ctx);
    settle().await;
    assert_eq!(
        (weak.state(), counter.alive()),
        (State::Open, 3),
        "another handle holds it"
    );
    drop(second);
    assert!(
        weak.upgrade().is_none(),
        "gone is gone, also while it closes"
    );
    in_time(registry.idle()).await;
    assert_eq!((weak.state(), counter.alive()), (State::Closed, 0));
    assert!(token.is_cancelled() && registry.is_empty());
}

/// I11: the reason is recorded. A closed context that was dropped leaves its report to no handle, but
/// a parent that awaits it while it closes sees it.
#[tokio::test]
async fn the_reason_of_a_drop_is_recorded() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    ctx.on_close({
        let seen = seen.clone();
        move || async move {
            *seen.lock().unwrap() = Some((
                Context::current().unwrap().state(),
                Context::current().unwrap().upgrade().is_none(),
            ));
        }
    })
    .unwrap();
    drop(ctx);
    in_time(registry.idle()).await;
    assert_eq!(*seen.lock().unwrap(), Some((State::Closing, true)));
    assert_eq!(weak.state(), State::Closed);
}

/// I3
#[tokio::test]
async fn a_task_does_not_hold_its_context() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    ctx.task("holds nothing")
        .cancellable()
        .spawn(std::future::pending::<()>());
    drop(ctx.spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))));
    let wrapped = tokio::spawn(ctx.wrap({
        let weak = weak.clone();
        async move { weak.cancelled().await }
    }));
    settle().await;
    assert_eq!(
        registry.live().await.find("ctx").unwrap().strong_count(),
        Some(1)
    );
    drop(ctx);
    assert!(weak.upgrade().is_none());
    in_time(registry.idle()).await;
    wrapped.await.unwrap().unwrap();
}

/// I3: a task that upgrades holds it for exactly as long.
#[tokio::test]
async fn a_task_that_upgrades_holds_its_context_as_long_as_it_keeps_the_handle() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let weak = ctx.downgrade();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let task = ctx.spawn(async move {
        let strong = Context::current().unwrap().upgrade().unwrap();
        let _ = released.await;
        drop(strong);
        Context::current().unwrap().cancelled().await;
    });
    settle().await;
    assert_eq!(
        registry.live().await.find("ctx").unwrap().strong_count(),
        Some(2)
    );
    drop(ctx);
    settle().await;
    assert_eq!(weak.state(), State::Open);
    release.send(()).unwrap();
    in_time(task).await.unwrap();
    in_time(registry.idle()).await;
}

/// A closed context stays listed as long as it is held: that is how "closed but held" is seen.
#[tokio::test]
async fn a_closed_context_is_listed_until_its_last_handle_is_gone() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    in_time(ctx.close()).await;
    let listed = registry.live().await;
    assert_eq!(listed.find("ctx").unwrap().state(), State::Closed);
    in_time(registry.idle()).await;
    drop(ctx);
    assert!(registry.is_empty());
}

/// I11: no runtime is left: tasks are gone with it, hooks are named, nothing panics.
#[test]
fn a_context_dropped_after_its_runtime_ends_without_one() {
    let registry = Registry::new();
    let counter = Counter::default();
    let rt = current_thread();
    let ctx = rt.block_on(async {
        let ctx = registry.context("ctx");
        let guard = counter.guard();
        ctx.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let guard = counter.guard();
        ctx.on_close(move || async move { drop(guard) }).unwrap();
        drop(ctx.own("value", "value", counter.guard()).unwrap());
        settle().await;
        ctx
    });
    let child = ctx.child("child");
    drop(child.own("value", "value", counter.guard()).unwrap());
    drop(rt);
    assert_eq!(counter.alive(), 3, "the runtime took its task along");
    let weak = ctx.downgrade();
    drop((child, ctx));
    assert_eq!((weak.state(), counter.alive()), (State::Closed, 0));
    assert!(registry.is_empty());
}

/// I11: dropped on a thread that never saw a runtime, while the context's own is alive.
#[test]
fn a_context_dropped_on_a_foreign_thread_closes_on_its_own_runtime() {
    let rt = current_thread();
    let registry = Registry::new();
    let counter = Counter::default();
    let ctx = rt.block_on(async { registry.context("ctx") });
    let guard = counter.guard();
    ctx.on_close(move || async move { drop(guard) }).unwrap();
    std::thread::spawn(move || drop(ctx)).join().unwrap();
    assert_eq!(counter.alive(), 1);
    rt.block_on(in_time(registry.idle()));
    assert_eq!(counter.alive(), 0);
}

/// I11, I14: a torn down parent waits for a child that is still held; the child's end ends it.
#[test]
fn without_a_runtime_a_parent_still_waits_for_its_children() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let (weak, weak_child) = (ctx.downgrade(), child.downgrade());
    drop(ctx);
    assert_eq!(
        (weak.state(), weak_child.state()),
        (State::Closing, State::Closing)
    );
    drop(child);
    assert_eq!(
        (weak.state(), weak_child.state()),
        (State::Closed, State::Closed)
    );
    assert!(registry.is_empty());
}

/// I13: a deep chain without any runtime.
#[test]
fn a_deep_chain_ends_without_a_runtime() {
    for leaf_first in [false, true] {
        let registry = Registry::new();
        let mut chain = vec![registry.context("top")];
        for n in 1..20_000 {
            chain.push(chain[n - 1].child("link"));
        }
        if leaf_first {
            chain.reverse();
        }
        drop(chain);
        assert!(registry.is_empty());
    }
}

/// I9, I11, S8: a value whose drop spawns on the closing context is refused, and nothing hangs.
#[tokio::test]
async fn a_destructor_may_use_the_closing_context() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let meddles = |ctx: &Context| {
        let ctx = ctx.clone();
        OnDrop::new(move || {
            assert!(ctx.try_spawn(async {}).is_err());
            drop(ctx.spawn(async {}));
            assert_eq!(ctx.child("child").state(), State::Closed);
            ctx.request_close("again");
            assert!(ctx.on_close(|| async {}).is_ok(), "it is next");
        })
    };
    let value = std::sync::Mutex::new(meddles(&ctx));
    drop(ctx.own("meddles", "value", value).unwrap());
    let meddler = {
        let ctx = ctx.clone();
        OnDrop::new(move || {
            assert!(ctx.try_spawn(async {}).is_err());
            assert!(ctx.on_close(|| async {}).is_ok(), "hooks still run");
            drop(ctx.own("late", "value", ()).unwrap());
        })
    };
    let weak = ctx.downgrade();
    ctx.spawn(async move {
        let _meddler = meddler;
        weak.cancelled().await;
    });
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.hooks().ran), (1, 2));
    assert!(report.failures().is_empty(), "{report}");
    assert_eq!(report.reason(), &CloseReason::from("close"));
}

/// I9: a runtime that has shut down drops a future inside the spawn, and its destructor comes back.
#[test]
fn spawning_on_a_dead_runtime_lets_the_destructor_use_the_context() {
    let rt = current_thread();
    let ctx = rt.block_on(async { Registry::new().context("ctx") });
    let gone = rt.handle().clone();
    drop(rt);
    let counter = Counter::default();
    let guard = counter.guard();
    let again = OnDrop::new({
        let (ctx, gone) = (ctx.clone(), gone.clone());
        move || {
            let guard = guard;
            let inner = ctx.task("inner").on(&gone);
            drop(inner.spawn(async move { drop(guard) }));
        }
    });
    let task = ctx
        .task("outer")
        .on(&gone)
        .spawn(async move { drop(again) });
    assert_eq!(counter.dropped(), 1);
    assert!(task.is_finished());
    let report = current_thread().block_on(in_time(ctx.close()));
    assert_eq!((report.aborted(), report.finished()), (2, 0));
}

/// A registry that is gone takes its free tasks along.
#[tokio::test]
async fn free_tasks_end_with_their_registry() {
    let counter = Counter::default();
    let registry = Registry::new();
    let guard = counter.guard();
    let task = registry
        .scope(async {
            headcount::spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            })
        })
        .await;
    settle().await;
    drop(registry);
    in_time(task).await.unwrap_err();
    assert_eq!(counter.alive(), 0);
}

/// A context keeps its registry working.
#[tokio::test]
async fn a_context_outlives_the_registry_handle() {
    let ctx = Registry::new().context("ctx");
    assert_eq!(
        in_time(ctx.spawn(async { Registry::current().count() }))
            .await
            .unwrap(),
        2
    );
    in_time(ctx.close()).await;
}

/// Runs on a plain thread with libtest's stack.
fn without_runtime(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(body).unwrap().join().unwrap();
}

/// I11, I14: a context that owns the handle of its child waits for it, and it for the handle.
#[test]
fn a_context_that_owns_the_handle_of_its_child_is_torn_down_without_a_runtime() {
    without_runtime(|| {
        let (registry, counter) = (Registry::new(), Counter::default());
        let parent = registry.context("parent");
        let child = parent.child("child");
        for ctx in [&parent, &child] {
            drop(ctx.own("value", "value", counter.guard()).unwrap());
            let guard = counter.guard();
            ctx.on_close(async move || drop(guard)).unwrap();
        }
        let weak = [parent.downgrade(), child.downgrade()];
        drop(parent.own("the child", "handle", child).unwrap());
        assert_eq!(counter.alive(), 4);
        drop(parent);
        assert_eq!((counter.alive(), registry.count()), (0, 0));
        assert_eq!(weak.map(|ctx| ctx.state()), [State::Closed; 2]);
    });
}

/// The same while a task of the parent is still there: the value that owns the child goes when that one has left.
#[test]
fn a_context_that_owns_the_handle_of_its_child_is_torn_down_after_its_last_task() {
    let (registry, counter) = (Registry::new(), Counter::default());
    let rt = current_thread();
    let parent = rt.block_on(async { registry.context("parent") });
    let wrapped: Vec<_> = (0..3)
        .map(|_| parent.wrap(std::future::pending::<()>()))
        .collect();
    drop(rt);
    without_runtime(move || {
        let child = parent.child("child");
        drop(child.own("value", "value", counter.guard()).unwrap());
        let weak = [parent.downgrade(), child.downgrade()];
        drop(parent.own("the child", "handle", child).unwrap());
        drop(parent);
        for wrapped in wrapped {
            assert_eq!(counter.alive(), 1);
            drop(wrapped);
        }
        assert_eq!((counter.alive(), registry.count()), (0, 0));
        assert_eq!(weak.map(|ctx| ctx.state()), [State::Closed; 2]);
    });
}

/// A child that another holds may still be brought a runtime: its parent waits for it.
#[test]
fn a_child_that_another_holds_is_closed_when_that_handle_goes() {
    without_runtime(|| {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let weak = parent.downgrade();
        drop(parent);
        assert_eq!(
            (weak.state(), child.state()),
            (State::Closing, State::Closing)
        );
        let report = current_thread().block_on(in_time(child.close()));
        assert!(report.is_clean());
        assert_eq!(weak.state(), State::Closed);
    });
}

/// I13: contexts that own the next one's handle, as children and side by side.
#[test]
fn a_chain_of_owned_handles_is_torn_down_without_recursion() {
    const DEPTH: usize = 50_000;
    for is_nested in [false, true] {
        let counter = Counter::default();
        let alive = counter.clone();
        without_runtime(move || {
            let registry = Registry::new();
            registry.set_level(headcount::Level::Off);
            let mut chain: Vec<headcount::Context> = Vec::with_capacity(DEPTH);
            for _ in 0..DEPTH {
                let next = match chain.last() {
                    Some(last) if is_nested => last.child("link"),
                    _ => registry.context("link"),
                };
                drop(next.own("value", "value", counter.guard()).unwrap());
                chain.push(next);
            }
            while let Some(last) = chain.pop() {
                match chain.last() {
                    Some(owner) => drop(owner.own("next", "handle", last).unwrap()),
                    None => drop(last),
                }
            }
            assert_eq!((counter.alive(), registry.count()), (0, 0));
        });
        assert_eq!(alive.dropped(), DEPTH);
    }
}

/// I11, I13: where there are many, contexts that are dropped one by one share a look for their tasks.
#[test]
fn the_tasks_of_many_contexts_without_a_runtime_are_aborted() {
    let registry = Registry::new();
    let parent = registry.context("parent");
    let children: Vec<_> = (0..2_000).map(|_| parent.child("child")).collect();
    let wrap = |child: &Context| child.wrap(std::future::pending::<()>());
    let wrapped: Vec<_> = children.iter().map(wrap).collect();
    parent.request_close("done");
    drop((parent, children));
    for ended in futures::executor::block_on(futures::future::join_all(wrapped)) {
        assert!(matches!(ended, Err(TaskError::Aborted)));
    }
    assert!(registry.is_empty());
}
