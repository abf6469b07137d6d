//! Slots in rows: each empty, or with one value that many may read and one may remove.
//!
//! # The state word of a slot
//!
//! generation (32 bits) · `LIVE` · `DEAD` · `LEFT`
//!
//! 1. *Free*: no flag. The slot is on a free list, or in the hand of whoever took it from there.
//! 2. `LIVE`: set by [`fill`](Row::fill) after the value is in place. Only now may it be read.
//! 3. `DEAD`: set in the step that clears `LIVE`, by the one remover whose generation matches. It belongs
//!    to whoever set it, who waits for nobody: if no reader is in the row, it is theirs to empty, which
//!    raises the generation and makes it free (1). Otherwise they leave it:
//! 4. `LEFT`: dead, and whoever turns it back into `DEAD` (3) empties it: the last reader to leave the
//!    row, or the remover if there is none after all.
//!
//! # Readers
//!
//! They are counted for a whole row, so that a listing pays for its entry once in a row. A reader counts
//! itself and then looks at the state; a remover changes the state and then looks at the count. Both are
//! `SeqCst`, so one of them sees the other: a reader that finds `LIVE` is seen by every remover that
//! could empty the slot.
//!
//! So a value is written only in (1) and (3), by one thread while no reader is in it, and read only in
//! (2) by counted readers: that is what the `unsafe` below stands on, and what the models check.

#![expect(
    unsafe_code,
    reason = "a checked cell costs two read-modify-writes more for each entry, a quarter of a registration"
)]

use crate::sync::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release, SeqCst},
    UnsafeCell, order,
};
use std::{fmt, ops::Range};

/// Slots in a row.
#[cfg(not(headcount_loom))]
const ROW: usize = 64;
#[cfg(headcount_loom)]
const ROW: usize = 2;

const LIVE: u64 = 1 << 31;
const DEAD: u64 = 1 << 30;
const LEFT: u64 = 1 << 29;

/// Set in a count of readers when a slot of the row was left to them.
const LITTER: u32 = 1 << 31;

/// All slots of a block.
pub(crate) struct Rows<T> {
    slots: Box<[Slot<T>]>,
    /// How many readers are in each row, and [`LITTER`].
    readers: Box<[AtomicU32]>,
}

struct Slot<T> {
    state: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: a value is moved in and out by one thread at a time, and shared with readers on others.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

/// What a removal came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removal<T> {
    /// There is no such tenant (any more).
    Nobody,
    /// It is removed, and out of its slot.
    Done(Emptied<T>),
    /// It is removed, and the last reader empties the slot.
    Readers,
}

/// A slot that was emptied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Emptied<T> {
    pub(crate) at: usize,
    pub(crate) value: Option<T>,
    /// False if the slot ran out of generations: it stays dead for ever.
    pub(crate) is_free: bool,
}

