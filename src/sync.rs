//! The concurrency primitives of the crate, swapped for loom's under `cfg(headcount_loom)`.
//!
//! `arc-swap` has no loom hooks, so a [`Snapshot`] is a mutex round an `Arc` there: loom checks this
//! crate's protocols, not arc-swap's. `std::sync::Arc` stays in both worlds: nothing here relies on
//! its counters for a protocol of its own. loom tries only those orders of two steps that touch the same thing of its own: what is
//! set once, and tokio's `Notify`, have a word for that. A `Weak` has none; a model looks at something else before it upgrades one.

#[cfg(headcount_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(headcount_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use std::sync::{Arc, PoisonError};

/// Locks, and carries on where another thread panicked: no state behind these locks is left half
/// changed by a panic, because no user code runs under them (I9).
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(headcount_loom)]
pub(crate) use loom::cell::UnsafeCell;

/// A cell entered through raw pointers, as loom's is, which checks that nobody else is in it.
#[cfg(not(headcount_loom))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(headcount_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}

/// Stands between a `SeqCst` write and a `SeqCst` read of another place. They are in order by
/// themselves, so nothing has to be done; loom takes `SeqCst` operations for `AcqRel`, and needs it said.
#[inline]
pub(crate) fn order() {
    #[cfg(headcount_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A value that is set once.
#[cfg(not(headcount_loom))]
pub(crate) type SetOnce<T> = std::sync::OnceLock<T>;

/// The lock of the standard library, with a word before it by which loom sees who sets it and who reads it.
#[cfg(headcount_loom)]
#[derive(Debug)]
pub(crate) struct SetOnce<T> {
    is_set: AtomicUsize,
    value: std::sync::OnceLock<T>,
}

#[cfg(headcount_loom)]
impl<T> SetOnce<T> {
    pub(crate) fn new() -> Self {
        Self {
            is_set: AtomicUsize::new(0),
            value: std::sync::OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let is_set = self.is_set.load(Ordering::SeqCst) == 1;
        is_set.then(|| self.value.get()).flatten()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        // loom runs no other thread until the next use of something of its own.
        self.is_set.swap(1, Ordering::SeqCst);
        self.value.set(value)
    }
}

/// tokio's `Notify`, which has no loom hooks.
#[cfg(not(headcount_loom))]
pub(crate) use tokio::sync::Notify;

/// The same with a word before it by which loom sees who notifies and who comes to be notified; each of the two is one step.
#[cfg(headcount_loom)]
#[derive(Debug, Default)]
pub(crate) struct Notify {
    uses: AtomicUsize,
    inner: tokio::sync::Notify,
}

#[cfg(headcount_loom)]
impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.uses.fetch_add(1, Ordering::SeqCst);
        self.inner.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        self.uses.fetch_add(1, Ordering::SeqCst);
        self.inner.notify_waiters();
    }
}

/// A short-lived borrow of a [`Snapshot`]; touches no reference count.
#[cfg(not(headcount_loom))]
pub(crate) type Loaded<T> = arc_swap::Guard<Arc<T>>;
#[cfg(headcount_loom)]
pub(crate) type Loaded<T> = Box<Arc<T>>;

/// An `Arc` that is read wait-free and replaced as a whole.
#[cfg(not(headcount_loom))]
#[derive(Debug)]
pub(crate) struct Snapshot<T>(arc_swap::ArcSwap<T>);

#[cfg(not(headcount_loom))]
impl<T> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    pub(crate) fn load(&self) -> Loaded<T> {
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

    pub(crate) fn load(&self) -> Loaded<T> {
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
