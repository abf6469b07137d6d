//! What a task owes its context: it was let in, so it goes out, once, however it ends.

use crate::{
    context::{
        close,
        core::Node,
        current::{self, InTask, Scope},
        handle,
        reason::CloseReason,
        tally::Outcome,
    },
    name::Printed,
    sync::lock,
    task::supersede,
};
use std::sync::Arc;

/// One task's place inside its context, and the scope in which its code runs.
pub(crate) struct Seat {
    /// `None` while the scope is entered, and once the seat is free.
    scope: Option<Scope>,
    /// Whether a shell of it stays in the context's task sets.
    is_pooled: bool,
    supersedes: bool,
}

impl Seat {
    pub(crate) fn new(task: Arc<dyn InTask>, is_pooled: bool, supersedes: bool) -> Self {
        Self {
            scope: Some(Scope::Task(task)),
            is_pooled,
            supersedes,
        }
    }

    /// Runs the task's code with its context and itself as the current ones.
    pub(crate) fn enter<R>(&mut self, body: impl FnOnce() -> R) -> R {
        current::enter(&mut self.scope, body)
    }

    /// The task's future is dropped: takes it off the list (I4), lets `deliver` hand over the result,
    /// and only then goes out of the gate (I1). Nothing happens the second time.
    pub(crate) fn free(&mut self, outcome: Outcome, deliver: impl FnOnce()) {
        let Some(Scope::Task(task)) = self.scope.take() else {
            return;
        };
        let node = task.node();
        node.table.remove(task.meta().id);
        deliver();
        node.tally.task(outcome);
        self.settle(node, &*task, outcome);
        close::leave(node);
    }

    /// The task has a result that nobody can claim. While its context closes that is worth a word
    ///; otherwise its handle was dropped because nobody wants to.
    pub(crate) fn say_late(&self) {
        let Some(Scope::Task(task)) = &self.scope else {
            return;
        };
        if task.node().is_cancelled() {
            let (context, task) = (&task.node().meta.name, &task.meta().name);
            tracing::debug!(context = %Printed(context), task = %Printed(task), "a late result was dropped: nobody can claim it");
        }
    }

    /// The task panicked: whoever reads the report wants to know which it was, and if nobody has its
    /// handle, this is the only place that tells.
    pub(crate) fn say_panicked(&self, message: &str, is_claimed: bool) {
        let Some(Scope::Task(task)) = &self.scope else {
            return;
        };
        let (node, meta) = (task.node(), task.meta());
        let failure = format!(
            "task {} (spawned at {}:{}) panicked: {message}",
            Printed(&meta.name),
            meta.location.file(),
            meta.location.line()
        );
        if !is_claimed {
            tracing::error!(context = %Printed(&node.meta.name), "{failure}");
        }
        if let Some(core) = node.core.upgrade() {
            lock(&core.log).failure(&**node, &failure);
        }
    }

    fn settle(&self, node: &Node, task: &dyn InTask, outcome: Outcome) {
        let Some(core) = node.core.upgrade() else {
            return;
        };
        if self.supersedes {
            supersede::ended(&core, &task.meta().name, task.meta().id);
        }
        if self.is_pooled {
            core.sets.finished();
        }
        if outcome == Outcome::Panicked && node.close_on_panic {
            handle::request(&core, CloseReason::Panic);
        }
    }
}
