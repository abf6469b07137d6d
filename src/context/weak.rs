//! [`WeakContext`]: the handle that holds nothing open.

use crate::{
    context::{
        close,
        close_reason::CloseReason,
        hook_output::HookOutput,
        hooks::{Hook, Kept, Owned, When},
        report::CloseReport,
        state::{Core, Node},
    },
    error::{ClosedError, RefusedError},
    holders::Holders,
    id::ResourceId,
    ledger::acquirer::{Acquirer, Who},
    name::{Name, label},
    panics,
    poll::waiting::{For, waiting},
    table::{
        record::{Facts, Record, State},
        resource,
    },
    task::{builder::TaskBuilder, handle::Task, task_set::TaskSet, wrapped::Wrapped},
    tracked::{Tracked, ValueOwner},
};
use futures::{FutureExt, future::Fuse};
use std::{
    any::Any,
    fmt,
    future::poll_fn,
    panic::Location,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

/// A handle to a context that does not keep it open, for tasks and for code that only wants to know.
///
/// Name, path and state stay readable after the context is gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, State};
/// let ctx = Registry::new().context("ctx");
/// let weak = ctx.downgrade();
/// assert!(weak.upgrade().is_some());
/// ctx.close().await;
/// drop(ctx);
/// assert!(weak.upgrade().is_none());
/// assert_eq!((weak.name(), weak.state()), ("ctx", State::Closed));
/// # }
/// ```
///
/// # Inside a task
///
/// It has what a task needs of its own context: [`spawn`](Self::spawn) and the like, [`try_child`](Self::try_child),
/// [`on_close`](Self::on_close). They are refused as on a [`Context`](crate::Context) that is closing, or take effect and
/// are awaited by its close (I2). None of them takes a strong handle: [`holders`](Self::holders) lists none for them, and if
/// the last handle is dropped during the call, that close begins.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Context, Registry};
/// let ctx = Registry::new().context("server");
/// let outer = ctx.spawn(async {
///     let own = Context::current().unwrap();
///     own.task("helper").spawn(async { 42 }).await
/// });
/// assert_eq!(outer.await.unwrap().unwrap(), 42);
/// assert_eq!(ctx.close().await.finished(), 2);
/// # }
/// ```
pub struct WeakContext {
    node: Arc<Node>,
}

impl WeakContext {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.weak_handles.add();
        Self { node }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The id of the context.
    pub fn id(&self) -> ResourceId {
        self.node.meta.id
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.node.meta.name
    }

    /// Names from the outermost context down to this one, joined by `/`.
    pub fn path(&self) -> String {
        resource::path(&*self.node)
    }

    /// `Open`, `Closing` or `Closed`. Two atomic loads.
    pub fn state(&self) -> State {
        self.node.state()
    }

    /// Whether the close has begun. Two atomic loads, no lock.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Waits until the context is closed, without holding it open meanwhile, and returns the report. From inside it
    /// waits until the close has begun, and the report says so.
    ///
    /// Unlike [`Context::closed`](crate::Context::closed) it brings no runtime to a close that lost its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn closed(&self) -> CloseReport {
        let node = &self.node;
        let mut outside = pin!(self.closed_outside().fuse());
        let closed = poll_fn(|cx| {
            // Asked at each poll: what was begun outside may be awaited inside.
            let core = node.core.upgrade();
            match core.and_then(|core| close::begun_inside(&core)) {
                Some(report) => {
                    // The waker that it was polled with outside goes with it, and may panic.
                    panics::contain(|| outside.set(Fuse::terminated()));
                    Poll::Ready(report)
                }
                None => outside.as_mut().poll(cx),
            }
        });
        closed.await
    }

    async fn closed_outside(&self) -> CloseReport {
        loop {
            let mut changed = pin!(self.node.changed.notified());
            changed.as_mut().enable();
            if let Some(report) = self.node.report.get() {
                return report.clone();
            }
            let what = For::Close(&*self.node, self.node.is_cancelled());
            poll_fn(|cx| waiting(cx, what, |cx| changed.as_mut().poll(cx))).await;
        }
    }

    /// Who holds this context open; see [`Context::holders`](crate::Context::holders).
    pub fn holders(&self) -> Holders {
        Holders::of(&*self.node, self.node.table.table_ref())
    }

    /// Runs a future until it ends or the token is cancelled, whichever comes first; `None` if the
    /// token was. The future is dropped then.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        self.node.token().run_until_cancelled(future).await
    }

    /// Why the context closes, or has closed; see [`Context::close_reason`](crate::Context::close_reason).
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.node.close_reason().cloned()
    }

    /// Waits until the close begins, which it has at the latest when the context is closed, and says why.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub async fn cancelled(&self) -> CloseReason {
        self.node.cancelled().await
    }

    /// As [`cancelled`](Self::cancelled), as a future that borrows nothing.
    pub fn cancelled_owned(&self) -> impl Future<Output = CloseReason> + use<> {
        let node = Arc::clone(&self.node);
        async move { node.cancelled().await }
    }

    /// Spawns a future on the context; see [`Context::spawn`](crate::Context::spawn).
    ///
    /// If the context is closing, closed or gone the future is dropped unpolled, a warning event names the line, and the
    /// handle resolves to [`TaskError::Refused`](crate::TaskError::Refused). Such a refusal counts in the report of the
    /// nearest context above that is not closed, else of the registry.
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
        TaskBuilder::weak(&self.node, None).spawn(future)
    }

    /// Spawns a future, or hands it back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let weak = ctx.downgrade();
    /// ctx.close().await;
    /// drop(ctx);
    /// let refused = weak.try_spawn(async { 42 }).unwrap_err();
    /// assert_eq!(refused.into_inner().await, 42);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing, closed or gone, or there is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskBuilder::weak(&self.node, None).try_spawn(future)
    }

    /// Starts a task with a name and settings; see [`Context::task`](crate::Context::task).
    #[must_use = "a builder starts nothing until one of its `spawn` methods"]
    pub fn task(&self, name: impl Into<Name>) -> TaskBuilder<'_> {
        TaskBuilder::weak(&self.node, Some(label(name.into())))
    }

    /// A set of tasks of this context; see [`Context::join_set`](crate::Context::join_set).
    pub fn join_set<T>(&self) -> TaskSet<T> {
        TaskSet::new(Arc::clone(&self.node))
    }

    /// Counts a future that is polled elsewhere; see [`Context::wrap`](crate::Context::wrap).
    ///
    /// If the context is closing, closed or gone the future is dropped at once, unpolled, and the output is
    /// [`TaskError::Refused`](crate::TaskError::Refused).
    #[track_caller]
    pub fn wrap<F: Future>(&self, future: F) -> Wrapped<F> {
        TaskBuilder::weak(&self.node, None).wrap(future)
    }

    /// Runs `hook` when nothing of the context is left but hooks and owned values; see
    /// [`Context::on_close`](crate::Context::on_close).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Context, Registry};
    /// let ctx = Registry::new().context("ctx");
    /// let task = ctx.spawn(async {
    ///     let own = Context::current().unwrap();
    ///     own.on_close(|| async { println!("goodbye") }).map(drop).is_ok()
    /// });
    /// assert!(task.await.unwrap());
    /// assert_eq!(ctx.close().await.hooks().ran, 1);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run, or the context is gone.
    #[track_caller]
    pub fn on_close<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        match self.node.core.upgrade() {
            Some(core) => add_hook(&core, When::Close, hook, Location::caller()),
            None => Err(ClosedError(hook)),
        }
    }

    /// Gives a value to the context, which keeps it until the close; see [`Context::own`](crate::Context::own).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let server = headcount::Registry::new().context("server");
    /// let pages = server.sessions::<u64>("pages").on_open(async |_id, ctx| {
    ///     ctx.own("cart", "cart", vec!["a pear"]).map(drop).map_err(|_| "too late")
    /// });
    /// let lease = pages.open().attach(7, "alice").await.unwrap();
    /// assert!(server.live().await.find("cart").is_some());
    /// # drop(lease);
    /// # server.close().await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the value in it, once owned values have been dropped, or the context is gone.
    #[track_caller]
    pub fn own<T: Send + Sync + 'static>(
        &self,
        name: impl Into<Name>,
        kind: impl Into<Name>,
        value: T,
    ) -> Result<Tracked<T>, ClosedError<T>> {
        let facts = Facts::new(name.into(), kind.into(), Location::caller());
        match self.node.core.upgrade() {
            Some(core) => own(&core, facts, value),
            None => Err(ClosedError(value)),
        }
    }
}

