//! What goes wrong where a scenario is disturbed at a certain moment is found, and named by its line.

use crate::{close_anywhere::GENTLE, util::caught};
use headcount::{
    Context, Registry,
    testing::{CloseAnywhere, Disturbance, close_anywhere},
};
use std::{
    future::pending,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::yield_now, time::sleep};

/// The line of this file that has this text first.
fn line_of(text: &str) -> u32 {
    let lines = include_str!("closed_faults.rs").lines();
    let at = lines.zip(1..).find(|(line, _)| line.contains(text));
    at.expect("there is such a line").1
}

/// What a failure says, which names the poll, the line, and how to run only that one.
#[track_caller]
fn assert_names(said: &str, disturbance: Disturbance, (what, line): (&str, u32)) {
    let here = format!("{}:{line}", file!());
    let again = format!("HEADCOUNT_DISTURBANCE={disturbance}");
    for part in ["HEADCOUNT_POLL=", &again, what, &here] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
}

/// Rows that are accepted, and rows that are flushed by a hook.
type Rows = Arc<(AtomicUsize, AtomicUsize)>;

fn flushed(rows: &Rows) {
    let (accepted, flushed) = &**rows;
    assert_eq!(
        accepted.load(SeqCst),
        flushed.load(SeqCst),
        "rows were lost"
    );
}

async fn store(registry: Registry, rows: Rows, hook_first: bool) -> Option<()> {
    let ctx = registry.context("store");
    let flush = {
        let rows = Arc::clone(&rows);
        move || async move { rows.1.store(rows.0.load(SeqCst), SeqCst) }
    };
    if hook_first {
        ctx.on_close(flush.clone()).ok()?;
    }
    let accept = ctx.try_spawn(async move {
        rows.0.fetch_add(1, SeqCst);
        yield_now().await;
    });
    let _ = accept.ok()?.await;
    if !hook_first {
        // It comes too late where the close is over.
        sleep(Duration::from_millis(1)).await;
        let _ = ctx.on_close(flush);
    }
    ctx.close().await;
    Some(())
}

#[test]
fn a_hook_that_is_registered_after_the_work_that_it_saves_is_found() {
    let run = |hook_first| {
        CloseAnywhere::new()
            .disturbances([Disturbance::Close, Disturbance::Drop, Disturbance::Abort])
            .run_with(
                Rows::default,
                async move |registry, rows| {
                    let _ = store(registry, rows, hook_first).await;
                },
                |rows| flushed(&rows),
            );
    };
    run(true);
    let said = caught(|| run(false)).unwrap();
    assert!(said.contains("rows were lost"), "{said}");
    assert!(said.contains("task store/"), "{said}");
    assert!(said.contains(", just before poll 2 of "), "{said}");
    assert!(
        said.contains("HEADCOUNT_POLL=2 HEADCOUNT_DISTURBANCE="),
        "{said}"
    );
}

