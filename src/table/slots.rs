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
    mem::{ManuallyDrop, MaybeUninit},
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

    /// Finds a free slot in the blocks of the directory.
    #[cold]
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

    /// Gives the last blocks back as long as they are wholly free and the rest is at least half free,
    /// so that a table at the edge does not grow and shrink by turns.
    fn give_back(&self) {
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
    fn shrink(&self) {
        self.give_back();
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
        let (mut cursor, end) = (cursor, cursor + steps);
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
    reason = "a table of 2^32 slots does not fit into memory"
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
        let block = self.block.take().expect("it is filled once");
        let key = key_of(&block, self.at);
        // SAFETY: the place came off a free list, which hands it out to one at a time, and it is filled
        // once, because that uses up the reservation; the rest is as demanded.
        unsafe { block.slots[self.at].fill(holds, |place| init(place, key)) };
        At::new(&block, self.at)
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
mod tests {
    use super::*;
    use crate::table::testing::{Drops, Guest, listed, own, share};
    use std::collections::BTreeSet;

    fn fill(slots: &Slots<Guest>, count: usize) -> Vec<Key> {
        (0..count)
            .map(|n| slots.reserve_on(n % slots.stripes()).list(Guest::new(n)))
            .collect()
    }

    fn all(slots: &Slots<Guest>) -> BTreeSet<usize> {
        let found = listed(slots);
        let set: BTreeSet<_> = found.iter().map(|(_, value)| *value).collect();
        assert_eq!(set.len(), found.len(), "listed twice");
        set
    }

    #[test]
    fn places_of_an_index_fit_the_blocks() {
        let slots = Slots::<Guest>::with_stripes(1);
        for seen in 0..8 {
            slots.grow(seen);
            slots.grow(seen);
        }
        let directory = slots.directory();
        let place = |index| directory.place(index).map(|(block, at)| (block.number, at));
        assert_eq!(slots.blocks(), 8);
        assert_eq!((place(0), place(63)), (Some((0, 0)), Some((0, 63))));
        assert_eq!((place(64), place(191)), (Some((1, 0)), Some((1, 127))));
        assert_eq!((place(192), place(959)), (Some((2, 0)), Some((3, 511))));
        assert_eq!(
            (place(1_983), place(1_984)),
            (Some((4, 1_023)), Some((5, 0)))
        );
        assert_eq!(
            (place(4_031), place(4_032)),
            (Some((5, 2_047)), Some((6, 0)))
        );
        assert_eq!(
            (place(6_079), place(6_080)),
            (Some((6, 2_047)), Some((7, 0)))
        );
        assert_eq!((place(8_127), place(8_128)), (Some((7, 2_047)), None));
        assert_eq!(place(u32::MAX), None);
    }

    #[test]
    fn blocks_double_up_to_2048_and_then_stay_equal() {
        let slots = Slots::<Guest>::with_stripes(1);
        (0..9).for_each(|seen| slots.grow(seen));
        let directory = slots.directory();
        let sizes: Vec<_> = directory.blocks.iter().map(|block| block.len()).collect();
        assert_eq!(
            sizes,
            [64, 128, 256, 512, 1_024, 2_048, 2_048, 2_048, 2_048]
        );
        let mut start = 0;
        for (number, size) in sizes.into_iter().enumerate() {
            assert_eq!(base(number), start);
            start += size;
        }
    }

    #[test]
    fn a_table_grows_lists_everything_and_shrinks_again() {
        for stripes in [1, 2, 8] {
            let slots = Slots::with_stripes(stripes);
            let keys = fill(&slots, 10_000);
            assert_eq!((slots.len(), slots.blocks()), (10_000, 9));
            assert_eq!(all(&slots), (0..10_000).collect());
            let indices: BTreeSet<_> = keys.iter().map(|key| key.index).collect();
            assert_eq!(indices.len(), 10_000);
            for key in &keys {
                assert!(slots.remove(*key) && !slots.remove(*key));
            }
            assert_eq!((slots.len(), all(&slots).len()), (0, 0));
            assert!(
                slots.blocks() <= 1,
                "{} blocks are left with {stripes} stripes",
                slots.blocks()
            );
        }
    }

    /// I6: also with the tenants of owners, who leave without lingering.
    #[test]
    fn a_table_of_owned_places_shrinks_again() {
        for stripes in [1, 8] {
            let slots = Slots::with_stripes(stripes);
            let places: Vec<_> = (0..5_000)
                .map(|n| own(&slots, n % stripes, Guest::new(n)))
                .collect();
            assert_eq!((slots.len(), slots.blocks()), (5_000, 7));
            drop(places);
            assert_eq!((slots.len(), slots.blocks()), (0, 1));
        }
    }

    /// I6: also with shells, which are free places of another kind.
    #[test]
    fn a_table_of_shells_shrinks_again() {
        for stripes in [1, 2, 8] {
            let (slots, drops) = (Slots::with_stripes(stripes), Drops::default());
            let elsewhere = stripe::current().wrapping_add(1);
            let places: Vec<_> = (0..3_000)
                .map(|n| {
                    let guest = Guest::new(n).made_by(elsewhere);
                    let (_, place, held) = share(&slots, n % stripes, guest);
                    held.complete(drops.counted());
                    place
                })
                .collect();
            assert_eq!((slots.len(), slots.blocks()), (3_000, 6));
            drop(places);
            assert_eq!((slots.len(), slots.blocks(), drops.count()), (0, 1, 2_984));
            slots.throw_shells();
            assert_eq!(drops.count(), 3_000);
        }
    }

    /// A table that is used in bursts of up to 960 keeps what it has.
    #[test]
    fn a_table_keeps_four_blocks_once_it_has_them() {
        let slots = Slots::new();
        assert_eq!(slots.blocks(), 0);
        for (count, most, left) in [(960, 4, 4), (1, 4, 4), (961, 5, 4), (10_000, 9, 4)] {
            let keys = fill(&slots, count);
            assert_eq!((slots.len(), slots.blocks()), (count, most));
            assert!(keys.iter().all(|key| slots.remove(*key)));
            assert_eq!((slots.len(), slots.blocks()), (0, left));
        }
    }

    #[test]
    fn a_block_in_use_stays_and_so_does_what_lies_below_it() {
        let slots = Slots::with_stripes(2);
        let keys = fill(&slots, 1_000);
        let kept = keys.iter().max_by_key(|key| key.index).unwrap();
        for key in &keys {
            if key != kept {
                assert!(slots.remove(*key));
            }
        }
        assert_eq!((slots.len(), slots.blocks()), (1, 5));
        assert!(slots.remove(*kept));
        assert_eq!((slots.len(), slots.blocks()), (0, 1));
    }

    /// Somebody may still look at the tenant that was there.
    #[test]
    fn a_block_with_a_lingering_place_stays() {
        let slots = Slots::with_stripes(1);
        let (_, places) = (fill(&slots, 1), fill(&slots, 63));
        let (key, place, held) = share(&slots, 0, Guest::new(7));
        assert_eq!((key.index, slots.blocks()), (64, 2));
        assert!(places.iter().all(|key| slots.remove(*key)));
        drop(place);
        assert_eq!((slots.len(), slots.blocks()), (1, 2));
        assert_eq!(held.value, 7);
        drop(held);
        assert_eq!((slots.len(), slots.blocks()), (1, 1));
    }

    /// I6: whoever drops the last entry, in whatever order.
    #[test]
    fn a_table_shrinks_whatever_the_order_and_whoever_drops_the_last() {
        for stripes in [1, 2, 8] {
            for reversed in [false, true] {
                let slots = Slots::with_stripes(stripes);
                let mut keys = fill(&slots, 5_000);
                if reversed {
                    keys.reverse();
                }
                for key in keys {
                    assert!(slots.remove(key));
                }
                assert_eq!(
                    (slots.len(), slots.blocks()),
                    (0, 1),
                    "{stripes} {reversed}"
                );
            }
        }
    }

    /// I6: what is free behind the last entries is given back, also when the rest empties later.
    #[test]
    fn a_free_last_block_goes_when_the_rest_empties() {
        let slots = Slots::with_stripes(4);
        let mut keys = fill(&slots, 64 + 128 + 256 + 512);
        keys.sort_by_key(|key| key.index);
        let last = keys.split_off(64 + 128 + 256);
        assert!(last.iter().all(|key| slots.remove(*key)));
        assert_eq!(slots.blocks(), 4, "the rest is full");
        // One stays in every block.
        for key in keys.iter().filter(|key| ![0, 64, 192].contains(&key.index)) {
            assert!(slots.remove(*key));
        }
        assert_eq!((slots.len(), slots.blocks()), (3, 3));
    }

    /// A table that is used at the edge of a block does not grow and shrink by turns.
    #[test]
    fn a_table_at_the_edge_keeps_its_last_block() {
        let slots = Slots::with_stripes(1);
        let _full = fill(&slots, 64);
        for _ in 0..10 {
            let key = slots.reserve_on(0).list(Guest::new(0));
            assert_eq!(slots.blocks(), 2);
            assert!(slots.remove(key));
            assert_eq!(slots.blocks(), 2);
        }
    }

    /// L3: also across a block that was given back and came again.
    #[test]
    fn keys_are_not_repeated_when_a_block_comes_again() {
        let slots = Slots::with_stripes(2);
        let mut seen = Vec::new();
        for _ in 0..5 {
            let keys = fill(&slots, 500);
            for key in &keys {
                assert!(!seen.contains(key));
                assert!(slots.remove(*key));
            }
            assert_eq!(slots.blocks(), 1);
            seen.extend(keys);
        }
        assert!(seen.iter().all(|key| !slots.remove(*key)));
    }

    #[test]
    fn a_dropped_reservation_frees_its_place() {
        let slots = Slots::with_stripes(1);
        let key = slots.reserve_on(0).key();
        assert_eq!((slots.len(), all(&slots).len()), (0, 0));
        assert_eq!(
            slots.reserve_on(0).list(Guest::new(5)),
            key,
            "not used, so not used up"
        );
        let many: Vec<_> = (0..1_000).map(|_| slots.reserve_on(0)).collect();
        assert_eq!((slots.len(), all(&slots).len()), (1_001, 1));
        drop(many);
        assert_eq!((slots.len(), slots.blocks()), (1, 1));
    }

    /// Low places are used first, so that high blocks empty out.
    #[test]
    fn low_blocks_are_used_first() {
        let slots = Slots::with_stripes(1);
        let keys = fill(&slots, 400);
        for key in &keys[..64] {
            slots.remove(*key);
        }
        assert!(fill(&slots, 64).iter().all(|key| key.index < 64));
    }

    #[test]
    fn a_stripe_without_places_takes_from_the_next_and_gives_back_to_its_home() {
        let slots = Slots::with_stripes(2);
        let own_places: Vec<_> = (0..32).map(|n| own(&slots, 1, Guest::new(n))).collect();
        let key = slots.reserve_on(1).key();
        assert_eq!((key.index, slots.blocks()), (0, 1), "of the other stripe");
        let place = own(&slots, 1, Guest::new(7));
        assert_eq!(listed(&slots)[0], (key, 7));
        drop((place, own_places));
        let block = &slots.directory().blocks[0];
        let [at, other] = [0, 1].map(|stripe| block.pop(stripe).unwrap());
        assert_eq!((at, other), (0, 63));
        block.put_back(at);
        block.put_back(other);
    }

    #[test]
    fn a_place_that_ran_out_of_generations_is_not_used_again() {
        let slots = Slots::with_stripes(1);
        slots.floor.store(u32::MAX - 1, Relaxed);
        let first = slots.reserve_on(0).list(Guest::new(0));
        assert!(slots.remove(first));
        let last = slots.reserve_on(0).list(Guest::new(1));
        assert_eq!((last.index, last.generation), (first.index, u32::MAX));
        assert!(slots.remove(last));
        assert_eq!(slots.len(), 0);
        let keys = fill(&slots, 200);
        assert!(keys.iter().all(|key| key.index != first.index));
        assert_eq!((slots.len(), all(&slots).len()), (200, 200));
        for key in keys {
            assert!(slots.remove(key));
        }
        assert_eq!((slots.len(), slots.blocks()), (0, 1));
    }

    /// A value that is removed while it is read goes when the reader goes.
    #[test]
    fn a_reader_keeps_a_removed_value_to_the_end_of_its_look() {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        let key = slots.reserve_on(0).list(Guest::new(5).counted(&drops));
        let mut looks = 0;
        slots.directory().scan(0, 64, |look| {
            assert_eq!(look.key(), key);
            assert!(slots.remove(key) && !slots.remove(key));
            let seen = (look.tenant().value, drops.count(), slots.len());
            assert_eq!(seen, (5, 0, 0));
            looks += 1;
        });
        assert_eq!((looks, drops.count(), slots.len()), (1, 1, 0));
    }

    #[test]
    fn what_a_reader_keeps_is_taken_up_later() {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        let key = slots.reserve_on(0).list(Guest::new(5).counted(&drops));
        let mut kept = Vec::new();
        slots.directory().scan(0, 64, |look| kept.push(look.keep()));
        assert_eq!(kept, [key.index]);
        assert!(slots.remove(key));
        // SAFETY: there is a pin, and the table stays until the end of the test.
        #[expect(unsafe_code, reason = "a pin knows no more than where it is")]
        let pin = unsafe { slots.take_up(kept[0]) };
        assert_eq!((pin.value, drops.count()), (5, 0));
        drop(pin);
        assert_eq!(drops.count(), 1);
    }

    #[test]
    fn what_a_reader_keeps_is_let_go_without_being_taken_up() {
        let (slots, drops) = (Slots::with_stripes(1), Drops::default());
        let key = slots.reserve_on(0).list(Guest::new(5).counted(&drops));
        let directory = slots.directory();
        let mut kept = Vec::new();
        directory.scan(0, 64, |look| kept.push(look.keep()));
        assert!(slots.remove(key));
        assert_eq!(drops.count(), 0);
        directory.let_go(kept[0]);
        assert_eq!(drops.count(), 1);
    }

    #[test]
    fn a_scan_takes_no_more_steps_than_it_was_told_to() {
        let slots = Slots::with_stripes(1);
        fill(&slots, 100);
        let directory = slots.directory();
        let scan = |cursor, steps| {
            let mut found = 0;
            (directory.scan(cursor, steps, |_| found += 1), found)
        };
        assert_eq!(
            (scan(0, 10), scan(60, 10)),
            ((Some(10), 10), (Some(70), 10))
        );
        assert_eq!((scan(95, 10), scan(190, 10)), ((Some(105), 5), (None, 0)));
        assert_eq!(scan(192, 10), (None, 0));
    }
}
