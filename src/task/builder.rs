//! [`TaskBuilder`]: starting a task with settings.

use crate::{
    clock,
    context::{
        slots::OnConflict,
        state::{Core, Node},
    },
    error::RefusedError,
    limits::permit::Permit,
    name::{Label, Name, label},
    task::{
        end_check::{CheckKind, EndCheck, Unchecked},
        handle::Task,
        spawn::{Target, TaskOptions, TaskOrigin, run, run_blocking, run_local},
        start::{self, ReadySender, Started},
        wrapped::Wrapped,
        wrapped_stream::WrappedStream,
    },
};
#[cfg(feature = "tower")]
use crate::{table::record::Detail, task::spawn::run_with_detail};
use futures::Stream;
use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tracing::Span;

/// Starts a task with a name and settings. Made by [`Context::task`](crate::Context::task) and
/// [`WeakContext::task`](crate::WeakContext::task).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("ctx");
/// let poller = ctx.task("poller").kind("timer").cancellable().spawn(std::future::pending::<()>());
/// ctx.close().await;
/// assert!(matches!(poller.await, Err(headcount::TaskError::Cancelled)));
/// # }
/// ```
#[must_use = "a builder starts nothing until one of its `spawn` methods"]
pub struct TaskBuilder<'a, C = Unchecked> {
    target: Target<'a>,
    options: TaskOptions,
    /// What its end is checked for.
    check: PhantomData<fn(C)>,
}

impl<'a> TaskBuilder<'a> {
    /// Starts a task on the context of a strong handle.
    #[inline]
    pub(crate) fn new(core: &'a Arc<Core>, name: Option<Label>) -> Self {
        let target = Target {
            node: &core.node,
            core: Some(core),
        };
        Self::on_target(target, name)
    }

    /// Starts a task on the context of a weak handle, if it is still there by then.
    #[inline]
    pub(crate) fn weak(node: &'a Arc<Node>, name: Option<Label>) -> Self {
        Self::on_target(Target { node, core: None }, name)
    }

    #[inline]
    fn on_target(target: Target<'a>, name: Option<Label>) -> Self {
        let options = TaskOptions {
            name,
            kind: None,
            runtime: None,
            is_cancellable: false,
            settings: None,
        };
        Self {
            target,
            options,
            check: PhantomData,
        }
    }
}

