//! The lock-free table: reserve, list, remove and scan, without waiting for anybody.
//!
//! A [`Directory`] lists blocks, each with its slots and their free lists. It is replaced as a whole
//! through a [`Snapshot`] when the table grows or shrinks. Slots never move, so a scan of an old directory
//! sees every entry that was live when the directory was read, and was not removed since. A block that
//! leaves the directory stays allocated as long as somebody holds a directory that lists it.
//!
//! A block is given back when it is the last one and wholly free. Whoever gives it back first takes
//! every free place in it: if that is all of them, nobody has one, and nobody can get one.

use crate::{
    sync::{
        AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Loaded,
        Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
        Snapshot,
    },
    table::{
        block::{Block, Shared, Shrink, hint, hinted},
        free::{Line, MOST},
        hold::{At, Held, Pin, Place},
        slot::{HELD, OWNED, PIN, Tenant},
        stripe,
    },
};
use std::{
    fmt,
    mem::{self, ManuallyDrop, MaybeUninit},
    ops::Deref,
    sync::{Arc, Weak},
};

/// Slots in the first block. Each further block has twice as many as the one before it, up to
/// `FIRST << DOUBLINGS`.
#[cfg(not(headcount_loom))]
pub(crate) const FIRST: usize = 64;
#[cfg(headcount_loom)]
pub(crate) const FIRST: usize = 1;
/// From here on blocks are of one size: a table has little spare room, and growing never takes long.
const DOUBLINGS: usize = 5;
const LARGEST: usize = FIRST << DOUBLINGS;
const _: () = assert!(LARGEST <= MOST);

/// Blocks that a table keeps once it has them: 960 places. Without them a table that is used in bursts
/// would grow and shrink with each.
const KEPT: usize = 4;

/// Where an entry lives, and which tenant of that place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A growing and shrinking set of tenants, each found again by its [`Key`]. A tenant may have a second part
/// that comes later.
pub(crate) struct Slots<T: Tenant> {
    directory: Snapshot<Directory<T>>,
    /// The blocks that are kept, once they are there: what the directory has, without loading it.
    kept: [AtomicPtr<Block<T>>; KEPT],
    shared: Arc<Shared>,
    /// New blocks start at this generation: above every generation of blocks given back.
    floor: AtomicU32,
    me: Weak<Self>,
}

/// The blocks of one moment. Replaced, never changed.
#[derive(Debug)]
pub(crate) struct Directory<T: Tenant> {
    blocks: Vec<Arc<Block<T>>>,
}

impl<T: Tenant> Slots<T> {
    pub(crate) fn new() -> Arc<Self> {
        Self::keeping(KEPT, stripe::count())
    }

    /// A table that keeps one block.
    #[cfg(test)]
    pub(crate) fn with_stripes(stripes: usize) -> Arc<Self> {
        Self::keeping(1, stripes)
    }

    /// How many blocks the table has.
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
            kept: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
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

