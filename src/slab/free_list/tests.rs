//! Of [`super`].

use super::{
    Popped::{Bare, Stale},
    Pushed::{Directly, Retired},
    *,
};
use std::collections::BTreeSet;

fn full(places: usize, stripes: usize) -> FreeLists {
    FreeLists::full(places, stripes, 0)
}

fn pop(lists: &FreeLists, stripe: usize) -> Option<usize> {
    lists.pop(stripe).map(Popped::place)
}

fn drain(lists: &FreeLists, stripe: usize) -> Vec<usize> {
    std::iter::from_fn(|| pop(lists, stripe)).collect()
}

fn stripe_len(lists: &FreeLists, stripe: usize) -> usize {
    lists.stripe_len(&lists.stripes[stripe].0)
}

#[test]
fn places_are_dealt_out_in_contiguous_runs_lowest_first() {
    let lists = full(8, 2);
    let lengths = [stripe_len(&lists, 0), stripe_len(&lists, 1)];
    assert_eq!((lists.len(), lengths), (8, [4, 4]));
    assert_eq!(
        (drain(&lists, 0), drain(&lists, 1)),
        (vec![0, 1, 2, 3], vec![4, 5, 6, 7])
    );
    assert_eq!((lists.len(), lists.pop(0), lists.pop(1)), (0, None, None));
}

#[test]
fn shares_add_up_and_agree_with_homes() {
    for (places, stripes) in [(1, 1), (1, 2), (2, 4), (64, 8), (128, 32), (4, 4)] {
        let lists = full(places, stripes);
        for stripe in 0..stripes {
            let homed = (0..places)
                .filter(|&place| lists.home(place) == stripe)
                .count();
            assert_eq!(
                (lists.stripes[stripe].0.share, stripe_len(&lists, stripe)),
                (homed, homed)
            );
        }
    }
}

#[test]
fn lengths_follow_pushes_and_pops() {
    let lists = full(4, 1);
    let taken = [pop(&lists, 0), pop(&lists, 0), pop(&lists, 0)];
    assert_eq!((taken, lists.len()), ([Some(0), Some(1), Some(2)], 1));
    assert!(lists.push(1, Directly).is_much, "half full");
    assert_eq!(lists.len(), 2);
    assert!(!lists.push(0, Directly).is_much);
    assert!(lists.push(2, Directly).is_much, "full again");
    assert_eq!((lists.len(), drain(&lists, 0)), (4, vec![2, 0, 1, 3]));
}

#[test]
fn a_place_goes_home_whoever_pushes_it() {
    let lists = full(8, 2);
    assert_eq!(drain(&lists, 1), [4, 5, 6, 7]);
    assert_eq!([pop(&lists, 0), pop(&lists, 0)], [Some(0), Some(1)]);
    lists.push(5, Directly);
    lists.push(6, Directly);
    let lengths = [stripe_len(&lists, 0), stripe_len(&lists, 1)];
    assert_eq!(lengths, [2, 2]);
    lists.push(0, Directly);
    let lengths = [stripe_len(&lists, 0), stripe_len(&lists, 1)];
    assert_eq!(lengths, [3, 2]);
}

#[test]
fn a_place_is_retired_until_it_is_pushed_in_one_step() {
    let lists = full(4, 2);
    let [one, other] = [pop(&lists, 0), pop(&lists, 1)].map(Option::unwrap);
    lists.retire(one);
    lists.retire(other);
    assert_eq!((lists.retired(), lists.len()), (2, 2));
    let tag = || lists.stripes[0].0.bare.load(Relaxed) / TAG;
    let before = tag();
    lists.push(one, Retired);
    assert_eq!((lists.retired(), lists.len()), (1, 3));
    assert_eq!(tag(), before + 1, "one change of the head");
    lists.abandon(other);
    assert_eq!((lists.retired(), lists.len()), (0, 3));
}

