//! The error types. One that refuses a value hands it back.

use crate::{
    name::{Label, Printed},
    panics,
};
use std::{
    any::Any,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The error of a context that is closed, with the value that was refused, untouched.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("upload");
/// ctx.close().await;
/// let error = ctx.own("part-1", "buffer", vec![1, 2, 3]).unwrap_err();
/// assert_eq!(error.into_inner(), [1, 2, 3]);
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClosedError<T>(pub T);

impl<T> ClosedError<T> {
    /// Returns the value that was refused.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Display for ClosedError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the context is closed; the refused value is in the error")
    }
}

/// Does not print the value.
impl<T> fmt::Debug for ClosedError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClosedError(..)")
    }
}

impl<T> Error for ClosedError<T> {}

/// Why a context could not be opened.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{OpenError, Registry};
/// let pool = Registry::new().context_builder("pool").max_children(1).open();
/// let first = pool.child("conn-1");
/// let error = pool.child_builder("conn-2").try_open().unwrap_err();
/// assert_eq!(error, OpenError::Full("pool".to_owned()));
///
/// first.close().await;
/// assert!(pool.child_builder("conn-2").try_open().is_ok());
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The parent is closing or closed.
    Closed,
    /// The context of this name, which it [`needs`](crate::ContextBuilder::needs), is closing or closed, or is to close.
    NeedClosed(String),
    /// It lies in the context of this name, or in what needs that: needing it as well would be a circle.
    NeedsAncestor(String),
    /// The context of this name, which it needs, is of another registry.
    OtherRegistry(String),
    /// The parent, of this name, has as many children as it may: see [`max_children`](crate::ContextBuilder::max_children).
    Full(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the parent is closing or closed"),
            Self::NeedClosed(name) => {
                write!(
                    f,
                    "the context needs {}, which is closing or closed",
                    Printed(name)
                )
            }
            Self::NeedsAncestor(name) => write!(
                f,
                "the context cannot need {}, because it lies inside it",
                Printed(name)
            ),
            Self::OtherRegistry(name) => {
                write!(
                    f,
                    "the context cannot need {}, which belongs to another registry",
                    Printed(name)
                )
            }
            Self::Full(name) => write!(
                f,
                "the parent {} has as many children as it may",
                Printed(name)
            ),
        }
    }
}

impl Error for OpenError {}

/// The error of a spawn or wrap that was refused, with the future or closure, unpolled.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("server");
/// ctx.close().await;
/// let refused = ctx.try_spawn(async { "flushed" }).unwrap_err();
/// assert!(refused.to_string().starts_with("the context is closing or closed"));
/// assert_eq!(refused.into_inner().await, "flushed"); // run here instead
/// # }
/// ```
pub struct RefusedError<F> {
    future: F,
    reason: RefusedReason,
}

/// Why a spawn or wrap was refused.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{RefusedReason, Registry};
/// let ctx = Registry::new().context_builder("conn").max_tasks(1).open();
/// let busy = ctx.spawn(std::future::pending::<()>());
/// let refused = ctx.try_spawn(async {}).unwrap_err();
/// assert_eq!(refused.reason(), RefusedReason::Full); // worth another try
///
/// ctx.close_now().await;
/// let refused = ctx.try_spawn(async {}).unwrap_err();
/// assert_eq!(refused.reason(), RefusedReason::Closed); // for good
/// # drop(busy);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The context is closing or closed.
    Closed,
    /// There is no tokio runtime: the context remembers none, this thread is in none, and none was given with
    /// [`on`](crate::TaskBuilder::on).
    NoRuntime,
    /// The runtime of the context has ended, and this thread is in no other.
    RuntimeGone,
    /// Another task has the [`slot`](crate::TaskBuilder::slot), and this one cannot wait for it, or shall not.
    SlotTaken,
    /// All places of the [`Limit`](crate::Limit) are taken, and so is its queue if this would wait; or the context has as many tasks
    /// as it [may](crate::ContextBuilder::max_tasks).
    Full,
}

impl<F> RefusedError<F> {
    pub(crate) fn new(future: F, reason: RefusedReason) -> Self {
        Self { future, reason }
    }

    /// Why it was refused.
    pub fn reason(&self) -> RefusedReason {
        self.reason
    }

    /// Returns the future or closure that was refused.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F> fmt::Display for RefusedError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; `into_inner()` returns the future or closure",
            self.reason
        )
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the context is closing or closed",
            Self::NoRuntime => NO_RUNTIME,
            Self::RuntimeGone => "the runtime of the context has ended",
            Self::SlotTaken => "another task has the slot",
            Self::Full => "the limit is full, or the context has as many tasks as it may",
        })
    }
}

pub(crate) const NO_RUNTIME: &str = "there is no tokio runtime: call this inside one, open the context inside one, \
     or name one with `ctx.task(name).on(&handle)`";

/// Does not print the future.
impl<F> fmt::Debug for RefusedError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<F> Error for RefusedError<F> {}

