//! Asking a task where it waits.
//!
//! A task that is parked can be asked: its [`Inquiry`](inquiry::Inquiry) is marked, it is woken, and its next poll
//! is run with a waker that [`capture`]s the stack of whoever clones it. Every future at the end of a chain of
//! `.await`s clones the waker to be woken by it, so each capture is one such chain. What it gets is a clone of the
//! runtime's own waker: nothing of the question stays behind. The answers lie on a [`desk`] until they are collected.
//! Hooks that are running are asked in the same way; the [`roll`] has them.

pub(crate) mod awaited;
pub(crate) mod bell;
pub(crate) mod capture;
pub(crate) mod desk;
pub(crate) mod inquiry;
pub(crate) mod long_polls;
pub(crate) mod roll;
