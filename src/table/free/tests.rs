//! Of [`super`].

use super::{
    Popped::{Bare, Shelled},
    Pushed::{Directly, Lingered},
    *,
};
use std::collections::BTreeSet;

/// Free lists without spare shells.
fn full(places: usize, stripes: usize) -> FreeLists {
    FreeLists::full(places, stripes, 0)
}

fn pop(lists: &FreeLists, stripe: usize) -> Option<usize> {
    lists.pop(stripe).map(|popped| match popped {
        Bare(place) | Shelled(place) => place,
    })
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
    lists.push_shelled(6);
    let lengths = [stripe_len(&lists, 0), stripe_len(&lists, 1)];
    assert_eq!(lengths, [2, 2]);
    lists.push(0, Directly);
    let lengths = [stripe_len(&lists, 0), stripe_len(&lists, 1)];
    assert_eq!(lengths, [3, 2]);
}

#[test]
fn lengths_count_bare_young_and_ripe_places() {
    let lists = full(8, 1);
    assert_eq!((drain(&lists, 0).len(), lists.len()), (8, 0));
    for place in 0..5 {
        lists.push_shelled(place);
        assert_eq!(lists.len(), place + 1);
    }
    lists.push(5, Directly);
    assert_eq!(lists.len(), 6);
    // From here on the shells are ripe.
    assert_eq!((lists.pop(0), lists.len()), (Some(Bare(5)), 5));
    lists.push_shelled(5);
    assert_eq!(lists.len(), 6);
    for left in (0..6).rev() {
        assert!(matches!(lists.pop(0), Some(Shelled(_))));
        assert_eq!(lists.len(), left);
    }
    assert_eq!(lists.pop(0), None);
}

#[test]
fn a_pop_lets_young_shells_ripen_and_takes_a_bare_place() {
    let lists = full(4, 1);
    assert_eq!([pop(&lists, 0), pop(&lists, 0)], [Some(0), Some(1)]);
    lists.push_shelled(0);
    lists.push_shelled(1);
    assert_eq!(lists.pop(0), Some(Bare(2)), "the shells are young");
    let ripe = [lists.pop(0), lists.pop(0)];
    assert_eq!(ripe, [Some(Shelled(1)), Some(Shelled(0))]);
    assert_eq!([lists.pop(0), lists.pop(0)], [Some(Bare(3)), None]);
}

#[test]
fn a_pop_takes_a_young_shell_if_there_is_nothing_else() {
    let lists = full(2, 1);
    assert_eq!(drain(&lists, 0), [0, 1]);
    lists.push_shelled(0);
    assert_eq!([lists.pop(0), lists.pop(0)], [Some(Shelled(0)), None]);
}

#[test]
fn shells_that_are_to_go_are_taken_ripe_before_young() {
    let lists = full(4, 1);
    assert_eq!([pop(&lists, 0), pop(&lists, 0)], [Some(0), Some(1)]);
    lists.push_shelled(0);
    assert_eq!(lists.pop(0), Some(Bare(2)));
    lists.push_shelled(1);
    let shells = [(); 3].map(|()| lists.pop_shelled(3));
    assert_eq!(shells, [Some(0), Some(1), None]);
    assert_eq!(lists.len(), 1, "bare places stay");
}

#[test]
fn shells_that_are_to_go_are_of_the_same_stripe_or_of_any() {
    let lists = full(4, 2);
    assert_eq!(
        (drain(&lists, 0), drain(&lists, 1)),
        (vec![0, 1], vec![2, 3])
    );
    lists.push_shelled(0);
    lists.push_shelled(2);
    assert_eq!(
        (lists.pop_shelled(3), lists.pop_shelled(3)),
        (Some(2), None)
    );
    lists.push_shelled(2);
    let any = [(); 3].map(|()| lists.pop_any_shelled());
    assert_eq!(any, [Some(0), Some(2), None]);
}

/// I6: shells are bounded by tenants, and a few.
#[test]
fn shells_are_too_many_beyond_one_for_each_tenant_and_the_spare_ones() {
    for (spare, most) in [(0, 4), (2, 5), (16, 8)] {
        let lists = FreeLists::full(8, 1, spare);
        assert_eq!(drain(&lists, 0).len(), 8);
        for place in 0..8 {
            lists.push_shelled(place);
            assert_eq!(
                lists.has_too_many_shells(0),
                place >= most,
                "{spare} {place}"
            );
        }
    }
}

#[test]
fn shells_of_another_stripe_do_not_count() {
    let lists = full(4, 2);
    assert_eq!(drain(&lists, 0), [0, 1]);
    lists.push_shelled(0);
    lists.push_shelled(1);
    assert!(lists.has_too_many_shells(0) && !lists.has_too_many_shells(2));
}

#[test]
fn ripe_shells_count_among_the_too_many() {
    let lists = full(4, 1);
    assert_eq!(drain(&lists, 0).len(), 4);
    lists.push(0, Directly);
    lists.push_shelled(1);
    lists.push_shelled(2);
    assert_eq!(lists.pop(0), Some(Bare(0)), "and both shells are ripe");
    assert!(!lists.has_too_many_shells(0));
    lists.push(0, Directly);
    assert!(lists.has_too_many_shells(0));
}

