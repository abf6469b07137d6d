//! Futures that are counted here and run elsewhere.

use crate::{
    context::{handle::Context, refusal},
    error::{RefusedError, TaskError},
    name, panics,
    table::record::Outcome,
    task::{admit::Origin, builder::TaskBuilder, guard::TaskGuard},
};
use std::{
    fmt,
    panic::{Location, resume_unwind},
    pin::Pin,
    task::{self, Poll},
};

impl Context {
    /// Counts a future that somebody else polls: another executor, a `select!`, a library that spawns
    /// for itself. It is listed from here on, with the kind `wrapped`, and a close awaits its end.
    ///
    /// The future's output comes as `Ok`. A panic passes through to whoever polls, and is counted. When
    /// the grace period of a close is over the future is dropped at its next poll, and the output is
    /// [`TaskError::Aborted`]; on a context that is closing or closed it is dropped at once, unpolled,
    /// and the output is [`TaskError::Refused`].
    ///
    /// A wrapped future that nobody polls and nobody drops keeps the close waiting.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let elsewhere = tokio::spawn(ctx.wrap(async { 42 }));
    /// assert_eq!(ctx.live().await.tasks().len(), 1);
    /// assert_eq!(elsewhere.await.unwrap().unwrap(), 42);
    /// assert_eq!(ctx.close().await.finished(), 1);
    /// # }
    /// ```
    #[track_caller]
    pub fn wrap<F: Future>(&self, future: F) -> Wrapped<F> {
        TaskBuilder::new(self.core(), None).wrap(future)
    }

    /// Counts a future that somebody else polls, or hands it back. See [`wrap`](Self::wrap).
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap<F: Future>(&self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        TaskBuilder::new(self.core(), None).try_wrap(future)
    }
}

impl TaskBuilder<'_> {
    /// Counts a future that somebody else polls. See [`Context::wrap`].
    #[track_caller]
    pub fn wrap<F: Future>(self, future: F) -> Wrapped<F> {
        let core = self.core();
        match self.try_wrap(future) {
            Ok(wrapped) => wrapped,
            Err(refused) => {
                let (name, line) = (name::of_type::<F>(), Location::caller());
                refusal::note(core, "a wrap", name, line);
                panics::discard(refused);
                Wrapped {
                    future: None,
                    guard: None,
                }
            }
        }
    }

    /// Counts a future that somebody else polls, or hands it back. See [`Context::wrap`].
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap<F: Future>(self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        let (mut options, origin) = (self.into_options(), Origin::of::<F>("wrapped"));
        let reason = match options.admit_anywhere(origin) {
            Ok(mut admitted) => {
                return Ok(Wrapped {
                    future: Some(future),
                    guard: Some(admitted.insert_wrapped()),
                });
            }
            Err(reason) => reason,
        };
        Err(options.reject(origin, reason).refused(future))
    }
}

pin_project_lite::pin_project! {
    /// A future counted by a context and polled by somebody else. Made by [`Context::wrap`].
    ///
    /// Dropping it drops the future and counts it as aborted.
    #[must_use = "a wrapped future does nothing unless polled, and keeps its context from closing"]
    pub struct Wrapped<F> {
        #[pin]
        future: Option<F>,
        // `None` once the future has ended, or when it was refused.
        guard: Option<TaskGuard>,
    }

    impl<F> PinnedDrop for Wrapped<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Err(payload) = this.end(Outcome::Aborted, None, ()) {
                panics::bury(payload);
            }
        }
    }
}

impl<F> Wrapped<F> {
    /// Drops the future and lets the task leave; only the first time. `panic` is what the future panicked
    /// with, if it did; a panic of its destructor comes back, and then the result is dropped, in the scope of the future
    /// that it comes from.
    fn end<R>(
        self: Pin<&mut Self>,
        outcome: Outcome,
        panic: Option<&Payload>,
        result: R,
    ) -> std::thread::Result<R> {
        let mut this = self.project();
        let Some(mut guard) = this.guard.take() else {
            return Ok(result);
        };
        let ended = guard.enter(|| {
            let dropped = panics::guarded(|| this.future.set(None));
            match dropped {
                Ok(()) => Ok(result),
                Err(payload) => {
                    panics::discard(result);
                    Err(payload)
                }
            }
        });
        let panic = panic.or(ended.as_ref().err());
        if let Some(payload) = panic {
            // Whoever polls gets it as well.
            drop(guard.note_panic(&panics::message(&**payload)));
        }
        let outcome = panic.map_or(outcome, |_| Outcome::Panicked);
        guard.leave(outcome, |_| {});
        ended
    }
}

type Payload = Box<dyn std::any::Any + Send>;

impl<F: Future> Future for Wrapped<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let (Some(future), Some(guard)) = (this.future.as_pin_mut(), this.guard) else {
            return Poll::Ready(Err(TaskError::Refused));
        };
        // An abort ends it only where it waits: it may be ready, and who polls it wants the output.
        let polled = guard.poll(cx, |cx| guard.enter(|| panics::guarded(|| future.poll(cx))));
        if matches!(polled, Ok(Poll::Pending)) {
            guard.park(cx);
        }
        let (outcome, result) = match polled {
            Ok(Poll::Ready(output)) => (Outcome::Finished, Ok(output)),
            Ok(Poll::Pending) if !guard.is_aborting() => return Poll::Pending,
            Ok(Poll::Pending) => (Outcome::Aborted, Err(TaskError::Aborted)),
            Err(payload) => {
                if let Err(second) = self.end(Outcome::Panicked, Some(&payload), ()) {
                    panics::bury(second);
                }
                resume_unwind(payload)
            }
        };
        match self.end(outcome, None, result) {
            Ok(result) => Poll::Ready(result),
            Err(payload) => resume_unwind(payload),
        }
    }
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("has_ended", &self.guard.is_none())
            .finish_non_exhaustive()
    }
}
