//! [`Tracked`]: a shared value that the registry lists exactly as long as it exists.

use crate::{
    container::{self, Container},
    holders::Holders,
    id::ResourceId,
    ledger::{
        acquirer::Acquirer,
        handle_log::{HandleId, How, Ledger},
        lock_log::LockLog,
    },
    poll::scope,
    table::{
        record::{Facts, Record},
        registration::Listed,
        store::{Table, TableRef},
    },
};
use std::{
    any::Any,
    fmt,
    ops::Deref,
    panic::Location,
    sync::{Arc, OnceLock, Weak},
};

/// A shared value that the registry lists until its last handle is dropped.
///
/// It is like an `Arc` with a name. Made by [`Registry::own`](crate::Registry::own), or by
/// [`Context::own`](crate::Context::own), which keeps a handle of its own until the context closes.
///
/// ```
/// let registry = headcount::Registry::new();
/// let cache = registry.own("users", "cache", vec!["ada", "grace"]);
/// let other = cache.clone();
/// assert_eq!(other.len(), 2);
/// assert_eq!(registry.live_now().find("users").unwrap().strong_count(), Some(2));
/// drop((cache, other));
/// assert!(registry.is_empty());
/// ```
///
/// A tracked `Mutex`, `RwLock` or `Semaphore` of tokio records in addition who holds it: see [`lock`](Self::lock),
/// [`read`](Self::read) and [`acquire`](Self::acquire).
#[must_use = "the value is dropped with its last handle"]
pub struct Tracked<T> {
    inner: Arc<Inner<T>>,
    handle: HandleId,
}

struct Inner<T> {
    // Dropped before the entry, so that the value is listed while its destructor runs (I4).
    value: T,
    listed: Listed,
    /// The context that was given the value, and under which key it keeps a handle.
    owner: OnceLock<(Weak<dyn ValueOwner>, u64)>,
    /// Who holds the value, if that is a lock.
    locks: LockLog,
}

/// A context, for the values that were given to it.
pub(crate) trait ValueOwner: Send + Sync {
    /// Gives up its handle, once; `None` if it has none any more.
    fn release(&self, key: u64) -> Option<Box<dyn Any + Send>>;
}

impl<T: Send + Sync + 'static> Tracked<T> {
    /// Lists a value. `parent` is the context it belongs to, and whether that context keeps a handle of its own.
    pub(crate) fn new(
        table: &Arc<Table>,
        facts: Facts,
        parent: (Option<Arc<dyn Record>>, bool),
        value: T,
    ) -> Self {
        let location = facts.location;
        let inner = table.insert_arc(facts, parent, |record| Inner {
            value,
            listed: Listed::new(record, table),
            owner: OnceLock::new(),
            locks: LockLog::default(),
        });
        Self::recorded(inner, location)
    }
}

impl<T> Inner<T> {
    fn ledger(&self) -> &Ledger {
        let ledger = self.listed.record().ledger();
        ledger.expect("a tracked value has one")
    }
}

impl<T> Tracked<T> {
    /// Records a new handle in the ledger.
    fn recorded(inner: Arc<Inner<T>>, location: &'static Location<'static>) -> Self {
        let tracking = inner.listed.tracking();
        let handle = inner.ledger().take(tracking, location, scope::acquirer);
        Self { inner, handle }
    }

    /// A handle that counts as taken on this line.
    #[inline]
    pub(crate) fn clone_at(&self, location: &'static Location<'static>) -> Self {
        Self::recorded(Arc::clone(&self.inner), location)
    }

    pub(crate) fn listed(&self) -> &Listed {
        &self.inner.listed
    }

    pub(crate) fn lock_log(&self) -> &LockLog {
        &self.inner.locks
    }

    /// Records a new holder of this handle, where the code that took it only passes it on.
    pub(crate) fn pass(&self, to: Acquirer) {
        if self.handle.is_tracked() {
            self.inner.ledger().pass(self.handle, to);
        }
    }

    /// Who holds the value: every handle that is recorded, compared with the real number of handles.
    ///
    /// This copies the entry of each handle, under a lock that every clone and drop of a recorded handle also takes.
    pub fn holders(&self) -> Holders {
        let listed = &self.inner.listed;
        Holders::of(listed.record(), listed.table_ref())
    }

    /// Declares that this handle lies inside a listed container, so that a leak report can follow the chain.
    ///
    /// A container is for example a cache, or a struct that keeps connections. Does nothing if the handle is not recorded.
    pub fn held_by(&self, container: &(impl Container + ?Sized)) {
        if self.handle.is_tracked() {
            let inside = Some(container::inside(container));
            self.inner.ledger().put(self.handle, inside);
        }
    }