impl<T> Rows<T> {
    /// Free slots whose first tenants will have this generation.
    pub(crate) fn new(slots: usize, generation: u32) -> Self {
        let slot = |_| Slot {
            state: AtomicU64::new(free(generation)),
            value: UnsafeCell::new(None),
        };
        Self {
            slots: (0..slots).map(slot).collect(),
            readers: (0..slots.div_ceil(ROW))
                .map(|_| AtomicU32::new(0))
                .collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The generation of the tenant, or of the next one.
    #[inline]
    pub(crate) fn generation(&self, at: usize) -> u32 {
        generation_of(self.slots[at].state.load(Relaxed))
    }

    /// The highest generation of all slots.
    pub(crate) fn oldest(&self) -> u32 {
        let generations = (0..self.len()).map(|at| self.generation(at));
        generations.max().unwrap_or(0)
    }

    /// Puts a tenant in.
    ///
    /// # Safety
    ///
    /// The caller alone has this slot: it took it from a free list, and fills it once.
    #[inline]
    pub(crate) unsafe fn fill(&self, at: usize, value: T) {
        let slot = &self.slots[at];
        // SAFETY: the slot is free, so no reader looks at it, and the caller is the only one to fill it.
        slot.value.with_mut(|place| unsafe { *place = Some(value) });
        // Pairs with `read`: who sees `LIVE` sees the value.
        slot.state.store(free(self.generation(at)) | LIVE, Release);
    }

    /// Removes the tenant of this generation.
    #[inline]
    pub(crate) fn remove(&self, at: usize, generation: u32) -> Removal<T> {
        let state = &self.slots[at].state;
        let (live, dead) = (free(generation) | LIVE, free(generation) | DEAD);
        if state.compare_exchange(live, dead, SeqCst, Relaxed).is_err() {
            return Removal::Nobody;
        }
        self.empty_or_leave(at)
            .map_or(Removal::Readers, Removal::Done)
    }

    /// Empties a slot whose `DEAD` is ours, or leaves it to those who read in its row.
    #[inline]
    fn empty_or_leave(&self, at: usize) -> Option<Emptied<T>> {
        let readers = &self.readers[at / ROW];
        loop {
            order();
            if readers.load(SeqCst) & !LITTER == 0 {
                return Some(self.empty(at));
            }
            let dead = free(self.generation(at));
            self.slots[at].state.store(dead | LEFT, SeqCst);
            if readers.fetch_or(LITTER, SeqCst) & !LITTER != 0 || !self.claim(at) {
                return None;
            }
        }
    }

    /// Turns `LEFT` back into `DEAD`; false if somebody else did, or it never was.
    fn claim(&self, at: usize) -> bool {
        let state = &self.slots[at].state;
        let seen = state.load(SeqCst);
        let claimed = (seen & !LEFT) | DEAD;
        seen & LEFT != 0
            && state
                .compare_exchange(seen, claimed, SeqCst, Relaxed)
                .is_ok()
    }

    /// Takes the value out of a slot whose `DEAD` is ours, while nobody reads.
    #[inline]
    fn empty(&self, at: usize) -> Emptied<T> {
        let slot = &self.slots[at];
        // SAFETY: `DEAD` is ours, and there is no reader: none that came before it was set, or they would
        // be counted, and none that came later looks at the value.
        let value = slot.value.with_mut(|place| unsafe { (*place).take() });
        let next = self.generation(at).checked_add(1);
        if let Some(next) = next {
            slot.state.store(free(next), Release);
        }
        Emptied {
            at,
            value,
            is_free: next.is_some(),
        }
    }

    /// Looks at the tenants of some slots; `emptied` gets those that were removed meanwhile and left to
    /// this reader.
    pub(crate) fn read(
        &self,
        range: Range<usize>,
        mut look: impl FnMut(usize, u32, &T),
        mut emptied: impl FnMut(Emptied<T>),
    ) {
        let mut next = range.start;
        while next < range.end {
            let row = next / ROW;
            let end = ((row + 1) * ROW).min(range.end);
            let inside = Inside::enter(self, row, &mut emptied);
            for at in next..end {
                inside.look(at, &mut look);
            }
            next = end;
        }
    }

    /// Empties what was left in a row.
    #[cold]
    fn sweep(&self, row: usize, mut emptied: impl FnMut(Emptied<T>)) {
        self.readers[row].fetch_and(!LITTER, SeqCst);
        for at in row * ROW..((row + 1) * ROW).min(self.len()) {
            if self.claim(at) {
                self.empty_or_leave(at).into_iter().for_each(&mut emptied);
            }
        }
    }
}

/// One counted reader in one row.
struct Inside<'a, T, E: FnMut(Emptied<T>)> {
    rows: &'a Rows<T>,
    row: usize,
    emptied: E,
}

impl<'a, T, E: FnMut(Emptied<T>)> Inside<'a, T, E> {
    fn enter(rows: &'a Rows<T>, row: usize, emptied: E) -> Self {
        rows.readers[row].fetch_add(1, SeqCst);
        order();
        Self { rows, row, emptied }
    }

