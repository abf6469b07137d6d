//! Where every task and every hook waits: `registry.dump().await`.
//!
//! [`collect`] asks each [`subject`] and waits for their answers; [`away`] from the runtime's threads, [`symbols`] turns addresses into lines, [`fold`] leaves
//! of those what a person reads, [`view`] is what comes of it, and [`print`] prints it. [`deadlock`] finds those that wait for each other. A [`hook`] is not a task, and has a view of its own.

pub(crate) mod away;
pub(crate) mod collect;
pub(crate) mod deadlock;
pub(crate) mod fold;
pub(crate) mod hook;
pub(crate) mod print;
pub(crate) mod subject;
pub(crate) mod symbols;
pub(crate) mod view;
