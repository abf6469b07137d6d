//! Accepting a task: through the gate of its context, and into the registry.

use crate::{
    context::{close, core::Core, refusal},
    error::{NO_RUNTIME, RefusedError, RefusedReason},
    name::Label,
    panics,
    table::{
        record::Facts,
        task_entry::{Role, TaskHandle, TaskHold as _, TaskKind},
    },
    task::{guard::TaskGuard, handle::Task, output::Whereabouts, supersede},
};
use std::{panic::Location, sync::Arc};
use tokio::runtime::Handle;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How a task is to be started.
pub(crate) struct TaskOptions<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) name: Option<Label>,
    pub(crate) kind: Option<Label>,
    pub(crate) runtime: Option<Handle>,
    pub(crate) is_cancellable: bool,
    pub(crate) supersedes: bool,
}

/// What the task is by itself: its name and kind unless given, and where it was started.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) location: &'static Location<'static>,
}

/// The gate of a context counts a task that has no entry yet; if it gets none, it leaves the gate when this is dropped. It
/// borrows the options, because moving so much about costs as much as the gate does.
pub(crate) struct Admission<'w, 'a> {
    options: &'w mut TaskOptions<'a>,
    origin: Origin,
    has_entry: bool,
}

impl Drop for Admission<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.has_entry {
            let node = &self.options.core.node;
            close::on_leave(node, node.gate.leave());
        }
    }
}

/// A task that was turned away: what it would have been, and why.
pub(crate) struct Rejected {
    facts: Facts,
    reason: RefusedReason,
}

impl<'a> TaskOptions<'a> {
    /// Asks for a place that needs a runtime to run on.
    #[inline(always)]
    pub(crate) fn admit(&mut self, origin: Origin) -> Result<Admission<'_, 'a>, RefusedReason> {
        if self.runtime.is_none() && self.core.node.is_root() {
            // A registry outlives runtimes, the global one all of them: here and now comes first.
            self.runtime = Handle::try_current().ok();
        }
        if self.runtime.is_none() && self.core.runtime().is_none() {
            return Err(RefusedReason::NoRuntime);
        }
        self.admit_anywhere(origin)
    }

    /// Asks for a place that is brought its own runtime.
    #[inline(always)]
    pub(crate) fn admit_anywhere(
        &mut self,
        origin: Origin,
    ) -> Result<Admission<'_, 'a>, RefusedReason> {
        match self.core.node.gate.enter() {
            Ok(()) => Ok(Admission {
                options: self,
                origin,
                has_entry: false,
            }),
            Err(left) => {
                close::on_leave(&self.core.node, left);
                Err(RefusedReason::Closed)
            }
        }
    }

    #[inline(always)]
    fn take_facts(&mut self, origin: Origin) -> Facts {
        let or = |given: Option<Label>, name| given.unwrap_or(Label::borrowed(name));
        Facts {
            name: or(self.name.take(), origin.name),
            kind: or(self.kind.take(), origin.kind),
            location: origin.location,
        }
    }

    #[cold]
    pub(crate) fn reject(mut self, origin: Origin, reason: RefusedReason) -> Rejected {
        Rejected {
            facts: self.take_facts(origin),
            reason,
        }
    }
}

impl Admission<'_, '_> {
    /// Lists the task.
    #[inline(always)]
    pub(crate) fn insert(&mut self, kind: TaskKind) -> (TaskHandle, TaskGuard) {
        let (node, role) = (&self.options.core.node, self.role(kind));
        let facts = self.options.take_facts(self.origin);
        let (owner, handle) = node.table.insert_task(facts, Arc::clone(node) as _, role);
        self.has_entry = true;
        // A close sets ABORTING, then looks for tasks; we list the task, then read ABORTING: one sees the other.
        owner.abort_if_told();
        (handle, TaskGuard::new(owner))
    }

    /// Lists a wrapped future, without a handle: who polls it gets its output.
    pub(crate) fn insert_wrapped(&mut self) -> TaskGuard {
        let (node, role) = (&self.options.core.node, self.role(TaskKind::Wrapped));
        let facts = self.options.take_facts(self.origin);
        let owner = node
            .table
            .insert_task_alone(facts, Arc::clone(node) as _, role);
        self.has_entry = true;
        // As above.
        owner.abort_if_told();
        TaskGuard::new(owner)
    }

    #[inline(always)]
    fn role(&self, kind: TaskKind) -> Role {
        Role::Task {
            kind,
            supersedes: self.options.supersedes,
        }
    }

    /// The runtime to spawn on.
    #[inline]
    pub(crate) fn runtime(&self) -> &Handle {
        let asked = self.options.runtime.as_ref();
        let runtime = asked.or_else(|| self.options.core.runtime());
        runtime.expect("a task that needs a runtime is admitted only with one")
    }

    /// What ends a cancellable task.
    #[inline]
    pub(crate) fn cancelled(&self) -> Option<WaitForCancellationFutureOwned> {
        let options = &self.options;
        options
            .is_cancellable
            .then(|| options.core.node.token.clone().cancelled_owned())
    }

    /// The task is with the runtime.
    #[inline(always)]
    pub(crate) fn spawned<T>(self, handle: TaskHandle, output: Whereabouts<T>) -> Task<T> {
        let core = self.options.core;
        if self.options.supersedes {
            return supersede::started(core, Task::accepted(handle, output));
        }
        Task::accepted(handle, output)
    }
}

impl Rejected {
    /// The error that hands the future back.
    pub(crate) fn refused<F>(self, future: F) -> RefusedError<F> {
        RefusedError::new(future, self.reason)
    }

    /// The answer where there is no error to hand it back: the future is dropped unpolled, an event
    /// says where, and the handle resolves to `Refused`.
    ///
    /// # Panics
    ///
    /// If there is no runtime, as `tokio::spawn` does.
    #[track_caller]
    pub(crate) fn task<F, T>(self, core: &Core, future: F) -> Task<T> {
        assert!(self.reason != RefusedReason::NoRuntime, "{NO_RUNTIME}");
        let Facts { name, location, .. } = self.facts;
        refusal::note(core, "a task", &name, location);
        panics::discard(future);
        Task::refused(name)
    }
}
