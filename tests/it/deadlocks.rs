//! Tasks that wait for each other: which are told, which are not, and where.

use crate::{
    asking::silent,
    dump::awaited,
    events::said,
    util::{current_thread, paused, settle, within},
};
use futures::task::AtomicWaker;
use headcount::{
    Context, OnConflict, Registry, Task,
    dump::{StackFrame, Waiter},
};
use std::{
    future::{pending, poll_fn},
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::LocalSet,
    time::{sleep, timeout},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Real time, for what can hang.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(1_000);

/// Two tasks, each in a context of its own, that each close the other's.
fn close_each_other(registry: &Registry, grace: Duration) -> [Context; 2] {
    let contexts = ["a", "b"].map(|name| registry.context_builder(name).grace(grace).open());
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
    // One more waits for them, and one for none of them.
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
         1 more waits for them"
    );
    assert_eq!(deadlock.to_string(), said);
    assert!(dump.to_string().contains(&said), "{dump}");
    let paths: Vec<_> = deadlock.waiters().iter().map(Waiter::path).collect();
    assert_eq!((paths, deadlock.others()), (vec!["a/one", "b/two"], 1));
    for waiter in deadlock.waiters() {
        assert_eq!(waiter.at().map(StackFrame::line), Some(CLOSE_EACH_OTHER));
    }
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
    let deadlock = &dump.deadlocks()[0];
    assert_eq!(
        (deadlock.waiters().len(), deadlock.others()),
        (3, 0),
        "{dump}"
    );
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

/// A task that has another way out is in no deadlock.
#[tokio::test(start_paused = true)]
async fn a_wait_with_a_time_limit_is_no_deadlock() {
    let registry = Registry::new();
    let contexts = ["a", "b"].map(|name| registry.context_builder(name).grace(LONG).open());
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
    // The inner one can be dropped by the outer one, which cannot be dropped.
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
    let apart = registry.context_builder("apart").grace(10 * SECOND).open();
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
            "no task is aborted before the time"
        );
    }
    assert!(apart.close().await.deadlocks().is_empty());
    let whole = registry.close().await;
    assert_eq!(whole.deadlocks(), still.deadlocks());
    // One is ended by force, which lets the other go on.
    assert!(whole.aborted() >= 1, "{whole}");
}

/// A task that has never waited for something of a registry is not asked before.
#[tokio::test(start_paused = true)]
async fn looking_for_deadlocks_leaves_those_alone_who_wait_for_other_things() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").grace(10 * SECOND).open();
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

#[tokio::test]
async fn rings_of_any_length_are_told() {
    for count in [2, 3, 5, 40] {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        join_each_other(&child, count)();
        settle().await;
        let dump = registry.dump().await;
        assert_eq!(dump.deadlocks().len(), 1, "{count}: {dump}");
        assert_eq!(dump.deadlocks()[0].waiters().len(), count, "{dump}");
        parent.close().await;
    }
}

/// A task joins one that joins one that waits for the close of the context above the first one's.
#[tokio::test(start_paused = true)]
async fn a_chain_through_a_context_and_its_child_is_told() {
    let registry = Registry::new();
    let top = registry.context_builder("top").grace(Duration::MAX).open();
    let child = top.child_builder("child").grace(Duration::MAX).open();
    let other = registry.context("other");
    let (give, take) = oneshot::channel::<Task<()>>();
    child
        .task("in-child")
        .spawn(async move { drop(take.await.unwrap().await) });
    let weak = top.downgrade();
    let waits = other
        .task("waits")
        .spawn(async move { weak.closed().await });
    let joins = other.task("joins").spawn(async move {
        tokio::join!(async { drop(waits.await) }, async {});
    });
    assert!(give.send(joins).is_ok());
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "it is never closed: {dump}");
    top.request_close("now");
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.deadlocks().len(), 1, "{dump}");
    let waiters = dump.deadlocks()[0].waiters().iter().map(Waiter::path);
    let waiters: Vec<_> = waiters.collect();
    assert_eq!(
        waiters,
        ["top/child/in-child", "other/joins", "other/waits"]
    );
}

