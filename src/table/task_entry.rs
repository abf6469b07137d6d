//! The facts about a task or a registration, which lie in a slot of the slab.

use crate::{
    id::ResourceId,
    poll::{
        state::PollState,
        waker_cell::{Latest, WakerCell},
    },
    slab::{
        block::Entry,
        guard::{HandleGuard, Hold, OwnerGuard},
        slab::Slab,
        stripe,
    },
    table::record::{Class, Detail, Facts, Meta, Outcome, Record, State},
};
use std::{
    any::Any,
    sync::{Arc, OnceLock},
    task::Waker,
};

pub(crate) type Tasks = Slab<TaskEntry>;
/// The entry of a task or a registration, held by the one that it is listed for.
pub(crate) type TaskOwner = OwnerGuard<TaskEntry>;
/// The same, held by a task's handle.
pub(crate) type TaskHandle = HandleGuard<TaskEntry>;

/// What the end of a task has to look at, and a scan, comes first, so that it is on one cache line with the slot's own words;
/// what is only read of what a scan has found is on the next, and what a registration never has lies [aside](TaskAside).
#[repr(C)]
pub(crate) struct TaskEntry {
    /// The context it belongs to: its identity, not a handle (I3).
    parent: Option<Arc<dyn Record>>,
    poll_state: PollState,
    role: Role,
    /// The thread that made it; as good as its lower half.
    maker: u16,
    /// Whether anything in `meta` has to be dropped: a literal has not, and then the end of a task need not look there.
    has_owned: bool,
    meta: Meta,
}

/// What only tasks have.
#[derive(Default)]
pub(crate) struct TaskAside {
    /// What wakes it: to be ended by force, and to be asked where it waits. A spawned future leaves one once its first poll has not
    /// finished it, for all its life. It keeps what the runtime keeps of the task, as the runtime's own handle would; the
    /// future is not in there any more when it has ended. A wrapped future is polled now by this, now by that.
    waker: WakerCell,
    /// The place for a task's output, once it is needed. The output is taken out by the last one of task and handle, never
    /// by the drop of this: a listing may be the last to release it (I5). An attempt of a supervised task has no handle that
    /// could take an output, and what listings say of it in this place.
    output: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Registration {
        /// Whether it was made by its context, and not by a task that happened to run in it.
        is_owned: bool,
    },
    Task(TaskKind),
}

/// How a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// A future that a runtime polls.
    Spawned,
    /// A future that others poll.
    Wrapped,
    /// A closure on a thread that may block.
    Blocking,
    /// The pause between two attempts of a supervised task.
    #[cfg(feature = "supervision")]
    BackOff,
}

impl Default for TaskEntry {
    fn default() -> Self {
        Self {
            parent: None,
            poll_state: PollState::default(),
            role: Role::Registration { is_owned: false },
            has_owned: false,
            maker: 0,
            meta: Meta::NONE,
        }
    }
}

impl Entry for TaskEntry {
    type Aside = TaskAside;
    type Remains = TaskRemains;

    /// The waker keeps the memory that the runtime has of the task.
    #[inline]
    fn can_be_stale(&self) -> bool {
        // A wrapped future has dropped its waker itself.
        let has_waker = self.is(TaskKind::Spawned) && self.poll_state.has_waker();
        has_waker && self.maker != lower_half(stripe::current())
    }

