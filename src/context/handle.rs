//! [`Context`]: the strong handle.

use crate::{
    context::{
        close,
        core::{Core, Node},
        driver,
        reason::CloseReason,
        report::CloseReport,
        stragglers::StillClosing,
    },
    event,
    id::ResourceId,
    ledger::handle_log::HandleId,
    poll::waiting::{For, waiting},
    table::{live::Live, record::State, resource},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{fmt, future::poll_fn, panic::Location, pin::pin, sync::Arc, task::Poll, time::Duration};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// A scope that owns tasks, hooks, values and child contexts, and that closes once and for certain.
///
/// A context is opened by [`Registry::context`](crate::Registry::context) or, under another one, by
/// [`child`](Self::child). What is spawned on it is counted until its future is dropped, and
/// [`close`](Self::close) does not return before that count is zero, everywhere below it (I1, I14).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::Registry;
///
/// let registry = Registry::new();
/// let server = registry.context("server");
/// let conn = server.child("conn-1");
/// conn.spawn({
///     let conn = conn.downgrade();
///     async move { conn.cancelled().await }
/// });
///
/// let report = server.close().await;
/// assert!(report.is_clean());
/// assert_eq!((report.finished(), report.children()), (1, 1));
/// drop((server, conn));
/// assert!(registry.is_empty());
/// # }
/// ```
///
/// # Handles
///
/// A context stays open as long as somebody holds a strong handle to it: this type. Clones are cheap.
/// Neither tasks nor the registry nor the parent hold one (I3), so a task that needs its context takes
/// a [`WeakContext`](crate::WeakContext), by [`downgrade`](Self::downgrade) or [`Context::current`].
///
/// Dropping the last handle of an open context begins a close in the background, with the reason
/// [`Dropped`](CloseReason::Dropped) and a warning event (I11). Nothing blocks or panics in that drop.
/// If no runtime is left to drive the close, tasks are aborted and an error event names each hook that
/// could not run. Contexts that own each other's handles are torn down one after the other, however many.
///
/// # Runtimes
///
/// A context remembers the tokio runtime it was opened on (else its parent's, else the first one it
/// is used on), and spawns there, from any thread. Its hooks run on the runtime of whoever begins the
/// close, else on the one it remembers.
pub struct Context {
    core: Arc<Core>,
    hold: HandleId,
}

impl Context {
    /// Takes over a handle that is counted already, and writes it down.
    pub(crate) fn counted(core: Arc<Core>, location: &'static Location<'static>) -> Self {
        let hold = core.node.hold(location);
        Self { core, hold }
    }

    pub(crate) fn hold(&self) -> HandleId {
        self.hold
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.core.node
    }

    /// The id of the context.
    pub fn id(&self) -> ResourceId {
        self.node().meta.id
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.node().meta.name
    }

    /// Names from the outermost context down to this one, joined by `/`.
    pub fn path(&self) -> String {
        resource::path(&**self.node())
    }

    /// `Open`, `Closing` or `Closed`. One atomic load.
    pub fn state(&self) -> State {
        self.node().gate.state()
    }

    /// Lists this context and everything below it; what [`Registry::live`](crate::Registry::live) is
    /// to the registry. Scans the whole registry in bounded steps.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn live(&self) -> Live {
        self.node().table.live().await.under(self.id())
    }

    /// The token that is cancelled when the context closes, and with it the tokens of all its
    /// descendants.
    ///
    /// It is for code that wants a token. Cancelling it by hand cancels whoever watches it, but does
    /// not close the context, and [`is_cancelled`](Self::is_cancelled) does not see it.
    pub fn token(&self) -> CancellationToken {
        self.node().token.clone()
    }

    /// Whether the close has begun. One atomic load, no lock.
    pub fn is_cancelled(&self) -> bool {
        self.node().is_cancelled()
    }

    /// Waits until the context's token is cancelled.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) {
        self.touch();
        self.node().token.cancelled().await;
    }

    /// As [`cancelled`](Self::cancelled), as a future that borrows nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let cancelled = tokio::spawn(ctx.cancelled_owned());
    /// ctx.close().await;
    /// cancelled.await.unwrap();
    /// # }
    /// ```
    pub fn cancelled_owned(&self) -> impl Future<Output = ()> + use<> {
        self.touch();
        self.node().token.clone().cancelled_owned()
    }

    /// Runs a future until it ends or the token is cancelled, whichever comes first; `None` if the
    /// token was. The future is dropped then.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        self.touch();
        self.node().token.run_until_cancelled(future).await
    }

    /// Begins the close in the background and returns at once. Does nothing if it has begun before:
    /// the first reason wins (I8).
    ///
    /// Without any runtime, now or remembered, the context refuses new work from here on, and the rest
    /// follows when somebody awaits [`close`](Self::close) on a runtime.
    #[track_caller]
    pub fn request_close(&self, reason: impl Into<CloseReason>) {
        request_at(&self.core, reason.into(), Location::caller());
    }

    /// Closes the context: afterwards nothing of it is alive (I1).
    ///
    /// In order: new work is refused; `on_closing` hooks start; the token is cancelled, and with it the
    /// tokens below; children close, tasks end, and whoever is left after the grace period is aborted;
    /// `on_close` hooks run, latest first; owned values are dropped, latest first; the report is given
    /// to all who wait. It takes as long as it takes: completion is never signalled early.
    ///
    /// All callers share one close and one report; a context that is closed already returns its report
    /// at once (I8).
    ///
    /// From inside, that is from one of the context's own tasks or hooks or a descendant's, it begins
    /// the close and returns at once, with a report whose status is
    /// [`Begun`](crate::CloseStatus::Begun) (I10).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons nothing: the close goes on in the background, and a later call
    /// joins it.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: neither the one the context remembers nor one on this thread.
    #[track_caller]
    pub fn close(&self) -> impl Future<Output = CloseReport> + use<> {
        close_for(&self.core, CloseReason::from("close"), Location::caller())
    }

    /// Closes the context, but waits no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what is in the way, when the limit comes first. The close goes on.
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close).
    #[track_caller]
    pub fn close_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
        let reason = CloseReason::from("close");
        within(&self.core, limit, reason, Location::caller())
    }

    /// Waits until somebody else has closed the context. From inside it waits until the close
    /// has begun, and returns a report whose status is [`Begun`](crate::CloseStatus::Begun): waiting
    /// for more would be waiting for oneself.
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close).
    pub fn closed(&self) -> impl Future<Output = CloseReport> + use<> {
        self.touch();
        let core = Arc::clone(&self.core);
        async move { wait(&core).await }
    }
}

