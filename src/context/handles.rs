//! [`Handles`]: how many strong handles a context has.

use crate::sync::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
};

/// Counts the strong handles of a context.
///
/// Not the count of an `Arc`, because the close needs the context's core after the last handle is gone (I11), and must not make
/// `upgrade` work again by holding it.
#[derive(Debug)]
pub(crate) struct Handles(AtomicUsize);

impl Handles {
    /// One handle.
    pub(crate) fn one() -> Self {
        Self(AtomicUsize::new(1))
    }

    /// No handle, for good.
    pub(crate) fn none() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// One more, from one that exists.
    pub(crate) fn add(&self) {
        // Relaxed as in `Arc`: the handle that it is made from keeps the count above zero, and nothing is read because of it.
        self.0.fetch_add(1, Relaxed);
    }

    /// One more, unless the last one is gone: once none, none for ever.
    pub(crate) fn try_add(&self) -> bool {
        // Not add and look: a count that rises from zero for a moment would be seen as a handle by those who ask whether the close
        // can still be brought a runtime.
        let more = |handles: usize| (handles > 0).then(|| handles + 1);
        self.0.fetch_update(AcqRel, Acquire, more).is_ok()
    }

    /// One less; true for the last one.
    pub(crate) fn remove(&self) -> bool {
        self.0.fetch_sub(1, SeqCst) == 1
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}
