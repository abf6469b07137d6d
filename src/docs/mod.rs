//! How it works, what it promises, and what it cannot do. Nothing in here is code.
//!
//! * [`closing`]: the close, step by step, and what it means in each odd situation.
//! * *Where tasks wait* (with the feature `dump`): how a dump finds out, and what it cannot see.
//! * [`internals`]: how the registry and the contexts are built, and why.
//! * [`invariants`]: the promises, numbered as the code and the tests cite them.
//! * *Writing leak tests* (with the feature `testing`): a guide to tests that fail when something is left behind.
//! * [`leaks`]: what counts as a leak, how the report is made, what it cannot see.
//! * [`limitations`]: what to know before relying on it.
//! * [`performance`]: what it costs, next to what people use instead.

pub mod closing;
#[cfg(feature = "dump")]
pub mod dumps;
pub mod internals;
pub mod invariants;
#[cfg(feature = "testing")]
pub mod leak_tests;
pub mod leaks;
pub mod limitations;
pub mod performance;
