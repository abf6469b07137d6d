//! [`Disturbance`]: what happens to a scenario in the middle of it.

use std::{fmt, time::Duration};

/// What [`CloseAnywhere`](super::CloseAnywhere) does to a scenario before one of its polls.
///
/// It prints as the name that `HEADCOUNT_DISTURBANCE` takes.
///
/// ```
/// use headcount::testing::Disturbance;
/// assert_eq!(Disturbance::CloseNow.to_string(), "close-now");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disturbance {
    /// The close of the registry begins, as by [`Registry::request_close`](crate::Registry::request_close).
    Close,
    /// The registry is closed and its tasks are aborted at once, as by [`Registry::close_now`](crate::Registry::close_now).
    CloseNow,
    /// The registry closes by a deadline, so much later, as by [`Registry::close_by`](crate::Registry::close_by).
    CloseBy(Duration),
    /// The scenario's own future is dropped, and with it the handles that it has.
    Drop,
    /// The task that is about to be polled is aborted. Before other polls nothing happens.
    Abort,
    /// The hook that is about to be polled panics. Before other polls a hook that fails is added to the context of the task, or
    /// to the registry.
    FailHook,
    /// The runtime ends: nothing is polled any more, the scenario's future is dropped, then the runtime with its tasks.
    EndRuntime,
}

impl Disturbance {
    /// All of them; the deadline is 3 s.
    pub const ALL: [Self; 7] = [
        Self::Close,
        Self::CloseNow,
        Self::CloseBy(Duration::from_secs(3)),
        Self::Drop,
        Self::Abort,
        Self::FailHook,
        Self::EndRuntime,
    ];

    /// Whether tasks and hooks may be cut off by it.
    pub(super) fn is_forceful(self) -> bool {
        matches!(self, Self::CloseNow | Self::CloseBy(_) | Self::EndRuntime)
    }

    /// What it does, in a sentence.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Close => "the close of the registry began",
            Self::CloseNow => "the registry was closed and its tasks aborted at once",
            Self::CloseBy(_) => "the close of the registry began, with a deadline",
            Self::Drop => "the scenario's own future was dropped",
            Self::Abort => "the task was aborted",
            Self::FailHook => "a hook was made to fail",
            Self::EndRuntime => "the runtime ended",
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "close",
            Self::CloseNow => "close-now",
            Self::CloseBy(_) => "close-by",
            Self::Drop => "drop",
            Self::Abort => "abort",
            Self::FailHook => "fail-hook",
            Self::EndRuntime => "end-runtime",
        })
    }
}
