//! A block of the slab: its slots, which of them are free, and what happens when one becomes free.

#![expect(
    unsafe_code,
    reason = "a place that came off a free list belongs to one alone"
)]

use crate::{
    slab::{
        free_list::{FreeLists, Freed, Line, Popped, Pushed},
        lifetime::Lives,
        slot::{Aside, Gone, PIN, Slot},
    },
    sync::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};
use std::{
    fmt,
    sync::{Arc, Weak},
};

/// How many stale places a slab may keep beyond one for each entry: divided among the stripes of its first block (I6).
const SPARE_STALE: usize = 16;

/// The slab, as its blocks see it.
pub(crate) trait Shrink: Send + Sync {
    /// Much of a block is free.
    fn shrink(&self);
}

/// What an entry keeps its slab by. There is one for each stripe of threads, so that entries made on several threads do not
/// count themselves in one place.
#[repr(align(128))]
pub(super) struct KeepAlive {
    _slab: Arc<dyn Shrink>,
}

impl KeepAlive {
    pub(super) fn of(slab: Arc<dyn Shrink>) -> Arc<Self> {
        Arc::new(Self { _slab: slab })
    }
}

/// What all blocks of a slab share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// For each stripe of threads where it may find a free slot. A hint, never relied upon.
    pub(super) hints: Box<[Line<AtomicU64>]>,
    /// How many blocks there are, or are about to be.
    pub(super) blocks: AtomicUsize,
    /// Blocks that are kept, once there are as many.
    pub(super) kept: usize,
}

/// A block in the upper half, a stripe of it in the lower.
#[inline]
pub(super) fn hint(block: usize, stripe: usize) -> u64 {
    (block as u64) << 32 | stripe as u64
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a hint are small"
)]
pub(super) fn hinted(hint: u64) -> (usize, usize) {
    ((hint >> 32) as usize, hint as u32 as usize)
}

/// What can be put into a slab. It is made once for each slot, vacant, and then filled and cleared in place.
pub(crate) trait Entry: Default + Send + Sync + 'static {
    /// What few entries need, and no scan: it lies apart, so that slots are small.
    type Aside: Default + Send + Sync + 'static;
    /// What it leaves behind, to be dropped outside of the slab: its destructors may run foreign code.
    type Remains: Default;

    /// Whether it can leave something in its slot that another thread made, most likely the one that takes the place next, and
    /// whose allocator gets the memory back from that thread without a detour.
    fn can_be_stale(&self) -> bool {
        false
    }

    /// Makes it vacant. If it stays stale, what that other thread made is left in it. Runs no foreign code. What remains is put
    /// in its place at once: to move it right after it was written would make the processor wait.
    fn clear(&mut self, aside: &mut Self::Aside, stays_stale: bool, remains: &mut Self::Remains);
}

/// What is in a slot: an entry, and what keeps the slab for those who hold it.
#[repr(C)]
pub(super) struct Occupied<T: Entry> {
    /// None of an entry that belongs to the list: it would keep the slab for ever.
    pub(super) slab: Option<Arc<KeepAlive>>,
    pub(super) entry: T,
}

impl<T: Entry> Default for Occupied<T> {
    fn default() -> Self {
        Self {
            entry: T::default(),
            slab: None,
        }
    }
}

pub(crate) struct Block<T: Entry> {
    pub(super) number: usize,
    pub(super) slots: Box<[Slot<Occupied<T>>]>,
    /// In the order of the slots.
    pub(super) asides: Box<[Aside<T::Aside>]>,
    pub(super) free: FreeLists,
    /// Slots that ran out of generations and are never used again.
    exhausted: AtomicU32,
    shared: Arc<Shared>,
    slab: Weak<dyn Shrink>,
    /// This block, if the slab may ever give it back.
    me: Option<Weak<Self>>,
    pub(super) lives: Lives,
}

/// What is left of an entry that is gone from the slab, what kept the slab, and the block, which may have been given back as
/// soon as its last place was free. Dropped when nothing is left to be done with slab or block.
pub(crate) struct Vacated<T: Entry> {
    pub(crate) remains: T::Remains,
    slab: Option<Arc<KeepAlive>>,
    block: Option<Arc<Block<T>>>,
}