#[test]
fn a_place_lingers_until_it_is_pushed_in_one_step() {
    let lists = full(4, 2);
    let [one, other] = [pop(&lists, 0), pop(&lists, 1)].map(Option::unwrap);
    lists.linger(one);
    lists.linger(other);
    assert_eq!((lists.lingering(), lists.len()), (2, 2));
    let tag = || lists.stripes[0].0.bare.load(Relaxed) / TAG;
    let before = tag();
    lists.push(one, Lingered);
    assert_eq!((lists.lingering(), lists.len()), (1, 3));
    assert_eq!(tag(), before + 1, "one change of the head");
    lists.stop_lingering(other);
    assert_eq!((lists.lingering(), lists.len()), (0, 3));
}

#[test]
fn who_lingers_is_counted_whatever_happens_to_the_free_places() {
    let lists = full(64, 1);
    let all = drain(&lists, 0);
    for place in &all {
        lists.linger(*place);
    }
    assert_eq!((lists.lingering(), lists.len()), (64, 0));
    for place in &all[1..] {
        lists.push(*place, Lingered);
    }
    let chain = lists.take(0);
    assert_eq!((lists.lingering(), lists.chain_len(chain)), (1, 63));
    lists.give_back(0, chain);
    pop(&lists, 0).unwrap();
    assert_eq!((lists.lingering(), lists.len()), (1, 62));
}

/// The most that can linger do not run into the tag.
#[test]
fn all_places_of_the_largest_lists_can_linger() {
    let lists = full(MOST, 1);
    (0..MOST).for_each(|place| lists.linger(place));
    assert_eq!((lists.lingering(), lists.len()), (MOST, MOST));
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
    assert_eq!(
        much(&|lists, place| lists.push_shelled(place).is_much),
        [32, 48, 64]
    );
    let mixed = much(&|lists, place| match place % 2 {
        0 => lists.push(place, Directly).is_much,
        _ => lists.push_shelled(place).is_much,
    });
    assert_eq!(mixed, [32, 48, 64]);
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

/// Three bare places, two that are young and one that is ripe.
fn of_all_kinds() -> FreeLists {
    let lists = full(8, 1);
    assert_eq!((pop(&lists, 0), pop(&lists, 0)), (Some(0), Some(1)));
    lists.push_shelled(0);
    assert_eq!(lists.pop(0), Some(Bare(2)), "and 0 is ripe");
    assert_eq!(
        (lists.pop(0), lists.pop(0)),
        (Some(Shelled(0)), Some(Bare(3)))
    );
    lists.push_shelled(0);
    assert_eq!(lists.pop(0), Some(Bare(4)), "and 0 is ripe again");
    lists.push_shelled(1);
    lists.push_shelled(2);
    lists
}

#[test]
fn a_chain_has_the_places_of_all_lists_and_gives_each_back_where_it_was() {
    let lists = of_all_kinds();
    let chain = lists.take(0);
    assert_eq!((lists.chain_len(chain), lists.len()), (6, 0));
    assert_eq!((lists.pop(0), lists.pop_any_shelled()), (None, None));
    lists.give_back(0, chain);
    assert_eq!(lists.len(), 6);
    assert_eq!(
        [lists.pop(0), lists.pop(0)],
        [Some(Shelled(0)), Some(Bare(5))]
    );
    let young: BTreeSet<_> = std::iter::from_fn(|| lists.pop_any_shelled()).collect();
    assert_eq!(
        (young, drain(&lists, 0)),
        (BTreeSet::from([1, 2]), vec![6, 7])
    );
}

#[test]
fn a_chain_of_shells_goes_back_to_lists_that_others_have_pushed_to() {
    let lists = of_all_kinds();
    let chain = lists.take(0);
    lists.push_shelled(3);
    lists.push(4, Directly);
    lists.give_back(0, chain);
    assert_eq!(lists.len(), 8);
    let shells: BTreeSet<_> = std::iter::from_fn(|| lists.pop_any_shelled()).collect();
    let bare: BTreeSet<_> = drain(&lists, 0).into_iter().collect();
    assert_eq!(
        (shells, bare),
        (BTreeSet::from([0, 1, 2, 3]), BTreeSet::from([4, 5, 6, 7]))
    );
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
fn every_change_of_a_list_of_shells_changes_its_tag() {
    let lists = full(2, 1);
    assert_eq!(drain(&lists, 0), [0, 1]);
    let Stripe { young, ripe, .. } = &lists.stripes[0].0;
    let (mut young_seen, mut ripe_seen) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..10 {
        lists.push_shelled(0);
        assert!(young_seen.insert(young.load(Relaxed)), "pushed");
        lists.push_shelled(1);
        assert_eq!(lists.pop(0), Some(Shelled(1)), "and 0 is ripe");
        assert!(young_seen.insert(young.load(Relaxed)), "taken");
        assert!(ripe_seen.insert(ripe.load(Relaxed)), "put on and popped");
        assert_eq!(lists.pop(0), Some(Shelled(0)));
        assert!(ripe_seen.insert(ripe.load(Relaxed)), "popped");
    }
}
