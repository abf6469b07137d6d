//! [`IdleQueue`]: the sessions that are not held, the longest idle first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::time::Instant;

/// Since when a session is idle, and a number that orders those of one moment.
pub(crate) type Since = (Instant, u64);

/// Where sessions are, by how long they have been idle.
type BySince = BTreeMap<Since, usize>;

#[derive(Default)]
pub(crate) struct IdleQueue {
    all: BySince,
    /// The same by owner, if sessions of one owner may have to make room for each other.
    owners: Option<HashMap<Arc<[u8]>, BySince>>,
}

impl IdleQueue {
    pub(crate) fn new(by_owner: bool) -> Self {
        Self {
            all: BTreeMap::new(),
            owners: by_owner.then(HashMap::new),
        }
    }

    pub(crate) fn insert(&mut self, since: Since, owner: &Arc<[u8]>, index: usize) {
        self.all.insert(since, index);
        if let Some(owners) = &mut self.owners {
            let owner = owners.entry(Arc::clone(owner)).or_default();
            owner.insert(since, index);
        }
    }

    pub(crate) fn remove(&mut self, since: Since, owner: &[u8]) {
        self.all.remove(&since);
        let Some(owners) = &mut self.owners else {
            return;
        };
        let Some(of_owner) = owners.get_mut(owner) else {
            return;
        };
        of_owner.remove(&since);
        if of_owner.is_empty() {
            owners.remove(owner);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The one that has been idle for longest.
    pub(crate) fn first(&self) -> Option<(Since, usize)> {
        self.all
            .first_key_value()
            .map(|(since, index)| (*since, *index))
    }

    /// The same of this owner.
    pub(crate) fn first_of(&self, owner: &[u8]) -> Option<usize> {
        let of_owner = self.owners.as_ref()?.get(owner)?;
        of_owner.first_key_value().map(|(_, index)| *index)
    }

    /// From the longest idle one on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Since, usize)> {
        self.all.iter().map(|(since, index)| (*since, *index))
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        if let Some(owners) = &mut self.owners {
            owners.clear();
        }
    }
}
