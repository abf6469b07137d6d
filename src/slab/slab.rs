//! The lock-free slab: insert, remove and scan, without waiting for anybody.
//!
//! A [`Directory`] lists blocks, each with its slots and their free lists. It is replaced as a whole through a [`Snapshot`]
//! when the slab grows or shrinks. Slots never move, so a scan of an old directory sees every entry that was live when the
//! directory was read, and was not removed since. A block that leaves the directory stays allocated as long as a
//! directory that lists it is held.
//!
//! A block is given back when it is the last one and wholly free. To give it back, every free place in it is taken first: if
//! that is all of them, none is in use, and none can be taken.

#![expect(
    unsafe_code,
    reason = "a place that came off a free list belongs to one alone"
)]

use crate::{
    slab::{
        block::{Block, Entry, KeepAlive, Occupied, Shared, Shrink, hint, hinted},
        directory::{Directory, Key, base, key_of, size},
        free_list::Line,
        guard::{At, HandleGuard, OwnerGuard, ReadGuard},
        slot::{HELD, OWNED},
        stripe,
    },
    sync::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
        Snapshot,
    },
};
use std::{
    fmt,
    mem::ManuallyDrop,
    ptr,
    sync::{Arc, OnceLock, Weak},
};

/// Blocks that a slab keeps once it has them: 1,984 places, of 192 bytes each. Without them a slab that is used in bursts
/// would grow and shrink with each: bursts of 1,000 tasks take 60 instructions a task more if the last of these is not kept.
const KEPT: usize = 5;

/// A growing and shrinking set of entries, each found again by its [`Key`].
pub(crate) struct Slab<T: Entry> {
    directory: Snapshot<Directory<T>>,
    /// The blocks that are kept, once they are there: what the directory has, without loading it, which would cost a
    /// registration an eighth more.
    kept: [OnceLock<Arc<Block<T>>>; KEPT],
    shared: Arc<Shared>,
    /// New blocks start at this generation: above every generation of blocks given back.
    floor: AtomicU32,
    me: Weak<Self>,
}

/// A slab, and what the entries that are made on one stripe of threads keep it by.
pub(crate) struct SlabRef<T: Entry> {
    slab: Arc<Slab<T>>,
    /// Of the same slab.
    keep_alive: Arc<KeepAlive>,
}

impl<T: Entry> SlabRef<T> {
    pub(crate) fn new(slab: &Arc<Slab<T>>) -> Self {
        Self {
            slab: Arc::clone(slab),
            keep_alive: KeepAlive::of(Arc::clone(slab) as _),
        }
    }

    /// A free slot, to be filled and listed.
    #[inline(always)]
    pub(crate) fn reserve(&self) -> Vacant<'_, T> {
        self.reserve_on(self.slab.own_stripe())
    }

    #[inline(always)]
    pub(super) fn reserve_on(&self, stripe: usize) -> Vacant<'_, T> {
        Vacant {
            reserved: self.slab.reserve_on(stripe),
            keep_alive: &self.keep_alive,
        }
    }
}

/// A slot that is filled, and not listed yet. Dropping it frees the slot.
pub(crate) struct Vacant<'a, T: Entry> {
    reserved: Reserved<'a, T>,
    /// Of the same slab.
    keep_alive: &'a Arc<KeepAlive>,
}

impl<T: Entry> Vacant<'_, T> {
    /// The key that the entry will have.
    #[inline(always)]
    pub(crate) fn key(&self) -> Key {
        self.reserved.key()
    }

    /// The entry, vacant at first.
    #[inline(always)]
    pub(crate) fn entry(&mut self) -> &mut T {
        &mut self.reserved.entry().entry
    }

    /// Lists the entry for as long as its owner has it; `Release`.
    #[inline(always)]
    pub(crate) fn list(self) -> OwnerGuard<T> {
        self.list_alone(Release)
    }

    /// As [`list`](Self::list), for one who then reads what others write before they scan; `SeqCst`.
    #[inline(always)]
    pub(crate) fn list_then_read(self) -> OwnerGuard<T> {
        self.list_alone(SeqCst)
    }

    #[inline(always)]
    fn list_alone(self, order: Ordering) -> OwnerGuard<T> {
        let at = self.list_with(OWNED, order);
        // SAFETY: the slot counts the hold, and the entry keeps the slab.
        unsafe { OwnerGuard::new(at) }
    }

    /// Lists the entry for as long as its owner has it, with a handle to it; `SeqCst`.
    #[inline(always)]
    pub(crate) fn list_shared(self) -> (OwnerGuard<T>, HandleGuard<T>) {
        let at = self.list_with(OWNED | HELD, SeqCst);
        // SAFETY: the slot counts both holds, and the entry keeps the slab.
        unsafe { (OwnerGuard::new(at), HandleGuard::new(at)) }
    }

    #[inline(always)]
    fn list_with(mut self, holds: u64, order: Ordering) -> At<T> {
        self.reserved.entry().slab = Some(Arc::clone(self.keep_alive));
        self.reserved.list_with(holds, order)
    }
}

