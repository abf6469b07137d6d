//! The lease of a driver: whether a close is driven, and who has to act when its driver is lost.
//!
//! 1. At most one drives: [`take`](Lease::take) succeeds for one until it [gives it back](Lease::give_back).
//! 2. A driver that is lost is noticed by at least one of two: by the one that is trying to place a driver just then,
//!    because [`has_succeeded`](Attempt::has_succeeded) says no, or by the loser itself, because
//!    [`give_back`](Lease::give_back) says that no attempt is under way. Each of the two writes its own word before it reads the
//!    other's, so not both can miss (all accesses are `SeqCst`).

use crate::sync::{AtomicU8, AtomicU32, Ordering::SeqCst};

/// An attempt to place a driver on a runtime, which ends when this is dropped.
pub(crate) struct Attempt<'a>(&'a Lease);

impl Attempt<'_> {
    /// Ends the attempt; false if the close is not driven after all.
    pub(crate) fn has_succeeded(self) -> bool {
        let lease = self.0;
        // Before the check: a driver that is lost from here on notices it by itself.
        drop(self);
        lease.is_taken()
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.attempts.fetch_sub(1, SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Lease {
    /// 1 while a driver has it, and for good once the close has ended.
    taken: AtomicU8,
    /// How many are trying to place a driver just now.
    attempts: AtomicU32,
}

impl Lease {
    pub(crate) fn new() -> Self {
        Self {
            taken: AtomicU8::new(0),
            attempts: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(SeqCst) == 1
    }

    /// Takes it, if no driver has it.
    pub(crate) fn take(&self) -> bool {
        self.taken.compare_exchange(0, 1, SeqCst, SeqCst).is_ok()
    }

    /// Gives it back before the end of the close; true if no attempt will notice.
    pub(crate) fn give_back(&self) -> bool {
        // Written before the other's word is read, as in `has_succeeded`: not both can miss.
        self.taken.store(0, SeqCst);
        self.attempts.load(SeqCst) == 0
    }

    /// Begins an attempt to place a driver: one that is lost from here on leaves it to the caller to notice.
    pub(crate) fn attempt(&self) -> Attempt<'_> {
        self.attempts.fetch_add(1, SeqCst);
        Attempt(self)
    }
}
