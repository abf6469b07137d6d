//! Web services: requests and connections that are counted, and a server that closes with its context (feature `tower`).
//!
//! | to | use |
//! |---|---|
//! | serve an `axum::Router`, or any service over hyper, and have it end with the close of a context | [`serve()`], [`ServeOptions`] |
//! | count the requests of a server that something else runs: `axum::serve`, tonic | [`RequestLayer`] |
//! | end a body at the close, which else would go on until the grace period is over | [`EndAtClose`] |
//! | serve what is no TCP socket | [`Listener`] |
//!
//! [`serve()`] counts requests as [`RequestLayer`] does, so it needs none. The module is named after tower's `Layer` and `Service`, to which
//! it is written. With the feature `axum` requests are named by the routes of an `axum::Router`: that alone needs a type of
//! axum, so that services without axum do not build it.
//!
//! # Compared with `axum::serve`
//!
//! `axum::serve(..).with_graceful_shutdown(..)` waits for as long as the slowest client takes. A client that never reads, an event stream
//! without end, and a request whose handler hangs keep it from returning, and web sockets are not awaited at all. Here the close has a
//! grace period, tells event streams and web sockets to end, and the report names what had to be ended by force.

mod body;
mod connection;
mod executor;
mod io;
mod layer;
mod listener;
mod name;
mod options;
mod response;
mod serve;
mod service;
mod stopping;
mod upgrade;

pub use body::{EndAtClose, RequestBody};
pub use layer::RequestLayer;
pub use listener::Listener;
pub use options::ServeOptions;
pub use response::ResponseFuture;
pub use serve::serve;
pub use service::RequestService;

/// What bodies and services fail with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
