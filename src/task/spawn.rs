//! What starts a task: it is let in at the gate of its context, listed, and handed to a runtime; or it is rejected.

#[cfg(feature = "tower")]
use crate::table::record::Detail;
use crate::{
    console,
    context::{
        close,
        quota::{Quota, QuotaPermit},
        slots::OnConflict,
        state::{Core, Node},
    },
    error::{NO_RUNTIME, RefusedError, RefusedReason},
    name::{self, Label},
    panics,
    table::{
        record::{Facts, Record},
        task_entry::{Role, TaskHandle, TaskKind},
    },
    task::{
        end_check::EndCheck,
        future::{Configured, Job, Plain, Running, Settings},
        guard::{self, TaskGuard},
        handle::{Apart, Output, Task, Together, Whereabouts},
    },
};
use std::{panic::Location, sync::Arc};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The context on which a task is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) node: &'a Arc<Node>,
    /// Of a strong handle. The context of a weak one may be gone.
    pub(crate) core: Option<&'a Arc<Core>>,
}

/// The core of a context, while a task is being started on it.
pub(crate) struct Lent<'a> {
    of_handle: Option<&'a Arc<Core>>,
    /// Held for the call only, and not counted as a handle (I3): if the last handle is dropped meanwhile, its close begins,
    /// and either the gate refuses the task or the close awaits it.
    borrowed: Option<Arc<Core>>,
}

impl<'a> Target<'a> {
    #[inline(always)]
    pub(crate) fn lend(self) -> Lent<'a> {
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
    pub(crate) fn core(&self) -> Option<&Arc<Core>> {
        self.of_handle.or(self.borrowed.as_ref())
    }
}

/// A core, and a task that was let in at its gate.
pub(crate) type Admitted<'c> = (&'c Arc<Core>, TaskGuard<'c>);

/// How a task is to be started.
pub(crate) struct TaskOptions {
    pub(crate) name: Option<Label>,
    pub(crate) kind: Option<Label>,
    /// Asked for; and once the task is admitted, the one to spawn it on, if it needs one.
    pub(crate) runtime: Option<Handle>,
    pub(crate) is_cancellable: bool,
    /// What few tasks have lies apart, so that the others do not carry it about.
    pub(crate) settings: Option<Box<Settings>>,
}

/// What the task is by itself: its name and kind unless given, and where it was started.
#[derive(Clone, Copy)]
pub(crate) struct TaskOrigin {
    name: &'static str,
    kind: &'static str,
    pub(crate) location: &'static Location<'static>,
}

/// A wrapped future that was let in.
pub(crate) struct Counted {
    pub(crate) guard: TaskGuard<'static>,
    pub(crate) quota: Option<QuotaPermit>,
}

/// A task that was refused: what it would have been, and why.
pub(crate) struct Rejected {
    facts: Facts,
    reason: RefusedReason,
}

impl TaskOrigin {
    /// The same, started on this line.
    #[cfg(feature = "tower")]
    pub(crate) fn at(self, location: &'static Location<'static>) -> Self {
        Self { location, ..self }
    }

