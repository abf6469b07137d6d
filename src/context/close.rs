//! The beginning and the end of a close, and the way out of a gate. Nothing here waits.

use crate::{
    clock,
    context::{
        core::{Core, Node},
        current::{self, Scope},
        gate::Left,
        reason::CloseReason,
        report::{CloseReport, CloseStatus},
    },
    panics,
    sync::lock,
    table::record::State,
};
use std::sync::Arc;
use tokio::sync::Notify;

/// Begins the close; from here on the gate refuses. False if it had begun before: the first reason
/// wins (I8). The reason is there before the gate closes, so a close that has begun has one.
pub(crate) fn begin(core: &Core, reason: CloseReason) -> bool {
    let first = core.begun.set((reason, clock::now())).is_ok();
    if core.node.gate.begin() == State::Open {
        core.node.table.tracking.closing();
        ring(&core.node.changed);
    }
    first
}

/// Does what the last one out has to do.
#[inline]
pub(crate) fn settle(node: &Node, left: Left) {
    match left {
        Left::Quietly => {}
        Left::Drained => ring(&node.drained),
        Left::Orphaned => finish_orphans(node.arc()),
    }
}

/// Ends closes that have no driver, from a context up to the first ancestor that is not finished.
/// A loop, not a recursion: the chain may be 50,000 long (I13).
#[cold]
fn finish_orphans(node: Arc<Node>) {
    let mut next = Some(node);
    while let Some(node) = next {
        let Some(core) = lock(&node.orphan).take() else {
            return;
        };
        drop_owned(&core);
        let left = conclude(&core);
        next = match (&node.parent, left) {
            (Some(parent), Left::Orphaned) => Some(Arc::clone(parent)),
            (Some(parent), left) => return settle(parent, left),
            (None, _) => return,
        };
    }
}

/// Drops owned values, latest first, until there are no more; a panic in one is noted.
pub(crate) fn drop_owned(core: &Core) {
    while let Some(owned) = core.owned.pop_or_seal() {
        let scope = Scope::Hook(Arc::clone(&core.node));
        let panic = current::enter(&scope, || panics::discard(owned.value));
        if let Some(panic) = panic {
            let failure = format!(
                "{} {} panicked while it was dropped: {panic}",
                owned.name, owned.id
            );
            tracing::error!(context = %core.node.meta.name, "{failure}");
            lock(&core.log).failure(&*core.node, &failure);
        }
    }
}

/// Ends the close: nothing of the context is left but handles. Returns what the parent's gate said
/// when this context went out of it.
pub(crate) fn conclude(core: &Arc<Core>) -> Left {
    let node = &core.node;
    let report = report(core, CloseStatus::Closed);
    if !node.gate.end() {
        return Left::Quietly;
    }
    if node.handles.count() == 0 {
        node.table.remove(node.meta.id);
    }
    let left = node.parent.as_ref().map_or(Left::Quietly, |parent| {
        if let Some(parent) = parent.core.upgrade() {
            lock(&parent.children).remove(&node.meta.id);
            let log = lock(&core.log).clone();
            lock(&parent.log).child(&log);
        }
        parent.tally.child(node.counts());
        parent.gate.leave()
    });
    let reason = report.reason().clone();
    let _ = node.report.set(report);
    ring(&node.changed);
    node.table.tracking.closed();
    tracing::debug!(context = %node.meta.name, id = %node.meta.id, reason = %reason, "context closed");
    left
}

/// Wakes all who wait. What a waker of theirs panics with is nobody else's business.
pub(crate) fn ring(bell: &Notify) {
    panics::contain(|| bell.notify_waiters());
}

/// What can be said of the close so far.
pub(crate) fn report(core: &Core, status: CloseStatus) -> CloseReport {
    let (reason, at) = core
        .begun
        .get()
        .expect("a close that is reported has begun");
    let why = (reason.clone(), clock::now().saturating_duration_since(*at));
    let log = lock(&core.log).clone();
    CloseReport::new(&core.node.meta.name, status, why, core.node.counts(), log)
}
