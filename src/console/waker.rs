//! [`TracedWaker`]: a task's waker that tells tokio-console when it wakes.

use crate::panics::contain;
use futures::task::ArcWake;
use std::{sync::Arc, task::Waker};
use tracing::{Dispatch, Level, Span, dispatcher, dispatcher::WeakDispatch};

/// The waker of the runtime, with the span of the task that it wakes.
///
/// It may be kept for longer than the task lives, so it keeps neither the span open nor the subscriber alive.
pub(super) struct TracedWaker {
    original: Waker,
    span: Option<(u64, WeakDispatch)>,
}

impl TracedWaker {
    /// Says that there is a waker of the task from now on: its context keeps one to end it by. Without any, tokio-console would
    /// warn that nothing can wake the task.
    pub(super) fn new(span: &Span, original: Waker) -> Self {
        let span = span.with_subscriber(|(id, subscriber)| (id.into_u64(), subscriber.downgrade()));
        let traced = Self { original, span };
        traced.tell("waker.clone");
        traced
    }

    pub(super) fn wakes_as(&self, waker: &Waker) -> bool {
        self.original.will_wake(waker)
    }

    /// Tells the subscriber that has the span, which another thread may have set.
    fn tell(&self, op: &'static str) {
        let Some((id, subscriber)) = &self.span else {
            return;
        };
        let tell = |subscriber: &Dispatch| {
            dispatcher::with_default(subscriber, || {
                tracing::event!(target: "tokio::task::waker", Level::TRACE, op, task.id = id);
            });
        };
        contain(|| {
            if let Some(subscriber) = subscriber.upgrade() {
                tell(&subscriber);
            }
        });
    }
}

impl ArcWake for TracedWaker {
    /// Tells first: what is woken may be polled before this returns.
    fn wake_by_ref(this: &Arc<Self>) {
        this.tell("waker.wake_by_ref");
        this.original.wake_by_ref();
    }
}
