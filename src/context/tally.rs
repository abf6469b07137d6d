//! What became of the tasks of a context and of its descendants. Own tasks that finished are not counted
//! here: the gate does, in the step in which they leave.

use crate::{
    sync::{AtomicU64, Ordering::Relaxed},
    table::record::Outcome,
};

/// Counters that only grow. Exact once the context is closed.
#[derive(Debug)]
pub(crate) struct Tally {
    finished: AtomicU64,
    cancelled: AtomicU64,
    aborted: AtomicU64,
    panicked: AtomicU64,
    refused: AtomicU64,
    children: AtomicU64,
}

/// A tally read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Counts {
    pub(crate) finished: u64,
    pub(crate) cancelled: u64,
    pub(crate) aborted: u64,
    pub(crate) panicked: u64,
    pub(crate) refused: u64,
    pub(crate) children: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            finished: zero(),
            cancelled: zero(),
            aborted: zero(),
            panicked: zero(),
            refused: zero(),
            children: zero(),
        }
    }

    #[inline]
    pub(crate) fn task(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Finished => &self.finished,
            Outcome::Cancelled => &self.cancelled,
            Outcome::Aborted => &self.aborted,
            Outcome::Panicked => &self.panicked,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Adds a closed child and everything that it counted.
    pub(crate) fn child(&self, counts: Counts) {
        self.finished.fetch_add(counts.finished, Relaxed);
        self.cancelled.fetch_add(counts.cancelled, Relaxed);
        self.aborted.fetch_add(counts.aborted, Relaxed);
        self.panicked.fetch_add(counts.panicked, Relaxed);
        self.refused.fetch_add(counts.refused, Relaxed);
        self.children.fetch_add(counts.children + 1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            finished: self.finished.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            refused: self.refused.load(Relaxed),
            children: self.children.load(Relaxed),
        }
    }
}
