//! Entries that live exactly as long as a guard does.

use crate::{
    id::ResourceId,
    ledger::tracking::Tracking,
    table::{
        card::CardPlace,
        record::{Facts, Record},
        store::{Door, Table},
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
    // Before the door, which keeps it.
    place: CardPlace,
    _door: Arc<Door>,
}

impl Registration {
    #[inline(always)]
    #[expect(unsafe_code, reason = "the place knows no more than where it is")]
    pub(crate) fn new(table: &Table, facts: Facts, parent: Option<Arc<dyn Record>>) -> Self {
        let door = Arc::clone(table.door());
        Self {
            // SAFETY: the door is kept, and dropped after the place.
            place: unsafe { table.register(facts, parent) },
            _door: door,
        }
    }

    /// The id of the entry.
    pub fn id(&self) -> ResourceId {
        self.place.meta().id
    }

    /// The name of the entry.
    pub fn name(&self) -> &str {
        &self.place.meta().name
    }

    /// The kind of the entry.
    pub fn kind(&self) -> &str {
        &self.place.meta().kind
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
    door: Arc<Door>,
}

impl Listed {
    pub(crate) fn new(record: Arc<dyn Record>, table: &Table) -> Self {
        Self {
            record,
            door: Arc::clone(table.door()),
        }
    }

    pub(crate) fn record(&self) -> &dyn Record {
        &*self.record
    }

    /// What is known of the value, for whoever does not keep it.
    pub(crate) fn facts(&self) -> (Arc<dyn Record>, Arc<Door>) {
        (Arc::clone(&self.record), Arc::clone(&self.door))
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn tracking(&self) -> &Tracking {
        &self.door.tracking
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.door.remove(self.record.meta().id);
        self.door.tracking.gone();
    }
}
