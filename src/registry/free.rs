//! The same verbs, on the current registry.

use crate::{
    context::{context::Context, current},
    event,
    id::ResourceId,
    name::Name,
    registry::registry::Registry,
    table::{live::Live, registration::Registration},
    task::{builder::TaskBuilder, handle::Task},
};
use std::{
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// [`Registry::track`] on the [current](Registry::current) registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # async fn handle() {
/// let conn = std::sync::Arc::new("a connection");
/// headcount::track(&conn, "conn-1", "connection");
/// assert_eq!(headcount::live().await.kind("connection").len(), 1);
/// drop(conn);
/// assert!(headcount::live().await.kind("connection").is_empty());
/// # }
/// # headcount::Registry::new().scope(handle()).await;
/// # }
/// ```
#[track_caller]
pub fn track<T: Send + Sync + ?Sized + 'static>(
    value: &Arc<T>,
    name: impl Into<Name>,
    kind: impl Into<Name>,
) -> ResourceId {
    Registry::current().track(value, name, kind)
}

/// [`Registry::register`] on the [current](Registry::current) registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # async fn handle() {
/// let request = headcount::register("GET /users", "request");
/// assert_eq!(headcount::live().await.kind("request").len(), 1);
/// drop(request);
/// assert!(headcount::live().await.kind("request").is_empty());
/// # }
/// # headcount::Registry::new().scope(handle()).await;
/// # }
/// ```
#[track_caller]
pub fn register(name: impl Into<Name>, kind: impl Into<Name>) -> Registration {
    Registry::current().register(name, kind)
}

/// [`Registry::context`] on the [current](Registry::current) registry: a context at its top, not a
/// child of the current one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let server = registry.context("server");
/// let path = server.spawn(async { headcount::context("audit").path() });
/// assert_eq!(path.await.unwrap(), "audit"); // in the registry of the task, and not below `server`
/// # }
/// ```
#[must_use = "a context closes when its last handle is dropped"]
#[track_caller]
pub fn context(name: impl Into<Name>) -> Context {
    Registry::current().context(name)
}

/// Opens a context at the top of the [current](Registry::current) registry, runs a body with it, closes it, and returns what
/// the body returned.
///
/// When this returns nothing of the context is left (I1), also if the body panics: the panic goes on after the close.
/// The body is the caller's code, not a task of the context, so it may await anything, the close included.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let sum = headcount::with_context("job", async |ctx| {
///     let (a, b) = (ctx.spawn(async { 40 }), ctx.spawn(async { 2 }));
///     a.await.unwrap() + b.await.unwrap()
/// });
/// assert_eq!(sum.await, 42);
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping the future drops the body, and closes the context in the background, without a warning.
///
/// # Panics
///
/// As the body, and if there is no tokio runtime.
#[track_caller]
pub fn with_context<B, T, N: Into<Name>>(name: N, body: B) -> impl Future<Output = T> + use<B, T, N>
where
    B: AsyncFnOnce(Context) -> T,
{
    Registry::current().with_context(name, body)
}

/// [`Context::spawn`] on the [current](Context::current) context; outside of one, on the
/// [current](Registry::current) registry itself, whose [`close`](Registry::close) then awaits it; an event says so the first time
/// that this is the global registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::Registry;
/// let registry = Registry::new();
/// let ctx = registry.context("ctx");
/// ctx.spawn(async { drop(headcount::spawn(async { 42 })) }).await.unwrap();
/// assert_eq!(ctx.close().await.finished(), 2);
/// # }
/// ```
///
/// # Panics
///
/// If there is no tokio runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if let Some(core) = current::with_node(|node| node.core.upgrade()).flatten() {
        TaskBuilder::new(&core, None).spawn(future)
    } else {
        say_global(Location::caller());
        TaskBuilder::new(Registry::global().root(), None).spawn(future)
    }
}

/// Says once that a task is on the global registry, because it was spawned outside of any context.
#[cold]
fn say_global(location: &Location<'_>) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !IS_SAID.swap(true, Relaxed) {
        let (file, line) = (location.file(), location.line());
        event::emit!(target: "headcount::task", INFO,
            "`headcount::spawn` was called outside of any context at {file}:{line}: the task belongs to the global registry, and only \
             closing that registry waits for it"
        );
    }
}

/// [`Registry::live`] on the [current](Registry::current) registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let ctx = registry.context("server");
/// let listing = ctx.task("status").spawn(async { headcount::live().await });
/// let live = listing.await.unwrap(); // what the task saw of its own registry
/// assert_eq!(live.iter().map(|thing| thing.path()).collect::<Vec<_>>(), ["server", "server/status"]);
/// # }
/// ```
pub async fn live() -> Live {
    Registry::current().live().await
}

/// [`Registry::dump_on`] on the [global](Registry::global) registry.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use tokio::signal::unix::SignalKind;
/// headcount::dump::dump_on(SignalKind::user_defined1())?; // kill -USR1 <pid>
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`Registry::dump_on`].
#[cfg(all(feature = "signal", unix))]
#[track_caller]
pub fn dump_on(kind: tokio::signal::unix::SignalKind) -> std::io::Result<()> {
    Registry::global().dump_on(kind)
}
