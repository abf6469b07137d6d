//! What a dump asks: a task, or a running hook.

use crate::{
    clock::Stamp,
    dump::view::Activity,
    id::ResourceId,
    poll::running_hooks::RunningHook,
    poll::state::PollState,
    table::{record::State, resource::Resource, store::Table},
};
use std::{sync::Arc, time::Duration};

/// A task, or a hook with the time for which it has been running.
pub(crate) enum Subject {
    Task(Resource),
    Hook(Arc<RunningHook>, Duration),
}

impl Subject {
    pub(crate) fn hook(hook: Arc<RunningHook>) -> Self {
        let age = Stamp::now().since(hook.started);
        Self::Hook(hook, Duration::from_nanos(age))
    }

    pub(crate) fn id(&self) -> ResourceId {
        match self {
            Self::Task(task) => task.id(),
            Self::Hook(hook, _) => hook.id,
        }
    }

    /// The flags and counters through which it is asked; `None` if it cannot answer.
    pub(crate) fn poll_state(&self) -> Option<&PollState> {
        match self {
            Self::Task(task) if task.is_blocking() => None,
            Self::Task(task) => task.poll_state(),
            Self::Hook(hook, _) => Some(&hook.poll_state),
        }
    }

    /// Asks it, if it can answer. Returns false if it was never polled: it answers at its first poll.
    pub(crate) fn ask(&self) -> bool {
        match self {
            Self::Task(task) => !task.is_blocking() && task.ask(),
            Self::Hook(hook, _) => hook.ask(),
        }
    }

    /// Whether it is still alive.
    pub(crate) fn is_there(&self, table: &Table) -> bool {
        match self {
            Self::Task(task) => table.table_ref().state_of(task.id()).is_some(),
            Self::Hook(hook, _) => !hook.waker.is_closed(),
        }
    }

    /// What it is doing, if it is of the kind that cannot be asked.
    pub(crate) fn unasked_activity(&self) -> Activity {
        match self {
            Self::Task(task) if task.is_blocking() => match task.record().state() {
                State::Waiting => Activity::Queued,
                _ => Activity::Blocking(task.age()),
            },
            _ => Activity::NotAnswered,
        }
    }
}
