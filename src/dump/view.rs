//! The parts of a dump: where a task or a hook waited, as stacks of frames.

use crate::{
    clock::human,
    codebase::{self, Codebase},
    id::ResourceId,
    name::Quoted,
    poll::{awaited::Awaited, running_hooks::RunningHook},
    symbol::package,
    table::resource::{Resource, path},
};
use std::{fmt, panic::Location, sync::Arc, time::Duration};

/// Where one task waited. Part of a [`Dump`](crate::dump::Dump), or made by [`Task::trace`](crate::Task::trace).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::dump::Activity;
/// let ctx = headcount::Registry::new().context("server");
/// let (sender, mut lines) = tokio::sync::mpsc::channel::<String>(1);
/// let writer = ctx.task("writer").spawn(async move { while lines.recv().await.is_some() {} });
/// sender.send("hello".to_owned()).await.unwrap();
/// tokio::task::yield_now().await;
///
/// let dump = writer.trace().await.unwrap();
/// assert_eq!(dump.resource().path(), "server/writer");
/// assert!(matches!(dump.activity(), Activity::Parked(_)));
/// assert_eq!((dump.polls(), dump.stacks()[0].leaf()), (1, Some("tokio::sync::mpsc::Receiver::recv")));
/// # }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TaskDump {
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub(crate) resource: Resource,
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub(crate) found: Whereabouts,
    pub(crate) polls: u32,
    /// Whether the cancellation of its context ends it, whatever else it waits for.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) is_cancellable: bool,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) polled_in_vain: Option<u32>,
    /// What it was at work on when it was asked.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) work: Option<String>,
}

/// What a task or a hook was doing, and where it waited.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Whereabouts {
    pub(crate) activity: Activity,
    pub(crate) stacks: Vec<AwaitStack>,
    /// How many stacks were left out.
    pub(crate) cut: usize,
}

/// What a task or a hook was doing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::dump::Activity;
/// let registry = headcount::Registry::new();
/// let ctx = registry.context("server");
/// ctx.task("accept").spawn(std::future::pending::<()>());
/// let request = ctx.task("request").wrap(async {}); // not polled yet
/// tokio::task::yield_now().await;
///
/// let dump = registry.dump().await;
/// assert!(matches!(dump.find("accept").unwrap().activity(), Activity::Parked(_)));
/// assert_eq!(dump.find("request").unwrap().activity(), Activity::NeverPolled);
/// # drop(request);
/// # ctx.close_now().await;
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It has not been polled yet: its runtime, or the owner of a [wrapped](crate::Context::wrap) future, has not come to it.
    NeverPolled,
    /// It waits. The time is known if polls are timed: see [`set_long_poll_threshold`](crate::dump::set_long_poll_threshold).
    Parked(Option<Duration>),
    /// It does not wait: it wakes itself in its polls, to let others run in between.
    Yielding,
    /// It was in one poll all the time, for at least this long, without reaching an `.await` that waits.
    Polling(Duration),
    /// It has ended, by an abort or its deadline, and its future is being dropped: a destructor does not return.
    Dropping,
    /// It is a blocking closure that runs; it was spawned this long ago.
    Blocking(Duration),
    /// It is a blocking closure that waits for a thread.
    Queued,
    /// It ended while the dump was made.
    Finished,
    /// It did not answer in time, and was not being polled: its runtime is busy, its `LocalSet` is not run, or it is a
    /// [wrapped](crate::Context::wrap) future that its owner does not poll.
    NotAnswered,
}

/// One chain of `.await`s. A task that waits for several things at once, as in `select!` and `join!`, has several.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("server");
/// let (sender, mut lines) = tokio::sync::mpsc::channel::<String>(1);
/// let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
/// let reader = ctx.spawn(async move {
///     tokio::select! {
///         _ = lines.recv() => {}
///         _ = &mut stopped => {}
///     }
/// });
/// tokio::task::yield_now().await;
///
/// let dump = reader.trace().await.unwrap();
/// let mut leaves: Vec<_> = dump.stacks().iter().filter_map(|stack| stack.leaf()).collect();
/// leaves.sort();
/// assert_eq!(leaves, ["tokio::sync::mpsc::Receiver::recv", "tokio::sync::oneshot::Receiver"]);
/// # drop((sender, stop));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AwaitStack {
    /// Outermost first.
    pub(crate) frames: Vec<StackFrame>,
    pub(crate) leaf: Option<String>,
    /// What a dependency awaits on behalf of the leaf.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub(crate) beneath: Vec<String>,
    pub(crate) yields: bool,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) awaited: Option<Awaited>,
    /// The registry to which the awaited thing belongs.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) registry: u32,
    /// Whether a server of this crate waits there on its own account: for its stop, or for a time limit.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) is_of_server: bool,
}

