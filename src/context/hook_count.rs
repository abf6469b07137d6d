//! [`HookCount`]: how many hooks a context has, for those that must not touch the hooks themselves.

use crate::sync::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Counts the hooks of a context. It allocates nothing until there is one.
#[derive(Debug, Default)]
pub(crate) struct HookCount(OnceLock<Arc<AtomicUsize>>);

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedHook(Arc<AtomicUsize>);

impl HookCount {
    /// Counts one more.
    pub(crate) fn one(&self) -> CountedHook {
        let count = self.0.get_or_init(Arc::default);
        count.fetch_add(1, Relaxed);
        CountedHook(Arc::clone(count))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.get().map_or(0, |count| count.load(Relaxed))
    }
}

impl Drop for CountedHook {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
