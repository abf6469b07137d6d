//! [`Stack`]: what a context keeps for its close, the latest first.

use crate::sync::{Mutex, lock};
use std::{collections::BTreeMap, fmt, mem};

/// A last-in-first-out list that can be sealed: what is pushed is either popped, taken out, or handed back.
///
/// Emptiness and the seal are decided under one lock, so nothing can slip in between "it is empty" and "no more" (I7).
pub(crate) struct Stack<T>(Mutex<StackItems<T>>);

struct StackItems<T> {
    /// By the order in which they came. A map, so that one in the middle is taken out without a search through the others.
    items: BTreeMap<u64, T>,
    pushed: u64,
    sealed: bool,
}

impl<T> Stack<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(StackItems {
            items: BTreeMap::new(),
            pushed: 0,
            sealed: false,
        }))
    }

    /// Adds an item and returns its key, or hands it back once sealed.
    pub(crate) fn push(&self, item: T) -> Result<u64, T> {
        self.push_with(item, |item| item)
    }

    /// Adds what `make` makes of `source`, or hands `source` back once sealed.
    pub(crate) fn push_with<S>(&self, source: S, make: impl FnOnce(S) -> T) -> Result<u64, S> {
        let mut inner = lock(&self.0);
        if inner.sealed {
            return Err(source);
        }
        let key = inner.pushed;
        inner.pushed += 1;
        inner.items.insert(key, make(source));
        Ok(key)
    }

    /// The latest item; seals the stack if there is none.
    pub(crate) fn pop_or_seal(&self) -> Option<T> {
        let mut inner = lock(&self.0);
        // In one step: a hook that is pushed between "it is empty" and "no more" would never run.
        let popped = inner.items.pop_last();
        inner.sealed |= popped.is_none();
        popped.map(|(_, item)| item)
    }

    /// Seals the stack and returns what is left, latest first.
    pub(crate) fn seal(&self) -> Vec<T> {
        let mut inner = lock(&self.0);
        inner.sealed = true;
        let items = mem::take(&mut inner.items);
        drop(inner);
        items.into_values().rev().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).items.is_empty()
    }

    /// How many of the latest items are such ones; only so many are looked at.
    pub(crate) fn count_latest(&self, most: usize, is_one: impl Fn(&T) -> bool) -> usize {
        let inner = lock(&self.0);
        let latest = inner.items.values().rev().take(most);
        latest.filter(|item| is_one(item)).count()
    }

    /// Looks at each item, under the lock: `visit` must run no code of others (I9).
    pub(crate) fn for_each(&self, visit: impl FnMut(&T)) {
        lock(&self.0).items.values().for_each(visit);
    }

    /// Takes one item out by its key.
    pub(crate) fn take(&self, key: u64) -> Option<T> {
        lock(&self.0).items.remove(&key)
    }
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self::new()
    }
}
