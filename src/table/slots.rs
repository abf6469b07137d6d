//! The lock-free slot table: reserve, commit, remove and scan, without waiting for anybody.
//!
//! # Shape
//!
//! A [`Directory`] lists blocks of doubling size and is replaced as a whole through a
//! [`Snapshot`] when the table grows or shrinks. Slots never move, so a scan of an old directory sees
//! every entry that was live when the directory was read. A block that leaves the directory stays
//! allocated as long as somebody holds the directory that listed it.
//!
//! Each block has one free list per stripe of threads: a stack of slot indices whose head carries a
//! 32-bit tag that changes with every push and pop (no ABA). The link of a free slot also holds how
//! many slots lie below it, so the number of free slots, and with it [`Slots::len`], is read off the
//! heads and costs the register path nothing.
//!
//! # The state word
//!
//! generation (32 bits) · `LIVE` · `DEAD` · readers (30 bits)
//!
//! 1. *Free*: neither flag, no readers. The slot is on a free list, or in the hand of whoever popped it.
//! 2. `LIVE`: set by [`Reserved::commit`] after the value is in place. Only now may readers enter.
//! 3. `DEAD`: set in the same step that clears `LIVE`, by the one remover whose id matches. No reader
//!    enters any more. If none was inside, the remover has the slot for itself; otherwise the last
//!    reader to leave does. Whoever has it empties it, raises the generation and frees it (1).
//!
//! So the value is written only in (1) and (3), by one thread, and read only in (2) by counted readers.

use crate::{
    sync::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
        Snapshot, TryCell,
    },
    table::stripe,
};
use std::sync::Arc;

/// Slots in the first block; each further block is twice the one before it.
#[cfg(not(headcount_loom))]
const FIRST: usize = 64;
#[cfg(headcount_loom)]
const FIRST: usize = 1;

const LIVE: u64 = 1 << 31;
const DEAD: u64 = 1 << 30;
const READERS: u64 = DEAD - 1;
const READER: u64 = 1;
/// The lower half of heads and links.
const LOWER: u64 = u32::MAX as u64;

/// Where an entry lives, and which tenant of that place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A growing and shrinking set of values, each found again by its [`Key`].
#[derive(Debug)]
pub(crate) struct Slots<T> {
    directory: Snapshot<Directory<T>>,
    /// For each stripe the lowest block where it may find a free slot. A hint, never relied upon.
    hints: Box<[Line<AtomicU32>]>,
    /// New blocks start at this generation: above every generation of blocks given back.
    floor: AtomicU32,
}

/// The blocks of one moment. Replaced, never changed.
#[derive(Debug)]
pub(crate) struct Directory<T> {
    blocks: Vec<Arc<Block<T>>>,
}

#[derive(Debug)]
struct Block<T> {
    number: usize,
    slots: Box<[Slot<T>]>,
    /// Heads of the free lists, one per stripe: tag in the upper half, index + 1 in the lower.
    free: Box<[Line<AtomicU64>]>,
    /// Slots that ran out of generations and are never used again.
    spent: AtomicU32,
}

#[derive(Debug)]
struct Slot<T> {
    state: AtomicU64,
    /// While free: index + 1 of the next free slot in the lower half, in the upper half how many
    /// slots the list holds from here on.
    link: AtomicU64,
    value: TryCell<T>,
}

