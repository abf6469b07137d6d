//! Waiting for something of a registry: a task, a close, or that nobody is left. Whoever asks a task or a hook where it is
//! learns what for; without the feature `dump` nobody asks.

use crate::table::record::Record;
#[cfg(feature = "dump")]
use crate::{
    scope::{self, Owner},
    table::resource::short_path,
    trace::{awaited::Awaited, capture},
};
use std::task::{Context, Poll};

/// What is waited for.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "dump"), expect(dead_code, reason = "nobody asks"))]
pub(crate) enum For<'a> {
    /// The end of a task.
    Task(&'a dyn Record),
    /// The end of a close, which has begun or not.
    Close(&'a dyn Record, bool),
    /// That the registry of this number is idle, which the running task is part of.
    Idle(u32),
    /// That the context of the running task is cancelled.
    Cancellation,
}

/// Runs a poll that waits for this.
#[cfg(feature = "dump")]
#[inline]
pub(crate) fn waiting<T>(
    cx: &mut Context<'_>,
    what: For<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let result = capture::waiting(cx, || what.awaited(), poll);
    if result.is_pending() && !matches!(what, For::Cancellation) {
        note_wait();
    }
    result
}

#[cfg(not(feature = "dump"))]
#[inline]
pub(crate) fn waiting<T>(
    cx: &mut Context<'_>,
    _: For<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    poll(cx)
}

/// Notes with each task and hook that is running on this thread, one inside the other, that it waits: those are asked
/// when somebody looks for a deadlock.
#[cfg(feature = "dump")]
fn note_wait() {
    let _ = scope::find(|owner| -> Option<()> {
        let inquiry = match owner {
            Owner::Registry(_) => None,
            Owner::Hook { inquiry, .. } => inquiry,
            Owner::Task(task) => task.inquiry(),
        };
        inquiry?.note_wait();
        None
    });
}

#[cfg(feature = "dump")]
impl For<'_> {
    /// What it is called, and of which registry it is.
    fn awaited(self) -> (Awaited, u32) {
        let registry = match self {
            Self::Task(record) | Self::Close(record, _) => record.meta().id.table,
            Self::Idle(registry) => registry,
            Self::Cancellation => 0,
        };
        let awaited = match self {
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
        };
        (awaited, registry)
    }
}