    /// Takes a free slot, growing the table when there is none. The slot is listed once it is filled,
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
    #[expect(
        unsafe_code,
        reason = "loading the directory costs a registration an eighth more"
    )]
    fn kept(&self, number: usize) -> Option<&Block<T>> {
        let block = self.kept.get(number)?.load(Acquire);
        // SAFETY: it is null, or a block of the directory that never leaves it.
        unsafe { block.as_ref() }
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

    /// Adds a block, unless somebody did since `seen` blocks were counted.
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
        if seen < self.shared.kept {
            let block = Arc::as_ptr(&self.directory.load().blocks[seen]);
            self.kept[seen].store(block.cast_mut(), Release);
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

    /// Throws away the shells that may linger when nobody spawns any more.
    pub(crate) fn throw_shells(&self) {
        // Only the first block may have more of them than tenants.
        if let Some(block) = self.directory.load().blocks.first() {
            block.throw_shells();
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

    /// A pin that a [`Look`] left on an entry.
    ///
    /// # Safety
    ///
    /// There is one, each is taken up once, and the table stays until what is returned is dropped.
    #[expect(unsafe_code, reason = "nobody counts again what was counted before")]
    pub(crate) unsafe fn take_up(&self, index: u32) -> Pin<T> {
        let directory = self.directory.load();
        let place = directory.place(index);
        let (block, at) = place.expect("what is pinned stays in its place");
        // SAFETY: as demanded.
        unsafe { Pin::new(At::new(block, at)) }
    }
}

impl<T: Tenant> Shrink for Slots<T> {
    /// Gives the last blocks back as long as they are wholly free and the rest is at least half free,
    /// so that a table at the edge does not grow and shrink by turns.
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

impl<T: Tenant> Directory<T> {
    /// Looks at the entries in up to `steps` slots from `cursor` on; returns where to go on, or `None` at
    /// the end.
    pub(crate) fn scan(
        &self,
        cursor: usize,
        steps: usize,
        mut visit: impl FnMut(Look<'_, T>),
    ) -> Option<usize> {
        let (mut cursor, end) = (cursor, cursor.saturating_add(steps));
        while cursor < end {
            let (block, start) = self.place(narrow(cursor))?;
            let most = (block.len() - start).min(end - cursor);
            for at in start..start + most {
                if let Some(generation) = block.slots[at].pin(None) {
                    visit(Look {
                        block,
                        at,
                        generation,
                    });
                }
            }
            cursor += most;
        }
        Some(cursor)
    }

    /// Lets go of a pin that a [`Look`] left on an entry.
    #[inline]
    pub(crate) fn let_go(&self, index: u32) {
        if let Some((block, at)) = self.place(index) {
            drop(block.release(at, PIN));
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
    reason = "a table does not grow beyond that: see `grow`"
)]
#[inline]
fn narrow(index: usize) -> u32 {
    index as u32
}

/// A slot taken but not yet listed. Dropping it frees the slot.
pub(crate) struct Reserved<'a, T: Tenant> {
    /// `None` once the slot is filled.
    block: Option<Source<'a, T>>,
    at: usize,
}

/// Where a block was found, and what keeps it.
enum Source<'a, T: Tenant> {
    Kept(&'a Block<T>),
    Directory(Loaded<Directory<T>>, usize),
}

impl<T: Tenant> Deref for Source<'_, T> {
    type Target = Block<T>;

    #[inline]
    fn deref(&self) -> &Block<T> {
        match self {
            Self::Kept(block) => block,
            Self::Directory(directory, number) => &directory.blocks[*number],
        }
    }
}

impl<T: Tenant> Reserved<'_, T> {
    /// The key that the entry will have.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        let block = self.block.as_ref();
        key_of(block.expect("it has its place until it is filled"), self.at)
    }

    /// Fills the slot and lists it.
    ///
    /// # Safety
    ///
    /// `init` puts a tenant in.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the free list is what makes this slot ours")]
    unsafe fn fill(mut self, holds: u64, init: impl FnOnce(&mut MaybeUninit<T>, Key)) -> At<T> {
        let (block, at) = (self.block.take().expect("it is filled once"), self.at);
        // There is nothing left to drop, and to find that out takes a call.
        mem::forget(self);
        let key = key_of(&block, at);
        // SAFETY: the place came off a free list, which hands it out to one at a time, and it is filled
        // once, because that uses up the reservation; the rest is as demanded.
        unsafe { block.slots[at].fill(holds, |place| init(place, key)) };
        At::new(&block, at)
    }

    /// Lists the tenant, until it is removed by its key.
    #[inline]
    #[expect(unsafe_code, reason = "the free list is what makes this slot ours")]
    pub(crate) fn list(self, tenant: T) -> Key {
        let key = self.key();
        let init = |place: &mut MaybeUninit<T>, _| {
            place.write(tenant);
        };
        // SAFETY: it puts the tenant in.
        unsafe { self.fill(0, init) };
        key
    }

    /// Lists the tenant that `init` puts in for its key, for as long as its owner has it.
    ///
    /// # Safety
    ///
    /// `init` puts a tenant in, and does not panic.
    /// The table stays until the place is dropped: whoever has it, or the tenant itself, holds the table.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the place knows no more than where it is")]
    pub(crate) unsafe fn own(self, init: impl FnOnce(&mut MaybeUninit<T>, Key)) -> Place<T> {
        // SAFETY: the slot counts the hold, and the table stays.
        unsafe { Place::new(self.fill(OWNED, init)) }
    }

    /// Lists the tenant for as long as its owner has it, with a second hold on it.
    ///
    /// # Safety
    ///
    /// As [`own`](Self::own), for both holds.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the place knows no more than where it is")]
    pub(crate) unsafe fn share(
        self,
        init: impl FnOnce(&mut MaybeUninit<T>, Key),
    ) -> (Place<T>, Held<T>) {
        // SAFETY: the slot counts both holds, and the table stays.
        unsafe {
            let at = self.fill(OWNED | HELD, init);
            (Place::new(at), Held::new(at))
        }
    }
}

impl<T: Tenant> Drop for Reserved<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.put_back(self.at);
        }
    }
}

#[inline]
fn key_of<T: Tenant>(block: &Block<T>, at: usize) -> Key {
    Key {
        index: narrow(base(block.number) + at),
        generation: block.slots[at].generation(),
    }
}

/// An entry that is being looked at, and stays as long as that lasts.
pub(crate) struct Look<'a, T: Tenant> {
    block: &'a Block<T>,
    at: usize,
    generation: u32,
}

impl<T: Tenant> Look<'_, T> {
    pub(crate) fn key(&self) -> Key {
        Key {
            index: narrow(base(self.block.number) + self.at),
            generation: self.generation,
        }
    }

    #[inline]
    #[expect(unsafe_code, reason = "the pin is what makes looking safe")]
    pub(crate) fn tenant(&self) -> &T {
        // SAFETY: it is pinned.
        unsafe { self.block.slots[self.at].tenant() }
    }

    /// The second part of the tenant, if it has come.
    #[expect(unsafe_code, reason = "the pin is what makes looking safe")]
    pub(crate) fn later(&self) -> Option<&T::Later> {
        // SAFETY: it is pinned.
        unsafe { self.block.slots[self.at].later() }
    }

    /// Leaves the entry pinned, for somebody to [take up](Slots::take_up).
    #[inline]
    pub(crate) fn keep(self) -> u32 {
        let this = ManuallyDrop::new(self);
        narrow(base(this.block.number) + this.at)
    }
}

impl<T: Tenant> Drop for Look<'_, T> {
    #[inline]
    fn drop(&mut self) {
        drop(self.block.release(self.at, PIN));
    }
}

impl<T: Tenant> fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