/// Keeps what one stripe writes off the cache lines of the others.
#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self::with_stripes(stripe::count())
    }

    pub(crate) fn with_stripes(stripes: usize) -> Self {
        Self {
            directory: Snapshot::new(Directory { blocks: Vec::new() }),
            hints: (0..stripes).map(|_| Line(AtomicU32::new(0))).collect(),
            floor: AtomicU32::new(0),
        }
    }

    fn own_stripe(&self) -> usize {
        stripe::current() & (self.hints.len() - 1)
    }

    /// Takes a free slot, growing the table when there is none. The slot is listed once committed,
    /// and free again if the reservation is dropped instead.
    pub(crate) fn reserve(&self) -> Reserved<'_, T> {
        self.reserve_on(self.own_stripe())
    }

    pub(crate) fn reserve_on(&self, stripe: usize) -> Reserved<'_, T> {
        loop {
            let directory = self.directory.load();
            if let Some((block, index)) = self.pop(&directory, stripe) {
                let block = Arc::clone(&directory.blocks[block]);
                return Reserved {
                    slots: self,
                    stripe,
                    block: Some(block),
                    index,
                };
            }
            self.grow(directory.blocks.len());
        }
    }

    /// A free slot of this stripe, lowest block first; failing that, another stripe's.
    fn pop(&self, directory: &Directory<T>, stripe: usize) -> Option<(usize, usize)> {
        let hint = &self.hints[stripe].0;
        let start = hint.load(Relaxed) as usize;
        for (number, block) in directory.blocks.iter().enumerate().skip(start) {
            if let Some(index) = block.pop(stripe) {
                if number != start {
                    hint.store(narrow(number), Relaxed);
                }
                return Some((number, index));
            }
        }
        for (number, block) in directory.blocks.iter().enumerate() {
            if let Some(index) = block.steal(stripe) {
                hint.store(narrow(number), Relaxed);
                return Some((number, index));
            }
        }
        None
    }

    /// Adds a block, unless somebody did since `seen` blocks were counted.
    #[cold]
    fn grow(&self, seen: usize) {
        self.directory.update(|directory| {
            if directory.blocks.len() != seen {
                return None;
            }
            let mut blocks = directory.blocks.clone();
            blocks.push(Arc::new(Block::new(
                seen,
                self.hints.len(),
                self.floor.load(Acquire),
            )));
            Some(Directory { blocks })
        });
    }

    /// Removes the entry, if the key still names one. The value is dropped here, or by a reader that
    /// is looking at it just now.
    pub(crate) fn remove(&self, key: Key) -> bool {
        self.remove_on(self.own_stripe(), key)
    }

    pub(crate) fn remove_on(&self, stripe: usize, key: Key) -> bool {
        let directory = self.directory.load();
        let Some((block, index)) = directory.place(key.index) else {
            return false;
        };
        let state = &block.slots[index].state;
        let mut seen = state.load(Relaxed);
        loop {
            if generation_of(seen) != key.generation || seen & LIVE == 0 {
                return false;
            }
            let dead = (seen & !LIVE) | DEAD;
            match state.compare_exchange_weak(seen, dead, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if seen & READERS == 0 {
            self.vacate(block, index, stripe);
        }
        true
    }

    /// Empties and frees a dead slot that nobody reads any more, and drops its value last of all.
    fn vacate(&self, block: &Arc<Block<T>>, index: usize, stripe: usize) {
        let slot = &block.slots[index];
        let value = slot.value.take();
        let generation = generation_of(slot.state.load(Relaxed));
        if generation == u32::MAX {
            block.spent.fetch_add(1, Relaxed);
        } else {
            slot.state.store(free_state(generation + 1), Release);
            block.push(stripe, index);
            self.freed(block, stripe);
        }
        drop(value);
    }

    /// After a push: lowers the hint, and gives a wholly free last block back.
    fn freed(&self, block: &Arc<Block<T>>, stripe: usize) {
        let hint = &self.hints[stripe].0;
        if narrow(block.number) < hint.load(Relaxed) {
            hint.store(narrow(block.number), Relaxed);
        }
        if block.number > 0 && block.depth(stripe) >= block.slots.len() / self.hints.len() {
            self.shrink(block);
        }
    }

    /// Gives the last blocks back when they are wholly free and the rest is at least half free, so
    /// that a table at the edge does not grow and shrink by turns.
    fn shrink(&self, block: &Arc<Block<T>>) {
        if !block.is_free() {
            return;
        }
        loop {
            let directory = self.directory.load();
            let Some((last, rest)) = directory.blocks.split_last() else {
                return;
            };
            let kept: usize = rest.iter().map(|block| block.slots.len()).sum();
            let free: usize = rest.iter().map(|block| block.free()).sum();
            if rest.is_empty() || 2 * free < kept || !last.is_free() || !self.retire(last) {
                return;
            }
        }
    }

    /// Takes every free slot of the last block; if that is all of them nobody else can have one, and
    /// the block leaves the directory. Otherwise the slots go back.
    fn retire(&self, last: &Arc<Block<T>>) -> bool {
        let stripes = self.hints.len();
        let taken: Vec<(usize, u64)> = (0..stripes)
            .map(|stripe| (stripe, last.take_all(stripe)))
            .collect();
        let count: usize = taken.iter().map(|&(_, chain)| last.chain_len(chain)).sum();
        if count + last.spent.load(Relaxed) as usize == last.slots.len() {
            let used = last
                .slots
                .iter()
                .map(|slot| generation_of(slot.state.load(Relaxed)))
                .max();
            self.floor.fetch_max(used.unwrap_or(0), AcqRel);
            let removed = self.directory.update(|directory| {
                let (end, rest) = directory.blocks.split_last()?;
                Arc::ptr_eq(end, last).then(|| Directory {
                    blocks: rest.to_vec(),
                })
            });
            if removed {
                return true;
            }
        }
        for (stripe, chain) in taken {
            last.give_back(stripe, chain);
        }
        false
    }

    /// How many entries there are: exact while nobody registers or removes. Costs a few loads per block.
    pub(crate) fn len(&self) -> usize {
        let directory = self.directory.load();
        let used = |block: &Arc<Block<T>>| block.slots.len() - block.free().min(block.slots.len());
        directory.blocks.iter().map(used).sum()
    }

    /// The blocks of this moment, to be scanned in as many steps as the caller likes.
    pub(crate) fn directory(&self) -> Arc<Directory<T>> {
        Arc::clone(&self.directory.load())
    }

    /// Looks at up to `steps` slots from `cursor` on; returns where to go on, or `None` at the end.
    pub(crate) fn scan(
        &self,
        directory: &Directory<T>,
        cursor: usize,
        steps: usize,
        mut visit: impl FnMut(Key, &T),
    ) -> Option<usize> {
        let stripe = self.own_stripe();
        for index in cursor..cursor + steps {
            let (block, at) = directory.place(narrow(index))?;
            self.read(block, at, stripe, |generation, value| {
                visit(
                    Key {
                        index: narrow(index),
                        generation,
                    },
                    value,
                );
            });
        }
        Some(cursor + steps)
    }

    /// Shows the value at one place to `look`, if one is live there.
    fn read<R>(
        &self,
        block: &Arc<Block<T>>,
        index: usize,
        stripe: usize,
        look: impl FnOnce(u32, &T) -> R,
    ) -> Option<R> {
        let reader = Reader::enter(self, block, index, stripe)?;
        block.slots[index]
            .value
            .read(|value| look(reader.generation, value))
    }
}

impl<T> Directory<T> {
    fn place(&self, index: u32) -> Option<(&Arc<Block<T>>, usize)> {
        let index = index as usize;
        let number = (index / FIRST + 1).ilog2() as usize;
        let block = self.blocks.get(number)?;
        Some((block, index - base(number)))
    }
}

/// Indices fit 32 bits: memory ends before they do.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a table of 2^32 slots does not fit into memory"
)]
fn narrow(index: usize) -> u32 {
    index as u32
}

