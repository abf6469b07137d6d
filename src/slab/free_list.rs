//! Which places of a block are free: lock-free lists of indices, last in first out, for each stripe of threads.
//!
//! Every place has a home stripe and goes back there, on whatever thread it is freed. So a block is wholly free just when all its
//! stripes are full, and the push of its last place is the one that fills a stripe.
//!
//! The head of a list is one word: the index of its first place, how many places are *retired*, and a tag. A retired place
//! is neither free nor listed, because the entry that was there is still read; it is no longer retired in the same
//! step in which it is freed. The tag changes with every push and pop, so a head that looks the same is the same. It has 40
//! bits. For two heads to be mistaken for each other (ABA) a thread would have to be stopped between the load and the
//! exchange of [`pop`](FreeLists::pop) while others push and pop 2^40 times on this one stripe of this one block, which
//! takes them three hours at 10 ns each, and go on at the very moment at which they have done exactly that many.
//!
//! A stripe has three lists. *Bare* places are free and nothing else. *Stale* ones still hold what their last entry left for the
//! next one to drop ([`Entry::clear`](super::block::Entry::clear)). That is not touched as long as it is *new*: the thread that
//! left it may still be about to release it as well. A pop that finds new ones makes them *old*, all at once, so that a later
//! one takes them. There are never more stale places than entries, and a few; see
//! [`has_too_many_stale`](FreeLists::has_too_many_stale).
//!
//! A link holds the next index, and how many places the list has from there on. So [`len`](FreeLists::len) is read off the
//! heads, and costs those who push and pop nothing.

use crate::sync::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
    order,
};

/// The lowest bits of a head and a link: index + 1, or 0 for none.
const FIRST: u64 = (1 << 12) - 1;
/// One retired place, in a head.
const RETIRED: u64 = FIRST + 1;
/// One more push or pop, in a head.
const TAG: u64 = RETIRED << 12;
/// The most places that a block may have: as many as may be retired.
pub(crate) const MOST: usize = 1 << 11;
const _: () = assert!(MOST as u64 <= FIRST && MOST as u64 * RETIRED < TAG);

#[derive(Debug)]
pub(crate) struct FreeLists {
    stripes: Box<[Line<Stripe>]>,
    /// For a free place: how many from here on in the upper half, next place in the lower.
    links: Box<[AtomicU64]>,
    /// How many stale places a stripe may have beyond its entries.
    spare: usize,
}

#[derive(Debug)]
struct Stripe {
    /// Tag, retired places, first place.
    bare: AtomicU64,
    /// Tag, first place.
    new_stale: AtomicU64,
    /// Tag, first place.
    old_stale: AtomicU64,
    /// How many places have this stripe for a home.
    share: usize,
}

impl Stripe {
    /// Whether so many free places are all of them, or half, or a good deal more than when this was last true.
    #[inline]
    fn is_much(&self, free: usize) -> bool {
        let is_more = 2 * free > self.share && free % 16 == 0;
        free == self.share || 2 * free == self.share || is_more
    }
}

/// Keeps what one stripe writes off the cache lines of the others.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// All free places of a stripe, taken off its lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    bare: u64,
    new_stale: u64,
    old_stale: u64,
}

/// A place that was free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    Bare(usize),
    Stale(usize),
}

impl Popped {
    /// Which place it is.
    #[cfg(test)]
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Bare(place) | Self::Stale(place) => place,
        }
    }
}

/// How a place comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It was reserved, or listed until now.
    Directly,
    /// It was [retired](FreeLists::retire).
    Retired,
}

/// What there is to do once a place has come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freed {
    /// The stripe where it belongs.
    pub(crate) home: usize,
    /// Much of that stripe is free now.
    pub(crate) is_much: bool,
    /// The stripe has more stale places than entries, and a few.
    pub(crate) has_too_many_stale: bool,
}

impl FreeLists {
    /// All places free, in contiguous runs, so that stripes do not share cache lines. There must be a power of two of
    /// them.
    pub(crate) fn full(places: usize, stripes: usize, spare: usize) -> Self {
        debug_assert!(places.is_power_of_two() && places <= MOST);
        let first = |stripe: usize| (stripe * places).div_ceil(stripes);
        let stripe = |stripe| Stripe {
            bare: AtomicU64::new(0),
            new_stale: AtomicU64::new(0),
            old_stale: AtomicU64::new(0),
            share: first(stripe + 1) - first(stripe),
        };
        let lists = Self {
            stripes: (0..stripes).map(|number| Line(stripe(number))).collect(),
            links: (0..places).map(|_| AtomicU64::new(0)).collect(),
            spare,
        };
        for stripe in 0..stripes {
            lists.fill(first(stripe)..first(stripe + 1), stripe);
        }
        lists
    }

