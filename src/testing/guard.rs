//! [`LeakGuard`]: fails a test that cannot be wrapped into a check.

use crate::{
    leaks::{find, policy::LeakPolicy, report::LeakReport},
    registry::registry::Registry,
    testing::check,
};
use std::{
    mem,
    panic::Location,
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Fails a test that leaves something behind in a registry.
///
/// It does so in [`finish`](Self::finish), or else when it is dropped. It is for tests that cannot be wrapped into a
/// [`check`](crate::testing::check): those that share a registry, or set one up in a fixture.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, testing::LeakGuard};
///
/// let registry = Registry::new();
/// let _pool = registry.register("users", "pool");
///
/// let guard = LeakGuard::new(&registry).ignoring_current();
/// let ctx = registry.context("job");
/// ctx.close().await;
/// drop(ctx);
/// guard.finish().await;
/// # }
/// ```
///
/// # Panics
///
/// If something is left, with the report. While a panic unwinds already, the report is printed instead. The drop blocks the
/// thread, for up to the time set with [`settle`](Self::settle), and searches again and again. On a `current_thread`
/// runtime nothing could end meanwhile, so there it searches once.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once sees nothing"]
pub struct LeakGuard {
    registry: Registry,
    policy: LeakPolicy,
    location: &'static Location<'static>,
    is_done: bool,
}

/// How long a guard that blocks waits between two searches.
const INTERVAL: Duration = Duration::from_millis(2);

impl LeakGuard {
    /// A guard that allows nothing to be left in this registry, and waits 2 s for that.
    #[track_caller]
    pub fn new(registry: &Registry) -> Self {
        let mut policy = LeakPolicy::nothing_left();
        policy.dropped_before = registry.root().registry.dropped.snapshot().count;
        Self {
            registry: registry.clone(),
            policy,
            location: Location::caller(),
            is_done: false,
        }
    }

    /// Ignores everything that is alive at this point.
    pub fn ignoring_current(mut self) -> Self {
        self.policy = self.take().ignore(&self.registry.live_now());
        self
    }

    /// Ignores things of this kind, and what only they keep alive.
    pub fn ignore_kind(mut self, kind: impl AsRef<str>) -> Self {
        self.policy = self.take().ignore_kind(kind);
        self
    }

    /// Ignores things that were made in this file or on this line, and what only they keep alive.
    ///
    /// See [`LeakPolicy::ignore_site`].
    pub fn ignore_site(mut self, site: impl AsRef<str>) -> Self {
        self.policy = self.take().ignore_site(site);
        self
    }

    /// Sets how long to wait until nothing is left; 2 s by default.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.policy.settle = limit;
        self
    }

    /// Searches for leaks, and waits for what is about to end, without blocking the thread.
    ///
    /// # Panics
    ///
    /// If something is left, with the report.
    pub async fn finish(mut self) {
        let report = self.registry.leaks(&self.policy).await;
        self.is_done = true;
        if !report.is_clean() {
            check::fail(&report, self.location);
        }
    }

    /// Takes the policy out, to be changed and put back.
    fn take(&mut self) -> LeakPolicy {
        mem::take(&mut self.policy)
    }

    /// Searches again and again, until nothing is left or the time is over.
    fn search_blocking(&self) -> LeakReport {
        let started = Instant::now();
        let is_alone = Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread);
        loop {
            let root = self.registry.root();
            let found = find::scan(root, self.registry.live_now(), &self.policy);
            let is_pending = found.pending;
            let report = LeakReport::new(found, None, Vec::new());
            let is_over = is_alone || started.elapsed() >= self.policy.settle;
            // A close that is under way may leave something: wait until it has ended.
            if report.is_clean() && !is_pending || is_over {
                return report;
            }
            thread::sleep(INTERVAL);
        }
    }
}

impl Drop for LeakGuard {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if thread::panicking() {
            self.policy.settle = Duration::ZERO;
        }
        let report = self.search_blocking();
        if report.is_clean() {
            return;
        }
        if thread::panicking() {
            let what = "left behind, beside the panic, by the guard made";
            eprintln!("{}", check::message(what, &report, self.location));
        } else {
            check::fail(&report, self.location);
        }
    }
}
