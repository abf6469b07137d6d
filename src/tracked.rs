//! Shared values that the registry lists for exactly as long as they exist.

use crate::{
    holders::{
        inside::{self, Container},
        view::Holders,
    },
    id::ResourceId,
    ledger::{
        acquirer::Acquirer,
        handle_log::{HandleId, Ledger},
    },
    poll::scope,
    table::{
        record::{Facts, Record},
        registration::Listed,
        store::{Table, TableRef},
    },
};
use std::{
    fmt,
    ops::Deref,
    panic::Location,
    sync::{Arc, Weak},
};

/// A shared value that the registry lists until its last handle is dropped.
///
/// Like an `Arc`, with a name. Made by [`Registry::own`](crate::Registry::own), or by
/// [`Context::own`](crate::Context::own), which keeps a handle until the context closes.
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
#[must_use = "the value is dropped with its last handle"]
pub struct Tracked<T> {
    inner: Arc<Inner<T>>,
    hold: HandleId,
}

struct Inner<T> {
    // Before the entry: what is alive is listed.
    value: T,
    listed: Listed,
}

impl<T: Send + Sync + 'static> Tracked<T> {
    /// Lists a value, with the context it belongs to and whether that context keeps a handle of its own.
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
        });
        Self::counted(inner, location)
    }
}

impl<T> Inner<T> {
    fn ledger(&self) -> &Ledger {
        let ledger = self.listed.record().ledger();
        ledger.expect("a tracked value has one")
    }
}

impl<T> Tracked<T> {
    /// Writes a handle down.
    fn counted(inner: Arc<Inner<T>>, location: &'static Location<'static>) -> Self {
        let tracking = inner.listed.tracking();
        let hold = inner.ledger().take(tracking, location, scope::acquirer);
        Self { inner, hold }
    }

    /// Notes who has this handle, where that is not whoever took it.
    pub(crate) fn pass(&self, to: Acquirer) {
        if self.hold.is_tracked() {
            self.inner.ledger().pass(self.hold, to);
        }
    }

    /// Who holds the value: every handle that is written down, reconciled with the real number.
    ///
    /// Looks at each handle, and takes a lock that handles of this value take as well.
    pub fn holders(&self) -> Holders {
        let listed = &self.inner.listed;
        Holders::of(listed.record(), listed.table_ref())
    }

    /// Declares that this handle lies inside another thing that is listed, so that a leak report can follow
    /// the chain: a value in a cache, a connection in a struct. Does nothing for a handle that is not
    /// written down.
    pub fn held_by(&self, keeper: &(impl Container + ?Sized)) {
        if self.hold.is_tracked() {
            self.inner.ledger().put(self.hold, inside::inside(keeper));
        }
    }

    /// Notes that this handle is in use, now and by the running task, for [`Holder::last_touch`]
    /// (about 50 ns if it is written down, else a branch).
    ///
    /// [`Holder::last_touch`]: crate::Holder::last_touch
    pub fn touch(&self) {
        if self.hold.is_tracked() {
            self.inner.ledger().touch(self.hold, scope::acquirer);
        }
    }

    /// The id of the entry.
    pub fn id(&self) -> ResourceId {
        self.inner.listed.record().meta().id
    }

    /// The name it was given.
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
        Self::counted(Arc::clone(&self.inner), Location::caller())
    }
}

impl<T> Drop for Tracked<T> {
    #[inline]
    fn drop(&mut self) {
        if self.hold.is_tracked() {
            let _ = self.inner.ledger().remove(self.hold);
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
pub struct WeakTracked<T> {
    inner: Weak<Inner<T>>,
    /// What is known of it without it.
    facts: (Arc<dyn Record>, Arc<TableRef>),
}

impl<T> WeakTracked<T> {
    /// A strong handle, unless the value is gone.
    #[track_caller]
    pub fn upgrade(&self) -> Option<Tracked<T>> {
        let location = Location::caller();
        let inner = self.inner.upgrade()?;
        Some(Tracked::counted(inner, location))
    }

    /// How many strong handles there are.
    pub fn strong_count(&self) -> usize {
        self.inner.strong_count()
    }

    /// Who has them; `None` if the value is gone.
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

inside::keepers!(Tracked<T> where T);
