//! What users of other libraries expect, by library: each test names the behaviour that it takes from there.

use crate::util::{Counter, Log, Notes, OnDrop, in_time, settle};
use headcount::{
    CloseReason, CloseReport, Context, FailureKind, OnFailure, Registry, State, TaskError,
    WeakContext,
};
use std::{
    future::{Future, pending},
    sync::Mutex,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Notes why the context closes.
fn notes_reason(ctx: &Context, log: &Log) {
    let (own, log) = (ctx.downgrade(), log.clone());
    ctx.spawn(async move { log.note(own.cancelled().await.root().to_string()) });
}

/// Notes when the context closes.
fn notes_close(ctx: &Context, log: &Log, name: &'static str) {
    let log = log.clone();
    ctx.on_close(async move || log.note(name)).unwrap();
}

/// The message of the failure that closed it.
fn failure_of(report: &CloseReport) -> &str {
    match report.reason().root() {
        CloseReason::Failed(failure) => failure.message(),
        other => panic!("not a failure: {other}"),
    }
}

mod trio {
    use super::*;
    use futures::future::BoxFuture;
    use std::sync::Arc;

    fn nursery() -> Context {
        let registry = Registry::new();
        let builder = registry.context_builder("nursery");
        builder.on_failure(OnFailure::Close).open()
    }

    /// A nursery's block ends when its last child has ended, those included that children have started meanwhile.
    #[tokio::test(start_paused = true)]
    async fn children_start_others_and_the_nursery_ends_when_it_has_run_dry() {
        fn starts_two(
            own: WeakContext,
            depth: u32,
            ended: Arc<Mutex<u32>>,
        ) -> BoxFuture<'static, ()> {
            Box::pin(async move {
                sleep(millis(10)).await;
                for _ in 0..if depth > 0 { 2 } else { 0 } {
                    own.spawn(starts_two(own.clone(), depth - 1, Arc::clone(&ended)));
                }
                *ended.lock().unwrap() += 1;
            })
        }
        let (nursery, ended) = (nursery(), Arc::default());
        nursery.spawn(starts_two(nursery.downgrade(), 5, Arc::clone(&ended)));
        let start = Instant::now();
        let report = in_time(nursery.finish()).await;
        assert_eq!(*ended.lock().unwrap(), 63);
        assert_eq!((report.finished(), report.refused()), (63, 0));
        assert_eq!(report.reason(), &CloseReason::Finished);
        assert_eq!(start.elapsed().as_millis() / 10, 6);
        assert!(report.is_clean());
    }

    /// A child that raises cancels its siblings; the block ends with its exception when they are gone.
    #[tokio::test(start_paused = true)]
    async fn a_child_that_fails_cancels_its_siblings() {
        let (nursery, log) = (nursery(), Log::default());
        let cleanup = log.clone();
        let own = nursery.downgrade();
        nursery.spawn(async move {
            let reason = own.cancelled().await;
            sleep(millis(100)).await;
            cleanup.note(reason.to_string());
        });
        let waits = nursery.task("waits").cancellable().spawn(pending::<()>());
        let fails = nursery.task("fails").fallible();
        drop(fails.spawn(async {
            sleep(millis(10)).await;
            Err::<(), _>("out of paper")
        }));
        let report = in_time(nursery.finish()).await;
        assert_eq!(failure_of(&report), "out of paper");
        assert!(log.all()[0].contains("out of paper"), "{:?}", log.all());
        assert!(matches!(waits.await, Err(TaskError::Cancelled)));
        assert_eq!((report.finished(), report.cancelled()), (2, 1));
    }

    /// What several children raise comes out together, as a group.
    #[tokio::test]
    async fn the_failures_of_all_children_are_in_the_report() {
        let nursery = nursery();
        let own = nursery.downgrade();
        drop(nursery.task("second").fallible().spawn(async move {
            own.cancelled().await;
            Err::<(), _>("second")
        }));
        settle().await;
        drop(nursery.spawn(async { panic!("first") }));
        let report = in_time(nursery.finish()).await;
        let said: Vec<_> = report
            .failures()
            .iter()
            .map(|one| (one.message(), one.kind()))
            .collect();
        assert_eq!(
            said,
            [
                ("first", FailureKind::TaskPanicked),
                ("second", FailureKind::TaskFailed)
            ]
        );
        assert_eq!(failure_of(&report), "first");
    }

    /// A cancel scope that is cancelled with a reason tells it to all that are inside, at any depth.
    #[tokio::test]
    async fn the_reason_of_a_cancel_reaches_all_that_is_below() {
        let (nursery, log) = (nursery(), Log::default());
        let child = nursery.child("child");
        let grandchild = child.child("grandchild");
        for ctx in [&nursery, &child, &grandchild] {
            notes_reason(ctx, &log);
        }
        settle().await;
        assert!(log.all().is_empty());
        in_time(nursery.close_with("too late")).await;
        assert_eq!(log.all(), ["requested: too late"; 3]);
        assert_eq!(nursery.close_reason(), Some(CloseReason::from("too late")));
        assert!(matches!(
            grandchild.close_reason(),
            Some(CloseReason::Parent(_))
        ));
    }

    /// If the body of the block raises, the children are cancelled, and the exception goes on when they are gone.
    #[tokio::test]
    async fn a_body_that_panics_cancels_the_children_first() {
        let (registry, log) = (Registry::new(), Log::default());
        let (cleanup, end) = (log.clone(), log.clone());
        let body = registry.with_context("nursery", async move |nursery| {
            notes_close(&nursery, &cleanup, "closed");
            notes_reason(&nursery, &cleanup);
            settle().await;
            panic!("the body");
        });
        let panicked = in_time(tokio::spawn(body)).await.unwrap_err();
        end.note("panicked");
        assert!(panicked.is_panic());
        assert_eq!(log.all(), ["requested: close", "closed", "panicked"]);
        assert!(registry.is_empty());
    }
}