#[test]
fn a_task_that_ignores_its_cancellation_is_found() {
    let run = |ignores: bool| {
        close_anywhere(async move |registry| {
            let ctx = registry.context("server");
            let (own, value) = (ctx.downgrade(), registry.register("socket", "socket"));
            let task = ctx.task("reader").spawn(async move {
                let read = sleep(Duration::from_secs(30));
                if ignores {
                    read.await;
                } else {
                    own.run_until_cancelled(read).await;
                }
                drop(value);
            });
            let _ = task.await;
            ctx.close().await;
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(
        said.contains("had to be aborted after the grace period"),
        "{said}"
    );
    assert_names(
        &said,
        Disturbance::Close,
        ("server/reader", line_of("ctx.task(\"reader\").spawn")),
    );
}

/// A value that is to be put in order before it is dropped.
struct Batch {
    is_flushed: bool,
    is_strict: bool,
}

impl Drop for Batch {
    fn drop(&mut self) {
        assert!(
            self.is_flushed || !self.is_strict,
            "dropped with rows in it"
        );
    }
}

#[test]
fn a_destructor_that_panics_where_its_task_is_cut_off_is_found() {
    let run = |is_strict| {
        close_anywhere(async move |registry| {
            let ctx = registry.context("store");
            let task = ctx.task("writer").cancellable().spawn(async move {
                let mut batch = Batch {
                    is_flushed: false,
                    is_strict,
                };
                yield_now().await;
                batch.is_flushed = true;
            });
            drop(task);
            sleep(Duration::from_millis(1)).await;
            ctx.close().await;
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(said.contains("dropped with rows in it"), "{said}");
    assert_names(
        &said,
        Disturbance::Close,
        ("store/writer", line_of("ctx.task(\"writer\").cancellable")),
    );
}

/// Messages that were taken, and those that were handled.
#[derive(Clone, Default)]
struct Messages(Rows);

/// A consumer; a cancellable one is cut off between taking and handling.
async fn consume(registry: Registry, messages: Messages, cancellable: bool) {
    let ctx = registry.context("consumer");
    let (send, mut receive) = mpsc::channel(8);
    for n in 0..3 {
        send.send(n).await.unwrap();
    }
    let own = ctx.downgrade();
    let handle = async move |_message: i32| {
        messages.0.0.fetch_add(1, SeqCst);
        sleep(Duration::from_millis(1)).await;
        messages.0.1.fetch_add(1, SeqCst);
    };
    if cancellable {
        ctx.task("consumer").cancellable().spawn(async move {
            while let Some(message) = receive.recv().await {
                handle(message).await;
            }
        });
    } else {
        ctx.task("consumer").spawn(async move {
            // Stops between two messages only.
            while let Some(Some(message)) = own.run_until_cancelled(receive.recv()).await {
                handle(message).await;
            }
        });
    }
    drop(send);
    sleep(Duration::from_millis(10)).await;
    ctx.close().await;
}

#[test]
fn a_consumer_that_is_cut_off_with_a_message_in_hand_is_found() {
    let run = |cancellable| {
        CloseAnywhere::new()
            .disturbances([Disturbance::Close, Disturbance::Drop])
            .run_with(
                Messages::default,
                async move |registry, messages| consume(registry, messages, cancellable).await,
                |messages| flushed(&messages.0),
            );
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(said.contains("the check at the end panicked"), "{said}");
    assert!(
        said.contains("task consumer/consumer (its poll 2, spawned at"),
        "{said}"
    );
}

/// A log, or what writes to it when it is dropped.
enum Part {
    #[expect(dead_code, reason = "it keeps the log until it is dropped")]
    Log(Arc<Mutex<Vec<&'static str>>>),
    Writer(Weak<Mutex<Vec<&'static str>>>),
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Self::Writer(log) = self {
            let log = log.upgrade().expect("the log outlives its writer");
            log.lock().unwrap().push("cut off");
        }
    }
}

/// Fields are dropped in their order.
struct Session(Part, Part);

impl Session {
    fn new(is_log_first: bool) -> Self {
        let log = Arc::default();
        let writer = Part::Writer(Arc::downgrade(&log));
        let log = Part::Log(log);
        if is_log_first {
            Self(log, writer)
        } else {
            Self(writer, log)
        }
    }

    /// What an orderly end does.
    fn end(self) {
        let Self(first, second) = self;
        match first {
            Part::Log(_) => drop((second, first)),
            Part::Writer(_) => drop((first, second)),
        }
    }
}

#[test]
fn fields_that_are_dropped_in_the_wrong_order_are_found() {
    let run = |is_log_first| {
        close_anywhere(async move |registry| {
            let ctx = registry.context("session");
            let shell = ctx.task("shell").cancellable().spawn(async move {
                let session = Session::new(is_log_first);
                yield_now().await;
                session.end();
            });
            drop(shell);
            sleep(Duration::from_millis(1)).await;
            ctx.close().await;
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(said.contains("the log outlives its writer"), "{said}");
    assert_names(
        &said,
        Disturbance::Close,
        ("session/shell", line_of("ctx.task(\"shell\").cancellable")),
    );
}

/// The moment is that between the two polls of the task.
#[test]
fn a_task_that_holds_its_own_context_is_found_when_the_scenario_is_dropped() {
    let run = |is_strong: bool| {
        let anywhere = CloseAnywhere::new().disturbances([Disturbance::Drop]);
        anywhere.run(async move |registry| {
            let ctx = registry.context("ctx");
            let weak = ctx.downgrade();
            let task = ctx.task("own").spawn(async move {
                let strong = is_strong.then(|| weak.upgrade());
                weak.cancelled().await;
                drop(strong);
            });
            sleep(Duration::from_millis(1)).await;
            ctx.request_close("done");
            drop(task.await);
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(
        said.contains("left behind by the scenario when it was dropped"),
        "{said}"
    );
    assert!(said.contains("context ctx"), "{said}");
}

#[test]
fn a_handle_that_outlives_an_early_end_is_found() {
    let run = |removes: fn(&Mutex<Vec<Context>>)| {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let anywhere = CloseAnywhere::new().disturbances(GENTLE);
        anywhere.run(async move |registry| {
            let ctx = registry.context("ctx");
            kept.lock().unwrap().push(ctx.clone());
            let works = ctx.try_spawn(async { yield_now().await });
            if works.is_err() || works.unwrap().await.is_err() {
                removes(&kept);
                return;
            }
            kept.lock().unwrap().clear();
            ctx.close().await;
        });
    };
    run(|kept| kept.lock().unwrap().clear());
    let said = caught(|| run(|_| {})).unwrap();
    assert!(
        said.contains("left behind when everything was closed"),
        "{said}"
    );
    assert!(
        said.contains("context ctx: closed but still held"),
        "{said}"
    );
}

#[test]
fn a_scenario_that_waits_for_what_will_not_come_is_found() {
    let run = |waits: bool| {
        let anywhere = CloseAnywhere::new().disturbances([Disturbance::Close, Disturbance::Abort]);
        anywhere.run(async move |registry| {
            let ctx = registry.context("ctx");
            let (done, told) = (Arc::new(tokio::sync::Notify::new()), ctx.closed());
            let notify = Arc::clone(&done);
            ctx.task("teller").cancellable().spawn(async move {
                yield_now().await;
                notify.notify_one();
            });
            if waits {
                done.notified().await;
            } else {
                tokio::select! {
                    () = done.notified() => {}
                    _ = told => {}
                }
            }
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(
        said.contains("it waits for something that will not come"),
        "{said}"
    );
    assert!(said.contains("of the scenario itself"), "{said}");
}

#[test]
fn a_deadline_that_cannot_be_kept_is_found() {
    let run = |leaves: bool| {
        let anywhere = CloseAnywhere::new();
        let by = Disturbance::CloseBy(Duration::from_secs(1));
        anywhere.disturbances([by]).run(async move |registry| {
            let ctx = registry.context("ctx");
            // It is neither polled nor dropped until later.
            let wrapped = ctx.wrap(pending::<()>());
            yield_now().await;
            let own = ctx.clone();
            let close = tokio::spawn(async move { own.close().await });
            if leaves {
                sleep(Duration::from_secs(2)).await;
            }
            drop(wrapped);
            let _ = close.await;
        });
    };
    run(false);
    let said = caught(|| run(true)).unwrap();
    assert!(said.contains("was not closed by the deadline"), "{said}");
}

#[test]
fn work_that_a_task_spawns_too_late_is_found() {
    let run = |tries: bool| {
        let anywhere = CloseAnywhere::new().disturbances(GENTLE);
        anywhere.run(async move |registry| {
            let ctx = registry.context("ctx");
            let own = ctx.downgrade();
            let task = ctx.task("worker").spawn(async move {
                yield_now().await;
                if tries {
                    drop(own.try_spawn(async {}))
                } else {
                    drop(own.spawn(async {}))
                }
            });
            drop(task.await);
            ctx.close().await;
        });
    };
    run(true);
    let said = caught(|| run(false)).unwrap();
    assert!(
        said.contains("work of the scenario's own was refused and lost"),
        "{said}"
    );
    let line = line_of("ctx.task(\"worker\").spawn");
    assert_names(
        &said,
        Disturbance::Close,
        ("task ctx/worker (its poll", line),
    );
}

#[test]
fn a_hook_that_relies_on_another_one_is_found() {
    let run = |is_careful: bool| {
        let anywhere = CloseAnywhere::new().disturbances([Disturbance::FailHook]);
        anywhere.run(async move |registry| {
            let ctx = registry.context("ctx");
            let said = Arc::new(AtomicUsize::new(0));
            let other = Arc::clone(&said);
            // Runs last, and expects what the other one left.
            let _ = ctx.on_close(async move || match other.load(SeqCst) {
                0 if !is_careful => Err("the farewell is missing"),
                _ => Ok(()),
            });
            let _ = ctx.on_close(async move || {
                yield_now().await;
                said.fetch_add(1, SeqCst);
            });
            ctx.close().await;
        });
    };
    run(true);
    let said = caught(|| run(false)).unwrap();
    assert!(said.contains("the farewell is missing"), "{said}");
    assert!(
        said.contains("of the on_close hook of ctx that was registered at"),
        "{said}"
    );
}
