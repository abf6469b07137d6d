//! What a dump found.

use crate::{
    dump::{deadlock::Deadlock, hook::HookDump},
    id::ResourceId,
    ledger::caller::is_machinery,
    poll::awaited::Awaited,
    table::resource::Resource,
};
use std::{fmt, time::Duration};

/// Where every task and every running hook was, at one moment: made by [`Registry::dump`](crate::Registry::dump) and
/// [`Context::dump`](crate::Context::dump).
///
/// `Display` prints it for a person: equal stacks once, with how many tasks wait there; the lines of one's own code,
/// and what is awaited. [`in_full`](Self::in_full) prints every frame of every task.
///
/// Holds facts, not things: no task is kept alive (I5).
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
    /// Whether there are lines to name.
    pub(crate) has_lines: bool,
    /// Whether there are functions to name.
    pub(crate) has_names: bool,
}

/// Where one task was. Part of a [`Dump`], or made by [`Task::trace`](crate::Task::trace).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TaskDump {
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub(crate) resource: Resource,
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub(crate) found: Whereabouts,
    pub(crate) polls: u32,
    /// Whether its context's cancellation ends it, beside all that it waits for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) is_cancellable: bool,
}

/// What was found out about a task or a hook.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Whereabouts {
    pub(crate) activity: Activity,
    pub(crate) stacks: Vec<AwaitStack>,
    /// Stacks that were left out.
    pub(crate) cut: usize,
}

/// What a task was doing, or a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// Nobody has polled it yet: it waits for its runtime, or for whoever it was wrapped for.
    NeverPolled,
    /// It waits. How long is known where polls are timed, see [`set_long_poll_threshold`](crate::dump::set_long_poll_threshold).
    Parked(Option<Duration>),
    /// It was polled all the time, for at least so long, without coming to an `.await` that waits.
    Polling(Duration),
    /// A blocking closure that runs, since it was spawned so long ago.
    Blocking(Duration),
    /// A blocking closure that waits for a thread.
    Queued,
    /// It ended while it was asked.
    Finished,
    /// It did not answer in time, and was not being polled: its runtime is busy, its `LocalSet` is not run, or nobody
    /// polls what was [wrapped](crate::Context::wrap).
    NotAnswered,
}

/// A chain of `.await`s. A task has several where it waits for several things at once, as in `select!` and `join!`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AwaitStack {
    /// Outermost first.
    pub(crate) frames: Vec<StackFrame>,
    pub(crate) leaf: Option<String>,
    pub(crate) yields: bool,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) awaited: Option<Awaited>,
    /// Of which registry that is.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) registry: u32,
}

/// One function of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StackFrame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) is_own: bool,
}

impl Dump {
    pub(crate) fn nobody(limit: Duration) -> Self {
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

    /// Tasks and hooks that wait for each other, and for nothing else: none of them will end before somebody aborts,
    /// cancels or drops one. Where a time limit will do so, that of a hook or the grace period of a close, it is told all the
    /// same.
    ///
    /// Known are waits for a [`Task`](crate::Task), for a [`close`](crate::Context::close), and for a registry to be
    /// [`idle`](crate::Registry::idle). A task that also waits for something else, such as a timer, is in no deadlock, nor
    /// is a future that was [wrapped](crate::Context::wrap), because whoever polls it may drop it. Only tasks and
    /// hooks of this dump are looked at: of that of a context, those in it.
    pub fn deadlocks(&self) -> &[Deadlock] {
        &self.deadlocks
    }

    /// The tasks that did not answer in time.
    pub fn unanswered(&self) -> impl Iterator<Item = &TaskDump> {
        self.tasks.iter().filter(|task| task.found.is_silent())
    }

    /// How long it took to ask them all.
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl TaskDump {
    /// The task: name, path, age, the line that spawned it.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The id of the task.
    pub fn id(&self) -> ResourceId {
        self.resource.id()
    }

    /// What it was doing.
    pub fn activity(&self) -> Activity {
        self.found.activity
    }

    /// How often it was polled so far: each time but the first after a wake, or several that came together. Polls in
    /// which it answered a dump do not count.
    pub fn polls(&self) -> u32 {
        self.polls
    }

    /// Where it waits; none if it does not wait, or waits for something that will never wake it.
    pub fn stacks(&self) -> &[AwaitStack] {
        &self.found.stacks
    }
}

impl Whereabouts {
    /// Whether it did not answer in time.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.activity, Activity::NotAnswered | Activity::Polling(_))
    }
}

impl AwaitStack {
    /// Every frame, outermost first.
    pub fn frames(&self) -> &[StackFrame] {
        &self.frames
    }

