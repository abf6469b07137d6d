//! What is known of a task.

use crate::{
    context::{
        core::Node,
        current::{InTask, Terms},
    },
    sync::{AtomicU32, Ordering::Relaxed},
    table::record::{Class, Meta, Record, State},
    task::output::Output,
};
use std::{any::Any, sync::Arc};

/// The facts about one task.
pub(crate) struct TaskRecord {
    meta: Meta,
    /// The context it belongs to: its identity, not a handle (I3).
    node: Arc<Node>,
    /// 1 once it was polled, or its closure started.
    started: AtomicU32,
    is_blocking: bool,
    terms: Terms,
}

impl TaskRecord {
    pub(crate) fn new(meta: Meta, node: Arc<Node>, is_blocking: bool, terms: Terms) -> Self {
        Self {
            meta,
            node,
            started: AtomicU32::new(0),
            is_blocking,
            terms,
        }
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

    fn terms(&self) -> Terms {
        self.terms
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

    fn terms(&self) -> Terms {
        self.record.terms()
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
