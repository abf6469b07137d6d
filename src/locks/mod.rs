//! Locks and semaphores that are [`Tracked`](crate::Tracked): who holds them, and who waits.
//!
//! [`tracked`] has the methods, which shadow those of tokio's types; [`request`] is one call of them that waits, and [`guard`] the
//! guard that it returns.

pub(crate) mod guard;
pub(crate) mod request;
pub(crate) mod tracked;
