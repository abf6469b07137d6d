//! A block of the table: its slots, which of them are free, and what happens when one becomes free.

use crate::{
    sync::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    table::{
        free::{FreeLists, Line, Popped, Pushed},
        slot::{Gone, PIN, Slot, Tenant},
        stripe,
    },
};
use std::{
    fmt,
    sync::{Arc, Weak},
};

/// How many shells a table may keep beyond one for each tenant: divided among the stripes of its first
/// block (I6).
const SPARE_SHELLS: usize = 16;

/// Whoever can take a block off the table.
pub(crate) trait Shrink: Send + Sync {
    /// Much of a block is free.
    fn shrink(&self);
}

/// What all blocks of a table share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For each stripe of threads where it may find a free slot. A hint, never relied upon.
    pub(crate) hints: Box<[Line<AtomicU64>]>,
    /// How many blocks there are, or are about to be.
    pub(crate) blocks: AtomicUsize,
    /// Blocks that are kept, once there are as many.
    pub(crate) kept: usize,
}

/// A block in the upper half, a stripe of it in the lower.
#[inline]
pub(crate) fn hint(block: usize, stripe: usize) -> u64 {
    (block as u64) << 32 | stripe as u64
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a hint are small"
)]
pub(crate) fn hinted(hint: u64) -> (usize, usize) {
    ((hint >> 32) as usize, hint as u32 as usize)
}

pub(crate) struct Block<T: Tenant> {
    pub(crate) number: usize,
    pub(crate) slots: Box<[Slot<T>]>,
    pub(crate) free: FreeLists,
    /// Slots that ran out of generations and are never used again.
    spent: AtomicU32,
    shared: Arc<Shared>,
    table: Weak<dyn Shrink>,
    /// This block, if the table may ever give it back.
    me: Option<Weak<Self>>,
}

/// What a tenant that is gone leaves behind, to be dropped last of all: the tenant may be what keeps this
/// table, and the block may have been given back as soon as its last place was free.
#[must_use = "it is to be dropped when nothing else is to be done with the block"]
pub(crate) struct Remains<T: Tenant> {
    pub(crate) keeper: T::Keeper,
    _block: Option<Arc<Block<T>>>,
}

