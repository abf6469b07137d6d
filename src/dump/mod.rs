//! Where every task waits: `registry.dump().await`.
//!
//! [`collect`] asks the tasks and waits for their answers; [`away`] from the runtime's threads, with a [`backstop`], [`symbols`] turns addresses into lines, [`fold`] leaves
//! of those what a person reads, [`view`] is what comes of it, and [`print`] prints it. [`deadlock`] finds tasks that wait for each other.

pub(crate) mod away;
pub(crate) mod backstop;
pub(crate) mod collect;
pub(crate) mod deadlock;
pub(crate) mod fold;
pub(crate) mod print;
pub(crate) mod symbols;
pub(crate) mod view;
