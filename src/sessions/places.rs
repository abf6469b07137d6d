//! [`Places`]: how many sessions there may be, in all and for each owner, and who waits for a place.
//!
//! A session needs a place of its owner's, and then one of all. It keeps both until it is gone, so those that close count. Those
//! that wait are served in the order of arrival; one that waits for its owner's other sessions is in no other's way.

use crate::sessions::error::Limit;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a session has of the places that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits for one of its owner's.
    None,
    /// It has one of its owner's, and waits for one of all.
    OfOwner,
    /// It has both.
    Whole,
}

/// A session, as far as places are concerned.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) owner: &'a Arc<[u8]>,
    /// In the order of arrival.
    pub(crate) serial: u64,
    pub(crate) index: usize,
}

pub(crate) struct Places {
    all: Limited,
    max_per_owner: usize,
    /// Empty if there is no limit for one owner.
    owners: HashMap<Arc<[u8]>, Limited>,
}

/// What is limited: all sessions, or those of one owner.
#[derive(Default)]
struct Limited {
    max: usize,
    taken: usize,
    /// How many of those are closing, and so become free by themselves.
    closing: usize,
    /// Where those are that wait, by the order of arrival.
    waiting: BTreeMap<u64, usize>,
}

impl Limited {
    fn of(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    fn is_full(&self) -> bool {
        self.taken >= self.max
    }

    /// Takes a place, or waits for one.
    fn take(&mut self, claim: Claim<'_>) -> bool {
        let is_free = !self.is_full();
        if is_free {
            self.taken += 1;
        } else {
            self.waiting.insert(claim.serial, claim.index);
        }
        is_free
    }

    /// Gives a place to the one that has waited for longest, if there is one.
    fn grant(&mut self) -> Option<(u64, usize)> {
        if self.is_full() {
            return None;
        }
        let first = self.waiting.pop_first();
        self.taken += usize::from(first.is_some());
        first
    }

    /// Whether more places become free by themselves than there are that wait for one.
    fn has_spare(&self) -> bool {
        self.closing > self.waiting.len()
    }
}

impl Places {
    pub(crate) fn new(max: usize, max_per_owner: usize) -> Self {
        Self {
            all: Limited::of(max),
            max_per_owner,
            owners: HashMap::new(),
        }
    }

    fn counts_owners(&self) -> bool {
        self.max_per_owner != usize::MAX
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all.taken
    }

    /// The limit that keeps a new session of this owner from a place, if there is one.
    pub(crate) fn full(&self, owner: &[u8]) -> Option<Limit> {
        let of_owner = self.owners.get(owner);
        let is_owner_full = match of_owner {
            Some(owner) => owner.is_full(),
            None => self.counts_owners() && self.max_per_owner == 0,
        };
        if is_owner_full {
            Some(Limit::PerOwner)
        } else {
            self.all.is_full().then_some(Limit::Total)
        }
    }

    /// Whether a place will become free that none of those that wait needs.
    pub(crate) fn has_spare(&self, limit: Limit, owner: &[u8]) -> bool {
        if limit == Limit::PerOwner {
            self.owners.get(owner).is_some_and(Limited::has_spare)
        } else {
            self.all.has_spare()
        }
    }

    /// Takes the places that a new session needs, as far as they are free, and waits for the rest.
    pub(crate) fn take(&mut self, claim: Claim<'_>) -> Place {
        if self.counts_owners() {
            let max = self.max_per_owner;
            let owner = self.owners.entry(Arc::clone(claim.owner));
            if !owner.or_insert_with(|| Limited::of(max)).take(claim) {
                return Place::None;
            }
        }
        if self.all.take(claim) {
            Place::Whole
        } else {
            Place::OfOwner
        }
    }

    /// A session that has a whole place begins to close.
    pub(crate) fn closing(&mut self, owner: &[u8]) {
        self.all.closing += 1;
        if let Some(owner) = self.owners.get_mut(owner) {
            owner.closing += 1;
        }
    }

    /// Gives back what a session has, or waits for. Returns what others have by that.
    pub(crate) fn free(
        &mut self,
        claim: Claim<'_>,
        place: Place,
        was_closing: bool,
    ) -> Vec<(usize, Place)> {
        let closing = usize::from(was_closing);
        match place {
            Place::Whole => {
                self.all.taken -= 1;
                self.all.closing -= closing;
            }
            Place::OfOwner => {
                self.all.waiting.remove(&claim.serial);
            }
            Place::None => {}
        }
        let mut granted = Vec::new();
        self.free_of_owner(claim, place, closing, &mut granted);
        while let Some((_, index)) = self.all.grant() {
            granted.push((index, Place::Whole));
        }
        granted
    }

    fn free_of_owner(
        &mut self,
        claim: Claim<'_>,
        place: Place,
        closing: usize,
        granted: &mut Vec<(usize, Place)>,
    ) {
        let Some(owner) = self.owners.get_mut(claim.owner) else {
            return;
        };
        if place == Place::None {
            owner.waiting.remove(&claim.serial);
        } else {
            owner.taken -= 1;
            owner.closing -= closing;
        }
        while let Some((serial, index)) = owner.grant() {
            // In line for one of all, by its arrival; a free one goes to the first in that line.
            self.all.waiting.insert(serial, index);
            granted.push((index, Place::OfOwner));
        }
        if owner.taken == 0 && owner.waiting.is_empty() {
            self.owners.remove(claim.owner);
        }
    }
}
