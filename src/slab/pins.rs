//! Entries that a scan has found and that are read later.

#![expect(
    unsafe_code,
    reason = "a million entries that a listing found are pinned once each, and not counted again"
)]

use crate::slab::{
    block::Entry,
    directory::EntryRef,
    guard::{Hold, ReadGuard},
    slab::Slab,
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, sync::Arc};

/// Pinned entries, each with a note of how it was found: four bytes and a note, and no reference count.
pub(crate) struct Pins<T: Entry, N> {
    slab: Arc<Slab<T>>,
    found: Vec<(u32, N)>,
}

impl<T: Entry, N> Pins<T, N> {
    pub(crate) fn of(slab: &Arc<Slab<T>>, room: usize) -> Self {
        Self {
            slab: Arc::clone(slab),
            found: Vec::with_capacity(room),
        }
    }

    /// Keeps an entry of the same slab.
    #[inline]
    pub(crate) fn keep(&mut self, entry: EntryRef<'_, T>, note: N) {
        self.found.push((entry.keep(self.slab.shared()), note));
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Each entry, pinned once more.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pinned<T>, &N)> {
        self.found.iter().map(|(index, note)| {
            // Ours stays, so the one taken up is left alone.
            let ours = ManuallyDrop::new(take_up(&self.slab, *index));
            let pinned = Pinned {
                pin: ReadGuard::clone(&ours),
                slab: Arc::clone(&self.slab),
            };
            (pinned, note)
        })
    }
}

/// Takes up a pin that `keep` has left.
fn take_up<T: Entry>(slab: &Arc<Slab<T>>, index: u32) -> ReadGuard<T> {
    // SAFETY: `keep` left one pin for each index, and those who call this have the index from there. They let the guard go once,
    // or never, and hold the slab for as long as the pin.
    unsafe { slab.take_up(index) }
}

impl<T: Entry, N> Drop for Pins<T, N> {
    fn drop(&mut self) {
        let directory = self.slab.directory();
        for (index, _) in &self.found {
            // SAFETY: `keep` left it, and it is given up here.
            unsafe { directory.unpin(*index) };
        }
    }
}

/// A pinned entry, and the slab that keeps it.
pub(crate) struct Pinned<T: Entry> {
    // Before the slab.
    pin: ReadGuard<T>,
    slab: Arc<Slab<T>>,
}

impl<T: Entry> Pinned<T> {
    /// Keeps an entry of this slab.
    pub(crate) fn of(entry: EntryRef<'_, T>, slab: &Arc<Slab<T>>) -> Self {
        Self {
            pin: take_up(slab, entry.keep(slab.shared())),
            slab: Arc::clone(slab),
        }
    }
}

impl<T: Entry> Clone for Pinned<T> {
    fn clone(&self) -> Self {
        Self {
            pin: self.pin.clone(),
            slab: Arc::clone(&self.slab),
        }
    }
}

impl<T: Entry> Hold for Pinned<T> {
    type Entry = T;

    fn aside(&self) -> &T::Aside {
        self.pin.aside()
    }
}

impl<T: Entry> Deref for Pinned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.pin
    }
}

impl<T: Entry> fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pin.fmt(f)
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::slab::testing::{Drops, TestEntry};

    /// A table with one entry, and a pin on it, with a note.
    fn kept(drops: &Drops) -> (Arc<Slab<TestEntry>>, Pins<TestEntry, &'static str>) {
        let slab = Slab::with_stripes(1);
        let key = slab.reserve_on(0).list(TestEntry::new(7).counted(drops));
        let mut pins = Pins::of(&slab, 1);
        slab.directory().scan(0, 1, |look| pins.keep(look, "note"));
        assert!(slab.remove(key));
        (slab, pins)
    }

    #[test]
    fn what_is_kept_stays_after_it_was_removed_and_goes_with_its_pins() {
        let drops = Drops::default();
        let (slab, pins) = kept(&drops);
        assert_eq!((pins.len(), slab.len(), drops.count()), (1, 0, 0));
        drop(pins);
        assert_eq!(drops.count(), 1);
    }

    #[test]
    fn each_entry_that_is_kept_can_be_looked_at_more_than_once() {
        let drops = Drops::default();
        let (_slab, pins) = kept(&drops);
        for _ in 0..2 {
            let found: Vec<_> = pins.iter().map(|(pin, note)| (pin.value, *note)).collect();
            assert_eq!((found, drops.count()), (vec![(7, "note")], 0));
        }
    }

    #[test]
    fn what_was_found_outlives_those_that_found_it_and_the_handles_of_the_table() {
        let drops = Drops::default();
        let (slab, pins) = kept(&drops);
        let (found, _) = pins.iter().next().unwrap();
        drop((slab, pins));
        let clone = found.clone();
        drop(found);
        assert_eq!((clone.value, drops.count()), (7, 0));
        drop(clone);
        assert_eq!(drops.count(), 1);
    }
}
