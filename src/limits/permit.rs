//! [`Permit`]: a place of a limit that is taken.

use crate::{
    ledger::{
        acquirer::Acquirer,
        lock_log::{Number, Part},
    },
    limits::{places::Place, shared::Shared},
};
use std::{fmt, sync::Arc};

/// A place of a [`Limit`](crate::Limit), until this is dropped. Made by [`Limit::acquire`](crate::Limit::acquire) and
/// [`try_acquire`](crate::Limit::try_acquire).
///
/// It borrows nothing, and may be moved into a task. It keeps neither the context of the limit open nor its close waiting, and may
/// outlive both: then its drop frees a place that nothing asks for. Dropping it gives the place to the first that waits.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let limit = ctx.limit("uploads", 1);
/// let permit = limit.acquire().await.unwrap();
/// assert!(limit.try_acquire().is_err());
/// drop(permit);
/// assert!(limit.try_acquire().is_ok());
/// # }
/// ```
#[must_use = "dropping a permit frees its place at once"]
pub struct Permit {
    // Given back first: while a place is taken the limit is listed, and its holder is recorded for a moment longer.
    _place: Place,
    held: Held,
}

/// The record of a place that is taken.
struct Held {
    limit: Arc<Shared>,
    number: Number,
}

impl Permit {
    /// A place whose holder is recorded under this number.
    pub(crate) fn new(place: Place, limit: &Arc<Shared>, number: Number) -> Self {
        let limit = Arc::clone(limit);
        Self {
            _place: place,
            held: Held { limit, number },
        }
    }

    /// It is another's from now on, where the code that took it only passes it on.
    pub(crate) fn pass(&self, to: Acquirer) {
        let Held { limit, number } = &self.held;
        limit.holders.pass(*number, to);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limit.holders.remove(Part::Held, self.number);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("limit", self.held.limit.name())
            .finish_non_exhaustive()
    }
}
