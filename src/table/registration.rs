//! Entries that live exactly as long as a guard does.

use crate::{
    id::ResourceId,
    table::{
        entry::Entry,
        record::Record,
        store::{Door, Facts, Table},
    },
};
use std::{fmt, sync::Arc};

impl Table {
    /// Lists a resource for as long as the returned registration lives.
    pub(crate) fn register(
        self: &Arc<Self>,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
    ) -> Registration {
        let record = self.insert(facts, |meta| Arc::new(Entry { meta, parent }));
        Registration::new(record, self)
    }

    /// Lists a resource with the handles of a value, which `make` makes of its registration.
    pub(crate) fn register_arc<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        make: impl FnOnce(Registration) -> T,
    ) -> Arc<T> {
        self.insert_arc(facts, parent, |record| {
            make(Registration::new(record, self))
        })
    }
}

/// Keeps an entry in its registry for as long as it lives; dropping it removes the entry.
///
/// Put one into a struct, and the registry lists the struct for exactly as long as it exists.
/// A registration may outlive its registry; it then keeps the memory of the list, and nothing else.
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
    door: Arc<Door>,
}

impl Registration {
    pub(crate) fn new(record: Arc<dyn Record>, table: &Table) -> Self {
        Self {
            record,
            door: Arc::clone(table.door()),
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
        self.door.remove(self.record.meta().id);
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
