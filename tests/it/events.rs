//! What is said to `tracing`: nothing goes wrong in silence (I11, S4).

use crate::util::{age, current_thread, in_time, paused, settle};
use headcount::Registry;
use std::{
    io::Write,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// While there is one subscriber only, `tracing` asks that of the thread that comes to an event first whether any subscriber
/// wants it, and remembers the answer: another test's thread, which has none. So there is always one more.
pub(crate) static ONE_MORE: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Runs on one thread, paused, and returns the lines that were said.
pub(crate) fn said<F: Future>(body: impl FnOnce() -> F) -> Vec<String> {
    said_on(&paused(), body)
}

/// As [`said`], on a runtime that lives on this thread.
pub(crate) fn said_on<F: Future>(
    runtime: &tokio::runtime::Runtime,
    body: impl FnOnce() -> F,
) -> Vec<String> {
    said_while(runtime, |_| body())
}

/// What was said so far.
#[derive(Clone)]
pub(crate) struct Said(Buffer);

impl Said {
    pub(crate) fn contains(&self, text: &str) -> bool {
        let said = self.0.0.lock().unwrap();
        String::from_utf8_lossy(&said).contains(text)
    }
}

/// As [`said_on`], for a body that wants to know what was said so far.
pub(crate) fn said_while<F: Future>(
    runtime: &tokio::runtime::Runtime,
    body: impl FnOnce(Said) -> F,
) -> Vec<String> {
    said_by(|said| drop(runtime.block_on(body(said))))
}

/// As [`said`], with all lines of each event.
#[cfg(feature = "dump")]
pub(crate) fn lines_said<F: Future>(body: impl FnOnce() -> F) -> String {
    text_said_by(|_| drop(paused().block_on(body())))
}

/// As [`said_while`], for what runs outside of a runtime.
pub(crate) fn said_by(body: impl FnOnce(Said)) -> Vec<String> {
    text_said_by(body)
        .lines()
        .map(|line| line.trim().to_owned())
        // What tokio and others say is none of our business.
        .filter(|line| line.contains("headcount::") && !line.contains("context closed"))
        .collect()
}

fn text_said_by(body: impl FnOnce(Said)) -> String {
    LazyLock::force(&ONE_MORE);
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let buffer = buffer.clone();
            move || buffer.clone()
        })
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        body(Said(buffer.clone()));
    });
    let said = buffer.0.lock().unwrap().clone();
    String::from_utf8(said).unwrap()
}

#[test]
fn a_clean_close_says_nothing() {
    let said = said(|| async {
        let ctx = Registry::new().context("ctx");
        ctx.spawn(async {}).await.unwrap();
        in_time(ctx.close()).await;
    });
    assert!(said.is_empty(), "{said:#?}");
}

