//! A spawned future, as the runtime sees it.

use crate::{
    context::tally::Outcome,
    error::TaskError,
    panics,
    task::{record::Shared, seat::Seat},
};
use futures::FutureExt;
use std::{
    any::Any,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// A task's own future, and how it comes to a result.
pub(crate) type Plain<F> =
    futures::future::Map<F, fn(<F as Future>::Output) -> Ended<<F as Future>::Output>>;

/// What a task came to by itself: its output, or `Cancelled`.
pub(crate) type Ended<T> = Result<T, TaskError>;

pin_project_lite::pin_project! {
    /// A future that runs in its context's scope, and settles everything when it ends: by returning,
    /// by panicking, or by being dropped wherever the runtime drops it.
    pub(crate) struct Running<F, T> {
        #[pin]
        future: Option<F>,
        shared: Shared<T>,
        seat: Seat,
    }

    impl<F, T> PinnedDrop for Running<F, T> {
        fn drop(this: Pin<&mut Self>) {
            this.end(Ok(Err(TaskError::Aborted)));
        }
    }
}

impl<F: Future<Output = T>, T> Running<Plain<F>, T> {
    /// A future that finds out about the close by itself.
    pub(crate) fn plain(future: F, shared: Shared<T>, seat: Seat) -> Self {
        Self::new(future.map(Ok as fn(T) -> Ended<T>), shared, seat)
    }
}

impl<F, T> Running<F, T> {
    pub(crate) fn new(future: F, shared: Shared<T>, seat: Seat) -> Self {
        Self {
            future: Some(future),
            shared,
            seat,
        }
    }

    /// Drops the future, then delivers the result and frees the seat; only the first time.
    fn end(self: Pin<&mut Self>, result: Result<Result<T, TaskError>, Box<dyn Any + Send>>) {
        let mut this = self.project();
        if this.future.is_none() {
            return;
        }
        let dropped = this
            .seat
            .enter(|| panics::guarded(|| this.future.set(None)));
        let result = match (result, dropped) {
            (Ok(result), Ok(())) => result,
            (Err(payload), Ok(())) => Err(TaskError::panicked(payload)),
            // The panic of the future outranks that of its destructor, and both outrank an output.
            (Err(payload), Err(second)) => {
                panics::bury(second);
                Err(TaskError::panicked(payload))
            }
            (Ok(result), Err(payload)) => {
                panics::discard(result);
                Err(TaskError::panicked(payload))
            }
        };
        finish(this.shared, this.seat, result);
    }
}

/// Delivers a result and frees the seat. A result that nobody can claim is dropped while the task is
/// still listed.
pub(crate) fn finish<T>(shared: &Shared<T>, seat: &mut Seat, result: Result<T, TaskError>) {
    let output = shared.output();
    let outcome = outcome(&result);
    let is_claimed = !output.is_abandoned();
    if let Err(TaskError::Panicked(_, message)) = &result {
        seat.say_panicked(message, is_claimed);
    }
    if is_claimed {
        seat.free(outcome, || output.deliver(result));
        return;
    }
    if size_of::<T>() > 0 && result.is_ok() {
        seat.say_late();
    }
    if let Some(panic) = seat.enter(|| panics::discard(result)) {
        seat.say_panicked(&panic, false);
    }
    seat.free(outcome, || {});
}

fn outcome<T>(result: &Result<T, TaskError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Finished,
        Err(TaskError::Cancelled) => Outcome::Cancelled,
        Err(TaskError::Panicked(..)) => Outcome::Panicked,
        Err(_) => Outcome::Aborted,
    }
}

impl<F: Future<Output = Ended<T>>, T> Future for Running<F, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else {
            return Poll::Ready(());
        };
        this.shared.record().start();
        let polled = this.seat.enter(|| panics::guarded(|| future.poll(cx)));
        let result = match polled {
            Ok(poll) => Ok(ready!(poll)),
            Err(payload) => Err(payload),
        };
        self.end(result);
        Poll::Ready(())
    }
}

pin_project_lite::pin_project! {
    /// A future that ends, at its next wait, when its context's token is cancelled.
    pub(crate) struct UntilCancelled<F> {
        #[pin]
        pub(crate) future: F,
        #[pin]
        pub(crate) cancelled: WaitForCancellationFutureOwned,
    }
}

impl<F: Future> Future for UntilCancelled<F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        this.cancelled.poll(cx).map(|()| Err(TaskError::Cancelled))
    }
}
