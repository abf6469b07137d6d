//! [`Context`]: the strong handle.

use crate::{
    container::{self, Container},
    context::{
        builder::ContextBuilder,
        close_reason::CloseReason,
        current, driver, finish,
        haste::Deadline,
        hook_output::HookOutput,
        hooks::{Hook, When},
        report::CloseReport,
        state::{Core, Node},
        stats::Stats,
        still_closing::StillClosing,
        stop_on, wait,
        weak::{WeakContext, add_hook, own},
        with_context::run_with,
    },
    error::{ClosedError, RefusedError},
    holders::Holders,
    id::ResourceId,
    ledger::handle_log::{HandleId, How},
    name::{Name, label},
    table::{
        live::Live,
        record::{Facts, Record, State},
        registration::Registration,
        resource,
    },
    task::{
        builder::TaskBuilder, handle::Task, task_ref::TaskRef, task_set::TaskSet, wrapped::Wrapped,
        wrapped_stream::WrappedStream,
    },
    tracked::Tracked,
};
#[cfg(feature = "dump")]
use crate::{context::blocked, context::dumps::DUMP_LIMIT, dump::dump::Dump};
use futures::Stream;
use std::{fmt, panic::Location, sync::Arc, time::Duration};
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
/// A context stays open as long as there is a strong handle to it: this type. Clones are cheap.
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
/// is used on), and spawns there, from any thread. Its hooks run on the runtime of the code that begins the
/// close, else on the one it remembers.
pub struct Context {
    core: Arc<Core>,
    hold: HandleId,
}
impl Context {
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

    /// The context whose task, blocking closure or hook is running this code, if any.
    ///
    /// Also inside futures that were [`wrap`](Self::wrap)ped and spawned elsewhere. Weak, because a
    /// task must not hold its own context open by accident.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Context, Registry};
    /// let ctx = Registry::new().context("ctx");
    /// let name = ctx.spawn(async { Context::current().unwrap().name().to_owned() }).await.unwrap();
    /// assert_eq!(name, "ctx");
    /// assert!(Context::current().is_none());
    /// # }
    /// ```
    pub fn current() -> Option<WeakContext> {
        current::with_node(|node| (!node.is_root()).then(|| WeakContext::new(node.arc()))).flatten()
    }

    /// The task, blocking closure or wrapped future that runs this code, if any.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Context, Registry};
    /// let ctx = Registry::new().context("ctx");
    /// let poller = ctx.task("poller").spawn(async { Context::current_task().unwrap() });
    /// let (id, itself) = (poller.id(), poller.await.unwrap());
    /// assert_eq!((itself.id(), itself.name()), (id, "poller"));
    /// assert!(Context::current_task().is_none());
    /// # }
    /// ```
    pub fn current_task() -> Option<TaskRef> {
        TaskRef::current()
    }

    /// The context this one is a child of.
    pub fn parent(&self) -> Option<WeakContext> {
        let parent = self.node().parent.as_ref()?;
        (!parent.is_root()).then(|| WeakContext::new(Arc::clone(parent)))
    }

