//! Tasks that wait for each other: which are told, which are not, and where.

use crate::{dump::awaited, util::settle};
use headcount::{Context, Registry, Task, Waiter};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(1_000);

/// Two tasks, each in a context of its own, that each close the other's.
fn close_each_other(registry: &Registry, grace: Duration) -> [Context; 2] {
    let contexts = ["a", "b"].map(|name| registry.open(name).grace(grace).start());
    for (n, name) in ["one", "two"].into_iter().enumerate() {
        let other = contexts[1 - n].clone();
        contexts[n].task(name).spawn(async move {
            drop(other.close().await); // each waits here
        });
    }
    contexts
}
const CLOSE_EACH_OTHER: u32 = line!() - 5;

#[tokio::test(start_paused = true)]
async fn tasks_that_close_each_others_contexts_are_a_deadlock() {
    let registry = Registry::new();
    let contexts = close_each_other(&registry, Duration::MAX);
    // One more waits for them, and one for nobody.
    let waiting = contexts[0].clone();
    let ctx = registry.context("ctx");
    ctx.task("victim").cancellable().spawn(async move {
        drop(waiting.closed().await);
    });
    ctx.task("sleeper").cancellable().spawn(sleep(LONG));
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let here = format!("tests/it/deadlocks.rs:{CLOSE_EACH_OTHER}");
    let said = format!(
        "deadlock: 2 tasks wait for each other\n    \
         a/one waits for the close of b at {here}\n    b waits for its task b/two\n    \
         b/two waits for the close of a at {here}\n    a waits for its task a/one\n    \
         1 task more waits for them"
    );
    assert_eq!(deadlock.to_string(), said);
    assert!(dump.to_string().contains(&said), "{dump}");
    let paths: Vec<_> = deadlock.waiters().iter().map(Waiter::path).collect();
    assert_eq!((paths, deadlock.others()), (vec!["a/one", "b/two"], 1));
    for task in registry.live().await.tasks() {
        assert!(["one", "two", "victim", "sleeper"].contains(&task.name()));
    }
    drop(contexts);
}

/// So many tasks, each of which waits for the end of the next, once the channels say who that is.
pub(crate) fn join_each_other(ctx: &Context, count: usize) -> impl FnOnce() + use<> {
    let (mut gives, mut handles) = (Vec::new(), Vec::new());
    for n in 0..count {
        let (give, take) = oneshot::channel::<Task<()>>();
        gives.push(give);
        let task = ctx.task(format!("task-{n}")).cancellable();
        handles.push(task.spawn(async {
            let next = take.await.unwrap();
            drop(next.await);
        }));
    }
    handles.rotate_left(1);
    move || {
        for (give, next) in gives.into_iter().zip(handles) {
            assert!(give.send(next).is_ok());
        }
    }
}

#[tokio::test]
async fn tasks_that_join_each_other_are_a_deadlock() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let join = join_each_other(&ctx, 3);
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    join();
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.deadlocks().len(), 1, "{dump}");
    assert_eq!(dump.deadlocks()[0].waiters().len(), 3, "{dump}");
    // Cancelled, they all go.
    ctx.close().await;
    assert!(registry.dump().await.deadlocks().is_empty());
}

#[tokio::test]
async fn a_task_that_waits_for_its_own_registry_to_be_idle_waits_for_itself() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let own = registry.clone();
    ctx.task("own")
        .cancellable()
        .spawn(async move { own.idle().await });
    let other = Registry::new();
    let busy = other.context("busy");
    ctx.task("other")
        .cancellable()
        .spawn(async move { other.idle().await });
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.deadlocks().len(), 1, "{dump}");
    let said = dump.deadlocks()[0].to_string();
    assert!(
        said.starts_with(
            "deadlock: a task waits for itself\n    ctx/own waits for its registry to be idle at tests/it/deadlocks.rs:"
        ) && said.ends_with("\n    the registry waits for its task ctx/own"),
        "{said}"
    );
    ctx.close().await;
    drop(busy);
}

/// Whoever has another way out is in no deadlock.
#[tokio::test(start_paused = true)]
async fn a_wait_with_a_time_limit_is_no_deadlock() {
    let registry = Registry::new();
    let contexts = ["a", "b"].map(|name| registry.open(name).grace(LONG).start());
    let other = contexts[1].clone();
    contexts[0].task("patient").spawn(async move {
        drop(timeout(LONG, other.close()).await);
    });
    let other = contexts[0].clone();
    contexts[1].task("closer").spawn(async move {
        drop(other.close().await);
    });
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    assert_eq!(dump.find("patient").unwrap().stacks().len(), 2, "{dump}");
    for ctx in contexts {
        ctx.close().await;
    }
}

/// A future that is counted inside a task, and asked at the same time, is no way out of a deadlock.
#[tokio::test(start_paused = true)]
async fn a_wrapped_future_inside_a_task_waits_for_the_same() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (own, inner) = (registry.clone(), ctx.clone());
    ctx.task("outer").spawn(async move {
        drop(
            inner
                .task("inner")
                .wrap(async move { own.idle().await })
                .await,
        );
    });
    settle().await;
    let dump = registry.dump().await;
    let named = |name| awaited(&dump, name).0;
    assert_eq!(named("inner"), "its registry to be idle");
    assert_eq!(named("outer"), "its registry to be idle");
    // The inner one can be dropped by the outer one, which cannot be by anybody.
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    assert_eq!(deadlock.waiters()[0].path(), "ctx/outer");
    drop(ctx);
    registry.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_is_in_the_reports_of_the_closes_that_are_in_it() {
    let registry = Registry::new();
    let contexts = close_each_other(&registry, 10 * SECOND);
    let apart = registry.open("apart").grace(10 * SECOND).start();
    apart.task("deaf").spawn(sleep(LONG));
    settle().await;
    assert!(
        apart
            .close_within(2 * SECOND)
            .await
            .unwrap_err()
            .deadlocks()
            .is_empty()
    );
    let began = "deadlock: 2 tasks wait for each other\n    a/one waits for the close of b at";
    let still = contexts[0].close_within(SECOND).await.unwrap_err();
    assert_eq!(still.deadlocks().len(), 1, "{still}");
    assert!(still.deadlocks()[0].starts_with(began), "{still}");
    assert!(still.to_string().contains(began), "{still}");
    for ctx in contexts {
        let report = ctx.close().await;
        assert_eq!(report.deadlocks(), still.deadlocks());
        assert!(
            report.to_string().contains("! deadlock: 2 tasks wait"),
            "{report}"
        );
        assert!(
            report.duration() >= 10 * SECOND,
            "nobody is aborted before the time"
        );
    }
    assert!(apart.close().await.deadlocks().is_empty());
    let whole = registry.close().await;
    assert_eq!(whole.deadlocks(), still.deadlocks());
    // One is ended by force, which lets the other go on.
    assert!(whole.aborted() >= 1, "{whole}");
}

/// Nobody is asked before who has never waited for something of a registry.
#[tokio::test(start_paused = true)]
async fn looking_for_deadlocks_leaves_those_alone_who_wait_for_other_things() {
    let registry = Registry::new();
    let ctx = registry.open("ctx").grace(10 * SECOND).start();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    ctx.task("deaf").spawn(poll_fn::<(), _>(move |_| {
        counted.fetch_add(1, SeqCst);
        Poll::Pending
    }));
    settle().await;
    ctx.request_close("enough");
    sleep(9 * SECOND).await;
    assert_eq!(polls.load(SeqCst), 1);
    let report = ctx.close().await;
    assert_eq!(report.aborted(), 1);
}