impl<T: Entry> Slab<T> {
    pub(crate) fn new() -> Arc<Self> {
        Self::keeping(KEPT, stripe::count())
    }

    /// A slab that keeps one block.
    #[cfg(test)]
    pub(crate) fn with_stripes(stripes: usize) -> Arc<Self> {
        Self::keeping(1, stripes)
    }

    /// How many blocks the slab has.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> usize {
        self.directory.load().blocks.len()
    }

    fn keeping(kept: usize, stripes: usize) -> Arc<Self> {
        let shared = Shared {
            hints: (0..stripes)
                .map(|stripe| Line(AtomicU64::new(hint(0, stripe))))
                .collect(),
            blocks: AtomicUsize::new(0),
            kept,
        };
        Arc::new_cyclic(|me| Self {
            directory: Snapshot::new(Directory { blocks: Vec::new() }),
            kept: Default::default(),
            shared: Arc::new(shared),
            floor: AtomicU32::new(0),
            me: Weak::clone(me),
        })
    }

    /// What tells its blocks from those of others.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    fn stripes(&self) -> usize {
        self.shared.hints.len()
    }

    #[inline]
    fn own_stripe(&self) -> usize {
        stripe::current() as usize & (self.stripes() - 1)
    }

    /// Takes a free slot, growing the slab when there is none. The slot is listed once it is filled,
    /// and free again if the reservation is dropped instead.
    #[inline(always)]
    pub(crate) fn reserve(&self) -> Reserved<'_, T> {
        self.reserve_on(self.own_stripe())
    }

    #[inline(always)]
    pub(crate) fn reserve_on(&self, stripe: usize) -> Reserved<'_, T> {
        let (number, hinted) = hinted(self.shared.hints[stripe].0.load(Relaxed));
        if let Some(block) = self.kept(number) {
            if let Some(at) = block.pop(hinted) {
                return Reserved::new(block, at);
            }
        }
        self.find_slot(stripe)
    }

    /// A block that is kept, if it is there.
    #[inline]
    fn kept(&self, number: usize) -> Option<&Block<T>> {
        if cfg!(headcount_loom) {
            return None; // loom does not know what the cell orders
        }
        Some(self.kept.get(number)?.get()?)
    }

    /// Finds a free slot in the blocks of the directory: the way in for all beyond the blocks that are kept.
    #[inline(never)]
    fn find_slot(&self, stripe: usize) -> Reserved<'_, T> {
        loop {
            let directory = self.directory.load();
            if let Some((number, at)) = self.find_free(&directory, stripe) {
                let block = ptr::from_ref(&*directory.blocks[number]);
                // SAFETY: a block with a place that is not free stays in the slab, which is borrowed. The reservation does not use
                // it after its place was listed or put back.
                return Reserved::new(unsafe { &*block }, at);
            }
            self.grow(directory.blocks.len());
        }
    }

    /// A free slot, as block and place, from the hinted block on; failing that, from the start.
    #[inline]
    fn find_free(&self, directory: &Directory<T>, stripe: usize) -> Option<(usize, usize)> {
        let place = &self.shared.hints[stripe].0;
        let (number, other) = hinted(place.load(Relaxed));
        if let Some(block) = directory.blocks.get(number) {
            if let Some(at) = block.pop(other) {
                return Some((number, at));
            }
        }
        let (before, from) = directory
            .blocks
            .split_at(number.min(directory.blocks.len()));
        for block in from.iter().chain(before) {
            for other in (stripe..stripe + self.stripes()).map(|other| other % self.stripes()) {
                if let Some(at) = block.pop(other) {
                    place.store(hint(block.number, other), Relaxed);
                    return Some((block.number, at));
                }
            }
        }
        None
    }

    /// Adds a block, unless another did since `seen` blocks were counted.
    #[cold]
    fn grow(&self, seen: usize) {
        assert!(
            u32::try_from(base(seen + 1)).is_ok(),
            "a registry has room for four billion entries"
        );
        self.shared.blocks.fetch_add(1, SeqCst);
        let has_grown = self.directory.update(|directory| {
            if directory.blocks.len() != seen {
                return None;
            }
            let mut blocks = directory.blocks.clone();
            blocks.push(Block::new(
                (seen, size(seen)),
                self.floor.load(Acquire),
                &self.shared,
                Weak::clone(&self.me) as _,
            ));
            Some(Directory { blocks })
        });
        if !has_grown {
            self.shared.blocks.fetch_sub(1, SeqCst);
        }
        if let Some(kept) = self.kept.get(seen).filter(|_| seen < self.shared.kept) {
            let _ = kept.set(Arc::clone(&self.directory.load().blocks[seen]));
        }
    }

    /// Takes the entry off the list, if the key still names one. It is dropped here, or by the last that holds
    /// it.
    pub(crate) fn remove(&self, key: Key) -> bool {
        let directory = self.directory.load();
        let place = directory.place(key.index);
        place.is_some_and(|(block, at)| block.remove(at, key.generation))
    }

    /// Takes every free place of the last block; if that is all of them no other can have one, and
    /// the block leaves the directory. Otherwise the places go back. A block with a place that ran out
    /// of generations stays: its successor would have to start where that one ended.
    fn retire(&self, last: &Arc<Block<T>>) -> bool {
        let taken: Vec<_> = (0..self.stripes())
            .map(|stripe| last.free.take(stripe))
            .collect();
        let count: usize = taken.iter().map(|&chain| last.free.chain_len(chain)).sum();
        if count == last.len() {
            self.floor.fetch_max(last.oldest(), AcqRel);
            let removed = self.directory.update(|directory| {
                let (end, rest) = directory.blocks.split_last()?;
                Arc::ptr_eq(end, last).then(|| Directory {
                    blocks: rest.to_vec(),
                })
            });
            if removed {
                self.shared.blocks.fetch_sub(1, SeqCst);
                return true;
            }
        }
        for (stripe, chain) in taken.into_iter().enumerate() {
            last.free.give_back(stripe, chain);
        }
        false
    }

    /// Drops what entries left in their slots, which would stay if no more tasks are spawned.
    pub(crate) fn purge(&self) {
        // Only the first block may have more of it than entries.
        if let Some(block) = self.directory.load().blocks.first() {
            block.purge_all();
        }
    }

    /// How many entries are listed: exact while no entry comes or goes. Costs a few loads per
    /// block.
    pub(crate) fn len(&self) -> usize {
        let directory = self.directory.load();
        directory.blocks.iter().map(|block| block.listed()).sum()
    }

    /// The blocks of this moment, to be scanned in as many steps as the caller likes.
    pub(crate) fn directory(&self) -> Arc<Directory<T>> {
        Arc::clone(&self.directory.load())
    }

    /// A pin that an [`EntryRef`] left on an entry.
    ///
    /// # Safety
    ///
    /// There is one, each is taken up once, and the slab stays until what is returned is dropped.
    pub(super) unsafe fn take_up(&self, index: u32) -> ReadGuard<T> {
        let directory = self.directory.load();
        let place = directory.place(index);
        let (block, at) = place.expect("what is pinned stays in its place");
        // SAFETY: as demanded.
        unsafe { ReadGuard::new(At::new(block, at)) }
    }
}

