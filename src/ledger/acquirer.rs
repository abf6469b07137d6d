//! [`Acquirer`]: the task, hook, context or thread that took a handle.

use crate::{
    id::ResourceId,
    name::{Label, Printed},
};
use std::{fmt, thread};

/// The task, hook, context or thread that took a handle, as facts that stay known after it has ended.
#[derive(Clone, Debug)]
pub(crate) enum Acquirer {
    /// It was not recorded: the level was `Counts`.
    Unknown,
    /// A task of a context.
    Task(Who),
    /// A hook of this context.
    Hook(Who),
    /// This context, which keeps what it owns until it closes.
    Owner(Who),
    /// This context, which needs the one that is held, until it closes.
    Dependent(Who),
    /// A task of bare `tokio::spawn`.
    Foreign(tokio::task::Id),
    /// A thread, outside of any task.
    Thread(thread::Thread),
}

/// The id and the name of a task or a context.
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
    /// The bare tokio task or the thread that is running, where no task or hook of this crate is.
    pub(crate) fn of_thread() -> Self {
        match tokio::task::try_id() {
            Some(id) => Self::Foreign(id),
            None => Self::Thread(thread::current()),
        }
    }

    /// Whether both are the same task, hook, context or thread.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Task(one), Self::Task(other))
            | (Self::Hook(one), Self::Hook(other))
            | (Self::Owner(one), Self::Owner(other))
            | (Self::Dependent(one), Self::Dependent(other)) => one.id == other.id,
            (Self::Foreign(one), Self::Foreign(other)) => one == other,
            (Self::Thread(one), Self::Thread(other)) => one.id() == other.id(),
            _ => false,
        }
    }

    /// The task, if it was a task of a context.
    pub(crate) fn as_task(&self) -> Option<&Who> {
        match self {
            Self::Task(who) => Some(who),
            _ => None,
        }
    }
}

impl Acquirer {
    /// The name of the task or context, if that is a literal of the program: the same from run to run.
    pub(crate) fn literal_name(&self) -> Option<&'static str> {
        match self {
            Self::Task(who) | Self::Hook(who) | Self::Owner(who) | Self::Dependent(who) => {
                who.name.literal()
            }
            Self::Unknown | Self::Foreign(_) | Self::Thread(_) => None,
        }
    }
}

impl fmt::Display for Acquirer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an unknown holder"),
            Self::Task(who) => write!(f, "task {}", Printed(&who.name)),
            Self::Hook(who) => write!(f, "a hook of {}", Printed(&who.name)),
            Self::Owner(who) => write!(f, "context {}", Printed(&who.name)),
            Self::Dependent(who) => write!(f, "needed by {}", Printed(&who.name)),
            Self::Foreign(id) => write!(f, "tokio task {id}"),
            Self::Thread(thread) => match thread.name() {
                Some(name) => write!(f, "thread {}", Printed(name)),
                None => f.write_str("an unnamed thread"),
            },
        }
    }
}
