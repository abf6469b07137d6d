//! Polls: whose code is running, how a task is doing, and where it waits.
//!
//! A [`scope`] says whose code is running on this thread. A [`state`] counts the polls of a task or a hook, and has the flags
//! by which it is asked where it waits, or told to end; a [`waker_cell`] has what wakes it for that.
//!
//! A task that is asked runs its next poll with a waker that [`capture`]s the stack of each future that clones it. The
//! future at the end of each chain of `.await`s clones the waker to be woken by it, so each capture is one such chain. What it
//! gets is a clone of the runtime's own waker, so nothing of the question stays behind. The answers are kept as [`replies`]
//! until they are collected. [`running_hooks`] has the hooks that can be asked, and [`waiting`] notes who waits for something
//! of a registry.

// Some of what is recorded here is only read by dumps.
#![cfg_attr(not(feature = "dump"), allow(dead_code, unreachable_pub))]

pub(crate) mod awaited;
#[cfg_attr(not(feature = "dump"), path = "capture_off.rs")]
pub(crate) mod capture;
pub(crate) mod long_polls;
#[cfg(feature = "testing")]
pub(crate) mod observer;
pub(crate) mod replies;
pub(crate) mod running_hooks;
pub(crate) mod scope;
pub(crate) mod state;
pub(crate) mod waiting;
pub(crate) mod waker_cell;
