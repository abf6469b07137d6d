//! Of [`super`].

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
