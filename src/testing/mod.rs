//! The test kit: fails a test that leaves something behind.
//!
//! The failure says what is left, who holds it, and on which line the handle was taken. [`check`] wraps the body of a test;
//! [`LeakGuard`] is for tests that cannot be wrapped; [`assert_released`] waits until one thing is gone;
//! [`assert_no_growth`] repeats a scenario and compares counts; [`close_anywhere`] closes a scenario at every moment. Tests may run side by side, because each has a registry of
//! its own. There is a [guide](crate::docs::leak_tests).

mod asserts;
mod bare_spawns;
mod check;
mod close_anywhere;
mod disturbance;
mod disturbed_run;
mod guard;
mod overtime;
mod report_files;
mod stage;
mod unclean;
mod verdict;

pub use asserts::{WeakHandle, assert_no_growth, assert_released};
pub use check::{Check, check};
pub use close_anywhere::{CloseAnywhere, close_anywhere};
pub use disturbance::Disturbance;
pub use guard::LeakGuard;