/// Begins the close and sees to it that somebody drives it.
pub(crate) fn request(core: &Arc<Core>, reason: CloseReason) {
    close::begin(core, reason);
    driver::ensure_driver(core);
}

/// As [`request`], on behalf of a line of code.
fn request_at(core: &Arc<Core>, reason: CloseReason, location: &'static Location<'static>) {
    if close::begin(core, reason) {
        let _ = core.closed_at.set(location);
    }
    driver::ensure_driver(core);
}

pub(crate) fn close_for(
    core: &Arc<Core>,
    reason: CloseReason,
    location: &'static Location<'static>,
) -> impl Future<Output = CloseReport> + use<> {
    let core = Arc::clone(core);
    async move {
        request_at(&core, reason, location);
        wait(&core).await
    }
}

pub(crate) fn within(
    core: &Arc<Core>,
    limit: Duration,
    reason: CloseReason,
    location: &'static Location<'static>,
) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
    let core = Arc::clone(core);
    async move {
        let close = pin!(close_for(&core, reason, location));
        let timer = pin!(crate::clock::sleep(limit));
        match select(close, timer).await {
            Either::Left((report, _)) => Ok(report),
            Either::Right(_) => Err(StillClosing::look(&core, limit).await),
        }
    }
}

/// Waits for the end of the close; from inside only for its beginning. Who polls is asked each time: what was begun
/// outside may be awaited inside.
async fn wait(core: &Arc<Core>) -> CloseReport {
    let mut outside = pin!(wait_outside(core));
    let report = poll_fn(|cx| match close::begun_inside(core) {
        Some(report) => {
            driver::ensure_driver(core);
            Poll::Ready(report)
        }
        None => outside.as_mut().poll(cx),
    });
    report.await
}

/// Waits for the end of the close. Whoever waits brings a runtime to a close that lost its driver.
async fn wait_outside(core: &Arc<Core>) -> CloseReport {
    let node = &core.node;
    loop {
        let mut changed = pin!(node.changed.notified());
        changed.as_mut().enable();
        let mut needs_runtime = pin!(core.root().node.changed.notified());
        needs_runtime.as_mut().enable();
        if let Some(report) = node.report.get() {
            return report.clone();
        }
        if node.gate.state() != State::Open {
            if !driver::ensure_driver(core) {
                assert!(
                    Handle::try_current().is_ok(),
                    "the close of `{}` has no tokio runtime to run on: await it inside one, or open contexts inside one",
                    crate::name::Printed(&node.meta.name)
                );
                // This runtime is ending, or another had the wheel and lost it this very moment.
                driver::drive_here(core).await;
                continue;
            }
            driver::respawn_drivers(core);
        }
        let what = For::Close(&**node, node.gate.state() != State::Open);
        let mut either = select(changed, needs_runtime);
        poll_fn(|cx| waiting(cx, what, |cx| either.poll_unpin(cx))).await;
    }
}

impl Clone for Context {
    #[track_caller]
    fn clone(&self) -> Self {
        self.node().handles.add();
        Self::counted(Arc::clone(&self.core), Location::caller())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let which = self.cross_out();
        if self.node().handles.remove() {
            last_handle_dropped(&self.core, which);
        }
    }
}

/// What the last handle leaves behind: an open context is closed in the background (I11), a closed one
/// leaves the registry. `which` is the number under which the handle was crossed out, if it was written down.
fn last_handle_dropped(core: &Arc<Core>, which: Option<usize>) {
    let node = &core.node;
    let was_open = close::begin(core, CloseReason::Dropped);
    if was_open {
        core.root().dropped.note(node, which);
    }
    // Either we see that the close has ended, or it sees that we were the last.
    if node.gate.begin() == State::Closed {
        node.table.remove(node.meta.id);
    } else {
        driver::ensure_driver(core);
    }
    node.table.tracking.gone();
    if was_open {
        let location = node.meta.location;
        event::emit!(WARN,
            context = %crate::name::Printed(&node.meta.name),
            id = %node.meta.id,
            "the last handle of an open context was dropped; closing it in the background (opened at {}:{})",
            location.file(),
            location.line()
        );
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
