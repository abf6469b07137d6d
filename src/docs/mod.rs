//! How it works, what it promises, and what it cannot do. Nothing in here is code.
//!
//! * [`closing`]: the close, step by step, and what it means in each odd situation.
//! * [`internals`]: how the registry and the contexts are built, and why.
//! * [`invariants`]: the promises, numbered as the code and the tests cite them.
//! * [`limitations`]: what to know before relying on it.
//! * [`performance`]: what it costs, next to what people use instead.

pub mod closing;
pub mod internals;
pub mod invariants;
pub mod limitations;
pub mod performance;
