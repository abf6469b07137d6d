//! A block of the table: its slots, and which of them are free.

use crate::{
    sync::{AtomicU32, Ordering::Relaxed},
    table::{
        free::FreeLists,
        rows::{Emptied, Removal, Rows},
    },
};

/// Slots in the first block; each further block has twice as many as the one before it.
#[cfg(not(headcount_loom))]
pub(crate) const FIRST: usize = 64;
#[cfg(headcount_loom)]
pub(crate) const FIRST: usize = 1;

#[derive(Debug)]
pub(crate) struct Block<T> {
    pub(crate) number: usize,
    pub(crate) rows: Rows<T>,
    pub(crate) free: FreeLists,
    /// Slots that ran out of generations and are never used again.
    spent: AtomicU32,
}

impl<T> Block<T> {
    pub(crate) fn new(number: usize, stripes: usize, generation: u32) -> Self {
        let size = FIRST << number;
        Self {
            number,
            rows: Rows::new(size, generation),
            free: FreeLists::full(size, stripes),
            spent: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.free.len() == self.rows.len()
    }

    /// How many entries it has: exact while nobody registers or removes.
    pub(crate) fn len(&self) -> usize {
        let idle = self.free.len() + self.spent.load(Relaxed) as usize;
        self.rows.len().saturating_sub(idle)
    }

    /// Removes an entry; says whether there was one. If nobody reads it the slot is free at once, and
    /// its value comes back, with whether much of the block is free now.
    #[inline]
    pub(crate) fn remove(&self, at: usize, generation: u32) -> (bool, Option<Freed<T>>) {
        match self.rows.remove(at, generation) {
            Removal::Nobody => (false, None),
            Removal::Done(emptied) => (true, Some(self.take_back(emptied))),
            Removal::Readers => (true, None),
        }
    }

    /// Puts a place back that was taken off its free list and not filled.
    pub(crate) fn put_back(&self, at: usize) -> Freed<T> {
        self.take_back(Emptied {
            at,
            value: None,
            is_free: true,
        })
    }

    /// Puts the place of an emptied slot back on its free list.
    #[inline]
    pub(crate) fn take_back(&self, emptied: Emptied<T>) -> Freed<T> {
        let Emptied { at, value, is_free } = emptied;
        let much_is_free = is_free && self.free.push(at);
        if !is_free {
            self.spent.fetch_add(1, Relaxed);
        }
        Freed {
            _value: value,
            much_is_free,
        }
    }
}

/// A removed value on its way out, to be dropped last of all.
pub(crate) struct Freed<T> {
    _value: Option<T>,
    pub(crate) much_is_free: bool,
}

/// Index of the first slot of a block.
#[inline]
pub(crate) fn base(number: usize) -> usize {
    FIRST * ((1 << number) - 1)
}
