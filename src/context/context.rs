//! [`Context`]: the strong handle.

#[cfg(feature = "dump")]
use crate::{context::state::DUMP_LIMIT, dump::dump::Dump};
use crate::{
    context::{
        builder::ContextBuilder,
        current, driver,
        hooks::{Hook, HookOutput, Kept, Owned, When},
        report::{CloseReason, CloseReport},
        state::{Core, Node},
        stragglers::StillClosing,
        weak::WeakContext,
    },
    error::{ClosedError, RefusedError},
    holders::{
        inside::{self, Container},
        view::Holders,
    },
    id::ResourceId,
    ledger::{
        acquirer::{Acquirer, Who},
        handle_log::HandleId,
    },
    name::{Name, label},
    poll::scope,
    table::{
        live::Live,
        record::{Facts, Record, State},
        resource,
    },
    task::{builder::TaskBuilder, handle::Task, wrapped::Wrapped},
    tracked::{Tracked, ValueOwner},
};
use std::{
    any::Any,
    fmt,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};
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

    /// The context this one is a child of.
    pub fn parent(&self) -> Option<WeakContext> {
        let parent = self.node().parent.as_ref()?;
        (!parent.is_root()).then(|| WeakContext::new(Arc::clone(parent)))
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
        self.node()
            .dump(DUMP_LIMIT, move |live| live.under(id))
            .await
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

    /// Opens a child context, unless this one is closing or closed.
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is.
    #[track_caller]
    pub fn try_child(&self, name: impl Into<Name>) -> Result<Context, ClosedError<()>> {
        self.child_builder(name).try_open()
    }

    /// Opens a child context with settings of its own. Time limits that are not set are inherited, other settings are not.
    #[must_use = "a builder opens nothing until `open`"]
    #[track_caller]
    pub fn child_builder(&self, name: impl Into<Name>) -> ContextBuilder<'_> {
        ContextBuilder::new(self.core(), label(name.into()), Location::caller())
    }

    /// Spawns a future on the context. It is counted from here on until its future is dropped, and a
    /// close awaits it (I2).
    ///
    /// The task does not keep the context open (I3), is listed under the type path of its future (give
    /// it a name with [`task`](Self::task)), and runs on the runtime that the context remembers. A
    /// panic reaches the handle and the close report, and nothing else (I12).
    ///
    /// If the context is closing or closed the future is dropped unpolled, a warning event names the
    /// line, and the handle resolves to [`TaskError::Refused`](crate::TaskError::Refused); use
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
        TaskBuilder::new(self.core(), None).spawn(future)
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
    /// [`RefusedError`], with the future in it, if the context is closing or closed, or there is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::new(self.core(), None).try_spawn(future)
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
        TaskBuilder::new(self.core(), None).spawn_blocking(closure)
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
        TaskBuilder::new(self.core(), None).spawn_local(future)
    }

    /// Starts a task with a name and settings.
    #[must_use = "a builder starts nothing until one of its `spawn` methods"]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::new(self.core(), Some(label(name.into())))
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
        TaskBuilder::new(self.core(), None).wrap(future)
    }

    /// Counts a future that is polled elsewhere, or hands it back. See [`wrap`](Self::wrap).
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap<F: Future>(&self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        TaskBuilder::new(self.core(), None).try_wrap(future)
    }

    /// The token that is cancelled when the context closes, and with it the tokens of all its
    /// descendants.
    ///
    /// It is for code that wants a token. Cancelling it by hand cancels what watches it, but does
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

    /// Runs `hook` when the close begins, before the token is cancelled: the place to stop accepting
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
        self.add_hook(When::Closing, hook, Location::caller())
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
        self.add_hook(When::Close, hook, Location::caller())
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
        let node = self.node();
        let facts = Facts {
            name: label(name.into()),
            kind: label(kind.into()),
            location: Location::caller(),
        };
        let parent: Arc<dyn Record> = Arc::clone(node) as _;
        let name = facts.name.clone();
        let tracked = Tracked::new(&node.table, facts, (Some(parent), true), value);
        let kept = tracked.clone();
        kept.pass(Acquirer::Owner(Who::new(node.meta.id, &node.meta.name)));
        let owned = Owned {
            id: tracked.id(),
            name,
            value: Box::new(kept),
        };
        match self.core().hooks.on_close.push(Kept::Value(owned)) {
            Ok(key) => {
                let owner: Weak<Core> = Arc::downgrade(self.core());
                tracked.owned_by(owner, key);
                Ok(tracked)
            }
            Err(refused) => {
                drop(refused);
                Err(ClosedError(
                    tracked.into_inner().expect("no other handle was given out"),
                ))
            }
        }
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
    /// In order: new work is refused; `on_closing` hooks start; the token is cancelled, and with it the
    /// tokens below; children close, tasks end, and those that are left after the grace period are aborted;
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
        driver::close_for(&self.core, CloseReason::from("close"), Location::caller())
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
        driver::close_within(&self.core, limit, reason, Location::caller())
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
        let core = Arc::clone(&self.core);
        async move { driver::wait(&core).await }
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
        if self.hold().is_tracked() {
            self.node()
                .ledger
                .put(self.hold(), inside::inside(container));
        }
    }

    /// Notes that this handle is in use, now and by the running task, for
    /// [`Holder::last_touch`](crate::Holder::last_touch) (about 50 ns if it is recorded, else a branch).
    /// Waiting through it, as with [`cancelled`](Self::cancelled), notes the same.
    #[inline]
    pub fn touch(&self) {
        if self.hold().is_tracked() {
            self.node().ledger.touch(self.hold(), scope::acquirer);
        }
    }

    /// Takes over a handle that is counted already, and records it.
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

    fn add_hook<H, F>(
        &self,
        when: When,
        hook: H,
        location: &'static Location<'static>,
    ) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        let added = self.core.hooks.add(when, hook, location);
        let key = added.map_err(ClosedError)?;
        let hooks: Weak<Core> = Arc::downgrade(&self.core);
        Ok(Hook::new(Arc::<Node>::clone(self.node()), hooks, key))
    }

    /// Crosses the handle out, if it is recorded; says under which number.
    #[inline]
    fn cross_out(&self) -> Option<usize> {
        let is_tracked = self.hold.is_tracked();
        is_tracked.then(|| self.node().ledger.remove(self.hold))?
    }
}

