//! Starting a task with settings.

use crate::{
    context::core::Core,
    error::RefusedError,
    name::{self, Label, Name, label},
    table::task_entry::TaskKind,
    task::{
        admit::{Admission, Origin, TaskOptions},
        blocking::Job,
        handle::Task,
        output::{Apart, Output, Together, Whereabouts},
        running::{Plain, Running, UntilCancelled},
    },
};
use std::{fmt, panic::Location, sync::Arc};
use tokio::{runtime::Handle, task::spawn_local};

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
pub struct TaskBuilder<'a>(TaskOptions<'a>);

impl<'a> TaskBuilder<'a> {
    pub(crate) fn new(core: &'a Arc<Core>, name: Option<Label>) -> Self {
        Self(TaskOptions {
            core,
            name,
            kind: None,
            runtime: None,
            is_cancellable: false,
            supersedes: false,
        })
    }

    pub(crate) fn core(&self) -> &'a Arc<Core> {
        self.0.core
    }

    pub(crate) fn into_options(self) -> TaskOptions<'a> {
        self.0
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
    {
        let origin = Origin::of::<F>("task");
        let reason = match self.0.admit(origin) {
            Ok(admitted) => return run(admitted, future),
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
    {
        let origin = Origin::of::<F>("task");
        let reason = match self.0.admit(origin) {
            Ok(admitted) => return Ok(run(admitted, future)),
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
    {
        let origin = Origin::of::<F>("blocking");
        let reason = match self.0.admit(origin) {
            Ok(admitted) => return run_blocking(admitted, closure),
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
    {
        let origin = Origin::of::<F>("blocking");
        let reason = match self.0.admit(origin) {
            Ok(admitted) => return Ok(run_blocking(admitted, closure)),
            Err(reason) => reason,
        };
        Err(self.0.reject(origin, reason).refused(closure))
    }

    /// Spawns a future that may not leave this thread.
    /// See [`Context::spawn_local`](crate::Context::spawn_local).
    ///
    /// # Panics
    ///
    /// Outside a [`LocalSet`](tokio::task::LocalSet).
    #[track_caller]
    pub fn spawn_local<F>(mut self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let origin = Origin::of::<F>("task");
        let reason = match self.0.admit_anywhere(origin) {
            Ok(admitted) => return run_local(admitted, future),
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
    /// Outside a [`LocalSet`](tokio::task::LocalSet).
    #[track_caller]
    pub fn try_spawn_local<F>(mut self, future: F) -> Result<Task<F::Output>, RefusedError<F>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let origin = Origin::of::<F>("task");
        let reason = match self.0.admit_anywhere(origin) {
            Ok(admitted) => return Ok(run_local(admitted, future)),
            Err(reason) => reason,
        };
        Err(self.0.reject(origin, reason).refused(future))
    }
}

impl Origin {
    #[track_caller]
    pub(crate) fn of<F>(kind: &'static str) -> Self {
        Self {
            name: name::of_type::<F>(),
            kind,
            location: Location::caller(),
        }
    }
}

fn run<F>(mut admitted: Admission<'_, '_>, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (handle, guard) = admitted.insert(TaskKind::Spawned);
    let (outlet, runtime) = (Together::new(), admitted.runtime());
    match admitted.cancelled() {
        None => drop(runtime.spawn(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(runtime.spawn(Running::new(future, outlet, guard)));
        }
    }
    admitted.spawned(handle, Whereabouts::entry())
}

fn run_blocking<F, T>(mut admitted: Admission<'_, '_>, closure: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (handle, guard) = admitted.insert(TaskKind::Blocking);
    let job = Job::new(closure, guard);
    drop(admitted.runtime().spawn_blocking(move || job.run()));
    admitted.spawned(handle, Whereabouts::entry())
}

#[track_caller]
fn run_local<F>(mut admitted: Admission<'_, '_>, future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let (handle, guard) = admitted.insert(TaskKind::Spawned);
    let output = Arc::new(Output::new());
    let outlet = Apart(Arc::clone(&output));
    // Outside a `LocalSet` tokio panics, at the line of whoever called us.
    match admitted.cancelled() {
        None => drop(spawn_local(Running::new(Plain { future }, outlet, guard))),
        Some(cancelled) => {
            let future = UntilCancelled { future, cancelled };
            drop(spawn_local(Running::new(future, outlet, guard)));
        }
    }
    admitted.spawned(handle, Whereabouts::Apart(output))
}

impl fmt::Debug for TaskBuilder<'_> {
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
