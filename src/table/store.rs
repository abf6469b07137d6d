//! The table of one registry: records in slots, found by id, listed in bounded steps.

use crate::{
    clock::Stamp,
    id::ResourceId,
    name::Name,
    sync::{AtomicUsize, Ordering::Relaxed},
    table::{
        entry::{ArcEntry, Entry},
        live::Live,
        record::{Class, Meta, Record},
        resource::Resource,
        slots::{Directory, Key, Reserved, Slots},
        stripe,
    },
};
use std::{
    panic::Location,
    sync::{Arc, Weak},
};

/// How many slots a listing looks at between two yields: about 20 µs of work.
const STEP: usize = 512;
/// How many tracked `Arc`s a registration looks at, to sweep the dead ones.
const SWEPT: usize = 2;

/// Facts of a new record, from its caller.
pub(crate) struct Facts {
    pub(crate) name: Name,
    pub(crate) kind: Name,
    pub(crate) location: &'static Location<'static>,
}

/// Everything one registry lists.
pub(crate) struct Table {
    /// Two numbers are this table's own: `number` for its records, `number + 1` for tracked `Arc`s.
    number: u32,
    /// Tasks, contexts, registrations: whoever owns the record removes it.
    records: Arc<Slots<Weak<dyn Record>>>,
    /// Ways to the records, one for each stripe of threads.
    doors: Box<[Arc<Door>]>,
    /// Plain `Arc`s, whose end nobody announces: the table owns these records and sweeps them.
    arcs: Slots<Arc<dyn Record>>,
    /// How many `Arc`s are in there, dead ones included.
    tracked: AtomicUsize,
    /// Where the next sweep goes on.
    broom: AtomicUsize,
}

