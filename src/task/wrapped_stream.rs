//! [`WrappedStream`]: a stream that is counted here and polled elsewhere.

use crate::{
    error::TaskError,
    panics,
    poll::scope::Memory,
    table::record::Outcome,
    task::{spawn::Counted, wrapped::Wrapped},
};
use futures::Stream;
use std::{
    fmt,
    panic::resume_unwind,
    pin::Pin,
    task::{Context, Poll},
};

pin_project_lite::pin_project! {
    /// A stream counted by a context and polled elsewhere. Made by [`Context::wrap_stream`](crate::Context::wrap_stream).
    ///
    /// Its items are `Ok`. If it is aborted, or was refused, the last item is the error that says so: a stream that was cut off
    /// does not look like one that came to its end. Code that does not need to know takes
    /// `stream.map_while(Result::ok)`.
    ///
    /// Dropping it drops the stream and counts it as aborted.
    #[must_use = "a wrapped stream does nothing unless polled, and keeps its context from closing"]
    pub struct WrappedStream<S> {
        #[pin]
        wrapped: Wrapped<S>,
        // Whether it is still to say that it was refused.
        is_refused: bool,
    }
}

impl<S> WrappedStream<S> {
    pub(crate) fn new(stream: S, counted: Counted) -> Self {
        Self {
            wrapped: Wrapped::new(stream, counted),
            is_refused: false,
        }
    }

    pub(crate) fn refused() -> Self {
        Self {
            wrapped: Wrapped::refused(),
            is_refused: true,
        }
    }
}

#[cfg(feature = "tower")]
impl<S> WrappedStream<S> {
    /// A stream that is counted already.
    pub(crate) fn counted(wrapped: Wrapped<S>) -> Self {
        Self {
            wrapped,
            is_refused: false,
        }
    }

    /// The stream, until it has ended.
    pub(crate) fn stream(&self) -> Option<&S> {
        self.wrapped.future()
    }

    /// Drops the stream, which has come to its end although it has not said so.
    pub(crate) fn finish(self: Pin<&mut Self>) {
        if let Err(payload) = self.project().wrapped.end(Outcome::Finished, None, ()) {
            panics::bury(payload);
        }
    }
}

impl<S: Stream> Stream for WrappedStream<S> {
    type Item = Result<S::Item, TaskError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if std::mem::take(this.is_refused) {
            return Poll::Ready(Some(Err(TaskError::Refused)));
        }
        let inner = this.wrapped.as_mut().project();
        let (Some(stream), Some(guard)) = (inner.future.as_pin_mut(), inner.guard) else {
            return Poll::Ready(None);
        };
        if !guard.may_poll() {
            return Poll::Pending;
        }
        // Asked before each item: a stream that is always ready would not end otherwise.
        let polled = if guard.is_aborting() {
            Ok(Poll::Pending)
        } else {
            guard.poll(cx, Memory::of(&*stream), |cx| {
                panics::guarded(|| stream.poll_next(cx))
            })
        };
        if matches!(polled, Ok(Poll::Pending)) {
            guard.park(cx);
        }
        let (outcome, last) = match polled {
            Ok(Poll::Ready(Some(item))) => return Poll::Ready(Some(Ok(item))),
            Ok(Poll::Ready(None)) => (Outcome::Finished, None),
            Ok(Poll::Pending) if !guard.is_aborting() => return Poll::Pending,
            Ok(Poll::Pending) => (Outcome::Aborted, Some(Err(TaskError::Aborted))),
            Err(payload) => {
                if let Err(second) = this.wrapped.end(Outcome::Panicked, Some(&payload), ()) {
                    panics::bury(second);
                }
                resume_unwind(payload)
            }
        };
        match this.wrapped.end(outcome, None, last) {
            Ok(last) => Poll::Ready(last),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// It may be cut off at any time, with one item more.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = match self.wrapped.future() {
            Some(stream) => stream.size_hint().1.and_then(|most| most.checked_add(1)),
            None => Some(usize::from(self.is_refused)),
        };
        (usize::from(self.is_refused), most)
    }
}

impl<S> fmt::Debug for WrappedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedStream")
            .field("has_ended", &self.wrapped.future().is_none())
            .finish_non_exhaustive()
    }
}
