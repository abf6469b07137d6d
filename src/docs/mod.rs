//! Chapters of text: how it works, what it promises, and what it cannot do. There is no code in here.
//!
//! * [`closing`]: the close, step by step, and what it does in each unusual situation.
//! * *Tasks in tokio-console* (`docs::console`, with the feature `console`): what is shown, and what it costs.
//! * *Where tasks wait* (`docs::dumps`, with the feature `dump`): how a dump finds out, and what it cannot see.
//! * [`events`]: events, sums, and figures for a monitoring system: what is promised, and what it costs.
//! * [`internals`]: how the registry and the contexts are built, and why.
//! * [`invariants`]: the promises, numbered as the code and the tests cite them.
//! * *Writing leak tests* (`docs::leak_tests`, with the feature `testing`): a guide to tests that fail when something is left
//!   behind.
//! * [`leaks`]: what counts as a leak, how the report is made, what it cannot see.
//! * [`limitations`]: what to know before relying on it.
//! * [`limits`]: what is refused when, who waits, and what is not promised.
//! * [`migrating`]: from `TaskTracker`, from `JoinSet`, from tokio-graceful-shutdown.
//! * [`performance`]: what it costs, compared with the alternatives.
//! * *Running a service* (`docs::running`, with the feature `signal`): the stages of a stop, exit codes, Kubernetes and systemd.
//! * *Sessions* (`docs::sessions`, with the feature `sessions`): their states, what is refused when, and what is not promised.
//! * *Supervision* (`docs::supervision`, with the feature `supervision`): tasks that are started again, what is counted, and what is
//!   not promised.
//! * *Web services* (`docs::web_services`, with the feature `axum`): requests, connections, what streams, and the order of a stop.
//! * *The window* (`docs::window`, with the feature `web`): the page, its paths and their JSON, and who may look.

pub mod closing;
#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "dump")]
pub mod dumps;
pub mod events;
pub mod internals;
pub mod invariants;
#[cfg(feature = "testing")]
pub mod leak_tests;
pub mod leaks;
pub mod limitations;
pub mod limits;
pub mod migrating;
pub mod performance;
#[cfg(feature = "signal")]
pub mod running;
#[cfg(feature = "sessions")]
pub mod sessions;
#[cfg(feature = "supervision")]
pub mod supervision;
#[cfg(feature = "axum")]
pub mod web_services;
#[cfg(feature = "web")]
pub mod window;