    /// What became of its tasks so far, and of those below it: the sums of a [`CloseReport`], without a close.
    ///
    /// # Performance
    ///
    /// Tasks pay nothing for it: it reads what their contexts count anyway, once for each open context below this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("server");
    /// ctx.child("request").spawn(async {}).await.unwrap();
    /// assert_eq!(ctx.stats().finished, 1);
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        Stats::of(self.core())
    }

    /// The children that have not closed yet, oldest first.
    pub fn children(&self) -> Vec<WeakContext> {
        let mut children: Vec<_> = self
            .core()
            .children()
            .iter()
            .map(|core| Arc::clone(&core.node))
            .collect();
        children.sort_by_key(|node| node.meta.order());
        children.into_iter().map(WeakContext::new).collect()
    }

    /// A handle that does not keep the context open.
    pub fn downgrade(&self) -> WeakContext {
        WeakContext::new(Arc::clone(self.node()))
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

    /// Asks every task of this context, and of those below it, where it waits, and every hook of theirs that is running.
    /// See [`Registry::dump`](crate::Registry::dump).
    #[cfg(feature = "dump")]
    pub async fn dump(&self) -> Dump {
        let id = self.id();
        let _watched = blocked::watch_dump(self.core());
        let node = self.node();
        node.dump(DUMP_LIMIT, move |live| live.under(id)).await
    }

    /// Opens a child context.
    ///
    /// It lives as long as there is a handle to it: the parent closes it, but does not hold it
    /// open. If this context is closing or closed, the child is closed from the start; see
    /// [`try_child`](Self::try_child).
    #[must_use = "a child closes when its last handle is dropped"]
    #[track_caller]
    pub fn child(&self, name: impl Into<Name>) -> Context {
        self.child_builder(name).open()
    }

    /// Opens a child context, unless this one is closing or closed, or [full](crate::ContextBuilder::max_children).
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is; [`try_open`](crate::ContextBuilder::try_open) says which of them.
    #[track_caller]
    pub fn try_child(&self, name: impl Into<Name>) -> Result<Context, ClosedError<()>> {
        self.child_builder(name)
            .try_open()
            .map_err(|_| ClosedError(()))
    }

    /// Opens a child context with settings of its own. Time limits that are not set are inherited, other settings are not.
    #[must_use = "a builder opens nothing until `open`"]
    #[track_caller]
    pub fn child_builder(&self, name: impl Into<Name>) -> ContextBuilder<'_> {
        ContextBuilder::new(self.used(), label(name.into()), Location::caller())
    }

    /// Spawns a future on the context. It is counted from here on until its future is dropped, and a
    /// close awaits it (I2).
    ///
    /// The task does not keep the context open (I3), is listed under the type path of its future (give
    /// it a name with [`task`](Self::task)), and runs on the runtime that the context remembers. A
    /// panic reaches the handle and the close report, and nothing else (I12).
    ///
    /// If the context is closing, closed or [full](crate::ContextBuilder::max_tasks) the future is dropped unpolled, a warning event
    /// names the line, and the handle resolves to [`TaskError::Refused`](crate::TaskError::Refused); use
    /// [`try_spawn`](Self::try_spawn) to keep the future.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: the context remembers none and none is on this thread.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self.used(), None).spawn(future)
    }

    /// Spawns a future, or hands it back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.close().await;
    /// let refused = ctx.try_spawn(async { 42 }).unwrap_err();
    /// assert_eq!(refused.into_inner().await, 42);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing, closed or [full](crate::ContextBuilder::max_tasks), or there
    /// is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self.used(), None).try_spawn(future)
    }

    /// Runs a closure on the runtime's blocking threads. It is counted, and a close awaits it.
    ///
    /// [`Context::current`] works in it. Once it has started nothing can abort it: it has to look
    /// at [`WeakContext::is_cancelled`](crate::WeakContext::is_cancelled) itself, and a close that
    /// waits for it says so. One that has not started when the close aborts is dropped.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TaskBuilder::new(self.used(), None).spawn_blocking(closure)
    }

    /// Spawns a future that may not leave this thread, on the current [`LocalSet`](tokio::task::LocalSet) or
    /// [`LocalRuntime`](tokio::runtime::LocalRuntime). It is counted, and a close awaits it.
    ///
    /// Local tasks move only while their `LocalSet`, or their runtime, is polled: a close that is awaited outside it can
    /// not end before it is polled or dropped.
    ///
    /// # Panics
    ///
    /// Outside a `LocalSet` and a `LocalRuntime`.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        TaskBuilder::new(self.used(), None).spawn_local(future)
    }

    /// Starts a task with a name and settings.
    #[must_use = "a builder starts nothing until one of its `spawn` methods"]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::new(self.used(), Some(label(name.into())))
    }

    /// A set of tasks of this context, which are joined in the order in which they end: see [`TaskSet`]. It does not keep
    /// the context open.
    pub fn join_set<T>(&self) -> TaskSet<T> {
        TaskSet::new(Arc::clone(&self.used().node))
    }

    /// Counts a future that is polled elsewhere: by another executor, a `select!`, a library that spawns
    /// for itself. It is listed from here on, with the kind `wrapped`, and a close awaits its end.
    ///
    /// The future's output comes as `Ok`. A panic passes through to the code that polls it, and is counted. When
    /// the grace period of a close is over the future is dropped at its next poll, and the output is
    /// [`TaskError::Aborted`](crate::TaskError::Aborted); on a context that is closing or closed it is dropped at once, unpolled,
    /// and the output is [`TaskError::Refused`](crate::TaskError::Refused).
    ///
    /// A wrapped future that is neither polled nor dropped keeps the close waiting.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let elsewhere = tokio::spawn(ctx.wrap(async { 42 }));
    /// assert_eq!(ctx.live().await.tasks().len(), 1);
    /// assert_eq!(elsewhere.await.unwrap().unwrap(), 42);
    /// assert_eq!(ctx.close().await.finished(), 1);
    /// # }
    /// ```
    #[track_caller]
    pub fn wrap<F: Future>(&self, future: F) -> Wrapped<F> {
        TaskBuilder::new(self.used(), None).wrap(future)
    }

    /// Counts a future that is polled elsewhere, or hands it back. See [`wrap`](Self::wrap).
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap<F: Future>(&self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        TaskBuilder::new(self.used(), None).try_wrap(future)
    }

    /// Counts a stream that is polled elsewhere, such as the body of a response. It is listed from here on, with the kind
    /// `wrapped`, until it has ended or is dropped, and a close awaits that.
    ///
    /// The stream's items come as `Ok`. A panic passes through to the code that polls it, and is counted. When the grace period
    /// of a close is over the stream is dropped at its next poll, and the last item is
    /// [`TaskError::Aborted`](crate::TaskError::Aborted); on a context that is closing or closed it is dropped at once,
    /// unpolled, and the only item is [`TaskError::Refused`](crate::TaskError::Refused).
    ///
    /// A wrapped stream that is neither polled nor dropped keeps the close waiting.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use futures::{StreamExt, stream};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let mut body = ctx.wrap_stream(stream::iter(["a", "b"]));
    /// assert_eq!(ctx.live().await.tasks().len(), 1);
    /// while let Some(part) = body.next().await {
    ///     println!("{}", part.unwrap());
    /// }
    /// assert_eq!(ctx.close().await.finished(), 1);
    /// # }
    /// ```
    #[track_caller]
    pub fn wrap_stream<S: Stream>(&self, stream: S) -> WrappedStream<S> {
        TaskBuilder::new(self.used(), None).wrap_stream(stream)
    }

    /// A token that is cancelled when the context closes, for code that wants one.
    ///
    /// Each call makes a new one: cancelling it by hand cancels what watches this token, and nothing else.
    pub fn token(&self) -> CancellationToken {
        self.node().token().child_token()
    }

    /// Whether the close has begun. One atomic load, no lock.
    pub fn is_cancelled(&self) -> bool {
        self.node().is_cancelled()
    }

    /// Why the context closes, or has closed: the first reason given (I8). `None` until a close is asked for.
    ///
    /// Hooks and cancelled tasks can read it. Of a context that others [need](crate::ContextBuilder::needs) it is known before
    /// the close begins.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, Context, Registry};
    /// let ctx = Registry::new().context("ctx");
    /// ctx.on_close(async || {
    ///     let reason = Context::current().unwrap().close_reason();
    ///     assert_eq!(reason, Some(CloseReason::from("deploy")));
    /// }).unwrap();
    /// assert!(ctx.close_reason().is_none());
    /// assert!(ctx.close_with("deploy").await.is_clean());
    /// # }
    /// ```
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.node().close_reason().cloned()
    }

    /// Waits until the close begins, and says why.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) -> CloseReason {
        self.touch();
        self.node().cancelled().await
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
    pub fn cancelled_owned(&self) -> impl Future<Output = CloseReason> + use<> {
        self.touch();
        let node = Arc::clone(self.node());
        async move { node.cancelled().await }
    }

    /// Runs a future until it ends or the token is cancelled, whichever comes first; `None` if the
    /// token was. The future is dropped then.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        self.touch();
        self.node().token().run_until_cancelled(future).await
    }

    /// Runs `hook` when the close begins, after the token was cancelled: the place to stop accepting
    /// work.
    ///
    /// All of these hooks start, latest first, and then run side by side with the drain, each within the
    /// hook time limit; the `on_close` hooks wait for them. A hook that captures a strong handle to its
    /// context keeps it open for ever. One that is registered after the close has begun runs with the
    /// [`on_close`](Self::on_close) hooks.
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_closing<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        add_hook(self.used(), When::Closing, hook, Location::caller())
    }

    /// Runs `hook` when nothing of the context is left but hooks and owned values: the place to flush
    /// and to say goodbye.
    ///
    /// Hooks and [owned](Self::own) values are one stack. It is unwound one after the other, latest first: each hook runs
    /// exactly once, within the hook time limit. A
    /// panic, an error or a timeout in one goes into the [report](crate::CloseReport) and a warning
    /// event, and the next one runs. One that is registered by another hook still runs (I7).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.on_close(|| async { Err::<(), _>("disk full") }).unwrap();
    /// let cancelled = ctx.on_close(async || unreachable!()).unwrap();
    /// cancelled.cancel();
    /// let report = ctx.close().await;
    /// assert_eq!((report.hooks().ran, report.hooks().failed), (1, 1));
    /// assert!(report.failures()[0].to_string().ends_with("disk full [ctx]"));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_close<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        add_hook(self.used(), When::Close, hook, Location::caller())
    }

    /// Gives a value to the context: it is listed, and kept until the close, or until it is
    /// [released](Tracked::release).
    ///
    /// The close takes owned values and [`on_close`](Self::on_close) hooks together, latest first: a hook still finds the
    /// values that were there when it was registered.
    ///
    /// The returned handle shares the value. One that is still held after the close keeps the value
    /// alive and listed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let log = ctx.own("access.log", "file", std::sync::Mutex::new(String::new())).unwrap();
    /// log.lock().unwrap().push_str("hello");
    /// let weak = log.downgrade();
    /// drop(log);
    /// ctx.close().await;
    /// assert!(weak.upgrade().is_none());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the value in it, once owned values have been dropped.
    #[track_caller]
    pub fn own<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Name>,
        kind: impl Into<Name>,
        value: T,
    ) -> Result<Tracked<T>, ClosedError<T>> {
        let facts = Facts::new(name.into(), kind.into(), Location::caller());
        own(self.used(), facts, value)
    }

    /// Lists something under this context for as long as the returned [`Registration`] lives, whatever code calls this.
    ///
    /// It does not keep the context from closing. One that outlives its closed context is a leak, and is
    /// [reported](crate::leaks) as [closed but held](crate::leaks::LeakKind::ClosedButHeld).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let conn = registry.context("conn-1");
    /// let upload = conn.register("report.csv", "upload");
    /// assert_eq!(conn.live().await.find("report.csv").unwrap().parent(), Some(conn.id()));
    /// drop(upload);
    /// # conn.close().await;
    /// # }
    /// ```
    #[track_caller]
    pub fn register(&self, name: impl Into<Name>, kind: impl Into<Name>) -> Registration {
        let facts = Facts::new(name.into(), kind.into(), Location::caller());
        let parent: Arc<dyn Record> = Arc::clone(&self.used().node) as _;
        Registration::new(&self.node().table, facts, (Some(parent), true))
    }

    /// Opens a child context, runs a body with it, closes it, and returns what the body returned. See
    /// [`with_context`](crate::with_context).
    ///
    /// If this context is closing or closed the child is closed from the start; the body runs all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = headcount::Registry::new().context("server");
    /// let sum = server.with_child("request", async |ctx| {
    ///     let (a, b) = (ctx.spawn(async { 40 }), ctx.spawn(async { 2 }));
    ///     a.await.unwrap() + b.await.unwrap()
    /// });
    /// assert_eq!(sum.await, 42);
    /// assert!(server.children().is_empty());
    /// # }
    /// ```
    #[track_caller]
    pub fn with_child<B, T, N: Into<Name>>(
        &self,
        name: N,
        body: B,
    ) -> impl Future<Output = T> + use<B, T, N>
    where
        B: AsyncFnOnce(Context) -> T,
    {
        self.child(name).run(body, Location::caller())
    }

    /// Begins the close in the background and returns at once. Does nothing if it has begun before:
    /// the first reason wins (I8).
    ///
    /// Without any runtime, now or remembered, the context refuses new work from here on, and the rest
    /// follows when [`close`](Self::close) is awaited on a runtime.
    #[track_caller]
    pub fn request_close(&self, reason: impl Into<CloseReason>) {
        driver::request_at(&self.core, reason.into(), Location::caller());
    }

    /// Closes the context: afterwards nothing of it is alive (I1).
    ///
    /// In this call new work is refused and the token is cancelled, and so for everything below; then, in order:
    /// `on_closing` hooks start; children close, tasks end, and those that are left after the grace period are aborted;
    /// `on_close` hooks run and owned values are dropped, latest first; the report is given
    /// to all that wait. It takes as long as it takes: completion is never signalled early.
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
        self.close_with("close")
    }

    /// As [`close`](Self::close), for this reason; the first reason given wins.
    #[track_caller]
    pub fn close_with<R: Into<CloseReason>>(
        &self,
        reason: R,
    ) -> impl Future<Output = CloseReport> + use<R> {
        wait::close_for(&self.core, reason.into(), Location::caller())
    }

    /// Closes the context, and sees to it that the close is over by the deadline: a [`Duration`] from now, or an instant.
    ///
    /// The time is shared out among the contexts that close one after the other: each leaves a second to every one after it that
    /// has something to do, or an equal part where there is less. Its tasks are aborted early enough for hooks and values to have
    /// their turn: after three quarters of its time, at the latest after the grace period. What cannot be ended
    /// (a poll that does not return, a blocking closure that runs, a wrapped future that is not polled) is left behind, and
    /// takes no hook's turn away. A close that runs already is hurried, if this deadline is earlier than others.
    ///
    /// A deadline that has passed aborts at once, and still gives hooks a second. One that lies too far ahead, as
    /// [`Duration::MAX`] does, is none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::time::Duration;
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.spawn(std::future::pending::<()>());
    /// let report = ctx.close_by(Duration::from_secs(1)).await.unwrap();
    /// assert_eq!(report.aborted(), 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what was left behind, at the deadline. The close goes on.
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close).
    #[track_caller]
    pub fn close_by<D: Into<Deadline>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<D> {
        let reason = CloseReason::from("close_by");
        wait::close_by(&self.core, reason, deadline.into(), Location::caller())
    }

    /// Closes the context and aborts its tasks at once; each hook gets a second at most. Hurries a close that runs already.
    ///
    /// Contexts below it, and those that need it, are closed in the same way. It may be called in a destructor.
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close).
    #[track_caller]
    pub fn close_now(&self) -> impl Future<Output = CloseReport> + use<> {
        let reason = CloseReason::from("close_now");
        wait::close_now(&self.core, reason, Location::caller())
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
        wait::close_within(&self.core, limit, reason, Location::caller())
    }

    /// Begins the close of the context when this future is done: at a message, at the change of a file, at a signal of your own.
    ///
    /// The future runs in the background, and is dropped when the close begins for another reason. It is not counted: it keeps
    /// neither the context open, nor its [`idle`](Self::idle) or [`finish`](Self::finish) waiting. If it panics, a warning event
    /// says so, and the context stays open.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, Registry};
    /// let (stop, asked) = tokio::sync::oneshot::channel::<()>();
    /// let ctx = Registry::new().context("server");
    /// ctx.stop_on(asked, "told by the admin");
    ///
    /// stop.send(()).unwrap();
    /// let report = ctx.closed().await;
    /// assert_eq!(report.reason(), &CloseReason::from("told by the admin"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: the context remembers none and none is on this thread.
    #[track_caller]
    pub fn stop_on<F>(&self, future: F, reason: impl Into<CloseReason>)
    where
        F: Future + Send + 'static,
    {
        stop_on::stop_on(self.used(), future, reason.into(), Location::caller());
    }

    /// Waits until no task and no open child is left. Closes nothing itself.
    ///
    /// From one of the context's own tasks that moment never comes.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        self.touch();
        wait::idle(self.node())
    }

    /// Closes the context once it has run dry: a nursery's end.
    ///
    /// Nothing is cancelled. From this call on only code of its own comes in: a spawn, a child, or a context that is to need this
    /// one, is refused unless the running task belongs to this context, lies below it, or needs it. Those may go on spawning;
    /// when no task is left anywhere, the contexts close, and `on_closing` hooks start. Whatever closes the context before that
    /// wins, and gives the reason; otherwise it is [`Finished`](CloseReason::Finished). Dropping handles does not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, Registry};
    /// let ctx = Registry::new().context("batch");
    /// let own = ctx.downgrade();
    /// ctx.spawn(async move {
    ///     tokio::task::yield_now().await;
    ///     own.upgrade().unwrap().spawn(async {});
    /// });
    /// let finished = ctx.finish();
    /// assert!(ctx.try_spawn(async {}).is_err()); // an outsider
    /// let report = finished.await;
    /// assert_eq!((report.finished(), report.reason()), (2, &CloseReason::Finished));
    /// # }
    /// ```
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close): when the future is dropped it still finishes in the background.
    #[track_caller]
    pub fn finish(&self) -> impl Future<Output = CloseReport> + use<> {
        finish::finish(&self.core, Location::caller())
    }

    /// As [`finish`](Self::finish), but what has not run dry in time is closed as by [`close_by`](Self::close_by): so early
    /// before the deadline that tasks have their grace period, yet not in the first half of the time.
    ///
    /// # Errors
    ///
    /// [`StillClosing`], with what was left behind, at the deadline. The close goes on.
    #[track_caller]
    pub fn finish_by<D: Into<Deadline>>(
        &self,
        deadline: D,
    ) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<D> {
        finish::finish_by(&self.core, deadline.into(), Location::caller())
    }

    /// Waits until other code has closed the context. From inside it waits until the close
    /// has begun, and returns a report whose status is [`Begun`](crate::CloseStatus::Begun): waiting
    /// for more would be waiting for oneself.
    ///
    /// # Panics, cancel safety
    ///
    /// As [`close`](Self::close).
    pub fn closed(&self) -> impl Future<Output = CloseReport> + use<> {
        self.touch();
        wait::closed(&self.core)
    }

    /// Who holds this context open: every recorded handle, reconciled with the real number.
    ///
    /// Looks at each handle, and takes a lock that handles of this context take as well.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Level, Registry};
    /// let registry = Registry::new();
    /// registry.set_level(Level::Holders);
    /// let ctx = registry.context("ctx");
    /// let weak = ctx.downgrade();
    /// ctx.task("pinner").spawn(async move {
    ///     let _pinned = weak.upgrade();
    ///     std::future::pending::<()>().await
    /// });
    /// tokio::task::yield_now().await;
    ///
    /// let holders = ctx.holders();
    /// assert_eq!(holders.strong_count(), 2);
    /// assert_eq!(holders.iter().nth(1).unwrap().task_name(), Some("pinner"));
    /// # }
    /// ```
    pub fn holders(&self) -> Holders {
        Holders::of(&**self.node(), self.node().table.table_ref())
    }

    /// Declares that this handle lies inside another thing that is listed, so that a leak report can follow
    /// the chain. Does nothing for a handle that is not recorded.
    pub fn held_by(&self, container: &(impl Container + ?Sized)) {
        if self.hold.is_tracked() {
            let inside = Some(container::inside(container));
            self.node().ledger.put(self.hold, inside);
        }
    }

    /// Withdraws what [`held_by`](Self::held_by) declared: this handle does not lie in another thing any more.
    pub fn held_by_none(&self) {
        self.node().ledger.put(self.hold, None);
    }

    /// Notes that this handle is in use, now and by the running task, for
    /// [`Holder::last_touch`](crate::Holder::last_touch) (about 50 ns if it is recorded, else a branch).
    /// Waiting through it, as with [`cancelled`](Self::cancelled), notes the same.
    #[inline]
    pub fn touch(&self) {
        self.note_use(How::Touched);
    }

    #[inline]
    fn note_use(&self, how: How) {
        if self.hold.is_tracked() {
            container::note_use(&self.node().ledger, self.hold, self, how);
        }
    }

    /// The context, for what is done through this handle: that says where the handle is.
    #[inline]
    fn used(&self) -> &Arc<Core> {
        self.note_use(How::InPassing);
        &self.core
    }

    /// Runs a body with this context, and closes it behind the body.
    pub(crate) fn run<B, T>(
        self,
        body: B,
        location: &'static Location<'static>,
    ) -> impl Future<Output = T> + use<B, T>
    where
        B: AsyncFnOnce(Self) -> T,
    {
        let core = Arc::clone(&self.core);
        run_with((self, core), Self::another, body, location)
    }

    /// One more handle.
    fn another(core: &Arc<Core>, location: &'static Location<'static>) -> Self {
        core.node.handles.add();
        Self::counted(Arc::clone(core), location)
    }

    /// Takes over a handle that is counted already, and records it.
    pub(crate) fn counted(core: Arc<Core>, location: &'static Location<'static>) -> Self {
        let hold = core.node.hold(location);
        Self { core, hold }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.core.node
    }
}

impl Clone for Context {
    #[track_caller]
    fn clone(&self) -> Self {
        Self::another(&self.core, Location::caller())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        driver::drop_handle(&self.core, self.hold);
    }
}

container::containers!(Context, WeakContext);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
