//! A blocking closure, as the runtime's thread pool sees it.

use crate::{
    error::TaskError,
    panics,
    task::{record::Shared, running, seat::Seat},
};

/// A closure that runs in its context's scope, and settles everything when it ends, also by being
/// dropped before it started.
pub(crate) struct Job<F, T> {
    closure: Option<F>,
    shared: Shared<T>,
    seat: Seat,
}

impl<F: FnOnce() -> T, T> Job<F, T> {
    pub(crate) fn new(closure: F, shared: Shared<T>, seat: Seat) -> Self {
        Self {
            closure: Some(closure),
            shared,
            seat,
        }
    }

    pub(crate) fn run(mut self) {
        if let Some(closure) = self.closure.take() {
            self.shared.record().start();
            let result = self.seat.enter(|| panics::guarded(closure));
            running::finish(
                &self.shared,
                &mut self.seat,
                result.map_err(TaskError::panicked),
            );
        }
    }
}

impl<F, T> Drop for Job<F, T> {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let dropped = self.seat.enter(|| panics::guarded(|| drop(closure)));
            let error = dropped.map_or_else(TaskError::panicked, |()| TaskError::Aborted);
            running::finish(&self.shared, &mut self.seat, Err(error));
        }
    }
}
