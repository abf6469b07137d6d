//! [`assert_no_growth`]: the same again and again, and nothing more of anything.

use crate::{
    clock,
    leaks::{growth::Growth, policy::LeakPolicy},
    ledger::level::Level,
    registry::registry::Registry,
    testing::check,
};
use futures::future::select;
use std::{panic::Location, pin::pin, time::Duration};

/// How long each cycle may take to clear up, when there is more than after the one before.
const SETTLE: Duration = Duration::from_millis(200);

/// Runs a scenario so many times, in one registry, and fails if the count of anything keeps rising: of what was made on one
/// line, or of a [probe](Registry::probe).
///
/// What is made once, on first use, is no growth; see [`Growth::rising`] for the rule. Ten cycles are a good number;
/// fewer than four tell a leak from a first use badly. Cycles run one after the other; what a cycle leaves on its
/// way has up to 200 ms to go, so a scenario may close in the background.
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
/// With the counts and the report, and the line that called it, if something grows; with the scenario's own panic if
/// that panics.
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
            settle(&registry, before).await;
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

/// Waits until there is no more than before, or time is up.
async fn settle(registry: &Registry, before: usize) {
    let listening = registry.root().node.table.tracking.listen();
    let started = clock::now();
    loop {
        let mut gone = pin!(listening.changed().notified());
        gone.as_mut().enable();
        let took = clock::now().saturating_duration_since(started);
        if registry.count() <= before || took >= SETTLE {
            return;
        }
        let rest = Duration::from_millis(5).min(SETTLE.saturating_sub(took));
        select(gone, pin!(clock::sleep(rest))).await;
    }
}
