//! One slot of the slab: empty, or with an entry that several may hold.
//!
//! # The state word
//!
//! generation (32 bits) · `LISTED` · `TOMBSTONE` · `OWNED` · `HELD` · `READY` · pins (26 bits)
//!
//! 1. *Free*: none of the flags, no pins. The entry is vacant: it is there, so that it can be filled in place, but stands
//!    for nothing. The slot is on a free list, or in the hand of the one who took it from there, who may
//!    [fill](Slot::vacant) and [`list`](Slot::list) it.
//! 2. `LISTED`: set by `list`, after the entry is in place. Only now may it be pinned. Cleared once, by its owner, and with
//!    it goes the right to new pins, except while its handle holds it: see [`pin_held`](Slot::pin_held). Others, who know its key, can take that right away before: by `TOMBSTONE`, which is
//!    set once; and then clears `LISTED` as well if there is no owner.
//! 3. `OWNED`, `HELD`, pins: who still holds the entry. `OWNED` is set if the entry has an owner, who will release it;
//!    otherwise it belongs to the list, and goes when it is not listed any more. `HELD` is the hold of a handle that is made
//!    together with the entry. Pins are readers.
//! 4. Who releases last, of an entry that is not listed any more, makes it vacant: no hold is left, none can come, so the slot
//!    is theirs alone. [`make_free`](Slot::make_free) raises the generation and makes it free (1).
//! 5. `READY`: set by the owner, at the end. Owner and handle each see whether the other was first: the handle is released
//!    [without it](Slot::release_unready), or finds it.
//!
//! So the entry is written only in (1) and (4), by one thread that is alone with it, and read only by those who hold it.
//! That is what the `unsafe` below relies on, and what the loom models check.

#![expect(
    unsafe_code,
    reason = "an entry in memory of its own costs a spawn a quarter to a half (see `docs::internals`)"
)]

use crate::sync::{
    self, AtomicU64,
    Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
    UnsafeCell,
};
use std::fmt;

const LISTED: u64 = 1 << 31;
const TOMBSTONE: u64 = 1 << 30;
/// The hold of an entry's owner.
pub(crate) const OWNED: u64 = 1 << 29;
/// The hold of the handle that was made with it.
pub(crate) const HELD: u64 = 1 << 28;
const READY: u64 = 1 << 26;
/// One pin. All of them together are the lowest bits.
pub(crate) const PIN: u64 = 1;
const PINS: u64 = READY - 1;
/// More pins than are ever needed. They are not counted further, so they never run into the flags.
const MOST_PINS: u64 = PINS / 2;
/// Whatever keeps an entry in its slot.
const HOLDS: u64 = LISTED | OWNED | HELD | PINS;

/// On cache lines of its own, what changes first.
#[repr(C, align(64))]
pub(crate) struct Slot<T> {
    state: AtomicU64,
    /// Vacant while the slot is free.
    entry: UnsafeCell<T>,
}

// SAFETY: entries are moved in and out by one thread at a time (`Send`), and shared with holds on others (`Sync`).
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

/// What a release came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Others hold the entry.
    NotYet,
    /// It was the last hold: the slot is the caller's to empty.
    Last,
}

impl<T> Slot<T> {
    /// A free slot whose first entry will have this generation.
    pub(crate) fn new(generation: u32) -> Self
    where
        T: Default,
    {
        Self {
            state: AtomicU64::new(free(generation)),
            entry: UnsafeCell::new(T::default()),
        }
    }