#[test]
fn what_is_retired_is_counted_whatever_happens_to_the_free_places() {
    let lists = full(64, 1);
    let all = drain(&lists, 0);
    for place in &all {
        lists.retire(*place);
    }
    assert_eq!((lists.retired(), lists.len()), (64, 0));
    for place in &all[1..] {
        lists.push(*place, Retired);
    }
    let chain = lists.take(0);
    assert_eq!((lists.retired(), lists.chain_len(chain)), (1, 63));
    lists.give_back(0, chain);
    pop(&lists, 0).unwrap();
    assert_eq!((lists.retired(), lists.len()), (1, 62));
}

/// The most that can be retired do not run into the tag.
#[test]
fn all_places_of_the_largest_lists_can_be_retired() {
    let lists = full(MOST, 1);
    (0..MOST).for_each(|place| lists.retire(place));
    assert_eq!((lists.retired(), lists.len()), (MOST, MOST));
    assert_eq!(lists.stripes[0].0.bare.load(Relaxed) / TAG, 0);
}

#[test]
fn much_is_half_full_and_full_and_every_sixteenth_between() {
    let much = |push: &dyn Fn(&FreeLists, usize) -> bool| -> Vec<_> {
        let lists = full(64, 1);
        let taken = drain(&lists, 0).into_iter();
        let pushed = taken.map(|place| push(&lists, place));
        (1..)
            .zip(pushed)
            .filter_map(|(free, is_much)| is_much.then_some(free))
            .collect()
    };
    assert_eq!(
        much(&|lists, place| lists.push(place, Directly).is_much),
        [32, 48, 64]
    );
}

#[test]
fn a_chain_goes_back_whole_or_place_by_place() {
    for occupied in [false, true] {
        let lists = full(8, 2);
        let held = pop(&lists, 0).unwrap();
        let chain = lists.take(0);
        assert_eq!((lists.chain_len(chain), stripe_len(&lists, 0)), (3, 0));
        if occupied {
            lists.push(held, Directly);
        }
        lists.give_back(0, chain);
        if !occupied {
            assert!(lists.push(held, Directly).is_much);
        }
        let all: BTreeSet<_> = drain(&lists, 0).into_iter().collect();
        assert_eq!((all, lists.len()), ((0..4).collect(), 4));
    }
    let lists = full(2, 2);
    drain(&lists, 0);
    let nothing = lists.take(0);
    lists.give_back(0, nothing);
    assert_eq!((lists.chain_len(nothing), lists.len()), (0, 1));
}

#[test]
fn every_change_of_a_head_changes_its_tag() {
    let lists = full(2, 1);
    let mut seen = BTreeSet::new();
    let mut check = |head: &AtomicU64, what| assert!(seen.insert(head.load(Relaxed)), "{what}");
    let bare = &lists.stripes[0].0.bare;
    check(bare, "start");
    for _ in 0..10 {
        let [one, two] = [pop(&lists, 0), pop(&lists, 0)].map(Option::unwrap);
        check(bare, "popped");
        lists.push(two, Directly);
        check(bare, "pushed");
        lists.push(one, Directly);
        let chain = lists.take(0);
        check(bare, "taken");
        lists.give_back(0, chain);
        check(bare, "given back");
    }
}

#[test]
fn a_pop_makes_stale_places_old_and_takes_a_bare_one() {
    let lists = full(4, 1);
    assert_eq!([pop(&lists, 0), pop(&lists, 0)], [Some(0), Some(1)]);
    lists.push_stale(0);
    lists.push_stale(1);
    assert_eq!(lists.pop(0), Some(Bare(2)), "the others are new");
    assert_eq!(lists.len(), 3);
    let popped = [(); 4].map(|()| lists.pop(0));
    let old_first = [Some(Stale(1)), Some(Stale(0)), Some(Bare(3)), None];
    assert_eq!((popped, lists.len()), (old_first, 0));
}

#[test]
fn a_pop_takes_a_new_stale_place_if_there_is_nothing_else() {
    let lists = full(2, 1);
    assert_eq!(drain(&lists, 0), [0, 1]);
    lists.push_stale(0);
    assert_eq!([lists.pop(0), lists.pop(0)], [Some(Stale(0)), None]);
}

