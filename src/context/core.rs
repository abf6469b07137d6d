//! What a context is made of: a node that is known as long as anybody asks, and a core that is there
//! as long as it is open or closing.
//!
//! A [`Node`] is the identity of a context: its name, its gate, its counters, its report. Tasks, weak
//! handles and listings hold nodes. A [`Core`] is everything that a close has to bring to an end:
//! tasks, hooks, owned values, children. Only strong handles hold cores, and the driver of a close
//! while it runs; all others have the `Weak` in the node (I3).

use crate::{
    context::{
        callback::{Callback, Origin},
        coalesced_scan::CoalescedScan,
        drive::Drive,
        dropped::DroppedContexts,
        gate::Gate,
        handles::Handles,
        reason::CloseReason,
        refusal::RefusedLines,
        report::{CloseReport, Log},
        stack::Stack,
        tally::{Counts, Tally},
    },
    id::ResourceId,
    ledger::handle_log::{HandleId, Ledger},
    poll::scope,
    sync::{Mutex, lock},
    table::{
        record::{Meta, State},
        store::Table,
    },
};
use futures::future::BoxFuture;
use std::{
    any::Any,
    collections::BTreeMap,
    panic::Location,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// The index that marks the node of a registry itself, which is in no table.
const ROOT: u32 = u32::MAX;
/// The id of a registry's own node.
pub(crate) const ROOT_ID: ResourceId = ResourceId {
    table: 0,
    index: ROOT,
    generation: ROOT,
};

/// What is known of a context, as long as anybody asks.
///
/// What every task writes comes first, on a cache line of its own, and away from the rest.
#[repr(C, align(128))]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    pub(crate) tally: Tally,
    pub(crate) me: Weak<Node>,
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<Node>>,
    pub(crate) core: Weak<Core>,
    pub(crate) table: Arc<Table>,
    pub(crate) handles: Handles,
    /// Who has them.
    pub(crate) ledger: Ledger,
    pub(crate) token: CancellationToken,
    pub(crate) close_on_panic: bool,
    /// Set when the close has ended, last of all.
    pub(crate) report: OnceLock<CloseReport>,
    /// Rings when the close begins, when it ends, and when it lost its driver.
    pub(crate) changed: Notify,
    /// Rings when the last one left the gate and somebody wants to know.
    pub(crate) drained: Notify,
    /// The core of a close that no runtime is left to drive, until the last one leaves.
    pub(crate) undriven: Mutex<Option<Arc<Core>>>,
}

/// What a close brings to an end.
pub(crate) struct Core {
    pub(crate) node: Arc<Node>,
    /// The core of the registry; `None` in that core itself.
    pub(crate) root: Option<Arc<Core>>,
    /// The runtime the context was opened on, or the first one it saw.
    pub(crate) runtime: OnceLock<Handle>,
    pub(crate) limits: Limits,
    /// Open and closing children. They hold themselves, as long as they have handles or close.
    pub(crate) children: Mutex<BTreeMap<ResourceId, Weak<Core>>>,
    /// Hooks that start when the close begins.
    pub(crate) on_closing: Stack<Callback>,
    /// Hooks that run when everything has left.
    pub(crate) on_close: Stack<Callback>,
    pub(crate) owned: Stack<Owned>,
    /// `on_closing` hooks that were started and not yet awaited.
    pub(crate) started: Mutex<Vec<BoxFuture<'static, ()>>>,
    /// Where the hooks come from that are running just now.
    pub(crate) running: Mutex<Vec<Origin>>,
    pub(crate) log: Mutex<Log>,
    /// In a registry's own: contexts whose last handle was dropped while they were open.
    pub(crate) dropped: DroppedContexts,
    /// Why and when the close began.
    pub(crate) begun: OnceLock<(CloseReason, Instant)>,
    /// The line that asked for it, if one did.
    pub(crate) closed_at: OnceLock<&'static Location<'static>>,
    pub(crate) drive: Drive,
    /// In a registry's own: how often each line was refused.
    pub(crate) refused_lines: RefusedLines,
    /// In a registry's own: the scan for tasks that outlived their grace period.
    pub(crate) stragglers_scan: CoalescedScan,
    /// In a registry's own: who looks for tasks that wait for each other.
    #[cfg(feature = "dump")]
    pub(crate) deadlocks: crate::context::deadlocks::Deadlocks,
    /// The latest superseding task of each name.
    pub(crate) latest: Mutex<BTreeMap<String, ResourceId>>,
}

/// How long a close waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For tasks, between their cancellation and their abort.
    pub(crate) grace: Duration,
    /// For each hook.
    pub(crate) hook: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            hook: Duration::from_secs(5),
        }
    }
}

/// A value that lives until the close.
pub(crate) struct Owned {
    pub(crate) id: ResourceId,
    pub(crate) name: String,
    pub(crate) value: Box<dyn Any + Send>,
}

impl Node {
    /// The node, to be held.
    pub(crate) fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("it is held by whoever asks")
    }

    /// Writes down a handle that is counted already.
    #[inline]
    pub(crate) fn hold(&self, location: &'static Location<'static>) -> HandleId {
        self.ledger
            .take(&self.table.tracking, location, scope::acquirer)
    }

    /// What became of its tasks and of those below it.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.tally.counts();
        Counts {
            finished: counts.finished + self.gate.finished(),
            ..counts
        }
    }

    /// The hooks that its close waits for just now, those of descendants included.
    #[cfg(feature = "dump")]
    pub(crate) fn running_hooks(&self) -> Vec<Arc<crate::poll::running_hooks::RunningHook>> {
        let mut hooks = self.table.hooks.all();
        hooks.retain(|hook| hook.is_below(self));
        hooks
    }

    pub(crate) fn is_root(&self) -> bool {
        self.meta.id.index == ROOT
    }

    /// Whether this is `other` or lies below it in the tree.
    pub(crate) fn is_inside(&self, other: &Node) -> bool {
        let mut next = Some(self);
        while let Some(node) = next {
            if std::ptr::eq(node, other) {
                return true;
            }
            next = node.parent.as_deref();
        }
        false
    }

    /// How far along it is. Without handles it is not open any more, though whoever dropped the last
    /// one may need another moment to close the gate.
    pub(crate) fn state(&self) -> State {
        match self.gate.state() {
            State::Open if self.handles.count() == 0 && !self.is_root() => State::Closing,
            state => state,
        }
    }

    /// Whether the close has begun: what `is_cancelled` tells, without the token's mutex.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state() != State::Open
    }
}

/// The chain of parents is let go one by one: it may be 50,000 long (I13).
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}

impl Core {
    /// The core of the registry this context belongs to.
    pub(crate) fn root(self: &Arc<Self>) -> &Arc<Core> {
        self.root.as_ref().unwrap_or(self)
    }

    /// The runtime to work on: the one remembered, else this thread's, which is remembered.
    #[inline]
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        if self.runtime.get().is_none() {
            if let Ok(handle) = Handle::try_current() {
                let _ = self.runtime.set(handle);
            }
        }
        self.runtime.get()
    }

    /// The children that have not closed.
    pub(crate) fn children(&self) -> Vec<Arc<Core>> {
        lock(&self.children)
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
