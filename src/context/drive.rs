//! Whether somebody drives a close, and who has to act when nobody does any more.
//!
//! 1. At most one drives: [`take`](Drive::take) succeeds for one until it [`lose`](Drive::lose)s.
//! 2. A driver that is lost is noticed by at least one of two: by whoever is searching for a runtime
//!    just now, because [`found`](Search::found) then says no, or by the loser itself, because
//!    [`lose`](Drive::lose) says that nobody is searching. Each of the two writes its own word before
//!    it reads the other's, so not both can miss (all accesses are `SeqCst`).

use crate::sync::{AtomicUsize, Ordering::SeqCst};

/// A search for a runtime, which ends when this is dropped.
pub(crate) struct Search<'a>(&'a Drive);

impl Search<'_> {
    /// Ends the search; false if nobody drives after all.
    pub(crate) fn found(self) -> bool {
        let drive = self.0;
        // Before the look: whoever loses the wheel from here on notices it.
        drop(self);
        drive.is_driven()
    }
}

impl Drop for Search<'_> {
    fn drop(&mut self) {
        self.0.searching.fetch_sub(1, SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Drive {
    /// 1 while somebody drives, and for good once the close has ended.
    driven: AtomicUsize,
    /// How many are searching for a runtime to drive it on.
    searching: AtomicUsize,
    /// In a registry's own: 1 once a close somewhere in it found no runtime.
    needs_runtime: AtomicUsize,
}

impl Drive {
    pub(crate) fn new() -> Self {
        let zero = || AtomicUsize::new(0);
        Self {
            driven: zero(),
            searching: zero(),
            needs_runtime: zero(),
        }
    }

    pub(crate) fn is_driven(&self) -> bool {
        self.driven.load(SeqCst) == 1
    }

    /// Takes the wheel, if nobody has it.
    pub(crate) fn take(&self) -> bool {
        self.driven.compare_exchange(0, 1, SeqCst, SeqCst).is_ok()
    }

    /// Lets go of the wheel before the end; true if nobody else will notice.
    pub(crate) fn lose(&self) -> bool {
        self.driven.store(0, SeqCst);
        self.searching.load(SeqCst) == 0
    }

    /// Begins to search for a runtime: whoever loses the wheel from here on leaves it to us.
    pub(crate) fn search(&self) -> Search<'_> {
        self.searching.fetch_add(1, SeqCst);
        Search(self)
    }

    /// Notes that a close found no runtime. It stays noted: from here on those who await closes look
    /// for such ones below them.
    pub(crate) fn note_needs_runtime(&self) {
        self.needs_runtime.store(1, SeqCst);
    }

    pub(crate) fn needs_runtime(&self) -> bool {
        self.needs_runtime.load(SeqCst) == 1
    }
}