/// Index of the first slot of a block.
fn base(number: usize) -> usize {
    FIRST * ((1 << number) - 1)
}

fn generation_of(state: u64) -> u32 {
    (state >> 32) as u32
}

fn free_state(generation: u32) -> u64 {
    u64::from(generation) << 32
}

/// The lower half of a head or link: index + 1, 0 for none.
fn first_of(word: u64) -> Option<usize> {
    ((word & LOWER) as usize).checked_sub(1)
}

/// A head that lists `first` and differs from `head` in its tag.
fn retagged(head: u64, first: u64) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | first
}

impl<T> Block<T> {
    fn new(number: usize, stripes: usize, generation: u32) -> Self {
        let size = FIRST << number;
        let slot = |_| Slot {
            state: AtomicU64::new(free_state(generation)),
            link: AtomicU64::new(0),
            value: TryCell::empty(),
        };
        let block = Self {
            number,
            slots: (0..size).map(slot).collect(),
            free: (0..stripes).map(|_| Line(AtomicU64::new(0))).collect(),
            spent: AtomicU32::new(0),
        };
        // Contiguous runs, so that stripes do not share cache lines; the lowest index on top.
        for index in (0..size).rev() {
            block.push(index * stripes / size, index);
        }
        block
    }

    fn pop(&self, stripe: usize) -> Option<usize> {
        let free = &self.free[stripe].0;
        let mut head = free.load(Acquire);
        loop {
            let first = first_of(head)?;
            let next = self.slots[first].link.load(Relaxed) & LOWER;
            match free.compare_exchange_weak(head, retagged(head, next), AcqRel, Acquire) {
                Ok(_) => return Some(first),
                Err(now) => head = now,
            }
        }
    }

