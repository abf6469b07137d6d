//! The error types. One that refuses a value hands it back.

use crate::{name::Printed, panics};
use std::{any::Any, error::Error, fmt, sync::Mutex};

/// The error of a context that is closed, with the value that was refused, untouched.
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
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the parent is closing or closed"),
            Self::NeedClosed(name) => {
                write!(f, "it needs {}, which is closing or closed", Printed(name))
            }
            Self::NeedsAncestor(name) => write!(f, "it needs {}, which it is in", Printed(name)),
            Self::OtherRegistry(name) => {
                write!(
                    f,
                    "it needs {}, which is of another registry",
                    Printed(name)
                )
            }
        }
    }
}

impl Error for OpenError {}

/// The error of a spawn or wrap that was refused, with the future or closure, unpolled.
pub struct RefusedError<F> {
    future: F,
    reason: RefusedReason,
}

/// Why a spawn or wrap was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The context is closing or closed.
    Closed,
    /// There is no tokio runtime: the context remembers none, this thread is in none, and none was given with
    /// [`on`](crate::TaskBuilder::on).
    NoRuntime,
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
        write!(f, "{}; the future is in the error", self.reason)
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the context is closing or closed",
            Self::NoRuntime => NO_RUNTIME,
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
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// It was [`cancellable`](crate::TaskBuilder::cancellable), and its context was closed.
    Cancelled,
    /// Its future was dropped before it returned: by [`abort`](crate::Task::abort), by a superseding
    /// task, after the grace period of a close, or by the end of its runtime.
    Aborted,
    /// It panicked, with this payload and this message.
    Panicked(PanicPayload, String),
    /// It was never started: its context was closing or closed.
    Refused,
}

impl TaskError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = panics::message(&*payload);
        Self::Panicked(PanicPayload(Mutex::new(payload)), message)
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(..))
    }

    /// The payload of the panic, to be handed to [`std::panic::resume_unwind`].
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

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled with its context"),
            Self::Aborted => f.write_str("the task was aborted"),
            Self::Panicked(_, message) => write!(f, "the task panicked: {message}"),
            Self::Refused => f.write_str("the task was refused: its context is closing or closed"),
        }
    }
}

impl Error for TaskError {}

/// What a task panicked with. It is not printed, because its type is unknown.
pub struct PanicPayload(Mutex<Box<dyn Any + Send>>);

impl PanicPayload {
    /// Returns the payload, to be downcast or handed to [`std::panic::resume_unwind`].
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PanicPayload(..)")
    }
}
