//! Know who is still inside before you lock the door: an async-native resource manager for tokio.
//!
//! Two things are certain with it: [`registry.live().await`](Registry::live) shows everything that is
//! alive, and when [`ctx.close().await`](Context::close) returns nothing of that context is.
//!
//! ```
//! use headcount::Registry;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let registry = Registry::new();
//! let server = registry.context("server");
//!
//! let ctx = server.downgrade();
//! server.task("accept").spawn(async move {
//!     ctx.cancelled().await; // the close has begun: tidy up
//! });
//! server.on_close(|| async { println!("goodbye") }).unwrap();
//!
//! assert_eq!(registry.live().await.tasks().len(), 1);
//! let report = server.close().await;
//! assert!(report.is_clean());
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | list what is alive | [`Registry::live`], [`Live`] |
//! | group tasks that begin and end together | [`Registry::context`], [`Context::child`] |
//! | start tasks | [`Context::spawn`], [`Context::task`], [`Context::spawn_blocking`], [`Context::spawn_local`] |
//! | count futures that others spawn | [`Context::wrap`] |
//! | see the close coming | [`WeakContext::cancelled`], [`TaskBuilder::cancellable`], [`Context::on_closing`] |
//! | tidy up | [`Context::on_close`], [`Context::own`] |
//! | close | [`Context::close`], [`Context::close_within`], [`Registry::close`] |
//! | see who holds something | [`Context::holders`], [`Tracked::holders`], [`Level`] |
//! | find leaks | [`Registry::leaks`], [`leaks`], [`leaks::LeakPolicy`], [`Registry::growth`] |
//! | fail a test that leaves something behind, or hangs | `testing::check`, `testing::Check::limit` |
//! | see where tasks wait, and who waits for whom | `Registry::dump`, `dump::Dump::deadlocks`, `Registry::dump_on` |
//! | list things that are no tasks | [`Registry::register`], [`Registry::own`], [`Registry::track`] |
//!
//! The [`docs`] module tells how the close works, what is promised, and what the limits are.
//!
//! # Features
//!
//! * `dump`: where every task waits, down to the line: `Registry::dump`.
//! * `serde`: [`Live`], [`Resource`], [`CloseReport`] and `dump::Dump` implement `serde::Serialize`.
//! * `signal`: `Registry::dump_on`, for `kill -USR1`; with `dump`, on Unix.
//! * `testing`: the test kit, which fails a test that leaves something behind.

mod clock;
mod context;
pub mod docs;
#[cfg(feature = "dump")]
pub mod dump;
mod error;
mod event;
mod holders;
mod id;
pub mod leaks;
mod ledger;
#[cfg(all(test, headcount_loom))]
mod models;
mod name;
mod panics;
mod poll;
mod registry;

mod slab;
mod sync;
mod table;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
mod tracked;

pub use context::builder::ContextBuilder;
pub use context::context::Context;
pub use context::hooks::{Hook, HookOutput};
pub use context::refusal::Refusal;
pub use context::report::{CloseReason, CloseReport, CloseStatus, HookCounts};
pub use context::stragglers::StillClosing;
pub use context::weak::WeakContext;

pub use error::{ClosedError, PanicPayload, RefusedError, RefusedReason, TaskError};
pub use holders::inside::Container;
pub use holders::view::{Holder, Holders};

pub use id::ResourceId;

pub use ledger::level::{Level, UnknownLevel};

pub use registry::free::{context, live, register, spawn, track};
pub use registry::registry::Registry;

pub use table::live::{Live, LiveIter};
pub use table::record::State;
pub use table::registration::Registration;
pub use table::resource::Resource;

pub use task::builder::TaskBuilder;
pub use task::handle::Task;
pub use task::wrapped::Wrapped;

pub use tracked::{Tracked, WeakTracked};

/// The code in the README compiles and runs.
#[doc = include_str!("../README.md")]
#[cfg(all(doctest, feature = "testing"))]
struct Readme;
