//! [`TaskGuard`]: a task that a context accepted leaves it again, once, however it ends.

use crate::{
    context::{core::Node, current::context_of, handle, reason::CloseReason},
    event,
    name::{Label, Printed},
    poll::{
        capture::{self, Captured},
        long_polls,
        scope::{self, Owner},
        state::PollState,
    },
    slab::guard::Left,
    sync::lock,
    table::{
        record::{Outcome, Record},
        task_entry::{Role, TaskEntry, TaskHold as _, TaskOwner},
    },
    task::supersede::Latest,
};
use std::task::Context;

/// An accepted task: its entry, and what it owes its context. When it ends, or is dropped, the task leaves the list and the
/// gate.
pub(crate) struct TaskGuard {
    /// `None` once the task has left.
    entry: Option<TaskOwner>,
}

impl TaskGuard {
    pub(crate) fn new(entry: TaskOwner) -> Self {
        Self { entry: Some(entry) }
    }

    /// The task, if it has not left.
    pub(crate) fn task(&self) -> Option<&TaskEntry> {
        self.entry.as_deref()
    }

    /// Whether the task has a handle.
    #[inline]
    pub(crate) fn is_claimed(&self) -> bool {
        self.entry.as_ref().is_some_and(TaskOwner::is_held)
    }

    /// A poll has not finished the future: the task leaves its waker.
    #[inline]
    pub(crate) fn park(&self, cx: &mut Context<'_>) {
        if let Some(task) = self.entry.as_ref() {
            task.leave_waker(|| capture::original(cx.waker()));
        }
    }

    /// Whether an abort was requested.
    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        let state = self.task().and_then(TaskEntry::poll_state);
        state.is_some_and(PollState::is_aborting)
    }

    /// The task's closure is about to start. True if it is to end instead, because an abort was requested.
    pub(crate) fn start_closure(&self) -> bool {
        let state = self.task().and_then(TaskEntry::poll_state);
        state.is_some_and(PollState::start)
    }

    /// Runs one poll of the task's future; if the task is asked where it waits, so that the answer is captured.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        match self.task().and_then(TaskEntry::poll_state) {
            Some(state) => {
                let poll = |cx: &mut Context<'_>| self.poll_timed(state, cx, poll);
                state.poll(cx, poll, |captured| self.answer(captured))
            }
            None => poll(cx),
        }
    }

    #[inline]
    fn poll_timed<R>(
        &self,
        state: &PollState,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        match long_polls::threshold() {
            None => poll(cx),
            Some(threshold) => {
                let task = || self.task().map(|task| long_polls::told(task.meta()));
                long_polls::timed(state, task, threshold, || poll(cx))
            }
        }
    }

    #[cold]
    fn answer(&self, captured: &Captured) {
        if let Some(task) = self.task() {
            let replies = &context_of(task).table.replies;
            replies.answer(task.meta().id, captured);
        }
    }

    /// Runs the task's code with its context and itself as the current ones.
    #[inline]
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        match self.task() {
            Some(task) => scope::enter_as(Owner::Task(task), body),
            None => body(),
        }
    }

    /// The task's future is dropped: takes the task off the list (I4), lets `deliver` hand over the result, frees its slot
    /// unless it is still read, and only then leaves the gate (I1). Nothing happens the second time.
    #[inline]
    pub(crate) fn leave(&mut self, outcome: Outcome, deliver: impl FnOnce(&TaskOwner)) {
        let Some(entry) = self.entry.take() else {
            return;
        };
        entry.end();
        if outcome == Outcome::Panicked {
            close_on_panic(context_of(&entry));
        }
        let supersedes = matches!(entry.role(), Role::Task { supersedes, .. } if supersedes);
        let latest = if supersedes { Latest::of(&entry) } else { None };
        let left = entry.leave(|entry| {
            if let Some(latest) = latest {
                latest.has_left();
            }
            deliver(entry);
        });
        let context = match &left {
            Left::Alone(vacated) => vacated.remains.owner(),
            Left::Shared(entry) => entry.owner(),
        };
        context
            .expect("a task belongs to a context")
            .task_left(outcome);
    }

    #[cold]
    fn abandon(&mut self) {
        self.leave(Outcome::Aborted, |_| {});
    }

    /// The task has a result and no handle that could claim it. While its context closes that is worth an event;
    /// otherwise its handle was dropped because it is not wanted.
    pub(crate) fn late_result(&self) -> Option<LateResult> {
        let task = self.task().filter(|_| self.is_cancelled())?;
        Some(LateResult {
            context: context_of(task).meta.name.clone(),
            task: task.meta().name.clone(),
        })
    }

    /// Whether its context closes.
    pub(crate) fn is_cancelled(&self) -> bool {
        let task = self.task();
        task.is_some_and(|task| context_of(task).is_cancelled())
    }

    /// Notes that the task panicked for the report of its close. If it has no handle, the event that comes back is
    /// the only other place that tells.
    pub(crate) fn note_panic(&self, message: &str) -> Option<TaskPanic> {
        let task = self.task()?;
        let (node, meta) = (context_of(task), task.meta());
        let failure = format!(
            "task {} (spawned at {}:{}) panicked: {message}",
            Printed(&meta.name),
            meta.location.file(),
            meta.location.line()
        );
        if let Some(core) = node.core.upgrade() {
            lock(&core.log).failure(node, &failure);
        }
        let context = node.meta.name.clone();
        Some(TaskPanic { context, failure })
    }
}

/// An accepted task leaves, once, whatever unwinds on its way.
impl Drop for TaskGuard {
    #[inline]
    fn drop(&mut self) {
        if self.entry.is_some() {
            self.abandon();
        }
    }
}

/// An event of a result without a handle that could claim it.
pub(crate) struct LateResult {
    context: Label,
    task: Label,
}

impl LateResult {
    #[cold]
    pub(crate) fn emit(&self) {
        let (context, task) = (Printed(&self.context), Printed(&self.task));
        event::emit!(DEBUG, %context, %task, "a late result was dropped: nobody can claim it");
    }
}

/// An event of the panic of a task without a handle.
pub(crate) struct TaskPanic {
    context: Label,
    failure: String,
}

impl TaskPanic {
    #[cold]
    pub(crate) fn emit(&self) {
        event::emit!(ERROR, context = %Printed(&self.context), "{}", self.failure);
    }
}

#[cold]
fn close_on_panic(node: &Node) {
    if let Some(core) = node.core.upgrade().filter(|_| node.close_on_panic) {
        handle::request(&core, CloseReason::Panic);
    }
}

#[cfg(all(test, target_pointer_width = "64", not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_guard_adds_two_words_to_every_task() {
        assert_eq!(size_of::<TaskGuard>(), 16);
    }
}
