//! Supervised tasks: started again when they fail, after a pause that grows, as often as their budget allows.
//!
//! [`TaskBuilder::restart`](crate::TaskBuilder::restart) takes the rules, a [`Restart`], and
//! [`run`](SupervisedBuilder::run) a closure that makes a new future for each [`Attempt`]. The [`Supervised`] that comes back says
//! how it is doing; dropping it changes nothing.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use headcount::{Registry, supervision::{Restart, SupervisionEnd}};
//! use std::time::Duration;
//!
//! let ctx = Registry::new().context("server");
//! let rules = Restart::on_failure().budget(5, Duration::from_secs(60));
//! let feed = ctx.task("feed").restart(rules).run(|attempt| async move {
//!     if attempt.number() < 3 { Err("connection refused") } else { Ok(()) }
//! });
//! assert_eq!(feed.ended().await, SupervisionEnd::Finished);
//! assert_eq!(feed.attempts(), 3);
//! assert_eq!(feed.last_failure().unwrap().message(), "connection refused");
//!
//! let report = ctx.close().await;
//! assert_eq!((report.restarted(), report.is_clean()), (2, true));
//! # }
//! ```
//!
//! The chapter [`docs::supervision`](crate::docs::supervision) draws the states, and says what is counted, what is refused when,
//! and what is not promised.

mod attempt;
mod builder;
mod code;
pub(crate) mod control;
mod ends;
mod pause;
mod restart;
mod restarts;
mod state;
mod supervised;
mod supervisor;

pub use attempt::{Attempt, AttemptOutput};
pub use builder::SupervisedBuilder;
pub use restart::{ErrorFilter, GiveUp, Restart, RetryAll, Unless};
pub use supervised::{Supervised, SupervisedState, SupervisionEnd};
