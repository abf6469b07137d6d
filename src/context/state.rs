//! What a context is made of: a node that is known as long as anything refers to it, and a core that is there as long as the
//! context is open or closing.
//!
//! A [`Node`] is the identity of a context: its name, its gate, its counters, its report. Tasks, weak handles and listings
//! hold nodes. A [`Core`] is everything that a close has to bring to an end: tasks, hooks, owned values, children. Only strong
//! handles hold cores, and the driver of a close while it runs; all others have the `Weak` in the node (I3).
//!
//! They are two, because they end at different times. The core of a registry is held by its handles and the cores of its
//! contexts, and ends the registry's own tasks when it goes; those hold its node. And a core may be the last to hold the memory
//! of a runtime that has shut down, which a weak handle must not keep.

use crate::{
    context::{
        cancellation::Cancellation,
        close_reason::CloseReason,
        failure::{FailurePolicy, OnFailure},
        gate::Gate,
        handles::Handles,
        haste::{Haste, Limits},
        hook_count::HookCount,
        hooks::Hooks,
        lease::Lease,
        log::Log,
        observers::Observers,
        quota::{Quota, QuotaPermit, Quotas},
        report::CloseReport,
        runtimes::Runtimes,
        slots::Slots,
        tally::{Counts, Tally},
        telling::Telling,
        weak_handles::WeakHandles,
        weak_set::WeakSet,
    },
    error::RefusedReason,
    events::{Event, Told, What},
    id::ResourceId,
    ledger::handle_log::{HandleId, Ledger},
    name::Label,
    panics,
    poll::scope,
    rare::Rare,
    registry::state::RegistryState,
    sync::{AtomicU8, AtomicU32, Mutex, Notify, Ordering::SeqCst, SetOnce, lock},
    table::{
        record::{Detail, Facts, Meta, State},
        store::Table,
    },
};
use std::{
    iter,
    ops::Deref,
    panic::Location,
    sync::{Arc, OnceLock, Weak},
};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;

/// The id of a registry's own node.
pub(crate) const ROOT_ID: ResourceId = ResourceId::REGISTRY;
/// How many ancestors are asked whether they close.
const ASKED_ABOVE: usize = 64;

/// What is known of a context, as long as anything refers to it.
///
/// What every task writes comes first, beside the counts of the `Arc`, which every task writes as well.
#[repr(C)]
pub(crate) struct Node {
    pub(crate) gate: Gate,
    /// How many tasks it may have at once, if that is limited. Beside the gate, because it is asked for right after that.
    pub(crate) max_tasks: Option<Arc<Quota>>,
    pub(crate) tally: Tally,
    pub(crate) me: Weak<Node>,
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<Node>>,
    pub(crate) core: Weak<Core>,
    pub(crate) table: Arc<Table>,
    pub(crate) handles: Handles,
    pub(crate) weak_handles: WeakHandles,
    pub(crate) hook_count: HookCount,
    /// Who has them.
    pub(crate) ledger: Ledger,
    /// Its own, not a child of the parent's: a context that others need is not cancelled with its parent.
    cancellation: Cancellation,
    /// The contexts that this one needs, which stay open until it is closed (I17).
    pub(crate) needs: Box<[Arc<Node>]>,
    /// Why and when the close was first asked for. A context that others need may be open then.
    pub(crate) begun: SetOnce<Box<(CloseReason, Instant)>>,
    /// By when the close is to be over.
    pub(crate) haste: Mutex<Rare<Haste>>,
    /// How many children are released and not closed.
    pub(crate) released: AtomicU32,
    /// How many tasks see to it that it closes when it has run dry.
    pub(crate) watches: AtomicU32,
    /// 1 once nothing is left of the context but work that cannot be ended: what closes after it does not wait for that.
    pub(crate) is_released: AtomicU8,
    /// 1 once its close is torn down, because no runtime is left: what ends its tasks then is that.
    pub(crate) is_abandoned: AtomicU8,
    /// How it is finishing: the flags above.
    pub(crate) finish: AtomicU8,
    /// Whether this context, or one that it is in, needs another one.
    pub(crate) has_needs: bool,
    /// Whether dropping the last handle is the planned way to close it.
    pub(crate) closes_by_drop: bool,
    /// The core of a context that is finishing and has no handles any more, until its close begins.
    pub(crate) kept: Mutex<Option<Arc<Core>>>,
    /// What follows from a failure of one of its tasks.
    pub(crate) policy: FailurePolicy<Node>,
    /// What listings say of it beside its state.
    pub(crate) detail: OnceLock<Box<Arc<dyn Detail>>>,
    /// Set when the close has ended, last of all.
    pub(crate) report: SetOnce<CloseReport>,
    /// Notified when it begins to finish, when the close begins, when there is more haste, when it ends, and when it lost its driver.
    pub(crate) changed: Notify,
    /// Notified when the last one left the gate and a waiter wants to know.
    pub(crate) drained: Notify,
    /// The core of a close that no runtime is left to drive, until the last one leaves.
    pub(crate) undriven: Mutex<Option<Arc<Core>>>,
}

