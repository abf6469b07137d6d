//! A block of the table: its slots, which of them are free, and what happens when one becomes free.

use crate::{
    panics,
    sync::{
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    table::{
        free::{FreeLists, Freed, Line, Popped, Pushed},
        lifetime::Lives,
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
    pub(crate) lives: Lives,
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
            // Rounded down: on a machine with many stripes there are none to spare, and never more than said.
            SPARE_SHELLS / stripes
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
            lives: Lives::new(),
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
        let shell = unsafe { self.slots[at].take_shell() };
        // It may be the last thing that keeps a runtime's memory, with values of users in it. Whoever calls has a place
        // in hand that is neither free nor filled.
        panics::discard(shell);
    }

    /// Puts a place back that was taken off its free list and not filled.
    pub(crate) fn put_back(&self, at: usize) {
        let freed = self.free.push(at, Pushed::Directly);
        self.freed(at, freed);
    }

    /// The owner takes its tenant off the list. True if nobody else has it, nor ever will: then it is to be
    /// [`vacate`](Self::vacate)d directly. Otherwise it is still to be [`release`](Self::release)d.
    #[inline]
    pub(crate) fn unlist(&self, at: usize) -> bool {
        let (was_listed, is_alone) = self.slots[at].unlist();
        // It may have been removed by its key before, and lingers then.
        if was_listed && !is_alone {
            self.free.linger(at);
        }
        was_listed && is_alone
    }

    /// Empties the slot of a tenant that nobody but its owner has, as [`unlist`](Self::unlist) said.
    #[inline]
    pub(crate) fn vacate_unlisted(&self, at: usize) -> Remains<T> {
        self.vacate(stripe::current(), at, Pushed::Directly)
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

    /// Lets go of a tenant; whoever does so last, after it left the list, empties the slot. Whoever does not must not
    /// touch this block any more, which may be gone.
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
        self.lives.lifetime().assert_alive();
        // Before the place is free: after that, nothing else keeps the block.
        let block = self.me.as_ref().and_then(Weak::upgrade);
        let slot = &self.slots[at];
        // SAFETY: the callers let go last, so it is theirs until they empty it.
        let is_ours = unsafe { slot.tenant() }.was_made_by(thread);
        let keeps_shell = !is_ours && pushed == Pushed::Directly && slot.has_later();
        // SAFETY: as above.
        let (keeper, shell, is_free) = unsafe { slot.empty(keeps_shell) };
        if !is_free {
            self.spend(at, pushed);
        } else if keeps_shell {
            self.freed(at, self.free.push_shelled(at));
        } else {
            self.freed(at, self.free.push(at, pushed));
        }
        // As in `throw_shell`: a task that ends has not left its context yet.
        panics::discard(shell);
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
    fn freed(&self, at: usize, freed: Freed) {
        let place = &self.shared.hints[freed.home].0;
        if self.number < hinted(place.load(Relaxed)).0 {
            place.store(hint(self.number, freed.home), Relaxed);
        }
        let mut is_much = freed.is_much;
        if freed.has_too_many_shells {
            is_much |= self.throw_surplus(at);
        }
        // A block that comes later has somebody in it who will look after us.
        if is_much && self.shared.blocks.load(SeqCst) > self.shared.kept {
            self.shrink();
        }
    }

    /// Throws away shells as long as there are too many where this place belongs; true if much of its stripe is free
    /// then.
    #[cold]
    fn throw_surplus(&self, at: usize) -> bool {
        let mut is_much = false;
        while self.free.has_too_many_shells(at) {
            let Some(other) = self.free.pop_shelled(at) else {
                break;
            };
            // While we had it, somebody else may have freed all others and missed it.
            is_much |= self.bare(other);
        }
        is_much
    }

    /// Throws away all shells there are.
    pub(crate) fn throw_shells(&self) {
        while let Some(at) = self.free.pop_any_shelled() {
            self.bare(at);
        }
    }

    /// Throws a shell away; true if much of its stripe is free now.
    #[cold]
    fn bare(&self, at: usize) -> bool {
        self.throw_shell(at);
        self.free.push(at, Pushed::Directly).is_much
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

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::table::{
        slot::{HELD, OWNED},
        testing::{Drops, Guest},
    };

    const HERE: u32 = 1;
    const ELSEWHERE: u32 = 2;

    /// Counts how often it is told that much is free.
    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Shrink for Told {
        fn shrink(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    struct Table {
        block: Arc<Block<Guest>>,
        told: Arc<Told>,
        drops: Drops,
    }

    /// The block of this number, of a table that has one more than this, and keeps one.
    fn table(number: usize, size: usize, stripes: usize) -> Table {
        let hints = (0..stripes).map(|stripe| Line(AtomicU64::new(hint(number, stripe))));
        let shared = Arc::new(Shared {
            hints: hints.collect(),
            blocks: AtomicUsize::new(number + 1),
            kept: 1,
        });
        let told = Arc::new(Told::default());
        let table: Weak<Told> = Arc::downgrade(&told);
        Table {
            block: Block::new((number, size), 0, &shared, table),
            told,
            drops: Drops::default(),
        }
    }

    impl Table {
        /// A new guest of whom nothing but the shell is counted.
        fn enter(&self, stripe: usize, maker: u32) -> usize {
            let at = self.enter_incomplete(stripe, maker);
            // SAFETY: it has `HELD`, which nobody else uses.
            #[expect(unsafe_code, reason = "tests of a block have no `Held`")]
            unsafe {
                self.block.slots[at].complete(self.drops.counted());
            }
            at
        }

        fn enter_incomplete(&self, stripe: usize, maker: u32) -> usize {
            let at = self.block.pop(stripe).expect("there is a free place");
            // SAFETY: the place was free.
            #[expect(unsafe_code, reason = "tests of a block have no `Reserved`")]
            unsafe {
                self.block.slots[at].fill(OWNED | HELD, |place| {
                    place.write(Guest::new(at).made_by(maker));
                });
            }
            at
        }

        /// The guest here leaves, on the thread of this number.
        fn leave(&self, at: usize, thread: u32) {
            self.block.slots[at].release(HELD);
            assert_eq!(self.block.slots[at].unlist(), (true, true));
            drop(self.block.vacate(thread, at, Pushed::Directly));
        }

        fn shells(&self) -> usize {
            let mut shells = Vec::new();
            shells.extend(std::iter::from_fn(|| self.block.free.pop_any_shelled()));
            for at in &shells {
                self.block.free.push_shelled(*at);
            }
            shells.len()
        }
    }

    #[test]
    fn a_shell_that_another_thread_made_stays_in_the_slot() {
        let table = table(0, 4, 1);
        let at = table.enter(0, ELSEWHERE);
        table.leave(at, HERE);
        assert_eq!((table.shells(), table.drops.count()), (1, 0));
        assert_eq!((table.block.listed(), table.block.free.len()), (0, 4));
    }

    #[test]
    fn a_shell_of_the_own_thread_is_dropped_at_once() {
        let table = table(0, 4, 1);
        let at = table.enter(0, HERE);
        table.leave(at, HERE);
        assert_eq!((table.shells(), table.drops.count()), (0, 1));
    }

    #[test]
    fn who_never_was_complete_leaves_no_shell() {
        let table = table(0, 4, 1);
        let at = table.enter_incomplete(0, ELSEWHERE);
        table.leave(at, HERE);
        assert_eq!((table.shells(), table.block.free.len()), (0, 4));
    }

    /// Whoever looked at it last is not the one who ends tasks, and would fill the table with shells.
    #[test]
    fn who_lingered_leaves_no_shell() {
        let table = table(0, 4, 1);
        let at = table.enter(0, ELSEWHERE);
        assert_eq!(table.block.slots[at].pin(None), Some(0));
        table.block.slots[at].release(HELD);
        assert!(!table.block.unlist(at));
        assert!(table.block.release(at, OWNED).is_none());
        assert_eq!(table.block.free.lingering(), 1);
        assert_eq!(table.block.slots[at].release(PIN), Gone::Last);
        drop(table.block.vacate(HERE, at, Pushed::Lingered));
        assert_eq!((table.shells(), table.drops.count()), (0, 1));
        assert_eq!(
            (table.block.free.lingering(), table.block.free.len()),
            (0, 4)
        );
    }

    #[test]
    fn a_shell_is_dropped_by_whoever_takes_the_place_next() {
        let table = table(0, 1, 1);
        let at = table.enter(0, ELSEWHERE);
        table.leave(at, HERE);
        assert_eq!(table.drops.count(), 0);
        assert_eq!(table.block.pop(0), Some(at));
        assert_eq!(table.drops.count(), 1);
    }

    /// I6.
    #[test]
    fn there_are_never_more_shells_than_tenants_and_sixteen() {
        for (stripes, spare) in [(1, 16), (4, 16), (16, 16), (32, 0)] {
            let table = table(0, 256, stripes);
            let guests: Vec<_> = (0..256)
                .map(|n| table.enter(n % stripes, ELSEWHERE))
                .collect();
            let mut most = 0;
            for (left, at) in (0..256).rev().zip(guests) {
                table.leave(at, HERE);
                let shells = table.shells();
                assert_eq!(shells + table.drops.count(), 256 - left);
                assert!(shells <= left + 16, "{shells} shells, {left} tenants");
                most = most.max(shells);
            }
            assert!(most >= 128, "{most}: no more are thrown away than need be");
            assert_eq!(table.shells(), spare);
            table.block.throw_shells();
            assert_eq!((table.shells(), table.drops.count()), (0, 256));
            assert_eq!((table.block.free.len(), table.block.listed()), (256, 0));
        }
    }

    #[test]
    fn young_and_ripe_shells_are_thrown_away() {
        let table = table(0, 8, 1);
        let guests = [(); 4].map(|()| table.enter(0, ELSEWHERE));
        table.leave(guests[0], HERE);
        table.leave(guests[1], HERE);
        let at = table.block.pop(0).unwrap();
        table.block.put_back(at);
        table.leave(guests[2], HERE);
        table.block.throw_shells();
        assert_eq!((table.shells(), table.drops.count()), (0, 3));
        assert_eq!(table.block.free.len(), 7);
    }

    /// I6: only the first block has spare shells, so that a table of many has no more.
    #[test]
    fn a_later_block_has_no_more_shells_than_tenants() {
        let table = table(1, 128, 4);
        let guests: Vec<_> = (0..128).map(|n| table.enter(n % 4, ELSEWHERE)).collect();
        for (left, at) in (0..128).rev().zip(guests) {
            table.leave(at, HERE);
            let shells = table.shells();
            assert!(shells <= left, "{shells} shells, {left} tenants");
        }
        assert_eq!((table.shells(), table.drops.count()), (0, 128));
    }

    #[test]
    fn who_lingers_is_neither_listed_nor_free() {
        let table = table(0, 4, 1);
        let at = table.enter(0, HERE);
        assert_eq!((table.block.listed(), table.block.is_free()), (1, false));
        assert!(!table.block.unlist(at));
        assert_eq!((table.block.listed(), table.block.free.len()), (0, 3));
        assert!(table.block.release(at, OWNED).is_none());
        assert!(table.block.release(at, HELD).is_some());
        assert!(table.block.is_free());
    }

    /// L3.
    #[test]
    fn a_tenant_is_removed_by_its_generation_only() {
        let table = table(0, 4, 1);
        let at = table.enter(0, HERE);
        assert!(!table.block.remove(at, 1));
        assert!(table.block.remove(at, 0) && !table.block.remove(at, 0));
        assert_eq!((table.block.listed(), table.block.free.lingering()), (0, 1));
    }

    /// It is neither free nor listed, nor is it lingering.
    #[test]
    fn a_place_that_ran_out_of_generations_is_nothing_any_more() {
        let table = table(0, 1, 1);
        let block = Block::new((0, 2), u32::MAX, &table.block.shared, Weak::<Told>::new());
        let table = Table { block, ..table };
        let [one, other] = [(); 2].map(|()| table.enter(0, HERE));
        table.leave(one, HERE);
        assert_eq!((table.block.listed(), table.block.free.len()), (1, 0));
        assert!(!table.block.unlist(other));
        table.block.release(other, HELD);
        drop(table.block.release(other, OWNED));
        assert_eq!((table.block.listed(), table.block.free.lingering()), (0, 0));
        assert_eq!((table.block.free.len(), table.block.pop(0)), (0, None));
    }

    #[test]
    fn a_table_is_told_when_much_is_free_if_it_has_more_blocks_than_it_keeps() {
        for (number, told) in [(0, 0), (1, 2)] {
            let table = table(number, 4, 1);
            let guests = [(); 4].map(|()| table.enter(0, HERE));
            for at in guests {
                table.leave(at, HERE);
            }
            assert_eq!(table.told.0.load(Relaxed), told, "half free, and free");
        }
    }

    #[test]
    fn a_place_that_is_freed_is_hinted_at_if_its_block_comes_before() {
        let table = table(1, 4, 2);
        let hints = || {
            let hints = table.block.shared.hints.iter();
            hints
                .map(|hint| hinted(hint.0.load(Relaxed)))
                .collect::<Vec<_>>()
        };
        table.block.shared.hints[1].0.store(hint(2, 0), Relaxed);
        let [one, other] = [0, 1].map(|stripe| table.enter(stripe, HERE));
        table.leave(one, HERE);
        assert_eq!(hints(), [(1, 0), (2, 0)]);
        table.leave(other, HERE);
        assert_eq!(hints(), [(1, 0), (1, 1)]);
        table.block.shared.hints[1].0.store(hint(0, 0), Relaxed);
        let other = table.enter(1, HERE);
        table.leave(other, HERE);
        assert_eq!(hints(), [(1, 0), (0, 0)]);
    }

    /// As soon as the last place is free, somebody may give the block back.
    #[test]
    fn what_remains_of_a_tenant_keeps_a_block_that_may_be_given_back() {
        for (number, keeps) in [(0, false), (1, true)] {
            let table = table(number, 4, 1);
            let at = table.enter(0, HERE);
            table.block.slots[at].release(HELD);
            assert!(table.block.unlist(at));
            let remains = table.block.vacate_unlisted(at);
            assert_eq!(Arc::strong_count(&table.block) == 2, keeps);
            drop(remains);
            assert_eq!(Arc::strong_count(&table.block), 1);
        }
    }
}
