//! Tasks that take the place of the one before them.

#[cfg(feature = "dump")]
use crate::table::resource::Resource;
use crate::{context::core::Core, id::ResourceId, sync::lock, task::handle::Task};

/// Makes `task` the latest of its name, and aborts the one that was.
#[cold]
pub(crate) fn started<T>(core: &Core, task: Task<T>) -> Task<T> {
    let Some(abort) = task.abort_handle() else {
        return task;
    };
    let latest = (task.id(), abort);
    let previous = lock(&core.latest).insert(task.name().to_owned(), latest);
    if let Some((id, abort)) = previous {
        note_abort(core, id);
        abort.abort();
    }
    // It may have ended before it was entered, and then nobody else takes it out again.
    if task.is_finished() {
        ended(core, task.name(), task.id());
    }
    task
}

/// For those who look for deadlocks.
#[cfg(feature = "dump")]
fn note_abort(core: &Core, id: ResourceId) {
    let task = core.node.table.find_card(id);
    if let Some(inquiry) = task.as_ref().and_then(Resource::inquiry) {
        inquiry.note_abort();
    }
}

#[cfg(not(feature = "dump"))]
fn note_abort(_: &Core, _: ResourceId) {}

/// Forgets the task, if it is still the latest of its name: an abort handle pins a task's memory.
pub(crate) fn ended(core: &Core, name: &str, id: ResourceId) {
    let mut latest = lock(&core.latest);
    if latest.get(name).is_some_and(|(latest, _)| *latest == id) {
        latest.remove(name);
    }
}
