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
    block::{Block, Remains},
    slot::{HELD, OWNED, PIN, Slot},
};
use std::{fmt, mem::ManuallyDrop, ops::Deref, ptr::NonNull};

/// Where a tenant is.
pub(crate) struct At<T, L> {
    block: NonNull<Block<T, L>>,
    at: u32,
}

impl<T, L> Clone for At<T, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, L> Copy for At<T, L> {}

impl<T, L> At<T, L> {
    pub(crate) fn new(block: &Block<T, L>, at: u32) -> Self {
        Self {
            block: NonNull::from(block),
            at,
        }
    }

    /// # Safety
    ///
    /// The tenant here is held, and the table is there, as long as the reference lives.
    #[inline]
    unsafe fn block(&self) -> &Block<T, L> {
        // SAFETY: a block with a tenant stays on the table.
        unsafe { self.block.as_ref() }
    }

    /// # Safety
    ///
    /// As [`block`](Self::block).
    #[inline]
    unsafe fn slot(&self) -> &Slot<T, L> {
        // SAFETY: as demanded.
        unsafe { &self.block().slots[self.at as usize] }
    }
}

macro_rules! hold {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name<T, L>(At<T, L>);

        // SAFETY: a hold is a shared reference to what is in a slot, which may be emptied on any thread
        // that lets go; slots are made for that if tenants can be sent and shared.
        unsafe impl<T: Send + Sync, L: Send + Sync> Send for $name<T, L> {}
        // SAFETY: as above.
        unsafe impl<T: Send + Sync, L: Send + Sync> Sync for $name<T, L> {}

        impl<T, L> $name<T, L> {
            /// # Safety
            ///
            /// This hold is counted in the slot there, and the table stays until it is dropped.
            #[inline]
            pub(crate) unsafe fn new(at: At<T, L>) -> Self {
                Self(at)
            }

            #[inline]
            fn block(&self) -> &Block<T, L> {
                // SAFETY: we hold the tenant, and the table is there: that is what `new` demands.
                unsafe { self.0.block() }
            }

            #[inline]
            fn slot(&self) -> &Slot<T, L> {
                // SAFETY: as above.
                unsafe { self.0.slot() }
            }
        }

        impl<T, L> Deref for $name<T, L> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: we hold the tenant.
                unsafe { self.slot().tenant() }
            }
        }

        impl<T, L> fmt::Debug for $name<T, L> {
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

/// A tenant that left the list, in the hand of its owner.
pub(crate) enum Unlisted<T, L> {
    /// Nobody else has it, and it is out of its slot.
    Alone(Remains<T, L>),
    /// It is let go when this is dropped.
    Shared(Leaving<T, L>),
}

/// The hold of an owner whose tenant is not listed any more.
pub(crate) struct Leaving<T, L>(ManuallyDrop<Place<T, L>>);

impl<T, L> Deref for Leaving<T, L> {
    type Target = Place<T, L>;

    fn deref(&self) -> &Place<T, L> {
        &self.0
    }
}

impl<T, L> Drop for Leaving<T, L> {
    fn drop(&mut self) {
        drop(self.block().release(self.0.0.at as usize, OWNED));
    }
}

impl<T, L> Deref for Unlisted<T, L> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Alone(remains) => remains.tenant(),
            Self::Shared(place) => place,
        }
    }
}

impl<T, L> Place<T, L> {
    /// Takes the tenant off the list, and keeps it.
    #[inline]
    pub(crate) fn unlist(self) -> Unlisted<T, L> {
        let place = ManuallyDrop::new(self);
        match place.block().unlist(place.0.at as usize) {
            Some(remains) => Unlisted::Alone(remains),
            None => Unlisted::Shared(Leaving(place)),
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

impl<T, L> Drop for Place<T, L> {
    #[inline]
    fn drop(&mut self) {
        let at = self.0.at as usize;
        drop(
            self.block()
                .unlist(at)
                .or_else(|| self.block().release(at, OWNED)),
        );
    }
}

impl<T, L> Held<T, L> {
    /// Puts the second part of the tenant in place; once. What the caller reads afterwards, `SeqCst`, is
    /// as new as what was written before somebody looked at the tenant and did not find this.
    #[inline]
    pub(crate) fn complete(&self, later: L) {
        debug_assert!(self.later().is_none(), "it is completed once");
        // SAFETY: there is one `Held` of a tenant, and it is not shared before the tenant is complete.
        unsafe { self.slot().complete(later) }
    }

    /// The second part of the tenant, if it has come.
    #[inline]
    pub(crate) fn later(&self) -> Option<&L> {
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
                drop(this.block().settle(this.0.at as usize, gone));
                Ok(())
            }
            None => Err(self),
        }
    }
}

impl<T, L> Drop for Held<T, L> {
    fn drop(&mut self) {
        drop(self.block().release(self.0.at as usize, HELD));
    }
}

impl<T, L> Clone for Pin<T, L> {
    fn clone(&self) -> Self {
        self.slot().pin_again();
        Self(self.0)
    }
}

impl<T, L> Drop for Pin<T, L> {
    #[inline]
    fn drop(&mut self) {
        drop(self.block().release(self.0.at as usize, PIN));
    }
}
