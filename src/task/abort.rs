//! [`AbortHandle`]: a handle that ends a task, and does not claim its output.

use crate::{id::ResourceId, table::store::TableRef};
use std::{fmt, sync::Arc};

/// Aborts a task, and does nothing else. Made by [`Task::abort_handle`](crate::Task::abort_handle).
///
/// It claims no output and keeps none alive, nor the task's future or its context. Like a
/// [`Registration`](crate::Registration) it may keep the memory of its registry's list.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::TaskError;
/// let ctx = headcount::Registry::new().context("ctx");
/// let task = ctx.spawn(std::future::pending::<()>());
/// let handle = task.abort_handle();
/// assert!(!handle.is_finished());
/// handle.abort();
/// assert!(matches!(task.await, Err(TaskError::Aborted)));
/// assert!(handle.is_finished());
/// # }
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    /// `None` of a task that was refused.
    task: Option<(ResourceId, Arc<TableRef>)>,
}

impl AbortHandle {
    pub(crate) fn new(task: Option<(ResourceId, Arc<TableRef>)>) -> Self {
        Self { task }
    }

    /// As [`Task::abort`](crate::Task::abort). Does nothing if the task has ended.
    pub fn abort(&self) {
        if let Some((id, table)) = &self.task {
            table.abort(*id);
        }
    }

    /// As [`Task::id`](crate::Task::id).
    pub fn id(&self) -> ResourceId {
        let task = self.task.as_ref();
        task.map_or(ResourceId::REFUSED, |(id, _)| *id)
    }

    /// Whether the task's future is dropped and it is not listed any more (or it was refused). Its result may need another
    /// moment to reach the [`Task`](crate::Task).
    pub fn is_finished(&self) -> bool {
        let task = self.task.as_ref();
        task.is_none_or(|(id, table)| table.state_of(*id).is_none())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
