//! Who holds an entry of the slab: its owner, the handle that was made with it, and readers.
//!
//! An entry that is held stays in its slot; it keeps the slab; and a slot that is not free stays in its block, which the slab
//! keeps. So a guard needs to know no more than where its entry is.

#![expect(
    unsafe_code,
    reason = "a guard that kept its block by a reference count would cost a task four read-modify-writes"
)]

use crate::slab::{
    block::{Block, Entry, Occupied, Vacated},
    free_list::Pushed,
    lifetime::Lifetime,
    slot::{Gone, HELD, OWNED, PIN, Slot},
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, ptr::NonNull};

/// Where an entry is.
pub(super) struct At<T: Entry> {
    block: NonNull<Block<T>>,
    slot: NonNull<Slot<Occupied<T>>>,
    lifetime: Lifetime,
}

impl<T: Entry> Clone for At<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Entry> Copy for At<T> {}

impl<T: Entry> At<T> {
    #[inline]
    pub(super) fn new(block: &Block<T>, at: usize) -> Self {
        Self {
            block: NonNull::from(block),
            slot: NonNull::from(&block.slots[at]),
            lifetime: block.lives.lifetime(),
        }
    }
}

/// A hold on an entry.
pub(crate) trait Hold: Deref<Target = Self::Entry> {
    type Entry: Entry;

    /// What lies beside the entry.
    fn aside(&self) -> &<Self::Entry as Entry>::Aside;
}

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name<T: Entry>(At<T>);

        // SAFETY: a guard is a shared reference to what is in a slot, which may be emptied on any thread that releases it;
        // slots are made for that if entries can be sent and shared.
        unsafe impl<T: Entry> Send for $name<T> {}
        // SAFETY: as above.
        unsafe impl<T: Entry> Sync for $name<T> {}

        impl<T: Entry> $name<T> {
            /// # Safety
            ///
            /// This hold is counted in the slot there, and the slab stays until it is dropped.
            #[inline]
            pub(super) unsafe fn new(at: At<T>) -> Self {
                Self(at)
            }

            #[inline]
            pub(super) fn block(&self) -> &Block<T> {
                self.0.lifetime.assert_alive();
                // SAFETY: we hold the entry, and the slab is there: that is what `new` demands. A block with an entry stays in
                // the slab.
                unsafe { self.0.block.as_ref() }
            }

            /// Which slot of its block it is.
            #[inline]
            pub(super) fn at(&self) -> usize {
                let first = self.block().slots.as_ptr();
                (self.0.slot.as_ptr() as usize - first as usize) / size_of::<Slot<Occupied<T>>>()
            }

            #[inline]
            fn slot(&self) -> &Slot<Occupied<T>> {
                self.0.lifetime.assert_alive();
                // SAFETY: as above, and so does its slot.
                unsafe { self.0.slot.as_ref() }
            }
        }

        impl<T: Entry> Hold for $name<T> {
            type Entry = T;

            #[inline]
            fn aside(&self) -> &T::Aside {
                // SAFETY: we hold the entry.
                unsafe { self.block().asides[self.at()].get() }
            }
        }

        impl<T: Entry> Deref for $name<T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: we hold the entry.
                unsafe { &self.slot().entry().entry }
            }
        }

        impl<T: Entry> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

guard! {
    /// The owner's hold. Dropping it takes the entry off the list.
    OwnerGuard
}

guard! {
    /// The hold of a handle.
    HandleGuard
}

guard! {
    /// The hold of a reader. It may not keep the slab; see [`pins`](super::pins).
    ReadGuard
}

