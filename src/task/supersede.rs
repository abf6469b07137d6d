//! Tasks that take the place of the one before them.

use crate::{
    context::{core::Core, current::context_of},
    id::ResourceId,
    name::Label,
    sync::lock,
    table::{record::Record, task_entry::TaskEntry},
    task::handle::Task,
};
use std::sync::Arc;

/// Makes `task` the latest of its name, and aborts the one that was.
#[cold]
pub(crate) fn started<T>(core: &Core, task: Task<T>) -> Task<T> {
    let previous = lock(&core.latest).insert(task.name().to_owned(), task.id());
    if let Some(previous) = previous {
        core.node.table.abort(previous);
    }
    // It may have left before it was entered, and then nobody else takes it out again.
    if core.node.table.table_ref().state_of(task.id()).is_none() {
        ended(core, task.name(), task.id());
    }
    task
}

/// What may be the latest of its name, and is about to leave the list.
pub(crate) struct Latest {
    core: Arc<Core>,
    name: Label,
    id: ResourceId,
}

impl Latest {
    #[cold]
    pub(crate) fn of(task: &TaskEntry) -> Option<Self> {
        let core = context_of(task).core.upgrade()?;
        let (name, id) = (task.meta().name.clone(), task.meta().id);
        Some(Self { core, name, id })
    }

    /// It has left the list: who enters it from here on sees that.
    #[cold]
    pub(crate) fn has_left(self) {
        ended(&self.core, &self.name, self.id);
    }
}

/// Forgets the task, if it is still the latest of its name.
fn ended(core: &Core, name: &str, id: ResourceId) {
    let mut latest = lock(&core.latest);
    if latest.get(name).is_some_and(|latest| *latest == id) {
        latest.remove(name);
    }
}
