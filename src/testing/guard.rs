//! [`LeakGuard`]: for tests that cannot be wrapped.

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

/// Fails a test that leaves something behind in a registry, when it is dropped, or better, when it is
/// [`finish`](Self::finish)ed.
///
/// For tests that cannot be wrapped into a [`check`](crate::testing::check): those that share a registry, or set
/// one up in a fixture.
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
/// With the report, if something is left; not while a panic unwinds already, when the report is printed
/// instead. Dropping it blocks the thread for up to its time to settle while it looks again and again; on a
/// `current_thread` runtime nothing could go meanwhile, so it looks once.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once sees nothing"]
pub struct LeakGuard {
    registry: Registry,
    policy: LeakPolicy,
    location: &'static Location<'static>,
    is_done: bool,
}

/// Between two looks of a guard that blocks.
const INTERVAL: Duration = Duration::from_millis(2);

impl LeakGuard {
    /// Nothing may be left in this registry; things have 2 s to go.
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

    /// But for what is alive now.
    pub fn ignoring_current(mut self) -> Self {
        self.policy = self.take().ignore(&self.registry.live_now());
        self
    }

    /// But for things of this kind, and what only they keep alive.
    ///
    /// # Panics
    ///
    /// If the kind is empty.
    #[track_caller]
    pub fn ignore_kind(mut self, kind: impl AsRef<str>) -> Self {
        self.policy = self.take().ignore_kind(kind);
        self
    }

    /// But for things that were made in this file or on this line, and what only they keep alive; see
    /// [`LeakPolicy::ignore_site`].
    ///
    /// # Panics
    ///
    /// If it names no file.
    #[track_caller]
    pub fn ignore_site(mut self, site: impl AsRef<str>) -> Self {
        self.policy = self.take().ignore_site(site);
        self
    }

    /// How long things may take to go.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.policy.settle = limit;
        self
    }

    /// Looks, and waits for what is on its way without blocking anybody.
    ///
    /// # Panics
    ///
    /// With the report, if something is left.
    pub async fn finish(mut self) {
        let report = self.registry.leaks(&self.policy).await;
        self.is_done = true;
        if !report.is_clean() {
            check::fail(&report, self.location);
        }
    }

    /// The policy, to be changed and put back.
    fn take(&mut self) -> LeakPolicy {
        mem::take(&mut self.policy)
    }

    /// Looks until nothing is left or time is up.
    fn look_blocking(&self) -> LeakReport {
        let started = Instant::now();
        let is_alone = Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread);
        loop {
            let root = self.registry.root();
            let found = find::look(root, self.registry.live_now(), &self.policy);
            let is_pending = found.pending;
            let report = LeakReport::new(found, None, Vec::new());
            let is_over = is_alone || started.elapsed() >= self.policy.settle;
            // What a close leaves is seen when it has ended.
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
        let report = self.look_blocking();
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
