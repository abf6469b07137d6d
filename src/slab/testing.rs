//! Entries for tests of the slab and its parts.

use crate::slab::{
    block::Entry,
    directory::Key,
    guard::{HandleGuard, OwnerGuard},
    slab::{Slab, SlabRef},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Counts how many of the things made with it were dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted(self.clone())
    }
}

/// Its drop is counted.
#[derive(Debug)]
pub(crate) struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

/// An entry with a value, which is counted when it is dropped, if it shall be.
#[derive(Debug, Default)]
pub(crate) struct TestEntry {
    pub(crate) value: usize,
    counted: Option<Counted>,
    /// Left in its slot when it leaves.
    stale: Option<Counted>,
}

impl Entry for TestEntry {
    type Aside = ();
    type Remains = [Option<Counted>; 2];

    fn can_be_stale(&self) -> bool {
        self.stale.is_some()
    }

    fn clear(&mut self, (): &mut (), stays_stale: bool, remains: &mut [Option<Counted>; 2]) {
        let stale = self.stale.take_if(|_| !stays_stale);
        *remains = [self.counted.take(), stale];
    }
}

impl TestEntry {
    pub(crate) fn new(value: usize) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    /// It leaves something in its slot, which is counted when it is dropped.
    pub(crate) fn stale(self, drops: &Drops) -> Self {
        Self {
            stale: Some(drops.counted()),
            ..self
        }
    }

    pub(crate) fn counted(self, drops: &Drops) -> Self {
        Self {
            counted: Some(drops.counted()),
            ..self
        }
    }
}

/// Lists a entry for as long as its owner has it.
pub(crate) fn own(
    slab: &Arc<Slab<TestEntry>>,
    stripe: usize,
    entry: TestEntry,
) -> OwnerGuard<TestEntry> {
    let slab = SlabRef::new(slab);
    let mut vacant = slab.reserve_on(stripe);
    *vacant.entry() = entry;
    vacant.list_then_read()
}

/// Lists a entry for as long as its owner has it, with a handle to it.
pub(crate) fn share(
    slab: &Arc<Slab<TestEntry>>,
    stripe: usize,
    entry: TestEntry,
) -> (Key, OwnerGuard<TestEntry>, HandleGuard<TestEntry>) {
    let slab = SlabRef::new(slab);
    let mut vacant = slab.reserve_on(stripe);
    *vacant.entry() = entry;
    let key = vacant.key();
    let (owner, handle) = vacant.list_shared();
    (key, owner, handle)
}

/// Key and value of every entry on the list, in the order of their places.
pub(crate) fn listed(slab: &Slab<TestEntry>) -> Vec<(Key, usize)> {
    let (directory, mut cursor, mut found) = (slab.directory(), 0, Vec::new());
    while let Some(next) = directory.scan(cursor, 7, |entry| {
        found.push((entry.key(), entry.value));
    }) {
        cursor = next;
    }
    found
}
