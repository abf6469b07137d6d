//! The slab: those who hold an entry against each other, reuse against stale keys, growth and
//! shrinking.

use super::outcomes::{Outcomes, bounded};
use crate::slab::{
    directory::Key,
    slab::{Slab, SlabRef},
    testing::{Drops, TestEntry, listed, own, share},
};
use loom::thread;
use std::sync::Arc;

fn spawn<R: 'static>(
    slab: &Arc<Slab<TestEntry>>,
    does: impl FnOnce(&Arc<Slab<TestEntry>>) -> R + 'static,
) -> thread::JoinHandle<R> {
    let slab = Arc::clone(slab);
    thread::spawn(move || does(&slab))
}

/// Reads what is in the first place, if it is listed: its value, and whether it is still there meanwhile.
fn read(slab: &Slab<TestEntry>, drops: &Drops) -> Option<usize> {
    let mut seen = None;
    slab.directory().scan(0, 1, |look| {
        thread::yield_now();
        assert_eq!(drops.count(), 0, "it is dropped while a reader has it");
        seen = Some(look.value);
    });
    seen
}

/// The entry is gone, and its place is free again.
fn assert_gone(slab: &Slab<TestEntry>, key: Key, drops: &Drops) {
    assert_eq!((drops.count(), slab.len()), (1, 0));
    let next = Key {
        index: key.index,
        generation: key.generation + 1,
    };
    assert_eq!(slab.reserve_on(0).key(), next);
}

/// A reader sees a whole value or none; the value is dropped once, by the last holder, and the place
/// is free again.
#[test]
fn a_removed_value_outlives_its_reader() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let entry = TestEntry::new(7).counted(&drops);
        let key = slab.reserve_on(0).list(entry);
        let remover = spawn(&slab, {
            let drops = drops.clone();
            move |slab| {
                assert!(slab.remove(key));
                drops.count() == 1
            }
        });
        let seen = read(&slab, &drops);
        let dropped_by_remover = remover.join().unwrap();
        assert_gone(&slab, key, &drops);
        saw.saw((seen, dropped_by_remover));
    });
    outcomes.assert_all([(Some(7), true), (Some(7), false), (None, true)]);
}

/// Reads what is in the first place, if only its handle keeps it.
fn read_held(slab: &Slab<TestEntry>, drops: &Drops) -> Option<usize> {
    let mut seen = None;
    slab.directory().scan_held(0, 1, |look| {
        thread::yield_now();
        assert_eq!(drops.count(), 0, "it is dropped while a reader has it");
        seen = Some(look.value);
    });
    seen
}

/// A reader of what a handle keeps, after its owner has left: the handle, or the reader, is the last.
#[test]
fn a_value_that_only_its_handle_keeps_outlives_its_reader() {
    for is_unready in [false, true] {
        let outcomes = Outcomes::new();
        let saw = outcomes.clone();
        bounded(3).check(move || {
            let (slab, drops) = (Slab::with_stripes(1), Drops::default());
            let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
            drop(place);
            let handle = thread::spawn({
                let drops = drops.clone();
                move || {
                    if is_unready {
                        assert!(held.release_unready().is_ok());
                    } else {
                        drop(held);
                    }
                    drops.count() == 1
                }
            });
            let seen = read_held(&slab, &drops);
            let was_last = handle.join().unwrap();
            assert_gone(&slab, key, &drops);
            saw.saw((seen, was_last));
        });
        outcomes.assert_all([(Some(7), true), (Some(7), false), (None, true)]);
    }
}

/// While the owner leaves, an entry is not taken for one that only its handle keeps.
#[test]
fn a_value_is_kept_by_its_handle_alone_once_its_owner_has_left() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        let owner = thread::spawn(move || drop(place));
        let seen = read_held(&slab, &drops);
        owner.join().unwrap();
        assert_eq!(drops.count(), 0);
        drop(held);
        assert_gone(&slab, key, &drops);
        saw.saw(seen);
    });
    outcomes.assert_all([Some(7), None]);
}

