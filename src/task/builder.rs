//! [`TaskBuilder`]: starting a task with settings.

use crate::{
    context::{close, state::Core},
    error::{NO_RUNTIME, RefusedError, RefusedReason},
    name::{self, Label, Name, label},
    panics,
    table::{
        record::{Facts, Record},
        task_entry::{Role, TaskHandle, TaskKind},
    },
    task::{
        end_check::{CheckKind, EndCheck, Unchecked},
        future::{Job, Plain, Running, UntilCancelled},
        guard::{self, TaskGuard},
        handle::{Apart, Output, Task, Together, Whereabouts},
        wrapped::Wrapped,
    },
};
use std::{fmt, marker::PhantomData, panic::Location, sync::Arc};
use tokio::{runtime::Handle, task::spawn_local};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Starts a task with a name and settings. Made by [`Context::task`](crate::Context::task).
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
pub struct TaskBuilder<'a, C = Unchecked>(TaskOptions<'a>, PhantomData<fn(C)>);

impl<'a> TaskBuilder<'a> {
    pub(crate) fn new(core: &'a Arc<Core>, name: Option<Label>) -> Self {
        let options = TaskOptions {
            core,
            name,
            kind: None,
            runtime: None,
            is_cancellable: false,
            supersedes: false,
        };
        Self(options, PhantomData)
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
        TaskBuilder(self.0, PhantomData)
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
        TaskBuilder(self.0, PhantomData)
    }

    /// The kind it is listed under; `task`, `blocking` or `wrapped` otherwise.
    pub fn kind(mut self, kind: impl Into<Name>) -> Self {
        self.0.kind = Some(label(kind.into()));
        self
    }

    /// Drops the future at its next wait once the context's token is cancelled, instead of letting it
    /// find out by itself. Its handle then gets [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    ///
    /// Has no effect on blocking closures and wrapped futures.
    pub fn cancellable(mut self) -> Self {
        self.0.is_cancellable = true;
        self
    }

    /// Aborts the task of the same name that was last started like this on the same context.
    pub fn supersede(mut self) -> Self {
        self.0.supersedes = true;
        self
    }

    /// The runtime to spawn on, instead of the one the context remembers. Has no effect on local tasks
    /// and wrapped futures.
    pub fn on(mut self, runtime: &Handle) -> Self {
        self.0.runtime = Some(runtime.clone());
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
        let reason = match self.0.admit() {
            Ok(guard) => return run::<C, F>(&mut self.0, origin, guard, future),
            Err(reason) => reason,
        };
        let core = self.0.core;
        self.0.reject(origin, reason).task(core, future)
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
        let reason = match self.0.admit() {
            Ok(guard) => return Ok(run::<C, F>(&mut self.0, origin, guard, future)),
            Err(reason) => reason,
        };
        Err(self.0.reject(origin, reason).refused(future))
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
        let reason = match self.0.admit() {
            Ok(guard) => return run_blocking::<C, F, T>(&mut self.0, origin, guard, closure),
            Err(reason) => reason,
        };
        let core = self.0.core;
        self.0.reject(origin, reason).task(core, closure)
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
        let reason = match self.0.admit() {
            Ok(guard) => return Ok(run_blocking::<C, F, T>(&mut self.0, origin, guard, closure)),
            Err(reason) => reason,
        };
        Err(self.0.reject(origin, reason).refused(closure))
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
        let reason = match self.0.admit_anywhere() {
            Ok(guard) => return run_local::<C, F>(&mut self.0, origin, guard, future),
            Err(reason) => reason,
        };
        let core = self.0.core;
        self.0.reject(origin, reason).task(core, future)
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
        let reason = match self.0.admit_anywhere() {
            Ok(guard) => return Ok(run_local::<C, F>(&mut self.0, origin, guard, future)),
            Err(reason) => reason,
        };
        Err(self.0.reject(origin, reason).refused(future))
    }
}

impl TaskBuilder<'_> {
    /// Counts a future that is polled elsewhere. See [`Context::wrap`](crate::Context::wrap).
    #[track_caller]
    pub fn wrap<F: Future>(self, future: F) -> Wrapped<F> {
        let core = self.0.core;
        match self.0.admit_wrapped::<F>() {
            Ok(guard) => Wrapped::new(future, guard),
            Err(rejected) => {
                let Facts { name, location, .. } = rejected.facts;
                guard::note_refusal(core, ("a wrap", &name), location);
                panics::discard(future);
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
        match self.0.admit_wrapped::<F>() {
            Ok(guard) => Ok(Wrapped::new(future, guard)),
            Err(rejected) => Err(rejected.refused(future)),
        }
    }
}

impl<C> fmt::Debug for TaskBuilder<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0;
        f.debug_struct("TaskBuilder")
            .field("name", &options.name)
            .field("kind", &options.kind)
            .field("is_cancellable", &options.is_cancellable)
            .field("supersedes", &options.supersedes)
            .finish_non_exhaustive()
    }
}

