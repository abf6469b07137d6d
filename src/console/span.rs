//! [`TaskSpan`]: the span of a task, as tokio-console reads it.

use crate::{
    console::waker::TracedWaker,
    event,
    name::Printed,
    panics::{bury, contain, guarded},
    table::{
        record::Record as _,
        task_entry::{Role, TaskEntry, TaskKind},
    },
};
use futures::task::waker_ref;
use std::{
    sync::{Arc, OnceLock},
    task::{Context, Waker},
};
use tracing::{Level, Span, trace_span};

/// The span of a task, if a subscriber wants it. It is closed when this is dropped.
pub(crate) struct TaskSpan(Option<Box<Open>>);

struct Open {
    span: Span,
    /// Of a future that a runtime polls, which has one waker all its life: noted at the first poll.
    waker: OnceLock<Arc<TracedWaker>>,
    /// A wrapped future is polled with the wakers of others, which may be capturing ones: those are passed on as they are.
    is_polled_elsewhere: bool,
}

impl TaskSpan {
    /// That of a task which is not listed yet.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Opens the span of a task that is listed.
    #[inline(always)]
    pub(crate) fn open(task: &TaskEntry) -> Self {
        if event::is_heard(Level::TRACE) {
            Self::open_if_wanted(task)
        } else {
            Self(None)
        }
    }

    #[cold]
    fn open_if_wanted(task: &TaskEntry) -> Self {
        let kind = match task.role() {
            Role::Task(kind) => kind,
            Role::Registration { .. } => return Self(None),
        };
        #[cfg(feature = "supervision")]
        if kind == TaskKind::BackOff {
            return Self(None);
        }
        let span = guarded(|| span_of(task)).unwrap_or_else(|payload| {
            bury(payload);
            Span::none()
        });
        if span.is_disabled() {
            return Self(None);
        }
        // It is a root: a task may live longer than what spawned it.
        contain(|| {
            span.follows_from(Span::current());
        });
        Self(Some(Box::new(Open {
            span,
            waker: OnceLock::new(),
            is_polled_elsewhere: kind == TaskKind::Wrapped,
        })))
    }

    /// Runs a poll of the task in its span, with a waker that tells of wakes.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        match &self.0 {
            None => poll(cx),
            Some(open) => open.poll(cx, poll),
        }
    }

    /// Runs the closure of the task in its span.
    #[inline]
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        let _entered = self.0.as_ref().map(|open| Entered::new(&open.span));
        body()
    }
}

impl Drop for TaskSpan {
    #[inline]
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            contain(|| drop(open));
        }
    }
}

impl Open {
    #[inline(never)]
    fn poll<R>(&self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let _entered = Entered::new(&self.span);
        let traced = self.traced(cx.waker());
        if self.is_polled_elsewhere || !traced.wakes_as(cx.waker()) {
            return poll(cx);
        }
        let waker = waker_ref(traced);
        poll(&mut Context::from_waker(&waker))
    }

    fn traced(&self, waker: &Waker) -> &Arc<TracedWaker> {
        // Of a wrapped future it only says that there is a waker.
        let original = || {
            let waker = if self.is_polled_elsewhere {
                Waker::noop()
            } else {
                waker
            };
            waker.clone()
        };
        self.waker
            .get_or_init(|| Arc::new(TracedWaker::new(&self.span, original())))
    }
}

/// A span that the thread is in. Without `Span::enter`, whose panics would meet those of the task.
struct Entered<'a>(&'a Span);

impl<'a> Entered<'a> {
    fn new(span: &'a Span) -> Self {
        contain(|| {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        });
        Self(span)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        contain(|| {
            self.0
                .with_subscriber(|(id, subscriber)| subscriber.exit(id));
        });
    }
}

/// The fields are those that tokio gives its own spans, and two more.
fn span_of(task: &TaskEntry) -> Span {
    let meta = task.meta();
    let context = task.owner().map(|context| &context.meta().name);
    trace_span!(
        target: "tokio::task",
        parent: None,
        "runtime.spawn",
        kind = %Printed(&meta.kind),
        task.name = %Printed(&meta.name),
        task.context = context.map(|name| tracing::field::display(Printed(name))),
        headcount.id = %meta.id,
        loc.file = meta.location.file(),
        loc.line = meta.location.line(),
        loc.col = meta.location.column(),
    )
}
