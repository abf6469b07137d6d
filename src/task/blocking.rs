//! A blocking closure, as the runtime's thread pool sees it.

use crate::{
    error::TaskError,
    panics,
    task::{output::Together, running, seat::Seat},
};

/// A closure that runs in its context's scope, and settles everything when it ends, also by being
/// dropped before it started.
pub(crate) struct Job<F, T: Send + 'static> {
    closure: Option<F>,
    outlet: Together<T>,
    seat: Seat,
}

impl<F: FnOnce() -> T, T: Send + 'static> Job<F, T> {
    pub(crate) fn new(closure: F, seat: Seat) -> Self {
        Self {
            closure: Some(closure),
            outlet: Together::new(),
            seat,
        }
    }

    pub(crate) fn run(mut self) {
        #[cfg(feature = "dump")]
        if self.seat.is_to_end_unstarted() {
            return;
        }
        if let Some(closure) = self.closure.take() {
            self.seat.start();
            let result = self.seat.enter(|| panics::guarded(closure));
            running::finish(
                &self.outlet,
                &mut self.seat,
                result.map_err(TaskError::panicked),
            );
        }
    }
}

impl<F, T: Send + 'static> Drop for Job<F, T> {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let dropped = self.seat.enter(|| panics::guarded(|| drop(closure)));
            let error = dropped.map_or_else(TaskError::panicked, |()| TaskError::Aborted);
            running::finish(&self.outlet, &mut self.seat, Err(error));
        }
    }
}
