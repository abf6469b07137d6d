//! Who is there to be asked, in the order in which they came.

use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed, lock};
use std::{collections::BTreeMap, ops::Deref, sync::Arc};

pub(crate) struct Roll<T> {
    came: AtomicU64,
    there: Mutex<BTreeMap<u64, Arc<T>>>,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self {
            came: AtomicU64::new(0),
            there: Mutex::default(),
        }
    }
}

/// Somebody who is there, until this is dropped.
pub(crate) struct Entry<T> {
    roll: Arc<Roll<T>>,
    number: u64,
    who: Arc<T>,
}

impl<T> Roll<T> {
    /// Enters whoever `make` makes of a number that nobody else has.
    pub(crate) fn enter(self: &Arc<Self>, make: impl FnOnce(u64) -> T) -> Entry<T> {
        let number = self.came.fetch_add(1, Relaxed);
        let who = Arc::new(make(number));
        lock(&self.there).insert(number, Arc::clone(&who));
        Entry {
            roll: Arc::clone(self),
            number,
            who,
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        lock(&self.there).values().cloned().collect()
    }
}

impl<T> Entry<T> {
    pub(crate) fn arc(&self) -> Arc<T> {
        Arc::clone(&self.who)
    }
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.who
    }
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        let gone = lock(&self.roll.there).remove(&self.number);
        drop(gone);
    }
}