/// How a task is to be started.
struct TaskOptions<'a> {
    core: &'a Arc<Core>,
    name: Option<Label>,
    kind: Option<Label>,
    runtime: Option<Handle>,
    is_cancellable: bool,
    supersedes: bool,
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

impl<'a> TaskOptions<'a> {
    /// Asks for a place that needs a runtime to run on.
    #[inline(always)]
    fn admit(&mut self) -> Result<TaskGuard<'a>, RefusedReason> {
        if self.runtime.is_none() && self.core.node.is_root() {
            // A registry outlives runtimes, the global one all of them: here and now comes first.
            self.runtime = Handle::try_current().ok();
        }
        if self.runtime.is_none() && self.core.runtime().is_none() {
            return Err(RefusedReason::NoRuntime);
        }
        self.admit_anywhere()
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    fn admit_anywhere(&self) -> Result<TaskGuard<'a>, RefusedReason> {
        TaskGuard::admit(&self.core.node).map_err(|left| {
            close::on_leave(&self.core.node, left);
            RefusedReason::Closed
        })
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

    #[inline(always)]
    fn role(&self, kind: TaskKind) -> Role {
        Role::Task {
            kind,
            supersedes: self.supersedes,
        }
    }

    /// Lists the task. The options are borrowed, because moving so much about costs as much as the gate does.
    #[inline(always)]
    fn list(
        &mut self,
        origin: TaskOrigin,
        guard: TaskGuard<'_>,
        kind: TaskKind,
    ) -> (TaskGuard<'static>, TaskHandle) {
        let role = self.role(kind);
        guard.list(self.take_facts(origin), role)
    }

    /// The runtime to spawn on.
    #[inline]
    fn runtime_to_use(&self) -> &Handle {
        let asked = self.runtime.as_ref();
        let runtime = asked.or_else(|| self.core.runtime());
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// What ends a cancellable task.
    #[inline]
    fn cancelled(&self) -> Option<WaitForCancellationFutureOwned> {
        self.is_cancellable
            .then(|| self.core.node.token.clone().cancelled_owned())
    }

    /// The task is with the runtime.
    #[inline(always)]
    fn spawned<T>(&self, handle: TaskHandle, output: Whereabouts<T>) -> Task<T> {
        if self.supersedes {
            guard::supersede(self.core, handle.meta());
        }
        Task::accepted(handle, output)
    }

    /// Lists a future that is polled elsewhere.
    #[track_caller]
    fn admit_wrapped<F>(mut self) -> Result<TaskGuard<'static>, Rejected> {
        let origin = TaskOrigin::of::<F>("wrapped");
        match self.admit_anywhere() {
            Ok(guard) => {
                let role = self.role(TaskKind::Wrapped);
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
    options: &mut TaskOptions<'_>,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: EndCheck<F::Output>,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Spawned);
    let (outlet, runtime) = (Together::<_, C>::new(), options.runtime_to_use());
    match options.cancelled() {
        None => drop(runtime.spawn(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(runtime.spawn(Running::new(future, outlet, guard)));
        }
    }
    options.spawned(handle, Whereabouts::entry())
}

fn run_blocking<C, F, T>(
    options: &mut TaskOptions<'_>,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    closure: F,
) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    C: EndCheck<T>,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Blocking);
    let job = Job::<_, _, C>::new(closure, guard);
    drop(options.runtime_to_use().spawn_blocking(move || job.run()));
    options.spawned(handle, Whereabouts::entry())
}

#[track_caller]
fn run_local<C, F>(
    options: &mut TaskOptions<'_>,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
    C: EndCheck<F::Output>,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Spawned);
    let output = Arc::new(Output::new());
    let outlet = Apart::<_, C>::new(&output);
    // Outside a `LocalSet` and a `LocalRuntime` tokio panics, at the line of our caller.
    match options.cancelled() {
        None => drop(spawn_local(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(spawn_local(Running::new(future, outlet, guard)));
        }
    }
    options.spawned(handle, Whereabouts::Apart(output))
}

impl Rejected {
    /// The error that hands the future back.
    fn refused<F>(self, future: F) -> RefusedError<F> {
        RefusedError::new(future, self.reason)
    }

    /// The answer where there is no error to hand it back: the future is dropped unpolled, an event
    /// says where, and the handle resolves to `Refused`.
    ///
    /// # Panics
    ///
    /// If there is no runtime, as `tokio::spawn` does.
    #[track_caller]
    fn task<F, T>(self, core: &Core, future: F) -> Task<T> {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let Facts { name, location, .. } = self.facts;
        guard::note_refusal(core, ("a task", &name), location);
        panics::discard(future);
        Task::refused(name)
    }
}