    #[track_caller]
    pub(crate) fn of<F>(kind: &'static str) -> Self {
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
    pub(crate) fn admit<'c>(
        &mut self,
        core: Option<&'c Arc<Core>>,
    ) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        if self.runtime.is_none() {
            self.runtime = Some(find_runtime(core)?);
        }
        self.admit_anywhere(Some(core))
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    pub(crate) fn admit_anywhere<'c>(
        &mut self,
        core: Option<&'c Arc<Core>>,
    ) -> Result<Admitted<'c>, RefusedReason> {
        let core = core.ok_or(RefusedReason::Closed)?;
        let guard = enter_gate(core)?;
        if let Some(quota) = &core.node.max_tasks {
            self.enter_quota(quota)?;
        }
        if let Some(settings) = &mut self.settings {
            settings.enter_slot(core)?;
        }
        Ok((core, guard))
    }

    /// Asks for a place for what follows another task, and has the room of that.
    #[cfg(feature = "supervision")]
    pub(crate) fn admit_another<'c>(
        &mut self,
        core: &'c Arc<Core>,
    ) -> Result<TaskGuard<'c>, RefusedReason> {
        let guard = enter_gate(core)?;
        if let Some(settings) = &mut self.settings {
            settings.enter_slot(core)?;
        }
        Ok(guard)
    }

    /// The room that it has taken, for those that follow it.
    #[cfg(feature = "supervision")]
    pub(crate) fn take_quota(&mut self) -> Option<QuotaPermit> {
        self.settings.as_mut()?.quota.take()
    }

    /// Takes room in a context that has not room for any number of tasks. Kept beside the future, and dropped after it.
    #[cold]
    fn enter_quota(&mut self, quota: &Arc<Quota>) -> Result<(), RefusedReason> {
        let permit = quota.try_take().ok_or(RefusedReason::Full)?;
        self.settings().quota = Some(permit);
        Ok(())
    }

    #[cold]
    pub(crate) fn settings(&mut self) -> &mut Settings {
        self.settings.get_or_insert_default()
    }

    /// If its slot is taken it is refused.
    #[inline]
    pub(crate) fn cannot_wait(&mut self) {
        if let Some(settings) = &mut self.settings {
            settings.on_conflict = OnConflict::Reject;
        }
    }

    #[inline(always)]
    pub(crate) fn take_facts(&mut self, origin: TaskOrigin) -> Facts {
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
        if let Some(settings) = &self.settings {
            settings.listed(core.node.table.table_ref(), handle.meta());
        }
        (guard, handle)
    }

    /// Those of a task without any settings.
    #[cfg(feature = "supervision")]
    pub(crate) fn plain() -> Self {
        Self {
            name: None,
            kind: None,
            runtime: None,
            is_cancellable: false,
            settings: None,
        }
    }

    /// The same options for another task.
    #[cfg(feature = "supervision")]
    pub(crate) fn again(&self) -> Self {
        let settings = self.settings.as_ref();
        Self {
            name: self.name.clone(),
            kind: self.kind.clone(),
            runtime: self.runtime.clone(),
            is_cancellable: self.is_cancellable,
            settings: settings.map(|settings| Box::new(settings.again())),
        }
    }

    /// Lists the task, without a handle.
    #[cfg(feature = "supervision")]
    pub(crate) fn list_alone(
        &mut self,
        node: &Node,
        origin: TaskOrigin,
        guard: TaskGuard<'_>,
        kind: TaskKind,
    ) -> TaskGuard<'static> {
        let guard = guard.list_alone(self.take_facts(origin), Role::Task(kind));
        if let (Some(settings), Some(task)) = (&self.settings, guard.task()) {
            settings.listed(node.table.table_ref(), task.meta());
        }
        guard
    }

    /// The runtime to spawn on.
    #[inline]
    pub(crate) fn runtime(&self) -> &Handle {
        let runtime = self.runtime.as_ref();
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// Whether the future has no settings of its own.
    #[inline]
    fn is_plain(&self) -> bool {
        !self.is_cancellable && self.settings.is_none()
    }

    /// A future with the settings of its task.
    #[cold]
    pub(crate) fn configure<F>(&mut self, future: F, node: &Node) -> Configured<F> {
        let token = self.is_cancellable.then(|| node.token().clone());
        Configured {
            future: Some(future),
            cancelled: token.map(CancellationToken::cancelled_owned),
            settings: self.settings.take(),
        }
    }

    /// Lists a future that is polled elsewhere.
    #[track_caller]
    pub(crate) fn admit_wrapped<F>(self, core: Option<&Arc<Core>>) -> Result<Counted, Rejected> {
        self.admit_wrapped_as(core, TaskOrigin::of::<F>("wrapped"))
    }

    /// The same for one whose origin is known already.
    pub(crate) fn admit_wrapped_as(
        mut self,
        core: Option<&Arc<Core>>,
        origin: TaskOrigin,
    ) -> Result<Counted, Rejected> {
        self.settings = None;
        match self.admit_anywhere(core) {
            Ok((_, guard)) => {
                let role = Role::Task(TaskKind::Wrapped);
                let guard = guard.list_alone(self.take_facts(origin), role);
                let quota = self.settings.take().and_then(|settings| settings.quota);
                Ok(Counted { guard, quota })
            }
            Err(reason) => Err(self.reject(origin, reason)),
        }
    }

    #[cold]
    pub(crate) fn reject(mut self, origin: TaskOrigin, reason: RefusedReason) -> Rejected {
        Rejected {
            facts: self.take_facts(origin),
            reason,
        }
    }
}

