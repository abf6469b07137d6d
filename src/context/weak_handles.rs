//! [`WeakHandles`]: how many weak handles a context has, also when it is not listed any more.

use crate::{
    ledger::tracking::OutlivedContexts,
    sync::{
        AtomicU8, AtomicU32,
        Ordering::{Relaxed, SeqCst},
    },
};
use std::panic::Location;

/// Counts the weak handles of a context. Those that are left when it leaves the list keep the memory of what is known of it, so
/// such a context is counted by the line that opened it until the last of them is gone.
#[derive(Debug, Default)]
pub(crate) struct WeakHandles {
    /// If four billion of them are forgotten, it begins again: it is only reported.
    count: AtomicU32,
    /// 1 while the context is counted as one that is not listed.
    is_outlived: AtomicU8,
}

impl WeakHandles {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed) as usize
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    pub(crate) fn remove(&self, outlived: &OutlivedContexts, line: &'static Location<'static>) {
        if self.count.fetch_sub(1, SeqCst) == 1 {
            self.forget(outlived, line);
        }
    }

    /// The context has left the list.
    pub(crate) fn outlive(&self, outlived: &OutlivedContexts, line: &'static Location<'static>) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        outlived.add(line);
        self.is_outlived.store(1, SeqCst);
        // Either we see that the last one has gone meanwhile, or it sees that we have counted.
        if self.count.load(SeqCst) == 0 {
            self.forget(outlived, line);
        }
    }

    fn forget(&self, outlived: &OutlivedContexts, line: &'static Location<'static>) {
        if self.is_outlived.load(SeqCst) == 1 && self.is_outlived.swap(0, SeqCst) == 1 {
            outlived.remove(line);
        }
    }
}