/// Why a task has no output.
///
/// Clones share the payload of a panic, so [`futures::FutureExt::shared`](https://docs.rs/futures) works on a
/// [`Task`](crate::Task) whose output can be cloned: the first to ask gets the payload, all get the message.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let failed = ctx.task("parser").spawn(async { panic!("no such line") });
/// let error = failed.await.unwrap_err();
/// assert_eq!((error.task_name(), error.message()), (Some("parser"), Some("no such line")));
/// assert_eq!(format!("{error}"), "the task panicked: no such line");
/// assert_eq!(format!("{error:#}"), "the task parser panicked: no such line");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// It was [`cancellable`](crate::TaskBuilder::cancellable), and its context was closed.
    Cancelled,
    /// Its future was dropped before it returned: by [`abort`](crate::Task::abort), by a task that
    /// [replaces](crate::OnConflict::Replace) it, after the grace period of a close, or by the end of its runtime.
    Aborted,
    /// It panicked, with this payload and this message.
    Panicked(PanicPayload, String),
    /// It was never started: its context was closing or closed, or [full](crate::ContextBuilder::max_tasks), or its
    /// [`slot`](crate::TaskBuilder::slot) was taken.
    Refused,
    /// It was never started: the runtime of its context has ended, and there was no other at hand.
    RuntimeGone,
    /// Its future was dropped because it took longer than its [`deadline`](crate::TaskBuilder::deadline).
    TimedOut,
}

impl TaskError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = panics::message(&*payload);
        Self::Panicked(PanicPayload::new(payload, message.clone()), message)
    }

    /// Notes which task panicked.
    pub(crate) fn name_task(&mut self, name: &Label) {
        if let Self::Panicked(payload, _) = self {
            let _ = payload.0.task.set(name.clone());
        }
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(..))
    }

    /// What the task panicked with, as text; `None` if it did not panic.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Panicked(_, message) => Some(message),
            _ => None,
        }
    }

    /// The name of the task, if it panicked. The other variants have no room for it:
    /// [`Task::name`](crate::Task::name) says it before the task is awaited.
    pub fn task_name(&self) -> Option<&str> {
        match self {
            Self::Panicked(payload, _) => payload.0.task.get().map(|name| &**name),
            _ => None,
        }
    }

    /// The payload of the panic, to be handed to [`std::panic::resume_unwind`]. Of several clones the first to ask gets it,
    /// and the others get the message, as a `String`.
    ///
    /// # Panics
    ///
    /// If the task did not panic; [`try_into_panic`](Self::try_into_panic) does not.
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(other) => panic!("there is no panic to be had: {other}"),
        }
    }

    /// As [`into_panic`](Self::into_panic), if the task panicked.
    ///
    /// # Errors
    ///
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self {
            Self::Panicked(payload, _) => Ok(payload.into_inner()),
            other => Err(other),
        }
    }
}

/// With `{:#}` the name of a task that panicked is in it.
impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled with its context"),
            Self::Aborted => f.write_str("the task was aborted"),
            Self::Panicked(_, message) => match self.task_name().filter(|_| f.alternate()) {
                Some(name) => write!(f, "the task {} panicked: {message}", Printed(name)),
                None => write!(f, "the task panicked: {message}"),
            },
            Self::Refused => f.write_str(
                "the task was refused: its context is closing, closed or full, or its slot was taken",
            ),
            Self::RuntimeGone => {
                f.write_str("the task was refused: the runtime of its context has ended")
            }
            Self::TimedOut => f.write_str("the task took longer than its deadline"),
        }
    }
}

impl Error for TaskError {}

/// What a task panicked with. It is not printed, because its type is unknown. Clones share it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, TaskError};
/// let ctx = Registry::new().context("ctx");
/// let error = ctx.spawn(async { std::panic::panic_any(42_u8) }).await.unwrap_err();
/// let TaskError::Panicked(payload, _) = error else { unreachable!("it panicked") };
/// let copy = payload.clone();
/// assert_eq!(payload.into_inner().downcast_ref::<u8>(), Some(&42));
/// assert!(copy.into_inner().is::<String>()); // it was taken: only the message is left
/// # }
/// ```
#[derive(Clone)]
pub struct PanicPayload(Arc<Panic>);

struct Panic {
    /// `None` once it was taken.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    message: String,
    task: OnceLock<Label>,
}

impl PanicPayload {
    fn new(payload: Box<dyn Any + Send>, message: String) -> Self {
        Self(Arc::new(Panic {
            payload: Mutex::new(Some(payload)),
            message,
            task: OnceLock::new(),
        }))
    }

    /// Not one of the crate's own locks: loom's cannot outlive a model, and an error can.
    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        let locked = self.0.payload.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the payload, to be downcast or handed to [`std::panic::resume_unwind`]. If it was taken from a clone of this
    /// before, returns the message, as a `String`.
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        let payload = self.lock().take();
        payload.unwrap_or_else(|| Box::new(self.0.message.clone()))
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PanicPayload(..)")
    }
}
