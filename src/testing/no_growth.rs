//! [`assert_no_growth`]: repeats a scenario, and fails if something grows.

use crate::{
    clock,
    leaks::{growth::Growth, policy::LeakPolicy},
    ledger::level::Level,
    registry::registry::Registry,
    testing::check,
};
use futures::future::select;
use std::{panic::Location, pin::pin, time::Duration};

/// How long to wait after a cycle that has left more than there was before it.
const LIMIT: Duration = Duration::from_millis(200);

/// Repeats a scenario in one registry, and fails if the count of something keeps rising.
///
/// It counts what was made on each line, and each [probe](Registry::probe). Something that is made once, on first use, is
/// no growth; [`Growth::rising`] has the rule. Ten cycles are a good number; with fewer than four a first use looks like a
/// leak. Cycles run one after the other. What a cycle leaves has up to 200 ms to end, so a scenario may close in the
/// background.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::testing;
///
/// testing::assert_no_growth(10, async |registry| {
///     let session = registry.context("session");
///     session.spawn(async {}).await.unwrap();
///     session.close().await;
/// })
/// .await;
/// # }
/// ```
///
/// # Panics
///
/// If something grows, with the counts, the report, and the line that called it. If the scenario panics, with that panic.
#[track_caller]
pub fn assert_no_growth(
    cycles: usize,
    mut scenario: impl AsyncFnMut(Registry),
) -> impl Future<Output = ()> {
    let location = Location::caller();
    async move {
        let registry = Registry::new();
        registry.set_level(registry.level().max(Level::Holders));
        let mut growth = Growth::start(registry.root()).await;
        for _ in 0..cycles {
            let before = registry.count();
            let given = registry.clone();
            registry.scope(async { scenario(given).await }).await;
            wait_until_gone(&registry, before).await;
            growth.sample().await;
        }
        if growth.rising().is_empty() {
            return;
        }
        let policy = LeakPolicy::new().settle(Duration::ZERO).growth(&growth);
        let report = registry.leaks(&policy).await;
        let what = format!("grew over {cycles} cycles of the scenario");
        panic!("{}", check::message(&what, &report, location));
    }
}

/// Waits until no more is alive than `before`, or until the limit.
async fn wait_until_gone(registry: &Registry, before: usize) {
    let listening = registry.root().node.table.tracking.listen();
    let started = clock::now();
    loop {
        let mut gone = pin!(listening.changed().notified());
        gone.as_mut().enable();
        let took = clock::now().saturating_duration_since(started);
        if registry.count() <= before || took >= LIMIT {
            return;
        }
        let rest = Duration::from_millis(5).min(LIMIT.saturating_sub(took));
        select(gone, pin!(clock::sleep(rest))).await;
    }
}
