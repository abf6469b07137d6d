//! Stress: what holds for one task holds for a million of them, from 64 threads, 50,000 contexts deep.
//!
//! Run with `cargo test --release --test stress -- --ignored`. `HEADCOUNT_STRESS=full` takes minutes,
//! `short` (the default) is bounded; `HEADCOUNT_SEED=<n>` repeats a run's random choices.

mod aborts;
mod churn;
mod common;
#[path = "../counting/mod.rs"]
mod counting;
mod day;
mod deep;
#[cfg(feature = "dump")]
mod dumps;
mod fuzz;
mod holds;
mod limits;
mod races;
mod registrations;
mod sessions;
#[cfg(unix)]
mod socket_sessions;
mod spawn_close;
mod squares;
mod wide;
#[cfg(feature = "web")]
#[path = "../it/window_fuzz.rs"]
mod window_fuzz;
