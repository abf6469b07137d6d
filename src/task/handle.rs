//! [`Task`]: the handle to a spawned task.

use crate::{
    error::TaskError, id::ResourceId, name::Name, table::record::Record, task::record::Shared,
};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::task::AbortHandle;

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
/// # Panics
///
/// If it is polled again after it gave its result.
pub struct Task<T>(Inner<T>);

enum Inner<T> {
    Accepted { shared: Shared<T>, has_waited: bool },
    Refused { name: Name },
}

/// The id of a task that was refused: it names nothing.
const NOBODY: ResourceId = ResourceId {
    table: u32::MAX,
    index: u32::MAX,
    generation: u32::MAX,
};

impl<T> Task<T> {
    pub(crate) fn accepted(shared: Shared<T>) -> Self {
        Self(Inner::Accepted {
            shared,
            has_waited: false,
        })
    }

    pub(crate) fn refused(name: Name) -> Self {
        Self(Inner::Refused { name })
    }

    pub(crate) fn abort_handle(&self) -> Option<AbortHandle> {
        match &self.0 {
            Inner::Accepted { shared, .. } => shared.record().abort_handle(),
            Inner::Refused { .. } => None,
        }
    }

    /// Asks the runtime to drop the task's future at its next wait. It may still return before that;
    /// a blocking closure that has started runs on. Calling it again does nothing.
    pub fn abort(&self) {
        if let Inner::Accepted { shared, .. } = &self.0 {
            shared.record().end();
        }
    }

    /// The id of the task's entry. A task that was refused has none, and an id that names nothing.
    pub fn id(&self) -> ResourceId {
        match &self.0 {
            Inner::Accepted { shared, .. } => shared.record().meta().id,
            Inner::Refused { .. } => NOBODY,
        }
    }

    /// The name it was given, or the type path of its future.
    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Accepted { shared, .. } => &shared.record().meta().name,
            Inner::Refused { name } => name,
        }
    }

    /// Whether its future is dropped and its result is here (or it was refused).
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Inner::Accepted { shared, .. } => shared.output().is_ready(),
            Inner::Refused { .. } => true,
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Accepted {
                shared, has_waited, ..
            } => {
                *has_waited = true;
                let result = ready!(shared.output().poll(cx));
                Poll::Ready(result.expect("a task was polled again after it gave its result"))
            }
            Inner::Refused { .. } => Poll::Ready(Err(TaskError::Refused)),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Inner::Accepted {
            shared, has_waited, ..
        } = &self.0
        {
            shared.output().abandon(*has_waited);
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