/// I11
#[test]
fn dropping_an_open_context_warns() {
    let said = said(|| async {
        drop(Registry::new().context("svc"));
        settle().await;
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("WARN")
            && said[0].contains("the last handle of an open context was dropped")
    );
    assert!(
        said[0].contains("context=svc") && said[0].contains("tests/it/events.rs:"),
        "{said:#?}"
    );
}

#[test]
fn a_refused_spawn_warns_with_its_line() {
    let said = said(|| async {
        let ctx = Registry::new().context("svc");
        in_time(ctx.close()).await;
        let _task = ctx.task("late").spawn(async {});
        let _ = ctx.try_spawn(async {});
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    let here = format!("tests/it/events.rs:{}", line!() - 4);
    assert!(
        said[0].contains("task=late") && said[0].contains(&here),
        "{said:#?}"
    );
}

/// §4, step 3: who is still running, where it was spawned, how long it has been; at growing intervals.
#[test]
fn stragglers_are_named_again_and_again() {
    let said = said(|| async {
        let ctx = Registry::new()
            .context_builder("svc")
            .grace(Duration::from_secs(2))
            .open();
        let child = ctx.child("child");
        drop(child.wrap(async {}));
        // Wrapped and never polled: nothing can end it but its owner.
        let stuck = ctx.wrap(std::future::pending::<()>());
        for _ in 0..12 {
            ctx.task("deaf").spawn(std::future::pending::<()>());
        }
        assert!(ctx.close_within(Duration::from_secs(30)).await.is_err());
        drop(stuck);
        in_time(ctx.close()).await;
    });
    let warned: Vec<_> = said
        .iter()
        .filter(|line| line.contains("context=svc"))
        .collect();
    assert_eq!(warned.len(), 4, "after 2, 6, 14 and 30 seconds: {said:#?}");
    assert!(
        warned[0].contains(
            "the grace period is over, aborting these tasks (2.0s after the close began): "
        ),
        "{said:#?}"
    );
    assert!(
        warned[0].contains("svc/deaf (12 × task running for ")
            && warned[0].contains(age("for 2.0s, spawned at tests/it/events.rs:")),
        "{said:#?}"
    );
    assert!(
        warned[0].contains("Pending<()> (wrapped waiting for ") && warned[0].contains("tasks=13"),
        "{said:#?}"
    );
    assert!(
        warned[1].contains("still closing, because these tasks did not end when they were aborted (6.0s after the close began): svc/core::future::pending::Pending<()>"),
        "{said:#?}"
    );
    assert!(
        warned[2].contains("(14.0s after") && warned[3].contains("(30.0s after"),
        "{said:#?}"
    );
}

/// I7, S4
#[test]
fn hooks_that_fail_warn() {
    let said = said(|| async {
        let ctx = Registry::new().context("svc");
        ctx.on_close(|| async { Err::<(), _>("disk full") })
            .unwrap();
        ctx.on_close(|| async { std::future::pending::<()>().await })
            .unwrap();
        in_time(ctx.close()).await;
    });
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].contains("timed out") && said[1].contains("disk full"),
        "{said:#?}"
    );
    assert!(
        said.iter()
            .all(|line| line.starts_with("WARN") && line.contains("tests/it/events.rs:"))
    );
}

/// I11: hooks that could not run are named in an error event.
#[test]
fn hooks_that_could_not_run_are_named_in_an_error() {
    let said = said(|| async {
        let ctx = std::thread::spawn(|| {
            let rt = current_thread();
            let ctx = rt.block_on(async { Registry::new().context("svc") });
            ctx.on_close(|| async {}).unwrap();
            ctx.on_closing(|| async {}).unwrap();
            ctx
        })
        .join()
        .unwrap();
        // Its runtime is gone, and this one is out of reach.
        std::thread::scope(|scope| {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            scope.spawn(move || tracing::dispatcher::with_default(&dispatch, || drop(ctx)));
        });
    });
    let errors: Vec<_> = said
        .iter()
        .filter(|line| line.starts_with("ERROR"))
        .collect();
    assert_eq!(errors.len(), 2, "{said:#?}");
    assert!(errors.iter().all(|line| line.contains("could not run") && line.contains("hooks_that_could_not_run")));
}

/// S14: a result that comes after the close has begun, and that no handle can claim, is dropped with an event.
#[test]
fn a_late_result_is_dropped_with_a_word() {
    let said = said(|| async {
        let ctx = Registry::new().context("svc");
        let late = |output: Option<u8>| {
            let weak = ctx.downgrade();
            async move {
                weak.cancelled().await;
                output
            }
        };
        drop(ctx.task("late").spawn(late(Some(1))));
        let claimed = ctx.task("claimed").spawn(late(Some(2)));
        let weak = ctx.downgrade();
        drop(
            ctx.task("nothing to lose")
                .spawn(async move { drop(weak.cancelled().await) }),
        );
        drop(ctx.task("early").spawn(async { 3 }));
        settle().await;
        in_time(ctx.close()).await;
        assert_eq!(claimed.await.unwrap(), Some(2));
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("DEBUG") && said[0].contains("task=late"),
        "{said:#?}"
    );
}

/// I16: a child that was refused was never open.
#[test]
fn a_refused_child_is_dropped_in_silence() {
    let said = said(|| async {
        let parent = Registry::new().context("parent");
        in_time(parent.close()).await;
        assert!(parent.try_child("child").is_err());
        drop(parent.child("child"));
    });
    assert!(said.is_empty(), "{said:#?}");
}

/// §4, step 3: also the registry's own tasks.
#[test]
fn stragglers_of_a_registry_are_named() {
    let said = said(|| async {
        let registry = Registry::new();
        registry
            .scope(async { drop(headcount::spawn(std::future::pending::<()>())) })
            .await;
        settle().await;
        in_time(registry.close()).await;
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].contains("Pending<()> (task running for ") && said[0].contains(age("for 5.0s")),
        "{said:#?}"
    );
}

/// The panic of a task that is not awaited is reported.
#[test]
fn a_panic_of_a_detached_task_is_an_error() {
    let said = said(|| async {
        let ctx = Registry::new().context("svc");
        drop(ctx.task("boomer").spawn(async { panic!("boom") }));
        let claimed = ctx.task("claimed").spawn(async { panic!("boom") });
        settle().await;
        claimed.await.unwrap_err();
        assert_eq!(in_time(ctx.close()).await.failures().len(), 2);
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("ERROR")
            && said[0].contains("task boomer (spawned at tests/it/events.rs:")
    );
    assert!(said[0].contains("panicked: boom"), "{said:#?}");
}

/// The grace periods of many closes end at once: one scan serves them all, and one event tells of all their tasks.
#[test]
fn a_thousand_closes_that_hang_name_all_of_their_tasks() {
    const CONTEXTS: usize = 1_000;
    let said = said(|| async {
        let root = Registry::new().context("root");
        let contexts: Vec<_> = (0..CONTEXTS)
            .map(|n| {
                let ctx = root.child(format!("ctx-{n}."));
                for _ in 0..2 {
                    let deaf = ctx.task(format!("deaf-{n}."));
                    drop(deaf.spawn(std::future::pending::<()>()));
                }
                ctx
            })
            .collect();
        let report = in_time(root.close()).await;
        assert_eq!(report.aborted(), 2 * CONTEXTS as u64);
        drop(contexts);
    });
    let warned: Vec<_> = said
        .iter()
        .filter(|line| line.contains("aborting"))
        .collect();
    assert_eq!(warned.len(), 1, "{warned:#?}");
    let told = warned[0];
    assert!(
        told.contains(": root/ctx-*./deaf-*. (2000 × task ")
            && told.contains("context=root ")
            && told.contains("contexts=1000 tasks=2000"),
        "{told}"
    );
}

/// S21: one look for all that closed, some time after; each leak is told once.
#[test]
fn a_watch_tells_each_leak_once_after_closes() {
    let said = said(|| async {
        let registry = Registry::new();
        registry.set_level(headcount::Level::Holders);
        let second = Duration::from_secs(1);
        let policy = headcount::leaks::LeakPolicy::new().settle(Duration::ZERO);
        let watch = registry.watch_leaks(policy, 5 * second);
        let mut held = Vec::new();
        for n in 0..3 {
            let ctx = registry.context(format!("ctx-{n}"));
            held.push(ctx.clone());
            ctx.close().await;
        }
        tokio::time::sleep(30 * second).await;
        let other = registry.own("unclosed", "kind", ());
        tokio::time::sleep(30 * second).await;
        drop((watch, other));
        let late = registry.context("late");
        late.close().await;
        tokio::time::sleep(30 * second).await;
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("leak: 1. context ctx-0: closed but still held"),
        "{said:?}"
    );
}

/// A close that does not end is looked at until its grace period is over, and then told.
#[test]
fn a_watch_tells_of_a_task_that_outlives_its_grace() {
    let said = said(|| async {
        let registry = Registry::new();
        let second = Duration::from_secs(1);
        let policy = headcount::leaks::LeakPolicy::new().settle(Duration::ZERO);
        let watch = registry.watch_leaks(policy, second);
        let ctx = registry.context_builder("ctx").grace(10 * second).open();
        let kept = ctx.task("kept").wrap(std::future::pending::<()>());
        ctx.request_close("enough");
        tokio::time::sleep(30 * second).await;
        drop((watch, kept));
        ctx.close().await;
    });
    let told = said
        .iter()
        .filter(|line| line.contains("leak: 1. wrapped ctx/kept"));
    assert_eq!(told.count(), 1, "{said:?}");
}

/// Tasks that wait for each other are told of once, long before the grace period is over.
#[cfg(feature = "dump")]
#[test]
fn a_deadlock_is_told_while_there_is_still_patience() {
    let said = said(|| async {
        let registry = Registry::new();
        let contexts = ["a", "b"].map(|name| {
            let hour = Duration::from_secs(3_600);
            registry.context_builder(name).grace(hour).open()
        });
        for (n, name) in ["one", "two"].into_iter().enumerate() {
            let other = contexts[1 - n].clone();
            contexts[n].task(name).spawn(async move {
                let _ = other.close().await;
            });
        }
        settle().await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(registry.live().await.tasks().len(), 2);
    });
    let told = said.iter().filter(|line| line.contains("deadlock: "));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{said:#?}");
    assert!(
        told[0].starts_with("WARN") && told[0].contains("2 tasks wait for each other"),
        "{told:#?}"
    );
}

/// I11: a program that ends before its close does is told what it cut off.
#[test]
fn tasks_and_hooks_that_end_with_their_runtime_are_named() {
    let said = said_by(|_| {
        let runtime = current_thread();
        let registry = Registry::new();
        runtime.block_on(async {
            let app = registry.context("app");
            app.on_close(async || {}).unwrap();
            app.task("flush").spawn(std::future::pending::<()>());
            for _ in 0..12 {
                app.task("handler").spawn(std::future::pending::<()>());
            }
            app.task("done").spawn(async {});
            settle().await;
            app.request_close("stop");
            settle().await;
        });
        drop(runtime);
    });
    let count = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        count("the task app/flush (spawned at tests/it/events.rs:"),
        1,
        "{said:#?}"
    );
    assert_eq!(count("the task app/handler"), 2, "{said:#?}");
    assert_eq!(count(", 10 times so far"), 1, "{said:#?}");
    assert_eq!(count("app/done"), 0, "{said:#?}");
    assert_eq!(count("could not run to its end"), 1, "{said:#?}");
    assert!(
        said.iter().all(|line| line.starts_with("ERROR")),
        "{said:#?}"
    );
}

/// What a task leaves behind that was aborted, or whose close ended it, is no news.
#[test]
fn tasks_that_were_ended_are_not_said_to_end_with_their_runtime() {
    let said = said_by(|_| {
        let runtime = current_thread();
        let registry = Registry::new();
        runtime.block_on(async {
            let app = registry.context_builder("app").closes_by_drop().open();
            let task = app.spawn(std::future::pending::<()>());
            task.abort();
            let _ = task.await;
            in_time(app.close()).await;
        });
        drop(runtime);
    });
    assert_eq!(said, Vec::<String>::new());
}

/// What the close of a registry does not wait for, because it does not know it.
#[test]
fn a_registry_that_has_closed_says_how_many_tasks_run_on() {
    let said = said(|| async {
        let registry = Registry::new();
        let bare = tokio::spawn(std::future::pending::<()>());
        in_time(registry.context("app").close()).await;
        in_time(registry.close()).await;
        bare.abort();
        let _ = bare.await;
        in_time(Registry::new().close()).await;
    });
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("INFO") && said[0].contains("; 1 other task is on this runtime"),
        "{said:#?}"
    );
}
