//! [`TaskBuilder`]: starting a task with settings.

use crate::{
    context::{
        close,
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
        future::{Job, Plain, Running, UntilCancelled},
        guard::{self, TaskGuard},
        handle::{Apart, Output, Task, Together, Whereabouts},
        wrapped::Wrapped,
    },
};
use std::{fmt, panic::Location, sync::Arc};
use tokio::{runtime::Handle, task::spawn_local};
use tokio_util::sync::WaitForCancellationFutureOwned;

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
pub struct TaskBuilder<'a> {
    target: Target<'a>,
    options: TaskOptions,
}

impl<'a> TaskBuilder<'a> {
    /// Starts a task on the context of a strong handle.
    #[inline]
    pub(crate) fn new(core: &'a Arc<Core>, name: Option<Label>) -> Self {
        Self::on_target(Target::Strong(core), name)
    }

    /// Starts a task on the context of a weak handle, if it is still there by then.
    #[inline]
    pub(crate) fn weak(node: &'a Arc<Node>, name: Option<Label>) -> Self {
        Self::on_target(Target::Weak(node), name)
    }

    #[inline]
    fn on_target(target: Target<'a>, name: Option<Label>) -> Self {
        let options = TaskOptions {
            name,
            kind: None,
            runtime: None,
            is_cancellable: false,
            supersedes: false,
        };
        Self { target, options }
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
    pub fn cancellable(mut self) -> Self {
        self.options.is_cancellable = true;
        self
    }

    /// Aborts the task of the same name that was last started like this on the same context.
    pub fn supersede(mut self) -> Self {
        self.options.supersedes = true;
        self
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
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => return run(core, &mut self.options, origin, guard, future),
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node(), future)
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
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => return Ok(run(core, &mut self.options, origin, guard, future)),
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
    {
        let origin = TaskOrigin::of::<F>("blocking");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return run_blocking(core, &mut self.options, origin, guard, closure);
            }
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node(), closure)
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
    {
        let origin = TaskOrigin::of::<F>("blocking");
        let lent = self.target.lend();
        let reason = match self.options.admit(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run_blocking(
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
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit_anywhere(lent.core()) {
            Ok((core, guard)) => return run_local(core, &mut self.options, origin, guard, future),
            Err(reason) => reason,
        };
        let rejected = self.options.reject(origin, reason);
        rejected.task(self.target.node(), future)
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
    {
        let origin = TaskOrigin::of::<F>("task");
        let lent = self.target.lend();
        let reason = match self.options.admit_anywhere(lent.core()) {
            Ok((core, guard)) => {
                return Ok(run_local(core, &mut self.options, origin, guard, future));
            }
            Err(reason) => reason,
        };
        Err(self.options.reject(origin, reason).refused(future))
    }

    /// Counts a future that is polled elsewhere. See [`Context::wrap`](crate::Context::wrap).
    #[track_caller]
    pub fn wrap<F: Future>(self, future: F) -> Wrapped<F> {
        let lent = self.target.lend();
        match self.options.admit_wrapped::<F>(lent.core()) {
            Ok(guard) => Wrapped::new(future, guard),
            Err(rejected) => {
                let Facts { name, location, .. } = rejected.facts;
                let node = self.target.node();
                node.note_refusal("a wrap", &name, location);
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
        let lent = self.target.lend();
        match self.options.admit_wrapped::<F>(lent.core()) {
            Ok(guard) => Ok(Wrapped::new(future, guard)),
            Err(rejected) => Err(rejected.refused(future)),
        }
    }
}

impl fmt::Debug for TaskBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        f.debug_struct("TaskBuilder")
            .field("name", &options.name)
            .field("kind", &options.kind)
            .field("is_cancellable", &options.is_cancellable)
            .field("supersedes", &options.supersedes)
            .finish_non_exhaustive()
    }
}

/// The context on which a task is to be started.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// That of a strong handle.
    Strong(&'a Arc<Core>),
    /// That of a weak handle. It may be gone.
    Weak(&'a Arc<Node>),
}

/// The core of a context, while a task is being started on it.
enum Lent<'a> {
    Strong(&'a Arc<Core>),
    /// Held for the call only, and not counted as a handle (I3): if the last handle is dropped meanwhile, its close begins,
    /// and either the gate refuses the task or the close awaits it.
    Weak(Option<Arc<Core>>),
}

impl<'a> Target<'a> {
    #[inline(always)]
    fn lend(self) -> Lent<'a> {
        match self {
            Self::Strong(core) => Lent::Strong(core),
            Self::Weak(node) => Lent::Weak(node.core.upgrade()),
        }
    }

    fn node(self) -> &'a Arc<Node> {
        match self {
            Self::Strong(core) => &core.node,
            Self::Weak(node) => node,
        }
    }
}

impl Lent<'_> {
    /// `None` if the context is gone: it has closed, and its last handle was dropped.
    #[inline(always)]
    fn core(&self) -> Option<&Arc<Core>> {
        match self {
            Self::Strong(core) => Some(core),
            Self::Weak(core) => core.as_ref(),
        }
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

impl TaskOptions {
    /// Asks for a place that needs a runtime to run on. A context that is gone is closed.
    #[inline(always)]
    fn admit<'c>(&mut self, core: Option<&'c Arc<Core>>) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        if self.runtime.is_none() && core.node.is_root() {
            // A registry outlives runtimes, the global one all of them: here and now comes first.
            self.runtime = Handle::try_current().ok();
        }
        if self.runtime.is_none() && core.runtime().is_none() {
            return Err(RefusedReason::NoRuntime);
        }
        self.admit_anywhere(Some(core))
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "as `admit`")]
    fn admit_anywhere<'c>(
        &self,
        core: Option<&'c Arc<Core>>,
    ) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        let admitted = TaskGuard::admit(&core.node);
        let guard = admitted.map_err(|left| {
            close::on_leave(&core.node, left);
            RefusedReason::Closed
        })?;
        Ok((core, guard))
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
    fn runtime_to_use<'r>(&'r self, core: &'r Core) -> &'r Handle {
        let asked = self.runtime.as_ref();
        let runtime = asked.or_else(|| core.runtime());
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// What ends a cancellable task.
    #[inline]
    fn cancelled(&self, core: &Core) -> Option<WaitForCancellationFutureOwned> {
        self.is_cancellable
            .then(|| core.node.token.clone().cancelled_owned())
    }

    /// The task is with the runtime.
    #[inline(always)]
    fn spawned<T>(&self, core: &Core, handle: TaskHandle, output: Whereabouts<T>) -> Task<T> {
        if self.supersedes {
            guard::supersede(core, handle.meta());
        }
        Task::accepted(handle, output)
    }

    /// Lists a future that is polled elsewhere.
    #[track_caller]
    fn admit_wrapped<F>(
        mut self,
        core: Option<&Arc<Core>>,
    ) -> Result<TaskGuard<'static>, Rejected> {
        let origin = TaskOrigin::of::<F>("wrapped");
        match self.admit_anywhere(core) {
            Ok((_, guard)) => {
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

fn run<F>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Spawned);
    let (outlet, runtime) = (Together::new(), options.runtime_to_use(core));
    match options.cancelled(core) {
        None => drop(runtime.spawn(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(runtime.spawn(Running::new(future, outlet, guard)));
        }
    }
    options.spawned(core, handle, Whereabouts::entry())
}

fn run_blocking<F, T>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    closure: F,
) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Blocking);
    let job = Job::new(closure, guard);
    drop(
        options
            .runtime_to_use(core)
            .spawn_blocking(move || job.run()),
    );
    options.spawned(core, handle, Whereabouts::entry())
}

#[track_caller]
fn run_local<F>(
    core: &Core,
    options: &mut TaskOptions,
    origin: TaskOrigin,
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (guard, handle) = options.list(origin, guard, TaskKind::Spawned);
    let output = Arc::new(Output::new());
    let outlet = Apart(Arc::clone(&output));
    // Outside a `LocalSet` and a `LocalRuntime` tokio panics, at the line of our caller.
    match options.cancelled(core) {
        None => drop(spawn_local(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(spawn_local(Running::new(future, outlet, guard)));
        }
    }
    options.spawned(core, handle, Whereabouts::Apart(output))
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
    fn task<F, T>(self, node: &Node, future: F) -> Task<T> {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let Facts { name, location, .. } = self.facts;
        node.note_refusal("a task", &name, location);
        panics::discard(future);
        Task::refused(name)
    }
}
