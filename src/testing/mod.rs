//! The test kit: a test fails when it leaves something behind, and says what, who holds it, and on which line
//! that was taken. See [`check`], and [writing leak tests](crate::docs::leak_tests).
//!
//! [`check`] wraps the body of a test; [`LeakGuard`] is for tests that cannot be wrapped; [`assert_released`] waits for one
//! thing to go; [`assert_no_growth`] repeats a scenario and compares. Tests may run side by side: each has a
//! registry of its own.

mod check;
mod files;
mod foreign;
mod guard;
mod no_growth;
mod overdue;
mod released;

pub use check::{Check, check};
pub use guard::LeakGuard;
pub use no_growth::assert_no_growth;
pub use released::{WeakHandle, assert_released};
