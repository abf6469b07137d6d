//! Tasks that take the place of the one before them.

use crate::{context::core::Core, id::ResourceId, sync::lock, task::handle::Task};

/// Makes `task` the latest of its name, and aborts the one that was.
#[cold]
pub(crate) fn started<T>(core: &Core, task: Task<T>) -> Task<T> {
    let previous = lock(&core.latest).insert(task.name().to_owned(), task.id());
    if let Some(previous) = previous {
        core.node.table.abort(previous);
    }
    // It may have ended before it was entered, and then nobody else takes it out again.
    if task.is_finished() {
        ended(core, task.name(), task.id());
    }
    task
}

/// Forgets the task, if it is still the latest of its name.
pub(crate) fn ended(core: &Core, name: &str, id: ResourceId) {
    let mut latest = lock(&core.latest);
    if latest.get(name).is_some_and(|latest| *latest == id) {
        latest.remove(name);
    }
}
