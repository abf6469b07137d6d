//! A watch looks for leaks in a program that runs for days: it tells of each, and says nothing a hundred times.

use crate::{
    events::said,
    util::{AGES_ARE_PAUSED, settle},
};
use headcount::{Context, Level, Registry, leaks::LeakPolicy};
use std::{future::pending, time::Duration};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn registry() -> Registry {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    registry
}

fn running() -> LeakPolicy {
    LeakPolicy::new().settle(Duration::ZERO)
}

/// Closes so many contexts, and keeps them.
async fn leak(registry: &Registry, many: usize) -> Vec<Context> {
    let mut held = Vec::new();
    for n in 0..many {
        let ctx = registry.context(format!("conn-{n}"));
        ctx.close().await;
        held.push(ctx);
    }
    held
}

/// How many were alike in each event that tells of more of them; 1 in the first one.
fn told(said: &[String]) -> Vec<usize> {
    let leaks = said.iter().filter_map(|line| line.split(": leak: ").nth(1));
    let again = |text: &str| {
        text.strip_prefix("now ")?
            .split(" of the same")
            .next()?
            .parse()
            .ok()
    };
    leaks.map(|text| again(text).unwrap_or(1)).collect()
}

#[test]
fn leaks_that_are_alike_are_told_with_their_number_and_again_at_ten_times() {
    let said = said(|| async {
        let registry = registry();
        let _watch = registry.watch_leaks(running(), 5 * SECOND);
        let mut held = Vec::new();
        for many in [2, 17, 1, 79, 100] {
            held.extend(leak(&registry, many).await);
            sleep(MINUTE).await;
        }
    });
    assert_eq!(told(&said), [1, 20], "{said:?}");
    let again = "leak: now 20 of the same kind, at most 2 were reported before: 1. context conn-0: closed but still held";
    assert!(said.iter().any(|line| line.contains(again)), "{said:?}");
}

/// A slow leak: one in two hours.
#[test]
fn a_leak_that_comes_an_hour_after_the_last_event_is_told() {
    let said = said(|| async {
        let registry = registry();
        let _watch = registry.watch_leaks(running(), 5 * SECOND);
        let mut held = Vec::new();
        for _ in 0..5 {
            held.extend(leak(&registry, 1).await);
            sleep(120 * MINUTE).await;
        }
    });
    assert_eq!(told(&said), [1, 2, 3, 4, 5], "{said:?}");
}

#[test]
fn a_watch_with_limits_looks_while_nothing_closes() {
    let said = said(|| async {
        let registry = registry();
        let policy = running().max_count("conn", 3).max_age("request", MINUTE);
        let _watch = registry.watch_leaks(policy, 5 * SECOND);
        sleep(MINUTE).await;
        let _conns: Vec<_> = (0..4).map(|_| registry.own("conn", "conn", ())).collect();
        let _request = registry.own("request", "request", ());
        sleep(11 * SECOND).await;
        assert!(!registry.is_empty());
        sleep(2 * MINUTE).await;
    });
    assert!(
        said.iter().any(|line| line.contains("more than allowed")),
        "{said:?}"
    );
    let is_told = said.iter().any(|line| line.contains("older than allowed"));
    assert_eq!(is_told, AGES_ARE_PAUSED, "{said:?}");
    assert_eq!(
        told(&said).len(),
        1 + usize::from(AGES_ARE_PAUSED),
        "{said:?}"
    );
}

/// No close leaves it behind.
#[test]
fn a_context_that_only_its_own_task_holds_is_told_while_nothing_closes() {
    let said = said(|| async {
        let registry = registry();
        let _watch = registry.watch_leaks(running(), SECOND);
        let ctx = registry.context("ctx");
        let weak = ctx.downgrade();
        ctx.task("pinner").cancellable().spawn(async move {
            let _pinned = weak.upgrade();
            pending::<()>().await;
        });
        settle().await;
        drop(ctx);
        sleep(MINUTE).await;
        registry.close().await;
    });
    let told = said
        .iter()
        .filter(|line| line.contains("held only by its own task"));
    assert_eq!(told.count(), 1, "{said:?}");
}

/// Sessions that are let go of a while after their close: there is always another one, and it is told once.
#[test]
fn what_comes_and_goes_is_not_told_again_and_again() {
    let said = said(|| async {
        let registry = registry();
        let _watch = registry.watch_leaks(running(), 5 * SECOND);
        for _ in 0..200 {
            let held = leak(&registry, 1).await;
            sleep(12 * SECOND).await;
            drop(held);
            sleep(12 * SECOND).await;
        }
    });
    assert_eq!(told(&said).len(), 1, "{said:?}");
}