mod kotlin {
    use super::*;

    fn job(registry: &Registry) -> Context {
        registry
            .context_builder("job")
            .on_failure(OnFailure::Close)
            .open()
    }

    fn supervisor(registry: &Registry) -> Context {
        let builder = registry.context_builder("supervisor");
        builder.on_failure(OnFailure::Report).open()
    }

    /// The failure of a child of a `SupervisorJob` is its own.
    #[tokio::test]
    async fn below_a_supervisor_a_failure_leaves_the_siblings_alone() {
        let registry = Registry::new();
        let supervisor = supervisor(&registry);
        let (one, other) = (supervisor.child("one"), supervisor.child("other"));
        let goes_on = other.spawn(async {
            settle().await;
            "goes on"
        });
        assert!(one.spawn(async { panic!("one") }).await.is_err());
        assert_eq!(in_time(goes_on).await.unwrap(), "goes on");
        assert!([&supervisor, &one, &other].map(Context::state) == [State::Open; 3]);
        let report = in_time(supervisor.close()).await;
        assert_eq!((report.panicked(), report.is_clean()), (1, true));
    }

    /// The failure of a child of a Job cancels the parent and with it the siblings.
    #[tokio::test]
    async fn below_a_job_a_failure_closes_the_parent_and_the_siblings() {
        let (registry, log) = (Registry::new(), Log::default());
        let job = job(&registry);
        let (one, other) = (job.child("one"), job.child("other"));
        notes_reason(&other, &log);
        settle().await;
        drop(one.task("task").spawn(async { panic!("one") }));
        let report = in_time(job.closed()).await;
        assert_eq!(failure_of(&report), "one");
        assert!([&job, &one, &other].map(Context::state) == [State::Closed; 3]);
        assert!(log.all()[0].contains("panicked: one"), "{:?}", log.all());
        assert!(!report.is_clean());
    }

    /// A supervisor below a job stops what comes from below it, and nothing else.
    #[tokio::test]
    async fn a_supervisor_below_a_job_shields_it() {
        let registry = Registry::new();
        let job = job(&registry);
        let supervisor = job
            .child_builder("supervisor")
            .on_failure(OnFailure::Report)
            .open();
        let shielded = supervisor.child("child");
        assert!(shielded.spawn(async { panic!("below") }).await.is_err());
        settle().await;
        assert!([&job, &supervisor, &shielded].map(Context::state) == [State::Open; 3]);
        assert!(job.spawn(async { panic!("beside") }).await.is_err());
        assert_eq!(failure_of(&in_time(shielded.closed()).await), "beside");
    }