/// The same of a value with an owner, whom a remover with its key may forestall.
#[test]
fn a_value_outlives_its_reader_whoever_takes_it_off_the_list() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let key = slab.reserve_on(0).key();
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        let owner = thread::spawn(move || drop(place));
        let remover = spawn(&slab, move |slab| slab.remove(key));
        let was_seen = read(&slab, &drops).is_some();
        owner.join().unwrap();
        let was_removed = remover.join().unwrap();
        assert_gone(&slab, key, &drops);
        saw.saw((was_seen, was_removed));
    });
    outcomes.assert_all([(false, false), (false, true), (true, false), (true, true)]);
}

/// Two readers and an owner: the last one of the three empties the slot.
#[test]
fn two_readers_and_an_owner_empty_a_slot_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let key = slab.reserve_on(0).key();
        let place = own(&slab, 0, TestEntry::new(7).counted(&drops));
        let reader = spawn(&slab, {
            let drops = drops.clone();
            move |slab| read(slab, &drops)
        });
        let owner = thread::spawn(move || drop(place));
        let here = read(&slab, &drops);
        let there = reader.join().unwrap();
        owner.join().unwrap();
        assert_gone(&slab, key, &drops);
        saw.saw((here.is_some(), there.is_some()));
    });
    outcomes.assert_all([(false, false), (false, true), (true, false), (true, true)]);
}

/// An owner, a second holder and a remover with the key: the last one of the three empties the slot, and
/// what is retired is not counted.
#[test]
fn an_owner_a_holder_and_a_burier_empty_a_slot_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).counted(&drops));
        let owner = thread::spawn({
            let drops = drops.clone();
            move || {
                drop(place);
                drops.count() == 1
            }
        });
        let holder = thread::spawn({
            let drops = drops.clone();
            move || {
                assert_eq!(held.value, 7);
                drop(held);
                drops.count() == 1
            }
        });
        let was_removed = slab.remove(key);
        let is_gone = [owner, holder].map(|thread| thread.join().unwrap());
        assert_gone(&slab, key, &drops);
        saw.saw((was_removed, is_gone));
    });
    // Neither of the two if it was the burier who emptied the slot.
    outcomes.assert_all([
        (false, [false, false]),
        (false, [false, true]),
        (false, [true, false]),
        (true, [false, false]),
        (true, [false, true]),
        (true, [true, false]),
    ]);
}

/// While a remover with its key and its owner both take an entry off the list, the others are counted, and
/// it is counted once or not at all.
#[test]
fn what_leaves_is_counted_once_or_not_at_all() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let slab = Slab::with_stripes(1);
        // The first block has one place, the second two.
        let _others = [0, 1].map(|n| own(&slab, 0, TestEntry::new(n)));
        let key = slab.reserve_on(0).key();
        let place = own(&slab, 0, TestEntry::new(2));
        let owner = thread::spawn(move || drop(place));
        let remover = spawn(&slab, move |slab| slab.remove(key));
        let count = slab.len();
        assert!(count == 2 || count == 3, "{count}");
        owner.join().unwrap();
        let was_removed = remover.join().unwrap();
        assert_eq!(slab.len(), 2);
        saw.saw((was_removed, count));
    });
    outcomes.assert_all([(false, 2), (false, 3), (true, 2), (true, 3)]);
}

/// L3: of two removals with one key one succeeds, and a newer entry of the place is not touched.
#[test]
fn a_stale_key_never_hits_a_newer_entry() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let entry = |value| TestEntry::new(value).counted(&drops);
        let old = slab.reserve_on(0).list(entry(1));
        let reuser = spawn(&slab, {
            let new = entry(2);
            move |slab| (slab.remove(old), slab.reserve_on(0).list(new))
        });
        let removed_here = slab.remove(old);
        let (removed_there, new) = reuser.join().unwrap();
        assert!(removed_here != removed_there);
        assert_ne!(old, new);
        assert_eq!(listed(&slab), [(new, 2)]);
        assert_eq!((slab.len(), drops.count()), (1, 1));
        saw.saw((removed_here, new.index == old.index));
    });
    // The place is reused, or was not free in time.
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}

