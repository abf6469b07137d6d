//! The table of one registry: entries found by id, listed in bounded steps.

use crate::{
    events::EventSender,
    id::ResourceId,
    ledger::{handle_log::Ledger, tracking::Tracking},
    poll::{replies::PendingReplies, running_hooks::RunningHooks},
    slab::{
        directory::{EntryRef, Key},
        slab::{Slab, SlabRef, Vacant},
        stripe,
    },
    sync::{AtomicUsize, Ordering::Relaxed},
    table::{
        arc_entry::{ArcEntry, Indirect},
        record::{Class, Facts, Meta, Record, State},
        task_entry::{Role, TaskEntry, TaskHandle, TaskHold as _, TaskOwner, Tasks},
    },
};
use std::sync::{Arc, Weak, atomic::AtomicBool};

/// How many slots a listing looks at between two yields: about 10 µs of work.
pub(crate) const STEP: usize = 384;
/// How many tracked `Arc`s a registration looks at, to sweep the dead ones.
const SWEPT: usize = 2;

/// Entries of contexts and owned values.
type Records = Slab<Indirect<Weak<dyn Record>>>;

/// Everything one registry lists.
pub(crate) struct Table {
    /// Four numbers are this table's own: `number` for tasks and registrations, and one each for the others, hooks last.
    pub(crate) number: u32,
    /// Tasks and registrations: the facts are in the slot.
    pub(crate) tasks: Arc<Tasks>,
    /// Contexts and owned values: whoever has the record removes it.
    pub(crate) records: Arc<Records>,
    /// Plain `Arc`s, whose end is not announced: the table owns these records and sweeps them.
    pub(crate) arcs: Arc<Slab<Indirect<Arc<dyn Record>>>>,
    /// By which tasks and registrations keep their slab, one for each stripe of threads.
    task_refs: Box<[SlabRef<TaskEntry>]>,
    /// References to the entries, one for each stripe of threads.
    refs: Box<[Arc<TableRef>]>,
    /// What is recorded of handles, and who is told.
    pub(crate) tracking: Arc<Tracking>,
    /// Who asks tasks and hooks where they wait.
    pub(crate) replies: Arc<PendingReplies>,
    pub(crate) hooks: Arc<RunningHooks>,
    /// Who is told of what happens.
    pub(crate) events: EventSender,
    /// How many `Arc`s are in there, dead ones included.
    tracked: AtomicUsize,
    /// Where the next sweep goes on.
    sweep_cursor: AtomicUsize,
    /// How many tasks there have been, to be compared with what became of them.
    #[cfg(feature = "testing")]
    pub(crate) accepted: AtomicUsize,
}