    /// The first failure is the cause; those that come after it do not replace it.
    #[tokio::test]
    async fn the_failure_of_a_child_is_the_reason_of_the_parent() {
        let registry = Registry::new();
        let job = job(&registry);
        let child = job.child("child");
        let deep = child.child("grandchild");
        let own = deep.downgrade();
        let later = deep.spawn(async move {
            own.cancelled().await;
            panic!("later");
        });
        settle().await;
        drop(
            deep.task("parser")
                .fallible()
                .spawn(async { Err::<(), _>("no such line") }),
        );
        let report = in_time(job.closed()).await;
        let CloseReason::Failed(cause) = report.reason() else {
            panic!("{report}");
        };
        assert_eq!(
            (cause.what(), cause.path(), cause.message()),
            ("parser", "job/child/grandchild", "no such line")
        );
        assert!(later.await.unwrap_err().is_panic());
        assert_eq!((report.failed(), report.panicked()), (1, 1));
    }

    /// To cancel a child cancels neither its parent nor its siblings.
    #[tokio::test]
    async fn a_child_is_cancelled_alone() {
        let registry = Registry::new();
        let job = job(&registry);
        let (one, other) = (job.child("one"), job.child("other"));
        one.spawn(pending::<()>());
        let report = in_time(one.close_now()).await;
        assert_eq!(report.aborted(), 1);
        settle().await;
        assert_eq!((job.state(), other.state()), (State::Open, State::Open));
        assert_eq!(other.spawn(async { 1 }).await.unwrap(), 1);
    }

    /// A job completes after its children; its handlers have run when those that joined it go on.
    #[tokio::test]
    async fn children_complete_first_then_handlers_run_then_joins_return() {
        let (registry, log) = (Registry::new(), Log::default());
        let job = job(&registry);
        let child = job.child("child");
        notes_close(&job, &log, "handler of the parent");
        notes_close(&child, &log, "handler of the child");
        let joined = log.clone();
        let join = job.downgrade();
        let joins = tokio::spawn(async move {
            join.closed().await;
            joined.note("joined");
        });
        let ended = log.clone();
        child.spawn(async move {
            settle().await;
            ended.note("body");
        });
        in_time(job.finish()).await;
        in_time(joins).await.unwrap();
        assert_eq!(
            log.all(),
            [
                "body",
                "handler of the child",
                "handler of the parent",
                "joined"
            ]
        );
        // To join a job that is complete returns at once.
        let again = futures::FutureExt::now_or_never(job.closed()).unwrap();
        assert_eq!(again.reason(), &CloseReason::Finished);
    }
}

mod anyio {
    use super::*;
    use headcount::StartError;

    fn group() -> Context {
        Registry::new().context("group")
    }

    /// `start` returns what the task hands to `started`, and the task runs on.
    #[tokio::test]
    async fn the_value_is_handed_over_and_the_task_runs_on() {
        let group = group();
        let (go, gone) = oneshot::channel::<()>();
        let starting = group.task("server").start(|ready| async move {
            settle().await;
            ready.set(8080);
            gone.await.unwrap();
            "served"
        });
        let (server, port) = in_time(starting).await.unwrap();
        assert_eq!((port, server.is_finished()), (8080, false));
        go.send(()).unwrap();
        assert_eq!(in_time(server).await.unwrap(), "served");
    }

    /// A task that ends without calling `started` is an error for the caller.
    #[tokio::test]
    async fn a_task_that_ends_before_it_is_ready_is_an_error() {
        let group = group();
        let returns = group
            .task("returns")
            .start::<(), _, _>(|_| async { "nothing to do" });
        assert!(matches!(
            in_time(returns).await,
            Err(StartError::Ended("nothing to do"))
        ));
        let panics = group
            .task("panics")
            .start::<(), _, _>(|_| async { panic!("no port") });
        let Err(StartError::Failed(error)) = in_time(panics).await else {
            panic!("it is not ready");
        };
        assert_eq!(error.message(), Some("no port"));
        assert!(
            in_time(group.close()).await.is_clean(),
            "the caller has seen it"
        );
    }