/// What a close brings to an end.
///
/// A node keeps the memory of this as long as it is referred to, by its `Weak`: so the parts lie apart, and go with the core.
pub(crate) struct Core(Box<CoreParts>);

/// What a [`Core`] is made of.
pub(crate) struct CoreParts {
    pub(crate) node: Arc<Node>,
    /// The core of the registry; `None` in that core itself.
    root: Option<Arc<Core>>,
    /// What all contexts of the registry share.
    pub(crate) registry: Arc<RegistryState>,
    /// The runtime the context was opened on, or the first one it saw.
    pub(crate) runtimes: Runtimes,
    /// 1 if it is watched while it closes.
    pub(crate) is_watched: AtomicU8,
    /// Those of the parent, if they are the same.
    pub(crate) limits: Arc<Limits>,
    /// How many children it may have at once, if that is limited.
    pub(crate) max_children: Option<Arc<Quota>>,
    /// Its own place among its parent's, until it is closed.
    pub(crate) quota_permit: Mutex<Option<QuotaPermit>>,
    /// Open and closing children. They hold themselves, as long as they have handles or close.
    pub(crate) children: Mutex<WeakSet<Core>>,
    pub(crate) hooks: Hooks,
    pub(crate) log: Mutex<Log>,
    /// The contexts that need this one.
    pub(crate) dependents: Mutex<Dependents>,
    /// Gives back the handles to what this context needs, when it is closed.
    pub(crate) give_back: Mutex<Rare<Vec<GiveBack>>>,
    /// Who is told of the close.
    pub(crate) observers: Observers,
    /// The line that asked for it, if one did.
    pub(crate) closed_at: OnceLock<&'static Location<'static>>,
    /// Who drives the close.
    pub(crate) lease: Lease,
    /// Where its close tells what it has to tell.
    pub(crate) telling: OnceLock<Arc<Telling>>,
    /// Made with the first task that is started in one.
    slots: OnceLock<Arc<Slots>>,
}

/// What a new context shall be like.
pub(crate) struct ContextOptions {
    pub(crate) facts: Facts,
    pub(crate) limits: Limits,
    /// What it needs.
    pub(crate) needs: Vec<Arc<Core>>,
    pub(crate) closes_by_drop: bool,
    /// `None` leaves it to the contexts above.
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) max_tasks: Option<usize>,
    pub(crate) max_children: Option<usize>,
}

/// Settings of a new node.
#[derive(Default)]
struct NodeSettings {
    on_failure: Option<OnFailure>,
    closes_by_drop: bool,
    max_tasks: Option<Arc<Quota>>,
}

/// The contexts that need one, and whether its close waits for them.
#[derive(Default)]
pub(crate) struct Dependents {
    /// Those that are not closed.
    pub(crate) open: WeakSet<Core>,
    /// The close was asked for, and begins when there are none.
    pub(crate) is_awaited: bool,
}

/// Gives back a handle to a context that is not needed any more.
pub(crate) type GiveBack = Box<dyn FnOnce() + Send>;

impl Node {
    /// A node of a new context, or with no parent of a new registry.
    fn new(
        (me, core): (&Weak<Node>, &Weak<Core>),
        meta: Meta,
        table: &Arc<Table>,
        parent: Option<&Arc<Node>>,
        needs: Box<[Arc<Node>]>,
        settings: NodeSettings,
    ) -> Self {
        let NodeSettings {
            on_failure,
            closes_by_drop,
            max_tasks,
        } = settings;
        let above = parent.map(|parent| (parent, &parent.policy));
        Self {
            has_needs: !needs.is_empty() || parent.is_some_and(|parent| parent.has_needs),
            needs,
            begun: SetOnce::new(),
            haste: Mutex::default(),
            is_released: AtomicU8::new(0),
            is_abandoned: AtomicU8::new(0),
            released: AtomicU32::new(0),
            finish: AtomicU8::new(0),
            watches: AtomicU32::new(0),
            kept: Mutex::new(None),
            me: Weak::clone(me),
            meta,
            parent: parent.cloned(),
            core: Weak::clone(core),
            table: Arc::clone(table),
            gate: Gate::new(),
            max_tasks,
            handles: parent.map_or_else(Handles::none, |_| Handles::one()),
            weak_handles: WeakHandles::default(),
            hook_count: HookCount::default(),
            ledger: Ledger::default(),
            cancellation: Cancellation::new(),
            tally: Tally::new(),
            policy: FailurePolicy::of(on_failure, above),
            closes_by_drop,
            detail: OnceLock::new(),
            report: SetOnce::new(),
            changed: Notify::new(),
            drained: Notify::new(),
            undriven: Mutex::new(None),
        }
    }

