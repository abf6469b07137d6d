//! [`TaskGuard`]: a task that a context accepted leaves it again, once, however it ends.

#[cfg(feature = "testing")]
use crate::poll::observer;
use crate::{
    console::TaskSpan,
    context::{
        close,
        close_reason::CloseReason,
        current::{self, context_of},
        driver,
        failure::{Failure, FailureKind, FailurePolicy, Subject},
        gate::OnLeave,
        line_counts::Event,
        refusal,
        state::Node,
    },
    error::RefusedReason,
    event,
    events::{self, TaskOutcome, Told, What},
    poll::{
        capture::{self, Captured},
        long_polls,
        scope::{self, Memory, Owner},
        state::PollState,
    },
    slab::guard::Left,
    sync::{Ordering::SeqCst, lock},
    table::{
        record::{Facts, Outcome, Record, State},
        resource,
        task_entry::{Role, TaskEntry, TaskHandle, TaskHold as _, TaskOwner},
    },
    task::telling::{LateResult, LostTask, TaskFailure, repeats},
};
#[cfg(any(feature = "supervision", feature = "tower"))]
use crate::{slab::guard::Hold as _, table::record::Detail};
use std::{mem, panic::Location, sync::Arc, task::Context, time::Duration};

/// A task from its admission to its end, and what it owes its context: when it ends, or this is dropped, it leaves the list
/// and the gate.
pub(crate) struct TaskGuard<'a> {
    stage: Stage<'a>,
    /// Closed after all else.
    span: TaskSpan,
}

enum Stage<'a> {
    /// Inside the gate of this context, and not listed yet; `None` once the task has left.
    Unlisted(Option<&'a Arc<Node>>),
    /// Inside the gate and listed.
    Listed(TaskOwner),
}

impl<'a> TaskGuard<'a> {
    /// Goes in through the gate of a context, or is refused.
    #[inline(always)]
    pub(crate) fn admit(context: &'a Arc<Node>) -> Result<Self, OnLeave> {
        context.enter(current::is_inside)?;
        let stage = Stage::Unlisted(Some(context));
        Ok(Self {
            stage,
            span: TaskSpan::none(),
        })
    }

    /// Lists the task, with a handle.
    #[inline(always)]
    pub(crate) fn list(self, facts: Facts, role: Role) -> (TaskGuard<'static>, TaskHandle) {
        let context = self.context();
        let parent = Arc::<Node>::clone(context);
        let (owner, handle) = context.table.insert_task(facts, parent, role);
        let mut guard = self.into_listed(owner);
        guard.tell_listed(context);
        guard.open_span();
        (guard, handle)
    }

    /// Lists a wrapped future, without a handle: the code that polls it gets its output.
    pub(crate) fn list_alone(self, facts: Facts, role: Role) -> TaskGuard<'static> {
        let context = self.context();
        let parent = Arc::<Node>::clone(context);
        let owner = context.table.insert_task_alone(facts, parent, role);
        let mut guard = self.into_listed(owner);
        guard.tell_listed(context);
        guard.open_span();
        guard
    }

    #[inline(always)]
    fn context(&self) -> &'a Arc<Node> {
        match self.stage {
            Stage::Unlisted(Some(context)) => context,
            _ => unreachable!("a task is listed once"),
        }
    }

    /// From here on the listed task goes out of the gate. If the listing panicked this would have.
    #[inline(always)]
    fn into_listed(self, owner: TaskOwner) -> TaskGuard<'static> {
        mem::forget(self);
        // A close sets ABORTING, then scans for tasks; we list the task, then read ABORTING: one of us sees the other.
        owner.abort_if_told();
        TaskGuard::listed(owner)
    }
}

impl TaskGuard<'static> {
    /// The guard of a task that is in the gate and listed.
    pub(crate) fn listed(entry: TaskOwner) -> Self {
        Self {
            stage: Stage::Listed(entry),
            span: TaskSpan::none(),
        }
    }
}