    /// If the caller is cancelled while it waits, so is the task.
    #[tokio::test]
    async fn a_caller_that_does_not_wait_any_more_ends_the_task() {
        let (group, counter) = (group(), Counter::default());
        let guard = counter.guard();
        let starting = group.task("slow").start::<(), _, _>(|ready| async move {
            pending::<()>().await;
            drop((ready, guard));
        });
        assert!(tokio::time::timeout(millis(10), starting).await.is_err());
        settle().await;
        assert_eq!(counter.alive(), 0);
        let report = in_time(group.close()).await;
        assert_eq!((report.aborted(), report.is_clean()), (1, true));
    }

    /// A group that is cancelled while a task starts fails the start, and one that has ended starts nothing.
    #[tokio::test]
    async fn a_close_ends_what_is_starting() {
        let group = group();
        let starting = group.task("slow").cancellable();
        let starting = starting.start::<(), _, _>(|ready| async move {
            let _ready = ready;
            pending::<()>().await;
        });
        let (started, report) = in_time(async { tokio::join!(starting, group.close()) }).await;
        assert!(matches!(
            started,
            Err(StartError::Failed(TaskError::Cancelled))
        ));
        assert_eq!((report.cancelled(), report.is_clean()), (1, true));
        let late = group
            .task("late")
            .start(|ready| async move { ready.set(()) });
        assert!(matches!(
            in_time(late).await,
            Err(StartError::Failed(TaskError::Refused))
        ));
    }

    /// A task that shields itself may still call `started` while its group is being cancelled.
    #[tokio::test]
    async fn a_task_may_become_ready_in_its_grace_period() {
        let group = group();
        let own = group.downgrade();
        let starting = group.task("slow").start(|ready| async move {
            own.cancelled().await;
            ready.set("late, but ready");
        });
        let closing = group.close();
        let (task, value) = in_time(starting).await.unwrap();
        assert_eq!(value, "late, but ready");
        assert!(in_time(task).await.is_ok());
        assert!(in_time(closing).await.is_clean());
    }
}

/// Python's `AsyncExitStack`.
mod exit_stack {
    use super::*;

    fn stack() -> Context {
        Registry::new().context("stack")
    }

    fn pushes_value(stack: &Context, log: &Log, name: &'static str) -> headcount::Tracked<Notes> {
        stack.own(name, "value", Notes(log.clone(), name)).unwrap()
    }

    /// Callbacks and entered contexts are one stack: the latest is the first to go.
    #[tokio::test]
    async fn hooks_and_values_go_in_reverse_order() {
        let (stack, log) = (stack(), Log::default());
        drop(pushes_value(&stack, &log, "file"));
        notes_close(&stack, &log, "flush");
        drop(pushes_value(&stack, &log, "lock"));
        notes_close(&stack, &log, "goodbye");
        in_time(stack.close()).await;
        assert_eq!(log.all(), ["goodbye", "lock", "flush", "file"]);
    }

    /// A callback that raises does not keep the others from running.
    #[tokio::test]
    async fn what_fails_on_the_way_stops_nothing() {
        let (stack, log) = (stack(), Log::default());
        notes_close(&stack, &log, "last");
        let bomb = Mutex::new(OnDrop::new(|| panic!("value")));
        drop(stack.own("bomb", "value", bomb).unwrap());
        stack.on_close(|| async { panic!("hook") }).unwrap();
        notes_close(&stack, &log, "middle");
        stack.on_close(|| async { Err::<(), _>("error") }).unwrap();
        let report = in_time(stack.close()).await;
        assert_eq!(log.all(), ["middle", "last"]);
        let said: Vec<_> = report
            .failures()
            .iter()
            .map(headcount::Failure::message)
            .collect();
        assert_eq!(said, ["error", "hook", "value"]);
        assert_eq!((report.hooks().ran, report.hooks().failed), (4, 2));
        assert!(!report.is_clean());
    }

    /// A callback that pushes another one makes that the next to run.
    #[tokio::test]
    async fn what_is_pushed_while_the_stack_unwinds_is_next() {
        let (stack, log) = (stack(), Log::default());
        notes_close(&stack, &log, "first in");
        let (own, noted) = (stack.downgrade(), log.clone());
        stack
            .on_close(async move || {
                noted.note("pushes");
                let pushed = noted.clone();
                own.on_close(async move || pushed.note("pushed")).unwrap();
                settle().await;
                noted.note("has pushed");
            })
            .unwrap();
        let report = in_time(stack.close()).await;
        assert_eq!(log.all(), ["pushes", "has pushed", "pushed", "first in"]);
        assert_eq!(report.hooks().ran, 3);
    }

