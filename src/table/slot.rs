//! One slot of the table: empty, or with a tenant whom several may hold.
//!
//! # The state word
//!
//! generation (32 bits) · `LISTED` · `STRUCK` · `OWNED` · `HELD` · `LATER` · `READY` · pins (26 bits)
//!
//! 1. *Free*: none of the flags, no pins. The slot is on a free list, or in the hand of whoever took it
//!    from there, who may [`fill`](Slot::fill) it. A shell of the last tenant may be in it.
//! 2. `LISTED`: set by `fill`, after the tenant is in place. Only now may it be pinned. Cleared once, by its
//!    owner, and with it goes the right to new pins. Somebody else, who knows its key, can take that right
//!    away before: by `STRUCK`, which is set once; and then clears `LISTED` as well if there is no owner.
//! 3. `OWNED`, `HELD`, pins: who still holds the tenant. `OWNED` is set if the tenant has an owner, who will
//!    let go of it; otherwise it belongs to the list, and goes when it is not listed any more. `HELD` is a
//!    second hold that an owner may have given away. Pins are those who look at it.
//! 4. Who lets go last, of a tenant that is not listed any more, [`empty`](Slot::empty)s the slot: no hold
//!    is left, none can come, so it is theirs alone. That raises the generation and makes it free (1).
//! 5. `LATER`: set after the second part of the tenant is in place, by whoever has `HELD`.
//! 6. `READY`: set by the owner, at the end. Owner and holder each see whether the other was first: the
//!    holder goes [without it](Slot::leave_unready), or finds it and takes what is ready.
//!
//! So the tenant is written only in (1) and (4), by one thread that is alone with it, and read only by
//! those who hold it; its second part is written once, before `LATER`, and read only after it. That is
//! what the `unsafe` below stands on, and what the models check.

#![expect(
    unsafe_code,
    reason = "a slot that is its tenant's memory saves a task an allocation and six read-modify-writes"
)]

#[cfg(not(headcount_loom))]
use crate::panics;
use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    UnsafeCell, last, order,
};
use std::{fmt, mem::MaybeUninit};

const LISTED: u64 = 1 << 31;
const STRUCK: u64 = 1 << 30;
/// The hold of a tenant's owner.
pub(crate) const OWNED: u64 = 1 << 29;
/// The hold that an owner gave away.
pub(crate) const HELD: u64 = 1 << 28;
const LATER: u64 = 1 << 27;
const READY: u64 = 1 << 26;
/// One pin. All of them together are the lowest bits.
pub(crate) const PIN: u64 = 1;
const PINS: u64 = READY - 1;
/// More pins than anybody needs. Nobody ever counts further, so they never run into the flags.
const MOST_PINS: u64 = PINS / 2;
/// Whatever keeps a tenant in its slot.
const HOLDS: u64 = LISTED | OWNED | HELD | PINS;

/// What can be put into a slot.
pub(crate) trait Tenant: Send + Sync + 'static {
    /// Its second part, which comes later; when the tenant is gone, its shell.
    type Later: Send + Sync;
    /// What may keep the table that the slot is in.
    type Keeper;

    /// Whether the thread of this number made it, as far as it knows.
    fn was_made_by(&self, thread: u32) -> bool;

    /// Gives away what may keep the table; the rest is dropped in the slot.
    fn take_keeper(&mut self) -> Self::Keeper;
}

/// On cache lines of its own, what changes first.
#[repr(C, align(64))]
pub(crate) struct Slot<T: Tenant> {
    state: AtomicU64,
    later: UnsafeCell<Option<T::Later>>,
    /// There whenever anything holds it.
    tenant: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: tenants are moved in and out by one thread at a time, and shared with holders on others; so is
// the second part, and what is left of it in a free slot goes to whoever takes that.
unsafe impl<T: Tenant> Sync for Slot<T> {}

/// What letting go came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Others hold the tenant.
    NotYet,
    /// It was the last hold: the slot is the caller's to empty.
    Last,
}

impl<T: Tenant> Slot<T> {
    /// A free slot whose first tenant will have this generation.
    pub(crate) fn new(generation: u32) -> Self {
        Self {
            state: AtomicU64::new(free(generation)),
            tenant: UnsafeCell::new(MaybeUninit::uninit()),
            later: UnsafeCell::new(None),
        }
    }

