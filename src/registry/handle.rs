//! [`Registry`]: the handle.

use crate::{
    context::{
        builder::ContextBuilder,
        core::Core,
        current,
        handle::{self, Context},
        reason::CloseReason,
        report::CloseReport,
        stragglers::StillClosing,
        tree,
    },
    id::ResourceId,
    ledger::level::Level,
    name::{Name, label},
    poll::waiting::{For, waiting},
    table::{
        live::Live,
        record::{Facts, Record},
        registration::Registration,
        store::Table,
    },
    tracked::Tracked,
};
use std::{fmt, future::poll_fn, panic::Location, pin::pin, sync::Arc, time::Duration};

/// A registry lists everything that is alive, with its name, kind, age, parent, and the line that created it.
///
/// It lists tasks and contexts for as long as they live, and whatever else is [`register`](Self::register)ed,
/// [`own`](Self::own)ed or [`track`](Self::track)ed. It keeps none of them alive (I3, I5). Clones are cheap and refer to the
/// same registry. Different registries are independent of each other.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::Registry;
///
/// let registry = Registry::new();
/// let server = registry.context("server");
/// server.task("accept").cancellable().spawn(std::future::pending::<()>());
///
/// println!("{}", registry.live().await);
/// assert_eq!(registry.count(), 2);
///
/// assert_eq!(registry.close().await.cancelled(), 1);
/// drop(server);
/// assert!(registry.is_empty());
/// # }
/// ```
///
/// # Performance
///
/// Registering and removing an entry are lock-free. Together they take less time than an insertion into a `DashMap` and a
/// removal from it, however many entries there are. Memory is O(live): the table shrinks again (I6).
#[derive(Clone)]
pub struct Registry {
    root: Arc<Core>,
}