    /// Looks at the tenant of a slot in this row, if it has one.
    fn look(&self, at: usize, look: impl FnOnce(usize, u32, &T)) {
        debug_assert_eq!(at / ROW, self.row);
        let slot = &self.rows.slots[at];
        let state = slot.state.load(SeqCst);
        if state & LIVE == 0 {
            return;
        }
        slot.value.with(|place| {
            // SAFETY: the slot is live and we are counted, so nobody empties it before we leave.
            if let Some(value) = unsafe { &*place } {
                look(at, generation_of(state), value);
            }
        });
    }
}

impl<T, E: FnMut(Emptied<T>)> Drop for Inside<'_, T, E> {
    fn drop(&mut self) {
        let before = self.rows.readers[self.row].fetch_sub(1, SeqCst);
        if before == LITTER | 1 {
            self.rows.sweep(self.row, &mut self.emptied);
        }
    }
}

#[inline]
fn generation_of(state: u64) -> u32 {
    (state >> 32) as u32
}

#[inline]
fn free(generation: u32) -> u64 {
    u64::from(generation) << 32
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
#[expect(unsafe_code, reason = "to fill slots by hand")]
mod tests {
    use super::*;

    fn one(generation: u32) -> Rows<&'static str> {
        let rows = Rows::new(ROW, generation);
        // SAFETY: nobody else has the slot.
        unsafe { rows.fill(3, "tenant") };
        rows
    }

    fn gone<T>(value: T, is_free: bool) -> Removal<T> {
        Removal::Done(Emptied {
            at: 3,
            value: Some(value),
            is_free,
        })
    }

    #[test]
    fn a_tenant_is_removed_by_its_own_generation_only() {
        let rows = one(7);
        assert_eq!(rows.remove(4, 7), Removal::Nobody);
        assert_eq!(rows.remove(3, 6), Removal::Nobody);
        assert_eq!(rows.remove(3, 8), Removal::Nobody);
        assert_eq!(rows.remove(3, 7), gone("tenant", true));
        assert_eq!(rows.remove(3, 7), Removal::Nobody);
        assert_eq!((rows.generation(3), rows.generation(4)), (8, 7));
        assert_eq!(rows.oldest(), 8);
    }

    #[test]
    fn the_last_reader_of_a_row_empties_what_was_removed_meanwhile() {
        let rows = one(0);
        let (mut seen, mut left) = (Vec::new(), Vec::new());
        let look = |at: usize, generation: u32, value: &&'static str| {
            seen.push((at, generation, *value));
            let inner = |_: Emptied<_>| panic!("another reader is still there");
            rows.read(0..ROW, |_, _, _| {}, inner);
            assert_eq!(rows.remove(3, 0), Removal::Readers);
            assert_eq!(rows.remove(3, 0), Removal::Nobody);
            rows.read(0..ROW, |_, _, _| panic!("it is removed"), inner);
        };
        rows.read(0..ROW, look, |emptied| left.push(emptied));
        assert_eq!(seen, [(3, 0, "tenant")]);
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].at, left[0].value), (3, Some("tenant")));
        assert_eq!(rows.generation(3), 1);
        assert_eq!(rows.readers[0].load(Relaxed), 0);
    }

    #[test]
    fn a_slot_without_generations_left_stays_dead() {
        let rows = one(u32::MAX);
        assert_eq!(rows.remove(3, u32::MAX), gone("tenant", false));
        assert_eq!(rows.remove(3, u32::MAX), Removal::Nobody);
        assert_eq!(rows.remove(3, 0), Removal::Nobody);
        rows.read(3..4, |_, _, _| panic!("it is dead"), |_| panic!("by now"));
    }

    #[test]
    fn a_range_is_read_across_rows_and_no_further() {
        let rows = Rows::new(3 * ROW, 0);
        for at in 0..3 * ROW {
            // SAFETY: nobody else has the slot.
            unsafe { rows.fill(at, at) };
        }
        let (end, mut seen) = (2 * ROW + 1, Vec::new());
        rows.read(5..end, |at, _, &value| seen.push((at, value)), |_| {});
        let all: Vec<_> = (5..end).map(|at| (at, at)).collect();
        assert_eq!(seen, all);
    }
}
