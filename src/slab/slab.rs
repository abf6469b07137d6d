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
        block::{Block, Entry, Occupied, Shared, Shrink, hint, hinted},
        free_list::{Line, MOST},
        guard::{At, HandleGuard, Hold, OwnerGuard, ReadGuard},
        slot::{HELD, OWNED, PIN},
        stripe,
    },
    sync::{
        AtomicU32, AtomicU64, AtomicUsize, Loaded,
        Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
        Snapshot,
    },
};
use std::{
    fmt,
    marker::PhantomData,
    mem,
    ops::Deref,
    sync::{Arc, OnceLock, Weak},
};

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

/// Blocks that a slab keeps once it has them: 960 places. Without them a slab that is used in bursts
/// would grow and shrink with each.
const KEPT: usize = 4;

/// Where an entry is, and which one of all that were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

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

/// The blocks of one moment. Replaced, never changed.
#[derive(Debug)]
pub(crate) struct Directory<T: Entry> {
    blocks: Vec<Arc<Block<T>>>,
}

/// What an entry keeps its slab by. There is one for each stripe of threads, so that entries made on several threads do not
/// count themselves in one place.
#[repr(align(128))]
pub(crate) struct SlabRef<T: Entry>(Arc<Slab<T>>);

impl<T: Entry> Deref for SlabRef<T> {
    type Target = Arc<Slab<T>>;

    fn deref(&self) -> &Arc<Slab<T>> {
        &self.0
    }
}

impl<T: Entry> SlabRef<T> {
    pub(crate) fn new(slab: &Arc<Slab<T>>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(slab)))
    }

    /// Lists the entry that `fill` makes for its key, for as long as its owner has it. With what order, see
    /// [`Slot::fill`](super::slot::Slot::fill).
    #[inline(always)]
    pub(crate) fn insert(
        self: &Arc<Self>,
        order: Ordering,
        fill: impl FnOnce(&mut T, &mut T::Aside, Key),
    ) -> OwnerGuard<T> {
        self.insert_on(self.own_stripe(), order, fill)
    }

    #[inline(always)]
    pub(super) fn insert_on(
        self: &Arc<Self>,
        stripe: usize,
        order: Ordering,
        fill: impl FnOnce(&mut T, &mut T::Aside, Key),
    ) -> OwnerGuard<T> {
        let at = self.fill(stripe, (OWNED, order), fill);
        // SAFETY: the slot counts the hold, and the entry keeps the slab.
        unsafe { OwnerGuard::new(at) }
    }

    /// Lists the entry that `fill` makes for its key, for as long as its owner has it, with a handle to it; `SeqCst`.
    #[inline(always)]
    pub(crate) fn insert_shared(
        self: &Arc<Self>,
        fill: impl FnOnce(&mut T, &mut T::Aside, Key),
    ) -> (OwnerGuard<T>, HandleGuard<T>) {
        self.insert_shared_on(self.own_stripe(), fill)
    }

    #[inline(always)]
    pub(super) fn insert_shared_on(
        self: &Arc<Self>,
        stripe: usize,
        fill: impl FnOnce(&mut T, &mut T::Aside, Key),
    ) -> (OwnerGuard<T>, HandleGuard<T>) {
        let at = self.fill(stripe, (OWNED | HELD, SeqCst), fill);
        // SAFETY: the slot counts both holds, and the entry keeps the slab.
        unsafe { (OwnerGuard::new(at), HandleGuard::new(at)) }
    }

    #[inline(always)]
    fn fill(
        self: &Arc<Self>,
        stripe: usize,
        (holds, order): (u64, Ordering),
        fill: impl FnOnce(&mut T, &mut T::Aside, Key),
    ) -> At<T> {
        let reserved = self.reserve_on(stripe);
        let key = reserved.key();
        reserved.fill(holds, order, |place, aside| {
            fill(&mut place.entry, aside, key);
            place.slab = Some(Arc::clone(self));
        })
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
        let block = self.kept(number);
        match block.and_then(|block| block.pop(hinted).map(|at| (block, at))) {
            Some((block, at)) => Reserved {
                block: Some(Source::Kept(block)),
                at,
            },
            None => self.search(stripe),
        }
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
    fn search(&self, stripe: usize) -> Reserved<'_, T> {
        loop {
            let directory = self.directory.load();
            if let Some((number, at)) = self.find_free(&directory, stripe) {
                let block = Some(Source::Directory(directory, number));
                return Reserved { block, at };
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

    /// Takes the entry off the list, if the key still names one. It is dropped here, or by whoever holds
    /// it.
    pub(crate) fn remove(&self, key: Key) -> bool {
        let directory = self.directory.load();
        let place = directory.place(key.index);
        place.is_some_and(|(block, at)| block.remove(at, key.generation))
    }

    /// Takes every free place of the last block; if that is all of them nobody else can have one, and
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

    /// How many entries are listed: exact while nobody registers or removes. Costs a few loads per
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
            // Unless the block was in use all the while, somebody gave a place back meanwhile, whom the
            // attempt kept from seeing that it was the last: so look again.
            if 2 * free < kept || !self.retire(last) && !last.is_free() {
                return;
            }
        }
    }
}