/// Gives a value to a context that is not gone.
pub(crate) fn own<T: Send + Sync + 'static>(
    core: &Arc<Core>,
    facts: Facts,
    value: T,
) -> Result<Tracked<T>, ClosedError<T>> {
    let node = &core.node;
    let parent: Arc<dyn Record> = Arc::clone(node) as _;
    let (name, location) = (facts.name.clone(), facts.location);
    let tracked = Tracked::new(&node.table, facts, (Some(parent), true), value);
    let kept = tracked.clone_at(location);
    kept.pass(Acquirer::Owner(Who::new(node.meta.id, &node.meta.name)));
    let owned = Owned {
        id: tracked.id(),
        name,
        value: Box::new(kept),
    };
    match core.hooks.on_close.push(Kept::Value(owned)) {
        Ok(key) => {
            let owner: Weak<Core> = Arc::downgrade(core);
            tracked.owned_by(owner, key);
            Ok(tracked)
        }
        Err(refused) => {
            drop(refused);
            let value = tracked.into_inner();
            Err(ClosedError(value.expect("no other handle was given out")))
        }
    }
}

impl ValueOwner for Core {
    fn release(&self, key: u64) -> Option<Box<dyn Any + Send>> {
        Some(self.hooks.release(key)?.value)
    }
}

/// Adds a hook to a context that is not gone.
pub(crate) fn add_hook<H, F>(
    core: &Arc<Core>,
    when: When,
    hook: H,
    location: &'static Location<'static>,
) -> Result<Hook, ClosedError<H>>
where
    H: FnOnce() -> F + Send + 'static,
    F: Future<Output: HookOutput> + Send + 'static,
{
    let added = core.hooks.add(when, hook, location, &core.node.hook_count);
    let key = added.map_err(ClosedError)?;
    let hooks: Weak<Core> = Arc::downgrade(core);
    Ok(Hook::new(Arc::<Node>::clone(&core.node), hooks, key))
}

impl Clone for WeakContext {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.node))
    }
}

impl Drop for WeakContext {
    fn drop(&mut self) {
        let node = &self.node;
        let line = node.meta.location;
        node.weak_handles
            .remove(&node.table.tracking.outlived, line);
    }
}

impl fmt::Debug for WeakContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakContext")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