    /// What is taken out is not closed by the stack; what is left keeps its order.
    #[tokio::test]
    async fn what_is_taken_out_is_left_alone() {
        let (stack, log) = (stack(), Log::default());
        drop(pushes_value(&stack, &log, "kept value"));
        let hook = log.clone();
        let hook = stack.on_close(async move || hook.note("hook")).unwrap();
        let value = pushes_value(&stack, &log, "value");
        notes_close(&stack, &log, "kept hook");
        assert!(hook.cancel() && value.release());
        in_time(stack.close()).await;
        assert_eq!(log.all(), ["kept hook", "kept value"]);
        assert!(!hook.cancel() && !value.release());
        drop(value);
        assert_eq!(log.all().last().unwrap(), "value");
    }

    /// The stack unwinds as well when the block is left by an exception, before that goes on.
    #[tokio::test]
    async fn it_unwinds_also_when_the_body_panics() {
        let (registry, log) = (Registry::new(), Log::default());
        let noted = log.clone();
        let block = registry.with_context("stack", async move |stack| {
            drop(pushes_value(&stack, &noted, "value"));
            notes_close(&stack, &noted, "hook");
            panic!("the body");
        });
        assert!(in_time(tokio::spawn(block)).await.unwrap_err().is_panic());
        assert_eq!(log.all(), ["hook", "value"]);
    }

    /// A stack that is closed takes nothing; what was to be pushed is handed back.
    #[tokio::test]
    async fn a_closed_stack_hands_back_what_is_pushed() {
        let (stack, log) = (stack(), Log::default());
        in_time(stack.close()).await;
        let noted = log.clone();
        let hook = stack
            .on_close(async move || noted.note("by hand"))
            .unwrap_err();
        hook.into_inner()().await;
        let value = Notes(log.clone(), "value");
        drop(stack.own("value", "value", value).unwrap_err());
        assert_eq!(log.all(), ["by hand", "value"]);
    }
}

/// `tokio-graceful-shutdown`.
mod graceful_shutdown {
    use super::*;

    /// The three levels of a program, and a sibling of the second.
    struct Program {
        registry: Registry,
        outer: Context,
        nested: Context,
        inner: Context,
        sibling: Context,
    }

    fn program(on_failure: OnFailure) -> Program {
        let registry = Registry::builder().on_failure(on_failure).build();
        let outer = registry.context("outer");
        let nested = outer.child("nested");
        let (inner, sibling) = (nested.child("inner"), outer.child("sibling"));
        Program {
            registry,
            outer,
            nested,
            inner,
            sibling,
        }
    }

    async fn fails_with(
        fail: impl Future<Output = Result<(), &'static str>> + Send + 'static,
    ) -> (CloseReport, Log) {
        let (program, log) = (program(OnFailure::Close), Log::default());
        notes_reason(&program.sibling, &log);
        settle().await;
        drop(program.inner.task("subsystem").fallible().spawn(fail));
        let report = in_time(program.registry.closed()).await;
        assert_eq!(program.sibling.state(), State::Closed);
        (report, log)
    }

    /// An error of a nested subsystem shuts the whole program down, and is what it returns.
    #[tokio::test]
    async fn an_error_of_a_nested_subsystem_closes_everything() {
        let (report, log) = fails_with(async { Err("no disk") }).await;
        assert_eq!(failure_of(&report), "no disk");
        assert_eq!(report.failures()[0].path(), "outer/nested/inner");
        assert!(log.all()[0].contains("failed: no disk"), "{:?}", log.all());
    }

    /// A panic of a nested subsystem does the same.
    #[tokio::test]
    async fn a_panic_of_a_nested_subsystem_closes_everything() {
        let (report, log) = fails_with(async { panic!("a bug") }).await;
        assert_eq!(failure_of(&report), "a bug");
        assert_eq!(report.failures()[0].kind(), FailureKind::TaskPanicked);
        assert!(log.all()[0].contains("panicked: a bug"), "{:?}", log.all());
    }

