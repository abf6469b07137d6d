//! Of [`super`].

use super::*;
use crate::slab::testing::{Drops, TestEntry, listed, own, share};
use std::collections::BTreeSet;

fn fill(slab: &Slab<TestEntry>, count: usize) -> Vec<Key> {
    (0..count)
        .map(|n| slab.reserve_on(n % slab.stripes()).list(TestEntry::new(n)))
        .collect()
}

fn all(slab: &Slab<TestEntry>) -> BTreeSet<usize> {
    let found = listed(slab);
    let set: BTreeSet<_> = found.iter().map(|(_, value)| *value).collect();
    assert_eq!(set.len(), found.len(), "listed twice");
    set
}

#[test]
fn places_of_an_index_fit_the_blocks() {
    let slab = Slab::<TestEntry>::with_stripes(1);
    for seen in 0..8 {
        slab.grow(seen);
        slab.grow(seen);
    }
    let directory = slab.directory();
    let place = |index| directory.place(index).map(|(block, at)| (block.number, at));
    assert_eq!(slab.blocks(), 8);
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
    let slab = Slab::<TestEntry>::with_stripes(1);
    (0..9).for_each(|seen| slab.grow(seen));
    let directory = slab.directory();
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
fn a_slab_grows_lists_everything_and_shrinks_again() {
    for stripes in [1, 2, 8] {
        let slab = Slab::with_stripes(stripes);
        let keys = fill(&slab, 10_000);
        assert_eq!((slab.len(), slab.blocks()), (10_000, 9));
        assert_eq!(all(&slab), (0..10_000).collect());
        let indices: BTreeSet<_> = keys.iter().map(|key| key.index).collect();
        assert_eq!(indices.len(), 10_000);
        for key in &keys {
            assert!(slab.remove(*key) && !slab.remove(*key));
        }
        assert_eq!((slab.len(), all(&slab).len()), (0, 0));
        assert!(
            slab.blocks() <= 1,
            "{} blocks are left with {stripes} stripes",
            slab.blocks()
        );
    }
}

/// I6: also with the entries of owners, who leave without being retired.
#[test]
fn a_slab_of_owned_places_shrinks_again() {
    for stripes in [1, 8] {
        let slab = Slab::with_stripes(stripes);
        let places: Vec<_> = (0..5_000)
            .map(|n| own(&slab, n % stripes, TestEntry::new(n)))
            .collect();
        assert_eq!((slab.len(), slab.blocks()), (5_000, 7));
        drop(places);
        assert_eq!((slab.len(), slab.blocks()), (0, 1));
    }
}

/// A slab that is used in bursts of up to 1,984 keeps what it has.
#[test]
fn a_slab_keeps_five_blocks_once_it_has_them() {
    let slab = Slab::new();
    assert_eq!(slab.blocks(), 0);
    for (count, most, left) in [(1_984, 5, 5), (1, 5, 5), (1_985, 6, 5), (10_000, 9, 5)] {
        let keys = fill(&slab, count);
        assert_eq!((slab.len(), slab.blocks()), (count, most));
        assert!(keys.iter().all(|key| slab.remove(*key)));
        assert_eq!((slab.len(), slab.blocks()), (0, left));
    }
}

#[test]
fn a_block_in_use_stays_and_so_does_what_lies_below_it() {
    let slab = Slab::with_stripes(2);
    let keys = fill(&slab, 1_000);
    let kept = keys.iter().max_by_key(|key| key.index).unwrap();
    for key in &keys {
        if key != kept {
            assert!(slab.remove(*key));
        }
    }
    assert_eq!((slab.len(), slab.blocks()), (1, 5));
    assert!(slab.remove(*kept));
    assert_eq!((slab.len(), slab.blocks()), (0, 1));
}

/// A reader may still have the entry that was there.
#[test]
fn a_block_with_a_retired_place_stays() {
    let slab = Slab::with_stripes(1);
    let (_, places) = (fill(&slab, 1), fill(&slab, 63));
    let (key, place, held) = share(&slab, 0, TestEntry::new(7));
    assert_eq!((key.index, slab.blocks()), (64, 2));
    assert!(places.iter().all(|key| slab.remove(*key)));
    drop(place);
    assert_eq!((slab.len(), slab.blocks()), (1, 2));
    assert_eq!(held.value, 7);
    drop(held);
    assert_eq!((slab.len(), slab.blocks()), (1, 1));
}

/// I6: whichever entry is dropped last, in whatever order.
#[test]
fn a_slab_shrinks_whatever_the_order_and_whoever_drops_the_last() {
    for stripes in [1, 2, 8] {
        for reversed in [false, true] {
            let slab = Slab::with_stripes(stripes);
            let mut keys = fill(&slab, 5_000);
            if reversed {
                keys.reverse();
            }
            for key in keys {
                assert!(slab.remove(key));
            }
            assert_eq!((slab.len(), slab.blocks()), (0, 1), "{stripes} {reversed}");
        }
    }
}

/// I6: what is free behind the last entries is given back, also when the rest empties later.
#[test]
fn a_free_last_block_goes_when_the_rest_empties() {
    let slab = Slab::with_stripes(4);
    let mut keys = fill(&slab, 64 + 128 + 256 + 512);
    keys.sort_by_key(|key| key.index);
    let last = keys.split_off(64 + 128 + 256);
    assert!(last.iter().all(|key| slab.remove(*key)));
    assert_eq!(slab.blocks(), 4, "the rest is full");
    // One stays in every block.
    for key in keys.iter().filter(|key| ![0, 64, 192].contains(&key.index)) {
        assert!(slab.remove(*key));
    }
    assert_eq!((slab.len(), slab.blocks()), (3, 3));
}

/// A slab that is used at the edge of a block does not grow and shrink by turns.
#[test]
fn a_slab_at_the_edge_keeps_its_last_block() {
    let slab = Slab::with_stripes(1);
    let _full = fill(&slab, 64);
    for _ in 0..10 {
        let key = slab.reserve_on(0).list(TestEntry::new(0));
        assert_eq!(slab.blocks(), 2);
        assert!(slab.remove(key));
        assert_eq!(slab.blocks(), 2);
    }
}

/// L3: also across a block that was given back and came again.
#[test]
fn keys_are_not_repeated_when_a_block_comes_again() {
    let slab = Slab::with_stripes(2);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let keys = fill(&slab, 500);
        for key in &keys {
            assert!(!seen.contains(key));
            assert!(slab.remove(*key));
        }
        assert_eq!(slab.blocks(), 1);
        seen.extend(keys);
    }
    assert!(seen.iter().all(|key| !slab.remove(*key)));
}

