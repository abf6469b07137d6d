//! [`check`]: the body of a test, and a look for leaks at its end.

use crate::{
    leaks::{policy::LeakPolicy, report::LeakReport, settle},
    ledger::level::Level,
    registry::registry::Registry,
    testing::{files, foreign::Foreign, overdue},
};
use futures::FutureExt;
use std::{
    panic::{AssertUnwindSafe, Location, resume_unwind},
    sync::Arc,
    time::Duration,
};

/// Runs the body of a test with a registry of its own, and fails the test if the body leaves anything behind.
///
/// The registry is the [current](Registry::current) one in the body, so code under test that uses
/// [`spawn`](crate::spawn) or [`register`](crate::register) is seen as well. When the body has ended, everything in the
/// registry must be gone: tasks, contexts, resources; what is on its way is waited for, for up to 2 s
/// (longer only for a close within its grace period). The wait ends as soon as nothing is left. So tests may run
/// side by side, in one process and on one runtime.
///
/// Code on another thread or in a bare `tokio::spawn` is outside of the body: there
/// [`Registry::current`] is the global one, so hand the registry over. With paused time the 2 s pass as soon as nothing
/// else runs, so what another thread or a blocking closure lets go a moment later is late.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::testing;
///
/// testing::check(async |registry| {
///     let ctx = registry.context("job");
///     let answer = ctx.spawn(async { 6 * 7 });
///     assert_eq!(answer.await.unwrap(), 42);
///     ctx.close().await;
/// })
/// .await;
/// # }
/// ```
///
/// The output of the body is handed through; a handle in it counts as left behind.
///
/// # Panics
///
/// With the [report](LeakReport), and the line that called `check`, if something is left. The report and its graph are
/// written into `target/headcount/` as well. If the body panics, that panic goes on, unchanged, and a leak beside it is
/// printed before.
///
/// # Tasks of nobody
///
/// What was spawned with bare `tokio::spawn` is in no registry. If the runtime has tasks alive, and had none before, and no
/// other check ran on it meanwhile, so that they can only be this body's, that is reported too, as a number.
#[track_caller]
pub fn check<T>(body: impl AsyncFnOnce(Registry) -> T) -> impl Future<Output = T> {
    Check::new().run(body)
}

/// A [`check`] with settings.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{testing::Check, leaks::LeakPolicy};
/// use std::time::Duration;
///
/// let policy = LeakPolicy::nothing_left().ignore_kind("pool");
/// Check::new()
///     .policy(policy)
///     .settle(Duration::from_millis(500))
///     .run(async |registry| {
///         std::mem::forget(registry.register("users", "pool"));
///     })
///     .await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a check checks nothing until `run`"]
pub struct Check {
    policy: LeakPolicy,
    limit: Option<Duration>,
}

impl Check {
    /// Nothing may be left, and things have 2 s to go.
    pub fn new() -> Self {
        Self {
            policy: LeakPolicy::nothing_left(),
            limit: None,
        }
    }

    /// What counts as a leak; [`LeakPolicy::nothing_left`] unless said otherwise.
    pub fn policy(mut self, policy: LeakPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long things may take to go.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.policy.settle = limit;
        self
    }

    /// How long the body may take; for ever, unless said otherwise.
    ///
    /// A body that hangs fails the test then, and with the feature `dump` it is said where: the body itself, and every
    /// task of its registry, down to the `.await`. It takes a free thread of the runtime.
    ///
    /// ```should_panic
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::testing::Check;
    /// use std::time::Duration;
    ///
    /// Check::new()
    ///     .limit(Duration::from_millis(50))
    ///     .run(async |registry| {
    ///         registry.context("server").closed().await; // nobody closes it
    ///     })
    ///     .await;
    /// # }
    /// ```
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the body, and looks.
    ///
    /// # Panics
    ///
    /// As [`check`], and if the body does not end within the [`limit`](Self::limit).
    #[track_caller]
    pub fn run<T>(self, body: impl AsyncFnOnce(Registry) -> T) -> impl Future<Output = T> {
        let location = Location::caller();
        async move {
            let registry = Registry::new();
            registry.set_level(registry.level().max(Level::Holders));
            let foreign = Foreign::watch();
            let given = registry.clone();
            // Also what a closure does before it returns its future.
            let scoped = registry.scope(async move { body(given).await });
            let body = AssertUnwindSafe(scoped).catch_unwind();
            let outcome = overdue::within(self.limit, &registry, location, body).await;
            match outcome {
                Ok(output) => {
                    let report = look(&registry, &self.policy, &foreign).await;
                    if !report.is_clean() {
                        fail(&report, location);
                    }
                    output
                }
                Err(payload) => {
                    let policy = self.policy.impatient();
                    let report = look(&registry, &policy, &foreign).await;
                    if !report.is_clean() {
                        let what = "left behind, beside the panic, by the check";
                        eprintln!("{}", message(what, &report, location));
                    }
                    resume_unwind(payload)
                }
            }
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

async fn look(registry: &Registry, policy: &LeakPolicy, foreign: &Foreign) -> LeakReport {
    let counts_foreign = policy.nothing_left && policy.asks_for.foreign;
    let has_more = || counts_foreign && foreign.more() > 0;
    let root = Arc::downgrade(registry.root());
    let settled = settle::settle(&root, policy, has_more).await;
    let (mut found, settled) = settled.expect("the registry is there");
    let mut notes = Vec::new();
    if counts_foreign {
        foreign.judge(&mut found, policy, &mut notes);
    }
    LeakReport::new(found, Some(settled), notes)
}

/// Fails the test with the report.
pub(super) fn fail(report: &LeakReport, location: &Location<'_>) -> ! {
    panic!(
        "{}",
        message("left behind at the end of the check", report, location)
    )
}

/// What the test is told: where it was checked, the report, and where to find it again.
pub(super) fn message(what: &str, report: &LeakReport, location: &Location<'_>) -> String {
    let written = files::write(report, location);
    format!("{what} at {location}\n\n{report}\n\n{written}")
}
