//! [`TrackedGuard`]: a lock or a permit that is held, and recorded as long as it is.

use crate::ledger::lock_log::{LockLog, Number, Part};
use std::{
    fmt,
    ops::{Deref, DerefMut},
};
use tokio::sync::SemaphorePermit;

/// A guard or a permit of a [tracked](crate::Tracked) lock or semaphore, which is listed as held until this is dropped.
///
/// It is used as tokio's guard is. [`into_inner`](Self::into_inner) returns that.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Level, Registry};
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let rows = registry.own("rows", "mutex", tokio::sync::Mutex::new(vec![1]));
/// let mut guard = rows.lock().await;
/// guard.push(2); // as with tokio's guard
/// assert_eq!(rows.lock_holders().len(), 1);
///
/// drop(guard);
/// assert!(rows.lock_holders().is_empty());
/// # }
/// ```
#[must_use = "the lock is given back when this is dropped"]
pub struct TrackedGuard<'a, G> {
    // Given back first: it is listed for a moment longer than it is held, and never shorter.
    guard: G,
    record: LockRecord<'a>,
}

impl<'a, G> TrackedGuard<'a, G> {
    pub(crate) fn new(guard: G, record: LockRecord<'a>) -> Self {
        Self { guard, record }
    }

    /// Returns tokio's guard. It is still held, and not listed any more.
    pub fn into_inner(self) -> G {
        drop(self.record);
        self.guard
    }
}

impl TrackedGuard<'_, SemaphorePermit<'_>> {
    /// How many permits of the semaphore it is.
    pub fn num_permits(&self) -> usize {
        self.guard.num_permits()
    }

    /// Takes the permits from the semaphore for good, as [`SemaphorePermit::forget`] does.
    pub fn forget(self) {
        self.into_inner().forget();
    }
}

impl<G: Deref> Deref for TrackedGuard<'_, G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for TrackedGuard<'_, G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// Does not print the value.
impl<G> fmt::Debug for TrackedGuard<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedGuard").finish_non_exhaustive()
    }
}

/// The record of something that is held or asked for, as long as it is.
pub(crate) struct LockRecord<'a> {
    pub(crate) log: &'a LockLog,
    pub(crate) part: Part,
    pub(crate) number: Number,
}

impl Drop for LockRecord<'_> {
    fn drop(&mut self) {
        self.log.remove(self.part, self.number);
    }
}
