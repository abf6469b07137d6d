//! Opening contexts.

use crate::{
    context::{
        close,
        coalesced_scan::CoalescedScan,
        core::{Core, Limits, Node, ROOT_ID},
        drive::Drive,
        driver,
        dropped::DroppedContexts,
        gate::Gate,
        handles::Handles,
        reason::CloseReason,
        refusal::RefusedLines,
        report::{CloseReport, CloseStatus, Log},
        stack::Stack,
        stragglers,
        tally::{Counts, Tally},
    },
    ledger::handle_log::Ledger,
    name::Label,
    panics,
    sync::{Mutex, lock},
    table::{
        record::{Facts, Meta, State},
        store::Table,
    },
};
use std::{
    collections::BTreeMap,
    panic::Location,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

/// What a new context shall be like.
pub(crate) struct Spec {
    pub(crate) facts: Facts,
    pub(crate) limits: Limits,
    pub(crate) close_on_panic: bool,
}

/// The node and core of a registry: the parent of its contexts, listed nowhere.
#[track_caller]
pub(crate) fn root() -> Arc<Core> {
    let meta = Meta::new(
        ROOT_ID,
        Facts {
            name: Label::borrowed("registry"),
            kind: Label::borrowed("registry"),
            location: Location::caller(),
        },
    );
    let table = Arc::new(Table::new());
    Arc::new_cyclic(|core| {
        let node = Arc::new_cyclic(|me| Node {
            me: Weak::clone(me),
            meta,
            parent: None,
            core: core.clone(),
            table,
            gate: Gate::new(),
            handles: Handles::none(),
            ledger: Ledger::default(),
            token: CancellationToken::new(),
            tally: Tally::new(),
            close_on_panic: false,
            report: OnceLock::new(),
            changed: Notify::new(),
            drained: Notify::new(),
            undriven: Mutex::new(None),
        });
        Core::new(node, None, Limits::default())
    })
}

/// Opens a context under `parent`, with one handle. If the parent is closing the new context is
/// closed from the start, and the answer is false.
pub(crate) fn open(parent: &Arc<Core>, spec: Spec) -> (Arc<Core>, bool) {
    match parent.node.gate.enter() {
        Ok(()) => {
            let entered = Entered(&parent.node);
            let core = build(parent, spec);
            // From here on it goes out when it has closed.
            std::mem::forget(entered);
            admit(parent, &core);
            (core, true)
        }
        Err(left) => {
            close::on_leave(&parent.node, left);
            let core = build(parent, spec);
            shut(&core);
            (core, false)
        }
    }
}

/// Who came in through a gate and goes out when this is dropped.
struct Entered<'a>(&'a Node);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        close::on_leave(self.0, self.0.gate.leave());
    }
}

fn build(parent: &Arc<Core>, spec: Spec) -> Arc<Core> {
    let table = &parent.node.table;
    Arc::new_cyclic(|core: &Weak<Core>| {
        let node = table.insert(spec.facts, |meta| {
            Arc::new_cyclic(|me| Node {
                me: Weak::clone(me),
                meta,
                parent: Some(Arc::clone(&parent.node)),
                core: core.clone(),
                table: Arc::clone(table),
                gate: Gate::new(),
                handles: Handles::one(),
                ledger: Ledger::default(),
                token: parent.node.token.child_token(),
                tally: Tally::new(),
                close_on_panic: spec.close_on_panic,
                report: OnceLock::new(),
                changed: Notify::new(),
                drained: Notify::new(),
                undriven: Mutex::new(None),
            })
        });
        let core = Core::new(node, Some(Arc::clone(parent.root())), spec.limits);
        if let Some(runtime) = Handle::try_current()
            .ok()
            .or_else(|| parent.runtime.get().cloned())
        {
            let _ = core.runtime.set(runtime);
        }
        core
    })
}

/// Makes the child known to its parent. A close of the parent that began since the child entered may
/// have walked past it, so the child looks again.
fn admit(parent: &Arc<Core>, child: &Arc<Core>) {
    lock(&parent.children).insert(child.node.meta.id, Arc::downgrade(child));
    if parent.node.gate.state() != State::Open {
        close::begin(child, CloseReason::Parent);
        driver::ensure_driver(child);
    }
}

/// Closed from the start: nothing ever gets in, and it is in nobody's way.
fn shut(core: &Core) {
    let node = &core.node;
    node.token.cancel();
    close::begin(core, CloseReason::Parent);
    core.drive.take();
    core.on_closing.seal();
    core.on_close.seal();
    core.owned.seal();
    node.gate.end();
    let why = (CloseReason::Parent, Duration::ZERO);
    let report = CloseReport::new(
        &node.meta.name,
        CloseStatus::Closed,
        why,
        Counts::default(),
        Log::default(),
    );
    let _ = node.report.set(report);
}

impl Core {
    fn new(node: Arc<Node>, root: Option<Arc<Core>>, limits: Limits) -> Self {
        Self {
            node,
            root,
            runtime: OnceLock::new(),
            limits,
            children: Mutex::new(BTreeMap::new()),
            on_closing: Stack::new(),
            on_close: Stack::new(),
            owned: Stack::new(),
            started: Mutex::new(Vec::new()),
            running: Mutex::default(),
            log: Mutex::default(),
            dropped: DroppedContexts::default(),
            begun: OnceLock::new(),
            closed_at: OnceLock::new(),
            drive: Drive::new(),
            refused_lines: RefusedLines::default(),
            stragglers_scan: CoalescedScan::default(),
            #[cfg(feature = "dump")]
            deadlocks: crate::context::deadlocks::Deadlocks::default(),
            latest: Mutex::new(BTreeMap::new()),
        }
    }
}

/// The last one out of a core that was never closed: only a registry's own, whose free tasks end
/// with it.
impl Drop for Core {
    fn drop(&mut self) {
        // It may be the last thing that keeps a dead runtime's memory, with values of users in it.
        panics::discard(self.runtime.take());
        if self.node.is_root() {
            self.node.gate.abort();
            stragglers::abort(&self.node.table);
            // Tracked `Arc`s know the context they belong to, and with it this table: let them go.
            self.node.table.clear();
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use crate::{Registry, context::tree};
    use std::sync::{Arc, Weak};

    /// I6: whatever was tracked by whom, and is dead or alive, a registry that goes leaves no memory behind.
    #[tokio::test]
    async fn a_registry_takes_its_table_along() {
        let registry = Registry::new();
        let table = Arc::downgrade(&registry.root().node.table);
        let ctx = registry.context("ctx");
        let (own, alive) = (registry.clone(), Arc::new("alive"));
        let tracked = Arc::clone(&alive);
        let track = async move {
            // The task's context is the parent of each entry.
            own.track(&tracked, "alive", "arc");
            for _ in 0..100 {
                own.track(&Arc::new("dead"), "dead", "arc");
            }
            drop(own.register("gone", "entry"));
            drop(own.own("gone", "value", ()));
        };
        ctx.spawn(track).await.unwrap();
        ctx.close().await;
        drop(ctx);
        assert!(table.strong_count() > 0);
        drop(registry);
        assert_eq!(table.strong_count(), 0);
        drop(alive);
    }

    #[test]
    fn a_root_alone_goes_whole() {
        let root = tree::root();
        let table: Weak<_> = Arc::downgrade(&root.node.table);
        drop(root);
        assert_eq!(table.strong_count(), 0);
    }
}
