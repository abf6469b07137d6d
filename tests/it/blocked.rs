//! Code that blocks its thread does not hold up a close in silence (I19).

use crate::{
    events::{Said, said_while},
    util::{current_thread, in_time, multi_thread},
};
use headcount::{FailureKind, Registry};
use std::{sync::Arc, thread, time::Duration};

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
        app.on_close(|| async move { block_until_said(&said, "does not get on") })
            .unwrap();
        in_time(app.close()).await;
    });
    let told = told(&said, "does not get on");
    assert!(
        told.contains("the close of app does not get on: its runtime has not answered for ")
            && told.contains("it is in the on_close hook it::blocked::a_hook_that_blocks")
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
            block_until_said(&said, "does not get on");
        });
        in_time(app.close()).await;
    });
    let told = told(&said, "does not get on");
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
        let blocks = Blocks(said, "does not get on");
        app.task("holder").spawn(async move {
            let _blocks = blocks;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        in_time(app.close_now()).await;
    });
    let told = told(&said, "does not get on");
    assert!(told.contains("the task app/holder (spawned at"), "{told}");
}

#[test]
fn a_value_whose_destructor_blocks_is_named_while_it_does() {
    let said = said_while(&current_thread(), |said| async move {
        let app = Registry::new().context("app");
        let blocks = Blocks(said, "does not get on");
        drop(
            app.own("pool", "connections", std::sync::Mutex::new(blocks))
                .unwrap(),
        );
        in_time(app.close()).await;
    });
    let told = told(&said, "does not get on");
    assert!(
        told.contains("it is in the destructor of the value pool [app]"),
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
