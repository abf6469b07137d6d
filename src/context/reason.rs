//! Why a context closed.

use std::{borrow::Cow, fmt};

/// Why a context was closed. The first reason given wins (I8).
///
/// Text becomes [`Requested`](Self::Requested):
///
/// ```
/// use headcount::CloseReason;
/// assert_eq!(CloseReason::from("deploy").to_string(), "requested: deploy");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum CloseReason {
    /// Somebody asked for it, with these words.
    Requested(Cow<'static, str>),
    /// Its parent closed, or the registry it belongs to.
    Parent,
    /// The last strong handle was dropped while it was open (I11).
    Dropped,
    /// It was idle for too long, in the judgement of whoever closed it.
    Culled,
    /// The service is shutting down.
    Shutdown,
    /// A task panicked, and the context was opened with
    /// [`close_on_panic`](crate::ContextBuilder::close_on_panic).
    Panic,
    /// Something newer took its place, in the judgement of whoever closed it.
    Superseded,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested(text) => {
                return write!(f, "requested: {}", crate::name::Printed(text));
            }
            Self::Parent => "its parent closed",
            Self::Dropped => "its last handle was dropped",
            Self::Culled => "culled",
            Self::Shutdown => "shutdown",
            Self::Panic => "a task panicked",
            Self::Superseded => "superseded",
        })
    }
}

impl From<&'static str> for CloseReason {
    fn from(text: &'static str) -> Self {
        Self::Requested(Cow::Borrowed(text))
    }
}

impl From<String> for CloseReason {
    fn from(text: String) -> Self {
        Self::Requested(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for CloseReason {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Requested(text)
    }
}
