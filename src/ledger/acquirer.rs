//! Who took a handle.

use crate::{
    id::ResourceId,
    name::{Label, Printed},
};
use std::{fmt, thread};

/// Who took a handle: facts, so that it is known when the one who did has gone.
#[derive(Clone, Debug)]
pub(crate) enum Acquirer {
    /// Nobody asked.
    Unknown,
    /// A task of this crate's.
    Task(Who),
    /// A hook of the context with this id.
    Hook(Who),
    /// The context keeps what it owns until it closes.
    Owner(Who),
    /// A task that was spawned with bare `tokio::spawn`.
    Foreign(tokio::task::Id),
    /// Code outside of any task.
    Thread(thread::Thread),
}

#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) id: ResourceId,
    pub(crate) name: Label,
}

impl Who {
    pub(crate) fn new(id: ResourceId, name: &Label) -> Self {
        let name = name.clone();
        Self { id, name }
    }
}

impl Acquirer {
    /// Who is running when it is no task or hook of ours.
    pub(crate) fn of_thread() -> Self {
        match tokio::task::try_id() {
            Some(id) => Self::Foreign(id),
            None => Self::Thread(thread::current()),
        }
    }

    /// The task, if it was one of ours.
    pub(crate) fn as_task(&self) -> Option<&Who> {
        match self {
            Self::Task(who) => Some(who),
            _ => None,
        }
    }
}

impl fmt::Display for Acquirer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("somebody"),
            Self::Task(who) => write!(f, "task {}", Printed(&who.name)),
            Self::Hook(who) => write!(f, "a hook of {}", Printed(&who.name)),
            Self::Owner(who) => write!(f, "context {}", Printed(&who.name)),
            Self::Foreign(id) => write!(f, "tokio task {id}"),
            Self::Thread(thread) => match thread.name() {
                Some(name) => write!(f, "thread {}", Printed(name)),
                None => f.write_str("an unnamed thread"),
            },
        }
    }
}