/// A reader never takes a newer entry for the one it came to see half of.
#[test]
fn a_reader_sees_one_entry_whole() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let slab = Slab::with_stripes(1);
        let old = slab.reserve_on(0).list(TestEntry::new(0));
        let reuser = spawn(&slab, move |slab| {
            assert!(slab.remove(old));
            slab.reserve_on(0).list(TestEntry::new(1));
        });
        let mut entry = None;
        slab.directory().scan(0, 1, |look| {
            assert_eq!(look.key().generation as usize, look.value);
            entry = Some(look.value);
        });
        reuser.join().unwrap();
        assert_eq!(slab.len(), 1);
        saw.saw(entry);
    });
    outcomes.assert_all([None, Some(0), Some(1)]);
}

/// Two threads that find the table full: both get a place, and not the same one.
#[test]
fn two_who_grow_the_table_get_two_places() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let slab = Slab::with_stripes(1);
        let other = spawn(&slab, |slab| slab.reserve_on(0).list(TestEntry::new(1)));
        let here = slab.reserve_on(0).list(TestEntry::new(2));
        let there = other.join().unwrap();
        assert_ne!(here.index, there.index);
        assert_eq!(slab.len(), 2);
        saw.saw((here.index.min(there.index), here.index < there.index));
        assert!(slab.remove(here) && slab.remove(there));
        assert_eq!(slab.len(), 0);
    });
    outcomes.assert_all([(0, false), (0, true)]);
}

/// I6: a block that is given back takes no entry along, and ids of its places are not used again.
#[test]
fn shrinking_loses_no_entry_and_repeats_no_key() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let slab = Slab::with_stripes(1);
        let keys = [0, 1].map(|n| slab.reserve_on(0).list(TestEntry::new(n)));
        // The first block has one place, the second two: removing both makes the second wholly free.
        let remover = spawn(&slab, move |slab| {
            assert!(keys.iter().all(|key| slab.remove(*key)));
        });
        let new = slab.reserve_on(0).list(TestEntry::new(7));
        remover.join().unwrap();
        assert_eq!((listed(&slab), slab.len()), (vec![(new, 7)], 1));
        assert!(!keys.contains(&new));
        let next = [0, 1].map(|n| slab.reserve_on(0).list(TestEntry::new(n)));
        assert!(next.iter().all(|key| !keys.contains(key) && *key != new));
        assert!(keys.iter().all(|key| !slab.remove(*key)));
        saw.saw(new.index);
    });
    outcomes.assert_all([0, 1, 2]);
}

/// I6: of two who free the last places of a block, on two stripes, one finds it wholly free.
#[test]
fn a_block_is_given_back_by_whoever_frees_its_last_place() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let slab = Slab::with_stripes(2);
        let keys = [0, 0, 1].map(|stripe| slab.reserve_on(stripe).list(TestEntry::new(0)));
        assert_eq!(slab.blocks(), 2);
        assert!(slab.remove(keys[0]));
        let other = spawn(&slab, move |slab| {
            assert!(slab.remove(keys[1]));
            slab.blocks()
        });
        assert!(slab.remove(keys[2]));
        let here = slab.blocks();
        let there = other.join().unwrap();
        assert_eq!((slab.len(), slab.blocks()), (0, 1));
        saw.saw((here, there));
    });
    outcomes.assert_all([(1, 1), (1, 2), (2, 1)]);
}

/// Stripes: a thread that has no free place takes another's.
#[test]
fn a_stripe_without_places_takes_from_another() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let slab = Slab::with_stripes(2);
        let key = slab.reserve_on(0).list(TestEntry::new(0));
        assert!(slab.remove(key));
        let other = spawn(&slab, |slab| slab.reserve_on(1).list(TestEntry::new(1)));
        let here = slab.reserve_on(0).list(TestEntry::new(2));
        let there = other.join().unwrap();
        assert_ne!(here.index, there.index);
        assert_eq!(slab.len(), 2);
        saw.saw((here.index.min(there.index), here.index < there.index));
    });
    outcomes.assert_all([(0, false), (0, true)]);
}

