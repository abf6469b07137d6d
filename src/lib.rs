//! An async-native resource manager for tokio: it lists what is alive, closes for certain, and says who still holds on.
//!
//! It answers three questions. What is alive right now: [`registry.live().await`](Registry::live). Is everything really
//! finished: when [`ctx.close().await`](Context::close) returns, nothing of that context runs any more. Who still holds on:
//! [`registry.leaks(&policy).await`](Registry::leaks).
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
//! | join tasks in the order in which they end | [`Context::join_set`], [`TaskSet`] |
//! | start tasks inside a task | [`Context::current`], [`WeakContext::spawn`], [`WeakContext::task`] |
//! | abort tasks | [`Task::abort`], [`Task::abort_handle`], [`Task::abort_on_drop`], [`TaskBuilder::deadline`] |
//! | run one task at a time for each key | [`TaskBuilder::slot`] |
//! | limit how many run at once, with a bounded queue | [`Context::limit`], [`Limit`], [`TaskBuilder::within`] |
//! | limit how many tasks and children a context has | [`ContextBuilder::max_tasks`], [`ContextBuilder::max_children`] |
//! | open a context for one piece of code, and close it behind that | [`with_context`], [`Context::with_child`] |
//! | count futures and streams that a library polls | [`Context::wrap`], [`Context::wrap_stream`] |
//! | be notified of the close | [`WeakContext::cancelled`], [`TaskBuilder::cancellable`], [`Context::on_closing`] |
//! | clean up at the close | [`Context::on_close`], [`Context::own`] |
//! | start a task again when it fails, after a pause that grows | [`TaskBuilder::restart`], [`supervision`] |
//! | decide what follows from a failure | [`ContextBuilder::on_failure`], [`TaskBuilder::essential`], [`TaskBuilder::fallible`] |
//! | keep a context for each client, also while the client is cut off | [`Context::sessions`], [`sessions`] |
//! | write the main function of a service: signals, readiness, exit codes, systemd | `headcount::run`, `App` |
//! | serve HTTP, with requests and connections that are counted, and a stop that ends | `tower::serve`, `tower::RequestLayer` |
//! | close at a signal, or when a future is done | `Registry::close_on_signals`, [`Context::stop_on`] |
//! | close | [`Context::close`], [`Context::close_within`], [`Registry::close`] |
//! | see who holds something | [`Context::holders`], [`Tracked::holders`], [`Level`] |
//! | see who holds a lock or a permit | [`Tracked::lock`], [`Tracked::acquire`], [`Tracked::lock_holders`] |
//! | add up what became of tasks so far | [`Registry::stats`], [`Context::stats`], [`Registry::count_by_kind`] |
//! | publish figures for Prometheus and others | `metrics::publish` |
//! | follow what happens, as it happens | [`Registry::events`], [`events`] |
//! | find leaks | [`Registry::leaks`], [`leaks`], [`leaks::LeakPolicy`], [`Registry::growth`] |
//! | fail a test that leaves something behind, or hangs | `testing::check`, `testing::Check::limit` |
//! | close a scenario at every moment | `testing::close_anywhere` |
//! | see where tasks wait, and which wait for each other | `Registry::dump`, `dump::Dump::deadlocks`, `Registry::dump_on` |
//! | look at it in a browser, or as JSON over HTTP | `Registry::window`, `window::Window` |
//! | list things other than tasks | [`Registry::register`], [`Context::register`], [`Registry::own`], [`Registry::track`] |
//!
//! The [`docs`] module explains how the close works, what is promised, and what the limits are.
//!
//! # Features
//!
//! * `axum`: the feature `tower`, with requests named by the routes of an `axum::Router`, and the chapter `docs::web_services`.
//! * `console`: tasks in tokio-console, by name, without `tokio_unstable`: the chapter `docs::console`.
//! * `dump`: shows where every task waits, down to the line: `Registry::dump`.
//! * `metrics`: figures for Prometheus and others, through the facade of the crate `metrics`: `headcount::metrics`.
//! * `sessions` (on by default): the table of [`sessions`].
//! * `serde`: implements `serde::Serialize` for [`Live`], [`Resource`], [`CloseReport`], [`Failure`], [`Stats`], [`events::Event`], `dump::Dump`, [`leaks::LeakReport`]
//!   and [`leaks::Graph`], and adds `Graph::json`.
//! * `signal`: the main function of a service, `headcount::run`; `Registry::close_on_signals`; and a dump at a signal, such as
//!   `kill -USR1`: `Registry::dump_on` (Unix). Switches on `dump`, and tokio's `rt-multi-thread`.
//! * `supervision` (on by default): tasks that are started again when they fail, [`supervision`].
//! * `testing`: the test kit, which fails a test that leaves something behind, and `Graph::svg` (which `web` has as well). Ages follow time that a test
//!   pauses and advances. It switches on tokio's `test-util`, because `close_anywhere` pauses the clock: name it in `[dev-dependencies]`.
//! * `tower`: web services over hyper: the server `tower::serve`, and `tower::RequestLayer` for servers that something else runs.
//! * `web`: a page in the browser and its JSON, `Registry::window`. Includes `dump` and `serde`.

