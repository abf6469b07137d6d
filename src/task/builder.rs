//! [`TaskBuilder`]: starting a task with settings.

use crate::{
    clock,
    context::{
        close,
        slots::OnConflict,
        state::{Core, Node},
    },
    error::{NO_RUNTIME, RefusedError, RefusedReason},
    name::{self, Label, Name, label},
    panics,
    table::{
        record::{Facts, Record},
        task_entry::{Role, TaskHandle, TaskKind},
    },
    task::{
        end_check::{CheckKind, EndCheck, Unchecked},
        future::{Configured, Job, Plain, Running, Settings},
        guard::{self, TaskGuard},
        handle::{Apart, Output, Task, Together, Whereabouts},
        start::{self, ReadySender, Started},
        wrapped::Wrapped,
        wrapped_stream::WrappedStream,
    },
};
use futures::Stream;
use std::{fmt, marker::PhantomData, panic::Location, sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::spawn_local};
use tokio_util::sync::CancellationToken;
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
    /// [`RefusedError`], with the future in it, if the context is closing or closed, or there is no runtime.
    #[track_caller]
    pub fn try_spawn<F>(mut self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run::<C, F>(core, &mut self.options, origin, guard, future));
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
    /// [`RefusedError`], with the closure in it, if the context is closing or closed, or there is no runtime.
    #[track_caller]
    pub fn try_spawn_blocking<F, T>(mut self, closure: F) -> Result<Task<T>, RefusedError<F>>
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
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    ///
    /// # Panics
    ///
    /// Outside a [`LocalSet`](tokio::task::LocalSet) and a [`LocalRuntime`](tokio::runtime::LocalRuntime).
    #[track_caller]
    pub fn try_spawn_local<F>(mut self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + 'static,
        F::Output: 'static,
        C: EndCheck<F::Output>,
    {
        let origin = TaskOrigin::of::<F>("task");
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
            Ok(guard) => Wrapped::new(future, guard),
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
    /// [`RefusedError`], with the future in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap<F: Future>(self, future: F) -> Result<Wrapped<F>, RefusedError<F>> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<F>(lent.core()) {
            Ok(guard) => Ok(Wrapped::new(future, guard)),
            Err(rejected) => Err(rejected.refused(future)),
        }
    }
}

impl TaskBuilder<'_> {
    /// Counts a stream that is polled elsewhere. See [`Context::wrap_stream`](crate::Context::wrap_stream).
    #[track_caller]
    pub fn wrap_stream<S: Stream>(self, stream: S) -> WrappedStream<S> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<S>(lent.core()) {
            Ok(guard) => WrappedStream::new(stream, guard),
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
    /// [`RefusedError`], with the stream in it, if the context is closing or closed.
    #[track_caller]
    pub fn try_wrap_stream<S: Stream>(
        self,
        stream: S,
    ) -> Result<WrappedStream<S>, RefusedError<S>> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<S>(lent.core()) {
            Ok(guard) => Ok(WrappedStream::new(stream, guard)),
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

/// The context on which a task is to be started.
#[derive(Clone, Copy)]
struct Target<'a> {
    node: &'a Arc<Node>,
    /// Of a strong handle. The context of a weak one may be gone.
    core: Option<&'a Arc<Core>>,
}

/// The core of a context, while a task is being started on it.
struct Lent<'a> {
    of_handle: Option<&'a Arc<Core>>,
    /// Held for the call only, and not counted as a handle (I3): if the last handle is dropped meanwhile, its close begins,
    /// and either the gate refuses the task or the close awaits it.
    borrowed: Option<Arc<Core>>,
}

impl<'a> Target<'a> {
    #[inline(always)]
    fn lend(self) -> Lent<'a> {
        let borrowed = match self.core {
            Some(_) => None,
            None => self.node.core.upgrade(),
        };
        Lent {
            of_handle: self.core,
            borrowed,
        }
    }
}

impl Lent<'_> {
    /// `None` if the context is gone: it has closed, and its last handle was dropped.
    #[inline(always)]
    fn core(&self) -> Option<&Arc<Core>> {
        self.of_handle.or(self.borrowed.as_ref())
    }
}

