//! [`Task`]: the handle to a spawned task.

use crate::{
    error::TaskError,
    id::ResourceId,
    name::Label,
    poll::waiting::{For, waiting},
    table::{
        record::{Meta, Record},
        task_entry::{TaskHandle, TaskHold as _},
    },
    task::output::{Output, Whereabouts},
};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::task::coop::poll_proceed;

/// A handle to a task: await it for the output, or drop it and let the task run on.
///
/// Dropping the handle detaches it; the task stays with its context, and its output is dropped when
/// it ends (I6).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, TaskError};
/// let ctx = Registry::new().context("ctx");
///
/// let task = ctx.spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
///
/// let task = ctx.spawn(std::future::pending::<()>());
/// task.abort();
/// assert!(matches!(task.await, Err(TaskError::Aborted)));
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut task` and dropping that future loses nothing.
///
/// It takes part in tokio's cooperative budget: whoever awaits many finished tasks in a row yields now and then.
///
/// # Panics
///
/// If it is polled again after it gave its result.
pub struct Task<T>(Inner<T>);

enum Inner<T> {
    Accepted {
        /// `None` once it is let go.
        held: Option<TaskHandle>,
        output: Whereabouts<T>,
        has_waited: bool,
    },
    Refused {
        name: Label,
    },
}

impl<T> Task<T> {
    #[inline(always)]
    pub(crate) fn accepted(held: TaskHandle, output: Whereabouts<T>) -> Self {
        Self(Inner::Accepted {
            held: Some(held),
            output,
            has_waited: false,
        })
    }

    pub(crate) fn refused(name: Label) -> Self {
        Self(Inner::Refused { name })
    }

    fn held(&self) -> Option<&TaskHandle> {
        match &self.0 {
            Inner::Accepted { held, .. } => held.as_ref(),
            Inner::Refused { .. } => None,
        }
    }

    #[cfg(feature = "dump")]
    pub(crate) fn entry(&self) -> Option<&crate::table::task_entry::TaskEntry> {
        self.held().map(|held| &**held)
    }

    fn meta(&self) -> Option<&Meta> {
        self.held().map(|held| held.meta())
    }

    /// Asks the runtime to drop the task's future at its next wait. It may still return before that;
    /// a blocking closure that has started runs on. Calling it again does nothing.
    pub fn abort(&self) {
        if let Some(held) = self.held() {
            held.request_abort();
        }
    }

    /// The id of the task's entry. That of a task that was refused names nothing, and prints as `#refused`.
    pub fn id(&self) -> ResourceId {
        self.meta().map_or(ResourceId::REFUSED, |meta| meta.id)
    }

    /// The name it was given, or the type path of its future.
    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Refused { name } => name,
            Inner::Accepted { .. } => self.meta().map_or("", |meta| &meta.name),
        }
    }

    /// Whether its future is dropped and its result is here (or it was refused).
    pub fn is_finished(&self) -> bool {
        self.held().is_none_or(TaskHandle::is_ready)
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (held, output) = match &mut self.0 {
            Inner::Accepted {
                held,
                output,
                has_waited,
            } => {
                *has_waited = true;
                let held = held.as_ref();
                (
                    held.expect("a handle holds its task until it is dropped"),
                    output,
                )
            }
            Inner::Refused { .. } => {
                ready!(poll_proceed(cx)).made_progress();
                return Poll::Ready(Err(TaskError::Refused));
            }
        };
        let is_ready = held.is_ready();
        if is_ready {
            // Whoever awaits one finished task after the other lets others run now and then.
            ready!(poll_proceed(cx)).made_progress();
        }
        let result = ready!(waiting(cx, For::Task(&**held), |cx| {
            output.find(held).poll(is_ready, cx)
        }));
        Poll::Ready(result.expect("a task was polled again after it gave its result"))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Inner::Accepted {
            held,
            output,
            has_waited,
        } = &mut self.0
        {
            if let Some(held) = held.take() {
                Output::abandon(held, output, *has_waited);
            }
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
