//! Moving a program over: from `TaskTracker`, from `JoinSet`, from tokio-graceful-shutdown. Each before and after does the same
//! and runs.
//!
//! # From `TaskTracker` and a `CancellationToken`
//!
//! Before:
//!
//! ```
//! use tokio_util::{sync::CancellationToken, task::TaskTracker};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
//! for n in 0..3 {
//!     let token = token.clone();
//!     tracker.spawn(async move {
//!         token.cancelled().await;
//!         println!("worker {n} tidies up");
//!     });
//! }
//!
//! token.cancel();
//! tracker.close();
//! tracker.wait().await;
//! # }
//! ```
//!
//! After:
//!
//! ```
//! use headcount::Registry;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let workers = Registry::global().context("workers");
//! for n in 0..3 {
//!     let ctx = workers.downgrade();
//!     workers.task("worker").spawn(async move {
//!         ctx.cancelled().await;
//!         println!("worker {n} tidies up");
//!     });
//! }
//!
//! let report = workers.close().await;
//! assert_eq!(report.finished(), 3);
//! # }
//! ```
//!
//! | `TaskTracker`, token | here | what is different |
//! |---|---|---|
//! | `tracker.spawn(f)` | [`ctx.spawn(f)`](crate::Context::spawn), [`ctx.task(name)`](crate::Context::task) | The task has a name and a line. After the close has begun it is refused: the handle says so. |
//! | `tracker.track_future(f)` | [`ctx.wrap(f)`](crate::Context::wrap) | The same, for futures that a library spawns. |
//! | `token.cancelled()` | [`WeakContext::cancelled`](crate::WeakContext::cancelled) | It returns the reason. |
//! | `token.clone()`, passed on | [`ctx.token()`](crate::Context::token) | A token of tokio-util, which code that takes one gets. Cancelling it does not close the context. |
//! | `token.child_token()` | [`ctx.child(name)`](crate::Context::child) | A child closes alone, and before its parent. |
//! | `token.cancel(); tracker.close(); tracker.wait()` | [`ctx.close()`](crate::Context::close) | One call. A task that does not end is aborted after the grace period, 5 s unless set. |
//! | `tracker.wait()` alone | [`ctx.finish()`](crate::Context::finish) | Waits for the tasks without cancelling them. |
//! | `timeout(limit, tracker.wait())` | [`ctx.close_by(limit)`](crate::Context::close_by) | What is left at the limit is named, and has been aborted. |
//!
//! The future of a task must not hold a [`Context`](crate::Context), only a [`WeakContext`](crate::WeakContext): see
//! [`Context`](crate::Context).
//!
//! # From `JoinSet`
//!
//! Before:
//!
//! ```
//! use tokio::task::JoinSet;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let mut set = JoinSet::new();
//! for n in 1..=3 {
//!     set.spawn(async move { n * n });
//! }
//! let mut sum = 0;
//! while let Some(square) = set.join_next().await {
//!     sum += square.unwrap();
//! }
//! assert_eq!(sum, 14);
//! # }
//! ```
//!
//! After:
//!
//! ```
//! use headcount::Registry;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let ctx = Registry::global().context("squares");
//! let mut set = ctx.join_set();
//! for n in 1..=3 {
//!     set.spawn(async move { n * n });
//! }
//! let mut sum = 0;
//! while let Some(square) = set.join_next().await {
//!     sum += square.unwrap();
//! }
//! assert_eq!(sum, 14);
//! # drop(set);
//! ctx.close().await;
//! # }
//! ```
//!
//! A `JoinSet` that only collects tasks, and that nothing joins before the end, keeps each of their results until then. Tasks that are
//! spawned with [`ctx.spawn`](crate::Context::spawn) are gone when they have ended: there is nothing to join, and
//! [`close`](crate::Context::close) awaits the others.
//!
//! | `JoinSet` | here | what is different |
//! |---|---|---|
//! | `set.spawn(f)` | [`TaskSet::spawn`](crate::TaskSet::spawn), or [`ctx.spawn(f)`](crate::Context::spawn) without a set | The task is listed. |
//! | `set.join_next()` | [`TaskSet::join_next`](crate::TaskSet::join_next) | The error says whether the task was aborted, panicked or was refused. |
//! | `set.abort_all()` | [`ctx.close_now()`](crate::Context::close_now) | It also waits until they are gone. |
//! | dropping the set aborts its tasks | dropping a [`TaskSet`](crate::TaskSet) does as well | One that is to go on is spawned on the context. |
//! | `set.shutdown()` | [`ctx.close()`](crate::Context::close) | Tasks are cancelled first, and aborted after the grace period. |
//!
//! # From tokio-graceful-shutdown
//!
//! Before:
//!
//! ```
//! use std::{io, time::Duration};
//! use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
//!
//! async fn database(subsys: &mut SubsystemHandle) -> io::Result<()> {
//!     subsys.on_shutdown_requested().await;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let top = Toplevel::new(async |subsys: &mut SubsystemHandle| {
//!     subsys.start(SubsystemBuilder::new("database", database));
//! # subsys.request_shutdown();
//! });
//! top.catch_signals()
//!     .handle_shutdown_requests(Duration::from_secs(1))
//!     .await
//!     .unwrap();
//! # }
//! ```
//!
//! After:
//!
//! ```
//! use headcount::{OnFailure, Registry, WeakContext};
//! use std::{io, time::Duration};
//!
//! async fn database(ctx: WeakContext) -> io::Result<()> {
//!     ctx.cancelled().await;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let registry = Registry::new();
//! // An error or a panic of a subsystem ends all of them, as it does there.
//! let top = registry.context_builder("top").on_failure(OnFailure::Close).open();
//! let db = top.child("database");
//! db.task("main").fallible().spawn(database(db.downgrade()));
//!
//! tokio::select! {
//!     _ = tokio::signal::ctrl_c() => {}
//!     _ = top.closed() => {}
//! # () = std::future::ready(()) => {}
//! }
//! let report = top.close_by(Duration::from_secs(1)).await.unwrap();
//! assert!(report.is_clean());
//! # }
//! ```
//!
//! | tokio-graceful-shutdown | here | what is different |
//! |---|---|---|
//! | `SubsystemBuilder::new(name, f)` | [`ctx.child(name)`](crate::Context::child) and a task | A child may have many tasks, and its own children. |
//! | `on_shutdown_requested()` | [`WeakContext::cancelled`](crate::WeakContext::cancelled) | It returns the reason. |
//! | `f.cancel_on_shutdown(&subsys)` | [`WeakContext::run_until_cancelled`](crate::WeakContext::run_until_cancelled), [`cancellable()`](crate::TaskBuilder::cancellable) | |
//! | `request_shutdown()` | [`registry.request_close(reason)`](crate::Registry::request_close) | With a reason, which tasks and the report can read. |
//! | `handle_shutdown_requests(limit)` | [`close_by(limit)`](crate::Context::close_by) | Tasks that are left are aborted, and the error names them. |
//! | `catch_signals()` | `headcount::run`, or `Registry::close_on_signals` (feature `signal`) | A second signal aborts, a third one ends the process, also where the runtime is blocked. |
//! | errors propagate | [`OnFailure::Close`](crate::OnFailure), [`fallible()`](crate::TaskBuilder::fallible) | It is decided for each context. |
//! | shut down in an order | [`needs`](crate::ContextBuilder::needs) | What needs the database is closed before it. |