/// One function of a stack.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// async fn read_config(ready: tokio::sync::oneshot::Receiver<()>) {
///     ready.await.unwrap();
/// }
///
/// let ctx = headcount::Registry::new().context("app");
/// let (sender, ready) = tokio::sync::oneshot::channel();
/// let task = ctx.spawn(read_config(ready));
/// tokio::task::yield_now().await;
///
/// let dump = task.trace().await.unwrap();
/// let frame = dump.stacks()[0].own_frames().next_back().unwrap();
/// assert!(frame.function().ends_with("read_config"), "{frame}");
/// println!("{} at {}:{}", frame.function(), frame.file(), frame.line()); // the line needs debug information
/// # sender.send(()).unwrap();
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StackFrame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) is_own: bool,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) code: Codebase,
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

    /// How often it was polled. Every poll except the first follows a wake, or several that came together. Polls in which it
    /// answered a dump do not count.
    pub fn polls(&self) -> u32 {
        self.polls
    }

    /// Where it waited; empty if it did not wait, or if nothing could wake it.
    pub fn stacks(&self) -> &[AwaitStack] {
        &self.found.stacks
    }

    /// How often it was polled since a dump first found it at this place, as all since have, waiting for a lock, a permit or room in
    /// a channel. What it waits for may have been granted to another future of the same task, which it does not poll; or it has
    /// moved on and come back.
    pub fn polled_in_vain(&self) -> Option<u32> {
        self.polled_in_vain
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

    /// The frames of the program's own code, outermost first: the last one is the `.await`.
    pub fn own_frames(&self) -> impl DoubleEndedIterator<Item = &StackFrame> {
        self.frames.iter().filter(|frame| frame.is_own())
    }

    /// The same without those that are on the line of the one before.
    pub(crate) fn own_lines(&self) -> Vec<&StackFrame> {
        let mut own: Vec<_> = self.own_frames().collect();
        own.dedup_by(|one, other| one.file == other.file && one.line == other.line);
        own
    }

    /// What is awaited on the last line of the program's own code, such as `tokio::sync::Mutex::lock`.
    pub fn leaf(&self) -> Option<&str> {
        self.leaf.as_deref()
    }

    /// What a dependency awaits on behalf of the [leaf](Self::leaf): the last of its own functions, and what that awaits. Empty for
    /// tokio and others that are known by name.
    pub fn beneath(&self) -> impl Iterator<Item = &str> {
        self.beneath.iter().map(String::as_str)
    }

    /// What is awaited, if this crate knows it: see [`Awaited`].
    pub fn awaited(&self) -> Option<&Awaited> {
        self.awaited.as_ref()
    }

    /// Whether the task only yields: it woke itself at once to let others run.
    pub fn yields(&self) -> bool {
        self.yields
    }

    /// Whether it waits beside what its task is there for: for its cancellation, or as a server does.
    pub(crate) fn is_beside(&self) -> bool {
        self.is_for_cancellation() || self.is_of_server
    }

    /// Whether this is only a cancellable task's wait for its token.
    pub(crate) fn is_for_cancellation(&self) -> bool {
        self.awaited == Some(Awaited::Cancellation)
    }
}

impl StackFrame {
    /// The function, without closures, hashes and type arguments; empty if unknown.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The file, relative to the program's folder, or beginning with the dependency's name; empty if unknown.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line; 0 if unknown.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Whether it is the program's own code, and not that of a dependency, the standard library or this crate.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether it may be the thing that is awaited: not the standard library, and no macro or combinator in between.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.is_glue() && !codebase::is_macro(&self.file) && !self.is_combinator()
    }

    /// Whether it is a combinator of `futures`, and not one of its locks, nor a future that several tasks await.
    pub(crate) fn is_combinator(&self) -> bool {
        let is_leaf = [
            "futures_util::lock::",
            "src/lock/",
            "::Shared",
            "/shared.rs",
        ];
        let is_in_futures =
            self.function.starts_with("futures_util::") || self.file.contains("futures-util");
        let is_combinator = is_in_futures && !self.is_one_of(&is_leaf);
        self.code == Codebase::Dependency && is_combinator && !codebase::is_macro(&self.file)
    }

    /// Whether it is a frame of the standard library, or a dependency's for one of its types: that only passes a poll on.
    pub(crate) fn is_glue(&self) -> bool {
        let passes_on = || package(&self.function).is_some_and(Codebase::is_std);
        self.code == Codebase::Std || self.code == Codebase::Dependency && passes_on()
    }

    /// Whether the name of its function or its file contains one of these.
    pub(crate) fn is_one_of(&self, names: &[&str]) -> bool {
        let is = |name: &&str| self.function.contains(*name) || self.file.contains(*name);
        names.iter().any(is)
    }
}

