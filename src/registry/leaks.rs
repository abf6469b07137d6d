//! Asking a registry for leaks.

use crate::{
    leaks::{find, growth::Growth, policy::LeakPolicy, report::LeakReport, settle},
    name::Name,
    registry::handle::Registry,
};
use std::sync::Arc;

impl Registry {
    /// Looks for leaks: facts, never guesses.
    ///
    /// What looks like a leak is given the policy's time to settle; the answer comes as soon as nothing does. It
    /// waits for things to go, not for time to pass: dropping the last handle of a context or a tracked value wakes it, and
    /// it looks again, in intervals from 1 ms to 100 ms, for the rest. With tokio's
    /// time paused the wait passes at once, as every sleep does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Level, Registry, leaks::{LeakKind, LeakPolicy}};
    /// use std::time::Duration;
    ///
    /// let registry = Registry::new();
    /// registry.set_level(Level::Holders);
    /// let conn = registry.context("conn-7");
    /// let forgotten = conn.clone();
    /// conn.close().await;
    /// drop(conn);
    ///
    /// let policy = LeakPolicy::new().settle(Duration::from_millis(10));
    /// let report = registry.leaks(&policy).await;
    /// let leak = &report.findings()[0];
    /// assert_eq!((leak.kind(), leak.name()), (LeakKind::ClosedButHeld, "conn-7"));
    /// assert!(leak.advice().starts_with("drop the handle taken at "));
    /// println!("{report}");
    /// # drop(forgotten);
    /// # }
    /// ```
    ///
    /// From a task of the registry it works as well; that task and its contexts are not counted. It may be
    /// called in a hook. In a destructor, or where there is no runtime, use [`leaks_now`](Self::leaks_now).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    ///
    /// # Performance
    ///
    /// Lists everything, in bounded steps, once for each look; about 200 ns a thing, more where handles are written
    /// down.
    pub async fn leaks(&self, policy: &LeakPolicy) -> LeakReport {
        let root = Arc::downgrade(self.root());
        let settled = settle::settle(&root, policy, || false).await;
        let (found, settled) = settled.expect("the registry is there");
        LeakReport::new(found, Some(settled), Vec::new())
    }

    /// As [`leaks`](Self::leaks), for synchronous code: one look, without waiting.
    pub fn leaks_now(&self, policy: &LeakPolicy) -> LeakReport {
        let root = self.root();
        let found = find::scan(root, root.node.table.live_now(), policy);
        LeakReport::new(found, None, Vec::new())
    }

    /// Begins to compare counts: what rises and never falls is leaking. See [`Growth`].
    pub async fn growth(&self) -> Growth {
        Growth::start(self.root()).await
    }

    /// Counts something of your own with everything else: listeners, entries of a cache. [`growth`](Self::growth)
    /// asks it at each sample, on the thread that samples. It lives as long as the registry, so let it hold a
    /// `Weak` of what it counts; one of the same name is replaced.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::sync::{Arc, Mutex};
    /// let listeners = Arc::new(Mutex::new(vec!["first"]));
    /// let registry = headcount::Registry::new();
    /// let weak = Arc::downgrade(&listeners);
    /// registry.probe("listeners", move || weak.upgrade().map_or(0, |them| them.lock().unwrap().len()));
    ///
    /// let mut growth = registry.growth().await;
    /// listeners.lock().unwrap().push("second");
    /// growth.sample().await;
    /// assert_eq!(growth.changes()[0].counts(), [1, 2]);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Never; a probe that panics is left out of that sample, with a warning event.
    pub fn probe(&self, name: impl Into<Name>, count: impl Fn() -> usize + Send + Sync + 'static) {
        let probes = &self.root().node.table.tracking.probes;
        probes.set(name.into().into_owned(), count);
    }

    /// Takes a probe out again. False if there is none of this name.
    pub fn remove_probe(&self, name: &str) -> bool {
        self.root().node.table.tracking.probes.remove(name)
    }
}
