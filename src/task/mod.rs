//! Tasks: futures and closures that a context accepted and awaits.
//!
//! [`handle`] is what the code that started a task gets, and how the result reaches it; [`guard`] is the task from its admission
//! to its end, and what it owes its context. [`future`] and [`wrapped`] are the shapes a task has, [`end_check`] says what its end is checked for,
//! and [`builder`] starts them.

pub(crate) mod builder;
pub(crate) mod end_check;
pub(crate) mod future;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod wrapped;
