//! [`WeakSet`]: the contexts that the close of one waits for.

use crate::{id::ResourceId, rare::Rare};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// Things by id, each as long as it lives. Most contexts have neither children nor dependents.
pub(crate) struct WeakSet<T>(Rare<BTreeMap<ResourceId, Weak<T>>>);

impl<T> WeakSet<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.get().map_or(0, BTreeMap::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are alive.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<T>> {
        let all = self.0.get().into_iter().flat_map(BTreeMap::values);
        all.filter_map(Weak::upgrade)
    }

    pub(crate) fn insert(&mut self, id: ResourceId, weak: Weak<T>) {
        self.0.get_mut().insert(id, weak);
    }

    /// What was inserted under this id.
    pub(crate) fn get_mut(&mut self, id: ResourceId) -> Option<&mut Weak<T>> {
        self.0.existing()?.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: ResourceId) {
        if let Some(all) = self.0.existing() {
            all.remove(&id);
        }
    }
}

impl<T> Default for WeakSet<T> {
    fn default() -> Self {
        Self(Rare::default())
    }
}