    /// The frames of one's own code, outermost first: the last one is the `.await`.
    pub fn own_frames(&self) -> impl DoubleEndedIterator<Item = &StackFrame> {
        self.frames.iter().filter(|frame| frame.is_own())
    }

    /// What is awaited on the last line of one's own, such as `tokio::sync::Mutex::lock`.
    pub fn leaf(&self) -> Option<&str> {
        self.leaf.as_deref()
    }

    /// What it waits for, where that is a task of this crate, a close, or a registry.
    pub fn awaited(&self) -> Option<&Awaited> {
        self.awaited.as_ref()
    }

    /// Whether it does not wait, but woke the task at once to let others run.
    pub fn yields(&self) -> bool {
        self.yields
    }

    /// Whether it is only a cancellable task's wait for its token.
    pub(crate) fn is_for_cancellation(&self) -> bool {
        self.awaited == Some(Awaited::Cancellation)
    }
}

impl StackFrame {
    /// The function, without closures, hashes and type arguments; empty if it is not known.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The file, from the folder of the program or the name of the dependency on; empty if it is not known.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line; 0 if it is not known.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Whether it is code of the program itself, and not of a dependency, the standard library or this crate.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether it may be what somebody awaits: a dependency's function, and no machinery between.
    pub(crate) fn is_awaited(&self) -> bool {
        let is_between = ["/src/macros/", "futures-util"];
        !self.is_glue() && !is_between.iter().any(|of| self.file.contains(of))
    }

    /// Whether it is of the standard library.
    pub(crate) fn is_glue(&self) -> bool {
        let library = ["core/", "std/", "alloc/"];
        library.iter().any(|of| self.file.starts_with(of)) || is_machinery(&self.function)
    }

    /// Whether its function or its file has one of these in its name.
    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        let is = |name: &&str| self.function.contains(*name) || self.file.contains(*name);
        names.iter().any(is)
    }
}

impl Activity {
    /// What it is, in a word or two, without for how long.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NeverPolled => "never polled",
            Self::Parked(_) => "parked",
            Self::Polling(_) => "polling",
            Self::Blocking(_) => "blocking",
            Self::Queued => "queued",
            Self::Finished => "finished",
            Self::NotAnswered => "not answered",
        }
    }

    /// For how long, where that is known.
    #[cfg(feature = "serde")]
    fn since(self) -> Option<Duration> {
        match self {
            Self::Parked(since) => since,
            Self::Polling(since) | Self::Blocking(since) => Some(since),
            _ => None,
        }
    }
}

#[cfg(feature = "serde")]
fn secs<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// `{"state": "parked", "secs": 3.2}`, without `secs` where that is not known.
#[cfg(feature = "serde")]
impl serde::Serialize for Activity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("state", self.word())?;
        if let Some(since) = self.since() {
            out.serialize_entry("secs", &since.as_secs_f64())?;
        }
        out.end()
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::clock::human;
        match self {
            Self::NeverPolled => f.write_str("never polled"),
            Self::Parked(None) => f.write_str("parked"),
            Self::Parked(Some(since)) => write!(f, "parked for {}", human(*since)),
            Self::Polling(since) => write!(f, "polling for {} without yielding", human(*since)),
            Self::Blocking(since) => write!(f, "blocking for {}", human(*since)),
            Self::Queued => f.write_str("waits for a thread"),
            Self::Finished => f.write_str("finished meanwhile"),
            Self::NotAnswered => f.write_str("did not answer"),
        }
    }
}
