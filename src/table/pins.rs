//! Entries that somebody has found and keeps looking at.

use crate::table::{
    hold::Pin,
    slot::Tenant,
    slots::{Look, Slots},
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, sync::Arc};

/// Pinned entries, each with a note of how it was found: four bytes and a note, and no reference count.
pub(crate) struct Pins<T: Tenant, N> {
    slots: Arc<Slots<T>>,
    found: Vec<(u32, N)>,
}

impl<T: Tenant, N> Pins<T, N> {
    pub(crate) fn of(slots: &Arc<Slots<T>>, room: usize) -> Self {
        Self {
            slots: Arc::clone(slots),
            found: Vec::with_capacity(room),
        }
    }

    /// Keeps an entry of the same table.
    #[inline]
    pub(crate) fn keep(&mut self, look: Look<'_, T>, note: N) {
        self.found.push((look.keep(), note));
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Each entry, pinned once more.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pinned<T>, &N)> {
        self.found.iter().map(|(index, note)| {
            // Ours stays, so the one taken up is left alone.
            let ours = ManuallyDrop::new(take_up(&self.slots, *index));
            let pinned = Pinned {
                pin: Pin::clone(&ours),
                slots: Arc::clone(&self.slots),
            };
            (pinned, note)
        })
    }
}

/// Takes up a pin that a look has left.
#[expect(unsafe_code, reason = "nobody counts again what was counted before")]
fn take_up<T: Tenant>(slots: &Arc<Slots<T>>, index: u32) -> Pin<T> {
    // SAFETY: `keep` left one pin for each index, and those who call this have the index from there; they
    // hold the table for as long as the pin.
    unsafe { slots.take_up(index) }
}

impl<T: Tenant, N> Drop for Pins<T, N> {
    fn drop(&mut self) {
        let directory = self.slots.directory();
        for (index, _) in &self.found {
            directory.let_go(*index);
        }
    }
}

/// A pinned entry, and the table that keeps it.
pub(crate) struct Pinned<T: Tenant> {
    // Before the table.
    pin: Pin<T>,
    slots: Arc<Slots<T>>,
}

impl<T: Tenant> Pinned<T> {
    /// Keeps an entry of this table.
    pub(crate) fn of(look: Look<'_, T>, slots: &Arc<Slots<T>>) -> Self {
        Self {
            pin: take_up(slots, look.keep()),
            slots: Arc::clone(slots),
        }
    }
}

#[cfg(feature = "dump")]
impl<T: Tenant> Pinned<T> {
    /// The second part of the entry, if it has come.
    pub(crate) fn later(&self) -> Option<&T::Later> {
        self.pin.later()
    }
}

impl<T: Tenant> Clone for Pinned<T> {
    fn clone(&self) -> Self {
        Self {
            pin: self.pin.clone(),
            slots: Arc::clone(&self.slots),
        }
    }
}

impl<T: Tenant> Deref for Pinned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.pin
    }
}

impl<T: Tenant> fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pin.fmt(f)
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::table::testing::{Drops, Guest};

    /// A table with one guest, and a pin on it, with a note.
    fn kept(drops: &Drops) -> (Arc<Slots<Guest>>, Pins<Guest, &'static str>) {
        let slots = Slots::with_stripes(1);
        let key = slots.reserve_on(0).list(Guest::new(7).counted(drops));
        let mut pins = Pins::of(&slots, 1);
        slots.directory().scan(0, 1, |look| pins.keep(look, "note"));
        assert!(slots.remove(key));
        (slots, pins)
    }

    #[test]
    fn what_is_kept_stays_after_it_was_removed_and_goes_with_its_pins() {
        let drops = Drops::default();
        let (slots, pins) = kept(&drops);
        assert_eq!((pins.len(), slots.len(), drops.count()), (1, 0, 0));
        drop(pins);
        assert_eq!(drops.count(), 1);
    }

    #[test]
    fn each_entry_that_is_kept_can_be_looked_at_more_than_once() {
        let drops = Drops::default();
        let (_slots, pins) = kept(&drops);
        for _ in 0..2 {
            let found: Vec<_> = pins.iter().map(|(pin, note)| (pin.value, *note)).collect();
            assert_eq!((found, drops.count()), (vec![(7, "note")], 0));
        }
    }

    #[test]
    fn what_was_found_outlives_those_that_found_it_and_the_handles_of_the_table() {
        let drops = Drops::default();
        let (slots, pins) = kept(&drops);
        let (found, _) = pins.iter().next().unwrap();
        drop((slots, pins));
        let clone = found.clone();
        drop(found);
        assert_eq!((clone.value, drops.count()), (7, 0));
        drop(clone);
        assert_eq!(drops.count(), 1);
    }
}