impl TaskGuard<'_> {
    /// It is listed, and owes nothing but its end: those who hear of it may do anything.
    #[inline(always)]
    fn tell_listed(&self, context: &Node) {
        if context.table.events.is_heard() {
            self.send_listed(context);
        }
    }

    #[inline(always)]
    fn open_span(&mut self) {
        if let Some(task) = self.task() {
            self.span = TaskSpan::open(task);
        }
    }

    #[cold]
    fn send_listed(&self, context: &Node) {
        if let Some(task) = self.task() {
            let what = match task.state() {
                State::BackingOff => What::BackingOff,
                _ => What::Spawned,
            };
            drop(context.table.events.send(events::Event::of(task, what)));
        }
    }

    fn entry(&self) -> Option<&TaskOwner> {
        match &self.stage {
            Stage::Listed(entry) => Some(entry),
            Stage::Unlisted(_) => None,
        }
    }

    /// The task, if it is listed.
    pub(crate) fn task(&self) -> Option<&TaskEntry> {
        self.entry().map(|entry| &**entry)
    }

    /// Whether the task has a handle.
    #[inline]
    pub(crate) fn is_claimed(&self) -> bool {
        self.entry().is_some_and(TaskOwner::is_held)
    }

    /// A poll has not finished the future: the task leaves its waker.
    #[inline]
    pub(crate) fn park(&self, cx: &mut Context<'_>) {
        if let Some(task) = self.entry() {
            task.leave_waker(|| capture::original(cx.waker()));
        }
    }

    /// Tells the observer, if a test has one, that the task is about to be polled. False if that is not to happen.
    #[cfg(feature = "testing")]
    #[inline]
    pub(crate) fn may_poll(&self) -> bool {
        !observer::is_there() || self.task().is_none_or(observer::may_poll)
    }

    /// Without the feature `testing` there is no observer.
    #[cfg(not(feature = "testing"))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "it is used with the feature `testing`")]
    pub(crate) fn may_poll(&self) -> bool {
        true
    }

    /// Whether an abort was requested.
    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        let state = self.task().and_then(TaskEntry::poll_state);
        state.is_some_and(PollState::is_aborting)
    }

    /// The task stands for something that others hold, and is not asked where it waits.
    #[cfg(feature = "tower")]
    pub(crate) fn note_place(&self) {
        if let Some(state) = self.task().and_then(TaskEntry::poll_state) {
            state.note_place();
        }
    }

    /// The task's closure is about to start. True if it is to end instead, because an abort was requested.
    pub(crate) fn start_closure(&self) -> bool {
        let state = self.task().and_then(TaskEntry::poll_state);
        state.is_some_and(PollState::start)
    }

    /// Runs one poll of the task's future, in its scope; if the task is asked where it waits, so that the answer is captured.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        memory: Memory,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let Some((task, state)) = self
            .task()
            .and_then(|task| Some((task, task.poll_state()?)))
        else {
            return poll(cx);
        };
        let poll = |cx: &mut Context<'_>| {
            let poll = || scope::enter_with(Owner::Task(task), memory, || poll(cx));
            match long_polls::threshold() {
                None => poll(),
                Some(threshold) => {
                    let told = |took| send_long_poll(task, took);
                    long_polls::timed((state, task.meta()), threshold, poll, told)
                }
            }
        };
        // A captured waker is the span's own: it is asked for as the original.
        let poll = |cx: &mut Context<'_>| state.poll(cx, poll, |captured| answer(task, captured));
        self.span.poll(cx, poll)
    }

    /// Drops the task's future, as a step of its own: it may take a while.
    #[inline]
    pub(crate) fn discard<R>(&self, discard: impl FnOnce() -> R) -> R {
        match self.task().and_then(TaskEntry::poll_state) {
            Some(state) => state.step(|| self.enter(discard)),
            None => discard(),
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

    /// The same, for a closure: its variables lie on the stack from here on.
    pub(crate) fn enter_closure<R>(&self, body: impl FnOnce() -> R) -> R {
        match self.task() {
            Some(task) => {
                let body = || scope::enter_with(Owner::Task(task), Memory::STACK, body);
                self.span.enter(body)
            }
            None => body(),
        }
    }

    /// The task's future is dropped: takes the task off the list (I4), lets `deliver` hand over the result, frees its slot
    /// unless it is still read, and only then leaves the gate (I1). Nothing happens the second time.
    #[inline]
    pub(crate) fn leave(&mut self, outcome: Outcome, deliver: impl FnOnce(&TaskOwner)) {
        let Stage::Listed(entry) = mem::replace(&mut self.stage, Stage::Unlisted(None)) else {
            return;
        };
        entry.end();
        let outcome = if outcome == Outcome::Aborted {
            how_aborted(&entry)
        } else {
            outcome
        };
        // Its context has the words for it, and the entry, which is gone afterwards.
        let lost = (outcome == Outcome::RuntimeEnded).then(|| LostTask::of(&entry));
        let mut told = Told::default();
        let unlisted = |entry: &TaskOwner| {
            // Before the handle knows, and before the close does.
            if entry.owner().is_some_and(Record::is_heard) {
                told = send_end(entry, outcome);
            }
            deliver(entry);
        };
        entry.leave(unlisted, |left| {
            let context = match left {
                Left::Alone(remains) => remains.owner(),
                Left::Shared(entry) => entry.owner(),
            };
            context
                .expect("a task belongs to a context")
                .task_left(outcome);
        });
        drop(told);
        if let Some(lost) = lost {
            lost.emit();
        }
    }

    /// How the task was ended, if it did not end by itself.
    #[cfg(feature = "supervision")]
    pub(crate) fn how_aborted(&self) -> Option<Outcome> {
        self.task().map(how_aborted)
    }

    /// Has listings say this of a task whose output lies elsewhere.
    #[cfg(any(feature = "supervision", feature = "tower"))]
    pub(crate) fn set_detail(&self, detail: Box<dyn Detail>) {
        if let Some(entry) = self.entry() {
            entry.aside().set_detail(detail);
        }
    }

    #[cold]
    fn abandon(&mut self) {
        if let Stage::Unlisted(Some(context)) = self.stage {
            self.stage = Stage::Unlisted(None);
            close::on_leave(context, context.gate.leave());
        }
        self.leave(Outcome::Aborted, |_| {});
    }

    /// The task has a result and no handle that could claim it. While its context closes that is worth an event;
    /// otherwise its handle was dropped because it is not wanted. Many tasks end like this, so it is counted only where it is heard.
    pub(crate) fn late_result(&self) -> Option<LateResult> {
        let is_told = || event::is_heard(tracing::Level::DEBUG);
        let task = self.task().filter(|_| self.is_cancelled() && is_told())?;
        Some(LateResult::of(task))
    }

    /// Whether its context closes.
    pub(crate) fn is_cancelled(&self) -> bool {
        let context = self.task().and_then(TaskEntry::owner);
        context.is_some_and(|context| context.state() != State::Open)
    }

    /// Whether an essential task may end: its context, or one above it, closes.
    #[cold]
    pub(crate) fn may_end(&self) -> bool {
        let context = self.task().map(context_of);
        context.is_none_or(|context| {
            context.is_cancelled() || context.is_closing_above() || context.gate.is_finishing()
        })
    }

    /// Notes that the task failed for the reports, and closes the context whose policy that is (I12). `has_handle` if its result
    /// goes to a handle; otherwise the event that comes back is the only other place that tells.
    #[cold]
    pub(crate) fn note_failure(
        &self,
        kind: FailureKind,
        message: String,
        has_handle: bool,
    ) -> Option<TaskFailure> {
        let verb = match kind {
            FailureKind::TaskPanicked => "panicked: ",
            FailureKind::TaskFailed => "failed: ",
            FailureKind::EssentialEnded => "ended although it is essential: ",
            _ => "left an output whose destructor panicked: ",
        };
        let mut failure = self.failure(kind, (verb, message))?;
        if has_handle {
            failure = failure.pending();
        }
        self.report(&failure)
    }

    /// A failure of the task, which is not noted.
    pub(crate) fn failure(
        &self,
        kind: FailureKind,
        said: (&'static str, String),
    ) -> Option<Failure> {
        let task = self.task()?;
        let (node, meta) = (context_of(task), task.meta());
        let subject = Subject::Task {
            name: meta.name.clone(),
            location: meta.location,
        };
        let path = resource::short_path(node);
        if kind == FailureKind::TaskPanicked {
            node.table.tracking.note_panic(meta.id);
        }
        Some(Failure::new(kind, subject, path, said))
    }

    /// Notes a failure of the task for the reports, and closes the context whose policy that is.
    pub(crate) fn report(&self, failure: &Failure) -> Option<TaskFailure> {
        let node = context_of(self.task()?);
        if let Some(core) = node.core.upgrade() {
            lock(&core.log).notes().failure(failure.clone());
        }
        // Its end follows.
        self.send_first(|| What::Failed(failure.clone()));
        // The failure of a destructor is the output's, not the task's.
        if failure.kind() != FailureKind::DestructorPanicked {
            close_on_failure(node, failure);
        }
        self.told(failure.clone())
    }

    /// Tells subscribers of something that happened to the task, if there are any. They are woken by the next event, that of its end.
    pub(crate) fn send_first(&self, what: impl FnOnce() -> What) {
        let Some(task) = self.task() else {
            return;
        };
        let events = &context_of(task).table.events;
        if events.is_heard() {
            events.send_first(events::Event::of(task, what()));
        }
    }

    /// A failure of the task, to be told of.
    pub(crate) fn told(&self, failure: Failure) -> Option<TaskFailure> {
        let node = context_of(self.task()?);
        Some(TaskFailure::of(node, failure))
    }
}

/// An accepted task leaves, once, whatever unwinds on its way.
impl Drop for TaskGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Unlisted(None)) {
            self.abandon();
        }
    }
}

