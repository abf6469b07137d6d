//! Remembers over all interleavings of a model which outcomes occurred.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Mutex},
};

/// The outcomes seen so far. Not a loom type: it outlives each interleaving.
pub(super) struct Outcomes<T>(Arc<Mutex<BTreeSet<T>>>);

impl<T> Clone for Outcomes<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Ord + Debug> Outcomes<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn saw(&self, outcome: T) {
        self.0.lock().unwrap().insert(outcome);
    }

    pub(super) fn has(&self, outcome: &T) -> bool {
        self.0.lock().unwrap().contains(outcome)
    }

    /// Exactly these occurred, no fewer and no others.
    #[track_caller]
    pub(super) fn assert_all<const N: usize>(&self, all: [T; N]) {
        assert_eq!(*self.0.lock().unwrap(), BTreeSet::from(all));
    }
}

/// A model with so many preemptions at most: enough to break what it checks, and few enough to be done.
pub(super) fn bounded(preemptions: usize) -> loom::model::Builder {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model
}

/// The same of models with whole contexts, which take many steps to open and to close.
pub(super) fn bounded_long(preemptions: usize) -> loom::model::Builder {
    let mut model = bounded(preemptions);
    model.max_branches = 20_000;
    model
}
