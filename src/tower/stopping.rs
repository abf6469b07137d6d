//! When a server is to stop: its context begins to close, or to finish.

use crate::{context::state::Node, table::record::State};
use std::{pin::pin, sync::Arc};

/// Whether the context takes nothing new from outside any more.
pub(super) fn is_stopping(node: &Node) -> bool {
    node.state() != State::Open || node.gate.is_finishing()
}

/// Waits until that is so. A context that others need is open until those have closed.
pub(super) async fn stopping(node: Arc<Node>) {
    loop {
        // Registered before the question, or a close that begins in between would not wake it.
        let mut changed = pin!(node.changed.notified());
        changed.as_mut().enable();
        if is_stopping(&node) {
            return;
        }
        changed.await;
    }
}