impl<'a, C: CheckKind> TaskBuilder<'a, C> {
    /// Makes the end of the task a failure while its context is open, whether it returns, is aborted or panics: the program
    /// cannot do without it.
    ///
    /// What follows from a failure is the policy of the context: see [`OnFailure`](crate::OnFailure). The end of the task is no
    /// failure once the close of the context has begun, or of one above it. A panic counts as one failure, as that of every task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, FailureKind, OnFailure, Registry};
    /// let registry = Registry::new();
    /// let server = registry.context_builder("server").on_failure(OnFailure::Close).open();
    /// server.task("accept").essential().spawn(async { /* returns, and should not */ });
    ///
    /// let report = server.closed().await;
    /// let CloseReason::Failed(failure) = report.reason() else { panic!("{report}") };
    /// assert_eq!((failure.what(), failure.kind()), ("accept", FailureKind::EssentialEnded));
    /// assert_eq!(report.failed(), 1);
    /// # }
    /// ```
    pub fn essential(self) -> TaskBuilder<'a, C::Essential> {
        self.checked()
    }

    /// Makes an error that the task returns a failure, with the printed error as its message. The handle gets the result as ever.
    ///
    /// What follows from a failure is the policy of the context: see [`OnFailure`](crate::OnFailure). An error that no handle
    /// takes makes the close unclean: see [`CloseReport::is_clean`](crate::CloseReport::is_clean).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.task("flush").fallible().spawn(async { Err::<(), _>("disk full") });
    /// let report = ctx.close().await;
    /// assert_eq!((report.failed(), report.failures()[0].message()), (1, "disk full"));
    /// # }
    /// ```
    ///
    /// It needs an output that can be an error:
    ///
    /// ```compile_fail
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.task("flush").fallible().spawn(async { "disk full" });
    /// # }
    /// ```
    pub fn fallible(self) -> TaskBuilder<'a, C::Fallible> {
        self.checked()
    }

    /// The context and the options.
    #[cfg(feature = "supervision")]
    pub(crate) fn into_parts(self) -> (Target<'a>, TaskOptions) {
        (self.target, self.options)
    }

    /// The same task, with another check.
    fn checked<D>(self) -> TaskBuilder<'a, D> {
        let Self {
            target, options, ..
        } = self;
        TaskBuilder {
            target,
            options,
            check: PhantomData,
        }
    }

    /// The task has this place of a limit until its future is dropped.
    pub(crate) fn holding(mut self, permit: Permit) -> Self {
        self.options.settings().permit = Some(permit);
        self
    }

    /// The context that it is to be started on.
    pub(crate) fn node(&self) -> &'a Arc<Node> {
        self.target.node
    }

    /// The kind it is listed under; `task`, `blocking` or `wrapped` otherwise.
    pub fn kind(mut self, kind: impl Into<Name>) -> Self {
        self.options.kind = Some(label(kind.into()));
        self
    }

    /// Drops the future at its next wait once the context's token is cancelled, instead of letting it
    /// find out by itself. Its handle then gets [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    ///
    /// Has no effect on blocking closures and wrapped futures.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped in the middle of whatever it does: between two `.await`s nothing runs any more but destructors.
    /// **Output that is half written stays so**: a frame of which `write_all` has sent a part, a file before its `flush`, a message
    /// that was taken from a queue and not handled. It is for tasks that only read, or only wait. A task that writes watches
    /// [`cancelled`](crate::WeakContext::cancelled) where it waits for its next piece of work, and finishes the one that it has:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use tokio::sync::mpsc;
    /// # async fn write(_: String) {}
    /// # let ctx = headcount::Registry::new().context("ctx");
    /// # let (_sender, mut lines) = mpsc::channel::<String>(8);
    /// let own = ctx.downgrade();
    /// ctx.task("writer").spawn(async move {
    ///     loop {
    ///         let line = tokio::select! {
    ///             line = lines.recv() => line,
    ///             _ = own.cancelled() => break,
    ///         };
    ///         let Some(line) = line else { break };
    ///         write(line).await; // to its end, in the grace period
    ///     }
    /// });
    /// # ctx.close().await;
    /// # }
    /// ```
    pub fn cancellable(mut self) -> Self {
        self.options.is_cancellable = true;
        self
    }

    /// Starts the task in a slot of its context, in which one task runs at a time. What becomes of it while the slot is taken
    /// is said by [`on_conflict`](Self::on_conflict); otherwise it waits in line.
    ///
    /// A slot is taken until the future of its task is dropped. A task that waits is listed, counted, aborted and cancelled as
    /// any other, but its future is not polled, and its [`deadline`](Self::deadline) does not run yet. The slots of different
    /// contexts have nothing to do with each other.
    ///
    /// A task that awaits another one of its own slot waits for itself.
    ///
    /// A blocking closure cannot wait: it is refused if the slot is taken. Has no effect on wrapped futures.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{OnConflict, RefusedReason, TaskError};
    /// let ctx = headcount::Registry::new().context("editor");
    /// let search = || ctx.task("search").slot("search").on_conflict(OnConflict::Replace);
    /// let first = search().spawn(std::future::pending::<u8>());
    /// let second = search().spawn(async { 2 });
    /// assert!(matches!(first.await, Err(TaskError::Aborted)));
    /// assert_eq!(second.await.unwrap(), 2);
    ///
    /// let save = || ctx.task("save").slot("save").on_conflict(OnConflict::Reject);
    /// let saving = save().spawn(std::future::ready(()));
    /// let refused = save().try_spawn(std::future::ready(())).unwrap_err();
    /// assert_eq!(refused.reason(), RefusedReason::SlotTaken);
    /// # saving.await.unwrap();
    /// # }
    /// ```
    ///
    /// # Performance
    ///
    /// A lock for all slots of the context, twice for each of their tasks.
    pub fn slot(mut self, key: impl Into<Name>) -> Self {
        self.options.settings().slot = Some(label(key.into()));
        self
    }

    /// What becomes of the task if its [`slot`](Self::slot) is taken. Has no effect without one.
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.options.settings().on_conflict = on_conflict;
        self
    }

    /// Runs the task in the `tracing` span of the code that calls this, and drops its future in it. Without this a task is in
    /// no span. Has no effect on wrapped futures.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let request = tracing::info_span!("request", id = 7);
    /// let task = request.in_scope(|| {
    ///     ctx.task("lookup").in_current_span().spawn(async { tracing::info!("found") })
    /// });
    /// task.await.unwrap();
    /// # }
    /// ```
    pub fn in_current_span(mut self) -> Self {
        self.options.settings().span = Some(Span::current());
        self
    }

    /// Drops the future at its next wait once it has taken longer than this, from its first poll on. Its handle then gets
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut).
    ///
    /// It ends as its spawner has planned, not by force, so the report counts it as
    /// [`cancelled`](crate::CloseReport::cancelled) and stays clean. A task that never waits cannot be ended. Zero lets it
    /// run to its first wait, [`Duration::MAX`] for ever. Has no effect on blocking closures and wrapped futures.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::TaskError;
    /// use std::{future::pending, time::Duration};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let lookup = ctx.task("lookup").deadline(Duration::from_millis(5)).spawn(pending::<()>());
    /// assert!(matches!(lookup.await, Err(TaskError::TimedOut)));
    /// assert_eq!(ctx.close().await.cancelled(), 1);
    /// # }
    /// ```
    ///
    /// # Performance
    ///
    /// One timer for each task that waits, in a queue of the whole process.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.settings().deadline = Some(clock::sleep(limit));
        self
    }

    /// Spawns a task that says when it is ready, and waits for that: `body` gets a [`ReadySender`], and once the task calls
    /// [`set`](ReadySender::set) this returns the task's handle and the value.
    ///
    /// The task is spawned when this is called, as with [`spawn`](Self::spawn).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use tokio::net::TcpListener;
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let (server, address) = ctx
    ///     .task("server")
    ///     .cancellable()
    ///     .start(|ready| async move {
    ///         let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ///         ready.set(listener.local_addr().unwrap());
    ///         while listener.accept().await.is_ok() {}
    ///     })
    ///     .await
    ///     .unwrap();
    /// assert_ne!(address.port(), 0);
    /// # ctx.close().await;
    /// # drop(server);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError`](crate::StartError), with the task's output or error, if it ends before it is ready. If it drops the sender, this waits for
    /// its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the task is ready aborts the task.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn start<V, B, F>(
        self,
        body: B,
    ) -> impl Future<Output = Started<F::Output, V>> + use<V, B, F, C>
    where
        V: Send + 'static,
        B: FnOnce(ReadySender<V>) -> F,
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let (sender, ready) = ReadySender::new();
        start::until_ready(self.spawn(body(sender)).abort_on_drop(), ready)
    }

    /// The runtime to spawn on, instead of the one the context remembers. Has no effect on local tasks
    /// and wrapped futures.
    pub fn on(mut self, runtime: &Handle) -> Self {
        self.options.runtime = Some(runtime.clone());
        self
    }

    /// Spawns a future. See [`Context::spawn`](crate::Context::spawn).
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime, see [`RefusedReason::NoRuntime`](crate::RefusedReason::NoRuntime).
    #[track_caller]
    pub fn spawn<F>(mut self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return run::<C, F>(core, &mut self.options, origin, guard, future);
            }
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node, future)
    }

    /// Spawns a future, or hands it back.
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing, closed or full, or there is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        self.try_spawn_as(TaskOrigin::of::<F>("task"), future)
    }

    /// As [`try_spawn`](Self::try_spawn), for the line that it was asked for on.
    #[inline(always)]
    #[cfg_attr(all(feature = "console", tokio_unstable), track_caller)]
    pub(crate) fn try_spawn_as<F>(
        mut self,
        origin: TaskOrigin,
        future: F,
    ) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run::<C, F>(core, &mut self.options, origin, guard, future));
            }
            Err(reason) => reason,
        };
        Err(self.options.reject(origin, reason).refused(future))
    }

    /// As [`try_spawn_as`](Self::try_spawn_as), with what listings say of the task.
    #[cfg(feature = "tower")]
    pub(crate) fn try_spawn_with_detail<F>(
        mut self,
        origin: TaskOrigin,
        detail: Box<dyn Detail>,
        future: F,
    ) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                let told = (origin, detail);
                let options = &mut self.options;
                return Ok(run_with_detail::<C, F>(core, options, told, guard, future));
            }
            Err(reason) => reason,
        };
        Err(self.options.reject(origin, reason).refused(future))
    }

    /// Runs a closure on the runtime's blocking threads.
    /// See [`Context::spawn_blocking`](crate::Context::spawn_blocking).
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime, see [`RefusedReason::NoRuntime`](crate::RefusedReason::NoRuntime).
    #[track_caller]
    pub fn spawn_blocking<F, T>(mut self, closure: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: EndCheck<T>,
    {
        let origin = TaskOrigin::of::<F>("blocking");
        self.options.cannot_wait();
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return run_blocking::<C, F, T>(core, &mut self.options, origin, guard, closure);
            }
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node, closure)
    }

    /// Runs a closure on the runtime's blocking threads, or hands it back.
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the closure in it, if the context is closing, closed or full, or there is no runtime.
    #[track_caller]
    pub fn try_spawn_blocking<F, T>(self, closure: F) -> Result<Task<T>, RefusedError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: EndCheck<T>,
    {
        self.try_spawn_blocking_as(TaskOrigin::of::<F>("blocking"), closure)
    }

    /// As [`try_spawn_blocking`](Self::try_spawn_blocking), for the line that it was asked for on.
    pub(crate) fn try_spawn_blocking_as<F, T>(
        mut self,
        origin: TaskOrigin,
        closure: F,
    ) -> Result<Task<T>, RefusedError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        C: EndCheck<T>,
    {
        self.options.cannot_wait();
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run_blocking::<C, F, T>(
                    core,
                    &mut self.options,
                    origin,
                    guard,
                    closure,
                ));
            }
            Err(reason) => reason,
        };
        Err(self.options.reject(origin, reason).refused(closure))
    }

    /// Spawns a future that may not leave this thread.
    /// See [`Context::spawn_local`](crate::Context::spawn_local).
    ///
    /// # Panics
    ///
    /// Outside a [`LocalSet`](tokio::task::LocalSet) and a [`LocalRuntime`](tokio::runtime::LocalRuntime).
    #[track_caller]
    pub fn spawn_local<F>(mut self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit_anywhere(lent.core()) {
            Ok((core, guard)) => {
                return run_local::<C, F>(core, &mut self.options, origin, guard, future);
            }
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node, future)
    }

    /// Spawns a future that may not leave this thread, or hands it back.
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing, closed or full.
    ///
    /// # Panics
    ///
    /// Outside a [`LocalSet`](tokio::task::LocalSet) and a [`LocalRuntime`](tokio::runtime::LocalRuntime).
    #[track_caller]
    pub fn try_spawn_local<F>(self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        self.try_spawn_local_as(TaskOrigin::of::<F>("task"), future)
    }

    /// The same for a task whose origin is known already.
    #[cfg_attr(all(feature = "console", tokio_unstable), track_caller)]
    pub(crate) fn try_spawn_local_as<F>(
        mut self,
        origin: TaskOrigin,
        future: F,
    ) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        let lent = self.target.lend();
        let reason = match self.options.admit_anywhere(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run_local::<C, F>(
                    core,
                    &mut self.options,
                    origin,
                    guard,
                    future,
                ));
            }
            Err(reason) => reason,
        };
        Err(self.options.reject(origin, reason).refused(future))
    }
}

