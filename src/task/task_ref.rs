//! [`TaskRef`]: what a task knows of itself.

use crate::{
    id::ResourceId,
    name::{Label, Printed},
    poll::scope::{self, Owner},
    table::record::Record,
};
use std::{fmt, panic::Location};

/// Id and name of a task, as it is listed. Made by [`Context::current_task`](crate::Context::current_task).
///
/// It is a copy: it keeps nothing of the task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Context, Registry};
/// let ctx = Registry::new().context("ctx");
/// let poller = ctx.task("poller").spawn(async { Context::current_task().unwrap() });
/// let id = poller.id();
/// let task = poller.await.unwrap(); // a copy, which outlives the task
/// assert_eq!((task.name(), task.id()), ("poller", id));
/// assert_eq!(task.location().file(), file!());
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRef {
    id: ResourceId,
    name: Label,
    kind: Label,
    location: &'static Location<'static>,
}

impl TaskRef {
    /// The task that runs this code, if one does. A hook that is polled by a task is not its code.
    pub(crate) fn current() -> Option<Self> {
        let task = scope::find(|owner| match owner {
            Owner::Registry(_) => None,
            Owner::Hook { .. } => Some(None),
            Owner::Task(task) => Some(Some(Self::of(task))),
        });
        task.flatten()
    }

    fn of(task: &dyn Record) -> Self {
        let meta = task.meta();
        Self {
            id: meta.id,
            name: meta.name.clone(),
            kind: meta.kind.clone(),
            location: meta.location,
        }
    }

    /// The id of its entry, as of [`Task::id`](crate::Task::id).
    pub fn id(&self) -> ResourceId {
        self.id
    }

    /// The name it was given, or the type path of its future.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind it is listed under.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The line that started it.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// `poller #t12`
impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Printed(&self.name), self.id)
    }
}
