//! How leak reports are printed and drawn, and what making a large one costs the runtime.

use cpu_time::ThreadTime;
use headcount::{
    Level, Registry,
    leaks::{LeakPolicy, LeakReport},
};
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

fn running() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

#[cfg(feature = "dump")]
fn over() -> LeakPolicy {
    LeakPolicy::nothing_left().settle(Duration::ZERO)
}

#[tokio::test]
async fn a_leak_of_something_that_is_gone_is_not_said_to_be_among_0_things() {
    let registry = registry();
    drop(registry.context("ctx"));
    registry.idle().await;
    crate::util::settle().await;
    let printed = registry.leaks(&running()).await.to_string();
    assert!(
        printed.starts_with("1 leak (nothing is alive any more)"),
        "{printed}"
    );
}

#[tokio::test]
async fn the_line_of_a_single_handle_is_printed_in_the_chain_and_the_advice_alone() {
    let registry = registry();
    let ctx = registry.context("ctx");
    let held = ctx.clone();
    let line = line!() - 1;
    ctx.close().await;
    drop(ctx);
    let printed = registry.leaks(&running()).await.to_string();
    let site = format!("{}:{line}", file!());
    assert_eq!(printed.matches(&site).count(), 2, "{printed}");
    assert!(printed.contains("strong 1 = 1 tracked"), "{printed}");
    assert!(!printed.contains("came and went"), "{printed}");
    drop(held);
}

/// One of them may be the one that is not known.
#[tokio::test]
async fn handles_that_came_and_went_are_printed_where_others_are_unknown() {
    let registry = registry();
    registry.set_level(Level::Off);
    let ctx = registry.context("ctx");
    registry.set_level(Level::Holders);
    drop(ctx.clone());
    ctx.close().await;
    let printed = registry.leaks(&running()).await.to_string();
    assert!(printed.contains("came and went 1"), "{printed}");
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn what_a_leak_keeps_of_one_line_is_one_box() {
    let registry = registry();
    let ctx = registry.context("ctx");
    for n in 0..100 {
        let conn = ctx.child(format!("conn-{n}"));
        conn.task("reader")
            .cancellable()
            .spawn(std::future::pending::<()>());
        conn.held_by(&ctx);
        std::mem::forget(conn);
    }
    ctx.task("other")
        .cancellable()
        .spawn(std::future::pending::<()>());
    crate::util::settle().await;
    let report = registry.leaks(&over()).await;
    assert_eq!(report.findings()[0].victims().len(), 201, "{report}");
    let graph = report.graph();
    let (svg, drawn) = (graph.svg(), graph.mermaid());
    let height = svg
        .split("height=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(height.parse::<usize>().unwrap() < 800, "{height}: {drawn}");
    assert_eq!(drawn.matches("and 99 alike").count(), 2, "{drawn}");
    assert!(svg.contains("201 held by it"), "{drawn}");
    registry.close().await;
}

/// The processor time of the longest poll.
async fn longest_poll(report: impl Future<Output = LeakReport>) -> (LeakReport, Duration) {
    let (mut report, mut longest) = (pin!(report), Duration::ZERO);
    poll_fn(|cx| {
        let begun = ThreadTime::now();
        let polled = report.as_mut().poll(cx);
        longest = longest.max(begun.elapsed());
        match polled {
            Poll::Ready(report) => Poll::Ready((report, longest)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// It is made in bounded steps, or on other threads than the runtime's.
#[tokio::test]
async fn a_large_report_does_not_hold_up_the_runtime() {
    let registry = registry();
    let mut held = Vec::new();
    for _ in 0..32_000 {
        let ctx = registry.context("ctx");
        ctx.close().await;
        held.push(ctx);
    }
    let policy = running();
    let begun = ThreadTime::now();
    let report = registry.leaks_now(&policy);
    let at_once = begun.elapsed();
    assert_eq!(report.findings().len(), held.len());
    drop(report);
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let (report, longest) = longest_poll(registry.leaks(&policy)).await;
        assert_eq!(report.findings().len(), held.len());
        shortest = shortest.min(longest);
    }
    println!("{at_once:?} at once, {shortest:?} in the longest step");
    assert!(10 * shortest < at_once, "{shortest:?}, {at_once:?}");
}