impl Table {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::AtomicU32;
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let records = Arc::new(Slots::new());
        let door = |_| Arc::new(Door(Arc::clone(&records)));
        Self {
            number: TABLES.fetch_add(2, Relaxed),
            doors: (0..stripe::count()).map(door).collect(),
            records,
            arcs: Slots::new(),
            tracked: AtomicUsize::new(0),
            broom: AtomicUsize::new(0),
        }
    }

    /// The way to the records for guards that this thread makes.
    #[inline]
    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.doors[stripe::current() as usize & (self.doors.len() - 1)]
    }

    /// Reserves an entry, lets `build` make the record for its id, and lists it.
    #[inline]
    pub(crate) fn insert<R: Record + 'static>(
        &self,
        facts: Facts,
        build: impl FnOnce(Meta) -> Arc<R>,
    ) -> Arc<R> {
        self.sweep(SWEPT);
        let reserved = self.records.reserve();
        let record = build(facts.meta(self.number, &reserved));
        let listed = Arc::downgrade(&record);
        reserved.commit(listed);
        record
    }

    /// Lists a record with the handles of a value, which `make` makes of that record.
    pub(crate) fn insert_arc<T: Send + Sync + 'static>(
        &self,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        make: impl FnOnce(Arc<dyn Record>) -> T,
    ) -> Arc<T> {
        self.sweep(SWEPT);
        let reserved = self.records.reserve();
        let meta = facts.meta(self.number, &reserved);
        Arc::new_cyclic(|value: &Weak<T>| {
            let entry = Entry { meta, parent };
            let value = value.clone();
            let record: Arc<dyn Record> = Arc::new(ArcEntry { entry, value });
            reserved.commit(Arc::downgrade(&record));
            make(record)
        })
    }

    /// Lists a plain `Arc` until its last handle is gone, or until it is removed.
    pub(crate) fn track<T: Send + Sync + ?Sized + 'static>(
        &self,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        value: Weak<T>,
    ) -> ResourceId {
        self.sweep(2 * SWEPT);
        let reserved = self.arcs.reserve();
        let meta = facts.meta(self.number + 1, &reserved);
        let id = meta.id;
        self.tracked.fetch_add(1, Relaxed);
        reserved.commit(Arc::new(ArcEntry {
            entry: Entry { meta, parent },
            value,
        }));
        id
    }

    /// Removes the entry with this id, if it is still there.
    #[inline]
    pub(crate) fn remove(&self, id: ResourceId) -> bool {
        let key = Key {
            index: id.index,
            generation: id.generation,
        };
        match id.table {
            table if table == self.number => self.records.remove(key),
            table if table == self.number + 1 => self.untrack(key),
            _ => false,
        }
    }

    fn untrack(&self, key: Key) -> bool {
        let removed = self.arcs.remove(key);
        if removed {
            self.tracked.fetch_sub(1, Relaxed);
        }
        removed
    }

    /// Removes the entry with this id if it is a resource.
    pub(crate) fn forget(&self, id: ResourceId) -> bool {
        let is_task_or_context = id.table == self.number && {
            let directory = self.records.directory();
            let mut protected = false;
            self.records
                .scan(&directory, id.index as usize, 1, |_, record| {
                    protected = record
                        .upgrade()
                        .is_some_and(|record| record.class() != Class::Resource);
                });
            protected
        };
        !is_task_or_context && self.remove(id)
    }

    /// Forgets every resource; tasks and contexts stay. Returns how many it forgot.
    pub(crate) fn clear(&self) -> usize {
        let mut listing = self.listing();
        while listing.step() {}
        let resources = listing
            .found
            .into_iter()
            .filter(|found| found.class() == Class::Resource);
        resources
            .filter(|resource| self.remove(resource.id()))
            .count()
    }

    /// How many entries are listed. Tracked `Arc`s are looked at one by one, the rest is read off
    /// counters.
    pub(crate) fn count(&self) -> usize {
        let mut alive = 0;
        if self.tracked.load(Relaxed) > 0 {
            scan_all(&self.arcs, |_, record| {
                alive += usize::from(is_alive(record));
            });
        }
        self.records.len() + alive
    }

    /// Removes dead `Arc`s among the next few.
    #[inline]
    fn sweep(&self, slots: usize) {
        if self.tracked.load(Relaxed) == 0 {
            return;
        }
        let directory = self.arcs.directory();
        let mut dead = Vec::new();
        let start = self.broom.load(Relaxed);
        let next = self.arcs.scan(&directory, start, slots, |key, record| {
            if !is_alive(record) {
                dead.push(key);
            }
        });
        self.broom.store(next.unwrap_or(0), Relaxed);
        for key in dead {
            self.untrack(key);
        }
    }

    fn listing(&self) -> Listing<'_> {
        let (records, arcs) = (self.records.directory(), self.arcs.directory());
        let found = Vec::with_capacity(self.records.len() + self.arcs.len());
        Listing {
            table: self,
            records,
            arcs,
            cursor: Some(Cursor::Records(0)),
            found,
            now: Stamp::now(),
        }
    }

    /// Lists what is live, yielding to the runtime after every few slots.
    pub(crate) async fn live(&self) -> Live {
        let mut listing = self.listing();
        while listing.step() {
            tokio::task::yield_now().await;
        }
        Live::new(listing.found)
    }

    /// Looks at every record, without yielding.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&dyn Record)) {
        scan_all(&self.records, |_, record| {
            if let Some(record) = record.upgrade() {
                look(&*record);
            }
        });
    }

    /// Looks at every record, yielding to the runtime after every few slots.
    pub(crate) async fn visit(&self, mut look: impl FnMut(Arc<dyn Record>)) {
        let (directory, mut cursor) = (self.records.directory(), 0);
        while let Some(next) = self.records.scan(&directory, cursor, STEP, |_, record| {
            if let Some(record) = record.upgrade() {
                look(record);
            }
        }) {
            cursor = next;
            tokio::task::yield_now().await;
        }
    }

    /// Lists what is live without yielding.
    pub(crate) fn live_now(&self) -> Live {
        let mut listing = self.listing();
        while listing.step() {}
        Live::new(listing.found)
    }
}

