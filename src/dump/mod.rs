//! Where every task and every hook waits, down to the line.
//!
//! [`Registry::dump`](crate::Registry::dump) asks all of them and returns a [`Dump`], with a [`TaskDump`] for each task, a
//! [`HookDump`] for each running hook, and each [`Deadlock`] among them. [`docs::dumps`](crate::docs::dumps) explains how
//! this works and what it costs.

// The path of a dump: `collect` asks tasks and hooks and waits for the answers; `fold` turns addresses into the lines that
// a person reads; `deadlock` finds what waits for each other, and `turns` what waits for a lock that
// may be its own; `machinery` knows what of a web server is between; `branches` which waits of a task are one; `view` has the parts of the result, `dump` the whole, and `print` says how that looks.

mod branches;
pub(crate) mod collect;
pub(crate) mod deadlock;
#[expect(clippy::module_inception, reason = "it is the dump")]
pub(crate) mod dump;
pub(crate) mod fold;
mod machinery;
pub(crate) mod print;
pub(crate) mod turns;
pub(crate) mod view;

pub use crate::poll::{
    awaited::{Awaited, LockKind},
    long_polls::set_long_poll_threshold,
};
#[cfg(all(feature = "signal", unix))]
pub use crate::registry::free::dump_on;
pub use deadlock::{Deadlock, Waiter};
pub use dump::Dump;
pub use view::{Activity, AwaitStack, HookDump, StackFrame, TaskDump};
