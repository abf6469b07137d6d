//! Figures for Prometheus and others, through the facade of the crate [`metrics`](https://docs.rs/metrics); with the feature `metrics`.
//!
//! A program chooses how they go out: by installing a recorder, such as that of `metrics-exporter-prometheus`. Tasks pay nothing for
//! the figures. They are read when they are asked for: by [`Publisher::update`], before a scrape, or every few seconds, by
//! [`Publisher::every`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # use std::time::Duration;
//! let registry = headcount::Registry::new();
//! // After the recorder was installed.
//! let figures = headcount::metrics::publish(&registry);
//! figures.every(Duration::from_secs(5)).detach();
//! # }
//! ```
//!
//! | name | type | labels | what it is |
//! |---|---|---|---|
//! | `headcount_entries` | gauge | `kind`, `state` | what is alive: tasks, contexts, registered, owned and tracked values |
//! | `headcount_tasks_running` | gauge | | tasks that were accepted and have not ended |
//! | `headcount_tasks_ended_total` | counter | `outcome` | tasks that ended: finished, cancelled, aborted, forced, `runtime_ended`, panicked |
//! | `headcount_tasks_failed_total` | counter | | tasks that failed otherwise than by a panic: those are in `outcome` as well |
//! | `headcount_tasks_restarted_total` | counter | | attempts of supervised tasks that another one followed |
//! | `headcount_tasks_refused_total` | counter | `reason` | tasks that were refused and dropped: closed, full |
//! | `headcount_contexts_open` | gauge | | contexts that are open or closing |
//! | `headcount_contexts_closed_total` | counter | `reason` | contexts that have closed: requested, parent, failed, dropped, … |
//! | `headcount_close_seconds_bucket` | counter | `le` | closes that took so many seconds at most, for `histogram_quantile` |
//! | `headcount_closes_unclean_total` | counter | | closes that were not [clean](crate::CloseReport::is_clean) |
//! | `headcount_close_seconds_total` | counter | | how long all closes took together, in whole seconds |
//! | `headcount_leaks` | gauge | | what the latest look of [`watch_leaks`](crate::Registry::watch_leaks) has found; absent until there was one |
//! | `headcount_runtime_workers` | gauge | | worker threads of the tokio runtime that updates |
//! | `headcount_runtime_tasks` | gauge | | its tasks, those that no context has included |
//! | `headcount_runtime_queue_depth` | gauge | | tasks in its global queue |
//! | `headcount_runtime_busy_seconds_total` | counter | | how long its workers were busy, in whole seconds |
//!
//! Beside these are the figures of the process, as Prometheus clients name them, by the crate `metrics-process`: `process_resident_memory_bytes`,
//! `process_threads`, `process_open_fds`, `process_cpu_seconds_total` and others. They go to the global recorder.
//!
//! Names and ids are no labels. Kinds are, and the program chooses those: the first 100 of them have a series of their own, the others
//! are `other` together. A kind that is gone stays at 0. Every `reason` and every `outcome` is there from the first update on, so that a rate
//! has a value before the first refusal.
//!
//! A window serves the same figures at its path `/metrics` (feature `web`), by a recorder of its own.
//! `examples/fleet` has rules for alerts, a Prometheus that scrapes three processes, and a test of both.
//!
//! The series have no label for the registry: publish one of them, as a program has one.

// `reading` has what is read and hands it to a recorder, `describe` what each figure is, `series` which kinds there were. A `publisher` does
// that for the program's recorder, and a `page` for that of a window.

mod describe;
#[cfg(feature = "web")]
pub(crate) mod page;
mod publisher;
mod reading;
mod series;

pub use publisher::{PublishGuard, Publisher, publish};
