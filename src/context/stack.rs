//! A last-in-first-out list that can be sealed: what is pushed is either popped or handed back.
//!
//! Hooks and owned values wait here. Emptiness and the seal are decided under one lock, so nothing
//! can slip in between "it is empty" and "no more" (I7).

use crate::sync::{Mutex, lock};
use std::fmt;

pub(crate) struct Stack<T>(Mutex<Inner<T>>);

struct Inner<T> {
    items: Vec<(u64, T)>,
    pushed: u64,
    sealed: bool,
}

impl<T> Stack<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Inner {
            items: Vec::new(),
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
        inner.items.push((key, make(source)));
        Ok(key)
    }

    /// The latest item; seals the stack if there is none.
    pub(crate) fn pop_or_seal(&self) -> Option<T> {
        let mut inner = lock(&self.0);
        let popped = inner.items.pop();
        inner.sealed |= popped.is_none();
        popped.map(|(_, item)| item)
    }

    /// Seals the stack and returns what is left, latest first.
    pub(crate) fn seal(&self) -> Vec<T> {
        let mut inner = lock(&self.0);
        inner.sealed = true;
        let items = std::mem::take(&mut inner.items);
        drop(inner);
        items.into_iter().rev().map(|(_, item)| item).collect()
    }

    /// Takes one item out by its key.
    pub(crate) fn take(&self, key: u64) -> Option<T> {
        let mut inner = lock(&self.0);
        let at = inner.items.iter().rposition(|(other, _)| *other == key)?;
        Some(inner.items.remove(at).1)
    }
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}
