//! The facts about a task or a registration, which lie in a slot of the slab.

use crate::{
    id::ResourceId,
    panics,
    poll::{state::PollState, waker_cell::WakerCell},
    slab::{
        block::Entry,
        guard::{HandleGuard, OwnerGuard},
        slab::Slab,
        stripe,
    },
    table::record::{Class, Facts, Meta, Record, State},
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
/// what is only read of what a scan has found is on the next, and what a registration never has on the last.
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
    /// What follows begins on the next cache line.
    _line: [u64; 1],
    waker: TaskWaker,
    /// The place for a task's output, once it is needed. The output is taken out by the last one of task and handle, never
    /// by the drop of this: a listing may be the last to release it (I5).
    output: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Registration,
    Task {
        kind: TaskKind,
        /// Whether it may be the latest of its name.
        supersedes: bool,
    },
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
}

/// What wakes a task: to be ended by force, and to be asked where it waits.
enum TaskWaker {
    /// A spawned future has one for all its life, from its first poll on. It keeps what the runtime keeps of the task, as
    /// the runtime's own handle would; the future is not in there any more when it has ended.
    Spawned(OnceLock<Waker>),
    /// A wrapped future is polled now by this, now by that.
    Wrapped(WakerCell),
}

impl TaskWaker {
    /// False if it was never polled.
    fn wake(&self) -> bool {
        match self {
            Self::Spawned(waker) => match waker.get() {
                Some(waker) => {
                    // Wakers are foreign code, also that of a `LocalSet`.
                    panics::contain(|| waker.wake_by_ref());
                    true
                }
                None => false,
            },
            Self::Wrapped(cell) => cell.wake(),
        }
    }
}

impl Default for TaskEntry {
    fn default() -> Self {
        Self {
            parent: None,
            poll_state: PollState::default(),
            role: Role::Registration,
            has_owned: false,
            output: OnceLock::new(),
            waker: TaskWaker::Spawned(OnceLock::new()),
            maker: 0,
            meta: Meta::none(),
            _line: [0],
        }
    }
}

impl Entry for TaskEntry {
    type Remains = TaskRemains;

    /// The waker keeps the memory that the runtime has of the task.
    #[inline]
    fn can_be_stale(&self) -> bool {
        let has_waker = self.role != Role::Registration && self.poll_state.has_started();
        has_waker && self.maker != lower_half(stripe::current())
    }

    #[inline]
    fn clear(&mut self, stays_stale: bool) -> TaskRemains {
        if self.has_owned {
            self.meta.clear();
        }
        let mut remains = TaskRemains {
            parent: self.parent.take(),
            waker: None,
            output: None,
        };
        // A registration has none of the rest.
        if self.role != Role::Registration {
            remains.output = self.output.take();
            match &mut self.waker {
                TaskWaker::Spawned(waker) if !stays_stale => remains.waker = waker.take(),
                _ => {}
            }
        }
        remains
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
#[inline]
fn lower_half(thread: u32) -> u16 {
    thread as u16
}

/// What is left of a task or a registration that is gone.
pub(crate) struct TaskRemains {
    parent: Option<Arc<dyn Record>>,
    waker: Option<Waker>,
    output: Option<Box<dyn Any + Send + Sync>>,
}

impl TaskRemains {
    /// The context that the task was in, the registry's own included.
    pub(crate) fn owner(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }
}

impl Drop for TaskRemains {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            // It may be the last thing that keeps a runtime's memory, with values of users in it.
            panics::discard(waker);
        }
        // Empty: the last one of task and handle has taken what was in it.
        drop(self.output.take());
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
        // All of them, so that none keeps what it was of another task.
        let Self {
            parent: own_parent,
            poll_state,
            role: own_role,
            has_owned,
            maker,
            meta,
            _line: _,
            waker,
            output: _, // taken when it was cleared
        } = self;
        *own_parent = parent;
        *poll_state = PollState::default();
        *own_role = role;
        *has_owned = facts.name.is_owned() || facts.kind.is_owned();
        *maker = lower_half(stripe::current());
        if let Role::Task { kind, .. } = role {
            match (kind, &mut *waker) {
                (TaskKind::Wrapped, _) => *waker = TaskWaker::Wrapped(WakerCell::default()),
                (_, TaskWaker::Wrapped(_)) => *waker = TaskWaker::Spawned(OnceLock::new()),
                (_, TaskWaker::Spawned(_)) => {} // taken when it was cleared
            }
        }
        meta.fill(id, facts);
    }

