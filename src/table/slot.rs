//! One place of the table: empty, or with one value that many may read and one may remove.
//!
//! # The state word
//!
//! generation (32 bits) · `LIVE` · `DEAD` · readers (30 bits)
//!
//! 1. *Free*: neither flag, no readers. The slot is on a free list, or in the hand of whoever took it
//!    from there.
//! 2. `LIVE`: set by [`fill`](Slot::fill) after the value is in place. Only now may readers enter.
//! 3. `DEAD`: set in the same step that clears `LIVE`, by the one remover whose generation matches. No
//!    reader enters any more. If none was inside, the remover has the slot for itself; otherwise the
//!    last reader to leave does. Whoever has it [`empties`](Slot::empty) it, which raises the
//!    generation and makes it free (1).
//!
//! So the value is written only in (1) and (3), by one thread, and read only by counted readers.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    TryCell,
};

const LIVE: u64 = 1 << 31;
const DEAD: u64 = 1 << 30;
const READERS: u64 = DEAD - 1;
const READER: u64 = 1;

#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: AtomicU64,
    value: TryCell<T>,
}

/// What a removal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// There is no such tenant (any more).
    Nobody,
    /// It is removed, and the slot is the caller's to empty.
    Ours,
    /// It is removed, and the last reader empties the slot.
    Readers,
}

impl<T> Slot<T> {
    /// A free slot whose first tenant will have this generation.
    pub(crate) fn new(generation: u32) -> Self {
        Self {
            state: AtomicU64::new(free(generation)),
            value: TryCell::empty(),
        }
    }

    /// The generation of the tenant, or of the next one.
    pub(crate) fn generation(&self) -> u32 {
        generation_of(self.state.load(Relaxed))
    }

    /// Puts a tenant in. The caller has taken the slot from a free list.
    pub(crate) fn fill(&self, value: T) {
        self.value.put(value);
        // Pairs with `enter`: who sees `LIVE` sees the value.
        self.state.store(free(self.generation()) | LIVE, Release);
    }

    /// Removes the tenant of this generation.
    pub(crate) fn remove(&self, generation: u32) -> Removal {
        let mut seen = self.state.load(Relaxed);
        loop {
            if generation_of(seen) != generation || seen & LIVE == 0 {
                return Removal::Nobody;
            }
            let dead = (seen & !LIVE) | DEAD;
            // Acquire pairs with `leave`: what readers did with the value is done.
            match self
                .state
                .compare_exchange_weak(seen, dead, AcqRel, Relaxed)
            {
                Ok(_) if seen & READERS == 0 => return Removal::Ours,
                Ok(_) => return Removal::Readers,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the value out of a dead slot and frees it. The caller is the one who may. False if the
    /// slot ran out of generations: it stays dead for ever.
    pub(crate) fn empty(&self) -> (Option<T>, bool) {
        let value = self.value.take();
        match self.generation().checked_add(1) {
            Some(next) => {
                self.state.store(free(next), Release);
                (value, true)
            }
            None => (value, false),
        }
    }

    /// Comes in as a reader, if there is a tenant; returns its generation. Must [`leave`](Self::leave).
    pub(crate) fn enter(&self) -> Option<u32> {
        let mut seen = self.state.load(Relaxed);
        loop {
            if seen & LIVE == 0 {
                return None;
            }
            match self
                .state
                .compare_exchange_weak(seen, seen + READER, Acquire, Relaxed)
            {
                Ok(_) => return Some(generation_of(seen)),
                Err(now) => seen = now,
            }
        }
    }

    /// Reads the value, inside [`enter`](Self::enter) and [`leave`](Self::leave).
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.value.read(look)
    }

    /// Goes out as a reader; true if the tenant was removed meanwhile and the slot is the caller's to
    /// empty.
    pub(crate) fn leave(&self) -> bool {
        let before = self.state.fetch_sub(READER, AcqRel);
        before & DEAD != 0 && before & READERS == READER
    }
}

fn generation_of(state: u64) -> u32 {
    (state >> 32) as u32
}

fn free(generation: u32) -> u64 {
    u64::from(generation) << 32
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_removed_by_its_own_generation_only() {
        let slot = Slot::new(7);
        assert_eq!((slot.remove(7), slot.enter()), (Removal::Nobody, None));
        slot.fill("tenant");
        assert_eq!(
            (slot.remove(6), slot.remove(8)),
            (Removal::Nobody, Removal::Nobody)
        );
        assert_eq!(
            (slot.remove(7), slot.remove(7)),
            (Removal::Ours, Removal::Nobody)
        );
        assert_eq!(
            (slot.empty(), slot.generation()),
            ((Some("tenant"), true), 8)
        );
    }

    #[test]
    fn the_last_reader_of_a_removed_tenant_has_the_slot() {
        let slot = Slot::new(0);
        slot.fill("tenant");
        assert_eq!(
            (slot.enter(), slot.enter(), slot.enter()),
            (Some(0), Some(0), Some(0))
        );
        assert!(!slot.leave(), "it is not removed");
        assert_eq!(slot.remove(0), Removal::Readers);
        assert_eq!(slot.enter(), None, "no new readers");
        assert_eq!(slot.read(|value| *value), Some("tenant"));
        assert!(!slot.leave(), "not the last");
        assert!(slot.leave());
        assert_eq!(slot.empty(), (Some("tenant"), true));
    }

    #[test]
    fn a_slot_without_generations_left_stays_dead() {
        let slot = Slot::new(u32::MAX);
        slot.fill(());
        assert_eq!(slot.remove(u32::MAX), Removal::Ours);
        assert_eq!(slot.empty(), (Some(()), false));
        assert_eq!(
            (slot.enter(), slot.remove(u32::MAX), slot.remove(0)),
            (None, Removal::Nobody, Removal::Nobody)
        );
    }
}