/// The owner of a wrapped future can drop it.
#[tokio::test(start_paused = true)]
async fn a_wrapped_future_with_a_time_limit_round_it_is_no_deadlock() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").grace(Duration::MAX).open();
    let (closed, other) = (ctx.clone(), registry.context("other"));
    let closer = other
        .task("closer")
        .spawn(async move { drop(closed.close().await) });
    let wrapped = ctx.task("wrapped").wrap(async move { drop(closer.await) });
    let patient = tokio::spawn(timeout(5 * SECOND, wrapped));
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    assert!(patient.await.unwrap().is_err());
    ctx.close().await;
}

/// The same inside a task, which is known to have another way out.
#[tokio::test(start_paused = true)]
async fn a_wrapped_future_in_a_select_of_a_task_is_no_deadlock() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").grace(Duration::MAX).open();
    let (closed, other) = (ctx.clone(), registry.context("other"));
    let closer = other
        .task("closer")
        .spawn(async move { drop(closed.close().await) });
    let wrapped = ctx.task("wrapped").wrap(async move { drop(closer.await) });
    let patient = timeout(5 * SECOND, wrapped);
    other
        .task("outer")
        .spawn(async move { drop(patient.await) });
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    ctx.close().await;
}

/// Pending once, and then ready, whatever polls it.
fn once() -> impl Future<Output = ()> {
    let (kept, mut is_over) = (AtomicWaker::new(), false);
    poll_fn(move |cx| {
        if mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        kept.register(cx.waker());
        Poll::Pending
    })
}

/// The close begins in the poll of the question, and a hook that takes its time keeps it from cancelling.
#[test]
fn a_cancellable_task_in_a_context_that_begins_to_close_is_in_no_deadlock() {
    within(TIME_LIMIT, || {
        let registry = Registry::new();
        let (release, held) = mpsc::channel::<()>();
        let runtime = current_thread();
        let (ctx, worker) = runtime.block_on(async {
            let (ctx, other) = (registry.context("ctx"), registry.context("other"));
            let held = Mutex::new(held);
            ctx.on_closing(move || async move {
                let _ = held.lock().unwrap().recv();
            })
            .unwrap();
            let (give, take) = oneshot::channel::<Task<()>>();
            let worker = ctx
                .task("worker")
                .cancellable()
                .spawn(async move { drop(take.await.unwrap().await) });
            let closed = ctx.clone();
            let closer = other.task("closer").spawn(async move {
                once().await;
                drop(closed.close().await);
            });
            assert!(give.send(closer).is_ok());
            settle().await;
            (ctx, worker)
        });
        let running = thread::spawn(move || {
            runtime.block_on(async {
                drop(worker.await);
                ctx.close().await;
            });
        });
        let dump = current_thread().block_on(registry.dump_within(20 * SECOND));
        drop(release);
        running.join().unwrap();
        assert_eq!(dump.unanswered().count(), 0, "{dump}");
        assert!(dump.deadlocks().is_empty(), "{dump}");
    });
}

/// The thread that is to end the aborted one is busy.
#[test]
fn a_task_that_joins_one_it_aborted_is_in_no_deadlock() {
    within(TIME_LIMIT, || {
        let registry = Registry::new();
        let (release, held) = mpsc::channel::<()>();
        let (busy, is_busy) = mpsc::channel::<()>();
        let (give, take) = oneshot::channel::<Task<()>>();
        let (first, second) = (current_thread(), current_thread());
        let (ctx, aborted) = first.block_on(async {
            let ctx = registry.context("ctx");
            let aborted = ctx.task("aborted").spawn(async move {
                let mut joined = take.await.unwrap();
                let (mut held, mut polls) = (Some(held), 0);
                let joins = poll_fn(move |cx| {
                    polls += 1;
                    if polls == 2 {
                        // Asked, and then another task needs the thread.
                        let (busy, held) = (busy.clone(), held.take().unwrap());
                        tokio::spawn(async move {
                            busy.send(()).unwrap();
                            let _ = held.recv();
                        });
                    }
                    Pin::new(&mut joined).poll(cx)
                });
                drop(joins.await);
            });
            (ctx, aborted)
        });
        let other = second.block_on(async {
            let other = registry.context("other");
            let aborts = other.task("aborts").spawn(async move {
                once().await;
                is_busy.recv().unwrap();
                aborted.abort();
                drop(aborted.await);
            });
            assert!(give.send(aborts).is_ok());
            settle().await;
            other
        });
        first.block_on(settle());
        let running = [(first, ctx.clone()), (second, other.clone())]
            .map(|(runtime, ctx)| thread::spawn(move || drop(runtime.block_on(ctx.closed()))));
        let dump = current_thread().block_on(registry.dump_within(20 * SECOND));
        drop(release);
        for ctx in [ctx, other] {
            ctx.request_close("enough");
        }
        for thread in running {
            thread.join().unwrap();
        }
        assert_eq!(dump.unanswered().count(), 0, "{dump}");
        assert!(dump.deadlocks().is_empty(), "{dump}");
    });
}