    /// Makes the places of a stripe free, lowest first. No other thread knows the lists yet.
    fn fill(&self, places: std::ops::Range<usize>, stripe: usize) {
        let (start, end) = (places.start, places.end);
        for place in places {
            let next = if place + 1 < end { place as u64 + 2 } else { 0 };
            self.links[place].store(((end - place) as u64) << 32 | next, Relaxed);
        }
        if start < end {
            self.stripes[stripe].0.bare.store(start as u64 + 1, Relaxed);
        }
    }

    /// The stripe where a place belongs.
    #[inline]
    fn home(&self, place: usize) -> usize {
        (place * self.stripes.len()) >> self.links.len().trailing_zeros()
    }

    #[inline]
    fn stripe_of(&self, place: usize) -> &Stripe {
        &self.stripes[self.home(place)].0
    }

    /// Takes a free place of this stripe. Stale ones first: who spawns is about to need as much memory as they hold.
    #[inline]
    pub(crate) fn pop(&self, stripe: usize) -> Option<Popped> {
        let stripe = &self.stripes[stripe].0;
        if let Some(place) = self.pop_off(&stripe.old_stale) {
            return Some(Popped::Stale(place));
        }
        if first_of(stripe.new_stale.load(Relaxed)).is_some() {
            self.put_on(&stripe.old_stale, take_off(&stripe.new_stale));
        }
        match self.pop_off(&stripe.bare) {
            Some(place) => Some(Popped::Bare(place)),
            None => self.pop_off(&stripe.old_stale).map(Popped::Stale),
        }
    }