impl<T: Entry> Shrink for Slab<T> {
    /// Gives the last blocks back as long as they are wholly free and the rest is at least half free,
    /// so that a slab at the edge does not grow and shrink by turns.
    fn shrink(&self) {
        while self.shared.blocks.load(SeqCst) > self.shared.kept {
            let directory = self.directory.load();
            let Some((last, rest)) = directory.blocks.split_last() else {
                return;
            };
            if rest.len() < self.shared.kept || !last.is_free() {
                return;
            }
            let kept: usize = rest.iter().map(|block| block.len()).sum();
            let free: usize = rest.iter().map(|block| block.free.len()).sum();
            // Unless the block was in use all the while, another thread gave a place back meanwhile, which the
            // attempt kept from seeing that it was the last: so look again.
            if 2 * free < kept || !self.retire(last) && !last.is_free() {
                return;
            }
        }
    }
}

/// A slot taken but not yet listed. Dropping it frees the slot.
pub(crate) struct Reserved<'a, T: Entry> {
    block: &'a Block<T>,
    /// Which slot of its block it is.
    place: usize,
    key: Key,
}

impl<'a, T: Entry> Reserved<'a, T> {
    /// The place was just taken off a free list.
    #[inline(always)]
    fn new(block: &'a Block<T>, place: usize) -> Self {
        Self {
            block,
            place,
            key: key_of(block, place),
        }
    }

    /// The key that the entry will have.
    #[inline(always)]
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// The entry, vacant at first.
    #[inline(always)]
    fn entry(&mut self) -> &mut Occupied<T> {
        // SAFETY: the place came off a free list, which hands it out to one at a time, and it is borrowed from that one.
        unsafe { self.block.slots[self.place].vacant() }
    }

    #[inline(always)]
    fn list_with(self, holds: u64, order: Ordering) -> At<T> {
        // It is not to be put back.
        let this = ManuallyDrop::new(self);
        // Found before it is listed: without a hold, others may remove the entry at once, and give the block back.
        this.block.lives.lifetime().assert_not_over();
        let at = At::new(this.block, this.place);
        // SAFETY: as above, and it is listed once, because that uses up the reservation.
        unsafe { this.block.slots[this.place].list(holds, order) };
        at
    }

    /// Lists the entry until it is removed by its key; `Release`.
    #[inline]
    pub(crate) fn list(self, entry: T) -> Key {
        self.list_in(entry, Release)
    }

    /// As [`list`](Self::list), for one who then reads what others write before they scan; `SeqCst`.
    #[inline]
    pub(crate) fn list_then_read(self, entry: T) -> Key {
        self.list_in(entry, SeqCst)
    }

    #[inline]
    fn list_in(mut self, entry: T, order: Ordering) -> Key {
        self.entry().entry = entry;
        let key = self.key;
        self.list_with(0, order);
        key
    }
}

impl<T: Entry> Drop for Reserved<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: it was taken, and not listed.
        drop(unsafe { self.block.put_back(self.place) });
    }
}

impl<T: Entry> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