/// How a task was ended that did not end by itself.
#[cold]
fn how_aborted(task: &TaskEntry) -> Outcome {
    match task.how_aborted() {
        // Its close has no runtime to drive it.
        Outcome::Forced if context_of(task).is_abandoned.load(SeqCst) == 1 => Outcome::RuntimeEnded,
        outcome => outcome,
    }
}

/// Tells subscribers that a task has ended. They are woken when it has left.
#[cold]
fn send_end(task: &TaskEntry, outcome: Outcome) -> Told {
    let what = What::Ended(TaskOutcome::of(outcome));
    let event = events::Event::of(task, what);
    context_of(task).table.events.send(event)
}

#[cold]
fn send_long_poll(task: &TaskEntry, took: Duration) {
    let events = &context_of(task).table.events;
    if events.is_heard() {
        drop(events.send(events::Event::of(task, What::LongPoll(took))));
    }
}

/// What a task was asked.
#[cold]
fn answer(task: &TaskEntry, captured: &Captured) {
    let replies = &context_of(task).table.replies;
    replies.answer(task.meta().id, captured);
}

/// Notes something that is refused and dropped, and says so the first time, the tenth, the hundredth and so on that this happens
/// on this line. What comes after the end of a close is noted by the nearest context above that has not closed, else by the
/// registry.
#[cold]
pub(crate) fn note_refusal(
    node: &Node,
    (what, name): (&str, &str),
    (location, reason): (&'static Location<'static>, RefusedReason),
) {
    // Woken when it is noted.
    let _wakes = node.send(|| events::Event::refused(node, name, (location, reason)));
    let event = match reason {
        RefusedReason::Closed => Event::Refused,
        RefusedReason::Full => Event::Full,
        // Those are settings of the task, and the handle says so.
        RefusedReason::SlotTaken | RefusedReason::RuntimeGone | RefusedReason::NoRuntime => return,
    };
    let max_tasks = node.max_tasks.as_ref().map(|quota| quota.max());
    let is_full = max_tasks.filter(|_| reason == RefusedReason::Full);
    // Work of its own is lost: what is inside has a right to finish what it does.
    let is_lost = current::is_inside(node);
    let (mut next, mut registry, mut is_noted) = (Some(node), None, false);
    while let Some(node) = next.filter(|_| !is_noted) {
        if let Some(core) = node.core.upgrade() {
            is_noted = lock(&core.log).refused((location, reason), is_lost);
            registry = Some(Arc::clone(&core.registry));
        }
        next = node.parent.as_deref();
    }
    #[cfg(feature = "metrics")]
    if let Some(registry) = &registry {
        registry.figures.note_refused(reason);
    }
    if let Some(so_far) = repeats(registry.as_ref()).tell(event, location) {
        refusal::warn(&node.meta.name, is_full, (what, name), (location, &so_far));
    }
}

/// Closes the context that is to be closed at a failure in this one, if there is one.
fn close_on_failure(node: &Node, failure: &Failure) {
    let closes = match &node.policy {
        FailurePolicy::Report => return,
        FailurePolicy::CloseThis => node,
        FailurePolicy::Close(above) => above,
    };
    if let Some(core) = closes.core.upgrade() {
        driver::request(&core, CloseReason::Failed(failure.clone()));
    }
}

#[cfg(all(test, target_pointer_width = "64", not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_guard_adds_two_words_to_every_task_and_one_with_the_feature_console() {
        let is_on = cfg!(all(feature = "console", not(tokio_unstable)));
        assert_eq!(size_of::<TaskGuard<'_>>(), if is_on { 24 } else { 16 });
    }
}