/// What is left in a slot is dropped once: by the one that takes the place next, or at the end.
#[test]
fn what_is_left_in_a_slot_is_dropped_once_and_by_one_who_has_its_place() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let (key, place, held) = share(&slab, 0, TestEntry::new(7).stale(&drops));
        drop(held);
        let owner = thread::spawn(move || drop(place));
        let new = slab.reserve_on(0).list(TestEntry::new(8));
        let is_reused = new.index == key.index;
        assert_eq!(drops.count(), usize::from(is_reused));
        owner.join().unwrap();
        assert_eq!((drops.count(), slab.len()), (usize::from(is_reused), 1));
        slab.purge();
        assert_eq!(drops.count(), 1);
        saw.saw(is_reused);
    });
    outcomes.assert_all([true, false]);
}

/// I6: the same of stale places, of which those who leave purge some.
#[test]
fn a_block_of_stale_places_is_given_back_by_whoever_frees_its_last_place() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = bounded(3);
    // Filling and emptying three blocks takes many steps.
    model.max_branches = 10_000;
    model.check(move || {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let mut places: Vec<_> = (0..7)
            .map(|n| {
                let entry = TestEntry::new(n).stale(&drops);
                own(&slab, 0, entry)
            })
            .collect();
        assert_eq!(slab.blocks(), 3);
        // Two places of the third block are left.
        let [one, other] = [places.pop(), places.pop()];
        drop(places);
        assert_eq!((slab.len(), slab.blocks()), (2, 3));
        let leaver = spawn(&slab, move |slab| {
            drop(one);
            slab.blocks()
        });
        drop(other);
        let here = slab.blocks();
        let there = leaver.join().unwrap();
        assert_eq!((slab.len(), slab.blocks()), (0, 1));
        saw.saw((here, there));
    });
    // Two blocks: while the other is about to give the next one back.
    outcomes.assert_all([(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)]);
}

/// One does something in the second block while others empty it, and the slab gives it back. With `is_kept` that one keeps the
/// directory meanwhile, as reservations did once: then nothing is wrong.
fn in_a_block_that_goes(is_kept: bool, does: fn(&Slab<TestEntry>)) {
    bounded(2).check(move || {
        let slab = Slab::with_stripes(1);
        // The first block has one place, the second two.
        let keys = [0, 1].map(|n| slab.reserve_on(0).list(TestEntry::new(n)));
        assert!(slab.remove(keys[1]));
        assert_eq!(slab.blocks(), 2);
        let other = thread::spawn({
            let slab = Arc::clone(&slab);
            move || {
                let directory = is_kept.then(|| slab.directory());
                does(&slab);
                drop(directory);
            }
        });
        // As `Registry::clear` does, and as dead `Arc`s are swept.
        for (key, _) in listed(&slab) {
            slab.remove(key);
        }
        other.join().unwrap();
    });
}

fn list(slab: &Slab<TestEntry>) {
    slab.reserve_on(0).list(TestEntry::new(2));
}

fn reserve(slab: &Slab<TestEntry>) {
    drop(slab.reserve_on(0));
}

/// An entry without an owner may be removed as soon as it is listed.
#[test]
fn who_listed_an_entry_does_not_touch_a_block_that_is_gone() {
    in_a_block_that_goes(false, list);
}

/// As soon as it is back, the block may be free.
#[test]
fn who_puts_back_a_place_does_not_touch_a_block_that_is_gone() {
    in_a_block_that_goes(false, reserve);
}

/// For comparison: so it is not the probes that are wrong.
#[test]
fn who_keeps_the_directory_touches_no_block_that_is_gone() {
    for does in [list, reserve] {
        in_a_block_that_goes(true, does);
    }
}

/// What was filled and not listed is not left in a free slot.
#[test]
fn a_place_that_was_filled_and_not_listed_is_vacant_again() {
    loom::model(|| {
        let (slab, drops) = (Slab::with_stripes(1), Drops::default());
        let slab_ref = SlabRef::new(&slab);
        let mut vacant = slab_ref.reserve();
        *vacant.entry() = TestEntry::new(7).counted(&drops);
        drop(vacant);
        assert_eq!(drops.count(), 1, "it is left in a slot that is free");
    });
}