impl Table {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::AtomicU32;
        // In fours: ids are printed by it.
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let (tasks, records) = (Slab::new(), Slab::new());
        let number = TABLES.fetch_add(4, Relaxed);
        let tracking = Arc::new(Tracking::new());
        let table_ref = |_| {
            Arc::new(TableRef {
                number,
                tasks: Arc::clone(&tasks),
                records: Arc::clone(&records),
                tracking: Arc::clone(&tracking),
            })
        };
        Self {
            number,
            refs: (0..stripe::count()).map(table_ref).collect(),
            task_refs: (0..stripe::count()).map(|_| SlabRef::new(&tasks)).collect(),
            tasks,
            records,
            arcs: Slab::new(),
            tracking,
            replies: Arc::default(),
            hooks: Arc::default(),
            events: EventSender::default(),
            tracked: AtomicUsize::new(0),
            sweep_cursor: AtomicUsize::new(0),
            #[cfg(feature = "testing")]
            accepted: AtomicUsize::new(0),
        }
    }

    /// The reference for guards that this thread makes.
    #[inline]
    pub(crate) fn table_ref(&self) -> &Arc<TableRef> {
        &self.refs[stripe::current() as usize & (self.refs.len() - 1)]
    }

    /// A slot that is filled with a task or a registration, and not listed yet.
    #[inline(always)]
    fn fill(
        &self,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        role: Role,
    ) -> Vacant<'_, TaskEntry> {
        self.sweep(SWEPT);
        let slab = &self.task_refs[stripe::current() as usize & (self.task_refs.len() - 1)];
        let mut vacant = slab.reserve();
        let id = vacant.key().id(self.number);
        vacant.entry().fill(id, facts, parent, role);
        vacant
    }

    /// Lists a resource for as long as its owner has it.
    #[inline(always)]
    pub(crate) fn register(
        &self,
        facts: Facts,
        (parent, is_owned): (Option<Arc<dyn Record>>, bool),
    ) -> TaskOwner {
        self.fill(facts, parent, Role::Registration { is_owned })
            .list()
    }

    /// Lists a task of a context for as long as its owner has it, with a handle.
    #[inline(always)]
    pub(crate) fn insert_task(
        &self,
        facts: Facts,
        context: Arc<dyn Record>,
        role: Role,
    ) -> (TaskOwner, TaskHandle) {
        #[cfg(feature = "testing")]
        self.accepted.fetch_add(1, Relaxed);
        self.fill(facts, Some(context), role).list_shared()
    }

    /// As [`insert_task`](Self::insert_task), without a handle.
    pub(crate) fn insert_task_alone(
        &self,
        facts: Facts,
        context: Arc<dyn Record>,
        role: Role,
    ) -> TaskOwner {
        #[cfg(feature = "testing")]
        self.accepted.fetch_add(1, Relaxed);
        self.fill(facts, Some(context), role).list_then_read()
    }

    /// Reserves an entry, lets `build` make the record for its id, and lists it.
    pub(crate) fn insert<R: Record + 'static>(
        &self,
        facts: Facts,
        build: impl FnOnce(Meta) -> Arc<R>,
    ) -> Arc<R> {
        self.sweep(SWEPT);
        let reserved = self.records.reserve();
        let record = build(Meta::new(reserved.key().id(self.number + 1), facts));
        let listed = Arc::downgrade(&record);
        // The caller asks next whether there are subscribers to be told.
        reserved.list_then_read(Indirect::new(listed));
        record
    }

    /// Lists a record with the handles of a value, which `make` makes of that record.
    pub(crate) fn insert_arc<T: Send + Sync + 'static>(
        &self,
        facts: Facts,
        (parent, is_owned): (Option<Arc<dyn Record>>, bool),
        make: impl FnOnce(Arc<dyn Record>) -> T,
    ) -> Arc<T> {
        self.sweep(SWEPT);
        let reserved = self.records.reserve();
        let meta = Meta::new(reserved.key().id(self.number + 1), facts);
        Arc::new_cyclic(|value: &Weak<T>| {
            let value = value.clone();
            let record: Arc<dyn Record> = Arc::new(ArcEntry {
                meta,
                parent,
                value,
                ledger: Some(Ledger::default()),
                is_owned: AtomicBool::new(is_owned),
            });
            reserved.list(Indirect::new(Arc::downgrade(&record) as Weak<dyn Record>));
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
        let meta = Meta::new(reserved.key().id(self.number + 2), facts);
        let id = meta.id;
        self.tracked.fetch_add(1, Relaxed);
        reserved.list(Indirect::new(Arc::new(ArcEntry {
            meta,
            parent,
            value,
            ledger: None,
            is_owned: AtomicBool::new(false),
        })));
        id
    }

    /// Takes the entry with this id off the list, if it is still there.
    pub(crate) fn remove(&self, id: ResourceId) -> bool {
        let key = id.key();
        match id.table.wrapping_sub(self.number) {
            0 => self.tasks.remove(key),
            1 => self.records.remove(key),
            // One whose value is gone is not listed any more, swept or not.
            2 => self.is_alive(key) & self.untrack(key),
            _ => false,
        }
    }

    fn is_alive(&self, key: Key) -> bool {
        let mut found = false;
        self.arcs.directory().scan(key.index as usize, 1, |look| {
            found = look.key() == key && is_alive(&look);
        });
        found
    }

    fn untrack(&self, key: Key) -> bool {
        let removed = self.arcs.remove(key);
        if removed {
            self.tracked.fetch_sub(1, Relaxed);
        }
        removed
    }

    /// Aborts the tasks of every context that is aborting its tasks.
    pub(crate) fn abort_told(&self) {
        self.for_each(|task| task.abort_if_told());
    }

    /// The first of the four numbers that ids of this registry have.
    #[cfg(feature = "web")]
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What has this id, if it is still listed.
    #[cfg(feature = "web")]
    pub(crate) fn find(&self, id: ResourceId) -> Option<crate::table::resource::Resource> {
        use crate::{clock::Stamp, table::resource::Resource};
        let (mut found, at, now) = (None, id.index as usize, Stamp::now());
        match id.table.wrapping_sub(self.number) {
            0 => return self.find_task(id),
            1 => {
                self.records.directory().scan(at, 1, |look| {
                    if look.key() == id.key() {
                        found = look.upgrade().map(|it| Resource::of(it, 0, now));
                    }
                });
            }
            2 => {
                self.arcs.directory().scan(at, 1, |look| {
                    if look.key() == id.key() && is_alive(&look) {
                        found = Some(Resource::of(Arc::clone(&look), 0, now));
                    }
                });
            }
            _ => {}
        }
        found
    }

    /// The task with this id, if it is still listed.
    #[cfg(feature = "dump")]
    pub(crate) fn find_task(&self, id: ResourceId) -> Option<crate::table::resource::Resource> {
        use crate::{clock::Stamp, table::resource::Resource};
        self.look_at(id, |look| {
            Resource::of_task(look, &self.tasks, Stamp::now())
        })
    }

    #[cfg(feature = "dump")]
    fn look_at<R>(
        &self,
        id: ResourceId,
        see: impl FnOnce(EntryRef<'_, TaskEntry>) -> R,
    ) -> Option<R> {
        let (mut see, mut seen) = (Some(see), None);
        if id.table == self.number {
            self.tasks.directory().scan(id.index as usize, 1, |look| {
                if look.key() == id.key() {
                    seen = see.take().map(|see| see(look));
                }
            });
        }
        seen
    }

    /// Removes the entry with this id if it is a resource.
    pub(crate) fn forget(&self, id: ResourceId) -> bool {
        self.is_resource(id) && self.remove(id)
    }

    fn is_resource(&self, id: ResourceId) -> bool {
        let (mut is_resource, at) = (true, id.index as usize);
        match id.table.wrapping_sub(self.number) {
            0 => {
                self.tasks.directory().scan(at, 1, |look| {
                    is_resource = look.class() == Class::Resource;
                });
            }
            1 => {
                self.records.directory().scan(at, 1, |look| {
                    let record = look.upgrade();
                    is_resource = record.is_none_or(|record| record.class() == Class::Resource);
                });
            }
            _ => {}
        }
        is_resource
    }

    /// Forgets every resource; tasks and contexts stay. Returns how many of them were alive.
    pub(crate) fn clear(&self) -> usize {
        let live = self.live_now();
        let resources = live
            .into_iter()
            .filter(|found| found.class() == Class::Resource);
        let cleared = resources
            .filter(|resource| self.remove(resource.id()))
            .count();
        // The dead ones as well, which no listing has: each knows the context that tracked it, and so this table.
        self.sweep_from(0, usize::MAX);
        cleared
    }

    /// How many entries are listed. Tracked `Arc`s are looked at one by one, the rest is read off
    /// counters.
    pub(crate) fn count(&self) -> usize {
        let mut alive = 0;
        if self.tracked.load(Relaxed) > 0 {
            let (directory, mut cursor) = (self.arcs.directory(), 0);
            while let Some(next) = directory.scan(cursor, STEP, |look| {
                alive += usize::from(is_alive(&look));
            }) {
                cursor = next;
            }
        }
        self.tasks.len() + self.records.len() + alive
    }

    /// Removes dead `Arc`s among the next few.
    #[inline]
    fn sweep(&self, slots: usize) {
        if self.tracked.load(Relaxed) > 0 {
            self.sweep_some(slots);
        }
    }

    #[cold]
    fn sweep_some(&self, slots: usize) {
        let next = self.sweep_from(self.sweep_cursor.load(Relaxed), slots);
        self.sweep_cursor.store(next.unwrap_or(0), Relaxed);
    }

    /// Removes dead `Arc`s among so many slots; says where to go on, or `None` at the end.
    fn sweep_from(&self, start: usize, slots: usize) -> Option<usize> {
        let mut dead = Vec::new();
        let next = self.arcs.directory().scan(start, slots, |look| {
            if !is_alive(&look) {
                dead.push(look.key());
            }
        });
        for key in dead {
            self.untrack(key);
        }
        next
    }

    /// Looks at every task and registration, without yielding.
    pub(crate) fn for_each(&self, mut look: impl FnMut(EntryRef<'_, TaskEntry>)) {
        let (directory, mut cursor) = (self.tasks.directory(), 0);
        while let Some(next) = directory.scan(cursor, STEP, &mut look) {
            cursor = next;
        }
    }

    /// Looks at every task and registration, yielding to the runtime after every few slots.
    pub(crate) async fn visit(&self, mut look: impl FnMut(EntryRef<'_, TaskEntry>)) {
        let (directory, mut cursor) = (self.tasks.directory(), 0);
        while let Some(next) = directory.scan(cursor, STEP, &mut look) {
            cursor = next;
            tokio::task::yield_now().await;
        }
    }
}

/// A reference to the entries of a table, for guards that remove one. There are several, so that guards made
/// on several threads do not count themselves in one place.
#[repr(align(128))]
pub(crate) struct TableRef {
    number: u32,
    tasks: Arc<Tasks>,
    records: Arc<Records>,
    pub(crate) tracking: Arc<Tracking>,
}

impl TableRef {
    /// How far along the entry with this id is, if it is still listed. A tracked `Arc` never is.
    pub(crate) fn state_of(&self, id: ResourceId) -> Option<State> {
        let (mut state, at) = (None, id.index as usize);
        match id.table.wrapping_sub(self.number) {
            0 => {
                self.tasks.directory().scan(at, 1, |look| {
                    if look.key() == id.key() {
                        state = Some(look.state());
                    }
                });
            }
            1 => {
                self.records.directory().scan(at, 1, |look| {
                    if look.key() == id.key() {
                        state = look.upgrade().map(|record| record.state());
                    }
                });
            }
            _ => {}
        }
        state
    }

    /// Whether the entry with this id was in this table and is not any more. Of a tracked `Arc` that is not known.
    pub(crate) fn has_gone(&self, id: ResourceId) -> bool {
        id.table.wrapping_sub(self.number) < 2 && self.state_of(id).is_none()
    }

    /// Aborts the task with this id, if it is still listed.
    pub(crate) fn abort(&self, id: ResourceId) {
        if id.table == self.number {
            self.tasks.directory().scan(id.index as usize, 1, |look| {
                if look.key() == id.key() {
                    look.request_abort();
                }
            });
        }
    }

    /// Removes the record that was listed under this id in this table.
    pub(crate) fn remove(&self, id: ResourceId) {
        self.records.remove(id.key());
    }
}

impl ResourceId {
    fn key(self) -> Key {
        Key {
            index: self.index,
            generation: self.generation,
        }
    }
}

impl Key {
    #[inline]
    fn id(self, table: u32) -> ResourceId {
        ResourceId {
            table,
            index: self.index,
            generation: self.generation,
        }
    }
}

/// A tracked `Arc` whose last handle is gone is not listed any more, swept or not.
pub(crate) fn is_alive(record: &Arc<dyn Record>) -> bool {
    record.strong_count() != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Label;
    use std::panic::Location;

    fn facts() -> Facts {
        Facts {
            name: Label::borrowed("name"),
            kind: Label::borrowed("kind"),
            location: Location::caller(),
        }
    }

    /// A registration that is gone at once.
    fn register(table: &Table) {
        drop(table.register(facts(), (None, false)));
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
            register(&table);
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