    #[inline]
    fn clear(&mut self, aside: &mut TaskAside, stays_stale: bool, remains: &mut TaskRemains) {
        if self.has_owned {
            self.meta.clear();
        }
        // Asked first: where there is none, it was just written in two halves, and to move it in one piece would wait for both.
        if self.parent.is_some() {
            remains.parent = self.parent.take();
        }
        // A registration has none of the rest.
        if matches!(self.role, Role::Task(_)) {
            remains.output = aside.output.take();
            if !stays_stale {
                remains.waker = aside.waker.empty();
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
#[inline]
fn lower_half(thread: u32) -> u16 {
    thread as u16
}

/// What is left of a task or a registration that is gone.
#[derive(Default)]
pub(crate) struct TaskRemains {
    parent: Option<Arc<dyn Record>>,
    waker: Latest,
    /// Empty, because the last one of task and handle has taken what was in it; or facts for listings.
    output: Option<Box<dyn Any + Send + Sync>>,
}

impl TaskRemains {
    /// The context that the task was in, the registry's own included.
    pub(crate) fn owner(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }
}

impl TaskEntry {
    /// Fills a vacant entry.
    #[inline(always)]
    pub(crate) fn fill(
        &mut self,
        id: ResourceId,
        facts: Facts,
        parent: Option<Arc<dyn Record>>,
        role: Role,
    ) {
        // All of them, so that none keeps what it was of another task. What lies aside was taken when it was cleared.
        let Self {
            parent: own_parent,
            poll_state,
            role: own_role,
            has_owned,
            maker,
            meta,
        } = self;
        *own_parent = parent;
        *poll_state = PollState::default();
        *own_role = role;
        *has_owned = facts.name.is_owned() || facts.kind.is_owned();
        *maker = lower_half(stripe::current());
        meta.fill(id, facts);
    }

    /// How it is doing; `None` of a registration.
    #[inline]
    pub(crate) fn poll_state(&self) -> Option<&PollState> {
        matches!(self.role, Role::Task(_)).then_some(&self.poll_state)
    }

    /// The context of a task, the registry's own included.
    #[inline]
    pub(crate) fn owner(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }

    #[cfg(all(feature = "console", not(tokio_unstable)))]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    fn is(&self, of: TaskKind) -> bool {
        self.role == Role::Task(of)
    }

    /// Whether it is a blocking closure.
    #[cfg(feature = "dump")]
    pub(crate) fn is_blocking(&self) -> bool {
        self.is(TaskKind::Blocking)
    }

    /// Whether others poll it, and may drop it, or an abort was requested.
    #[cfg(any(feature = "dump", feature = "testing"))]
    pub(crate) fn is_in_other_hands(&self) -> bool {
        self.is(TaskKind::Wrapped) || self.poll_state.is_aborting()
    }

    /// How it was ended that did not end by itself.
    pub(crate) fn how_aborted(&self) -> Outcome {
        if self.poll_state.is_forced() {
            Outcome::Forced
        } else if self.poll_state.is_aborting() || self.is(TaskKind::Wrapped) {
            Outcome::Aborted
        } else {
            // The crate drops what tokio's handle would abort it by, so only the end of its runtime is left.
            Outcome::RuntimeEnded
        }
    }

    /// Whether it is a blocking closure that has started, which nothing can end but itself.
    pub(crate) fn is_unabortable(&self) -> bool {
        self.is(TaskKind::Blocking) && self.state() == State::Running
    }
}

/// A task, seen by those who hold its entry.
pub(crate) trait TaskHold: Hold<Entry = TaskEntry> {
    /// A poll has not finished the task, and its waker is left: of a spawned future the first time, of a wrapped one each
    /// time, because it may be another. A task that never waits leaves none, which is most of what a short one would cost. If
    /// an abort or an answer was asked for before there was a waker, this wakes the task.
    ///
    /// The waker is in place before that is noted. An abort or a question is noted before the waker is looked for. All are noted
    /// in one word, so either the abort finds the waker, or this finds the abort.
    #[inline]
    fn leave_waker<'a>(&self, waker: impl FnOnce() -> &'a Waker) {
        if !self.poll_state.has_waker() {
            self.aside().waker.replace(waker());
        } else if self.is(TaskKind::Wrapped) {
            self.aside().waker.set(waker());
        } else {
            return;
        }
        if self.poll_state.note_waker() {
            self.aside().waker.wake();
        }
    }

    /// It has ended; what woke a future that others poll is released.
    #[inline]
    fn end(&self) {
        // The role is on the first cache line of the slot, the waker is not.
        if self.is(TaskKind::Wrapped) {
            self.aside().waker.close();
        }
    }

    /// Asks the task to end at its next poll, and wakes it for that.
    fn request_abort(&self) {
        if self.poll_state().is_some() {
            self.poll_state.request_abort();
            self.aside().waker.wake();
        }
    }

    /// Ends a task by force, if its context is aborting its tasks.
    #[inline]
    fn abort_if_told(&self) {
        let parent = self.parent.as_ref();
        if parent.is_some_and(|parent| parent.is_aborting()) && self.poll_state().is_some() {
            self.poll_state.force_abort();
            self.aside().waker.wake();
        }
    }

    /// Asks a task where it waits, and wakes it to answer. False if it has left no waker: it will answer when it is polled, for
    /// the first time or again.
    #[cfg(feature = "dump")]
    fn ask(&self) -> bool {
        self.poll_state.ask();
        self.aside().waker.wake()
    }
}

impl<H: Hold<Entry = TaskEntry>> TaskHold for H {}

/// What listings say of a task whose output lies elsewhere, if it has one.
struct TaskDetail(Box<dyn Detail>);

impl TaskAside {
    /// Has listings say this of a task whose output lies elsewhere.
    #[cfg(any(feature = "supervision", feature = "tower"))]
    pub(crate) fn set_detail(&self, detail: Box<dyn Detail>) {
        let _ = self.output.set(Box::new(TaskDetail(detail)));
    }

    /// What listings say of it beside its state.
    pub(crate) fn detail(&self) -> Option<String> {
        let detail: &TaskDetail = self.output.get()?.downcast_ref()?;
        detail.0.text()
    }

    /// What it is at work on, which is said where it does not end.
    pub(crate) fn work(&self) -> Option<String> {
        let detail: &TaskDetail = self.output.get()?.downcast_ref()?;
        detail.0.work()
    }

    /// The place for the output, made by `make` if it is the first time. Every caller makes the same kind.
    pub(crate) fn output<O: Any + Send + Sync>(&self, make: impl FnOnce() -> O) -> &O {
        let output = self.output.get_or_init(|| Box::new(make()));
        output
            .downcast_ref()
            .expect("a task is spawned with one kind of output")
    }
}

impl Record for TaskEntry {
    #[inline]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        match self.role {
            Role::Registration { .. } => Class::Resource,
            Role::Task(_) => Class::Task,
        }
    }

    #[inline]
    fn state(&self) -> State {
        match self.role {
            Role::Registration { .. } => State::Live,
            #[cfg(feature = "supervision")]
            Role::Task(TaskKind::BackOff) => State::BackingOff,
            Role::Task(_) if self.poll_state.has_started() => State::Running,
            Role::Task(_) => State::Waiting,
        }
    }

    fn parent(&self) -> Option<&dyn Record> {
        let parent = self.parent.as_deref();
        parent.filter(|parent| !parent.is_root())
    }

    fn is_owned(&self) -> bool {
        self.role == Role::Registration { is_owned: true }
    }
}

#[cfg(all(
    test,
    target_os = "linux",
    target_pointer_width = "64",
    not(headcount_loom)
))]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use std::mem::offset_of;

    /// A test and no assertion of the build: the standard library may lay its types out anew.
    #[test]
    fn a_slot_with_a_task_is_two_cache_lines() {
        use crate::slab::slot_size;
        let before = 2 * size_of::<u64>();
        assert_eq!(slot_size::<TaskEntry>(), 128);
        assert_eq!(
            before + offset_of!(TaskEntry, meta),
            64 - size_of::<Stamp>()
        );
    }
}
