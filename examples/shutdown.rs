//! A service that does not go quietly: what a close does about it, and what it says.
//!
//! The service ignores its token here and there, and two of its hooks go wrong:
//!
//! | who | what it does when the service closes |
//! |---|---|
//! | `listener` | sees the token, finishes by itself |
//! | `metrics` | is cancellable, so it is dropped at its next wait |
//! | `stubborn` | never looks; aborted after the grace period |
//! | `compactor` | a blocking closure that looks late; it cannot be aborted, so the close waits |
//! | `say goodbye` hook | hangs; dropped at the hook time limit |
//! | `deregister` hook | fails; noted, and the next hook runs |
//! | `release lock` hook | runs last, whatever the others did |
//!
//! Run it with `cargo run --example shutdown`. It takes about a second, shows the warnings that
//! `headcount` sends to `tracing`, and exits with 1 if the report is not the expected one.

use headcount::{CloseReason, CloseReport, Context, Registry, WeakContext};
use std::{future::pending, process::ExitCode, thread, time::Duration};

/// What tasks get to end by themselves, and what each hook gets.
const LIMIT: Duration = Duration::from_millis(200);

/// How long the first call waits before it gives up waiting.
const TIME_LIMIT: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .without_time()
        .with_target(false)
        .init();

    let registry = Registry::new();
    let service = registry
        .context_builder("service")
        .kind("service")
        .grace(LIMIT)
        .hook_timeout(LIMIT)
        .open();
    add_hooks(&service);
    let api = open_api(&service);
    let storage = open_storage(&service);
    // Until everybody is at work.
    tokio::time::sleep(Duration::from_millis(50)).await;
    println!("== running ==\n{}\n", registry.live().await);

    println!("== closing, for at most {TIME_LIMIT:?} ==");
    service.request_close(CloseReason::Shutdown);
    match service.close_within(TIME_LIMIT).await {
        Ok(_) => println!("closed sooner than expected"),
        Err(still_closing) => println!("gave up waiting: {still_closing}"),
    }

    println!("\n== closing, for as long as it takes ==");
    let report = service.close().await;
    println!("{report}\n");

    drop((service, api, storage));
    println!("== afterwards ==\n{}", registry.live().await);
    if is_as_expected(&report) && registry.is_empty() {
        ExitCode::SUCCESS
    } else {
        eprintln!("shutdown: this is not the report that was expected");
        ExitCode::FAILURE
    }
}

/// Hooks run when every task is gone, latest first. A failure in one is no reason to skip the next.
fn add_hooks(service: &Context) {
    service
        .on_close(|| async { println!("hook: released the lock") })
        .expect("the service is open");
    service
        .on_close(|| async { Err::<(), _>("deregister: no route to host") })
        .expect("the service is open");
    service
        .on_close(|| async {
            println!("hook: saying goodbye, and waiting for an answer that never comes");
            pending::<()>().await;
        })
        .expect("the service is open");
}

/// A context with two well-behaved tasks.
fn open_api(service: &Context) -> Context {
    let api = service.child("api");
    api.task("listener").spawn(listen(api.downgrade()));
    api.task("metrics").cancellable().spawn(pending::<()>());
    api
}

async fn listen(api: WeakContext) {
    api.cancelled().await;
    println!("listener: finished the last request");
}

/// A context with two tasks that do not care.
fn open_storage(service: &Context) -> Context {
    let storage = service.child("storage");
    storage.task("stubborn").spawn(pending::<()>());
    let weak = storage.downgrade();
    storage
        .task("compactor")
        .spawn_blocking(move || compact(&weak));
    storage
}

/// Works in large steps, and looks only between them whether it should stop.
fn compact(storage: &WeakContext) {
    while !storage.is_cancelled() {
        thread::sleep(Duration::from_millis(700));
    }
    println!("compactor: stopped after a whole step");
}

/// Everybody ended in the way that the table at the top says.
fn is_as_expected(report: &CloseReport) -> bool {
    let tasks = (report.finished(), report.cancelled(), report.aborted());
    let hooks = report.hooks();
    // The listener and the compactor; the metrics; the stubborn one.
    tasks == (2, 1, 1)
        && (hooks.ran, hooks.failed, hooks.timed_out) == (2, 1, 1)
        && *report.reason() == CloseReason::Shutdown
        && !report.is_clean()
}
