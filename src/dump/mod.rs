//! Where every task and every hook waits, down to the line.
//!
//! [`Registry::dump`](crate::Registry::dump) asks all of them and returns a [`Dump`], with a [`TaskDump`] for each task, a
//! [`HookDump`] for each running hook, and each [`Deadlock`] among them. [`docs::dumps`](crate::docs::dumps) explains how
//! this works and what it costs.

// The path of a dump: `collect` asks each `subject` and waits for the answers; on another thread (`offload`) `symbols`
// turns addresses into lines and `fold` keeps the frames that a person reads; `deadlock` finds what waits for each
// other; `dump`, `view` and `hook` are the result, and `print` prints it.

pub(crate) mod collect;
pub(crate) mod deadlock;
#[expect(clippy::module_inception, reason = "it is the dump")]
pub(crate) mod dump;
pub(crate) mod fold;
pub(crate) mod hook;
pub(crate) mod offload;
pub(crate) mod print;
pub(crate) mod subject;
pub(crate) mod symbols;
pub(crate) mod view;

pub use crate::poll::{awaited::Awaited, long_polls::set_long_poll_threshold};
#[cfg(all(feature = "signal", unix))]
pub use crate::registry::free::dump_on;
pub use deadlock::{Deadlock, Waiter};
pub use dump::Dump;
pub use hook::HookDump;
pub use view::{Activity, AwaitStack, StackFrame, TaskDump};
