//! Of [`super`].

use super::*;
use crate::slab::{
    slot::{HELD, OWNED},
    testing::{Drops, TestEntry},
};

/// Counts how often it is told that much is free.
#[derive(Default)]
struct Told(AtomicUsize);

impl Shrink for Told {
    fn shrink(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

struct Table {
    block: Arc<Block<TestEntry>>,
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
    /// A new entry, with an owner and a handle.
    fn enter(&self, stripe: usize) -> usize {
        let at = self.block.pop(stripe).expect("there is a free place");
        let entry = TestEntry::new(at).counted(&self.drops);
        // SAFETY: the place was free.
        unsafe {
            let slot = &self.block.slots[at];
            slot.vacant().entry = entry;
            slot.list(OWNED | HELD, SeqCst);
        }
        at
    }

    fn release(&self, at: usize, hold: u64) -> bool {
        // SAFETY: those who call this have that hold, and do not use it again.
        unsafe { self.block.release(at, hold) }.is_some()
    }

    fn unlist(&self, at: usize) -> bool {
        // SAFETY: those who call this have `OWNED`, and call it once.
        unsafe { self.block.unlist(at) }
    }

    /// The entry here leaves, handle and owner.
    fn leave(&self, at: usize) {
        assert!(!self.release(at, HELD));
        assert!(self.unlist(at));
        // SAFETY: it is the owner's, and alone.
        unsafe {
            self.block
                .vacate(at, Pushed::Directly, &mut Vacated::none());
        };
    }
}

#[test]
fn what_is_retired_is_neither_listed_nor_free() {
    let table = table(0, 4, 1);
    let at = table.enter(0);
    assert_eq!((table.block.listed(), table.block.is_free()), (1, false));
    assert!(!table.unlist(at));
    assert_eq!((table.block.listed(), table.block.free.len()), (0, 3));
    assert!(!table.release(at, OWNED));
    assert!(table.release(at, HELD));
    assert!(table.block.is_free());
}

/// L3.
#[test]
fn an_entry_is_removed_by_its_generation_only() {
    let table = table(0, 4, 1);
    let at = table.enter(0);
    assert!(!table.block.remove(at, 1));
    assert!(table.block.remove(at, 0) && !table.block.remove(at, 0));
    assert_eq!((table.block.listed(), table.block.free.retired()), (0, 1));
}

/// It is neither free nor listed, nor is it retired.
#[test]
fn a_place_that_ran_out_of_generations_is_nothing_any_more() {
    let table = table(0, 1, 1);
    let block = Block::new((0, 2), u32::MAX, &table.block.shared, Weak::<Told>::new());
    let table = Table { block, ..table };
    let [one, other] = [(); 2].map(|()| table.enter(0));
    table.leave(one);
    assert_eq!((table.block.listed(), table.block.free.len()), (1, 0));
    assert!(!table.unlist(other));
    table.release(other, HELD);
    table.release(other, OWNED);
    assert_eq!((table.block.listed(), table.block.free.retired()), (0, 0));
    assert_eq!((table.block.free.len(), table.block.pop(0)), (0, None));
}

#[test]
fn a_table_is_told_when_much_is_free_if_it_has_more_blocks_than_it_keeps() {
    for (number, told) in [(0, 0), (1, 2)] {
        let table = table(number, 4, 1);
        let entries = [(); 4].map(|()| table.enter(0));
        for at in entries {
            table.leave(at);
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
    let [one, other] = [0, 1].map(|stripe| table.enter(stripe));
    table.leave(one);
    assert_eq!(hints(), [(1, 0), (2, 0)]);
    table.leave(other);
    assert_eq!(hints(), [(1, 0), (1, 1)]);
    table.block.shared.hints[1].0.store(hint(0, 0), Relaxed);
    let other = table.enter(1);
    table.leave(other);
    assert_eq!(hints(), [(1, 0), (0, 0)]);
}

/// As soon as the last place is free, the block may be given back.
#[test]
fn a_vacated_entry_keeps_a_block_that_may_be_given_back() {
    for (number, keeps) in [(0, false), (1, true)] {
        let table = table(number, 4, 1);
        let at = table.enter(0);
        table.release(at, HELD);
        assert!(table.unlist(at));
        let mut vacated = Vacated::none();
        // SAFETY: as `unlist` said.
        unsafe { table.block.vacate(at, Pushed::Directly, &mut vacated) };
        assert_eq!(Arc::strong_count(&table.block) == 2, keeps);
        drop(vacated);
        assert_eq!(Arc::strong_count(&table.block), 1);
    }
}

impl Table {
    /// A entry that leaves something in its slot, which alone is counted.
    fn enter_stale(&self, stripe: usize) -> usize {
        let at = self.block.pop(stripe).expect("there is a free place");
        let entry = TestEntry::new(at).stale(&self.drops);
        // SAFETY: the place was free.
        unsafe {
            let slot = &self.block.slots[at];
            slot.vacant().entry = entry;
            slot.list(OWNED | HELD, SeqCst);
        }
        at
    }

    fn stale(&self) -> usize {
        let stale: Vec<_> = std::iter::from_fn(|| self.block.free.pop_any_stale()).collect();
        for at in &stale {
            self.block.free.push_stale(*at);
        }
        stale.len()
    }
}

#[test]
fn what_is_left_in_a_slot_is_dropped_by_the_one_that_takes_the_place_next() {
    let table = table(0, 4, 1);
    let at = table.enter_stale(0);
    table.leave(at);
    assert_eq!((table.stale(), table.drops.count()), (1, 0));
    assert_eq!((table.block.listed(), table.block.free.len()), (0, 4));
    // The first pop makes it old.
    assert_eq!(
        [table.block.pop(0), table.block.pop(0)],
        [Some(1), Some(at)]
    );
    assert_eq!((table.stale(), table.drops.count()), (0, 1));
}

/// The last reader is not the one that ends tasks, and would fill the slab with stale places.
#[test]
fn what_was_retired_leaves_nothing_in_its_slot() {
    let table = table(0, 4, 1);
    let at = table.enter_stale(0);
    assert!(!table.unlist(at));
    assert!(!table.release(at, OWNED));
    assert!(table.release(at, HELD));
    assert_eq!((table.stale(), table.drops.count()), (0, 1));
}

/// I6: whatever leaves in whatever order, there are at most as many stale places as entries, and 16.
#[test]
fn there_are_never_more_stale_places_than_entries_and_sixteen() {
    for stripes in [1, 4, 32] {
        let spare = 16 / stripes * stripes;
        let table = table(0, 256, stripes);
        let entries: Vec<_> = (0..256).map(|n| table.enter_stale(n % stripes)).collect();
        let mut most = 0;
        for (left, at) in (0..256).rev().zip(entries) {
            table.leave(at);
            let stale = table.stale();
            assert_eq!(stale + table.drops.count(), 256 - left);
            assert!(stale <= left + 16, "{stale} stale places, {left} entries");
            most = most.max(stale);
        }
        assert!(most >= 128, "{most}: no more are purged than need be");
        assert_eq!(table.stale(), spare);
        table.block.purge_all();
        assert_eq!((table.stale(), table.drops.count()), (0, 256));
        assert_eq!((table.block.free.len(), table.block.listed()), (256, 0));
    }
}

/// I6: only the first block has spare ones, so that a slab of many has no more.
#[test]
fn a_later_block_has_no_more_stale_places_than_entries() {
    let table = table(1, 128, 4);
    let entries: Vec<_> = (0..128).map(|n| table.enter_stale(n % 4)).collect();
    for (left, at) in (0..128).rev().zip(entries) {
        table.leave(at);
        let stale = table.stale();
        assert!(stale <= left, "{stale} stale places, {left} entries");
    }
    assert_eq!((table.stale(), table.drops.count()), (0, 128));
}
