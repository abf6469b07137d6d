//! What is known of a task.

use crate::{
    context::{core::Node, current::InTask},
    sync::{AtomicU32, Ordering::Relaxed},
    table::{
        record::{Class, Meta, Record, State},
        stripe,
    },
    task::output::Output,
};
use std::{
    any::Any,
    sync::{Arc, OnceLock},
};
use tokio::task::{AbortHandle, JoinHandle};

/// The facts about one task.
pub(crate) struct TaskRecord {
    meta: Meta,
    /// The context it belongs to: its identity, not a handle (I3).
    node: Arc<Node>,
    /// 1 once it was polled, or its closure started.
    started: AtomicU32,
    is_blocking: bool,
    supersedes: bool,
    home: u32,
    /// What it can be aborted by, once it has been spawned. tokio keeps a task's memory for it, without
    /// the future, which was dropped at the end; it goes with this record.
    join: OnceLock<JoinHandle<()>>,
}

impl TaskRecord {
    #[inline]
    pub(crate) fn new(meta: Meta, node: Arc<Node>, is_blocking: bool, supersedes: bool) -> Self {
        Self {
            meta,
            node,
            started: AtomicU32::new(0),
            is_blocking,
            supersedes,
            home: stripe::current(),
            join: OnceLock::new(),
        }
    }

    /// The task is with the runtime.
    #[inline]
    pub(crate) fn spawned(&self, join: JoinHandle<()>) {
        let _ = self.join.set(join);
    }

    /// Asks tokio to drop the future at its next wait.
    pub(crate) fn end(&self) {
        if let Some(join) = self.join.get() {
            join.abort();
        }
    }

    /// What aborts it, once it has been spawned.
    pub(crate) fn abort_handle(&self) -> Option<AbortHandle> {
        self.join.get().map(JoinHandle::abort_handle)
    }
}

impl Record for TaskRecord {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Task
    }

    fn state(&self) -> State {
        if self.started.load(Relaxed) == 0 {
            State::Waiting
        } else {
            State::Running
        }
    }

    fn parent(&self) -> Option<&dyn Record> {
        (!self.node.is_root()).then_some(&*self.node as _)
    }

    fn abort(&self) {
        if self.node.gate.is_aborting() {
            self.end();
        }
    }

    fn is_unabortable(&self) -> bool {
        self.is_blocking && self.state() == State::Running
    }
}

impl InTask for TaskRecord {
    fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn start(&self) {
        if self.started.load(Relaxed) == 0 {
            self.started.store(1, Relaxed);
        }
    }

    fn home(&self) -> u32 {
        self.home
    }

    fn supersedes(&self) -> bool {
        self.supersedes
    }

    fn output(&self) -> Option<&dyn Any> {
        None
    }
}

/// A task's facts and the place for its output, in one allocation.
///
/// The output is taken out by whoever is last of task and handle, never by the drop of this: a
/// listing may be the last to let go of it (I5).
pub(crate) struct TaskCell<T> {
    pub(crate) record: TaskRecord,
    pub(crate) output: Output<T>,
}

impl<T: Send + 'static> Record for TaskCell<T> {
    fn meta(&self) -> &Meta {
        self.record.meta()
    }

    fn class(&self) -> Class {
        self.record.class()
    }

    fn state(&self) -> State {
        self.record.state()
    }

    fn parent(&self) -> Option<&dyn Record> {
        self.record.parent()
    }

    fn abort(&self) {
        self.record.abort();
    }

    fn is_unabortable(&self) -> bool {
        self.record.is_unabortable()
    }
}

impl<T: Send + 'static> InTask for TaskCell<T> {
    fn node(&self) -> &Arc<Node> {
        self.record.node()
    }

    fn start(&self) {
        self.record.start();
    }

    fn home(&self) -> u32 {
        self.record.home()
    }

    fn supersedes(&self) -> bool {
        self.record.supersedes()
    }

    fn output(&self) -> Option<&dyn Any> {
        Some(&self.output)
    }
}

/// Facts and output of one task, wherever they lie: apart for local tasks, whose output may not leave
/// its thread while the facts are listed everywhere.
pub(crate) enum Shared<T> {
    Together(Arc<TaskCell<T>>),
    Apart(Arc<TaskRecord>, Arc<Output<T>>),
}

impl<T> Shared<T> {
    pub(crate) fn record(&self) -> &TaskRecord {
        match self {
            Self::Together(cell) => &cell.record,
            Self::Apart(record, _) => record,
        }
    }

    pub(crate) fn output(&self) -> &Output<T> {
        match self {
            Self::Together(cell) => &cell.output,
            Self::Apart(_, output) => output,
        }
    }
}