    /// A poll begins, with this waker, or a closure starts, without one. True if the task is to end instead: an abort was
    /// requested.
    ///
    /// The waker is in place before the task is marked as started. An abort is marked before the waker is looked for. Both
    /// marks are in one word, so either the abort finds the waker, or this finds the abort.
    #[inline]
    pub(crate) fn start(&self, waker: Option<&Waker>) -> bool {
        if !self.is(TaskKind::Wrapped) && self.poll_state.has_started() {
            return self.poll_state.is_aborting();
        }
        match (&self.waker, waker) {
            (TaskWaker::Spawned(cell), Some(waker)) => drop(cell.set(waker.clone())),
            (TaskWaker::Wrapped(cell), Some(waker)) => cell.set(waker),
            (_, None) => {}
        }
        self.poll_state.start()
    }

    /// It has ended; what woke a future that others poll is released.
    #[inline]
    pub(crate) fn end(&self) {
        // The role is on the first cache line, the waker is not.
        if self.is(TaskKind::Wrapped) {
            if let TaskWaker::Wrapped(cell) = &self.waker {
                cell.close();
            }
        }
    }

    /// Asks the task to end at its next poll, and wakes it for that.
    pub(crate) fn request_abort(&self) {
        if self.poll_state().is_some() {
            self.poll_state.request_abort();
            self.waker.wake();
        }
    }

    /// Ends a task by force, if its context is aborting its tasks.
    #[inline]
    pub(crate) fn abort_if_told(&self) {
        if self
            .parent
            .as_ref()
            .is_some_and(|parent| parent.is_aborting())
        {
            self.request_abort();
        }
    }

    /// Asks a task where it waits, and wakes it to answer. False if it was never polled: it will answer when it is.
    #[cfg(feature = "dump")]
    pub(crate) fn ask(&self) -> bool {
        self.poll_state.ask();
        self.waker.wake()
    }

    /// How it is doing; `None` of a registration.
    #[inline]
    pub(crate) fn poll_state(&self) -> Option<&PollState> {
        matches!(self.role, Role::Task { .. }).then_some(&self.poll_state)
    }

    /// The context of a task, the registry's own included.
    #[inline]
    pub(crate) fn owner(&self) -> Option<&dyn Record> {
        self.parent.as_deref()
    }

    #[inline]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The place for the output, made by `make` if it is the first time. Every caller makes the same kind.
    pub(crate) fn output<O: Any + Send + Sync>(&self, make: impl FnOnce() -> O) -> &O {
        let output = self.output.get_or_init(|| Box::new(make()));
        output
            .downcast_ref()
            .expect("a task is spawned with one kind of output")
    }

    fn is(&self, of: TaskKind) -> bool {
        matches!(self.role, Role::Task { kind, .. } if kind == of)
    }

    /// Whether it is a blocking closure.
    #[cfg(feature = "dump")]
    pub(crate) fn is_blocking(&self) -> bool {
        self.is(TaskKind::Blocking)
    }

    /// Whether others poll it, and may drop it, or an abort was requested.
    #[cfg(feature = "dump")]
    pub(crate) fn is_in_other_hands(&self) -> bool {
        self.is(TaskKind::Wrapped) || self.poll_state.is_aborting()
    }

    /// Whether it is a blocking closure that has started, which nothing can end but itself.
    pub(crate) fn is_unabortable(&self) -> bool {
        self.is(TaskKind::Blocking) && self.state() == State::Running
    }
}

/// A slab that goes may have stale places.
impl Drop for TaskEntry {
    fn drop(&mut self) {
        drop(self.clear(false));
    }
}

impl Record for TaskEntry {
    #[inline]
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        match self.role {
            Role::Registration => Class::Resource,
            Role::Task { .. } => Class::Task,
        }
    }

    #[inline]
    fn state(&self) -> State {
        match self.role {
            Role::Registration => State::Live,
            Role::Task { .. } if self.poll_state.has_started() => State::Running,
            Role::Task { .. } => State::Waiting,
        }
    }

    fn parent(&self) -> Option<&dyn Record> {
        let parent = self.parent.as_deref();
        parent.filter(|parent| !parent.is_root())
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
    fn a_slot_with_a_task_is_three_cache_lines() {
        use crate::slab::slot_size;
        let before = 2 * size_of::<u64>();
        assert_eq!(slot_size::<TaskEntry>(), 192);
        assert_eq!(
            before + offset_of!(TaskEntry, meta),
            64 - size_of::<Stamp>()
        );
        assert_eq!(before + offset_of!(TaskEntry, waker), 128);
    }
}
