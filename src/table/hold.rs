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
    slot::{HELD, OWNED, PIN, Slot, Tenant},
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, ptr::NonNull};

/// Where a tenant is.
pub(crate) struct At<T: Tenant> {
    block: NonNull<Block<T>>,
    at: u32,
}

impl<T: Tenant> Clone for At<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Tenant> Copy for At<T> {}

impl<T: Tenant> At<T> {
    #[inline]
    pub(crate) fn new(block: &Block<T>, at: u32) -> Self {
        Self {
            block: NonNull::from(block),
            at,
        }
    }

    #[inline]
    fn at(self) -> usize {
        self.at as usize
    }

    /// # Safety
    ///
    /// The tenant here is held, and the table is there, as long as the reference lives.
    #[inline]
    unsafe fn block(&self) -> &Block<T> {
        // SAFETY: a block with a tenant stays on the table.
        unsafe { self.block.as_ref() }
    }

    /// # Safety
    ///
    /// As [`block`](Self::block).
    #[inline]
    unsafe fn slot(&self) -> &Slot<T> {
        // SAFETY: as demanded.
        unsafe { &self.block().slots[self.at()] }
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

/// The hold of an owner whose tenant is not listed any more.
pub(crate) struct Leaving<T: Tenant>(ManuallyDrop<Place<T>>);

impl<T: Tenant> Deref for Leaving<T> {
    type Target = Place<T>;

    fn deref(&self) -> &Place<T> {
        &self.0
    }
}

impl<T: Tenant> Drop for Leaving<T> {
    fn drop(&mut self) {
        drop(self.block().release(self.0.0.at(), OWNED));
    }
}

impl<T: Tenant> Place<T> {
    /// Takes the tenant off the list, does something, and lets go.
    #[inline]
    pub(crate) fn leave<R>(self, then: impl FnOnce(Unlisted<'_, T>) -> R) -> R {
        let place = ManuallyDrop::new(self);
        match place.block().unlist(place.0.at()) {
            Some(remains) => then(Unlisted::Alone(&remains.keeper)),
            None => then(Unlisted::Shared(&Leaving(place))),
        }
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
        let at = self.0.at();
        drop(
            self.block()
                .unlist(at)
                .or_else(|| self.block().release(at, OWNED)),
        );
    }
}

impl<T: Tenant> Held<T> {
    /// Puts the second part of the tenant in place; once. What the caller reads afterwards, `SeqCst`, is
    /// as new as what was written before somebody looked at the tenant and did not find this.
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
        match self.slot().leave_unready() {
            Some(gone) => {
                let this = ManuallyDrop::new(self);
                drop(this.block().settle(this.0.at(), gone));
                Ok(())
            }
            None => Err(self),
        }
    }
}

impl<T: Tenant> Drop for Held<T> {
    fn drop(&mut self) {
        drop(self.block().release(self.0.at(), HELD));
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
        drop(self.block().release(self.0.at(), PIN));
    }
}