impl TaskBuilder<'_> {
    /// Counts a future that is polled elsewhere. See [`Context::wrap`](crate::Context::wrap).
    #[track_caller]
    pub fn wrap<F: Future>(self, future: F) -> Wrapped<F> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<F>(lent.core()) {
            Ok(counted) => Wrapped::new(future, counted),
            Err(rejected) => {
                rejected.drop_wrapped(self.target.node, future);
                Wrapped::refused()
            }
        }
    }

    /// Counts a future that is polled elsewhere, or hands it back. See [`Context::wrap`](crate::Context::wrap).
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the future in it, if the context is closing, closed or full.
    #[track_caller]
    pub fn try_wrap<F: Future>(self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<F>(lent.core()) {
            Ok(counted) => Ok(Wrapped::new(future, counted)),
            Err(rejected) => Err(rejected.refused(future)),
        }
    }

    /// Counts a future of this origin that is made only if it is let in, and then in its scope.
    #[cfg(feature = "tower")]
    pub(crate) fn try_wrap_with<F: Future>(
        self,
        origin: TaskOrigin,
        make: impl FnOnce() -> F,
    ) -> Option<Wrapped<F>> {
        let lent = self.target.lend();
        let counted = self.options.admit_wrapped_as(lent.core(), origin).ok()?;
        Some(Wrapped::made_by(make, counted))
    }
}