impl ValueOwner for Core {
    fn release(&self, key: u64) -> Option<Box<dyn Any + Send>> {
        Some(self.hooks.release(key)?.value)
    }
}

/// What opens a context. The settings are in the file of the builder.
impl ContextBuilder<'_> {
    /// Opens the context. If the parent is closing or closed it is closed from the start.
    #[must_use = "a context closes when its last handle is dropped"]
    pub fn open(self) -> Context {
        let (core, location, _) = self.enter();
        Context::counted(core, location)
    }

    /// Opens the context, unless the parent is closing or closed.
    ///
    /// # Errors
    ///
    /// [`ClosedError`] if it is.
    pub fn try_open(self) -> Result<Context, ClosedError<()>> {
        let (core, location, accepted) = self.enter();
        let context = Context::counted(core, location);
        if accepted {
            Ok(context)
        } else {
            Err(ClosedError(()))
        }
    }
}

/// What needs a strong handle. The rest is in the file of the weak one.
impl WeakContext {
    /// A strong handle, unless the last one is gone. Once that is so, it stays so, also while the
    /// close that follows is still running (I3).
    #[track_caller]
    pub fn upgrade(&self) -> Option<Context> {
        let location = Location::caller();
        // The core first: a counted handle without its core would be a handle to nothing.
        let core = self.node().core.upgrade()?;
        let is_ours = self.node().handles.try_add();
        is_ours.then(|| Context::counted(core, location))
    }

    /// Begins the close in the background, as [`Context::request_close`]; does nothing if the context
    /// is gone.
    #[track_caller]
    pub fn request_close(&self, reason: impl Into<CloseReason>) {
        if let Some(context) = self.upgrade() {
            context.request_close(reason);
        }
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
            driver::last_handle_dropped(&self.core, which);
        }
    }
}

inside::containers!(Context, WeakContext);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
