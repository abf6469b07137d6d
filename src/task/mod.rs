//! Tasks: futures and closures that a context accepted and awaits.
//!
//! [`output`] is how the result of a task reaches its handle, [`guard`] what it owes its context when it ends. [`running`], [`blocking`] and [`wrapped`] are the three shapes a
//! task has; [`admit`], [`builder`] and [`spawn`] start them, and [`handle`] is what their starter gets.

pub(crate) mod admit;
pub(crate) mod blocking;
pub(crate) mod builder;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod output;
pub(crate) mod running;
pub(crate) mod spawn;
pub(crate) mod supersede;
pub(crate) mod wrapped;
