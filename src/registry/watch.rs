//! [`LeakWatch`]: looking for leaks in a program that runs.

use crate::{
    clock,
    context::core::Core,
    event,
    leaks::{policy::LeakPolicy, report::LeakReport, settle},
    registry::handle::Registry,
};
use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::task::AbortHandle;

impl Registry {
    /// Looks for leaks in the background, some time after contexts have closed or begun to: one look for all of
    /// them. Each new leak is told once, in a warning event with its block of the report.
    ///
    /// `after` is the time between a close and the look, at most twice; nothing is looked at while nothing closes. It stops
    /// when the returned guard is dropped, or when the registry is gone, which it does not keep.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::LeakPolicy};
    /// use std::time::Duration;
    ///
    /// let registry = Registry::new();
    /// let watch = registry.watch_leaks(LeakPolicy::new(), Duration::from_secs(5));
    /// // … the service runs …
    /// drop(watch);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[must_use = "it stops when the guard is dropped"]
    pub fn watch_leaks(&self, policy: LeakPolicy, after: Duration) -> LeakWatch {
        let root = Arc::downgrade(self.root());
        let watching = tokio::spawn(watch(root, policy, after));
        LeakWatch(watching.abort_handle())
    }
}

/// Stops the looking when it is dropped. Made by [`Registry::watch_leaks`].
#[must_use = "it stops when the guard is dropped"]
pub struct LeakWatch(AbortHandle);

impl LeakWatch {
    /// Goes on looking for as long as the registry and the runtime live.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for LeakWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for LeakWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ended = self.0.is_finished();
        f.debug_struct("LeakWatch")
            .field("has_ended", &has_ended)
            .finish()
    }
}

/// Between two looks; without any time between them a paused clock would stand still.
const SHORTEST: Duration = Duration::from_millis(1);

async fn watch(root: Weak<Core>, policy: LeakPolicy, after: Duration) {
    let mut told = HashSet::new();
    let after = after.max(SHORTEST);
    loop {
        clock::sleep(after).await;
        let has_closed = root
            .upgrade()
            .map(|root| root.node.table.tracking.take_closes());
        let found = match has_closed {
            Some(true) => settle::settle(&root, &policy, || false).await,
            Some(false) => continue,
            None => return,
        };
        let Some((found, settled)) = found else {
            return;
        };
        if found.is_closing {
            // What does not come to an end is looked at again.
            let Some(root) = root.upgrade() else { return };
            root.node.table.tracking.closing();
        }
        tell(
            &LeakReport::new(found, Some(settled), Vec::new()),
            &mut told,
        );
    }
}

/// Tells what was not told before.
fn tell(report: &LeakReport, told: &mut HashSet<String>) {
    for finding in report.findings() {
        if told.insert(finding.likeness()) {
            event::emit!(WARN, fingerprint = finding.fingerprint(), "leak: {finding}");
        }
    }
}