/// A way to the records of a table, for guards that remove one. There are several, so that guards made
/// on several threads do not count themselves in one place.
#[repr(align(128))]
pub(crate) struct Door(Arc<Slots<Weak<dyn Record>>>);

impl Door {
    /// Removes the record that was listed under this id in this table.
    #[inline]
    pub(crate) fn remove(&self, id: ResourceId) {
        self.0.remove(Key {
            index: id.index,
            generation: id.generation,
        });
    }
}

impl Facts {
    #[inline]
    fn meta<T>(self, table: u32, reserved: &Reserved<'_, T>) -> Meta {
        let Key { index, generation } = reserved.key();
        Meta::new(
            ResourceId {
                table,
                index,
                generation,
            },
            self.name,
            self.kind,
            self.location,
        )
    }
}

/// A tracked `Arc` whose last handle is gone is not listed any more, swept or not.
fn is_alive(record: &Arc<dyn Record>) -> bool {
    record.strong_count() != Some(0)
}

fn scan_all<T>(slots: &Slots<T>, mut visit: impl FnMut(Key, &T)) {
    let directory = slots.directory();
    let mut cursor = 0;
    while let Some(next) = slots.scan(&directory, cursor, STEP, &mut visit) {
        cursor = next;
    }
}

enum Cursor {
    Records(usize),
    Arcs(usize),
}

/// A scan under way. What it has found keeps records alive, never the things they stand for (I5).
struct Listing<'a> {
    table: &'a Table,
    records: Arc<Directory<Weak<dyn Record>>>,
    arcs: Arc<Directory<Arc<dyn Record>>>,
    cursor: Option<Cursor>,
    found: Vec<Resource>,
    now: Stamp,
}

impl Listing<'_> {
    /// One bounded step; says whether there is more to do.
    fn step(&mut self) -> bool {
        let (found, now) = (&mut self.found, self.now);
        self.cursor = match self.cursor {
            Some(Cursor::Records(from)) => {
                let next = self
                    .table
                    .records
                    .scan(&self.records, from, STEP, |_, record| {
                        if let Some(record) = record.upgrade() {
                            found.push(Resource::of(record, now));
                        }
                    });
                Some(next.map_or(Cursor::Arcs(0), Cursor::Records))
            }
            Some(Cursor::Arcs(from)) => {
                let next = self.table.arcs.scan(&self.arcs, from, STEP, |_, record| {
                    if is_alive(record) {
                        found.push(Resource::of(Arc::clone(record), now));
                    }
                });
                next.map(Cursor::Arcs)
            }
            None => None,
        };
        self.cursor.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: Name::Borrowed("name"),
            kind: Name::Borrowed("kind"),
            location: Location::caller(),
        }
    }

    /// L2, I6: whatever was tracked is swept as others register, wherever its place.
    #[test]
    fn dead_arcs_are_swept_as_others_register() {
        let table = Arc::new(Table::new());
        let values: Vec<_> = (0..100).map(Arc::new).collect();
        for value in &values {
            table.track(facts(), None, Arc::downgrade(value));
        }
        let kept = Arc::clone(&values[50]);
        drop(values);
        assert_eq!((table.tracked.load(Relaxed), table.count()), (100, 1));
        for _ in 0..1_000 {
            drop(table.register(facts(), None));
        }
        assert_eq!((table.tracked.load(Relaxed), table.count()), (1, 1));
        drop(kept);
    }

    /// L2, I6: tracking alone keeps the table bounded as well.
    #[test]
    fn tracking_sweeps_what_was_tracked_before() {
        let table = Table::new();
        for _ in 0..10_000 {
            table.track(facts(), None, Arc::downgrade(&Arc::new(())));
        }
        assert!(
            table.tracked.load(Relaxed) < 100,
            "{}",
            table.tracked.load(Relaxed)
        );
    }
}
