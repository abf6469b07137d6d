//! The concurrency primitives of the crate, swapped for loom's under `cfg(headcount_loom)`.
//!
//! `arc-swap` has no loom hooks, so a [`Snapshot`] is a mutex round an `Arc` there: loom checks this
//! crate's protocols, not arc-swap's. `std::sync::Arc` stays in both worlds: nothing here relies on
//! its counters for a protocol of its own.

#[cfg(headcount_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(headcount_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use std::sync::{Arc, PoisonError};

/// Locks, and carries on where another thread panicked: no state behind these locks is left half
/// changed by a panic, because no user code runs under them (I9).
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place for one value whose exclusive and shared phases are decided by a state word elsewhere.
///
/// It is only ever entered by `try_` operations, so nobody waits here; that they succeed is the
/// promise of the state word, checked by the loom models of the slot table.
#[derive(Debug)]
pub(crate) struct TryCell<T>(RwLock<Option<T>>);

impl<T> TryCell<T> {
    pub(crate) fn empty() -> Self {
        Self(RwLock::new(None))
    }

    /// Fills the cell. The caller has it for itself.
    pub(crate) fn put(&self, value: T) {
        match self.0.try_write() {
            Ok(mut place) => *place = Some(value),
            Err(_) => unreachable!("a slot was entered while its owner filled it"),
        }
    }

    /// Empties the cell. The caller has it for itself.
    pub(crate) fn take(&self) -> Option<T> {
        match self.0.try_write() {
            Ok(mut place) => place.take(),
            Err(_) => unreachable!("a slot was entered while its owner emptied it"),
        }
    }

    /// Reads the cell. The caller is counted as a reader by the state word.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        match self.0.try_read() {
            Ok(place) => place.as_ref().map(read),
            Err(_) => unreachable!("a slot was filled or emptied while it was read"),
        }
    }
}

/// An `Arc` that is read wait-free and replaced as a whole.
#[cfg(not(headcount_loom))]
#[derive(Debug)]
pub(crate) struct Snapshot<T>(arc_swap::ArcSwap<T>);

#[cfg(not(headcount_loom))]
impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    /// A short-lived borrow: 12 ns, no reference count touched.
    pub(crate) fn load(&self) -> impl std::ops::Deref<Target = Arc<T>> + use<T> {
        self.0.load()
    }

    /// Replaces the value by what `next` makes of it; retried when another writer was faster.
    /// `next` returns `None` to leave the value alone. Says whether it was replaced.
    pub(crate) fn update(&self, mut next: impl FnMut(&T) -> Option<T>) -> bool {
        let mut seen = self.0.load_full();
        loop {
            let Some(replacement) = next(&seen) else {
                return false;
            };
            let previous = self.0.compare_and_swap(&seen, Arc::new(replacement));
            if Arc::ptr_eq(&previous, &seen) {
                return true;
            }
            seen = Arc::clone(&previous);
        }
    }
}

#[cfg(headcount_loom)]
#[derive(Debug)]
pub(crate) struct Snapshot<T>(Mutex<Arc<T>>);

#[cfg(headcount_loom)]
impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(crate) fn load(&self) -> impl std::ops::Deref<Target = Arc<T>> + use<T> {
        Box::new(Arc::clone(&lock(&self.0)))
    }

    pub(crate) fn update(&self, mut next: impl FnMut(&T) -> Option<T>) -> bool {
        let mut current = lock(&self.0);
        match next(&current) {
            Some(replacement) => {
                *current = Arc::new(replacement);
                true
            }
            None => false,
        }
    }
}
