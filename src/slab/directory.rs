//! The blocks of a slab at one moment, how an entry is found in them, and how they are scanned.

#![expect(
    unsafe_code,
    reason = "an entry that is looked at is pinned, and not counted otherwise"
)]

use crate::slab::{
    block::{Block, Entry, Occupied, Shared},
    free_list::MOST,
    guard::{At, Hold, ReadGuard},
    slot::{PIN, Slot},
};
use std::{marker::PhantomData, mem, ops::Deref, sync::Arc};

/// Slots in the first block. Each further block has twice as many as the one before it, up to
/// `FIRST << DOUBLINGS`.
#[cfg(not(headcount_loom))]
pub(crate) const FIRST: usize = 64;
#[cfg(headcount_loom)]
pub(crate) const FIRST: usize = 1;
/// From here on blocks are of one size: a slab has little spare room, and growing never takes long.
const DOUBLINGS: usize = 5;
const LARGEST: usize = FIRST << DOUBLINGS;
const _: () = assert!(LARGEST <= MOST);

/// Where an entry is, and which one of all that were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The blocks of one moment. Replaced, never changed.
#[derive(Debug)]
pub(crate) struct Directory<T: Entry> {
    pub(super) blocks: Vec<Arc<Block<T>>>,
}

impl<T: Entry> Directory<T> {
    /// Looks at the entries in up to `steps` slots from `cursor` on; returns where to go on, or `None` at
    /// the end.
    pub(crate) fn scan(
        &self,
        cursor: usize,
        steps: usize,
        visit: impl FnMut(EntryRef<'_, T>),
    ) -> Option<usize> {
        self.scan_slots(cursor, steps, |slot| slot.pin(None), visit)
    }

    /// Looks at the entries that are not listed any more, and that their handles keep, in the same way.
    pub(crate) fn scan_held(
        &self,
        cursor: usize,
        steps: usize,
        visit: impl FnMut(EntryRef<'_, T>),
    ) -> Option<usize> {
        self.scan_slots(cursor, steps, Slot::pin_held, visit)
    }

    #[inline(always)]
    fn scan_slots(
        &self,
        cursor: usize,
        steps: usize,
        pin: impl Fn(&Slot<Occupied<T>>) -> Option<u32>,
        mut visit: impl FnMut(EntryRef<'_, T>),
    ) -> Option<usize> {
        let (mut cursor, end) = (cursor, cursor.saturating_add(steps));
        while cursor < end {
            let (block, start) = self.place(narrow(cursor))?;
            let most = (block.len() - start).min(end - cursor);
            for at in start..start + most {
                if let Some(generation) = pin(&block.slots[at]) {
                    visit(EntryRef {
                        // SAFETY: it is pinned, for this, and the directory, which is borrowed as long, keeps the block.
                        guard: unsafe { ReadGuard::new(At::new(block, at)) },
                        generation,
                        _directory: PhantomData,
                    });
                }
            }
            cursor += most;
        }
        Some(cursor)
    }

    /// Releases a pin that an [`EntryRef`] left on an entry.
    ///
    /// # Safety
    ///
    /// There is one, and it is given up with this.
    #[inline]
    pub(super) unsafe fn unpin(&self, index: u32) {
        if let Some((block, at)) = self.place(index) {
            // SAFETY: as demanded.
            drop(unsafe { block.release(at, PIN) });
        }
    }

    #[inline]
    pub(super) fn place(&self, index: u32) -> Option<(&Block<T>, usize)> {
        let index = index as usize;
        let number = if index < base(DOUBLINGS) {
            (index / FIRST + 1).ilog2() as usize
        } else {
            DOUBLINGS + (index - base(DOUBLINGS)) / LARGEST
        };
        let block = self.blocks.get(number)?;
        Some((block, index - base(number)))
    }
}

/// How many slots a block has.
pub(super) fn size(number: usize) -> usize {
    FIRST << number.min(DOUBLINGS)
}

/// Index of the first slot of a block.
#[inline]
pub(super) fn base(number: usize) -> usize {
    let doubled = number.min(DOUBLINGS);
    FIRST * ((1 << doubled) - 1) + (number - doubled) * LARGEST
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a slab does not grow beyond that: see `grow`"
)]
#[inline]
fn narrow(index: usize) -> u32 {
    index as u32
}

#[inline]
pub(super) fn key_of<T: Entry>(block: &Block<T>, at: usize) -> Key {
    Key {
        index: narrow(base(block.number) + at),
        generation: block.slots[at].generation(),
    }
}

/// An entry that is being read, and stays as long as that lasts.
pub(crate) struct EntryRef<'a, T: Entry> {
    guard: ReadGuard<T>,
    generation: u32,
    /// What keeps the slab meanwhile.
    _directory: PhantomData<&'a Directory<T>>,
}

impl<T: Entry> EntryRef<'_, T> {
    pub(crate) fn key(&self) -> Key {
        Key {
            index: self.index(),
            generation: self.generation,
        }
    }

    #[inline]
    fn index(&self) -> u32 {
        narrow(base(self.guard.block().number) + self.guard.at())
    }

    /// Leaves the entry pinned, to be [taken up](super::slab::Slab::take_up) from its slab.
    #[inline]
    pub(super) fn keep(self, slab: &Arc<Shared>) -> u32 {
        let block = self.guard.block();
        assert!(block.is_of(slab), "it is kept by its own slab");
        let index = self.index();
        mem::forget(self.guard);
        index
    }
}

impl<T: Entry> Hold for EntryRef<'_, T> {
    type Entry = T;

    #[inline]
    fn aside(&self) -> &T::Aside {
        self.guard.aside()
    }
}

impl<T: Entry> Deref for EntryRef<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}
