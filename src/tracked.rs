//! Shared values that the registry lists for exactly as long as they exist.

use crate::{
    id::ResourceId,
    table::{
        record::{Facts, Record},
        registration::Listed,
        store::Table,
    },
};
use std::{
    fmt,
    ops::Deref,
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
pub struct Tracked<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    // Before the entry: what is alive is listed.
    value: T,
    listed: Listed,
}

impl<T: Send + Sync + 'static> Tracked<T> {
    pub(crate) fn new(
        table: &Arc<Table>,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        value: T,
    ) -> Self {
        let inner = table.insert_arc(facts, parent, |record| Inner {
            value,
            listed: Listed::new(record, table),
        });
        Self { inner }
    }
}

impl<T> Tracked<T> {
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
        }
    }

    /// The value, if this is the last handle.
    pub(crate) fn into_inner(self) -> Option<T> {
        Arc::into_inner(self.inner).map(|inner| inner.value)
    }
}

impl<T> Clone for Tracked<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
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
}

impl<T> WeakTracked<T> {
    /// A strong handle, unless the value is gone.
    #[track_caller]
    pub fn upgrade(&self) -> Option<Tracked<T>> {
        self.inner.upgrade().map(|inner| Tracked { inner })
    }

    /// How many strong handles there are.
    pub fn strong_count(&self) -> usize {
        self.inner.strong_count()
    }
}

impl<T> Clone for WeakTracked<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Weak::clone(&self.inner),
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
