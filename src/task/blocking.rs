//! A blocking closure, as the runtime's thread pool sees it.

use crate::{
    error::TaskError,
    panics,
    task::{guard::TaskGuard, output::Together, running},
};

/// A closure that runs in its context's scope, and settles everything when it ends, also by being
/// dropped before it started.
pub(crate) struct Job<F, T: Send + 'static> {
    closure: Option<F>,
    outlet: Together<T>,
    guard: TaskGuard,
}

impl<F: FnOnce() -> T, T: Send + 'static> Job<F, T> {
    pub(crate) fn new(closure: F, guard: TaskGuard) -> Self {
        Self {
            closure: Some(closure),
            outlet: Together::new(),
            guard,
        }
    }

    pub(crate) fn run(mut self) {
        if self.guard.start_closure() {
            return;
        }
        if let Some(closure) = self.closure.take() {
            let result = self.guard.enter(|| panics::guarded(closure));
            running::finish(
                &self.outlet,
                &mut self.guard,
                result.map_err(TaskError::panicked),
            );
        }
    }
}

impl<F, T: Send + 'static> Drop for Job<F, T> {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let dropped = self.guard.enter(|| panics::guarded(|| drop(closure)));
            let error = dropped.map_or_else(TaskError::panicked, |()| TaskError::Aborted);
            running::finish(&self.outlet, &mut self.guard, Err(error));
        }
    }
}
