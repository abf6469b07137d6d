//! The beginning and the end of a close, and the way out of a gate. Nothing here waits.

use crate::{
    clock,
    context::{
        core::{Core, Node},
        current::{self, Scope},
        gate::OnLeave,
        reason::CloseReason,
        report::{CloseReport, CloseStatus},
        stragglers,
    },
    event, panics,
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
        notify_all(&core.node.changed);
    }
    first
}

/// Does what the last one out has to do.
#[inline]
pub(crate) fn on_leave(node: &Node, left: OnLeave) {
    match left {
        OnLeave::Nothing => {}
        OnLeave::NotifyDrained => notify_all(&node.drained),
        OnLeave::FinishClose => finish_undriven(node.arc()),
    }
}

/// Ends closes that have no driver, from a context up to the first ancestor that something is left of.
/// A loop, not a recursion: the chain may be 50,000 long (I13).
#[cold]
fn finish_undriven(node: Arc<Node>) {
    let mut closed = Vec::new();
    let mut next = Some(node);
    while let Some(node) = next.take() {
        let Some(core) = node.gate.take_undriven(&node.undriven, tend_undriven) else {
            break;
        };
        drop_owned(&core);
        let left = conclude(&core);
        match (&node.parent, left) {
            (Some(parent), OnLeave::FinishClose) => next = Some(Arc::clone(parent)),
            (Some(parent), left) => on_leave(parent, left),
            (None, _) => {}
        }
        closed.push(node);
    }
    for node in &closed {
        emit_closed(node);
    }
}

/// What a torn-down context owns may be the last handles of its children, which then wait for it as it waits for them:
/// once its tasks have left, and children are left that nobody drives, it does not keep its values any longer.
fn tend_undriven(core: &Arc<Core>) {
    let needs_driver = |child: &Arc<Core>| !child.drive.is_driven();
    if !stragglers::has_any(core) && core.children().iter().any(needs_driver) {
        drop_owned(core);
    }
}

/// Looks again after a close that nobody drives, if this is one.
pub(crate) fn look_after(node: &Arc<Node>) {
    if lock(&node.undriven).is_some() {
        finish_undriven(Arc::clone(node));
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
            lock(&core.log).failure(&*core.node, &failure);
            event::emit!(ERROR, context = %core.node.meta.name, "{failure}");
        }
    }
}

/// Ends the close: nothing of the context is left but handles. Returns what the parent's gate said
/// when this context went out of it, which is to be [handled](on_leave) before anybody hears of it.
pub(crate) fn conclude(core: &Arc<Core>) -> OnLeave {
    let node = &core.node;
    let report = report(core, CloseStatus::Closed);
    if !node.gate.end() {
        return OnLeave::Nothing;
    }
    if node.handles.count() == 0 {
        node.table.remove(node.meta.id);
    }
    let left = node.parent.as_ref().map_or(OnLeave::Nothing, |parent| {
        if let Some(parent) = parent.core.upgrade() {
            lock(&parent.children).remove(&node.meta.id);
            let log = lock(&core.log).clone();
            lock(&parent.log).child(&log);
        }
        parent.tally.child(node.counts());
        parent.gate.leave()
    });
    let _ = node.report.set(report);
    notify_all(&node.changed);
    node.table.tracking.closed();
    left
}

/// Says that a context has closed, when that is so for all who depend on it.
pub(crate) fn emit_closed(node: &Node) {
    if let Some(report) = node.report.get() {
        let (name, id, reason) = (&node.meta.name, node.meta.id, report.reason());
        event::emit!(DEBUG, context = %name, %id, %reason, "context closed");
    }
}

/// Wakes all who wait. What a waker of theirs panics with is nobody else's business.
pub(crate) fn notify_all(waiters: &Notify) {
    panics::contain(|| waiters.notify_waiters());
}

/// What can be said of a close that has begun, for whoever is inside and must not wait for it (I10).
pub(crate) fn begun_inside(core: &Core) -> Option<CloseReport> {
    let node = &core.node;
    let has_begun = node.gate.state() != State::Open && node.report.get().is_none();
    (has_begun && current::is_inside(node)).then(|| report(core, CloseStatus::Begun))
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