/// An entry that its owner took off the list.
pub(crate) enum Left<'a, T: Entry> {
    /// The owner was its only holder: this is what remains, and its slot is free.
    Alone(&'a T::Remains),
    /// Others have it as well, and until now the owner.
    Shared(&'a T),
}

/// The hold of an owner whose entry is not listed any more. Released when dropped.
struct UnlistedGuard<T: Entry> {
    owner: ManuallyDrop<OwnerGuard<T>>,
    /// Whether the owner is its only holder, so that its slot is to be emptied.
    is_alone: bool,
}

impl<T: Entry> UnlistedGuard<T> {
    #[inline]
    fn new(owner: OwnerGuard<T>) -> Self {
        Self {
            // SAFETY: it is the owner's, and never dropped as such from here on.
            is_alone: unsafe { owner.block().unlist(owner.at()) },
            owner: ManuallyDrop::new(owner),
        }
    }

    /// Gives up the hold; `left` is done after the slot is free, or before others may free it.
    #[inline]
    fn leave(self, left: impl FnOnce(Left<'_, T>)) {
        if !self.is_alone {
            return left(Left::Shared(&self.owner));
        }
        // Filled in its place: to move it right after it was written would make the processor wait.
        let (this, mut vacated) = (ManuallyDrop::new(self), Vacated::none());
        let (block, at) = (this.owner.block(), this.owner.at());
        // SAFETY: this is its only holder, and this guard is forgotten.
        unsafe { block.vacate(at, Pushed::Directly, &mut vacated) };
        left(Left::Alone(&vacated.remains));
    }
}

impl<T: Entry> Drop for UnlistedGuard<T> {
    #[inline]
    fn drop(&mut self) {
        let (block, at) = (self.owner.block(), self.owner.at());
        let mut vacated = Vacated::none();
        // SAFETY: `OWNED` is ours, and given up here; `is_alone` is what `unlist` said.
        unsafe {
            if self.is_alone {
                block.vacate(at, Pushed::Directly, &mut vacated);
            } else {
                drop(block.release(at, OWNED));
            }
        }
    }
}

impl<T: Entry> OwnerGuard<T> {
    /// Takes the entry off the list, does `unlisted` while it is still in its place, gives up the hold, and does `left`.
    #[inline]
    pub(crate) fn leave(self, unlisted: impl FnOnce(&Self), left: impl FnOnce(Left<'_, T>)) {
        let guard = UnlistedGuard::new(self);
        unlisted(&guard.owner);
        guard.leave(left);
    }

    /// Whether the handle has not been released.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.slot().is_held()
    }

    /// Says that what the handle waits for is ready; false if that was released before.
    pub(crate) fn make_ready(&self) -> bool {
        // SAFETY: it is the owner's.
        unsafe { self.slot().make_ready() }
    }
}

impl<T: Entry> Drop for OwnerGuard<T> {
    #[inline]
    fn drop(&mut self) {
        // This guard ends here: the hold goes on as the other's.
        drop(UnlistedGuard::new(Self(self.0)));
    }
}

impl<T: Entry> HandleGuard<T> {
    pub(crate) fn is_ready(&self) -> bool {
        self.slot().is_ready()
    }

    /// Releases the entry, unless what the handle is for is ready.
    #[inline(always)]
    pub(crate) fn release_unready(self) -> Result<(), Self> {
        // Found before the hold is given up: if others have the entry, they may free the slot, its block and its slab from
        // then on.
        let (at, block) = (self.at(), self.0.block);
        // SAFETY: it is ours, and given up if there is an answer.
        let Some(gone) = (unsafe { self.slot().release_unready() }) else {
            return Err(self);
        };
        let _ = ManuallyDrop::new(self);
        if gone == Gone::Last {
            // SAFETY: the entry has no holder left, so its block is there until the slot is emptied.
            unsafe {
                block
                    .as_ref()
                    .vacate(at, Pushed::Retired, &mut Vacated::none());
            }
        }
        Ok(())
    }
}

impl<T: Entry> Drop for HandleGuard<T> {
    fn drop(&mut self) {
        // SAFETY: it is ours, and given up here.
        drop(unsafe { self.block().release(self.at(), HELD) });
    }
}

impl<T: Entry> Clone for ReadGuard<T> {
    fn clone(&self) -> Self {
        // SAFETY: it is pinned.
        unsafe { self.slot().pin_again() };
        Self(self.0)
    }
}

impl<T: Entry> Drop for ReadGuard<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the pin is ours, and given up here.
        drop(unsafe { self.block().release(self.at(), PIN) });
    }
}
#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::slab::{
        directory::Key,
        pins::Pinned,
        slab::Slab,
        testing::{Drops, TestEntry, listed, own, share},
    };
    use std::sync::Arc;

    fn slab() -> Arc<Slab<TestEntry>> {
        Slab::with_stripes(1)
    }

    /// The place that would be taken next.
    fn next(slab: &Slab<TestEntry>) -> Key {
        slab.reserve_on(0).key()
    }

    /// The same place, with its next entry.
    fn after(key: Key) -> Key {
        let generation = key.generation + 1;
        Key { generation, ..key }
    }

    fn pin(slab: &Arc<Slab<TestEntry>>, key: Key) -> Pinned<TestEntry> {
        let mut pinned = None;
        slab.directory().scan(key.index as usize, 1, |look| {
            pinned = Some(Pinned::of(look, slab));
        });
        pinned.expect("it is listed")
    }

    #[test]
    fn dropping_a_place_takes_its_entry_off_the_list_and_frees_it() {
        let (slab, drops) = (slab(), Drops::default());
        let key = next(&slab);
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        assert_eq!((place.value, slab.len()), (7, 1));
        assert_eq!(listed(&slab), [(key, 7)]);
        drop(place);
        assert_eq!((drops.count(), slab.len()), (1, 0));
        assert_eq!((listed(&slab), next(&slab)), (vec![], after(key)));
    }

    #[test]
    fn a_place_that_was_removed_by_its_key_is_freed_when_it_is_dropped() {
        let (slab, drops) = (slab(), Drops::default());
        let key = next(&slab);
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        assert!(slab.remove(key) && !slab.remove(key));
        assert_eq!((slab.len(), listed(&slab).len()), (0, 0));
        assert_eq!((place.value, drops.count()), (7, 0));
        assert_ne!(next(&slab).index, key.index);
        drop(place);
        assert_eq!((drops.count(), slab.len()), (1, 0));
        assert_eq!(next(&slab), after(key));
    }

    #[test]
    fn a_key_removes_nobody_whose_place_is_dropped() {
        let slab = slab();
        let (key, place, _held) = share(&slab, 0, TestEntry::new(7));
        drop(place);
        assert!(!slab.remove(key));
    }

    #[test]
    fn a_held_outlives_its_place_and_the_slot_is_free_only_afterwards() {
        let (slab, drops) = (slab(), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        assert!(place.is_held());
        drop(place);
        assert_eq!((slab.len(), listed(&slab)), (0, vec![]));
        assert_ne!(next(&slab).index, key.index);
        assert_eq!((held.value, drops.count()), (7, 0));
        drop(held);
        assert_eq!((drops.count(), slab.len()), (1, 0));
        assert_eq!(next(&slab), after(key));
    }

    #[test]
    fn a_place_outlives_its_held() {
        let (slab, drops) = (slab(), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        drop(held);
        assert!(!place.is_held());
        assert_eq!((listed(&slab), slab.len()), (vec![(key, 7)], 1));
        drop(place);
        assert_eq!((drops.count(), next(&slab)), (1, after(key)));
    }

    #[test]
    fn a_pin_outlives_place_and_held_and_so_does_its_clone() {
        let (slab, drops) = (slab(), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        let pin = pin(&slab, key);
        drop((place, held));
        let clone = pin.clone();
        drop(pin);
        assert_eq!((clone.value, drops.count(), slab.len()), (7, 0, 0));
        assert_ne!(next(&slab).index, key.index);
        drop(clone);
        assert_eq!((drops.count(), next(&slab)), (1, after(key)));
    }

    /// Whatever it is that keeps an entry in its slot, and however it left the list.
    #[test]
    fn what_is_retired_is_not_counted() {
        for by_key in [false, true] {
            let slab = slab();
            let (key, place, held) = share(&slab, 0, TestEntry::new(7));
            let (others, pin) = (own(&slab, 0, TestEntry::new(1)), pin(&slab, key));
            if by_key {
                assert!(slab.remove(key));
            }
            drop(place);
            assert_eq!(slab.len(), 1);
            drop(held);
            assert_eq!(slab.len(), 1);
            drop(pin);
            assert_eq!(slab.len(), 1);
            drop(others);
            assert_eq!(slab.len(), 0);
        }
    }

    #[test]
    fn what_leaves_alone_is_out_of_its_place() {
        let (slab, drops) = (slab(), Drops::default());
        let key = next(&slab);
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        let unlisted = |place: &OwnerGuard<TestEntry>| {
            assert_eq!((place.value, drops.count()), (7, 0));
            assert_eq!(listed(&slab), vec![]);
            assert_ne!(next(&slab), after(key));
        };
        place.leave(unlisted, |left| {
            assert!(matches!(left, Left::Alone(_)));
            assert_eq!((drops.count(), next(&slab)), (0, after(key)));
        });
        assert_eq!((drops.count(), slab.len()), (1, 0));
    }

    #[test]
    fn what_others_have_is_in_its_place_until_it_is_released() {
        let (slab, drops) = (slab(), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        place.leave(
            |_| drop(held),
            |left| {
                let Left::Shared(left) = left else {
                    panic!("others had it")
                };
                assert_eq!((left.value, drops.count(), slab.len()), (7, 0, 0));
                assert_ne!(next(&slab).index, key.index);
            },
        );
        assert_eq!((drops.count(), next(&slab)), (1, after(key)));
    }

    #[test]
    fn who_was_removed_by_its_key_leaves_as_if_it_were_shared() {
        let (slab, drops) = (slab(), Drops::default());
        let key = next(&slab);
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        assert!(slab.remove(key));
        place.leave(
            |_| {},
            |left| assert!(matches!(left, Left::Shared(left) if left.value == 7)),
        );
        assert_eq!((drops.count(), next(&slab)), (1, after(key)));
    }

    #[test]
    fn who_leaves_lets_go_though_what_is_done_meanwhile_panics() {
        let (slab, drops) = (slab(), Drops::default());
        let (_, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            place.leave(|_| panic!("on purpose"), |_| {});
        }));
        assert!(panicked.is_err());
        drop(held);
        assert_eq!((drops.count(), slab.len()), (1, 0));
    }

    #[test]
    fn who_leaves_alone_lets_go_though_what_is_done_before_panics() {
        let (slab, drops) = (slab(), Drops::default());
        let key = next(&slab);
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            place.leave(|_| panic!("on purpose"), |_| {});
        }));
        assert!(panicked.is_err());
        assert_eq!((drops.count(), slab.len()), (1, 0));
        assert_eq!(next(&slab), after(key));
    }

    #[test]
    fn what_is_ready_keeps_its_holder() {
        let slab = slab();
        let (_, place, held) = share(&slab, 0, TestEntry::new(7));
        assert!(!held.is_ready() && place.make_ready() && held.is_ready());
        let held = held.release_unready().unwrap_err();
        drop(place);
        assert_eq!(held.value, 7);
    }

    #[test]
    fn who_leaves_unready_last_frees_the_place() {
        let (slab, drops) = (slab(), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        drop(place);
        assert!(held.release_unready().is_ok());
        assert_eq!((drops.count(), next(&slab)), (1, after(key)));
    }

    #[test]
    fn an_owner_learns_that_nobody_waits_for_what_is_ready() {
        let slab = slab();
        let (_, place, held) = share(&slab, 0, TestEntry::new(7));
        assert!(held.release_unready().is_ok());
        assert!(!place.make_ready());
    }

    #[test]
    fn the_last_entry_takes_its_slab_along() {
        let (slab, drops) = (slab(), Drops::default());
        let weak = Arc::downgrade(&slab);
        let (_, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        slab.reserve_on(0).list(TestEntry::new(8).counted(&drops));
        drop((slab, place));
        assert_eq!((weak.strong_count(), drops.count()), (1, 0));
        drop(held);
        assert_eq!((weak.strong_count(), drops.count()), (0, 2));
    }
}