    /// The generation of the tenant, or of the next one.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        generation_of(self.state.load(Relaxed))
    }

    /// Whether the second part has come.
    #[inline]
    pub(crate) fn has_later(&self) -> bool {
        self.state.load(Relaxed) & LATER != 0
    }

    /// Lists the tenant that `init` puts in, with these holds. In place: a tenant that is made elsewhere and
    /// moved here costs as much as three atomic operations more.
    ///
    /// # Safety
    ///
    /// The caller alone has this slot: it took it from a free list, and fills it once. `init` puts a tenant
    /// in.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, holds: u64, init: impl FnOnce(&mut MaybeUninit<T>)) {
        // SAFETY: the slot is free, so nobody looks at it, and the caller is the only one to fill it.
        self.tenant.with_mut(|place| init(unsafe { &mut *place }));
        // Pairs with `pin`: who sees `LISTED` sees the tenant.
        self.state
            .store(free(self.generation()) | LISTED | holds, Release);
    }

    /// Takes out the shell that the last tenant left.
    ///
    /// # Safety
    ///
    /// The caller alone has this slot: it took it from a free list.
    #[inline]
    pub(crate) unsafe fn take_shell(&self) -> Option<T::Later> {
        // SAFETY: the slot is free, so nobody looks at it, and the caller is the only one who has it.
        self.later.with_mut(|place| unsafe { (*place).take() })
    }

    /// Counts one who looks at the tenant, if there is one on the list; of this generation, if one is
    /// given. Returns its generation.
    #[inline]
    pub(crate) fn pin(&self, generation: Option<u32>) -> Option<u32> {
        let mut seen = self.state.load(SeqCst);
        loop {
            let found = generation_of(seen);
            if seen & (LISTED | STRUCK) != LISTED
                || generation.is_some_and(|wanted| wanted != found)
            {
                return None;
            }
            assert_not_too_many(seen);
            match self
                .state
                .compare_exchange_weak(seen, seen + PIN, SeqCst, SeqCst)
            {
                Ok(_) => return Some(found),
                Err(now) => seen = now,
            }
        }
    }

    /// Counts one more, from one who holds the tenant. Looks before it counts: a count that was made before a panic
    /// would stay, and enough of those would run into the flags.
    pub(crate) fn pin_again(&self) {
        let mut seen = self.state.load(Relaxed);
        loop {
            assert_not_too_many(seen);
            let counted = seen + PIN;
            match self
                .state
                .compare_exchange_weak(seen, counted, Relaxed, Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The tenant.
    ///
    /// # Safety
    ///
    /// The caller holds it, as long as the reference lives.
    #[inline]
    pub(crate) unsafe fn tenant(&self) -> &T {
        // SAFETY: it is held, so nobody empties the slot; it was filled before there was a hold.
        self.tenant
            .with(|place| unsafe { (*place).assume_init_ref() })
    }

    /// The second part of the tenant, if it has come.
    ///
    /// # Safety
    ///
    /// The caller holds the tenant, as long as the reference lives.
    #[inline]
    pub(crate) unsafe fn later(&self) -> Option<&T::Later> {
        if self.state.load(SeqCst) & LATER == 0 {
            return None;
        }
        // SAFETY: `LATER` says that it is in place, and it stays until the slot is emptied.
        self.later.with(|place| unsafe { (*place).as_ref() })
    }

    /// Puts the second part in. `SeqCst`: whoever writes elsewhere, looks at the slot afterwards and
    /// misses this, wrote before whatever the caller looks at next.
    ///
    /// # Safety
    ///
    /// The caller has the `HELD` of this tenant, and calls this once.
    #[inline]
    pub(crate) unsafe fn complete(&self, later: T::Later) {
        // SAFETY: nobody else writes it, and nobody reads it before `LATER`.
        self.later.with_mut(|place| unsafe { *place = Some(later) });
        self.state.fetch_or(LATER, SeqCst);
        order();
    }

    /// The owner takes the tenant off the list. Says whether it was there, and whether nobody but the
    /// owner holds it.
    #[inline]
    pub(crate) fn unlist(&self) -> (bool, bool) {
        // A subtraction, because processors have one that tells what was there, and the flag is set.
        let before = self.state.fetch_sub(LISTED, AcqRel);
        (before & STRUCK == 0, before & (HELD | PINS) == 0)
    }

    /// Somebody else takes the tenant off the list; says whether it was there. The caller has pinned it.
    pub(crate) fn strike(&self) -> bool {
        let before = self.state.fetch_or(STRUCK, AcqRel);
        let was_listed = before & (LISTED | STRUCK) == LISTED;
        if was_listed && before & OWNED == 0 {
            self.state.fetch_sub(LISTED, AcqRel);
        }
        was_listed
    }

    /// Lets go of the tenant. If others hold it, whoever lets go last may free slot, block and table before this
    /// returns: after [`Gone::NotYet`] nothing of them may be touched.
    #[inline]
    pub(crate) fn release(&self, hold: u64) -> Gone {
        // A subtraction, because pins are a number and the flags are known to be set.
        let before = self.state.fetch_sub(hold, AcqRel);
        gone(before - hold)
    }

    /// What the owner has is ready; says whether the other hold still is there.
    pub(crate) fn ready(&self) -> bool {
        self.state.fetch_or(READY, AcqRel) & HELD != 0
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.load(Acquire) & READY != 0
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.load(Acquire) & HELD != 0
    }

    /// Lets go of `HELD`, unless what the owner has is ready; then the answer is `None`. As with
    /// [`release`](Self::release), nothing of the slot may be touched after [`Gone::NotYet`].
    #[inline]
    pub(crate) fn leave_unready(&self) -> Option<Gone> {
        let mut seen = self.state.load(Acquire);
        while seen & READY == 0 {
            let left = seen & !HELD;
            match self
                .state
                .compare_exchange_weak(seen, left, AcqRel, Acquire)
            {
                Ok(_) => return Some(gone(left)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Drops the tenant and frees the slot. What the tenant leaves to be dropped outside comes back, and the
    /// second part if it is not to be kept as a shell. The last answer is false if the slot has run out of
    /// generations: then it stays empty for ever.
    ///
    /// # Safety
    ///
    /// The caller let go last.
    #[inline]
    pub(crate) unsafe fn empty(&self, keep_shell: bool) -> (T::Keeper, Option<T::Later>, bool)
    where
        T: Tenant,
    {
        // SAFETY: nobody holds the tenant, and it is not listed, so nobody ever will.
        let keeper = self.tenant.with_mut(|place| unsafe {
            let keeper = (*place).assume_init_mut().take_keeper();
            (*place).assume_init_drop();
            keeper
        });
        let shell = if keep_shell {
            None
        } else {
            // SAFETY: as above.
            unsafe { self.take_shell() }
        };
        let next = self.generation().checked_add(1);
        // Without another generation it keeps the one it had, without any flag.
        let now = free(next.unwrap_or(self.generation()));
        self.state.store(now, Release);
        (keeper, shell, next.is_some())
    }
}

/// A table that goes takes its tenants along.
impl<T: Tenant> Drop for Slot<T> {
    fn drop(&mut self) {
        if last(&self.state) & HOLDS != 0 {
            // SAFETY: whoever drops a slot is alone with it, and somebody held the tenant.
            self.tenant
                .with_mut(|place| unsafe { (*place).assume_init_drop() });
        }
        // It may be the last thing that keeps a runtime's memory, with values of users in it. loom does not see that
        // whoever took one out before came before us, and drops what is left with the cell.
        // SAFETY: as above.
        #[cfg(not(headcount_loom))]
        panics::discard(unsafe { self.take_shell() });
    }
}

#[inline]
fn gone(left: u64) -> Gone {
    if left & HOLDS == 0 {
        Gone::Last
    } else {
        Gone::NotYet
    }
}

#[inline]
fn assert_not_too_many(state: u64) {
    assert!(
        state & PINS < MOST_PINS,
        "33 million clones of `Resource` hold one entry"
    );
}

#[inline]
fn generation_of(state: u64) -> u32 {
    (state >> 32) as u32
}

#[inline]
fn free(generation: u32) -> u64 {
    u64::from(generation) << 32
}

impl<T: Tenant> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
