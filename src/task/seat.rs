//! What a task owes its context: it was let in, so it goes out, once, however it ends.

use crate::{
    context::{core::Node, current::context_of, handle, reason::CloseReason},
    event,
    name::{Label, Printed},
    scope::{self, Owner},
    sync::lock,
    table::{
        card::{Card, CardPlace, Role},
        hold::Unlisted,
        record::{Outcome, Record},
    },
    task::supersede::Latest,
};

#[cfg(feature = "dump")]
use crate::{
    table::reach,
    trace::{
        capture::{self, Found},
        inquiry::Inquiry,
        long_polls,
    },
};
use std::task::Context;

/// One task's place inside its context.
pub(crate) struct Seat {
    /// `None` once the seat is free.
    place: Option<CardPlace>,
}

impl Seat {
    pub(crate) fn new(place: CardPlace) -> Self {
        Self { place: Some(place) }
    }

    /// Who sits here, if it has not ended.
    pub(crate) fn task(&self) -> Option<&Card> {
        self.place.as_deref()
    }

    /// Whether somebody has the task's handle.
    #[inline]
    pub(crate) fn is_claimed(&self) -> bool {
        self.place.as_ref().is_some_and(CardPlace::is_held)
    }

    /// The task is polled, or its closure runs.
    #[inline]
    pub(crate) fn start(&self) {
        if let Some(place) = &self.place {
            place.start();
        }
    }

    /// Runs one poll of the task's future; if somebody asks where it waits, so that the answer is found.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        self.start();
        #[cfg(feature = "dump")]
        if let Some(inquiry) = self.place.as_ref().and_then(|place| place.inquiry()) {
            return self.poll_for(inquiry, cx, poll);
        }
        poll(cx)
    }

    /// As [`poll`](Self::poll), for a future that others poll, now here, now there.
    pub(crate) fn poll_anywhere<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        #[cfg(feature = "dump")]
        if let Some(place) = &self.place {
            place.polled_by(capture::original(cx.waker()));
        }
        self.poll(cx, poll)
    }

    /// A poll of a spawned future begins. True if it is to end instead, because somebody aborted it.
    #[cfg(feature = "dump")]
    #[inline]
    pub(crate) fn is_to_end(&self, cx: &mut Context<'_>) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        if !place.has_started() {
            reach::first_polled(place, capture::original(cx.waker()));
        }
        place.is_aborted()
    }

    /// A closure is about to start. True if it is to end instead, because somebody aborted it.
    #[cfg(feature = "dump")]
    pub(crate) fn is_to_end_unstarted(&self) -> bool {
        self.place.as_ref().is_some_and(|place| {
            place.abort_condemned(|| None);
            place.is_aborted()
        })
    }

    #[cfg(feature = "dump")]
    #[inline]
    fn poll_for<R>(
        &self,
        inquiry: &Inquiry,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let poll = |cx: &mut Context<'_>| self.poll_timed(inquiry, cx, poll);
        inquiry.poll(cx, poll, |found| self.answer(found))
    }

    #[cfg(feature = "dump")]
    #[inline]
    fn poll_timed<R>(
        &self,
        inquiry: &Inquiry,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        match long_polls::threshold() {
            None => poll(cx),
            Some(threshold) => {
                let task = || self.task().map(|task| long_polls::told(task.meta()));
                long_polls::timed(inquiry, task, threshold, || poll(cx))
            }
        }
    }

    #[cfg(feature = "dump")]
    fn answer(&self, found: &Found) {
        if let Some(task) = self.task() {
            let desk = &context_of(task).table.desk;
            desk.answer(task.meta().id, found);
        }
    }

    /// Runs the task's code with its context and itself as the current ones.
    #[inline]
    pub(crate) fn enter<R>(&self, body: impl FnOnce() -> R) -> R {
        match &self.place {
            Some(place) => scope::enter_as(Owner::Task(place), body),
            None => body(),
        }
    }

    /// The task's future is dropped: takes it off the list (I4), lets `deliver` hand over the result, unless
    /// nobody looks at the task any more, and only then goes out of the gate (I1). Nothing happens the
    /// second time.
    #[inline]
    pub(crate) fn free(&mut self, outcome: Outcome, deliver: impl FnOnce(&CardPlace)) {
        let Some(place) = self.place.take() else {
            return;
        };
        #[cfg(feature = "dump")]
        place.end();
        if outcome == Outcome::Panicked {
            close_on_panic(context_of(&place));
        }
        let supersedes = matches!(place.role(), Role::Task { supersedes, .. } if supersedes);
        let latest = if supersedes { Latest::of(&place) } else { None };
        let deliver = |place: &CardPlace| {
            if let Some(latest) = latest {
                latest.has_left();
            }
            deliver(place);
        };
        place.leave(deliver, |task| {
            let context = match task {
                Unlisted::Alone(context) => context.as_deref(),
                Unlisted::Shared(place) => place.owner(),
            };
            context
                .expect("a task belongs to a context")
                .task_left(outcome);
        });
    }

    #[cold]
    fn abandon(&mut self) {
        self.free(Outcome::Aborted, |_| {});
    }

    /// The task has a result that nobody can claim. While its context closes that is worth an event;
    /// otherwise its handle was dropped because nobody wants to.
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

    /// Notes that the task panicked for the report of its close. If nobody has its handle, the event that comes back is
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

/// A task that was let in goes out, once, whatever unwinds on its way.
impl Drop for Seat {
    #[inline]
    fn drop(&mut self) {
        if self.place.is_some() {
            self.abandon();
        }
    }
}

/// An event of a result that nobody could claim.
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

/// An event of a panic whose handle nobody has.
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
    fn a_seat_adds_two_words_to_every_task() {
        assert_eq!(size_of::<Seat>(), 16);
    }
}
