//! Who holds a tenant of the table: its owner, whoever the owner gave a second hold, and those who look.
//!
//! A tenant that is held stays in its slot, and a slot that has a tenant stays in its block, which the
//! table keeps as long as one of its places is not free. So a hold needs to know no more than where its
//! tenant is, as long as the table is there; see [`Reserved::own`](crate::table::slots::Reserved::own).

#![expect(
    unsafe_code,
    reason = "a hold that kept its block by a reference count would cost a task four read-modify-writes"
)]

use crate::table::{
    block::Block,
    lifetime::Lifetime,
    slot::{Gone, HELD, OWNED, PIN, Slot, Tenant},
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, ptr::NonNull};

/// Where a tenant is.
pub(crate) struct At<T: Tenant> {
    block: NonNull<Block<T>>,
    slot: NonNull<Slot<T>>,
    lifetime: Lifetime,
}

impl<T: Tenant> Clone for At<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Tenant> Copy for At<T> {}

impl<T: Tenant> At<T> {
    #[inline]
    pub(crate) fn new(block: &Block<T>, at: usize) -> Self {
        Self {
            block: NonNull::from(block),
            slot: NonNull::from(&block.slots[at]),
            lifetime: block.lives.lifetime(),
        }
    }

    /// # Safety
    ///
    /// The tenant here is held, and the table is there, as long as the reference lives.
    #[inline]
    unsafe fn block(&self) -> &Block<T> {
        self.lifetime.assert_alive();
        // SAFETY: a block with a tenant stays on the table.
        unsafe { self.block.as_ref() }
    }

    /// # Safety
    ///
    /// As [`block`](Self::block).
    #[inline]
    unsafe fn slot(&self) -> &Slot<T> {
        self.lifetime.assert_alive();
        // SAFETY: so does its slot.
        unsafe { self.slot.as_ref() }
    }
}

macro_rules! hold {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name<T: Tenant>(At<T>);

        // SAFETY: a hold is a shared reference to what is in a slot, which may be emptied on any thread
        // that lets go; slots are made for that if tenants can be sent and shared.
        unsafe impl<T: Tenant> Send for $name<T> {}
        // SAFETY: as above.
        unsafe impl<T: Tenant> Sync for $name<T> {}

        impl<T: Tenant> $name<T> {
            /// # Safety
            ///
            /// This hold is counted in the slot there, and the table stays until it is dropped.
            #[inline]
            pub(crate) unsafe fn new(at: At<T>) -> Self {
                Self(at)
            }

            #[inline]
            fn block(&self) -> &Block<T> {
                // SAFETY: we hold the tenant, and the table is there: that is what `new` demands.
                unsafe { self.0.block() }
            }

            /// Which slot of its block it is.
            #[inline]
            fn at(&self) -> usize {
                let first = self.block().slots.as_ptr();
                (self.0.slot.as_ptr() as usize - first as usize) / size_of::<Slot<T>>()
            }

            #[inline]
            fn slot(&self) -> &Slot<T> {
                // SAFETY: as above.
                unsafe { self.0.slot() }
            }
        }

        impl<T: Tenant> Deref for $name<T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: we hold the tenant.
                unsafe { self.slot().tenant() }
            }
        }

        impl<T: Tenant> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

hold! {
    /// The owner's hold. Dropping it takes the tenant off the list.
    Place
}

hold! {
    /// The hold that an owner gave away.
    Held
}

hold! {
    /// The hold of somebody who looks at the tenant.
    Pin
}