    fn push(&self, stripe: usize, index: usize) {
        let free = &self.free[stripe].0;
        let mut head = free.load(Acquire);
        loop {
            let below = self.chain_len(head) as u64;
            let next = head & LOWER;
            self.slots[index]
                .link
                .store((below + 1) << 32 | next, Relaxed);
            match free.compare_exchange_weak(
                head,
                retagged(head, index as u64 + 1),
                AcqRel,
                Acquire,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes the whole list of another stripe, keeps its first slot and leaves the rest to `stripe`.
    #[cold]
    fn steal(&self, stripe: usize) -> Option<usize> {
        (0..self.free.len()).find_map(|victim| {
            let chain = self.take_all(victim);
            let first = first_of(chain)?;
            self.give_back(stripe, self.slots[first].link.load(Relaxed));
            Some(first)
        })
    }

    /// Empties a free list; returns its old head.
    fn take_all(&self, stripe: usize) -> u64 {
        let free = &self.free[stripe].0;
        let mut head = free.load(Acquire);
        loop {
            if first_of(head).is_none() {
                return head;
            }
            match free.compare_exchange_weak(head, retagged(head, 0), AcqRel, Acquire) {
                Ok(_) => return head,
                Err(now) => head = now,
            }
        }
    }

    /// Puts a chain taken by [`take_all`](Self::take_all) back: whole if the list is empty, else one by one.
    fn give_back(&self, stripe: usize, chain: u64) {
        let Some(mut first) = first_of(chain) else {
            return;
        };
        let free = &self.free[stripe].0;
        let head = free.load(Acquire);
        if first_of(head).is_none() {
            let whole = retagged(head, first as u64 + 1);
            if free.compare_exchange(head, whole, AcqRel, Acquire).is_ok() {
                return;
            }
        }
        loop {
            let next = first_of(self.slots[first].link.load(Relaxed));
            self.push(stripe, first);
            let Some(next) = next else { return };
            first = next;
        }
    }

    /// How many slots hang on a head.
    fn chain_len(&self, head: u64) -> usize {
        first_of(head).map_or(0, |first| {
            (self.slots[first].link.load(Relaxed) >> 32) as usize
        })
    }

    fn depth(&self, stripe: usize) -> usize {
        self.chain_len(self.free[stripe].0.load(Acquire))
    }

    /// How many slots are free; exact while nothing changes.
    fn free(&self) -> usize {
        (0..self.free.len()).map(|stripe| self.depth(stripe)).sum()
    }

    fn is_free(&self) -> bool {
        self.free() + self.spent.load(Relaxed) as usize == self.slots.len()
    }
}

/// A slot taken but not yet listed (L11: reserve, then commit). Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Reserved<'a, T> {
    slots: &'a Slots<T>,
    stripe: usize,
    block: Option<Arc<Block<T>>>,
    index: usize,
}

impl<T> Reserved<'_, T> {
    /// The key that the entry will have.
    pub(crate) fn key(&self) -> Key {
        let block = self
            .block
            .as_ref()
            .expect("a reservation has its block until it is committed");
        let generation = generation_of(block.slots[self.index].state.load(Relaxed));
        Key {
            index: narrow(base(block.number) + self.index),
            generation,
        }
    }

    /// Lists the value.
    pub(crate) fn commit(mut self, value: T) -> Key {
        let key = self.key();
        if let Some(block) = self.block.take() {
            let slot = &block.slots[self.index];
            slot.value.put(value);
            slot.state.store(free_state(key.generation) | LIVE, Release);
        }
        key
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            block.push(self.stripe, self.index);
            self.slots.freed(&block, self.stripe);
        }
    }
}

/// One counted reader of one live slot.
struct Reader<'a, T> {
    slots: &'a Slots<T>,
    block: &'a Arc<Block<T>>,
    index: usize,
    stripe: usize,
    generation: u32,
}

impl<'a, T> Reader<'a, T> {
    fn enter(
        slots: &'a Slots<T>,
        block: &'a Arc<Block<T>>,
        index: usize,
        stripe: usize,
    ) -> Option<Self> {
        let state = &block.slots[index].state;
        let mut seen = state.load(Relaxed);
        loop {
            if seen & LIVE == 0 {
                return None;
            }
            match state.compare_exchange_weak(seen, seen + READER, Acquire, Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Some(Self {
            slots,
            block,
            index,
            stripe,
            generation: generation_of(seen),
        })
    }
}

impl<T> Drop for Reader<'_, T> {
    fn drop(&mut self) {
        let before = self.block.slots[self.index].state.fetch_sub(READER, AcqRel);
        if before & DEAD != 0 && before & READERS == READER {
            self.slots.vacate(self.block, self.index, self.stripe);
        }
    }
}