impl Activity {
    /// The activity in a word or two, without its duration.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NeverPolled => "never polled",
            Self::Parked(_) => "parked",
            Self::Yielding => "yielding",
            Self::Polling(_) => "polling",
            Self::Dropping => "dropping",
            Self::Blocking(_) => "blocking",
            Self::Queued => "queued",
            Self::Finished => "finished",
            Self::NotAnswered => "not answered",
        }
    }

    /// The duration of the activity, if it is known.
    #[cfg(feature = "serde")]
    fn since(self) -> Option<Duration> {
        match self {
            Self::Parked(since) => since,
            Self::Polling(since) | Self::Blocking(since) => Some(since),
            _ => None,
        }
    }
}

/// Serialized as `{"state": "parked", "secs": 3.2}`, without `secs` if the time is not known.
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
        match self {
            Self::NeverPolled => f.write_str("never polled"),
            Self::Parked(None) => f.write_str("parked"),
            Self::Parked(Some(since)) => write!(f, "parked for {}", human(*since)),
            Self::Yielding => f.write_str("yielding"),
            Self::Polling(since) => {
                write!(f, "polling for at least {} without yielding", human(*since))
            }
            Self::Dropping => {
                f.write_str("its future is being dropped, and a destructor does not return")
            }
            Self::Blocking(since) => write!(f, "blocking for {}", human(*since)),
            Self::Queued => f.write_str("waits for a thread"),
            Self::Finished => f.write_str("finished meanwhile"),
            Self::NotAnswered => f.write_str("did not answer"),
        }
    }
}

/// Where one running hook waited. Part of a [`Dump`](crate::dump::Dump).
///
/// A hook is what [`on_close`](crate::Context::on_close) or [`on_closing`](crate::Context::on_closing) was given.
///
/// Holds facts, not things: neither the hook nor its context is kept alive (I5).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let ctx = registry.context("db");
/// let (flush, flushed) = tokio::sync::oneshot::channel::<()>();
/// ctx.on_close(|| async { flushed.await.unwrap() }).unwrap();
/// ctx.request_close("deploy");
/// tokio::task::yield_now().await;
///
/// let dump = registry.dump().await;
/// let hook = &dump.hooks()[0];
/// assert_eq!((hook.kind(), hook.context()), ("on_close", "db".to_owned()));
/// assert_eq!(hook.stacks()[0].leaf(), Some("tokio::sync::oneshot::Receiver"));
/// # flush.send(()).unwrap();
/// # ctx.closed().await;
/// # }
/// ```
#[derive(Clone)]
pub struct HookDump {
    pub(crate) hook: Arc<RunningHook>,
    pub(crate) age: Duration,
    pub(crate) found: Whereabouts,
}

impl HookDump {
    /// The id of the hook. It has one only while it runs.
    pub fn id(&self) -> ResourceId {
        self.hook.id
    }

    /// The path of the context whose close waits for it.
    pub fn context(&self) -> String {
        path(&*self.hook.context)
    }

    /// The method that registered it, which says when it runs: `on_closing` or `on_close`.
    pub fn kind(&self) -> &'static str {
        self.hook.kind
    }

    /// The function that registered it.
    pub fn what(&self) -> &'static str {
        self.hook.what
    }

    /// The line that registered it.
    pub fn location(&self) -> &'static Location<'static> {
        self.hook.location
    }

    /// How long it had been running, as precise as the [age](crate::Resource::age) of a resource.
    pub fn running_for(&self) -> Duration {
        self.age
    }

    /// What it was doing: [`Parked`](Activity::Parked) if it answered.
    pub fn activity(&self) -> Activity {
        self.found.activity
    }

    /// Where it waited; empty if it did not wait, or if nothing could wake it.
    pub fn stacks(&self) -> &[AwaitStack] {
        &self.found.stacks
    }
}

/// `the on_close hook of server/conn-7`
pub(crate) fn named(kind: &str, path: &str) -> String {
    format!("the {kind} hook of {}", Quoted(path))
}

impl fmt::Debug for HookDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookDump")
            .field("id", &self.id())
            .field("context", &self.context())
            .field("kind", &self.kind())
            .field("location", &format_args!("{}", self.location()))
            .field("age", &self.age)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for HookDump {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let Whereabouts {
            activity,
            stacks,
            cut,
        } = &self.found;
        let mut out = serializer.serialize_struct("HookDump", 9)?;
        out.serialize_field("id", &self.id())?;
        out.serialize_field("context", &self.context())?;
        out.serialize_field("kind", self.kind())?;
        out.serialize_field("what", self.what())?;
        out.serialize_field("location", &self.location().to_string())?;
        out.serialize_field("running_secs", &self.age.as_secs_f64())?;
        out.serialize_field("activity", activity)?;
        out.serialize_field("stacks", stacks)?;
        out.serialize_field("cut", cut)?;
        out.end()
    }
}