/// What an owner still has of a tenant that left the list.
pub(crate) enum Unlisted<'a, T: Tenant> {
    /// Nobody else had it, and it is gone, but for this.
    Alone(&'a T::Keeper),
    /// Others have it as well.
    Shared(&'a Place<T>),
}

/// The hold of an owner whose tenant is not listed any more. Gives it up when dropped.
struct Leaving<T: Tenant> {
    place: ManuallyDrop<Place<T>>,
    /// Whether nobody else has the tenant, so that its slot is to be emptied.
    is_alone: bool,
}

impl<T: Tenant> Leaving<T> {
    #[inline]
    fn new(place: Place<T>) -> Self {
        Self {
            is_alone: place.block().unlist(place.at()),
            place: ManuallyDrop::new(place),
        }
    }

    /// Gives the hold up, and tells what that came to.
    #[inline]
    fn finish<R>(self, then: impl FnOnce(Unlisted<'_, T>) -> R) -> R {
        if self.is_alone {
            let this = ManuallyDrop::new(self);
            let remains = this.place.block().vacate_unlisted(this.place.at());
            return then(Unlisted::Alone(&remains.keeper));
        }
        then(Unlisted::Shared(&self.place))
    }
}

impl<T: Tenant> Drop for Leaving<T> {
    #[inline]
    fn drop(&mut self) {
        let (block, at) = (self.place.block(), self.place.at());
        drop(if self.is_alone {
            Some(block.vacate_unlisted(at))
        } else {
            block.release(at, OWNED)
        });
    }
}

impl<T: Tenant> Place<T> {
    /// Takes the tenant off the list, does something while it is still in its place, lets go of it if nobody else has
    /// it, and does the rest.
    #[inline]
    pub(crate) fn leave<R>(
        self,
        unlisted: impl FnOnce(&Self),
        then: impl FnOnce(Unlisted<'_, T>) -> R,
    ) -> R {
        let leaving = Leaving::new(self);
        unlisted(&leaving.place);
        leaving.finish(then)
    }

    /// Puts the second part of the tenant in place, as [`Held::complete`] does, which is not used then.
    #[cfg(feature = "dump")]
    #[inline]
    pub(crate) fn complete(&self, later: T::Later) {
        debug_assert!(!self.slot().has_later(), "it is completed once");
        // SAFETY: there is one `Place` of a tenant, and it is not shared.
        unsafe { self.slot().complete(later) }
    }

    /// Whether the second hold has not been let go.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.slot().is_held()
    }

    /// Says that what the other hold waits for is ready; false if that was let go before.
    pub(crate) fn ready(&self) -> bool {
        self.slot().ready()
    }
}

impl<T: Tenant> Drop for Place<T> {
    #[inline]
    fn drop(&mut self) {
        let (block, at) = (self.block(), self.at());
        drop(if block.unlist(at) {
            Some(block.vacate_unlisted(at))
        } else {
            block.release(at, OWNED)
        });
    }
}

impl<T: Tenant> Held<T> {
    /// Puts the second part of the tenant in place; once. What the caller reads afterwards, `SeqCst`, is
    /// as new as what was written before somebody looked at the tenant and did not find this.
    #[cfg(any(test, not(feature = "dump")))]
    #[inline]
    pub(crate) fn complete(&self, later: T::Later) {
        debug_assert!(self.later().is_none(), "it is completed once");
        // SAFETY: there is one `Held` of a tenant, and it is not shared before the tenant is complete.
        unsafe { self.slot().complete(later) }
    }

    /// The second part of the tenant, if it has come.
    #[inline]
    pub(crate) fn later(&self) -> Option<&T::Later> {
        // SAFETY: we hold the tenant.
        unsafe { self.slot().later() }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.slot().is_ready()
    }

    /// Lets go, unless what it was for is ready.
    #[inline]
    pub(crate) fn leave_unready(self) -> Result<(), Self> {
        // Found before the hold is given up: if others have the tenant, they may free the slot, its block and its table
        // from then on.
        let (at, block) = (self.at(), self.0.block);
        let Some(gone) = self.slot().leave_unready() else {
            return Err(self);
        };
        let _ = ManuallyDrop::new(self);
        if gone == Gone::Last {
            // SAFETY: nobody else has the tenant, so its block is there until the slot is emptied.
            drop(unsafe { block.as_ref() }.settle(at, gone));
        }
        Ok(())
    }
}

impl<T: Tenant> Drop for Held<T> {
    fn drop(&mut self) {
        drop(self.block().release(self.at(), HELD));
    }
}

#[cfg(feature = "dump")]
impl<T: Tenant> Pin<T> {
    /// The second part of the tenant, if it has come.
    pub(crate) fn later(&self) -> Option<&T::Later> {
        // SAFETY: we hold the tenant.
        unsafe { self.slot().later() }
    }
}

impl<T: Tenant> Clone for Pin<T> {
    fn clone(&self) -> Self {
        self.slot().pin_again();
        Self(self.0)
    }
}

impl<T: Tenant> Drop for Pin<T> {
    #[inline]
    fn drop(&mut self) {
        drop(self.block().release(self.at(), PIN));
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::table::{
        pins::Pinned,
        slots::{Key, Slots},
        testing::{Drops, Guest, listed, own, share},
    };
    use std::sync::Arc;

    fn table() -> Arc<Slots<Guest>> {
        Slots::with_stripes(1)
    }

    /// The place that would be taken next.
    fn next(table: &Slots<Guest>) -> Key {
        table.reserve_on(0).key()
    }

    /// The same place, with its next tenant.
    fn after(key: Key) -> Key {
        let generation = key.generation + 1;
        Key { generation, ..key }
    }

    fn pin(table: &Arc<Slots<Guest>>, key: Key) -> Pinned<Guest> {
        let mut pinned = None;
        table.directory().scan(key.index as usize, 1, |look| {
            pinned = Some(Pinned::of(look, table));
        });
        pinned.expect("it is listed")
    }

    #[test]
    fn dropping_a_place_takes_its_tenant_off_the_list_and_frees_it() {
        let (table, drops) = (table(), Drops::default());
        let key = next(&table);
        let place = own(&table, 0, Guest::new(7).counted(&drops));
        assert_eq!((place.value, table.len()), (7, 1));
        assert_eq!(listed(&table), [(key, 7)]);
        drop(place);
        assert_eq!((drops.count(), table.len()), (1, 0));
        assert_eq!((listed(&table), next(&table)), (vec![], after(key)));
    }

    #[test]
    fn a_place_that_was_removed_by_its_key_is_freed_when_it_is_dropped() {
        let (table, drops) = (table(), Drops::default());
        let key = next(&table);
        let place = own(&table, 0, Guest::new(7).counted(&drops));
        assert!(table.remove(key) && !table.remove(key));
        assert_eq!((table.len(), listed(&table).len()), (0, 0));
        assert_eq!((place.value, drops.count()), (7, 0));
        assert_ne!(next(&table).index, key.index);
        drop(place);
        assert_eq!((drops.count(), table.len()), (1, 0));
        assert_eq!(next(&table), after(key));
    }

    #[test]
    fn a_key_removes_nobody_whose_place_is_dropped() {
        let table = table();
        let (key, place, _held) = share(&table, 0, Guest::new(7));
        drop(place);
        assert!(!table.remove(key));
    }

    #[test]
    fn a_held_outlives_its_place_and_the_slot_is_free_only_afterwards() {
        let (table, drops) = (table(), Drops::default());
        let (key, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        assert!(place.is_held());
        drop(place);
        assert_eq!((table.len(), listed(&table)), (0, vec![]));
        assert_ne!(next(&table).index, key.index);
        assert_eq!((held.value, drops.count()), (7, 0));
        drop(held);
        assert_eq!((drops.count(), table.len()), (1, 0));
        assert_eq!(next(&table), after(key));
    }

    #[test]
    fn a_place_outlives_its_held() {
        let (table, drops) = (table(), Drops::default());
        let (key, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        drop(held);
        assert!(!place.is_held());
        assert_eq!((listed(&table), table.len()), (vec![(key, 7)], 1));
        drop(place);
        assert_eq!((drops.count(), next(&table)), (1, after(key)));
    }

    #[test]
    fn a_pin_outlives_place_and_held_and_so_does_its_clone() {
        let (table, drops) = (table(), Drops::default());
        let (key, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        let pin = pin(&table, key);
        drop((place, held));
        let clone = pin.clone();
        drop(pin);
        assert_eq!((clone.value, drops.count(), table.len()), (7, 0, 0));
        assert_ne!(next(&table).index, key.index);
        drop(clone);
        assert_eq!((drops.count(), next(&table)), (1, after(key)));
    }

    /// Whatever it is that keeps a tenant in its slot, and however it left the list.
    #[test]
    fn who_lingers_is_not_counted() {
        for by_key in [false, true] {
            let table = table();
            let (key, place, held) = share(&table, 0, Guest::new(7));
            let (others, pin) = (own(&table, 0, Guest::new(1)), pin(&table, key));
            if by_key {
                assert!(table.remove(key));
            }
            drop(place);
            assert_eq!(table.len(), 1);
            drop(held);
            assert_eq!(table.len(), 1);
            drop(pin);
            assert_eq!(table.len(), 1);
            drop(others);
            assert_eq!(table.len(), 0);
        }
    }

    #[test]
    fn who_leaves_alone_is_gone_but_for_its_keeper() {
        let (table, drops) = (table(), Drops::default());
        let place = own(&table, 0, Guest::new(7).counted(&drops));
        let kept = place.leave(
            |place| {
                assert_eq!((place.value, drops.count()), (7, 0));
                assert_eq!(listed(&table), vec![]);
            },
            |left| match left {
                Unlisted::Alone(keeper) => (drops.count(), keeper.is_some(), table.len()),
                Unlisted::Shared(_) => panic!("nobody else has it"),
            },
        );
        assert_eq!(kept, (1, true, 0));
    }

    #[test]
    fn who_leaves_others_behind_is_there_until_it_has_left() {
        let (table, drops) = (table(), Drops::default());
        let (key, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        place.leave(
            |_| {},
            |left| match left {
                Unlisted::Alone(_) => panic!("somebody else has it"),
                Unlisted::Shared(place) => {
                    drop(held);
                    assert_eq!((place.value, drops.count(), table.len()), (7, 0, 0));
                    assert_ne!(next(&table).index, key.index);
                }
            },
        );
        assert_eq!((drops.count(), next(&table)), (1, after(key)));
    }

    #[test]
    fn who_was_removed_by_its_key_leaves_as_if_it_were_shared() {
        let (table, drops) = (table(), Drops::default());
        let key = next(&table);
        let place = own(&table, 0, Guest::new(7).counted(&drops));
        assert!(table.remove(key));
        let was_there = place.leave(
            |_| {},
            |left| match left {
                Unlisted::Alone(_) => false,
                Unlisted::Shared(place) => place.value == 7 && drops.count() == 0,
            },
        );
        assert!(was_there);
        assert_eq!((drops.count(), next(&table)), (1, after(key)));
    }

    #[test]
    fn who_leaves_lets_go_though_what_is_done_meanwhile_panics() {
        let (table, drops) = (table(), Drops::default());
        let (_, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            place.leave(|_| {}, |_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        drop(held);
        assert_eq!((drops.count(), table.len()), (1, 0));
    }

    #[test]
    fn who_leaves_alone_lets_go_though_what_is_done_before_panics() {
        let (table, drops) = (table(), Drops::default());
        let key = next(&table);
        let place = own(&table, 0, Guest::new(7).counted(&drops));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            place.leave(|_| panic!("on purpose"), |_| {});
        }));
        assert!(panicked.is_err());
        assert_eq!((drops.count(), table.len()), (1, 0));
        assert_eq!(next(&table), after(key));
    }

    #[test]
    fn what_is_ready_keeps_its_holder() {
        let table = table();
        let (_, place, held) = share(&table, 0, Guest::new(7));
        assert!(!held.is_ready() && place.ready() && held.is_ready());
        let held = held.leave_unready().unwrap_err();
        drop(place);
        assert_eq!(held.value, 7);
    }

    #[test]
    fn who_leaves_unready_last_frees_the_place() {
        let (table, drops) = (table(), Drops::default());
        let (key, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        drop(place);
        assert!(held.leave_unready().is_ok());
        assert_eq!((drops.count(), next(&table)), (1, after(key)));
    }

    #[test]
    fn an_owner_learns_that_nobody_waits_for_what_is_ready() {
        let table = table();
        let (_, place, held) = share(&table, 0, Guest::new(7));
        assert!(held.leave_unready().is_ok());
        assert!(!place.ready());
    }

    #[test]
    fn what_comes_later_is_seen_by_its_holder_and_by_those_who_look() {
        let (table, drops) = (table(), Drops::default());
        let (key, _place, held) = share(&table, 0, Guest::new(7));
        let looks_complete = || {
            let mut is_complete = false;
            table.directory().scan(key.index as usize, 1, |look| {
                is_complete = look.later().is_some();
            });
            is_complete
        };
        assert!(held.later().is_none() && !looks_complete());
        held.complete(drops.counted());
        assert!(held.later().is_some() && looks_complete());
    }

    #[test]
    fn the_last_guest_takes_its_table_along() {
        let (table, drops) = (table(), Drops::default());
        let weak = Arc::downgrade(&table);
        let (_, place, held) = share(&table, 0, Guest::new(7).counted(&drops));
        table.reserve_on(0).list(Guest::new(8).counted(&drops));
        drop((table, place));
        assert_eq!((weak.strong_count(), drops.count()), (1, 0));
        drop(held);
        assert_eq!((weak.strong_count(), drops.count()), (0, 2));
    }
}
