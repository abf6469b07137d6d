//! [`LeakWatch`]: looking for leaks in a program that runs.

use crate::{
    clock,
    context::state::Core,
    event,
    leaks::{find, policy::LeakPolicy, report::LeakReport},
};
use std::{collections::HashSet, fmt, sync::Weak, time::Duration};
use tokio::task::AbortHandle;

/// Stops the looking when it is dropped. Made by [`Registry::watch_leaks`](crate::Registry::watch_leaks).
#[must_use = "it stops when the guard is dropped"]
pub struct LeakWatch(AbortHandle);

impl LeakWatch {
    pub(crate) fn new(root: Weak<Core>, policy: LeakPolicy, after: Duration) -> Self {
        let watching = tokio::spawn(watch(root, policy, after));
        Self(watching.abort_handle())
    }

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

/// Between two scans; without any time between them a paused clock would stand still.
const SHORTEST: Duration = Duration::from_millis(1);

async fn watch(root: Weak<Core>, policy: LeakPolicy, after: Duration) {
    let mut reported = HashSet::new();
    let after = after.max(SHORTEST);
    loop {
        clock::sleep(after).await;
        let has_closed = root
            .upgrade()
            .map(|root| root.node.table.tracking.take_closes());
        let found = match has_closed {
            Some(true) => find::settle(&root, &policy, || false).await,
            Some(false) => continue,
            None => return,
        };
        let Some((found, settled)) = found else {
            return;
        };
        if found.is_closing {
            // A close that does not come to an end is scanned again.
            let Some(root) = root.upgrade() else { return };
            root.node.table.tracking.closing();
        }
        emit_new(
            &LeakReport::new(found, Some(settled), Vec::new()),
            &mut reported,
        );
    }
}

/// Reports the leaks that were not reported before.
fn emit_new(report: &LeakReport, reported: &mut HashSet<String>) {
    for finding in report.findings() {
        if reported.insert(finding.likeness()) {
            event::emit!(WARN, fingerprint = finding.fingerprint(), "leak: {finding}");
        }
    }
}
