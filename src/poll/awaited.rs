//! What a stack waits for, where that is something of a registry.

use crate::{
    clock::human,
    id::ResourceId,
    ledger::lock_log::LockHolder,
    name::{Printed, Quoted},
};
use std::{fmt, time::Duration};

/// What an [`AwaitStack`](crate::dump::AwaitStack) waits for, where that is something that this crate knows: a task, a close, a registry,
/// a lock or a limit, a cancellation, an upgraded connection's socket, the pause before a restart.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # #[cfg(feature = "dump")] {
/// use headcount::{Registry, dump::Awaited};
/// let registry = Registry::new();
/// let ctx = registry.context("app");
/// let import = ctx.task("import").spawn(std::future::pending::<()>());
/// let export = ctx.task("export").spawn(async { import.await });
/// tokio::task::yield_now().await;
///
/// let dump = export.trace().await.unwrap();
/// let awaited = dump.stacks()[0].awaited().unwrap();
/// assert!(matches!(awaited, Awaited::Task { path, .. } if path == "app/import"));
/// assert_eq!(awaited.to_string(), "the end of the task app/import");
/// # ctx.close_now().await;
/// # }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Awaited {
    /// The end of a task whose handle is awaited.
    Task {
        /// The task's.
        id: ResourceId,
        /// The path of the task, cut to the nearest names.
        path: String,
    },
    /// The end of a context's close.
    Close {
        /// The context's.
        id: ResourceId,
        /// The path of the context, cut to the nearest names; empty for a registry.
        path: String,
        /// Whether the close has begun; if not, it waits until something begins it.
        has_begun: bool,
    },
    /// A [tracked](crate::Tracked) lock, permits of a tracked semaphore, or a place of a [limit](crate::Limit).
    Lock {
        /// That of the tracked value, or of the limit.
        id: ResourceId,
        /// Which kind of lock.
        kind: LockKind,
        /// The name of the tracked value, or of the limit.
        name: String,
        /// Who holds it, the longest first, as far as that is recorded: at most 16.
        held_by: Vec<LockHolder>,
        /// How many more hold it. Of a limit, those included that are not recorded.
        more: usize,
        /// Who has been given a mutex that is held by none of them: a request that has not been polled since. Either its task is
        /// about to, or it does not poll that future any more.
        given_to: Option<LockHolder>,
    },
    /// That no task and no open context is left in its own registry, which it is part of.
    Idle,
    /// The cancellation of its own context: nothing else will end it.
    Cancellation,
    /// The end of an upgraded connection of a server of this crate: that the code which was given its socket drops it.
    Socket,
    /// The end of the pause before the next attempt of a [supervised](crate::supervision) task.
    BackOff {
        /// The number of that attempt.
        attempt: u64,
        /// When it begins, from the moment of the answer.
        left: Duration,
    },
}

/// The kind of a tracked lock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # #[cfg(feature = "dump")] {
/// use headcount::{Registry, dump::{Awaited, LockKind}};
/// let registry = Registry::new();
/// let slots = registry.own("slots", "semaphore", tokio::sync::Semaphore::new(0));
/// let ctx = registry.context("app");
/// let worker = ctx.spawn(async move { slots.acquire().await.unwrap().forget() });
/// tokio::task::yield_now().await;
///
/// let dump = worker.trace().await.unwrap();
/// let awaited = dump.stacks()[0].awaited();
/// assert!(matches!(awaited, Some(Awaited::Lock { kind: LockKind::Semaphore, .. })), "{awaited:?}");
/// # ctx.close_now().await;
/// # }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum LockKind {
    /// [`tokio::sync::Mutex`].
    Mutex,
    /// [`tokio::sync::RwLock`].
    RwLock,
    /// [`tokio::sync::Semaphore`].
    Semaphore,
    /// [`Limit`](crate::Limit).
    Limit,
}

impl LockKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::RwLock => "lock",
            Self::Semaphore => "semaphore",
            Self::Limit => "limit",
        }
    }
}

impl Awaited {
    /// The future that is awaited, as its users know it.
    pub(crate) fn leaf(&self) -> Option<&'static str> {
        match self {
            Self::Task { .. } => Some("headcount::Task"),
            Self::Close { .. } => Some("headcount::Context::closed"),
            Self::Idle => Some("headcount::Registry::idle"),
            Self::Lock {
                kind: LockKind::Limit,
                ..
            } => Some("headcount::Limit"),
            // Its method, which is tokio's, is on the stack.
            Self::Lock { .. } | Self::Cancellation | Self::Socket => None,
            Self::BackOff { .. } => Some("headcount::supervision"),
        }
    }
}

/// As the object of "waits for".
impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { path, .. } => write!(f, "the end of the task {}", Quoted(path)),
            Self::Close { path, .. } if path.is_empty() => f.write_str("the close of a registry"),
            Self::Close {
                path,
                has_begun: true,
                ..
            } => write!(f, "the close of {}", Quoted(path)),
            Self::Close { path, .. } => {
                write!(f, "a close of {}, which has not begun", Quoted(path))
            }
            Self::Lock {
                kind,
                name,
                held_by,
                more,
                given_to,
                ..
            } => {
                write!(f, "the {} {}, ", kind.noun(), Printed(name))?;
                write_holders(f, (held_by, *more), given_to.as_ref())
            }
            Self::Idle => f.write_str("its registry to be idle"),
            Self::Cancellation => f.write_str("nothing but its cancellation"),
            Self::Socket => f.write_str("the code that has its socket"),
            Self::BackOff { attempt, left } => {
                write!(f, "attempt {attempt}, which begins in {}", human(*left))
            }
        }
    }
}

/// How many holders of a lock are printed.
const HOLDERS: usize = 3;

fn write_holders(
    f: &mut fmt::Formatter<'_>,
    (held_by, more): (&[LockHolder], usize),
    given_to: Option<&LockHolder>,
) -> fmt::Result {
    if let Some(given_to) = given_to {
        return write!(
            f,
            "given to the request of {given_to}, which has not been polled since"
        );
    }
    if held_by.is_empty() {
        return f.write_str("whose holder is not recorded");
    }
    f.write_str("held by ")?;
    for (n, holder) in held_by.iter().take(HOLDERS).enumerate() {
        let separator = if n > 0 { ", " } else { "" };
        write!(f, "{separator}{holder}")?;
    }
    match held_by.len().saturating_sub(HOLDERS) + more {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
