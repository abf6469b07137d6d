//! Which places of a block are free: one lock-free stack of indices per stripe of threads.
//!
//! Every place has a home stripe and goes back there, whoever frees it. So a block is wholly free just
//! when all its stripes are full, and whoever frees its last place is the one who fills a stripe.
//!
//! A head holds the index of its first place and a 32-bit tag that changes with every push and pop, so
//! a head that looks the same is the same (no ABA). A link holds the next index, and how many places
//! the list has from there on: so [`len`](FreeLists::len) is read off the heads, and costs those who
//! push and pop nothing.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};

/// The lower half of a word: index + 1, or 0 for none.
const FIRST: u64 = u32::MAX as u64;

#[derive(Debug)]
pub(crate) struct FreeLists {
    stripes: Box<[Line<Stripe>]>,
    /// For a free place: how many from here on in the upper half, next place in the lower.
    links: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Stripe {
    /// Tag in the upper half, first place in the lower.
    head: AtomicU64,
    /// How many places have this stripe for a home.
    share: usize,
}

/// Keeps what one stripe writes off the cache lines of the others.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// A whole list, taken off its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain(u64);

impl FreeLists {
    /// All places free, in contiguous runs, so that stripes do not share cache lines. There must be a
    /// power of two of them.
    pub(crate) fn full(places: usize, stripes: usize) -> Self {
        debug_assert!(places.is_power_of_two());
        let first = |stripe: usize| (stripe * places).div_ceil(stripes);
        let stripe = |stripe| Stripe {
            head: AtomicU64::new(0),
            share: first(stripe + 1) - first(stripe),
        };
        let lists = Self {
            stripes: (0..stripes).map(|number| Line(stripe(number))).collect(),
            links: (0..places).map(|_| AtomicU64::new(0)).collect(),
        };
        for place in (0..places).rev() {
            lists.push(place);
        }
        lists
    }

    /// The stripe where a place belongs.
    #[inline]
    fn home(&self, place: usize) -> usize {
        (place * self.stripes.len()) >> self.links.len().trailing_zeros()
    }

    /// Takes a free place: of this stripe, else of the next one that has any.
    pub(crate) fn pop(&self, stripe: usize) -> Option<usize> {
        let stripes = self.stripes.len();
        (stripe..stripe + stripes).find_map(|stripe| self.pop_from(stripe % stripes))
    }

    #[inline]
    fn pop_from(&self, stripe: usize) -> Option<usize> {
        let head = &self.stripes[stripe].0.head;
        let mut seen = head.load(Acquire);
        loop {
            let first = first_of(seen)?;
            // May be stale if the place was popped meanwhile; then the tag has changed as well.
            let next = self.links[first].load(Relaxed) & FIRST;
            match head.compare_exchange_weak(seen, retagged(seen, next), AcqRel, Acquire) {
                Ok(_) => return Some(first),
                Err(now) => seen = now,
            }
        }
    }

