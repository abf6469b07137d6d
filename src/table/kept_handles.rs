//! [`KeptHandles`]: handles of tasks that have ended, which keep the outputs that were never taken.

use crate::{
    id::ResourceId,
    table::{record::Record, task_entry::TaskEntry},
};
use std::{collections::HashMap, panic::Location};

/// How many handles of ended tasks are held, by the context of the tasks, and by the line that spawned them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptHandles {
    by_context: HashMap<ResourceId, usize>,
    by_line: HashMap<&'static Location<'static>, usize>,
}

impl KeptHandles {
    /// Counts a task that has ended, and whose handle is held.
    pub(crate) fn add(&mut self, task: &TaskEntry) {
        let context = task.parent().map(|parent| parent.meta().id);
        if let Some(context) = context {
            *self.by_context.entry(context).or_default() += 1;
        }
        *self.by_line.entry(task.meta().location).or_default() += 1;
    }

    /// Those of tasks of this context.
    pub(crate) fn of(&self, context: ResourceId) -> usize {
        self.by_context.get(&context).copied().unwrap_or(0)
    }

    /// By the line that spawned the task.
    pub(crate) fn by_line(&self) -> impl Iterator<Item = (&'static Location<'static>, usize)> {
        self.by_line.iter().map(|(line, count)| (*line, *count))
    }
}
