//! [`AcquireError`]: why a limit gave no place.

use crate::error::RefusedReason;
use std::{error::Error, fmt};

/// Why [`Limit::acquire`](crate::Limit::acquire) or [`try_acquire`](crate::Limit::try_acquire) got no place.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{AcquireError, Registry};
/// let ctx = Registry::new().context("ctx");
/// let limit = ctx.limit("uploads", 1);
/// let permit = limit.acquire().await.unwrap();
/// assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Full);
/// drop(permit);
/// ctx.close().await;
/// assert_eq!(limit.try_acquire().unwrap_err(), AcquireError::Closed);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The context of the limit is closing or closed.
    Closed,
    /// All places are taken, and there is no room in the queue. Of [`try_acquire`](crate::Limit::try_acquire), which does not wait:
    /// all places are taken.
    Full,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the context of the limit is closing or closed",
            Self::Full => "all places of the limit are taken, and its queue is full",
        })
    }
}

impl Error for AcquireError {}

impl From<AcquireError> for RefusedReason {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Closed => Self::Closed,
            AcquireError::Full => Self::Full,
        }
    }
}
