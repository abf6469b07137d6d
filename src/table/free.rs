//! Which places of a block are free: one lock-free stack of indices per stripe of threads.
//!
//! A head holds the index of its first place and a 32-bit tag that changes with every push and pop, so
//! a head that looks the same is the same (no ABA). A link holds the next index, and how many places
//! the list has from there on: so [`len`](FreeLists::len) is read off the heads, and costs those who
//! push and pop nothing.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// The lower half of a word: index + 1, or 0 for none.
const FIRST: u64 = u32::MAX as u64;

#[derive(Debug)]
pub(crate) struct FreeLists {
    /// Tag in the upper half, first place in the lower.
    heads: Box<[Line<AtomicU64>]>,
    /// For a free place: how many from here on in the upper half, next place in the lower.
    links: Box<[AtomicU64]>,
}

/// Keeps what one stripe writes off the cache lines of the others.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// A whole list, taken off its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain(u64);

impl FreeLists {
    /// All places free, in contiguous runs, so that stripes do not share cache lines.
    pub(crate) fn full(places: usize, stripes: usize) -> Self {
        let lists = Self {
            heads: (0..stripes).map(|_| Line(AtomicU64::new(0))).collect(),
            links: (0..places).map(|_| AtomicU64::new(0)).collect(),
        };
        for place in (0..places).rev() {
            lists.push(place * stripes / places, place);
        }
        lists
    }

    pub(crate) fn pop(&self, stripe: usize) -> Option<usize> {
        let head = &self.heads[stripe].0;
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

    pub(crate) fn push(&self, stripe: usize, place: usize) {
        let head = &self.heads[stripe].0;
        let mut seen = head.load(Acquire);
        loop {
            let below = self.len_from(seen) as u64;
            self.links[place].store((below + 1) << 32 | seen & FIRST, Relaxed);
            let ours = retagged(seen, place as u64 + 1);
            match head.compare_exchange_weak(seen, ours, AcqRel, Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes another stripe's whole list, returns its first place and leaves the rest to `stripe`.
    #[cold]
    pub(crate) fn steal(&self, stripe: usize) -> Option<usize> {
        (0..self.heads.len()).find_map(|victim| {
            let first = first_of(self.take(victim).0)?;
            self.give_back(stripe, Chain(self.links[first].load(Relaxed)));
            Some(first)
        })
    }

    /// Takes a whole list.
    pub(crate) fn take(&self, stripe: usize) -> Chain {
        let head = &self.heads[stripe].0;
        let mut seen = head.load(Acquire);
        while first_of(seen).is_some() {
            match head.compare_exchange_weak(seen, retagged(seen, 0), AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Chain(seen)
    }

    /// Puts a chain back: whole if the list is empty, else place by place.
    pub(crate) fn give_back(&self, stripe: usize, Chain(chain): Chain) {
        let head = &self.heads[stripe].0;
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
            self.push(stripe, place);
        }
    }

    /// How many places a chain has.
    pub(crate) fn chain_len(&self, Chain(chain): Chain) -> usize {
        self.len_from(chain)
    }

    /// How many places one stripe has free.
    pub(crate) fn stripe_len(&self, stripe: usize) -> usize {
        self.len_from(self.heads[stripe].0.load(Acquire))
    }

    /// How many places are free; exact while nobody pushes or pops.
    pub(crate) fn len(&self) -> usize {
        (0..self.heads.len())
            .map(|stripe| self.stripe_len(stripe))
            .sum()
    }

    fn len_from(&self, head: u64) -> usize {
        first_of(head).map_or(0, |first| (self.links[first].load(Relaxed) >> 32) as usize)
    }
}

fn first_of(word: u64) -> Option<usize> {
    ((word & FIRST) as usize).checked_sub(1)
}

/// A head that lists `first` and differs from `head` in its tag.
fn retagged(head: u64, first: u64) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | first
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn drain(lists: &FreeLists, stripe: usize) -> Vec<usize> {
        std::iter::from_fn(|| lists.pop(stripe)).collect()
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
        assert_eq!((lists.len(), lists.pop(0)), (0, None));
    }

    #[test]
    fn lengths_follow_pushes_and_pops() {
        let lists = FreeLists::full(4, 1);
        let taken = [lists.pop(0), lists.pop(0), lists.pop(0)];
        assert_eq!((taken, lists.len()), ([Some(0), Some(1), Some(2)], 1));
        lists.push(0, 1);
        assert_eq!(lists.len(), 2);
        lists.push(0, 0);
        assert_eq!((lists.len(), drain(&lists, 0)), (3, vec![0, 1, 3]));
    }

    #[test]
    fn a_thief_takes_the_whole_list_and_uses_its_first_place() {
        let lists = FreeLists::full(8, 2);
        drain(&lists, 0);
        assert_eq!(lists.steal(0), Some(4));
        assert_eq!((lists.stripe_len(0), lists.stripe_len(1)), (3, 0));
        assert_eq!(drain(&lists, 0), [5, 6, 7]);
        assert_eq!((lists.steal(0), lists.steal(1)), (None, None));
        lists.push(1, 6);
        assert_eq!((lists.steal(0), lists.len()), (Some(6), 0));
    }

    #[test]
    fn a_chain_goes_back_whole_or_place_by_place() {
        for occupied in [false, true] {
            let lists = FreeLists::full(8, 2);
            let chain = lists.take(0);
            assert_eq!((lists.chain_len(chain), lists.stripe_len(0)), (4, 0));
            let onto = usize::from(occupied);
            lists.give_back(onto, chain);
            assert_eq!((lists.len(), lists.stripe_len(onto)), (8, 4 + 4 * onto));
            let all: BTreeSet<_> = [drain(&lists, 0), drain(&lists, 1)]
                .concat()
                .into_iter()
                .collect();
            assert_eq!(all, (0..8).collect());
        }
        let lists = FreeLists::full(2, 2);
        drain(&lists, 0);
        let nothing = lists.take(0);
        lists.give_back(1, nothing);
        assert_eq!((lists.chain_len(nothing), lists.len()), (0, 1));
    }

    #[test]
    fn every_change_of_a_head_changes_its_tag() {
        let lists = FreeLists::full(2, 1);
        let mut seen = BTreeSet::new();
        let mut check = |what| assert!(seen.insert(lists.heads[0].0.load(Relaxed)), "{what}");
        check("start");
        for _ in 0..10 {
            let (one, two) = (lists.pop(0).unwrap(), lists.pop(0).unwrap());
            check("popped");
            lists.push(0, two);
            check("pushed");
            lists.push(0, one);
            let chain = lists.take(0);
            check("taken");
            lists.give_back(0, chain);
            check("given back");
        }
    }
}