/// A core, and a task that was let in at its gate.
type Admitted<'c> = (&'c Arc<Core>, TaskGuard<'c>);

/// How a task is to be started.
struct TaskOptions {
    name: Option<Label>,
    kind: Option<Label>,
    runtime: Option<Handle>,
    is_cancellable: bool,
    /// What few tasks have lies apart, so that the others do not carry it about.
    settings: Option<Box<Settings>>,
}

/// What the task is by itself: its name and kind unless given, and where it was started.
#[derive(Clone, Copy)]
struct TaskOrigin {
    name: &'static str,
    kind: &'static str,
    location: &'static Location<'static>,
}

/// A task that was refused: what it would have been, and why.
struct Rejected {
    facts: Facts,
    reason: RefusedReason,
}

impl TaskOrigin {
    #[track_caller]
    fn of<F>(kind: &'static str) -> Self {
        Self {
            name: name::of_type::<F>(),
            kind,
            location: Location::caller(),
        }
    }
}

impl TaskOptions {
    /// Asks for a place that needs a runtime to run on. A context that is gone is closed.
    #[inline(always)]
    fn admit<'c>(&mut self, core: Option<&'c Arc<Core>>) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        if self.runtime.is_none() && core.node.is_root() {
            // A registry outlives runtimes, the global one all of them: here and now comes first.
            self.runtime = Handle::try_current().ok();
        }
        if self.runtime.is_none() && !core.runtimes.is_here() {
            self.runtime = Some(core.runtime_at_hand()?);
        }
        self.admit_anywhere(Some(core))
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    fn admit_anywhere<'c>(
        &mut self,
        core: Option<&'c Arc<Core>>,
    ) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        let admitted = TaskGuard::admit(&core.node);
        let guard = admitted.map_err(|left| {
            close::on_leave(&core.node, left);
            RefusedReason::Closed
        })?;
        if let Some(settings) = &mut self.settings {
            settings.enter_slot(core)?;
        }
        Ok((core, guard))
    }

    #[cold]
    fn settings(&mut self) -> &mut Settings {
        self.settings.get_or_insert_default()
    }

    /// If its slot is taken it is refused.
    #[inline]
    fn cannot_wait(&mut self) {
        if let Some(settings) = &mut self.settings {
            settings.on_conflict = OnConflict::Reject;
        }
    }

    #[inline(always)]
    fn take_facts(&mut self, origin: TaskOrigin) -> Facts {
        let or = |given: Option<Label>, name| given.unwrap_or(Label::borrowed(name));
        Facts {
            name: or(self.name.take(), origin.name),
            kind: or(self.kind.take(), origin.kind),
            location: origin.location,
        }
    }

    /// Lists the task. The options are borrowed, because moving so much about costs as much as the gate does.
    #[inline(always)]
    fn list(
        &mut self,
        core: &Core,
        origin: TaskOrigin,
        guard: TaskGuard<'_>,
        kind: TaskKind,
    ) -> (TaskGuard<'static>, TaskHandle) {
        let (guard, handle) = guard.list(self.take_facts(origin), Role::Task(kind));
        let settings = self.settings.as_ref();
        if let Some(turn) = settings.and_then(|settings| settings.turn.as_ref()) {
            turn.set_task(core.node.table.table_ref(), handle.meta().id);
        }
        (guard, handle)
    }

    /// The runtime to spawn on.
    #[inline]
    fn runtime_to_use<'r>(&'r self, core: &'r Core) -> &'r Handle {
        let asked = self.runtime.as_ref();
        let runtime = asked.or_else(|| core.runtimes.first());
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// Whether the future has no settings of its own.
    #[inline]
    fn is_plain(&self) -> bool {
        !self.is_cancellable && self.settings.is_none()
    }

    /// A future with the settings of its task.
    #[cold]
    fn configure<F>(&mut self, future: F, core: &Core) -> Configured<F> {
        let token = self.is_cancellable.then(|| core.node.token.clone());
        Configured {
            future: Some(future),
            cancelled: token.map(CancellationToken::cancelled_owned),
            settings: self.settings.take(),
        }
    }

    /// Lists a future that is polled elsewhere.
    #[track_caller]
    fn admit_wrapped<F>(
        mut self,
        core: Option<&Arc<Core>>,
    ) -> Result<TaskGuard<'static>, Rejected> {
        let origin = TaskOrigin::of::<F>("wrapped");
        self.settings = None;
        match self.admit_anywhere(core) {
            Ok((_, guard)) => {
                let role = Role::Task(TaskKind::Wrapped);
                Ok(guard.list_alone(self.take_facts(origin), role))
            }
            Err(reason) => Err(self.reject(origin, reason)),
        }
    }

    #[cold]
    fn reject(mut self, origin: TaskOrigin, reason: RefusedReason) -> Rejected {
        Rejected {
            facts: self.take_facts(origin),
            reason,
        }
    }
}