/// A wait that was over in the very poll of the question is not what the task waits for.
#[tokio::test(start_paused = true)]
async fn a_circle_is_of_what_is_awaited_now() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").grace(Duration::MAX).open();
    let others = registry.context("others");
    let [mut before, now] = ["before", "now"].map(|name| {
        let ctx = ctx.clone();
        let waits = async move { drop(ctx.closed().await) };
        others.task(name).spawn(waits)
    });
    ctx.task("task").spawn(async move {
        tokio::select! {
            biased;
            _ = &mut before => {}
            () = once() => {}
        }
        drop(now.await);
    });
    ctx.request_close("enough");
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let said = deadlock.to_string();
    assert!(
        said.contains("ctx/task waits for the end of the task others/now"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn idle_of_another_registry_is_not_taken_for_that_of_its_own() {
    let registries = [Registry::new(), Registry::new()];
    let [ctx, other] = [0, 1].map(|n| registries[n].context("ctx"));
    let idle = registries[1].clone();
    let wrapped = ctx.task("wrapped").wrap(async move { idle.idle().await });
    other
        .task("outer")
        .spawn(async move { drop(wrapped.await) });
    settle().await;
    let dump = registries[0].dump().await;
    let awaited = awaited(&dump, "wrapped").0;
    assert_eq!(awaited, "its registry to be idle");
    assert!(dump.deadlocks().is_empty(), "{dump}");
}

/// A task does not answer for 100 ms, in the middle of which the grace period ends.
#[test]
fn a_check_under_way_when_the_grace_period_ends_does_not_hang_the_close() {
    let ends = within(TIME_LIMIT, || {
        paused().block_on(async {
            let registry = Registry::new();
            let _silent = silent(&registry.context("other"));
            let ctx = registry.context_builder("ctx").grace(1_050 * MS).open();
            ctx.task("stubborn").spawn(pending::<()>());
            settle().await;
            timeout(LONG, ctx.close()).await.is_ok()
        })
    });
    assert!(ends, "the close hangs");
}

/// Three closes want to look: the first look is under way for 100 ms, the second one is dropped, which is no answer for
/// the third.
#[tokio::test(start_paused = true)]
async fn a_check_that_was_dropped_is_not_taken_for_one_that_was_made() {
    let registry = Registry::new();
    let _silent = silent(&registry.context("other"));
    let contexts = ["c1", "c2", "c3"].map(|name| {
        let ctx = registry.context_builder(name).grace(Duration::MAX).open();
        ctx.task("stubborn").spawn(pending::<()>());
        ctx
    });
    let (go, gone) = oneshot::channel::<()>();
    let own = registry.clone();
    contexts[2].task("own").spawn(async move {
        gone.await.unwrap();
        own.idle().await;
    });
    settle().await;
    let looks = contexts.iter().zip([10, 20, 30]).map(|(ctx, limit)| {
        let ctx = ctx.clone();
        tokio::spawn(async move { ctx.close_within(limit * MS).await })
    });
    let mut looks: Vec<_> = looks.collect();
    sleep(60 * MS).await;
    go.send(()).unwrap();
    sleep(90 * MS).await;
    looks[1].abort();
    let still = looks.remove(2).await.unwrap().unwrap_err();
    assert_eq!(registry.dump().await.deadlocks().len(), 1);
    assert_eq!(still.deadlocks().len(), 1, "{still}");
}

/// The task is gone 10 ms after the grace period, and one of another context is asked for 100 ms.
#[tokio::test(start_paused = true)]
async fn a_close_ends_when_its_tasks_do_also_while_it_asks() {
    let registry = Registry::new();
    let _silent = silent(&registry.context("other"));
    let ctx = registry.context_builder("ctx").grace(500 * MS).open();
    ctx.task("slow").spawn(sleep(510 * MS));
    settle().await;
    let report = ctx.close().await;
    assert!(report.duration() < 550 * MS, "{report}");
}

/// A check in between gets no answer, because the tasks are not run.
#[test]
fn a_deadlock_is_warned_of_once() {
    let said = said(|| async {
        let registry = Registry::new();
        let local = LocalSet::new();
        let contexts =
            ["a", "b"].map(|name| registry.context_builder(name).grace(Duration::MAX).open());
        let running = local.run_until(async {
            for (n, name) in ["one", "two"].into_iter().enumerate() {
                let other = contexts[1 - n].clone();
                contexts[n]
                    .task(name)
                    .spawn_local(async move { drop(other.close().await) });
            }
            sleep(1_500 * MS).await;
        });
        running.await;
        // A look is made after 1 s, one after 3 s, and one after 7 s.
        sleep(2_500 * MS).await;
        local.run_until(sleep(4 * SECOND)).await;
    });
    let told = said
        .iter()
        .filter(|line| line.contains("deadlock: 2 tasks"));
    assert_eq!(told.count(), 1, "{said:#?}");
}

/// One task more waits for those in it after it was seen first.
#[tokio::test(start_paused = true)]
async fn a_deadlock_is_in_a_report_once() {
    let registry = Registry::new();
    let [a, b] = close_each_other(&registry, 5 * SECOND);
    let ctx = registry.context("ctx");
    sleep(2 * SECOND).await;
    let waiting = a.clone();
    ctx.spawn(async move { drop(waiting.closed().await) });
    let report = a.close().await;
    b.close().await;
    assert_eq!(report.deadlocks().len(), 1, "{report}");
}

/// Another close saw it, and it was resolved by hand.
#[tokio::test(start_paused = true)]
async fn a_report_has_no_deadlocks_of_before_the_close() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (give, take) = oneshot::channel::<Task<()>>();
    let one = ctx
        .task("one")
        .slot("one")
        .spawn(async { drop(take.await.unwrap().await) });
    let two = ctx.task("two").spawn(async { drop(one.await) });
    assert!(give.send(two).is_ok());
    settle().await;
    assert_eq!(registry.dump().await.deadlocks().len(), 1);
    let slow = registry.context_builder("slow").grace(10 * SECOND).open();
    slow.spawn(sleep(2 * SECOND));
    slow.close().await;
    let other = ctx.task("one").slot("one");
    other.on_conflict(OnConflict::Replace).spawn(async {});
    sleep(LONG).await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    let report = ctx.close().await;
    assert!(report.deadlocks().is_empty(), "{report}");
}

/// Names that would break lines, colour them or turn them round.
#[tokio::test(start_paused = true)]
async fn names_in_a_deadlock_do_not_break_lines() {
    let registry = Registry::new();
    let name = "x\n\u{1b}[31m\r\u{202e}y";
    let contexts = [0, 1].map(|n| {
        let ctx = registry.context_builder(format!("{name}{n}"));
        ctx.grace(2 * SECOND).open()
    });
    for (n, ctx) in contexts.iter().enumerate() {
        let other = contexts[1 - n].clone();
        ctx.task(name)
            .spawn(async move { drop(other.close().await) });
    }
    settle().await;
    let dump = registry.dump().await;
    let still = contexts[0].close_within(100 * MS).await.unwrap_err();
    let report = contexts[0].close().await;
    let told = [dump.to_string(), still.to_string(), report.to_string()];
    for said in &told {
        assert!(said.contains("deadlock: 2 tasks wait"), "{said:?}");
    }
    for said in told.into_iter().chain([dump.in_full().to_string()]) {
        let breaks = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(breaks), "{said:?}");
        assert!(!said.contains("x\n"), "{said:?}");
    }
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_deadlock_is_json() {
    let registry = Registry::new();
    let _contexts = close_each_other(&registry, Duration::MAX);
    settle().await;
    let json = serde_json::to_value(registry.dump().await).unwrap();
    let deadlock = &json["deadlocks"][0];
    assert_eq!(deadlock["others"], 0, "{json}");
    let waiters = deadlock["waiters"].as_array().unwrap();
    let paths: Vec<_> = waiters.iter().map(|waiter| &waiter["path"]).collect();
    assert_eq!(paths, ["a/one", "b/two"], "{json}");
    for waiter in waiters {
        assert_eq!(waiter["at"]["line"], CLOSE_EACH_OTHER, "{json}");
    }
}