    /// Withdraws what [`held_by`](Self::held_by) declared: this handle does not lie in a container any more.
    pub fn held_by_none(&self) {
        self.inner.ledger().put(self.handle, None);
    }

    /// Records that the running task uses this handle now, for [`Holder::last_touch`].
    ///
    /// It takes about 50 ns if the handle is recorded, and a branch if not.
    ///
    /// [`Holder::last_touch`]: crate::Holder::last_touch
    pub fn touch(&self) {
        if self.handle.is_tracked() {
            container::note_use(self.inner.ledger(), self.handle, self, How::Touched);
        }
    }

    /// The id of the value's entry in the registry.
    pub fn id(&self) -> ResourceId {
        self.inner.listed.record().meta().id
    }

    /// The name of the value.
    pub fn name(&self) -> &str {
        &self.inner.listed.record().meta().name
    }

    /// How many strong handles there are, this one included.
    pub fn strong_count(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// A handle that does not keep the value alive.
    pub fn downgrade(&self) -> WeakTracked<T> {
        WeakTracked {
            inner: Arc::downgrade(&self.inner),
            facts: self.inner.listed.facts(),
        }
    }

    /// Notes the context that keeps a handle of its own.
    pub(crate) fn owned_by(&self, owner: Weak<dyn ValueOwner>, key: u64) {
        let _ = self.inner.owner.set((owner, key));
    }

    /// Gives a value back early that a [context owns](crate::Context::own): the context lets go of its handle, so the value is
    /// dropped with the last handle that is left, and not at the close.
    ///
    /// False if the context has let go of it before, by a release or by its close, and for a value that no context owns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let ctx = registry.context("upload");
    /// let file = ctx.own("part-1", "file", vec![0_u8; 16]).unwrap();
    /// assert!(file.release());
    /// assert!(!file.release(), "the context has no handle any more");
    /// drop(file);
    /// assert!(registry.live().await.find("part-1").is_none());
    /// # ctx.close().await;
    /// # }
    /// ```
    pub fn release(&self) -> bool {
        let owner = self.inner.owner.get();
        let released = owner.and_then(|(owner, key)| owner.upgrade()?.release(*key));
        let is_released = released.is_some();
        if is_released {
            self.inner.listed.record().released();
        }
        // Not the last handle, because this is one.
        drop(released);
        is_released
    }

    /// The value, if this is the last handle.
    pub(crate) fn into_inner(self) -> Option<T> {
        let inner = Arc::clone(&self.inner);
        drop(self);
        Arc::into_inner(inner).map(|inner| inner.value)
    }
}

impl<T> Clone for Tracked<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        self.clone_at(Location::caller())
    }
}

impl<T> Drop for Tracked<T> {
    #[inline]
    fn drop(&mut self) {
        if self.handle.is_tracked() {
            let _ = self.inner.ledger().remove(self.handle);
        }
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner.value
    }
}

/// Prints the name, not the value.
impl<T> fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// A handle to a [`Tracked`] value that does not keep it alive.
///
/// ```
/// let registry = headcount::Registry::new();
/// let cache = registry.own("users", "cache", vec!["ada"]);
/// let weak = cache.downgrade();
/// assert_eq!(weak.upgrade().unwrap().len(), 1);
/// assert_eq!(weak.strong_count(), 1);
/// drop(cache);
/// assert!(weak.upgrade().is_none());
/// ```
pub struct WeakTracked<T> {
    inner: Weak<Inner<T>>,
    /// The entry in the registry, which can be read after the value is gone.
    facts: (Arc<dyn Record>, Arc<TableRef>),
}

impl<T> WeakTracked<T> {
    /// A strong handle, unless the value is gone.
    #[track_caller]
    pub fn upgrade(&self) -> Option<Tracked<T>> {
        let location = Location::caller();
        let inner = self.inner.upgrade()?;
        Some(Tracked::recorded(inner, location))
    }

    /// How many strong handles there are.
    pub fn strong_count(&self) -> usize {
        self.inner.strong_count()
    }

    /// Who holds the value; `None` if it is gone.
    pub fn holders(&self) -> Option<Holders> {
        let (record, table) = &self.facts;
        (self.strong_count() > 0).then(|| Holders::of(&**record, table))
    }
}

impl<T> Clone for WeakTracked<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Weak::clone(&self.inner),
            facts: self.facts.clone(),
        }
    }
}

impl<T> fmt::Debug for WeakTracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakTracked")
            .field("strong_count", &self.strong_count())
            .finish_non_exhaustive()
    }
}

container::containers!(Tracked<T> where T);
