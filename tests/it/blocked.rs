//! Code that blocks its thread does not hold up a close in silence (I19).

use crate::{
    events::{ONE_MORE, Said, said_while},
    util::{current_thread, in_time, multi_thread},
};
use headcount::{FailureKind, Registry};
use std::{
    sync::{
        Arc, LazyLock, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Blocks this thread until that was said, or long enough: a test that fails then says why.
fn block_until_said(said: &Said, text: &str) {
    for _ in 0..6_000 {
        if said.contains(text) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Blocks in its destructor.
struct Blocks(Said, &'static str);

impl Drop for Blocks {
    fn drop(&mut self) {
        block_until_said(&self.0, self.1);
    }
}

fn told<'a>(said: &'a [String], text: &str) -> &'a String {
    let told = said.iter().find(|line| line.contains(text));
    told.unwrap_or_else(|| panic!("{text} is not in {said:#?}"))
}

#[test]
fn a_hook_that_blocks_the_only_thread_is_named_while_it_does() {
    let said = said_while(&current_thread(), |said| async move {
        let app = Registry::new().context("app");
        app.on_close(|| async move { block_until_said(&said, "makes no progress") })
            .unwrap();
        in_time(app.close()).await;
    });
    let told = told(&said, "makes no progress");
    assert!(
        told.contains(
            "the close of app makes no progress: its runtime has not run any new task for "
        ) && told
            .contains("the runtime is inside the on_close hook it::blocked::a_hook_that_blocks")
            && told.contains("blocked.rs:")
            && told.contains("[app]"),
        "{told}"
    );
}

#[test]
fn a_task_that_blocks_the_only_thread_is_named_while_it_does() {
    let said = said_while(&current_thread(), |said| async move {
        let app = Registry::new().context("app");
        let worker = app.child("worker");
        let own = app.downgrade();
        worker.task("grinder").spawn(async move {
            own.cancelled().await;
            block_until_said(&said, "makes no progress");
        });
        in_time(app.close()).await;
    });
    let told = told(&said, "makes no progress");
    assert!(
        told.contains("the task app/worker/grinder (spawned at tests/it/blocked.rs:"),
        "{told}"
    );
}

/// Aborted tasks are dropped by their runtime, and what they hold with them.
#[test]
fn a_task_whose_destructor_blocks_is_named_while_it_does() {
    let said = said_while(&current_thread(), |said| async move {
        let app = Registry::new().context("app");
        let blocks = Blocks(said, "makes no progress");
        app.task("holder").spawn(async move {
            let _blocks = blocks;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        in_time(app.close_now()).await;
    });
    let told = told(&said, "makes no progress");
    assert!(told.contains("the task app/holder (spawned at"), "{told}");
}

#[test]
fn a_value_whose_destructor_blocks_is_named_while_it_does() {
    let said = said_while(&current_thread(), |said| async move {
        let app = Registry::new().context("app");
        let blocks = Blocks(said, "makes no progress");
        drop(
            app.own("pool", "connections", std::sync::Mutex::new(blocks))
                .unwrap(),
        );
        in_time(app.close()).await;
    });
    let told = told(&said, "makes no progress");
    assert!(
        told.contains("the runtime is inside the destructor of the value pool [app]"),
        "{told}"
    );
}

/// Where the runtime has other threads, it is the time limit of the hook that counts.
#[test]
fn a_hook_that_blocks_one_of_several_threads_is_named_after_its_limit() {
    let said = said_while(&multi_thread(2), |said| async move {
        let app = Registry::new()
            .context_builder("app")
            .hook_timeout(Duration::from_millis(10))
            .open();
        app.on_close(|| async move { block_until_said(&said, "has blocked its thread") })
            .unwrap();
        let report = in_time(app.close()).await;
        let hooks = report.hooks();
        assert_eq!((hooks.ran, hooks.timed_out), (1, 1), "{report}");
        assert!(!report.is_clean());
        let failure = &report.failures()[0];
        assert_eq!(failure.kind(), FailureKind::HookTimedOut);
        assert!(
            failure.to_string().contains("its time limit is 10ms [app]"),
            "{failure}"
        );
    });
    let told = told(&said, "has blocked its thread");
    assert!(
        told.contains("the on_close hook ") && told.contains("its time limit is 10ms"),
        "{told}"
    );
}

struct Slow;

impl Drop for Slow {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(1_010));
    }
}

#[test]
fn a_destructor_that_takes_longer_than_hooks_may_is_noted() {
    let runtime = current_thread();
    let report = runtime.block_on(async {
        let app = Registry::new()
            .context_builder("app")
            .hook_timeout(Duration::from_millis(1))
            .open();
        drop(app.own("pool", "connections", Arc::new(Slow)).unwrap());
        in_time(app.close()).await
    });
    assert!(!report.is_clean(), "{report}");
    let failure = &report.failures()[0];
    assert_eq!(
        (failure.kind(), failure.what()),
        (FailureKind::DestructorTimedOut, "pool")
    );
}

/// The code that waits for the dump waits behind the task.
#[cfg(feature = "dump")]
#[test]
fn a_dump_that_waits_for_a_blocked_runtime_is_told() {
    let said = said_while(&current_thread(), |said| async move {
        let registry = Registry::new();
        let app = registry.context("app");
        app.task("grinder").spawn(async move {
            block_until_said(&said, "the dump of");
        });
        let dump = in_time(registry.dump()).await;
        assert!(dump.find("grinder").is_some(), "{dump}");
        in_time(app.close()).await;
    });
    let told = told(&said, "the dump of");
    assert!(
        told.contains(
            "the dump of registry makes no progress: its runtime has not run any new task for "
        ) && told.contains(
            "the runtime is inside the task app/grinder (spawned at tests/it/blocked.rs:"
        ),
        "{told}"
    );
}

/// What is printed at a signal by a process whose only runtime is blocked by a task, and by the destructor of a value.
#[cfg(all(feature = "signal", unix))]
#[test]
fn a_dump_at_a_signal_is_printed_while_the_runtime_is_blocked() {
    for (by, texts) in [
        (
            "a_task",
            [
                "app/grinder: polling for",
                "without yielding",
                "app/behind: did not answer",
            ],
        ),
        (
            "a_value",
            [
                "the destructor of the value pool [app]: running for",
                "1 task, 1 did not answer",
                "other/behind: did not answer",
            ],
        ),
    ] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg(format!("blocked::by_{by}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        for text in texts {
            assert!(said.contains(text), "{text} is not in {said}");
        }
    }
}

/// Sends this process the signal, and blocks this thread for long enough to see what comes of it.
#[cfg(all(feature = "signal", unix))]
fn signal_and_block() {
    let me = std::process::id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-USR1", &me])
        .status();
    assert!(kill.unwrap().success());
    // The first look at the debug information takes long.
    thread::sleep(Duration::from_secs(6));
}

#[cfg(all(feature = "signal", unix))]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn by_a_task() {
    current_thread().block_on(async {
        let registry = Registry::new();
        let kind = tokio::signal::unix::SignalKind::user_defined1();
        registry.dump_on(kind).unwrap();
        let app = registry.context("app");
        app.task("behind").spawn(std::future::pending::<()>());
        app.task("grinder").spawn(async { signal_and_block() });
        tokio::time::sleep(Duration::from_millis(1)).await;
        in_time(app.close_now()).await;
    });
}

#[cfg(all(feature = "signal", unix))]
#[test]
#[ignore = "run by the test above, in a process of its own"]
fn by_a_value() {
    struct Grinds;
    impl Drop for Grinds {
        fn drop(&mut self) {
            signal_and_block();
        }
    }
    current_thread().block_on(async {
        let registry = Registry::new();
        let kind = tokio::signal::unix::SignalKind::user_defined1();
        registry.dump_on(kind).unwrap();
        let (app, other) = (registry.context("app"), registry.context("other"));
        other.task("behind").spawn(std::future::pending::<()>());
        drop(app.own("pool", "connections", Arc::new(Grinds)).unwrap());
        in_time(app.close()).await;
        in_time(other.close_now()).await;
    });
}

/// Blocks in an event until it is released.
struct BlockingSubscriber {
    begin: Mutex<Sender<()>>,
    released: Mutex<Receiver<()>>,
}

impl Subscriber for BlockingSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("headcount") && *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        let _ = self.begin.lock().unwrap().send(());
        let released = self.released.lock().unwrap();
        let _ = released.recv();
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Grace periods and limits are kept by a thread of the crate, and a subscriber is code of others.
#[test]
fn a_subscriber_that_blocks_in_a_warning_holds_up_no_other_close() {
    LazyLock::force(&ONE_MORE);
    let ((begin, begun), (release, released)) = (mpsc::channel(), mpsc::channel());
    let subscriber = BlockingSubscriber {
        begin: Mutex::new(begin),
        released: Mutex::new(released),
    };
    let (unblock, blocked) = mpsc::channel::<()>();
    let blocks = thread::spawn(move || {
        tracing::subscriber::with_default(subscriber, || {
            current_thread().block_on(async {
                let app = Registry::new().context("app");
                app.on_close(|| async move {
                    let _ = blocked.recv();
                })
                .unwrap();
                in_time(app.close()).await;
            });
        });
    });
    begun.recv().unwrap();
    // The subscriber is in the warning of the first close.
    current_thread().block_on(async {
        let registry = Registry::new();
        let grace = Duration::from_millis(1);
        let other = registry.context_builder("other").grace(grace).open();
        other.spawn(std::future::pending::<()>());
        let report = in_time(other.close()).await;
        assert_eq!(report.aborted(), 1);
    });
    drop((release, unblock));
    blocks.join().unwrap();
}