fn run<C, F>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: EndCheck<F::Output>,
{
    let (guard, handle) = options.list(core, origin, guard, TaskKind::Spawned);
    let outlet = Together::<_, C>::new();
    if options.is_plain() {
        let running = Running::new(Plain { future }, outlet, guard);
        drop(options.runtime_to_use(core).spawn(running));
    } else {
        let future = options.configure(future, core);
        let running = Running::new(future, outlet, guard);
        drop(options.runtime_to_use(core).spawn(running));
    }
    Task::accepted(handle, Whereabouts::entry())
}

fn run_blocking<C, F, T>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    closure: F,
) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    C: EndCheck<T>,
{
    let (guard, handle) = options.list(core, origin, guard, TaskKind::Blocking);
    let runtime = options.runtime_to_use(core).clone();
    match options.settings.take() {
        None => {
            let job = Job::<_, _, C>::new(closure, guard);
            drop(runtime.spawn_blocking(move || job.run()));
        }
        Some(settings) => {
            let job = Job::<_, _, C>::new(configured(closure, settings), guard);
            drop(runtime.spawn_blocking(move || job.run()));
        }
    }
    Task::accepted(handle, Whereabouts::entry())
}

/// A closure that runs in its span, and then leaves its slot.
fn configured<T>(closure: impl FnOnce() -> T, settings: Box<Settings>) -> impl FnOnce() -> T {
    // Dropped in this order, also if it never runs.
    let held = (closure, settings);
    move || {
        let held = held;
        let (closure, settings) = held;
        match &settings.span {
            Some(span) => span.in_scope(closure),
            None => closure(),
        }
    }
}

#[track_caller]
fn run_local<C, F>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
    C: EndCheck<F::Output>,
{
    let (guard, handle) = options.list(core, origin, guard, TaskKind::Spawned);
    let output = Arc::new(Output::new());
    let outlet = Apart::<_, C>::new(&output);
    // Outside a `LocalSet` and a `LocalRuntime` tokio panics, at the line of our caller.
    if options.is_plain() {
        drop(spawn_local(Running::new(Plain { future }, outlet, guard)));
    } else {
        let future = options.configure(future, core);
        drop(spawn_local(Running::new(future, outlet, guard)));
    }
    Task::accepted(handle, Whereabouts::Apart(output))
}

impl Rejected {
    /// The error that hands the future back.
    fn refused<F>(self, future: F) -> RefusedError<F> {
        RefusedError::new(future, self.reason)
    }

    /// The answer where there is no error to hand it back: the future is dropped unpolled, an event
    /// says where, and the handle resolves to `Refused`, or to `RuntimeGone`.
    ///
    /// # Panics
    ///
    /// If there is no runtime, as `tokio::spawn` does.
    #[track_caller]
    fn task<F, T>(self, node: &Node, future: F) -> Task<T> {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let (Facts { name, location, .. }, reason) = (self.facts, self.reason);
        if reason == RefusedReason::Closed {
            guard::note_refusal(node, ("a task", &name), location);
        }
        panics::discard(future);
        Task::refused(name, reason)
    }

    /// As [`task`](Self::task), where another would have polled it.
    fn drop_wrapped<F>(self, node: &Node, future: F) {
        let Facts { name, location, .. } = self.facts;
        guard::note_refusal(node, ("a wrap", &name), location);
        panics::discard(future);
    }
}