#[inline(always)]
fn enter_gate(core: &Core) -> Result<TaskGuard<'_>, RefusedReason> {
    TaskGuard::admit(&core.node).map_err(|left| {
        close::on_leave(&core.node, left);
        RefusedReason::Closed
    })
}

/// The runtime for a task that was given none. It is this thread's, if that is the one that its context was first used on, so that it
/// has not ended.
#[inline(always)]
fn find_runtime(core: &Core) -> Result<Handle, RefusedReason> {
    match Handle::try_current() {
        // A registry outlives runtimes, the global one all of them: here and now comes first.
        Ok(here) if core.node.is_root() || core.runtimes.is_first(&here) => Ok(here),
        _ => core.runtime_at_hand(),
    }
}

#[cfg_attr(all(feature = "console", tokio_unstable), track_caller)]
pub(crate) fn run<C, F>(
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
        console::spawn(options.runtime(), &handle.meta().name, running);
    } else {
        let future = options.configure(future, &core.node);
        let running = Running::new(future, outlet, guard);
        console::spawn(options.runtime(), &handle.meta().name, running);
    }
    Task::accepted(handle, Whereabouts::entry())
}

/// As [`run`], with what listings say of the task. The output lies apart, because that is in its place.
#[cfg(feature = "tower")]
#[cfg_attr(all(feature = "console", tokio_unstable), track_caller)]
pub(crate) fn run_with_detail<C, F>(
    core: &Core,
    options: &mut TaskOptions,
    (origin, detail): (TaskOrigin, Box<dyn Detail>),
    guard: TaskGuard<'_>,
    future: F,
) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    C: EndCheck<F::Output>,
{
    let (guard, handle) = options.list(core, origin, guard, TaskKind::Spawned);
    guard.set_detail(detail);
    let output = Arc::new(Output::new());
    let outlet = Apart::<_, C>::new(&output);
    let future = options.configure(future, &core.node);
    let running = Running::new(future, outlet, guard);
    console::spawn(options.runtime(), &handle.meta().name, running);
    Task::accepted(handle, Whereabouts::Apart(output))
}

#[cfg_attr(all(feature = "console", tokio_unstable), track_caller)]
pub(crate) fn run_blocking<C, F, T>(
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
    let runtime = options.runtime().clone();
    match options.settings.take() {
        None => {
            let job = Job::<_, _, C>::new(closure, guard);
            console::spawn_blocking(&runtime, &handle.meta().name, move || job.run());
        }
        Some(settings) => {
            let job = Job::<_, _, C>::new(configured(closure, settings), guard);
            console::spawn_blocking(&runtime, &handle.meta().name, move || job.run());
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
pub(crate) fn run_local<C, F>(
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
        let running = Running::new(Plain { future }, outlet, guard);
        console::spawn_local(&handle.meta().name, running);
    } else {
        let future = options.configure(future, &core.node);
        let running = Running::new(future, outlet, guard);
        console::spawn_local(&handle.meta().name, running);
    }
    Task::accepted(handle, Whereabouts::Apart(output))
}

impl Rejected {
    /// The error that hands the future back.
    pub(crate) fn refused<F>(self, future: F) -> RefusedError<F> {
        RefusedError::new(future, self.reason)
    }

    /// The answer where there is no error to hand it back: the future is dropped unpolled, an event
    /// says where, and the handle resolves to `Refused`, or to `RuntimeGone`.
    ///
    /// # Panics
    ///
    /// If there is no runtime, as `tokio::spawn` does.
    #[track_caller]
    pub(crate) fn task<F, T>(self, node: &Node, future: F) -> Task<T> {
        let (name, reason) = self.drop_task(node, future);
        Task::refused(name, reason)
    }

    /// Drops what was refused, and notes it; returns what it was called and why.
    ///
    /// # Panics
    ///
    /// If there is no runtime.
    #[track_caller]
    pub(crate) fn drop_task<F>(self, node: &Node, future: F) -> (Label, RefusedReason) {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let (Facts { name, location, .. }, reason) = (self.facts, self.reason);
        guard::note_refusal(node, ("a task", &name), (location, reason));
        panics::discard(future);
        (name, reason)
    }

    /// As [`task`](Self::task), where another would have polled it.
    pub(crate) fn drop_wrapped<F>(self, node: &Node, future: F) {
        let (Facts { name, location, .. }, reason) = (self.facts, self.reason);
        guard::note_refusal(node, ("a wrapped future", &name), (location, reason));
        panics::discard(future);
    }
}