    /// The node, to be held.
    pub(crate) fn arc(&self) -> Arc<Self> {
        self.me
            .upgrade()
            .expect("it is held by the caller, who refers to it")
    }

    /// Records a handle that is counted already.
    #[inline]
    pub(crate) fn hold(&self, location: &'static Location<'static>) -> HandleId {
        self.ledger
            .take(&self.table.tracking, location, scope::acquirer)
    }

    /// Tells subscribers of something that happened to it, if there are any.
    #[inline]
    pub(crate) fn tell(&self, what: impl FnOnce() -> What) -> Told {
        self.send(|| Event::of(self, what()))
    }

    /// Sends subscribers an event, if there are any.
    #[inline]
    pub(crate) fn send(&self, event: impl FnOnce() -> Event) -> Told {
        let events = &self.table.events;
        if events.is_heard() {
            events.send(event())
        } else {
            Told::default()
        }
    }

    /// What became of its tasks and of those below it.
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.tally.counts();
        Counts {
            finished: counts.finished + self.gate.finished(),
            ..counts
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.meta.id.index == ROOT_ID.index
    }

    /// Takes it off the list, because it is closed and has no handles.
    pub(crate) fn unlist(&self) -> Told {
        if self.table.remove(self.meta.id) {
            let outlived = &self.table.tracking.outlived;
            self.weak_handles.outlive(outlived, self.meta.location);
            return self.tell(|| What::Gone);
        }
        Told::default()
    }

    /// The contexts it is in, from the inside out, and the registry's own node.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &Node> {
        iter::successors(self.parent.as_deref(), |node| node.parent.as_deref())
    }

    /// Whether the close of a context not far above has begun.
    pub(crate) fn is_closing_above(&self) -> bool {
        self.ancestors()
            .take(ASKED_ABOVE)
            .any(|node| node.gate.state() != State::Open)
    }

    /// The nodes that this one keeps.
    fn take_others(&mut self) -> Vec<Arc<Node>> {
        let mut others = std::mem::take(&mut self.needs).into_vec();
        others.extend(self.parent.take());
        others
    }

    /// Why the close was asked for, if it was.
    pub(crate) fn close_reason(&self) -> Option<&CloseReason> {
        self.begun.get().map(|begun| &begun.0)
    }

    /// The token, which is cancelled when the close begins.
    pub(crate) fn token(&self) -> &CancellationToken {
        self.cancellation.token(|| self.gate.state() != State::Open)
    }

    /// Cancels the token, once the gate has closed.
    pub(crate) fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// By when its close is to be over.
    pub(crate) fn haste(&self) -> Haste {
        let haste = lock(&self.haste);
        haste.get().copied().unwrap_or_default()
    }

    /// Waits until the close begins, and says why.
    pub(crate) async fn cancelled(&self) -> CloseReason {
        self.token().cancelled().await;
        let reason = self.close_reason().cloned();
        reason.expect("only a close cancels the token, and it has a reason")
    }

    /// Whether it stays open without handles: a registry, and a context that is finishing.
    fn closes_later(&self) -> bool {
        self.is_root() || self.is_finishing_by_itself()
    }

    /// How far along it is. Without handles it is not open any more, though the drop of the last one may need another moment
    /// to close the gate.
    pub(crate) fn state(&self) -> State {
        match self.gate.state() {
            // Read after the gate: handles do not come back, so this answer is never taken back either.
            State::Open if self.handles.count() == 0 && !self.closes_later() => State::Closing,
            state => state,
        }
    }

    /// Whether the close has begun: what the token says as well, without its mutex.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state() != State::Open
    }
}

/// The chains of parents and needs are let go one by one: they may be 50,000 long (I13).
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.take_others();
        while let Some(node) = next.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                next.extend(node.take_others());
            }
        }
    }
}

