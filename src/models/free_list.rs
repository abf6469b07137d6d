//! The free lists of a block: pops and pushes against each other.

use super::outcomes::{Outcomes, bounded};
use crate::slab::free_list::{
    FreeLists, Popped,
    Pushed::{Directly, Retired},
};
use loom::thread;
use std::{collections::BTreeSet, sync::Arc};

fn pop(lists: &FreeLists) -> Option<usize> {
    lists.pop(0).map(Popped::place)
}

fn spawn<R: 'static>(
    lists: &Arc<FreeLists>,
    does: impl FnOnce(&FreeLists) -> R + 'static,
) -> thread::JoinHandle<R> {
    let lists = Arc::clone(lists);
    thread::spawn(move || does(&lists))
}

/// One stripe, of which all places but these are free.
fn without<const N: usize>(places: usize, taken: [usize; N]) -> Arc<FreeLists> {
    let lists = FreeLists::full(places, 1, 0);
    let all: Vec<_> = std::iter::from_fn(|| pop(&lists)).collect();
    for place in all.into_iter().rev() {
        if !taken.contains(&place) {
            lists.push(place, Directly);
        }
    }
    Arc::new(lists)
}

/// Each place is free, or in the hand of one of these; none is lost, none is there twice.
fn assert_whole(lists: &FreeLists, places: usize, in_hand: &[Option<usize>]) {
    let in_hand: Vec<_> = in_hand.iter().flatten().copied().collect();
    assert_eq!(lists.len(), places - in_hand.len());
    let free: Vec<_> = std::iter::from_fn(|| pop(lists)).collect();
    assert_eq!(free.len() + in_hand.len(), places, "{free:?} {in_hand:?}");
    let all: BTreeSet<_> = free.into_iter().chain(in_hand).collect();
    assert_eq!(all.len(), places);
}

/// A head that looks the same is the same: between look and change of a pop, others took its place and
/// the next one, and gave the first back.
#[test]
fn a_pop_is_not_fooled_by_a_place_that_left_and_came_back() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let lists = Arc::new(FreeLists::full(2, 1, 0));
        let other = spawn(&lists, |lists| {
            let (first, second) = (pop(lists), pop(lists));
            if let Some(first) = first {
                lists.push(first, Directly);
            }
            second
        });
        let here = pop(&lists);
        let there = other.join().unwrap();
        assert_whole(&lists, 2, &[here, there]);
        saw.saw((here, there));
    });
    // The first, the second while the other had the first, the first again, or none for a moment.
    outcomes.assert_all([
        (Some(0), None),
        (Some(1), None),
        (Some(0), Some(1)),
        (None, Some(1)),
    ]);
}

/// Two pushes and a pop on one list lose no place, and the length follows.
#[test]
fn pushes_and_pops_of_one_list_lose_no_place() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let lists = without(4, [0, 1]);
        lists.retire(1);
        let pushers = [(0, Directly), (1, Retired)]
            .map(|(place, pushed)| spawn(&lists, move |lists| lists.push(place, pushed).is_much));
        let here = pop(&lists);
        let much = pushers.map(|pusher| pusher.join().unwrap());
        assert_eq!(lists.retired(), 0);
        assert_whole(&lists, 4, &[here]);
        saw.saw((here, much));
    });
    // Full once the second was pushed last; half full once the first was, after the pop.
    outcomes.assert_all([
        (Some(0), [false, false]),
        (Some(0), [true, false]),
        (Some(1), [false, false]),
        (Some(1), [false, true]),
        (Some(2), [false, true]),
        (Some(2), [true, false]),
    ]);
}

/// Two pops that let new stale places become old, and one who adds a stale place: none is lost, none is taken twice.
#[test]
fn stale_places_that_become_old_are_not_lost() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(3).check(move || {
        let lists = without(4, [0, 1, 2, 3]);
        lists.push_stale(0);
        lists.push_stale(1);
        let pusher = spawn(&lists, |lists| lists.push_stale(2));
        let popper = spawn(&lists, pop);
        let here = pop(&lists);
        let there = popper.join().unwrap();
        pusher.join().unwrap();
        assert_whole(&lists, 4, &[here, there, Some(3)]);
        saw.saw((here.is_some(), there.is_some()));
    });
    // Who comes while the other has all of them in its hand finds none.
    outcomes.assert_all([(true, true), (true, false), (false, true)]);
}

/// I6: of two who free the last places, one bare and one stale, one sees that all are free.
#[test]
fn one_of_those_who_free_the_last_places_of_two_lists_sees_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        // Of eight places six are neither full nor half full.
        let lists = without(8, [0, 1]);
        let pusher = spawn(&lists, |lists| lists.push_stale(0).is_much);
        let here = lists.push(1, Directly).is_much;
        let there = pusher.join().unwrap();
        assert!(here || there, "all are free, and nobody knows");
        saw.saw((here, there));
    });
    outcomes.assert_all([(true, false), (false, true), (true, true)]);
}

/// I6: a pop that has the new stale places in its hand for a moment keeps no other from noticing.
#[test]
fn one_of_those_who_free_the_last_places_sees_it_though_stale_places_become_old() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let lists = without(8, [0, 1]);
        lists.push_stale(0);
        let popper = spawn(&lists, |lists| {
            let place = pop(lists).expect("there are six");
            lists.push(place, Directly).is_much
        });
        let here = lists.push(1, Directly).is_much;
        let there = popper.join().unwrap();
        assert!(here || there, "all are free, and nobody knows");
        assert_eq!(lists.len(), 8);
        saw.saw((here, there));
    });
    outcomes.assert_all([(true, false), (false, true), (true, true)]);
}

/// A chain that is taken off and given back meets what was pushed meanwhile.
#[test]
fn what_is_given_back_joins_what_came_meanwhile() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let lists = without(4, [0, 1]);
        lists.push_stale(1);
        let pusher = spawn(&lists, |lists| lists.push(0, Directly));
        let chain = lists.take(0);
        let count = lists.chain_len(chain);
        lists.give_back(0, chain);
        pusher.join().unwrap();
        assert_whole(&lists, 4, &[]);
        saw.saw(count);
    });
    outcomes.assert_all([3, 4]);
}

/// I6: of one who gives back what it took of all stripes, and one who freed a place meanwhile, one sees
/// that all are free.
#[test]
fn one_who_gives_back_or_one_who_frees_a_place_sees_that_all_are_free() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded(4).check(move || {
        let lists = Arc::new(FreeLists::full(4, 2, 0));
        assert_eq!(lists.pop(0), Some(Popped::Bare(0)));
        let pusher = spawn(&lists, |lists| {
            lists.push(0, Directly);
            lists.len() == 4
        });
        let chains = [0, 1].map(|stripe| lists.take(stripe));
        for (stripe, chain) in chains.into_iter().enumerate() {
            lists.give_back(stripe, chain);
        }
        let here = lists.len() == 4;
        let there = pusher.join().unwrap();
        assert!(here || there, "all are free, and nobody knows");
        saw.saw((here, there));
    });
    outcomes.assert_all([(true, false), (false, true), (true, true)]);
}
