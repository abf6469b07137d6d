//! [`Wrapped`]: a future that is counted here and polled elsewhere.

use crate::{
    context::failure::FailureKind,
    context::quota::QuotaPermit,
    error::TaskError,
    panics,
    poll::scope::Memory,
    table::record::Outcome,
    task::{guard::TaskGuard, spawn::Counted},
};
use std::{
    fmt,
    panic::resume_unwind,
    pin::Pin,
    task::{self, Poll},
};

pin_project_lite::pin_project! {
    /// A future counted by a context and polled elsewhere. Made by [`Context::wrap`](crate::Context::wrap).
    ///
    /// Dropping it drops the future and counts it as aborted.
    #[must_use = "a wrapped future does nothing unless polled, and keeps its context from closing"]
    pub struct Wrapped<F> {
        #[pin]
        pub(super) future: Option<F>,
        // `None` once the future has ended, or when it was refused.
        pub(super) guard: Option<TaskGuard<'static>>,
        // Given back when the future is dropped.
        quota: Option<QuotaPermit>,
        // Whether a panic is told, because no code of the program that polls it gets it.
        tells_panics: bool,
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
    pub(crate) fn new(future: F, Counted { guard, quota }: Counted) -> Self {
        Self {
            future: Some(future),
            guard: Some(guard),
            quota,
            tells_panics: false,
        }
    }

    pub(crate) fn refused() -> Self {
        Self {
            future: None,
            guard: None,
            quota: None,
            tells_panics: false,
        }
    }

    /// The future, until it has ended.
    pub(super) fn future(&self) -> Option<&F> {
        self.future.as_ref()
    }

    /// Drops the future and lets the task leave; only the first time. `panic` is what the future panicked
    /// with, if it did; a panic of its destructor comes back, and then the result is dropped, in the scope of the future
    /// that it comes from.
    pub(super) fn end<R>(
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
            *this.quota = None;
            match dropped {
                Ok(()) => Ok(result),
                Err(payload) => {
                    panics::discard(result);
                    Err(payload)
                }
            }
        });
        let panic = panic.or(ended.as_ref().err());
        let failed = panic.and_then(|payload| {
            // The code that polls gets it as well. Whether it looks is not known, so it is not seen.
            let said = panics::message(&**payload);
            guard.note_failure(FailureKind::TaskPanicked, said, false)
        });
        let outcome = panic.map_or(outcome, |_| Outcome::Panicked);
        guard.leave(outcome, |_| {});
        // An event comes last: a subscriber may do anything.
        if *this.tells_panics
            && let Some(failed) = &failed
        {
            failed.emit_of_request();
        }
        drop(failed);
        ended
    }
}

type Payload = Box<dyn std::any::Any + Send>;

impl<F: Future> Wrapped<F> {
    /// Polls the future. Its output comes back before the task has left; if it was aborted, or has panicked, the task has.
    fn poll_future(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<F::Output, TaskError>> {
        let this = self.as_mut().project();
        let (Some(future), Some(guard)) = (this.future.as_pin_mut(), this.guard) else {
            return Poll::Ready(Err(TaskError::Refused));
        };
        if !guard.may_poll() {
            return Poll::Pending;
        }
        // An abort ends it only where it waits: it may be ready, and the code that polls it wants the output.
        let polled = guard.poll(cx, Memory::of(&*future), |cx| {
            panics::guarded(|| future.poll(cx))
        });
        if matches!(polled, Ok(Poll::Pending)) {
            guard.park(cx);
        }
        match polled {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) if !guard.is_aborting() => Poll::Pending,
            Ok(Poll::Pending) => {
                Poll::Ready(Err(self.end_or_resume(Outcome::Aborted, TaskError::Aborted)))
            }
            Err(payload) => self.panicked(payload),
        }
    }

    /// As `end`; a panic of the future's destructor goes on.
    fn end_or_resume<R>(self: Pin<&mut Self>, outcome: Outcome, result: R) -> R {
        match self.end(outcome, None, result) {
            Ok(result) => result,
            Err(payload) => resume_unwind(payload),
        }
    }

    fn panicked(self: Pin<&mut Self>, payload: Payload) -> ! {
        if let Err(second) = self.end(Outcome::Panicked, Some(&payload), ()) {
            panics::bury(second);
        }
        resume_unwind(payload)
    }
}

#[cfg(feature = "tower")]
impl<F: Future> Wrapped<F> {
    /// The future stands for something that others hold, and is not asked where it waits.
    pub(crate) fn note_place(self) -> Self {
        if let Some(guard) = &self.guard {
            guard.note_place();
        }
        self
    }

    /// Has the future of a request made in the scope of its task. A panic passes through, and is counted as one of the future.
    pub(crate) fn made_by(make: impl FnOnce() -> F, Counted { guard, quota }: Counted) -> Self {
        let made = guard.enter(|| panics::guarded(make));
        let (future, panic) = match made {
            Ok(future) => (Some(future), None),
            Err(payload) => (None, Some(payload)),
        };
        let wrapped = Self {
            future,
            guard: Some(guard),
            quota,
            tells_panics: true,
        };
        match panic {
            None => wrapped,
            Some(payload) => std::pin::pin!(wrapped).panicked(payload),
        }
    }

    /// As `poll`, but when the future is ready the task does not end: `next` makes of the output what follows in its place, in the
    /// task's scope, and the future is dropped.
    pub(crate) fn poll_then<T, G>(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        next: impl FnOnce(F::Output) -> (T, G),
    ) -> Poll<Result<(T, Wrapped<G>), TaskError>> {
        let output = std::task::ready!(self.as_mut().poll_future(cx))?;
        let mut this = self.as_mut().project();
        let Some(guard) = this.guard.as_ref() else {
            return Poll::Ready(Err(TaskError::Refused));
        };
        let made = guard.enter(|| {
            panics::guarded(|| {
                let made = next(output);
                this.future.set(None);
                made
            })
        });
        match made {
            Ok((value, future)) => {
                let next = Wrapped {
                    future: Some(future),
                    guard: this.guard.take(),
                    quota: this.quota.take(),
                    tells_panics: *this.tells_panics,
                };
                Poll::Ready(Ok((value, next)))
            }
            Err(payload) => self.panicked(payload),
        }
    }
}

impl<F: Future> Future for Wrapped<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let output = std::task::ready!(self.as_mut().poll_future(cx))?;
        Poll::Ready(self.end_or_resume(Outcome::Finished, Ok(output)))
    }
}

impl<F> fmt::Debug for Wrapped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("has_ended", &self.guard.is_none())
            .finish_non_exhaustive()
    }
}
