//! [`Dump`]: where every task and every running hook waited at one moment.

use crate::dump::{deadlock::Deadlock, hook::HookDump, view::TaskDump};
use std::time::Duration;

/// Where every task and every running hook waited at one moment.
///
/// Made by [`Registry::dump`](crate::Registry::dump) and [`Context::dump`](crate::Context::dump).
///
/// `Display` prints equal stacks once, with the number of tasks that wait there, and of each stack the lines of the
/// program's own code and what is awaited. [`in_full`](Self::in_full) prints every frame of every task.
///
/// A dump contains facts only: it keeps no task alive (I5).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Dump {
    pub(crate) tasks: Vec<TaskDump>,
    pub(crate) hooks: Vec<HookDump>,
    pub(crate) deadlocks: Vec<Deadlock>,
    #[cfg_attr(
        feature = "serde",
        serde(rename = "took_secs", serialize_with = "secs")
    )]
    pub(crate) took: Duration,
    #[cfg_attr(
        feature = "serde",
        serde(rename = "limit_secs", serialize_with = "secs")
    )]
    pub(crate) limit: Duration,
    /// Whether the program has line numbers.
    pub(crate) has_lines: bool,
    /// Whether the program has symbols.
    pub(crate) has_names: bool,
}

impl Dump {
    pub(crate) fn empty(limit: Duration) -> Self {
        Self {
            tasks: Vec::new(),
            hooks: Vec::new(),
            deadlocks: Vec::new(),
            took: Duration::ZERO,
            limit,
            has_lines: true,
            has_names: true,
        }
    }

    /// The tasks, in the order of their creation.
    pub fn tasks(&self) -> &[TaskDump] {
        &self.tasks
    }

    /// The hooks that were running, in the order in which they began.
    pub fn hooks(&self) -> &[HookDump] {
        &self.hooks
    }

    /// The oldest task of this name.
    pub fn find(&self, name: &str) -> Option<&TaskDump> {
        self.tasks.iter().find(|task| task.resource.name() == name)
    }

    /// Groups of tasks and hooks that wait for each other, and for nothing else.
    ///
    /// None of them ends before one of them is aborted, cancelled or dropped. A deadlock that a time limit will end (that
    /// of a hook, or the grace period of a close) is reported as well.
    ///
    /// The waits that are known are those for a [`Task`](crate::Task), for a [`close`](crate::Context::close), and for a
    /// registry to be [`idle`](crate::Registry::idle). A task that also waits for something else, such as a timer, is in no
    /// deadlock. Nor is a [wrapped](crate::Context::wrap) future, because its owner may drop it. Only tasks and hooks of
    /// this dump are considered: in the dump of a context, those below it.
    pub fn deadlocks(&self) -> &[Deadlock] {
        &self.deadlocks
    }

    /// The tasks that did not answer in time.
    pub fn unanswered(&self) -> impl Iterator<Item = &TaskDump> {
        self.tasks.iter().filter(|task| task.found.is_silent())
    }

    /// How long it took to collect the answers.
    pub fn took(&self) -> Duration {
        self.took
    }
}

#[cfg(feature = "serde")]
fn secs<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