// The build on docs.rs says which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod codebase;
mod console;
mod container;
mod context;
pub mod docs;
#[cfg(feature = "dump")]
pub mod dump;
mod error;
mod event;
pub mod events;
mod holders;
mod id;
#[cfg(feature = "serde")]
mod labels;
pub mod leaks;
mod ledger;
mod limits;
mod locks;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(all(test, headcount_loom))]
mod models;
mod name;
mod offload;
mod panics;
mod plural;
mod poll;
mod rare;
mod registry;
#[cfg(feature = "signal")]
mod run;
#[cfg(feature = "sessions")]
pub mod sessions;

mod slab;
#[cfg(feature = "supervision")]
pub mod supervision;

mod symbol;
mod sync;
mod table;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod timer;
#[cfg(feature = "tower")]
pub mod tower;
mod tracked;
#[cfg(feature = "web")]
pub mod window;

pub use context::builder::ContextBuilder;
pub use context::close_reason::CloseReason;
pub use context::context::Context;
pub use context::failure::{Failure, FailureKind, OnFailure};
pub use context::haste::Deadline;
pub use context::refusal::Refusal;
pub use context::report::{CloseReport, CloseStatus};
pub use context::slots::OnConflict;
pub use context::stats::Stats;
pub use context::still_closing::StillClosing;
pub use context::tally::HookCounts;
pub use context::weak::WeakContext;
pub use context::{hook_output::HookOutput, hooks::Hook};

pub use container::Container;
pub use error::{ClosedError, OpenError, PanicPayload, RefusedError, RefusedReason, TaskError};
pub use holders::{Holder, Holders};

pub use id::ResourceId;

pub use ledger::level::{Level, UnknownLevel};
pub use ledger::lock_log::LockHolder;

pub use limits::error::AcquireError;
pub use limits::limit::Limit;
pub use limits::limited_task::LimitedTask;
pub use limits::permit::Permit;
pub use limits::usage::LimitUsage;

pub use locks::guard::TrackedGuard;

pub use registry::builder::RegistryBuilder;
pub use registry::free::{context, live, register, spawn, track, with_context};
pub use registry::readiness::Readiness;
pub use registry::registry::Registry;

#[cfg(feature = "signal")]
pub use run::app::App;
#[cfg(feature = "signal")]
pub use run::builder::AppBuilder;
#[cfg(feature = "signal")]
pub use run::main_function::run;
#[cfg(feature = "signal")]
pub use run::options::StopOptions;

pub use table::kinds::KindCount;
pub use table::live::{Live, LiveIter};
pub use table::record::State;
pub use table::registration::Registration;
pub use table::resource::Resource;

pub use task::abort::AbortHandle;
pub use task::builder::TaskBuilder;
pub use task::end_check::{CheckKind, EndCheck, Essential, Fallible, Unchecked};
pub use task::handle::{AbortOnDrop, Task};
pub use task::start::{ReadySender, StartError};
pub use task::task_ref::TaskRef;
pub use task::task_set::TaskSet;
pub use task::wrapped::Wrapped;
pub use task::wrapped_stream::WrappedStream;

pub use tracked::{Tracked, WeakTracked};

/// Compiles and runs the code in the README.
#[doc = include_str!("../README.md")]
#[cfg(all(doctest, unix, feature = "signal", feature = "testing"))]
struct Readme;