    /// The generation of the entry, or of the next one.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        generation_of(self.state.load(Relaxed))
    }

    /// The entry of a free slot, to be filled in place: an entry that is made elsewhere and moved here costs as much as
    /// three atomic operations more.
    ///
    /// # Safety
    ///
    /// The caller is alone with the slot, as long as the reference lives: it took it from a free list, or released its entry
    /// last.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the caller is alone with the slot")]
    pub(crate) unsafe fn vacant(&self) -> &mut T {
        // SAFETY: the entry is not listed and has no holder, and the caller is the only one who has the slot.
        self.entry.with_mut(|place| unsafe { &mut *place })
    }

    /// Lists the entry that a free slot was filled with, with these holds.
    ///
    /// `order` is `Release`, or `SeqCst` if the caller then reads something: who misses what others wrote there is listed for
    /// those who look through the slots after they wrote it.
    ///
    /// # Safety
    ///
    /// The caller alone has this slot: it took it from a free list, has filled it, and lists it once. The order is one of the
    /// two.
    #[inline(always)]
    pub(crate) unsafe fn list(&self, holds: u64, order: Ordering) {
        // Pairs with `pin`: who sees `LISTED` sees the entry.
        self.state
            .store(free(self.generation()) | LISTED | holds, order);
        if order == SeqCst {
            sync::order();
        }
    }

    /// Counts one who looks at the entry, if there is one on the list; of this generation, if one is given. Returns its
    /// generation.
    #[inline]
    pub(crate) fn pin(&self, generation: Option<u32>) -> Option<u32> {
        let mut seen = self.state.load(SeqCst);
        loop {
            let found = generation_of(seen);
            if seen & (LISTED | TOMBSTONE) != LISTED
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

    /// Counts one who looks at an entry that its owner has taken off the list, and that its handle keeps. Returns its generation.
    ///
    /// The pin is counted in the same step that sees `HELD`. So the handle has not released the entry before, and when it does,
    /// it sees the pin, and does not release last. Nor does its owner, if it still has it: it saw the handle when it took the entry off the
    /// list, so it releases its hold as others do.
    #[inline]
    pub(crate) fn pin_held(&self) -> Option<u32> {
        let mut seen = self.state.load(Acquire);
        while seen & (LISTED | HELD) == HELD {
            assert_not_too_many(seen);
            match self
                .state
                .compare_exchange_weak(seen, seen + PIN, AcqRel, Acquire)
            {
                Ok(_) => return Some(generation_of(seen)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Counts one more. Looks before it counts: a count that was made before a panic would stay, and enough of those would
    /// run into the flags.
    ///
    /// # Safety
    ///
    /// The caller holds the entry.
    pub(crate) unsafe fn pin_again(&self) {
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

    /// The entry.
    ///
    /// # Safety
    ///
    /// The caller holds it, as long as the reference lives.
    #[inline]
    pub(crate) unsafe fn entry(&self) -> &T {
        // SAFETY: it is held, so the slot is not emptied; it was filled before there was a hold.
        self.entry.with(|place| unsafe { &*place })
    }

    /// The owner takes the entry off the list. Says whether it was there, and whether the owner is its only holder.
    ///
    /// # Safety
    ///
    /// The caller has `OWNED`, and calls this once.
    #[inline]
    pub(crate) unsafe fn unlist(&self) -> (bool, bool) {
        // A subtraction, because processors have one that returns what was there, and the flag is set.
        // `SeqCst`, as that of the one who lists: the owner may ask next whether there are subscribers to be told.
        let before = self.state.fetch_sub(LISTED, SeqCst);
        (before & TOMBSTONE == 0, before & (HELD | PINS) == 0)
    }

    /// Another one takes the entry off the list; says whether it was there.
    ///
    /// # Safety
    ///
    /// The caller has pinned it.
    pub(crate) unsafe fn bury(&self) -> bool {
        let before = self.state.fetch_or(TOMBSTONE, SeqCst);
        let was_listed = before & (LISTED | TOMBSTONE) == LISTED;
        if was_listed && before & OWNED == 0 {
            self.state.fetch_sub(LISTED, AcqRel);
        }
        was_listed
    }

    /// Gives up a hold. If others hold the entry, the last of them may free slot, block and slab before this returns: after
    /// [`Gone::NotYet`] nothing of them may be touched.
    ///
    /// # Safety
    ///
    /// The caller has this hold, and gives it up with this.
    #[inline]
    pub(crate) unsafe fn release(&self, hold: u64) -> Gone {
        // A subtraction, because pins are a number and the flags are known to be set.
        let before = self.state.fetch_sub(hold, AcqRel);
        gone(before - hold)
    }

    /// What the owner has is ready; says whether the handle still is there.
    ///
    /// # Safety
    ///
    /// The caller has `OWNED`.
    pub(crate) unsafe fn make_ready(&self) -> bool {
        self.state.fetch_or(READY, AcqRel) & HELD != 0
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.load(Acquire) & READY != 0
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.load(Acquire) & HELD != 0
    }

    /// Gives up `HELD`, unless what the owner has is ready; then the answer is `None`. As with [`release`](Self::release),
    /// nothing of the slot may be touched after [`Gone::NotYet`].
    ///
    /// # Safety
    ///
    /// The caller has `HELD`, and gives it up with this, unless the answer is `None`.
    #[inline]
    pub(crate) unsafe fn release_unready(&self) -> Option<Gone> {
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

    /// Frees the slot, whose entry was made vacant. False if it has run out of generations: then it stays empty for ever.
    ///
    /// # Safety
    ///
    /// The caller released last.
    #[inline]
    pub(crate) unsafe fn make_free(&self) -> bool {
        let next = self.generation().checked_add(1);
        // Without another generation it keeps the one it had, without any flag.
        let now = free(next.unwrap_or(self.generation()));
        self.state.store(now, Release);
        next.is_some()
    }
}

/// What lies beside a slot, in memory of its own. Who may read it, and who may change it, is as with the slot's entry.
pub(crate) struct Aside<A>(UnsafeCell<A>);

// SAFETY: as of a slot.
unsafe impl<A: Send + Sync> Sync for Aside<A> {}

impl<A> Aside<A> {
    pub(crate) fn new() -> Self
    where
        A: Default,
    {
        Self(UnsafeCell::new(A::default()))
    }

    /// # Safety
    ///
    /// The caller holds the entry in the slot, as long as the reference lives.
    #[inline]
    pub(crate) unsafe fn get(&self) -> &A {
        // SAFETY: the entry is held, so only others who hold it reach this, and they read.
        self.0.with(|place| unsafe { &*place })
    }

    /// # Safety
    ///
    /// The caller is alone with the slot, as long as the reference lives: it took it from a free list, or released its entry
    /// last.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the caller is alone with the slot")]
    pub(crate) unsafe fn vacant(&self) -> &mut A {
        // SAFETY: no other reaches it.
        self.0.with_mut(|place| unsafe { &mut *place })
    }
}

/// loom does not know `Arc`, by which the one that drops a slot comes after all others.
#[cfg(headcount_loom)]
impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        self.state.fetch_add(0, AcqRel);
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

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