impl Registry {
    /// A registry of its own.
    #[track_caller]
    pub fn new() -> Self {
        Self { root: tree::root() }
    }

    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self {
            root: Arc::clone(core.root()),
        }
    }

    pub(crate) fn root(&self) -> &Arc<Core> {
        &self.root
    }

    fn table(&self) -> &Arc<Table> {
        &self.root.node.table
    }

    /// Opens a context at the top of this registry. Its settings are the defaults: a grace period and
    /// a hook time limit of 5 s; [`context_builder`](Self::context_builder) changes them.
    ///
    /// Once the registry was [`close`](Self::close)d, contexts are closed from the start.
    #[must_use = "a context closes when its last handle is dropped"]
    #[track_caller]
    pub fn context(&self, name: impl Into<Name>) -> Context {
        self.context_builder(name).open()
    }

    /// Opens a context at the top of this registry, with settings.
    #[must_use = "a builder opens nothing until `open`"]
    #[track_caller]
    pub fn context_builder(&self, name: impl Into<Name>) -> ContextBuilder<'_> {
        ContextBuilder::new(&self.root, label(name.into()), Location::caller())
    }

    /// Lists something for as long as the returned [`Registration`] lives.
    #[track_caller]
    pub fn register(&self, name: impl Into<Name>, kind: impl Into<Name>) -> Registration {
        Registration::new(self.table(), facts(name, kind), self.parent())
    }

    /// Takes a value and lists it for as long as a handle to it lives.
    #[must_use = "the value is dropped with its last handle"]
    #[track_caller]
    pub fn own<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Name>,
        kind: impl Into<Name>,
        value: T,
    ) -> Tracked<T> {
        let parent = (self.parent(), false);
        Tracked::new(self.table(), facts(name, kind), parent, value)
    }

    /// Lists an `Arc` of yours, without holding it, until its last handle is gone or it is
    /// [`untrack`](Self::untrack)ed.
    ///
    /// Nobody tells the registry when that is: a dead entry is never listed or counted, and is swept
    /// as others register. Until then it keeps the `Arc`'s memory, as every `Weak` does, but not
    /// the value. [`own`](Self::own) and [`register`](Self::register) are exact.
    ///
    /// ```
    /// use std::sync::Arc;
    /// let registry = headcount::Registry::new();
    /// let conn = Arc::new("a connection");
    /// registry.track(&conn, "conn-1", "connection");
    /// assert_eq!(registry.live_now().len(), 1);
    /// drop(conn);
    /// assert!(registry.live_now().is_empty());
    /// ```
    #[track_caller]
    pub fn track<T: Send + Sync + ?Sized + 'static>(
        &self,
        value: &Arc<T>,
        name: impl Into<Name>,
        kind: impl Into<Name>,
    ) -> ResourceId {
        self.table()
            .track(facts(name, kind), self.parent(), Arc::downgrade(value))
    }

    /// Forgets a resource; the thing itself lives on. False, and nothing happens, if the id names no
    /// resource any more, or a task or a context.
    pub fn untrack(&self, id: ResourceId) -> bool {
        self.table().forget(id)
    }

    /// Forgets every resource, and returns how many that were; the things themselves live on. Tasks
    /// and contexts stay.
    pub fn clear(&self) -> usize {
        self.table().clear()
    }

    /// Lists everything that is alive.
    ///
    /// Scans in bounded steps and yields to the runtime between them, so it never blocks the event
    /// loop. What was alive during the whole call is in, what had ended before it is not (I4).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn live(&self) -> Live {
        self.table().live().await
    }

    /// As [`live`](Self::live), for synchronous code: a panic hook, a destructor, the last line of a
    /// test. Takes about 30 ns an entry, without yielding.
    pub fn live_now(&self) -> Live {
        self.table().live_now()
    }

    /// How many entries there are: exact while nobody registers or ends. Does not scan, except that
    /// tracked `Arc`s are looked at one by one.
    pub fn count(&self) -> usize {
        self.table().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Waits until no task and no open context is left. Closes nothing itself.
    ///
    /// From inside a task of this registry that moment never comes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn idle(&self) {
        let node = &self.root.node;
        node.gate.watch();
        loop {
            let mut drained = pin!(node.drained.notified());
            drained.as_mut().enable();
            if node.gate.inside() == 0 {
                return;
            }
            if current::is_inside(node) {
                let what = For::Idle(node.table.number);
                poll_fn(|cx| waiting(cx, what, |cx| drained.as_mut().poll(cx))).await;
            } else {
                drained.await;
            }
        }
    }

    /// Closes every context of this registry, all at once, and the registry with them: afterwards
    /// nothing runs in it, and contexts opened from now on are closed from the start.
    ///
    /// The reason the contexts see is [`Parent`](CloseReason::Parent), that of the returned report
    /// [`Shutdown`](CloseReason::Shutdown); the report counts everything that ever ran in this
    /// registry. Resources can be registered and listed as before.
    ///
    /// As [`Context::close`] in all other respects: from inside it only begins, callers share one
    /// close, and dropping the future abandons nothing.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[track_caller]
    pub fn close(&self) -> impl Future<Output = CloseReport> + use<> {
        handle::close_for(&self.root, CloseReason::Shutdown, Location::caller())
    }

    /// Closes the registry, but waits no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what is in the way, when the limit comes first. The close goes on.
    #[track_caller]
    pub fn close_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
        handle::within(&self.root, limit, CloseReason::Shutdown, Location::caller())
    }

    /// How much is written down about handles in this registry. One relaxed load.
    pub fn level(&self) -> Level {
        self.table().tracking.level()
    }

    /// Changes how much is written down about handles, from the next one on. Handles that were taken
    /// before keep what is known of them, which may be nothing: they count as
    /// [`untracked`](crate::Holders::untracked), never as somebody else's.
    pub fn set_level(&self, level: Level) {
        self.table().tracking.set_level(level);
    }

    /// At [`Level::Backtraces`], captures the stack of one handle in `n` (0 means 1: of each). A capture takes
    /// some microseconds; symbols are resolved when it is printed.
    pub fn sample_backtraces(&self, n: u32) {
        self.table().tracking.sample(n);
    }

    /// The context whose task is registering something here, if it is one of ours.
    fn parent(&self) -> Option<Arc<dyn Record>> {
        current::with_node(|node| {
            let is_ours = !node.is_root() && Arc::ptr_eq(&node.table, self.table());
            is_ours.then(|| node.arc() as _)
        })
        .flatten()
    }
}

#[track_caller]
fn facts(name: impl Into<Name>, kind: impl Into<Name>) -> Facts {
    Facts {
        name: label(name.into()),
        kind: label(kind.into()),
        location: Location::caller(),
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("count", &self.count())
            .field("state", &self.root.node.gate.state())
            .finish_non_exhaustive()
    }
}
