//! What tokio-console gets to know of tasks; with the feature `console`.
//!
//! tokio-console reads spans with the name `runtime.spawn`. tokio makes them itself in a build with `tokio_unstable`, and then it gets
//! the names of tasks from here ([`named`]). In every other build they are made here ([`span`]). There are never both.
//!
//! A subscriber is user code. Each call of one is caught by itself, and a task begins, is polled and ends as it would without.

#[cfg(not(all(feature = "console", tokio_unstable)))]
mod bare;
#[cfg(all(feature = "console", tokio_unstable))]
mod named;
#[cfg(not(all(feature = "console", not(tokio_unstable))))]
mod no_span;
#[cfg(all(feature = "console", not(tokio_unstable)))]
mod span;
#[cfg(all(feature = "console", not(tokio_unstable)))]
mod waker;

#[cfg(not(all(feature = "console", tokio_unstable)))]
pub(crate) use bare::{spawn, spawn_blocking, spawn_local};
#[cfg(all(feature = "console", tokio_unstable))]
pub(crate) use named::{spawn, spawn_blocking, spawn_local};
#[cfg(not(all(feature = "console", not(tokio_unstable))))]
pub(crate) use no_span::TaskSpan;
#[cfg(all(feature = "console", not(tokio_unstable)))]
pub(crate) use span::TaskSpan;