    /// A failure that is caught with a local shutdown ends that subsystem alone.
    #[tokio::test]
    async fn a_failure_may_close_just_the_subsystem() {
        let Program {
            registry,
            outer,
            sibling,
            ..
        } = program(OnFailure::Report);
        let local = outer
            .child_builder("local")
            .on_failure(OnFailure::Close)
            .open();
        let below = local.child("below");
        drop(
            below
                .task("task")
                .fallible()
                .spawn(async { Err::<(), _>("local") }),
        );
        let report = in_time(local.closed()).await;
        assert_eq!(
            (failure_of(&report), below.state()),
            ("local", State::Closed)
        );
        settle().await;
        assert!([&outer, &sibling].map(Context::state) == [State::Open; 2]);
        let report = in_time(registry.close()).await;
        assert_eq!((report.failed(), report.is_clean()), (1, false));
    }

    /// A subsystem that returns without an error does not shut the program down.
    #[tokio::test]
    async fn a_subsystem_that_just_ends_closes_nothing() {
        let program = program(OnFailure::Close);
        let ends = program.inner.task("ends").fallible();
        assert_eq!(
            ends.spawn(async { Ok::<_, String>(1) }).await.unwrap(),
            Ok(1)
        );
        settle().await;
        assert_eq!(
            (program.registry.state(), program.inner.state()),
            (State::Open, State::Open)
        );
    }

    /// A partial shutdown ends a nested subsystem with all that is below it; the rest runs on.
    #[tokio::test]
    async fn a_subtree_is_closed_and_the_rest_runs_on() {
        let (program, log) = (program(OnFailure::Close), Log::default());
        notes_reason(&program.inner, &log);
        let runs = program
            .sibling
            .task("runs")
            .cancellable()
            .spawn(pending::<()>());
        let report = in_time(program.nested.close_with("partial")).await;
        assert_eq!((report.children(), report.is_clean()), (1, true));
        assert_eq!(log.all(), ["requested: partial"]);
        assert_eq!(program.inner.state(), State::Closed);
        settle().await;
        assert!(!runs.is_finished());
        assert_eq!(
            (program.outer.state(), program.registry.state()),
            (State::Open, State::Open)
        );
    }

    /// To abort a nested subsystem drops it and what is below it at once, and nothing else.
    #[tokio::test(start_paused = true)]
    async fn a_nested_subsystem_is_aborted_with_what_is_below_it() {
        let (program, counter) = (program(OnFailure::Close), Counter::default());
        for ctx in [&program.nested, &program.inner, &program.sibling] {
            let guard = counter.guard();
            ctx.spawn(async move {
                pending::<()>().await;
                drop(guard);
            });
        }
        settle().await;
        let start = Instant::now();
        let report = in_time(program.nested.close_now()).await;
        assert_eq!((report.aborted(), counter.alive()), (2, 1));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(
            (program.outer.state(), program.sibling.state()),
            (State::Open, State::Open)
        );
    }

    /// A shutdown that takes too long returns an error, which names the subsystems that are left.
    #[tokio::test(start_paused = true)]
    async fn a_shutdown_that_takes_too_long_names_what_is_left() {
        let program = program(OnFailure::Close);
        program.inner.task("hangs").spawn(pending::<()>());
        let own = program.sibling.downgrade();
        program
            .sibling
            .task("in time")
            .spawn(async move { drop(own.cancelled().await) });
        let still = in_time(program.registry.close_within(millis(500)))
            .await
            .unwrap_err();
        let left: Vec<_> = still
            .remaining()
            .tasks()
            .iter()
            .map(|task| task.name().to_owned())
            .collect();
        assert_eq!(left, ["hangs"]);
        assert!(
            still.to_string().contains("outer/nested/inner/hangs"),
            "{still}"
        );
        assert_eq!(still.finished(), 1);
        // With a deadline it is ended, and the report says so.
        let report = in_time(program.registry.close_by(millis(500)))
            .await
            .unwrap();
        assert_eq!((report.forced(), report.is_clean()), (1, false));
    }
}

mod join_set {
    use super::*;
    use headcount::TaskSet;

    fn set() -> (Context, TaskSet<u64>) {
        let ctx = Registry::new().context("ctx");
        let set = ctx.join_set();
        (ctx, set)
    }

    async fn join_all_ok(set: &mut TaskSet<u64>) -> Vec<u64> {
        let mut joined = Vec::new();
        while let Some(result) = in_time(set.join_next()).await {
            joined.push(result.unwrap());
        }
        joined
    }

