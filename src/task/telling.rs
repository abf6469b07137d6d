//! What is told of a task that failed, was lost, or came too late with its result.

#[cfg(feature = "supervision")]
use crate::clock;
use crate::{
    context::{
        current::context_of,
        failure::Failure,
        line_counts::{Event, LineCounts, PROCESS, SoFar},
        runtimes,
        state::Node,
    },
    event,
    name::{Label, Printed, Quoted},
    registry::state::RegistryState,
    table::{record::Record, resource, task_entry::TaskEntry},
};
#[cfg(feature = "supervision")]
use std::time::Duration;
use std::{panic::Location, sync::Arc};

/// An event of a result without a handle that could claim it.
pub(crate) struct LateResult {
    context: Label,
    task: Label,
    location: &'static Location<'static>,
    registry: Option<Arc<RegistryState>>,
}

impl LateResult {
    pub(super) fn of(task: &TaskEntry) -> Self {
        let context = context_of(task);
        Self {
            context: context.meta.name.clone(),
            task: task.meta().name.clone(),
            location: task.meta().location,
            registry: registry_of(context),
        }
    }

    #[cold]
    pub(crate) fn emit(&self) {
        let repeats = repeats(self.registry.as_ref());
        if let Some(so_far) = repeats.tell(Event::LateResult, self.location) {
            let (context, task) = (Printed(&self.context), Printed(&self.task));
            event::emit!(target: "headcount::task", DEBUG, %context, %task, "a late result was dropped: no handle can claim it{so_far}");
        }
    }
}

/// A failure of a task, and an event of it for a task without a handle.
pub(crate) struct TaskFailure {
    context: Label,
    failure: Failure,
    registry: Option<Arc<RegistryState>>,
}

impl TaskFailure {
    pub(super) fn of(context: &Node, failure: Failure) -> Self {
        Self {
            context: context.meta.name.clone(),
            registry: registry_of(context),
            failure,
        }
    }

    /// What is said of it, and how often it was said before, if it is due.
    fn due(&self, event: Event) -> Option<(String, SoFar)> {
        let (sentence, line) = (self.failure.sentence(), self.failure.location()?);
        let repeats = repeats(self.registry.as_ref());
        let so_far = repeats.tell_text(event, line, &sentence)?;
        Some((sentence, so_far))
    }

    pub(crate) fn into_inner(self) -> Failure {
        self.failure
    }

    #[cfg(feature = "supervision")]
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Says that the attempt with this number follows, after a pause.
    #[cfg(feature = "supervision")]
    #[cold]
    pub(crate) fn emit_restart(&self, attempt: u64, pause: Duration) {
        if let Some((sentence, so_far)) = self.due(Event::Restarted) {
            let context = Printed(&self.context);
            let pause = clock::human(pause);
            event::emit!(target: "headcount::task", WARN, %context, "{sentence}; attempt {attempt} follows in {pause}{so_far}");
        }
    }

    /// Says that a request panicked. The server goes on.
    #[cold]
    pub(crate) fn emit_of_request(&self) {
        if let Some((sentence, so_far)) = self.due(Event::TaskFailed) {
            event::emit!(target: "headcount::tower", WARN,
                context = %Printed(&self.context),
                request = %Printed(self.failure.what()),
                "{sentence}{so_far}"
            );
        }
    }

    #[cold]
    pub(crate) fn emit(&self) {
        if let Some((sentence, so_far)) = self.due(Event::TaskFailed) {
            event::emit!(target: "headcount::task", ERROR, context = %Printed(&self.context), "{sentence}{so_far}");
        }
    }
}

/// An event of a task that ended with its runtime, before it was done (I11).
pub(super) struct LostTask {
    path: String,
    location: &'static Location<'static>,
    context: Label,
    registry: Option<Arc<RegistryState>>,
}

impl LostTask {
    #[cold]
    pub(super) fn of(task: &TaskEntry) -> Self {
        runtimes::note_ended();
        let context = context_of(task);
        Self {
            path: resource::short_path(task),
            location: task.meta().location,
            context: context.meta.name.clone(),
            registry: registry_of(context),
        }
    }

    /// Says so the first time, the tenth, the hundredth and so on that this happens to a task of this line.
    #[cold]
    pub(super) fn emit(&self) {
        let (file, line) = (self.location.file(), self.location.line());
        let repeats = repeats(self.registry.as_ref());
        let Some(so_far) = repeats.tell(Event::Lost, self.location) else {
            return;
        };
        let path = Quoted(&self.path);
        event::emit!(target: "headcount::task", ERROR,
            context = %Printed(&self.context),
            "the task {path} (spawned at {file}:{line}) ended with its runtime, before it was done{so_far}"
        );
    }
}

fn registry_of(context: &Node) -> Option<Arc<RegistryState>> {
    let core = context.core.upgrade()?;
    Some(Arc::clone(&core.registry))
}

/// Where it is counted what happens again and again.
pub(super) fn repeats(registry: Option<&Arc<RegistryState>>) -> &LineCounts {
    registry.map_or(&PROCESS, |registry| &registry.repeats)
}