impl Core {
    /// The node and core of a registry: the parent of its contexts, listed nowhere.
    #[track_caller]
    pub(crate) fn of_registry(limits: Limits, on_failure: Option<OnFailure>) -> Arc<Self> {
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
            let needs = Box::default();
            let settings = NodeSettings {
                on_failure,
                ..NodeSettings::default()
            };
            let node =
                Arc::new_cyclic(|me| Node::new((me, core), meta, &table, None, needs, settings));
            Self::new(node, None, limits, None)
        })
    }

    /// A new context under `parent`, listed, with one handle. It is in no gate and no list of children yet.
    pub(crate) fn below(parent: &Arc<Self>, options: ContextOptions) -> Arc<Self> {
        let ContextOptions {
            facts,
            limits,
            on_failure,
            needs,
            closes_by_drop,
            max_tasks,
            max_children,
        } = options;
        let quotas = Quotas {
            tasks: max_tasks.map(Quota::new),
            children: max_children.map(Quota::new),
        };
        let max_children = quotas.children.clone();
        let settings = NodeSettings {
            on_failure,
            closes_by_drop,
            max_tasks: quotas.tasks.clone(),
        };
        let (table, above) = (&parent.node.table, &parent.node);
        // A child is never listed before its parent: leak reports name the outermost context of a cycle.
        above.meta.precede();
        let needs: Box<[_]> = needs.iter().map(|need| Arc::clone(&need.node)).collect();
        needs.iter().for_each(|need| need.meta.precede());
        let core = Arc::new_cyclic(|core| {
            let node = table.insert(facts, |meta| {
                Arc::new_cyclic(|me| {
                    let above = Some(above);
                    Node::new((me, core), meta, table, above, needs, settings)
                })
            });
            if quotas.tasks.is_some() || quotas.children.is_some() {
                node.set_detail(Arc::new(quotas));
            }
            let core = Self::new(node, Some(parent), limits, max_children);
            if let Some(runtime) = Handle::try_current()
                .ok()
                .or_else(|| parent.runtimes.latest())
            {
                core.runtimes.set(runtime);
            }
            core
        });
        // Before its parent knows it, and may close it.
        drop(core.node.tell(|| What::Opened));
        core
    }

    fn new(
        node: Arc<Node>,
        parent: Option<&Arc<Self>>,
        limits: Limits,
        max_children: Option<Arc<Quota>>,
    ) -> Self {
        let registry = parent
            .map(|parent| Arc::clone(&parent.registry))
            .unwrap_or_default();
        #[cfg(feature = "testing")]
        let hooks = Hooks::counted(&registry.hooks);
        #[cfg(not(feature = "testing"))]
        let hooks = Hooks::default();
        let same = parent.filter(|parent| *parent.limits == limits);
        let limits = same.map_or_else(|| Arc::new(limits), |parent| Arc::clone(&parent.limits));
        Self(Box::new(CoreParts {
            node,
            root: parent.map(|parent| Arc::clone(parent.root())),
            registry,
            runtimes: Runtimes::default(),
            is_watched: AtomicU8::new(0),
            limits,
            max_children,
            quota_permit: Mutex::new(None),
            children: Mutex::default(),
            hooks,
            log: Mutex::default(),
            dependents: Mutex::default(),
            give_back: Mutex::default(),
            observers: Observers::default(),
            closed_at: OnceLock::new(),
            lease: Lease::new(),
            telling: OnceLock::new(),
            slots: OnceLock::new(),
        }))
    }

    /// The core of the registry this context belongs to.
    pub(crate) fn root(self: &Arc<Self>) -> &Arc<Core> {
        self.root.as_ref().unwrap_or(self)
    }

    /// The slots that tasks are started in.
    pub(crate) fn slots(&self) -> &Arc<Slots> {
        self.slots.get_or_init(Arc::default)
    }

    /// The children that have not closed.
    pub(crate) fn children(&self) -> Vec<Arc<Core>> {
        lock(&self.children).all().collect()
    }

    /// A runtime that is running.
    #[cold]
    pub(crate) fn runtime_at_hand(&self) -> Result<Handle, RefusedReason> {
        let repeats = &self.registry.repeats;
        self.runtimes.running(&self.node.meta, repeats)
    }

    /// Whether there are children that are neither closed nor released.
    pub(crate) fn has_open_children(&self) -> bool {
        let children = lock(&self.children).len();
        children > self.node.released.load(SeqCst) as usize
    }

    /// Whether the close of this context waits for tasks of its own.
    pub(crate) fn has_tasks(&self) -> bool {
        let children = lock(&self.children).len() as u64;
        self.node.gate.inside() > children
    }
}

impl Deref for Core {
    type Target = CoreParts;

    #[inline]
    fn deref(&self) -> &CoreParts {
        &self.0
    }
}

impl AsRef<Hooks> for Core {
    fn as_ref(&self) -> &Hooks {
        &self.hooks
    }
}

/// A core that was never closed is a registry's own, whose tasks end with it.
impl Drop for Core {
    fn drop(&mut self) {
        // It may be the last thing that keeps a dead runtime's memory, with values of users in it.
        panics::discard(self.0.runtimes.take());
        // Weak handles keep the node, and what it says of strong ones is of no use any more.
        self.node.ledger.clear();
        if self.node.is_root() {
            let table = &self.node.table;
            self.node.gate.abort();
            table.abort_told();
            // Tracked `Arc`s know the context they belong to, and with it this table: let them go.
            table.clear();
            drop(table.events.end());
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