    /// `join_next` returns whichever ends next, whenever it was spawned, and `None` when the set is empty.
    #[tokio::test(start_paused = true)]
    async fn tasks_are_joined_as_they_end() {
        let (_ctx, mut set) = set();
        for n in [30, 10, 40, 20] {
            set.spawn(async move {
                sleep(millis(n)).await;
                n
            });
        }
        assert_eq!(join_all_ok(&mut set).await, [10, 20, 30, 40]);
        set.spawn(async { 50 });
        assert_eq!(join_all_ok(&mut set).await, [50]);
    }

    /// `len` counts those that have ended until they are joined.
    #[tokio::test]
    async fn it_holds_a_task_until_that_is_joined() {
        let (_ctx, mut set) = set();
        assert!(set.is_empty());
        for n in 0..3 {
            set.spawn(async move { n });
        }
        settle().await;
        for left in [2, 1, 0] {
            assert!(in_time(set.join_next()).await.unwrap().is_ok());
            assert_eq!(set.len(), left);
        }
        assert!(in_time(set.join_next()).await.is_none());
    }

    /// After `abort_all` the tasks are still joined: as cancelled, or with their outputs if they had ended.
    #[tokio::test]
    async fn all_are_aborted_and_joined_all_the_same() {
        let (_ctx, mut set) = set();
        set.spawn(async { 1 });
        settle().await;
        for _ in 0..2 {
            set.spawn(pending());
        }
        set.abort_all();
        assert_eq!(set.len(), 3);
        assert_eq!(in_time(set.join_next()).await.unwrap().unwrap(), 1);
        for _ in 0..2 {
            let result = in_time(set.join_next()).await.unwrap();
            assert!(matches!(result, Err(TaskError::Aborted)));
        }
        assert!(in_time(set.join_next()).await.is_none());
    }

    /// To drop a set aborts its tasks.
    #[tokio::test]
    async fn a_set_that_is_dropped_aborts_what_is_in_it() {
        let (ctx, mut set) = set();
        let counter = Counter::default();
        let guard = counter.guard();
        set.spawn(async move {
            pending::<()>().await;
            drop(guard);
            0
        });
        settle().await;
        drop(set);
        in_time(ctx.idle()).await;
        assert_eq!(counter.alive(), 0);
        assert_eq!(in_time(ctx.close()).await.aborted(), 1);
    }

    /// `shutdown` returns when every task has been aborted and is gone.
    #[tokio::test]
    async fn a_shutdown_waits_until_all_are_gone() {
        let (ctx, mut set) = set();
        let counter = Counter::default();
        for _ in 0..5 {
            let guard = counter.guard();
            set.spawn(async move {
                pending::<()>().await;
                drop(guard);
                0
            });
        }
        settle().await;
        in_time(set.shutdown()).await;
        assert_eq!((set.len(), counter.alive()), (0, 0));
        set.spawn(async { 7 });
        assert_eq!(join_all_ok(&mut set).await, [7]);
        assert!(in_time(ctx.close()).await.is_clean());
    }

    /// `detach_all` empties the set and lets the tasks run to their ends.
    #[tokio::test]
    async fn tasks_that_are_detached_run_to_their_ends() {
        let (ctx, mut set) = set();
        let counter = Counter::default();
        let (go, gone) = oneshot::channel();
        let guard = counter.guard();
        set.spawn(async move {
            let n = gone.await.unwrap();
            drop(guard);
            n
        });
        set.detach_all();
        assert!(set.is_empty() && in_time(set.join_next()).await.is_none());
        drop(set);
        settle().await;
        assert_eq!(counter.alive(), 1);
        go.send(1).unwrap();
        let report = in_time(ctx.finish()).await;
        assert_eq!(
            (report.finished(), report.aborted(), counter.alive()),
            (1, 0, 0)
        );
    }

    /// The panic of one task is its result, and the others run on.
    #[tokio::test]
    async fn a_panic_is_joined_as_an_error() {
        let (ctx, mut set) = set();
        set.spawn(async { panic!("one of them") });
        settle().await;
        set.spawn(async { 2 });
        let error = in_time(set.join_next()).await.unwrap().unwrap_err();
        assert_eq!(error.message(), Some("one of them"));
        assert_eq!(join_all_ok(&mut set).await, [2]);
        assert!(in_time(ctx.close()).await.is_clean(), "it was seen");
    }
}