impl<T: Tenant> Block<T> {
    pub(crate) fn new(
        (number, size): (usize, usize),
        generation: u32,
        shared: &Arc<Shared>,
        table: Weak<dyn Shrink>,
    ) -> Arc<Self> {
        let stripes = shared.hints.len();
        let spare_shells = if number == 0 {
            SPARE_SHELLS.div_ceil(stripes)
        } else {
            0
        };
        Arc::new_cyclic(|me| Self {
            number,
            slots: (0..size).map(|_| Slot::new(generation)).collect(),
            free: FreeLists::full(size, stripes, spare_shells),
            spent: AtomicU32::new(0),
            shared: Arc::clone(shared),
            table,
            me: (number >= shared.kept).then(|| Weak::clone(me)),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_free(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// How many entries are listed: exact while nobody registers or removes.
    pub(crate) fn listed(&self) -> usize {
        let free = self.free.len() + self.spent.load(Relaxed) as usize;
        let others = free + self.free.lingering();
        self.slots.len().saturating_sub(others)
    }

    /// The highest generation of all slots.
    pub(crate) fn oldest(&self) -> u32 {
        let generations = self.slots.iter().map(Slot::generation);
        generations.max().unwrap_or(0)
    }

    /// Takes a free place of this stripe, without the shell that may have been in it.
    #[inline]
    pub(crate) fn pop(&self, stripe: usize) -> Option<usize> {
        match self.free.pop(stripe)? {
            Popped::Bare(at) => Some(at),
            Popped::Shelled(at) => {
                self.throw_shell(at);
                Some(at)
            }
        }
    }

    #[expect(unsafe_code, reason = "the free list is what makes this slot ours")]
    fn throw_shell(&self, at: usize) {
        // SAFETY: the place came off a free list, which hands it out to one at a time.
        drop(unsafe { self.slots[at].take_shell() });
    }

    /// Puts a place back that was taken off its free list and not filled.
    pub(crate) fn put_back(&self, at: usize) {
        let is_much = self.free.push(at, Pushed::Directly);
        self.freed(at, is_much);
    }

    /// The owner takes its tenant off the list; out of its slot as well if nobody else has it. Otherwise it
    /// is still to be [`release`](Self::release)d.
    #[inline]
    pub(crate) fn unlist(&self, at: usize) -> Option<Remains<T>> {
        let (was_listed, is_alone) = self.slots[at].unlist();
        // Somebody may have removed it by its key before, and let it linger.
        if was_listed && is_alone {
            return Some(self.vacate(stripe::current(), at, Pushed::Directly));
        }
        if was_listed {
            self.free.linger(at);
        }
        None
    }

    /// Takes the tenant of this generation off the list; says whether it was there.
    pub(crate) fn remove(&self, at: usize, generation: u32) -> bool {
        let slot = &self.slots[at];
        if slot.pin(Some(generation)).is_none() {
            return false;
        }
        // Pinned: however fast its owner leaves, it cannot be gone before it lingers.
        let was_listed = slot.strike();
        if was_listed {
            self.free.linger(at);
        }
        drop(self.release(at, PIN));
        was_listed
    }

    /// Lets go of a tenant; whoever does so last, after it left the list, empties the slot.
    #[inline]
    pub(crate) fn release(&self, at: usize, hold: u64) -> Option<Remains<T>> {
        self.settle(at, self.slots[at].release(hold))
    }

    #[inline]
    pub(crate) fn settle(&self, at: usize, gone: Gone) -> Option<Remains<T>> {
        let is_last = gone == Gone::Last;
        is_last.then(|| self.vacate(stripe::current(), at, Pushed::Lingered))
    }

    /// Empties a slot, as the last one who held it, on this thread, and frees its place. A shell that
    /// another thread made is left for that one.
    #[inline]
    #[expect(unsafe_code, reason = "emptying a slot takes being alone with it")]
    pub(crate) fn vacate(&self, thread: u32, at: usize, pushed: Pushed) -> Remains<T> {
        // Before the place is free: after that, nothing else keeps the block.
        let block = self.me.as_ref().and_then(Weak::upgrade);
        let slot = &self.slots[at];
        // SAFETY: the callers let go last, so it is theirs until they empty it.
        let is_ours = unsafe { slot.tenant() }.was_made_by(thread);
        let keeps_shell = !is_ours && pushed == Pushed::Directly && slot.has_later();
        // SAFETY: as above.
        let (keeper, shell, is_free) = unsafe { slot.empty(keeps_shell) };
        let is_much = if !is_free {
            self.spend(at, pushed);
            false
        } else if keeps_shell {
            self.free.push_shelled(at)
        } else {
            self.free.push(at, pushed)
        };
        self.freed(at, is_much);
        drop(shell);
        Remains {
            keeper,
            _block: block,
        }
    }

    #[cold]
    fn spend(&self, at: usize, pushed: Pushed) {
        self.spent.fetch_add(1, Relaxed);
        if pushed == Pushed::Lingered {
            self.free.stop_lingering(at);
        }
    }

    /// A place is free again: looks after shells, and the size of the table.
    #[inline]
    fn freed(&self, at: usize, is_much: bool) {
        let home = self.free.home(at);
        let place = &self.shared.hints[home].0;
        if self.number < hinted(place.load(Relaxed)).0 {
            place.store(hint(self.number, home), Relaxed);
        }
        while self.free.has_too_many_shells(at) {
            let Some(other) = self.free.pop_shelled(at) else {
                break;
            };
            self.bare(other);
        }
        // A block that comes later has somebody in it who will look after us.
        if is_much && self.shared.blocks.load(SeqCst) > self.shared.kept {
            self.shrink();
        }
    }

    /// Throws away all shells there are.
    pub(crate) fn throw_shells(&self) {
        while let Some(at) = self.free.pop_any_shelled() {
            self.bare(at);
        }
    }

    #[cold]
    fn bare(&self, at: usize) {
        self.throw_shell(at);
        self.free.push(at, Pushed::Directly);
    }

    #[cold]
    fn shrink(&self) {
        if let Some(table) = self.table.upgrade() {
            table.shrink();
        }
    }
}

impl<T: Tenant> fmt::Debug for Block<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("number", &self.number)
            .field("listed", &self.listed())
            .finish_non_exhaustive()
    }
}
