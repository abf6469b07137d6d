//! [`Stack`]: what a context keeps for its close, the latest first.

use crate::{
    rare::Rare,
    sync::{Mutex, lock},
};
use std::{collections::BTreeMap, fmt};

/// A last-in-first-out list that can be sealed: what is pushed is either popped, taken out, or handed back.
///
/// Emptiness and the seal are decided under one lock, so nothing can slip in between "it is empty" and "no more" (I7).
pub(crate) struct Stack<T>(Mutex<Items<T>>);

struct Items<T> {
    /// Most contexts have none.
    pushed: Rare<Pushed<T>>,
    sealed: bool,
}

struct Pushed<T> {
    /// By the order in which they came. A map, so that one in the middle is taken out without a search through the others.
    items: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Pushed<T> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T> Items<T> {
    fn is_empty(&self) -> bool {
        let pushed = self.pushed.get();
        pushed.is_none_or(|pushed| pushed.items.is_empty())
    }
}

impl<T> Stack<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Items {
            pushed: Rare::default(),
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
        let pushed = inner.pushed.get_mut();
        let key = pushed.next;
        pushed.next += 1;
        pushed.items.insert(key, make(source));
        Ok(key)
    }

    /// The latest item; seals the stack if there is none.
    pub(crate) fn pop_or_seal(&self) -> Option<T> {
        let mut inner = lock(&self.0);
        // In one step: a hook that is pushed between "it is empty" and "no more" would never run.
        let pushed = inner.pushed.existing();
        let popped = pushed.and_then(|pushed| pushed.items.pop_last());
        inner.sealed |= popped.is_none();
        popped.map(|(_, item)| item)
    }

    /// Seals the stack and returns what is left, latest first.
    pub(crate) fn seal(&self) -> Vec<T> {
        let mut inner = lock(&self.0);
        inner.sealed = true;
        if inner.pushed.get().is_none() {
            return Vec::new();
        }
        let pushed = inner.pushed.take();
        drop(inner);
        pushed.items.into_values().rev().collect()
    }

    /// Seals the stack, if there is nothing on it; false if there is.
    pub(crate) fn seal_if_empty(&self) -> bool {
        let mut inner = lock(&self.0);
        let is_empty = inner.is_empty();
        inner.sealed |= is_empty;
        is_empty
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// How many of the latest items are such ones; only so many are looked at.
    pub(crate) fn count_latest(&self, most: usize, is_one: impl Fn(&T) -> bool) -> usize {
        let inner = lock(&self.0);
        let latest = inner.pushed.get().map(|pushed| pushed.items.values().rev());
        let latest = latest.into_iter().flatten().take(most);
        latest.filter(|item| is_one(item)).count()
    }

    /// Looks at each item, under the lock: `visit` must run no code of others (I9).
    pub(crate) fn for_each(&self, visit: impl FnMut(&T)) {
        if let Some(pushed) = lock(&self.0).pushed.get() {
            pushed.items.values().for_each(visit);
        }
    }

    /// Takes one item out by its key.
    pub(crate) fn take(&self, key: u64) -> Option<T> {
        lock(&self.0).pushed.existing()?.items.remove(&key)
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
