//! Waiting for something of a registry: a task, a close, or that it is idle. A task or hook that is asked where it waits
//! answers what for.

use crate::{
    poll::{
        awaited::Awaited,
        capture,
        scope::{self, Owner},
    },
    table::{record::Record, resource::short_path},
};
use std::task::{Context, Poll};

/// What is waited for.
#[derive(Clone, Copy)]
pub(crate) enum For<'a> {
    /// A tracked lock: this says which, and who holds it.
    Lock(&'a (dyn Fn() -> (Awaited, u32) + Sync)),
    /// The end of a task.
    Task(&'a dyn Record),
    /// The end of a close, which has begun or not.
    Close(&'a dyn Record, bool),
    /// That the registry of this number is idle, which the running task is part of.
    Idle(u32),
    /// That the context of the running task is cancelled.
    Cancellation,
    /// The attempt of this number of a supervised task, which is due then.
    #[cfg(feature = "supervision")]
    Attempt(u64, tokio::time::Instant),
}

/// Runs a poll that waits for this.
#[inline]
pub(crate) fn waiting<T>(
    cx: &mut Context<'_>,
    what: For<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let result = capture::waiting(cx, || what.awaited(), poll);
    if result.is_pending() && what.is_of_others() {
        note_wait();
    }
    result
}

/// Notes with each task and hook that is running on this thread, one inside the other, that it waits: those are asked
/// when somebody looks for a deadlock.
fn note_wait() {
    let _ = scope::find(|owner| -> Option<()> {
        let poll_state = match owner {
            Owner::Registry(_) => None,
            Owner::Hook { poll_state, .. } => poll_state,
            Owner::Task(task) => task.poll_state(),
        };
        poll_state?.note_wait();
        None
    });
}

impl For<'_> {
    /// Whether it may be part of a deadlock.
    fn is_of_others(self) -> bool {
        match self {
            Self::Lock(_) | Self::Task(_) | Self::Close(..) | Self::Idle(_) => true,
            Self::Cancellation => false,
            #[cfg(feature = "supervision")]
            Self::Attempt(..) => false,
        }
    }

    /// What it is called, and of which registry it is.
    fn awaited(self) -> (Awaited, u32) {
        let registry = match self {
            Self::Lock(what) => return what(),
            Self::Task(record) | Self::Close(record, _) => record.meta().id.table,
            Self::Idle(registry) => registry,
            Self::Cancellation => 0,
            #[cfg(feature = "supervision")]
            Self::Attempt(..) => 0,
        };
        let awaited = match self {
            Self::Lock(what) => return what(),
            Self::Task(task) => Awaited::Task {
                id: task.meta().id,
                path: short_path(task),
            },
            Self::Close(context, has_begun) => Awaited::Close {
                id: context.meta().id,
                path: if context.is_root() {
                    String::new()
                } else {
                    short_path(context)
                },
                has_begun,
            },
            Self::Idle(_) => Awaited::Idle,
            Self::Cancellation => Awaited::Cancellation,
            #[cfg(feature = "supervision")]
            Self::Attempt(attempt, due) => Awaited::BackOff {
                attempt,
                left: due.saturating_duration_since(crate::clock::now()),
            },
        };
        (awaited, registry)
    }
}
