//! Entries that live exactly as long as a guard does.

use crate::{
    id::ResourceId,
    ledger::tracking::Tracking,
    table::{
        record::{Facts, Record},
        store::{Table, TableRef},
        task_entry::TaskOwner,
    },
};
use std::{fmt, sync::Arc};

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
    entry: TaskOwner,
}

impl Registration {
    #[inline(always)]
    pub(crate) fn new(
        table: &Table,
        facts: Facts,
        parent: (Option<Arc<dyn Record>>, bool),
    ) -> Self {
        Self {
            entry: table.register(facts, parent),
        }
    }

    /// The id of the entry.
    pub fn id(&self) -> ResourceId {
        self.entry.meta().id
    }

    /// The name of the entry.
    pub fn name(&self) -> &str {
        &self.entry.meta().name
    }

    /// The kind of the entry.
    pub fn kind(&self) -> &str {
        &self.entry.meta().kind
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

/// Keeps the record of a value listed for as long as the value lives.
pub(crate) struct Listed {
    record: Arc<dyn Record>,
    table: Arc<TableRef>,
}

impl Listed {
    pub(crate) fn new(record: Arc<dyn Record>, table: &Table) -> Self {
        Self {
            record,
            table: Arc::clone(table.table_ref()),
        }
    }

    pub(crate) fn record(&self) -> &dyn Record {
        &*self.record
    }

    /// What is known of the value, for whoever does not keep it.
    pub(crate) fn facts(&self) -> (Arc<dyn Record>, Arc<TableRef>) {
        (Arc::clone(&self.record), Arc::clone(&self.table))
    }

    pub(crate) fn table_ref(&self) -> &TableRef {
        &self.table
    }

    pub(crate) fn tracking(&self) -> &Tracking {
        &self.table.tracking
    }

    /// Takes the entry off the list before the value is gone. Its drop does nothing more then.
    pub(crate) fn unlist(&self) {
        self.table.remove(self.record.meta().id);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.table.remove(self.record.meta().id);
        self.table.tracking.gone();
    }
}
