//! Counts that rise: what grows, what does not, and who holds it.

use headcount::{
    Context, Level, Registry, Tracked,
    leaks::{Allow, LeakKind, LeakPolicy, LeakReport},
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

fn here(line: u32) -> String {
    format!("{}:{line}", file!())
}

#[tokio::test]
async fn a_pool_that_has_reached_its_ceiling_does_not_grow_ever_after() {
    let registry = registry();
    let mut growth = registry.growth().await;
    let mut pool = Vec::new();
    let mut risen = Vec::new();
    for round in 0..100 {
        if pool.len() < 8 {
            pool.push(registry.own("conn", "conn", ()));
        }
        growth.sample().await;
        if !growth.rising().is_empty() {
            risen.push(round);
        }
    }
    // It cannot be told from a leak while it fills.
    assert!(risen.iter().all(|round| *round < 9), "{risen:?}");
    let report = registry.leaks(&running().growth(&growth)).await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn a_dip_hides_no_leak() {
    for samples in [20, 60] {
        let registry = registry();
        let mut growth = registry.growth().await;
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        let register = || registry.register("listener", "listener");
        others.extend((0..5).map(|_| register()));
        for round in 0..samples {
            kept.push(register());
            if round == samples / 2 {
                others.clear();
            }
            if round == samples / 2 + 1 {
                others.extend((0..5).map(|_| register()));
            }
            growth.sample().await;
        }
        assert_eq!(growth.rising().len(), 1, "{samples}: {growth}");
    }
}

/// Held handles of so many values that a growth report finds them growing.
async fn growing<T>(registry: &Registry, mut keep: impl AsyncFnMut() -> T) -> (LeakReport, Vec<T>) {
    let mut growth = registry.growth().await;
    let mut kept = Vec::new();
    for _ in 0..8 {
        kept.push(keep().await);
        growth.sample().await;
    }
    let report = registry.leaks(&running().growth(&growth)).await;
    (report, kept)
}

#[tokio::test]
async fn a_count_that_grows_is_reported_with_the_line_and_the_tasks_that_hold() {
    let registry = registry();
    let ctx = registry.context("server");
    let mut line = 0;
    let (report, _kept) = growing(&registry, async || {
        let made = registry.own("entry", "entry", ());
        let request = async move {
            let held = made.clone();
            (held, line!() - 1)
        };
        let (held, taken) = ctx.task("request").spawn(request).await.unwrap();
        line = taken;
        held
    })
    .await;
    let said = report.to_string();
    let held = format!(
        "8 of 8 held by handles taken at {} by tasks request (ended)",
        here(line)
    );
    assert!(said.contains(&held), "{said}");
    let advice = report.findings()[0].advice();
    assert!(advice.contains(&here(line)), "{advice}");
}

#[tokio::test]
async fn a_count_that_grows_is_reported_with_the_context_that_owns_it() {
    let registry = registry();
    let server = registry.context("server");
    let (report, _) = growing(&registry, async || {
        drop(server.own("entry", "entry", ()).unwrap());
    })
    .await;
    let said = report.to_string();
    let held = "8 of 8 owned by context server until it closes";
    assert!(said.contains(held), "{said}");
}

#[tokio::test]
async fn too_many_of_a_kind_are_reported_with_what_holds_them() {
    let registry = registry();
    let mut held: Vec<Tracked<()>> = Vec::new();
    for _ in 0..8 {
        held.push(registry.own("conn", "conn", ()));
    }
    let line = line!() - 2;
    let off = registry.own("conn", "conn", ());
    registry.set_level(Level::Off);
    let untracked = registry.own("conn", "conn", ());
    let report = registry.leaks(&running().max_count("conn", 3)).await;
    let said = report.to_string();
    for part in [
        format!("8 of 10 held by handles taken at {} by ", here(line)),
        format!("1 of 10 held by handles taken at {} by ", here(line + 3)),
        "1 of 10 held by handles that were not recorded".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    drop((off, untracked));
}

async fn closed_and_kept(registry: &Registry) -> Context {
    let ctx = registry.context("session");
    ctx.close().await;
    ctx
}

/// The finding says more, and each leak counts once.
#[tokio::test]
async fn what_is_listed_already_is_not_listed_again_as_growing() {
    let registry = registry();
    let (report, _kept) = growing(&registry, async || closed_and_kept(&registry).await).await;
    assert_eq!(report.findings().len(), 8, "{report}");
    assert_eq!(report.of_kind(LeakKind::Growing).count(), 0, "{report}");
    let said = report.to_string();
    assert!(
        said.contains("reported below, and growing: context made at"),
        "{said}"
    );
}

/// That it is known that one is held says nothing about there being more and more of them.
#[tokio::test]
async fn what_is_listed_as_allowed_is_reported_when_it_grows() {
    let registry = registry();
    let mut growth = registry.growth().await;
    let mut kept = Vec::new();
    for _ in 0..8 {
        kept.push(closed_and_kept(&registry).await);
        growth.sample().await;
    }
    let report = registry.leaks(&running()).await;
    let known = Allow::fingerprint(report.findings()[0].fingerprint()).because("known");
    let report = registry
        .leaks(&running().allow(known).growth(&growth))
        .await;
    assert_eq!(report.findings().len(), 1, "{report}");
    assert_eq!(report.of_kind(LeakKind::Growing).count(), 1, "{report}");
}

#[tokio::test]
async fn handles_are_printed_by_line_and_the_line_of_most_is_the_suspect() {
    let registry = registry();
    let workers = registry.context("workers");
    let ctx = registry.context("ctx");
    let mut held = Vec::new();
    for _ in 0..999 {
        let weak = ctx.downgrade();
        let request = async move { weak.upgrade() };
        held.push(workers.task("request").spawn(request).await.unwrap());
    }
    let line = line!() - 3;
    let printed = ctx.holders().to_string();
    let group = format!("999 × taken at {} by tasks request (ended)", here(line));
    assert!(printed.contains(&group), "{printed}");
    assert_eq!(printed.lines().count(), 3, "{printed}");
    ctx.close().await;
    let report = registry.leaks(&running()).await;
    let said = report.to_string();
    assert!(said.contains(&group), "{said}");
    let advice = report.findings()[0].advice();
    assert!(advice.contains(&here(line)), "{advice}");
    drop(held);
}
