//! [`Dump`]: where every task and every running hook waited at one moment.

use crate::dump::{
    deadlock::Deadlock,
    view::{Activity, HookDump, TaskDump},
};
use std::time::Duration;

/// Where every task and every running hook waited at one moment.
///
/// Made by [`Registry::dump`](crate::Registry::dump) and [`Context::dump`](crate::Context::dump).
///
/// `Display` prints equal stacks once, with the number of tasks that wait there, and of each stack the lines of the
/// program's own code and what is awaited. [`in_full`](Self::in_full) prints every frame of every task.
///
/// A dump contains facts only: it keeps no task alive (I5).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::Arc;
/// let registry = headcount::Registry::new();
/// let ctx = registry.context("server");
/// let ready = Arc::new(tokio::sync::Notify::new());
/// for n in 0..3 {
///     let ready = Arc::clone(&ready);
///     ctx.task(format!("conn-{n}")).spawn(async move { ready.notified().await });
/// }
/// tokio::task::yield_now().await;
///
/// let dump = registry.dump().await;
/// assert_eq!((dump.tasks().len(), dump.unanswered().count()), (3, 0));
/// let printed = dump.to_string();
/// assert_eq!(printed.matches("tokio::sync::Notify::notified").count(), 1, "{printed}");
/// # ctx.close_now().await;
/// # }
/// ```
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
    /// Whether a task that made the dump is left out.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) leaves_out: bool,
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
    /// The tasks, in the order of their creation. A task that makes a dump is not in it: it runs just then.
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

    pub(crate) fn into_tasks(self) -> Vec<TaskDump> {
        self.tasks
    }

    /// How long it took to collect the answers and to look up what they mean.
    pub fn took(&self) -> Duration {
        self.took
    }
    /// What the dump does not know, and what to do about it.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &'static str> {
        let is_untimed = |task: &TaskDump| task.found.activity == Activity::Parked(None);
        [
            (self.leaves_out, "the task that asks for this dump is left out"),
            (
                !self.has_names,
                "there are no symbols: this program was stripped; set `strip = \"none\"` in its profile",
            ),
            (
                !self.has_lines,
                "there are no line numbers: set `debug = \"limited\"` in the profile of this build",
            ),
            (
                self.tasks.iter().any(is_untimed),
                "it is not known how long tasks have been parked: call `headcount::dump::set_long_poll_threshold` to time polls",
            ),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
    }
}

#[cfg(feature = "serde")]
fn secs<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