    /// Gives a place back; true if its stripe is full now, or half full.
    #[inline]
    pub(crate) fn push(&self, place: usize) -> bool {
        let stripe = self.home(place);
        let head = &self.stripes[stripe].0.head;
        let mut seen = head.load(Acquire);
        loop {
            let count = self.len_from(seen) + 1;
            self.links[place].store((count as u64) << 32 | seen & FIRST, Relaxed);
            let ours = retagged(seen, place as u64 + 1);
            // Of two who free the last places of two stripes, one sees the other: both write before
            // they look at all heads (`SeqCst`).
            match head.compare_exchange_weak(seen, ours, SeqCst, Acquire) {
                Ok(_) => {
                    let share = self.stripes[stripe].0.share;
                    return count == share || 2 * count == share;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a whole list.
    pub(crate) fn take(&self, stripe: usize) -> Chain {
        let head = &self.stripes[stripe].0.head;
        let mut seen = head.load(Acquire);
        while first_of(seen).is_some() {
            match head.compare_exchange_weak(seen, retagged(seen, 0), AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Chain(seen)
    }

    /// Puts a chain back where it was taken: whole if the list is still empty, else place by place.
    pub(crate) fn give_back(&self, stripe: usize, Chain(chain): Chain) {
        let head = &self.stripes[stripe].0.head;
        let seen = head.load(Acquire);
        if first_of(seen).is_none() {
            let whole = retagged(seen, chain & FIRST);
            if head.compare_exchange(seen, whole, AcqRel, Acquire).is_ok() {
                return;
            }
        }
        let mut next = first_of(chain);
        while let Some(place) = next {
            next = first_of(self.links[place].load(Relaxed));
            self.push(place);
        }
    }

    /// How many places a chain has.
    pub(crate) fn chain_len(&self, Chain(chain): Chain) -> usize {
        self.len_from(chain)
    }

    fn stripe_len(&self, stripe: usize) -> usize {
        self.len_from(self.stripes[stripe].0.head.load(SeqCst))
    }

    /// How many places are free; exact while nobody pushes or pops.
    pub(crate) fn len(&self) -> usize {
        (0..self.stripes.len())
            .map(|stripe| self.stripe_len(stripe))
            .sum()
    }

    #[inline]
    fn len_from(&self, head: u64) -> usize {
        first_of(head).map_or(0, |first| (self.links[first].load(Relaxed) >> 32) as usize)
    }
}

#[inline]
fn first_of(word: u64) -> Option<usize> {
    ((word & FIRST) as usize).checked_sub(1)
}

/// A head that lists `first` and differs from `head` in its tag.
#[inline]
fn retagged(head: u64, first: u64) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | first
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn drain(lists: &FreeLists, stripe: usize) -> Vec<usize> {
        std::iter::from_fn(|| lists.pop_from(stripe)).collect()
    }

    #[test]
    fn places_are_dealt_out_in_contiguous_runs_lowest_first() {
        let lists = FreeLists::full(8, 2);
        assert_eq!(
            (lists.len(), lists.stripe_len(0), lists.stripe_len(1)),
            (8, 4, 4)
        );
        assert_eq!(
            (drain(&lists, 0), drain(&lists, 1)),
            (vec![0, 1, 2, 3], vec![4, 5, 6, 7])
        );
        assert_eq!((lists.len(), lists.pop(0), lists.pop(1)), (0, None, None));
    }

    #[test]
    fn shares_add_up_and_agree_with_homes() {
        for (places, stripes) in [(1, 1), (1, 2), (2, 4), (64, 8), (128, 32), (4, 4)] {
            let lists = FreeLists::full(places, stripes);
            for stripe in 0..stripes {
                let homed = (0..places)
                    .filter(|&place| lists.home(place) == stripe)
                    .count();
                assert_eq!(
                    (lists.stripes[stripe].0.share, lists.stripe_len(stripe)),
                    (homed, homed)
                );
            }
        }
    }

    #[test]
    fn lengths_follow_pushes_and_pops() {
        let lists = FreeLists::full(4, 1);
        let taken = [lists.pop(0), lists.pop(0), lists.pop(0)];
        assert_eq!((taken, lists.len()), ([Some(0), Some(1), Some(2)], 1));
        assert!(lists.push(1), "half full");
        assert_eq!(lists.len(), 2);
        assert!(!lists.push(0));
        assert!(lists.push(2), "full again");
        assert_eq!((lists.len(), drain(&lists, 0)), (4, vec![2, 0, 1, 3]));
    }

    #[test]
    fn a_stripe_without_places_takes_from_the_next_and_gives_back_to_its_home() {
        let lists = FreeLists::full(8, 2);
        drain(&lists, 1);
        assert_eq!((lists.pop(1), lists.pop(1)), (Some(0), Some(1)));
        lists.push(5);
        assert_eq!(
            (lists.pop(0), lists.stripe_len(0), lists.stripe_len(1)),
            (Some(2), 1, 1)
        );
        lists.push(0);
        assert_eq!((lists.stripe_len(0), lists.stripe_len(1)), (2, 1));
    }

    #[test]
    fn a_chain_goes_back_whole_or_place_by_place() {
        for occupied in [false, true] {
            let lists = FreeLists::full(8, 2);
            let held = lists.pop(0).unwrap();
            let chain = lists.take(0);
            assert_eq!((lists.chain_len(chain), lists.stripe_len(0)), (3, 0));
            if occupied {
                lists.push(held);
            }
            lists.give_back(0, chain);
            if !occupied {
                assert!(lists.push(held));
            }
            let all: BTreeSet<_> = drain(&lists, 0).into_iter().collect();
            assert_eq!((all, lists.len()), ((0..4).collect(), 4));
        }
        let lists = FreeLists::full(2, 2);
        drain(&lists, 0);
        let nothing = lists.take(0);
        lists.give_back(0, nothing);
        assert_eq!((lists.chain_len(nothing), lists.len()), (0, 1));
    }

    #[test]
    fn every_change_of_a_head_changes_its_tag() {
        let lists = FreeLists::full(2, 1);
        let mut seen = BTreeSet::new();
        let mut check =
            |what| assert!(seen.insert(lists.stripes[0].0.head.load(Relaxed)), "{what}");
        check("start");
        for _ in 0..10 {
            let (one, two) = (lists.pop(0).unwrap(), lists.pop(0).unwrap());
            check("popped");
            lists.push(two);
            check("pushed");
            lists.push(one);
            let chain = lists.take(0);
            check("taken");
            lists.give_back(0, chain);
            check("given back");
        }
    }
}