    #[inline]
    fn pop_off(&self, head: &AtomicU64) -> Option<usize> {
        // Acquire: pairs with the release of the push, so that the link is the one that was pushed.
        let mut seen = head.load(Acquire);
        loop {
            let first = first_of(seen)?;
            // May be out of date if the place was popped meanwhile; then the tag has changed as well.
            let next = self.links[first].load(Relaxed) & FIRST;
            match head.compare_exchange_weak(seen, retagged(seen, next), AcqRel, Acquire) {
                Ok(_) => return Some(first),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a stale place of the stripe where this place belongs.
    pub(crate) fn pop_stale(&self, place: usize) -> Option<usize> {
        self.pop_stale_of(self.stripe_of(place))
    }

    fn pop_stale_of(&self, stripe: &Stripe) -> Option<usize> {
        self.pop_off(&stripe.old_stale)
            .or_else(|| self.pop_off(&stripe.new_stale))
    }

    /// Takes a stale place, of whatever stripe.
    pub(crate) fn pop_any_stale(&self) -> Option<usize> {
        let mut stripes = self.stripes.iter();
        stripes.find_map(|stripe| self.pop_stale_of(&stripe.0))
    }

    /// Gives a place back.
    #[inline]
    pub(crate) fn push(&self, place: usize, pushed: Pushed) -> Freed {
        let home = self.home(place);
        let stripe = &self.stripes[home].0;
        let retired = match pushed {
            Pushed::Directly => 0,
            Pushed::Retired => RETIRED,
        };
        let bare = self.push_on(&stripe.bare, place, retired);
        self.freed(home, stripe, bare)
    }

    /// Gives a place back that was not retired, and is stale.
    pub(crate) fn push_stale(&self, place: usize) -> Freed {
        let home = self.home(place);
        let stripe = &self.stripes[home].0;
        self.push_on(&stripe.new_stale, place, 0);
        self.freed(home, stripe, self.len_from(stripe.bare.load(SeqCst)))
    }

    #[inline]
    fn freed(&self, home: usize, stripe: &Stripe, bare: usize) -> Freed {
        let stale = self.stale(stripe);
        Freed {
            home,
            is_much: stripe.is_much(bare + stale),
            has_too_many_stale: self.are_too_many(stripe, bare, stale),
        }
    }

    #[inline]
    fn stale(&self, stripe: &Stripe) -> usize {
        self.len_from(stripe.new_stale.load(SeqCst)) + self.len_from(stripe.old_stale.load(SeqCst))
    }

    /// Whether the stripe where this place belongs has more stale places than entries, and a few.
    pub(crate) fn has_too_many_stale(&self, place: usize) -> bool {
        let stripe = self.stripe_of(place);
        let bare = self.len_from(stripe.bare.load(SeqCst));
        self.are_too_many(stripe, bare, self.stale(stripe))
    }

    #[inline]
    fn are_too_many(&self, stripe: &Stripe, bare: usize, stale: usize) -> bool {
        let entries = || stripe.share.saturating_sub(bare + stale);
        stale > 0 && stale > entries() + self.spare
    }

    /// Returns how many are on the list now. Of two who free the last places of two lists, one sees the other:
    /// both write before they look at all heads (`SeqCst`).
    #[inline]
    fn push_on(&self, head: &AtomicU64, place: usize, retired: u64) -> usize {
        let mut seen = head.load(Acquire);
        loop {
            let count = self.len_from(seen) + 1;
            self.links[place].store((count as u64) << 32 | seen & FIRST, Relaxed);
            let ours = retagged(seen, place as u64 + 1) - retired;
            match head.compare_exchange_weak(seen, ours, SeqCst, Acquire) {
                Ok(_) => {
                    order();
                    return count;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Counts a place among the retired, until it is pushed.
    #[inline]
    pub(crate) fn retire(&self, place: usize) {
        self.stripe_of(place).bare.fetch_add(RETIRED, SeqCst);
    }

    /// A retired place will never be pushed.
    pub(crate) fn abandon(&self, place: usize) {
        self.stripe_of(place).bare.fetch_sub(RETIRED, SeqCst);
    }

    /// Takes all free places of a stripe.
    pub(crate) fn take(&self, stripe: usize) -> Chain {
        let stripe = &self.stripes[stripe].0;
        Chain {
            bare: take_off(&stripe.bare),
            new_stale: take_off(&stripe.new_stale),
            old_stale: take_off(&stripe.old_stale),
        }
    }

    /// Puts a chain back where it was taken: whole where the list is still empty, else place by place.
    pub(crate) fn give_back(&self, stripe: usize, chain: Chain) {
        let stripe = &self.stripes[stripe].0;
        self.put_on(&stripe.bare, chain.bare);
        self.put_on(&stripe.new_stale, chain.new_stale);
        self.put_on(&stripe.old_stale, chain.old_stale);
    }

    /// As with a push, who frees a place meanwhile sees it, or is seen by a look after this (`SeqCst`).
    fn put_on(&self, head: &AtomicU64, chain: u64) {
        let seen = head.load(Acquire);
        if first_of(seen).is_none() {
            let whole = retagged(seen, chain);
            if head.compare_exchange(seen, whole, SeqCst, Acquire).is_ok() {
                order();
                return;
            }
        }
        let mut next = first_of(chain);
        while let Some(place) = next {
            next = first_of(self.links[place].load(Relaxed));
            self.push_on(head, place, 0);
        }
    }

    /// How many places a chain has.
    pub(crate) fn chain_len(&self, chain: Chain) -> usize {
        let Chain {
            bare,
            new_stale,
            old_stale,
        } = chain;
        self.len_from(bare) + self.len_from(new_stale) + self.len_from(old_stale)
    }

    fn stripe_len(&self, stripe: &Stripe) -> usize {
        self.len_from(stripe.bare.load(SeqCst)) + self.stale(stripe)
    }

    /// How many places are free; exact while no place is pushed or popped.
    pub(crate) fn len(&self) -> usize {
        let stripes = self.stripes.iter();
        stripes.map(|stripe| self.stripe_len(&stripe.0)).sum()
    }

    /// How many places are free or retired: each stripe at one moment. A place that is freed has left those that are retired in the
    /// same step, so to read the two one after the other would miss it.
    pub(crate) fn unlisted(&self) -> usize {
        let stripes = self.stripes.iter();
        stripes.map(|stripe| self.unlisted_of(&stripe.0)).sum()
    }

    fn unlisted_of(&self, stripe: &Stripe) -> usize {
        let heads = || {
            let lists = [&stripe.bare, &stripe.new_stale, &stripe.old_stale];
            lists.map(|head| head.load(SeqCst))
        };
        let mut seen = heads();
        loop {
            let free: usize = seen.iter().map(|&head| self.len_from(head)).sum();
            let now = heads();
            // Heads that look the same are the same, so what was read of their links was so all the time.
            if now == seen {
                return free + (seen[0] % TAG / RETIRED) as usize;
            }
            seen = now;
        }
    }

    /// How many places are retired.
    #[cfg(test)]
    pub(crate) fn retired(&self) -> usize {
        let of = |stripe: &Line<Stripe>| {
            let head = stripe.0.bare.load(SeqCst);
            (head % TAG / RETIRED) as usize
        };
        self.stripes.iter().map(of).sum()
    }

    #[inline]
    fn len_from(&self, head: u64) -> usize {
        // Acquire: read before the heads are read again.
        first_of(head).map_or(0, |first| (self.links[first].load(Acquire) >> 32) as usize)
    }
}

/// Takes all places off a list.
fn take_off(head: &AtomicU64) -> u64 {
    let mut seen = head.load(Acquire);
    while first_of(seen).is_some() {
        match head.compare_exchange_weak(seen, retagged(seen, 0), AcqRel, Acquire) {
            Ok(_) => break,
            Err(now) => seen = now,
        }
    }
    seen & FIRST
}

#[inline]
fn first_of(word: u64) -> Option<usize> {
    ((word & FIRST) as usize).checked_sub(1)
}

/// A head that lists `first` and differs from `head` in its tag.
#[inline]
fn retagged(head: u64, first: u64) -> u64 {
    (head & !FIRST).wrapping_add(TAG) | first
}

#[cfg(all(test, not(headcount_loom)))]
mod tests;