impl<T: Entry> Vacated<T> {
    #[inline]
    pub(super) fn none() -> Self {
        Self {
            remains: T::Remains::default(),
            slab: None,
            block: None,
        }
    }
}

impl<T: Entry> Block<T> {
    pub(super) fn new(
        (number, size): (usize, usize),
        generation: u32,
        shared: &Arc<Shared>,
        slab: Weak<dyn Shrink>,
    ) -> Arc<Self> {
        let stripes = shared.hints.len();
        // Rounded down: on a machine with many stripes there are none to spare, and never more than said.
        let spare = if number == 0 {
            SPARE_STALE / stripes
        } else {
            0
        };
        Arc::new_cyclic(|me| Self {
            number,
            slots: (0..size).map(|_| Slot::new(generation)).collect(),
            asides: (0..size).map(|_| Aside::new()).collect(),
            free: FreeLists::full(size, stripes, spare),
            exhausted: AtomicU32::new(0),
            shared: Arc::clone(shared),
            slab,
            me: (number >= shared.kept).then(|| Weak::clone(me)),
            lives: Lives::new(),
        })
    }

    /// Whether it is a block of the slab that shares this.
    #[inline]
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_free(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// How many entries are listed: exact while no entry comes or goes.
    pub(super) fn listed(&self) -> usize {
        let others = self.free.unlisted() + self.exhausted.load(Relaxed) as usize;
        self.slots.len().saturating_sub(others)
    }

    /// The highest generation of all slots.
    pub(super) fn oldest(&self) -> u32 {
        let generations = self.slots.iter().map(Slot::generation);
        generations.max().unwrap_or(0)
    }

    /// Takes a free place of this stripe, without what was left in it.
    #[inline]
    pub(super) fn pop(&self, stripe: usize) -> Option<usize> {
        match self.free.pop(stripe)? {
            Popped::Bare(at) => Some(at),
            Popped::Stale(at) => {
                // SAFETY: the place came off a free list, which hands it out to one at a time.
                unsafe { self.clear(at, &mut Vacated::none()) };
                Some(at)
            }
        }
    }

    /// Takes out what an entry, or the one who filled the slot, left there.
    ///
    /// # Safety
    ///
    /// The caller alone has the place: it took it from a free list.
    unsafe fn clear(&self, at: usize, vacated: &mut Vacated<T>) {
        // SAFETY: as demanded.
        unsafe {
            let (occupied, aside) = (self.slots[at].vacant(), self.asides[at].vacant());
            occupied.entry.clear(aside, false, &mut vacated.remains);
            vacated.slab = occupied.slab.take();
        }
    }

    /// Puts a place back, without what it was filled with. Returns that, and what keeps the block until then.
    ///
    /// # Safety
    ///
    /// The caller alone has the place: it took it from a free list, and has not listed it.
    #[cold]
    pub(super) unsafe fn put_back(&self, at: usize) -> Vacated<T> {
        let mut vacated = Vacated {
            block: self.me.as_ref().and_then(Weak::upgrade),
            ..Vacated::none()
        };
        // SAFETY: as demanded.
        unsafe { self.clear(at, &mut vacated) };
        let freed = self.free.push(at, Pushed::Directly);
        self.lives.lifetime().assert_not_over();
        self.freed(at, freed);
        vacated
    }

    /// The owner takes its entry off the list. True if it has no other holder, nor ever will: then it is to be
    /// [vacated](Self::vacate) directly. Otherwise it is still to be [`release`](Self::release)d.
    ///
    /// # Safety
    ///
    /// The caller has `OWNED`, and calls this once.
    #[inline]
    pub(super) unsafe fn unlist(&self, at: usize) -> bool {
        // SAFETY: as demanded.
        let (was_listed, is_alone) = unsafe { self.slots[at].unlist() };
        // It may have been removed by its key before, and is retired then.
        if was_listed && !is_alone {
            self.free.retire(at);
        }
        was_listed && is_alone
    }

    /// Takes the entry of this generation off the list; says whether it was there.
    pub(super) fn remove(&self, at: usize, generation: u32) -> bool {
        let slot = &self.slots[at];
        if slot.pin(Some(generation)).is_none() {
            return false;
        }
        // SAFETY: it is pinned, once, and that is given up at the end.
        unsafe {
            // However fast its owner leaves, it cannot be gone before it is retired.
            let was_listed = slot.bury();
            if was_listed {
                self.free.retire(at);
            }
            drop(self.release(at, PIN));
            was_listed
        }
    }

    /// Gives up a hold; who does so last, after the entry left the list, empties the slot. The others must not touch this
    /// block any more, which may be gone.
    ///
    /// # Safety
    ///
    /// The caller has this hold, and gives it up with this.
    #[inline(always)]
    pub(super) unsafe fn release(&self, at: usize, hold: u64) -> Option<Vacated<T>> {
        // SAFETY: as demanded; who is the last one is alone with the slot.
        unsafe {
            if self.slots[at].release(hold) == Gone::NotYet {
                return None;
            }
            let mut vacated = Vacated::none();
            self.vacate(at, Pushed::Retired, &mut vacated);
            Some(vacated)
        }
    }

    /// Empties a slot into `vacated`, and frees its place: `Directly` if its owner alone had the entry, and has not released it.
    ///
    /// # Safety
    ///
    /// The caller released last; or it has `OWNED`, gives it up with this, and [`unlist`](Self::unlist) returned true.
    #[inline]
    pub(super) unsafe fn vacate(&self, at: usize, pushed: Pushed, vacated: &mut Vacated<T>) {
        self.lives.lifetime().assert_alive();
        // Before the place is free: after that, nothing else keeps the block.
        vacated.block = self.me.as_ref().and_then(Weak::upgrade);
        // Who read the entry last is not the one that ends tasks, and would fill the slab with stale places.
        let may_stay = pushed == Pushed::Directly;
        // SAFETY: as demanded.
        let (is_stale, is_free) = unsafe {
            let (slot, aside) = (&self.slots[at], self.asides[at].vacant());
            let occupied = slot.vacant();
            let is_stale = may_stay && occupied.entry.can_be_stale();
            occupied.entry.clear(aside, is_stale, &mut vacated.remains);
            vacated.slab = occupied.slab.take();
            (is_stale, slot.make_free())
        };
        if !is_free {
            self.exhaust(at, pushed);
        } else if is_stale {
            self.freed(at, self.free.push_stale(at));
        } else {
            self.freed(at, self.free.push(at, pushed));
        }
    }

    #[cold]
    fn exhaust(&self, at: usize, pushed: Pushed) {
        self.exhausted.fetch_add(1, Relaxed);
        if pushed == Pushed::Retired {
            self.free.abandon(at);
        }
    }

    /// A place is free again: looks after stale places, and the size of the slab.
    #[inline]
    fn freed(&self, at: usize, freed: Freed) {
        let place = &self.shared.hints[freed.home].0;
        if self.number < hinted(place.load(Relaxed)).0 {
            place.store(hint(self.number, freed.home), Relaxed);
        }
        let mut is_much = freed.is_much;
        if freed.has_too_many_stale {
            is_much |= self.purge_surplus(at);
        }
        // A block that comes later has entries, and their removal looks after us.
        if is_much && self.shared.blocks.load(SeqCst) > self.shared.kept {
            self.shrink();
        }
    }

    /// Purges places as long as too many are stale where this one belongs; true if much of its stripe is free then.
    #[cold]
    fn purge_surplus(&self, at: usize) -> bool {
        let mut is_much = false;
        while self.free.has_too_many_stale(at) {
            let Some(other) = self.free.pop_stale(at) else {
                break;
            };
            // While we had it, another may have freed all others and missed it.
            is_much |= self.make_bare(other);
        }
        is_much
    }

    /// Purges all stale places.
    pub(super) fn purge_all(&self) {
        while let Some(at) = self.free.pop_any_stale() {
            self.make_bare(at);
        }
    }

    /// Purges a place that was popped, and puts it back; true if much of its stripe is free now.
    #[cold]
    fn make_bare(&self, at: usize) -> bool {
        // Dropped after the place is free: destructors of others may run.
        let mut vacated = Vacated::none();
        // SAFETY: the place came off a free list, which hands it out to one at a time.
        unsafe { self.clear(at, &mut vacated) };
        self.free.push(at, Pushed::Directly).is_much
    }

    #[cold]
    fn shrink(&self) {
        if let Some(slab) = self.slab.upgrade() {
            slab.shrink();
        }
    }
}

impl<T: Entry> fmt::Debug for Block<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
