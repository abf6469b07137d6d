//! [`CloseReason`]: why a context was closed.

use crate::{context::failure::Failure, name::Printed};
use std::{borrow::Cow, fmt, sync::Arc};

/// Why a context was closed. The first reason given wins (I8).
///
/// Text becomes [`Requested`](Self::Requested):
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{CloseReason, Registry};
/// let ctx = Registry::new().context("job");
/// ctx.request_close("deploy");
/// let report = ctx.close_with(CloseReason::Shutdown).await; // the close has a reason already
/// assert_eq!(report.reason(), &CloseReason::from("deploy"));
/// assert_eq!(report.reason().to_string(), "requested: deploy");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum CloseReason {
    /// The program asked for it, with these words.
    Requested(Cow<'static, str>),
    /// Its parent closed, or the registry it belongs to, for this reason, which is never `Parent` itself.
    Parent(#[cfg_attr(feature = "serde", serde(serialize_with = "root"))] Arc<CloseReason>),
    /// Something that it needs was to close ([`needs`](crate::ContextBuilder::needs)).
    Needed,
    /// It had run dry after [`finish`](crate::Context::finish).
    Finished,
    /// The last strong handle was dropped while it was open (I11).
    Dropped,
    /// It was idle for too long, in the judgement of the code that closed it: a [session](crate::sessions) that was not held
    /// for its idle window.
    Culled,
    /// A [session](crate::sessions) whose last client left on purpose.
    Left,
    /// A [session](crate::sessions) that had to make room.
    Evicted,
    /// A [session](crate::sessions) that had reached its greatest age.
    Expired,
    /// A generation of a [session](crate::sessions), which the next one follows.
    Restarted,
    /// The service is shutting down.
    Shutdown,
    /// This task failed, in the context or below it, and the context was opened with
    /// [`on_failure(Close)`](crate::ContextBuilder::on_failure).
    Failed(Failure),
    /// Something newer took its place, in the judgement of the code that closed it.
    Superseded,
    /// Its parent had as many children as it may ([`max_children`](crate::ContextBuilder::max_children)): it was closed from the start.
    Full,
}

impl CloseReason {
    /// Where it began: the reason of the outermost context that closed, or this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, Registry};
    /// let app = Registry::new().context("app");
    /// let conn = app.child("conn");
    /// app.close_with("deploy").await;
    /// let reason = conn.close_reason().unwrap();
    /// assert!(matches!(reason, CloseReason::Parent(_)));
    /// assert_eq!(reason.root(), &CloseReason::from("deploy"));
    /// # }
    /// ```
    pub fn root(&self) -> &Self {
        match self {
            Self::Parent(root) => root,
            other => other,
        }
    }

    /// Every [`word`](Self::word) there is.
    #[cfg(feature = "metrics")]
    pub(crate) const WORDS: [&'static str; 14] = [
        "requested",
        "parent",
        "needed",
        "finished",
        "dropped",
        "culled",
        "left",
        "evicted",
        "expired",
        "restarted",
        "shutdown",
        "failed",
        "superseded",
        "full",
    ];

    /// In one word, as metrics and the window have it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::Parent(_) => "parent",
            Self::Needed => "needed",
            Self::Finished => "finished",
            Self::Dropped => "dropped",
            Self::Culled => "culled",
            Self::Left => "left",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Restarted => "restarted",
            Self::Shutdown => "shutdown",
            Self::Failed(_) => "failed",
            Self::Superseded => "superseded",
            Self::Full => "full",
        }
    }

    /// The reason for what lies below.
    pub(crate) fn of_parent(&self) -> Self {
        Self::Parent(match self {
            Self::Parent(root) => Arc::clone(root),
            other => Arc::new(other.clone()),
        })
    }
}

#[cfg(feature = "serde")]
fn root<S: serde::Serializer>(root: &CloseReason, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(root, serializer)
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested(text) => {
                return write!(f, "requested: {}", Printed(text));
            }
            Self::Parent(root) => return write!(f, "its parent closed: {root}"),
            Self::Needed => "a context that it needs is closing",
            Self::Dropped => "its last handle was dropped",
            Self::Failed(failure) => return write!(f, "failed: {failure}"),
            Self::Full => "its parent was full",
            other => other.word(),
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