impl<T: Entry> Directory<T> {
    /// Looks at the entries in up to `steps` slots from `cursor` on; returns where to go on, or `None` at
    /// the end.
    pub(crate) fn scan(
        &self,
        cursor: usize,
        steps: usize,
        mut visit: impl FnMut(EntryRef<'_, T>),
    ) -> Option<usize> {
        let (mut cursor, end) = (cursor, cursor.saturating_add(steps));
        while cursor < end {
            let (block, start) = self.place(narrow(cursor))?;
            let most = (block.len() - start).min(end - cursor);
            for at in start..start + most {
                if let Some(generation) = block.slots[at].pin(None) {
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
    fn place(&self, index: u32) -> Option<(&Block<T>, usize)> {
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
fn size(number: usize) -> usize {
    FIRST << number.min(DOUBLINGS)
}

/// Index of the first slot of a block.
#[inline]
fn base(number: usize) -> usize {
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

/// A slot taken but not yet listed. Dropping it frees the slot.
pub(crate) struct Reserved<'a, T: Entry> {
    /// `None` once the slot is filled.
    block: Option<Source<'a, T>>,
    at: usize,
}

/// Where a block was found, and what keeps it.
enum Source<'a, T: Entry> {
    Kept(&'a Block<T>),
    Directory(Loaded<Directory<T>>, usize),
}

impl<T: Entry> Deref for Source<'_, T> {
    type Target = Block<T>;

    #[inline]
    fn deref(&self) -> &Block<T> {
        match self {
            Self::Kept(block) => block,
            Self::Directory(directory, number) => &directory.blocks[*number],
        }
    }
}

impl<T: Entry> Reserved<'_, T> {
    /// The key that the entry will have.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        let block = self.block.as_ref();
        key_of(block.expect("it has its place until it is filled"), self.at)
    }

    /// Fills the slot and lists it.
    #[inline(always)]
    fn fill(
        mut self,
        holds: u64,
        order: Ordering,
        fill: impl FnOnce(&mut Occupied<T>, &mut T::Aside),
    ) -> At<T> {
        let block = self.block.as_deref().expect("it is filled once");
        // SAFETY: the place came off a free list, which hands it out to one at a time, and it is filled once, because that
        // uses up the reservation.
        unsafe { block.fill(self.at, holds, order, fill) };
        let at = At::new(block, self.at);
        // It is not to be put back.
        self.block = None;
        at
    }

    /// Lists the entry until it is removed by its key.
    #[inline]
    pub(crate) fn list(self, entry: T) -> Key {
        let key = self.key();
        self.fill(0, Release, |place, _| place.entry = entry);
        key
    }
}

impl<T: Entry> Reserved<'_, T> {
    /// Out of the way of those who fill it.
    #[cold]
    fn put_back(&mut self) {
        if let Some(block) = self.block.take() {
            // SAFETY: it was taken, and not filled.
            unsafe { block.put_back(self.at) }
        }
    }
}

impl<T: Entry> Drop for Reserved<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.block.is_some() {
            self.put_back();
        }
    }
}

#[inline]
fn key_of<T: Entry>(block: &Block<T>, at: usize) -> Key {
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

    /// Leaves the entry pinned, to be [taken up](Slab::take_up) from its slab.
    #[inline]
    pub(super) fn keep(self, slab: &Slab<T>) -> u32 {
        let block = self.guard.block();
        assert!(block.is_of(&slab.shared), "it is kept by its own slab");
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

impl<T: Entry> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
