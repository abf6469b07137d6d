//! Tasks: futures and closures that a context accepted and awaits.
//!
//! [`handle`] is what the code that started a task gets, and how the result reaches it; [`guard`] is the task from its admission
//! to its end, and what it owes its context. [`future`], [`wrapped`] and [`wrapped_stream`] are the shapes a task has,
//! [`end_check`] says what its end is checked for. [`builder`] has the settings of a task, and [`spawn`] starts it; [`start`] waits for one that says when it is
//! ready. [`abort`] has the handle that ends a task and claims nothing, and a [`task_ref`] is what a task knows of itself.
//! A [`task_set`] joins tasks in the order in which they end.

pub(crate) mod abort;
pub(crate) mod builder;
pub(crate) mod end_check;
pub(crate) mod future;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod spawn;
pub(crate) mod start;
pub(crate) mod task_ref;
pub(crate) mod task_set;
pub(crate) mod telling;
pub(crate) mod wrapped;
pub(crate) mod wrapped_stream;
