//! Records of resources: things that are registered, owned or tracked, but do not run.

use crate::{
    id::ResourceId,
    table::{
        record::{Class, Meta, Record, State},
        store::Table,
    },
};
use std::{
    fmt,
    sync::{Arc, Weak},
};

/// The record of a [`Registration`]: the facts and nothing else.
pub(crate) struct Entry {
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<dyn Record>>,
}

impl Record for Entry {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Resource
    }

    fn state(&self) -> State {
        State::Live
    }

    fn parent(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }
}

/// The record of a value that lives in an `Arc`: it counts the handles, and never holds one.
pub(crate) struct ArcEntry<T: ?Sized> {
    pub(crate) entry: Entry,
    pub(crate) value: Weak<T>,
}

impl<T: Send + Sync + ?Sized> Record for ArcEntry<T> {
    fn meta(&self) -> &Meta {
        &self.entry.meta
    }

    fn class(&self) -> Class {
        Class::Resource
    }

    fn state(&self) -> State {
        State::Live
    }

    fn parent(&self) -> Option<&dyn Record> {
        self.entry.parent()
    }

    fn strong_count(&self) -> Option<usize> {
        Some(self.value.strong_count())
    }
}

/// Keeps an entry in its registry for as long as it lives; dropping it removes the entry.
///
/// Put one into a struct, and the registry lists the struct for exactly as long as it exists.
/// The registry is held weakly: a registration that outlives it does nothing when dropped.
///
/// ```
/// use headcount::{Registration, Registry};
///
/// struct Upload {
///     path: String,
///     _listed: Registration,
/// }
///
/// let registry = Registry::new();
/// let upload = Upload {
///     path: "/tmp/report.csv".into(),
///     _listed: registry.register("report.csv", "upload"),
/// };
/// assert_eq!(registry.live_now().kind("upload").len(), 1);
/// drop(upload);
/// assert!(registry.is_empty());
/// ```
#[must_use = "dropping a registration removes its entry at once"]
pub struct Registration {
    record: Arc<dyn Record>,
    table: Weak<Table>,
}

impl Registration {
    pub(crate) fn new(record: Arc<dyn Record>, table: &Arc<Table>) -> Self {
        Self {
            record,
            table: Arc::downgrade(table),
        }
    }

    /// The id of the entry.
    pub fn id(&self) -> ResourceId {
        self.record.meta().id
    }

    /// The name of the entry.
    pub fn name(&self) -> &str {
        &self.record.meta().name
    }

    /// The kind of the entry.
    pub fn kind(&self) -> &str {
        &self.record.meta().kind
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.remove(self.record.meta().id);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("kind", &self.kind())
            .finish()
    }
}
