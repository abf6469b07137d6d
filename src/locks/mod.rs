//! Locks and semaphores that are [`Tracked`](crate::Tracked): who holds them, and who waits.
//!
//! [`tracked`] has the methods, which shadow those of tokio's types; [`held`] is the guard that they return; [`log`] is the
//! record of what is held and asked for.

pub(crate) mod held;
pub(crate) mod log;
pub(crate) mod request;
pub(crate) mod tracked;