#[test]
fn stale_places_are_taken_of_one_stripe_or_of_any() {
    let lists = full(4, 2);
    assert_eq!(
        (drain(&lists, 0), drain(&lists, 1)),
        (vec![0, 1], vec![2, 3])
    );
    lists.push_stale(0);
    lists.push_stale(2);
    assert_eq!((lists.pop_stale(3), lists.pop_stale(3)), (Some(2), None));
    lists.push_stale(2);
    let any = [(); 3].map(|()| lists.pop_any_stale());
    assert_eq!(any, [Some(0), Some(2), None]);
}

/// I6: stale places are bounded by entries, and a few.
#[test]
fn stale_places_are_too_many_beyond_one_for_each_entry_and_the_spare_ones() {
    for (spare, most) in [(0, 4), (2, 5), (16, 8)] {
        let lists = FreeLists::full(8, 1, spare);
        assert_eq!(drain(&lists, 0).len(), 8);
        for place in 0..8 {
            let freed = lists.push_stale(place);
            assert_eq!(freed.has_too_many_stale, place >= most, "{spare} {place}");
            assert_eq!(lists.has_too_many_stale(0), place >= most);
        }
    }
}

#[test]
fn stale_places_of_another_stripe_do_not_count() {
    let lists = full(4, 2);
    assert_eq!(drain(&lists, 0), [0, 1]);
    lists.push_stale(0);
    lists.push_stale(1);
    assert!(lists.has_too_many_stale(0) && !lists.has_too_many_stale(2));
}

#[test]
fn bare_and_stale_places_are_much_together() {
    let lists = full(64, 1);
    let taken = drain(&lists, 0).into_iter();
    let pushed = taken.map(|place| match place % 2 {
        0 => lists.push(place, Directly).is_much,
        _ => lists.push_stale(place).is_much,
    });
    let much: Vec<_> = (1..)
        .zip(pushed)
        .filter_map(|(free, is)| is.then_some(free))
        .collect();
    assert_eq!(much, [32, 48, 64]);
}

#[test]
fn a_chain_gives_each_place_back_to_its_list() {
    for occupied in [false, true] {
        let lists = full(8, 1);
        let popped = [(); 4].map(|()| pop(&lists, 0).unwrap());
        for place in &popped[..2] {
            lists.push_stale(*place);
        }
        let chain = lists.take(0);
        assert_eq!((lists.chain_len(chain), lists.len()), (6, 0));
        if occupied {
            lists.push_stale(popped[2]);
            lists.push(popped[3], Directly);
        }
        lists.give_back(0, chain);
        let stale: BTreeSet<_> = std::iter::from_fn(|| lists.pop_any_stale()).collect();
        let expected = if occupied { vec![0, 1, 2] } else { vec![0, 1] };
        assert_eq!(stale, expected.into_iter().collect());
        assert_eq!(drain(&lists, 0).len(), 4 + usize::from(occupied));
    }
}

#[test]
fn every_change_of_a_list_of_stale_places_changes_its_tag() {
    let lists = full(2, 1);
    assert_eq!(drain(&lists, 0), [0, 1]);
    let Stripe {
        new_stale,
        old_stale,
        ..
    } = &lists.stripes[0].0;
    let (mut new_seen, mut old_seen) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..10 {
        lists.push_stale(0);
        assert!(new_seen.insert(new_stale.load(Relaxed)), "pushed");
        lists.push_stale(1);
        assert_eq!(lists.pop(0), Some(Stale(1)), "and 0 is old");
        assert!(new_seen.insert(new_stale.load(Relaxed)), "taken");
        assert!(
            old_seen.insert(old_stale.load(Relaxed)),
            "put on and popped"
        );
        assert_eq!(lists.pop(0), Some(Stale(0)));
        assert!(old_seen.insert(old_stale.load(Relaxed)), "popped");
    }
}