impl TaskBuilder<'_> {
    /// Counts a stream that is polled elsewhere. See [`Context::wrap_stream`](crate::Context::wrap_stream).
    #[track_caller]
    pub fn wrap_stream<S: Stream>(self, stream: S) -> WrappedStream<S> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<S>(lent.core()) {
            Ok(counted) => WrappedStream::new(stream, counted),
            Err(rejected) => {
                rejected.drop_wrapped(self.target.node, stream);
                WrappedStream::refused()
            }
        }
    }

    /// Counts a stream that is polled elsewhere, or hands it back. See [`Context::wrap_stream`](crate::Context::wrap_stream).
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the stream in it, if the context is closing, closed or full.
    #[track_caller]
    pub fn try_wrap_stream<S: Stream>(
        self,
        stream: S,
    ) -> Result<WrappedStream<S>, RefusedError<S>> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<S>(lent.core()) {
            Ok(counted) => Ok(WrappedStream::new(stream, counted)),
            Err(rejected) => Err(rejected.refused(stream)),
        }
    }
}

impl<C> fmt::Debug for TaskBuilder<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        f.debug_struct("TaskBuilder")
            .field("name", &options.name)
            .field("kind", &options.kind)
            .field("is_cancellable", &options.is_cancellable)
            .field("settings", &options.settings)
            .finish_non_exhaustive()
    }
}