#[test]
fn a_dropped_reservation_frees_its_place() {
    let slab = Slab::with_stripes(1);
    let key = slab.reserve_on(0).key();
    assert_eq!((slab.len(), all(&slab).len()), (0, 0));
    assert_eq!(
        slab.reserve_on(0).list(TestEntry::new(5)),
        key,
        "not used, so not used up"
    );
    let many: Vec<_> = (0..1_000).map(|_| slab.reserve_on(0)).collect();
    assert_eq!((slab.len(), all(&slab).len()), (1_001, 1));
    drop(many);
    assert_eq!((slab.len(), slab.blocks()), (1, 1));
}

/// Low places are used first, so that high blocks empty out.
#[test]
fn low_blocks_are_used_first() {
    let slab = Slab::with_stripes(1);
    let keys = fill(&slab, 400);
    for key in &keys[..64] {
        slab.remove(*key);
    }
    assert!(fill(&slab, 64).iter().all(|key| key.index < 64));
}

#[test]
fn a_stripe_without_places_takes_from_the_next_and_gives_back_to_its_home() {
    let slab = Slab::with_stripes(2);
    let own_places: Vec<_> = (0..32).map(|n| own(&slab, 1, TestEntry::new(n))).collect();
    let key = slab.reserve_on(1).key();
    assert_eq!((key.index, slab.blocks()), (0, 1), "of the other stripe");
    let place = own(&slab, 1, TestEntry::new(7));
    assert_eq!(listed(&slab)[0], (key, 7));
    drop((place, own_places));
    let block = &slab.directory().blocks[0];
    let [at, other] = [0, 1].map(|stripe| block.pop(stripe).unwrap());
    assert_eq!((at, other), (0, 63));
    // SAFETY: both were popped.
    unsafe {
        block.put_back(at);
        block.put_back(other);
    }
}

