//! Hooks in circles of those that wait for each other: which are told, which are not, and where.

use crate::{asking::silent, events::said, util::settle};
use headcount::{CloseStatus, Context, Registry, Task, dump::Waiter};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(1_000);
const HERE: &str = "tests/it/hook_deadlocks.rs";

fn open(registry: &Registry, name: &'static str, hook: Duration) -> Context {
    let open = registry.context_builder(name).grace(Duration::MAX);
    open.hook_timeout(hook).open()
}

fn two(registry: &Registry, hook: Duration) -> [Context; 2] {
    ["a", "b"].map(|name| open(registry, name, hook))
}

/// A hook of `a` joins a task of `b`, which closes `a`: the circle as it is said.
#[rustfmt::skip]
async fn join_who_closes(registry: &Registry, [a, b]: &[Context; 2], kind: &str) -> String {
    let closed = a.clone();
    let (closer, close) = (b.task("closer").spawn(async move { drop(closed.close().await); }), line!());
    let (_, join) = match kind {
        "on_closing" => (a.on_closing(|| async { drop(closer.await); }).unwrap(), line!()),
        _ => (a.on_close(|| async { drop(closer.await); }).unwrap(), line!()),
    };
    settle().await;
    assert_eq!(registry.dump().await.hooks().len(), 1);
    format!(
        "deadlock: 1 task and 1 hook wait for each other\n    \
         b/closer waits for the close of a at {HERE}:{close}\n    \
         a waits for the {kind} hook of a, registered at {HERE}:{join}\n    \
         the {kind} hook of a waits for the end of the task b/closer at {HERE}:{join}"
    )
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_joins_a_task_that_closes_its_context_is_a_deadlock() {
    for kind in ["on_closing", "on_close"] {
        let registry = Registry::new();
        let contexts = two(&registry, LONG);
        let said = join_who_closes(&registry, &contexts, kind).await;
        let dump = registry.dump().await;
        let [deadlock] = dump.deadlocks() else {
            panic!("{dump}");
        };
        assert_eq!(deadlock.to_string(), said);
        let [task, hook] = deadlock.waiters() else {
            panic!("{dump}");
        };
        let facts = |waiter: &Waiter| (waiter.kind(), waiter.path().to_owned(), waiter.id());
        assert_eq!(
            facts(task),
            ("task", "b/closer".to_owned(), dump.tasks()[0].id())
        );
        assert_eq!(facts(hook), (kind, "a".to_owned(), dump.hooks()[0].id()));
    }
}

/// A hook of `a` closes `b`, which waits for a task that waits for the close of `a`.
#[tokio::test(start_paused = true)]
async fn a_hook_that_closes_a_context_whose_task_closes_its_own_is_a_deadlock() {
    let registry = Registry::new();
    let [a, b] = two(&registry, LONG);
    let (closing, closed) = (b.clone(), a.clone());
    a.on_close(move || async move { drop(closing.close().await) })
        .unwrap();
    b.task("closer")
        .spawn(async move { drop(closed.close().await) });
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let waiters: Vec<_> = deadlock
        .waiters()
        .iter()
        .map(|waiter| (waiter.kind(), waiter.path()))
        .collect();
    assert_eq!(waiters, [("task", "b/closer"), ("on_close", "a")]);
}

/// Each closes the context of the other.
fn close_each_other([a, b]: &[Context; 2]) {
    for (own, other) in [(a, b), (b, a)] {
        let other = other.clone();
        own.on_close(move || async move { drop(other.close().await) })
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_close_each_others_contexts_are_a_deadlock() {
    let registry = Registry::new();
    let contexts = two(&registry, LONG);
    close_each_other(&contexts);
    let waiting = contexts[0].clone();
    let other = open(&registry, "other", LONG);
    other
        .on_closing(|| async move { drop(waiting.closed().await) })
        .unwrap();
    for ctx in [&contexts[0], &other] {
        ctx.request_close("now");
    }
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let said = deadlock.to_string();
    let begin = "deadlock: 2 hooks wait for each other\n    the on_close hook of a waits for the close of b at ";
    assert!(said.starts_with(begin), "{said}");
    assert!(said.ends_with("\n    1 more waits for them"), "{said}");
}

/// No task is left in their contexts, so only the wait for the hooks can check.
#[tokio::test(start_paused = true)]
async fn closes_that_wait_for_hooks_look_for_deadlocks_and_report_them() {
    let registry = Registry::new();
    let contexts = two(&registry, 1_500 * MS);
    close_each_other(&contexts);
    let apart = registry.context("apart");
    apart.on_close(|| sleep(3 * SECOND)).unwrap();
    apart.request_close("now");
    let reports = contexts.each_ref().map(|ctx| {
        let ctx = ctx.clone();
        tokio::spawn(async move { ctx.close().await })
    });
    for report in reports {
        let report = report.await.unwrap();
        let [deadlock] = &report.deadlocks()[..] else {
            panic!("{report}");
        };
        assert!(deadlock.contains("2 hooks wait for each other"), "{report}");
        assert!(
            report.to_string().contains("! deadlock: 2 hooks"),
            "{report}"
        );
    }
    assert!(apart.close().await.deadlocks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_given_up_says_which_hooks_wait_for_each_other_and_where() {
    let registry = Registry::new();
    let contexts = two(&registry, LONG);
    close_each_other(&contexts);
    let still = contexts[0].close_within(10 * MS).await.unwrap_err();
    let [deadlock] = &still.deadlocks()[..] else {
        panic!("{still}");
    };
    assert!(deadlock.contains("2 hooks wait for each other"), "{still}");
    let [stuck] = &still.stuck()[..] else {
        panic!("{still}");
    };
    assert!(stuck.starts_with("the on_close hook of a: running for 10ms"));
    assert!(stuck.contains("→ the close of b"), "{still}");
    assert!(still.to_string().contains(stuck), "{still}");
    assert_eq!(still.hooks().len(), 1);
}

/// Looks are made 1 s, 3 s and 7 s after each of the two hooks began.
#[test]
fn a_deadlock_of_hooks_is_warned_of_once() {
    let said = said(|| async {
        let registry = Registry::new();
        let contexts = two(&registry, 10 * SECOND);
        close_each_other(&contexts);
        contexts[0].close().await;
    });
    let told = said
        .iter()
        .filter(|line| line.contains("deadlock: 2 hooks"));
    assert_eq!(told.count(), 1, "{said:#?}");
}

/// It is polled by the close that looks, before the grace period ends and at its end; and no look comes after that.
#[tokio::test(start_paused = true)]
async fn a_hook_answers_the_deadlock_check_of_its_own_close() {
    for (grace, stubborn) in [(LONG, 1_200 * MS), (SECOND, LONG)] {
        let registry = Registry::new();
        let a = registry.context_builder("a").grace(grace);
        let a = a.hook_timeout(1_500 * MS).open();
        a.task("stubborn").spawn(sleep(stubborn));
        let contexts = [a, open(&registry, "b", LONG)];
        let said = join_who_closes(&registry, &contexts, "on_closing").await;
        let report = contexts[0].close().await;
        assert_eq!(report.deadlocks(), [said], "{report}");
        assert!(report.duration() < 2 * SECOND, "{report}");
        assert_eq!(report.hooks().timed_out, 1, "{report}");
    }
}

/// A look is under way for 100 ms when the last task ends, in the middle of that, and a hook runs on.
#[tokio::test(start_paused = true)]
async fn a_check_that_is_not_needed_any_more_holds_up_no_close() {
    let registry = Registry::new();
    let [ctx, other] = two(&registry, LONG);
    let _silent = silent(&other);
    ctx.on_closing(|| sleep(LONG)).unwrap();
    ctx.task("slow").spawn(sleep(1_050 * MS));
    ctx.request_close("now");
    sleep(1_500 * MS).await;
    let still = timeout(SECOND, ctx.close_within(10 * MS)).await.unwrap();
    assert_eq!(still.unwrap_err().stuck().len(), 1);
}

/// Who waits for the close of a context waits for the hooks of those below it.
#[tokio::test(start_paused = true)]
async fn a_circle_through_a_hook_of_a_child_is_told() {
    let registry = Registry::new();
    let [top, other] = ["top", "other"].map(|name| open(&registry, name, LONG));
    let child = top.child_builder("child").hook_timeout(LONG).open();
    let closed = top.clone();
    let closer = other
        .task("closer")
        .spawn(async move { drop(closed.close().await) });
    child.on_close(|| async { drop(closer.await) }).unwrap();
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let said = deadlock.to_string();
    let waits = "\n    top waits for the on_close hook of top/child, registered at ";
    assert!(said.contains(waits), "{said}");
    // Of a part of the circle nothing can be said.
    assert!(top.dump().await.deadlocks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_waits_for_its_own_registry_to_be_idle_waits_for_itself() {
    let registry = Registry::new();
    let ctx = open(&registry, "ctx", LONG);
    let own = registry.clone();
    ctx.on_close(move || async move { own.idle().await })
        .unwrap();
    ctx.request_close("now");
    settle().await;
    let dump = registry.dump().await;
    let [deadlock] = dump.deadlocks() else {
        panic!("{dump}");
    };
    let said = deadlock.to_string();
    let begin = "deadlock: a hook waits for itself\n    the on_close hook of ctx waits for its registry to be idle at ";
    assert!(said.starts_with(begin), "{said}");
}

/// It does not wait, so it is in no circle.
#[tokio::test(start_paused = true)]
async fn a_hook_that_closes_its_own_context_goes_on() {
    let registry = Registry::new();
    let parent = open(&registry, "parent", LONG);
    let ctx = parent.child_builder("ctx").hook_timeout(LONG).open();
    let closing = [parent.downgrade(), ctx.downgrade()];
    ctx.on_close(move || async move {
        for closing in closing {
            let report = closing.upgrade().unwrap().close().await;
            assert_eq!(report.status(), CloseStatus::Begun);
        }
        sleep(SECOND).await;
    })
    .unwrap();
    ctx.request_close("now");
    settle().await;
    let dump = registry.dump().await;
    assert!(dump.deadlocks().is_empty(), "{dump}");
    assert_eq!(dump.hooks().len(), 1, "{dump}");
    assert!(ctx.close().await.is_clean());
}

/// Whether there is a deadlock, where a hook of `a` waits for a task of `b` in this way, and the task runs this.
async fn is_told<
    T: Future<Output = ()> + Send + 'static,
    H: Future<Output = ()> + Send + 'static,
>(
    task: impl FnOnce(Context) -> T,
    hook: impl FnOnce(Task<()>) -> H + Send + 'static,
) -> bool {
    let registry = Registry::new();
    let [a, b] = two(&registry, LONG);
    let task = b.task("task").spawn(task(a.clone()));
    a.on_close(move || hook(task)).unwrap();
    a.request_close("now");
    sleep(8 * SECOND).await;
    let dump = registry.dump().await;
    let is_told = !dump.deadlocks().is_empty();
    assert_eq!(dump.hooks().len(), 1, "{dump}");
    assert_eq!(b.close().await.deadlocks().is_empty(), !is_told);
    is_told
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_can_go_on_is_in_no_deadlock() {
    let closes = |a: Context| async move { drop(a.close().await) };
    let joins = |task: Task<()>| async { drop(task.await) };
    assert!(is_told(closes, joins).await);
    let ends = |_| sleep(20 * SECOND);
    assert!(!is_told(ends, joins).await, "the task goes on");
    let ended = |task: Task<()>| async {
        drop(task.await);
        sleep(20 * SECOND).await;
    };
    assert!(!is_told(|_| async {}, ended).await, "the task has ended");
    let limited = |a: Context| async move { drop(timeout(20 * SECOND, a.close()).await) };
    assert!(!is_told(limited, joins).await, "the task has a time limit");
    let patient = |task: Task<()>| async { drop(timeout(20 * SECOND, task).await) };
    assert!(!is_told(closes, patient).await, "the hook has a time limit");
    let aborts = |task: Task<()>| async move {
        sleep(20 * SECOND).await;
        task.abort();
    };
    assert!(!is_told(closes, aborts).await, "the hook ends the task");
}

/// Chains of hooks, each of which waits for the next close, are no circle.
#[tokio::test(start_paused = true)]
async fn a_hook_that_waits_for_the_hook_of_another_context_is_in_no_deadlock() {
    let registry = Registry::new();
    let [a, b] = two(&registry, LONG);
    let closing = b.clone();
    a.on_closing(move || async move { drop(closing.close().await) })
        .unwrap();
    b.on_close(|| sleep(8 * SECOND)).unwrap();
    a.request_close("now");
    settle().await;
    let dump = registry.dump().await;
    assert_eq!(dump.hooks().len(), 2, "{dump}");
    assert!(dump.deadlocks().is_empty(), "{dump}");
    let report = a.close().await;
    assert!(
        report.is_clean() && report.deadlocks().is_empty(),
        "{report}"
    );
}
