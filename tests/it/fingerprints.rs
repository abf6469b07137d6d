//! Fingerprints: the same for a leak in each run and after edits that move it, and different for different leaks, so that an
//! entry of an allow list silences no other.

use headcount::{
    Context, Level, Registry, Tracked,
    leaks::{Allow, LeakPolicy, LeakReport},
};
use std::time::Duration;

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

fn running() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

fn over() -> LeakPolicy {
    LeakPolicy::nothing_left().settle(Duration::ZERO)
}

async fn report(registry: &Registry) -> LeakReport {
    registry.leaks(&running()).await
}

fn prints(report: &LeakReport) -> Vec<&str> {
    let findings = report.findings().iter();
    findings
        .map(headcount::leaks::Finding::fingerprint)
        .collect()
}

fn only(report: &LeakReport) -> String {
    assert_eq!(report.findings().len(), 1, "{report}");
    report.findings()[0].fingerprint().to_owned()
}

/// The same code as the next one, further up in the file.
async fn keeps_one(registry: &Registry, name: String) -> Context {
    let ctx = registry.context(name);
    let held = ctx.clone();
    ctx.close().await;
    held
}

async fn keeps_one_further_down(registry: &Registry, name: String) -> Context {
    let ctx = registry.context(name);
    let held = ctx.clone();
    ctx.close().await;
    held
}

/// Its lines begin in the same columns.
async fn keeps_one_after_some_work(registry: &Registry, name: String) -> Context {
    let ctx = registry.context(name);
    ctx.spawn(async {}).await.unwrap();
    let held = ctx.clone();
    ctx.close().await;
    held
}

/// Here the line between is the one before the close.
async fn keeps_one_and_works(registry: &Registry, name: String) -> Context {
    let ctx = registry.context(name);
    let held = ctx.clone();
    ctx.spawn(async {}).await.unwrap();
    ctx.close().await;
    held
}

#[tokio::test]
async fn code_that_was_moved_down_has_the_same_fingerprint() {
    let (before, after) = (registry(), registry());
    let held = [
        keeps_one(&before, "one".to_owned()).await,
        keeps_one_further_down(&after, "other".to_owned()).await,
    ];
    assert_eq!(only(&report(&before).await), only(&report(&after).await));
    drop(held);
}

#[tokio::test]
async fn leaks_of_one_file_that_begin_in_the_same_columns_have_different_fingerprints() {
    let registry = registry();
    let held = [
        keeps_one(&registry, "one".to_owned()).await,
        keeps_one_after_some_work(&registry, "two".to_owned()).await,
        keeps_one_and_works(&registry, "three".to_owned()).await,
    ];
    let report = report(&registry).await;
    let prints = prints(&report);
    assert!(
        prints[0] != prints[1] && prints[1] != prints[2] && prints[0] != prints[2],
        "{report}"
    );
    let known = Allow::fingerprint(prints[0]).because("known");
    let report = registry.leaks(&running().allow(known)).await;
    assert_eq!(
        (report.allowed().len(), report.findings().len()),
        (1, 2),
        "{report}"
    );
    drop(held);
}

#[tokio::test]
async fn contexts_that_were_dropped_open_after_different_handles_have_different_fingerprints() {
    let registry = registry();
    let ctx = registry.context("ctx".to_owned());
    drop(ctx);
    let ctx = registry.context("ctx".to_owned());
    let earlier = ctx.clone();
    drop(earlier);
    let last = ctx.clone();
    drop(ctx);
    drop(last);
    let report = report(&registry).await;
    let prints = prints(&report);
    assert_ne!(prints[0], prints[1], "{report}");
}

#[tokio::test]
async fn names_are_part_of_it_if_they_are_literals() {
    fn entry(registry: &Registry, name: impl Into<std::borrow::Cow<'static, str>>) -> Tracked<()> {
        registry.own(name, "kind", ())
    }
    let registry = registry();
    let _literals = [entry(&registry, "one"), entry(&registry, "other")];
    let _made = [
        entry(&registry, "one".to_owned()),
        entry(&registry, "other".to_owned()),
    ];
    let report = registry.leaks(&over()).await;
    let prints = prints(&report);
    assert_ne!(prints[0], prints[1], "{report}");
    assert_eq!(prints[2], prints[3], "{report}");
    assert_ne!(prints[0], prints[2], "{report}");
}

/// The name of an unnamed task is the path of its function: it is known without any symbols.
#[tokio::test]
async fn the_functions_of_tasks_that_took_handles_are_part_of_it() {
    #[expect(
        clippy::unused_async,
        reason = "the name of the function is what is looked at"
    )]
    async fn reader(take: impl Fn() -> Tracked<()>) -> Tracked<()> {
        take()
    }
    #[expect(
        clippy::unused_async,
        reason = "the name of the function is what is looked at"
    )]
    async fn writer(take: impl Fn() -> Tracked<()>) -> Tracked<()> {
        take()
    }
    let registry = registry();
    let ctx = registry.context("ctx");
    let take = || {
        let registry = registry.clone();
        move || registry.own("value", "kind", ())
    };
    let tasks = [
        ctx.spawn(reader(take())),
        ctx.spawn(writer(take())),
        ctx.spawn(writer(take())),
    ];
    let _held = futures::future::join_all(tasks).await;
    ctx.close().await;
    drop(ctx);
    let report = registry.leaks(&over()).await;
    let prints = prints(&report);
    assert_ne!(prints[0], prints[1], "{report}");
    assert_eq!(prints[1], prints[2], "{report}");
}

/// A key is different for each entry, and says nothing about the code.
#[tokio::test]
async fn leaks_under_different_keys_are_equal() {
    let registry = registry();
    let users = registry.own("users", "cache", ());
    let mut held = Vec::new();
    for n in 0..50 {
        let conn = registry.context(format!("conn-{n}"));
        conn.held_by(&(&users, &*format!("user {n}")));
        conn.close().await;
        held.push(conn);
    }
    let report = report(&registry).await;
    let mut prints = prints(&report);
    prints.dedup();
    assert_eq!(prints.len(), 1, "{report}");
    let printed = report.to_string();
    assert!(printed.contains("others alike  49"), "{printed}");
    assert!(printed.lines().count() < 25, "{printed}");
    drop(held);
}

/// It would be hidden among the others.
#[tokio::test]
async fn a_leak_with_a_second_holder_on_another_line_is_printed_by_itself() {
    let registry = registry();
    let mut held = Vec::new();
    for n in 0..5 {
        let conn = registry.context(format!("conn-{n}"));
        conn.close().await;
        held.push(conn);
    }
    let second = held[3].clone();
    let line = line!() - 1;
    let printed = report(&registry).await.to_string();
    assert!(printed.contains("others alike  3"), "{printed}");
    assert!(
        printed.contains(&format!("{}:{line}", file!())),
        "{printed}"
    );
    drop((held, second));
}