#[test]
fn a_place_that_ran_out_of_generations_is_not_used_again() {
    let slab = Slab::with_stripes(1);
    slab.floor.store(u32::MAX - 1, Relaxed);
    let first = slab.reserve_on(0).list(TestEntry::new(0));
    assert!(slab.remove(first));
    let last = slab.reserve_on(0).list(TestEntry::new(1));
    assert_eq!((last.index, last.generation), (first.index, u32::MAX));
    assert!(slab.remove(last));
    assert_eq!(slab.len(), 0);
    let keys = fill(&slab, 200);
    assert!(keys.iter().all(|key| key.index != first.index));
    assert_eq!((slab.len(), all(&slab).len()), (200, 200));
    for key in keys {
        assert!(slab.remove(key));
    }
    assert_eq!((slab.len(), slab.blocks()), (0, 1));
}

/// A value that is removed while it is read goes when the reader goes.
#[test]
fn a_reader_keeps_a_removed_value_to_the_end_of_its_look() {
    let (slab, drops) = (Slab::with_stripes(1), Drops::default());
    let key = slab.reserve_on(0).list(TestEntry::new(5).counted(&drops));
    let mut looks = 0;
    slab.directory().scan(0, 64, |look| {
        assert_eq!(look.key(), key);
        assert!(slab.remove(key) && !slab.remove(key));
        let seen = (look.value, drops.count(), slab.len());
        assert_eq!(seen, (5, 0, 0));
        looks += 1;
    });
    assert_eq!((looks, drops.count(), slab.len()), (1, 1, 0));
}

#[test]
fn what_a_reader_keeps_is_taken_up_later() {
    let (slab, drops) = (Slab::with_stripes(1), Drops::default());
    let key = slab.reserve_on(0).list(TestEntry::new(5).counted(&drops));
    let mut kept = Vec::new();
    slab.directory()
        .scan(0, 64, |look| kept.push(look.keep(slab.shared())));
    assert_eq!(kept, [key.index]);
    assert!(slab.remove(key));
    // SAFETY: there is a pin, and the slab stays until the end of the test.
    let pin = unsafe { slab.take_up(kept[0]) };
    assert_eq!((pin.value, drops.count()), (5, 0));
    drop(pin);
    assert_eq!(drops.count(), 1);
}

#[test]
fn what_a_reader_keeps_is_released_without_being_taken_up() {
    let (slab, drops) = (Slab::with_stripes(1), Drops::default());
    let key = slab.reserve_on(0).list(TestEntry::new(5).counted(&drops));
    let directory = slab.directory();
    let mut kept = Vec::new();
    directory.scan(0, 64, |look| kept.push(look.keep(slab.shared())));
    assert!(slab.remove(key));
    assert_eq!(drops.count(), 0);
    // SAFETY: there is one pin.
    unsafe { directory.unpin(kept[0]) };
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_scan_takes_no_more_steps_than_it_was_told_to() {
    let slab = Slab::with_stripes(1);
    fill(&slab, 100);
    let directory = slab.directory();
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

/// I6: also with stale places, which are free places of another kind.
#[test]
fn a_slab_of_stale_places_shrinks_again() {
    for stripes in [1, 2, 8] {
        let (slab, drops) = (Slab::with_stripes(stripes), Drops::default());
        let owners: Vec<_> = (0..3_000)
            .map(|n| own(&slab, n % stripes, TestEntry::new(n).stale(&drops)))
            .collect();
        assert_eq!((slab.len(), slab.blocks()), (3_000, 6));
        drop(owners);
        assert_eq!((slab.len(), slab.blocks(), drops.count()), (0, 1, 2_984));
        slab.purge();
        assert_eq!(drops.count(), 3_000);
    }
}

/// Also at the moment in which its last holder frees the place.
#[test]
fn an_entry_that_left_the_list_is_not_counted() {
    let slab = Slab::with_stripes(1);
    // Few at a time: a slab that shrinks holds free places in its hand for a moment.
    let (send, receive) = std::sync::mpsc::sync_channel::<HandleGuard<TestEntry>>(8);
    let other = std::thread::spawn(move || receive.into_iter().for_each(drop));
    for _ in 0..20_000 {
        let (_, owner, handle) = share(&slab, 0, TestEntry::new(7));
        drop(owner);
        send.send(handle).unwrap();
        for _ in 0..4 {
            assert_eq!(slab.len(), 0);
        }
    }
    drop(send);
    other.join().unwrap();
}
