//! One line of a listing.

#[cfg(feature = "dump")]
use crate::table::task_entry::TaskHold as _;
use crate::{
    clock::Stamp,
    id::ResourceId,
    slab::{directory::EntryRef, guard::Hold as _, pins::Pinned},
    table::{
        numbers::Numbers,
        record::{Class, Record, State},
        task_entry::{TaskEntry, Tasks},
    },
};
use std::{
    fmt,
    panic::Location,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// What was known about one live thing at the moment it was listed.
///
/// A resource is a copy of facts: holding one keeps neither a task, nor a context, nor a value alive
/// (I5). Clones are cheap.
///
/// # Panics
///
/// A clone panics if there are 33 million of one entry. Nothing is counted then.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let server = registry.context("server");
/// server.task("accept").spawn(std::future::pending::<()>());
///
/// let live = registry.live().await;
/// let accept = live.find("accept").expect("it is running");
/// assert_eq!(accept.path(), "server/accept");
/// assert_eq!(accept.kind(), "task");
/// assert_eq!(accept.parent(), Some(server.id()));
/// assert!(accept.location().file().ends_with(".rs"));
/// # }
/// ```
#[derive(Clone)]
pub struct Resource {
    facts: Facts,
    /// Strong handles at that moment; `None` where there are none to count.
    handles: Option<usize>,
    /// What it had that is not listed by itself; `None` if that was nothing.
    numbers: Option<Arc<Numbers>>,
    snapshot: Snapshot,
}

/// Where the facts are: they outlive the thing as long as somebody looks at them.
#[derive(Clone)]
enum Facts {
    /// In the slot of a task or a registration.
    Task(Pinned<TaskEntry>),
    Record(Arc<dyn Record>),
}

/// How a thing stood when it was found.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    /// In nanoseconds, in two halves, so that a million snapshots are small.
    age: [u32; 2],
    state: State,
}

impl Snapshot {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "two halves are a whole")]
    pub(crate) fn of(record: &(impl Record + ?Sized), now: Stamp) -> Self {
        let age = now.since(record.meta().created);
        Self {
            age: [age as u32, (age >> 32) as u32],
            state: record.state(),
        }
    }

    fn age(self) -> Duration {
        let [low, high] = self.age.map(u64::from);
        Duration::from_nanos(high << 32 | low)
    }
}

impl Resource {
    /// `kept` is how many handles of ended tasks of it are held.
    pub(crate) fn of(record: Arc<dyn Record>, kept: usize, now: Stamp) -> Self {
        let numbers = Numbers {
            kept,
            ..record.numbers()
        };
        Self {
            handles: record.strong_count(),
            numbers: (numbers != Numbers::default()).then(|| Arc::new(numbers)),
            snapshot: Snapshot::of(&*record, now),
            facts: Facts::Record(record),
        }
    }

    pub(crate) fn of_task(entry: EntryRef<'_, TaskEntry>, tasks: &Arc<Tasks>, now: Stamp) -> Self {
        let snapshot = Snapshot::of(&*entry, now);
        Self::of_pinned(Pinned::of(entry, tasks), snapshot)
    }

    pub(crate) fn of_pinned(task: Pinned<TaskEntry>, snapshot: Snapshot) -> Self {
        Self {
            handles: None,
            numbers: None,
            snapshot,
            facts: Facts::Task(task),
        }
    }

    pub(crate) fn record(&self) -> &dyn Record {
        match &self.facts {
            Facts::Task(task) => &**task,
            Facts::Record(record) => &**record,
        }
    }

    pub(crate) fn class(&self) -> Class {
        self.record().class()
    }

    #[cfg(feature = "dump")]
    pub(crate) fn task(&self) -> Option<&TaskEntry> {
        match &self.facts {
            Facts::Task(task) => Some(task),
            Facts::Record(_) => None,
        }
    }

    #[cfg(feature = "dump")]
    pub(crate) fn poll_state(&self) -> Option<&crate::poll::state::PollState> {
        self.task()?.poll_state()
    }

    /// Asks a task where it waits. False if it was never polled: it will answer when it is.
    #[cfg(feature = "dump")]
    pub(crate) fn ask(&self) -> bool {
        match &self.facts {
            Facts::Task(task) => task.ask(),
            Facts::Record(_) => false,
        }
    }

    /// For how long a task had been running without waiting when it was listed, if that is longer than
    /// [`set_long_poll_threshold`](crate::dump::set_long_poll_threshold) says. `None` as well once that poll has ended.
    #[cfg(feature = "dump")]
    pub fn blocks_runtime(&self) -> Option<Duration> {
        let threshold = crate::poll::long_polls::threshold()?;
        let listed = self.record().meta().created.plus(self.age());
        let running = self.poll_state()?.running(listed);
        running.filter(|running| *running > threshold)
    }

    #[cfg(feature = "dump")]
    pub(crate) fn is_blocking(&self) -> bool {
        self.task().is_some_and(TaskEntry::is_blocking)
    }

    pub(crate) fn is_unabortable(&self) -> bool {
        matches!(&self.facts, Facts::Task(task) if task.is_unabortable())
    }

    /// The id, never reused.
    pub fn id(&self) -> ResourceId {
        self.record().meta().id
    }

    /// The name, whole. Use `Display` of a [`Live`](crate::Live) for a form that is safe to print.
    pub fn name(&self) -> &str {
        &self.record().meta().name
    }

    /// The kind: `task`, `blocking`, `context`, or what was given.
    pub fn kind(&self) -> &str {
        &self.record().meta().kind
    }

    /// How far along it was when it was listed.
    pub fn state(&self) -> State {
        self.snapshot.state
    }

    /// What there is to say of it beside its state: of a [session](crate::sessions) how many hold it, or for how long it has
    /// been idle; of a [supervised](crate::supervision) task its attempt. At this moment, not when it was listed.
    pub fn detail(&self) -> Option<String> {
        match &self.facts {
            Facts::Task(task) => task.aside().detail(),
            Facts::Record(record) => record.detail(),
        }
    }

    /// What a task is at work on, at this moment.
    pub(crate) fn work(&self) -> Option<String> {
        match &self.facts {
            Facts::Task(task) => task.aside().work(),
            Facts::Record(_) => None,
        }
    }

    /// When it was created, as wall-clock time. Reckoned from the monotonic clock, so later
    /// corrections of the system clock do not show. As exact as the [age](Self::age).
    pub fn created_at(&self) -> SystemTime {
        self.record().meta().created.wall()
    }

    /// How old it was when it was listed, as exact as the system's coarse clock: to 4 ms on most Linux systems, to 16 ms
    /// on Windows. With the feature `testing` it follows tokio's clock, which tests can pause and advance.
    pub fn age(&self) -> Duration {
        self.snapshot.age()
    }

    /// The line of code that created it.
    pub fn location(&self) -> &'static Location<'static> {
        self.record().meta().location
    }

    /// The context it belongs to: the one that a task, a context or an owned value is in, or for a
    /// registered resource the one whose task registered it.
    pub fn parent(&self) -> Option<ResourceId> {
        self.record().parent().map(|parent| parent.meta().id)
    }

    /// Names from the outermost context down to this, joined by `/`.
    pub fn path(&self) -> String {
        path(self.record())
    }

    /// Strong handles at the moment of listing: of a context, of a [`Tracked`](crate::Tracked)
    /// value, of a tracked `Arc`. `None` for what has no handles, such as tasks.
    pub fn strong_count(&self) -> Option<usize> {
        self.handles
    }

    /// Weak handles of a context at the moment of listing: each keeps the memory of what is known of the context.
    pub fn weak_count(&self) -> usize {
        self.numbers().weak
    }

    /// How many hooks of a context waited for its close, or ran, at the moment of listing.
    pub fn hooks(&self) -> usize {
        self.numbers().hooks
    }

    /// How many [`Task`](crate::Task) handles were held, at the moment of listing, of tasks of a context that had ended. Each
    /// keeps the output of its task until that is taken.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let server = registry.context("server");
    /// let task = server.spawn(async { vec![0_u8; 1_000] });
    /// task.finished().await;
    /// assert_eq!(registry.live().await.find("server").unwrap().handles_of_ended_tasks(), 1);
    /// drop(task);
    /// # }
    /// ```
    pub fn handles_of_ended_tasks(&self) -> usize {
        self.numbers().kept
    }

    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers.as_deref().copied().unwrap_or_default()
    }
}

/// Names from the outermost ancestor down, joined by `/`.
pub(crate) fn path(record: &dyn Record) -> String {
    joined(record, usize::MAX)
}

/// The path of something in a sentence: cut to the nearest ancestors, because it may be long.
pub(crate) fn short_path(record: &dyn Record) -> String {
    joined(record, NEAREST)
}

/// How many names a short path has.
pub(crate) const NEAREST: usize = 6;

fn joined(record: &dyn Record, most: usize) -> String {
    let mut names = Vec::new();
    let mut next = Some(record);
    while let Some(record) = next {
        if names.len() == most {
            names.push("…");
            break;
        }
        names.push(&*record.meta().name);
        next = record.parent();
    }
    names.reverse();
    names.join("/")
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("state", &self.state())
            .field("age", &self.age())
            .field("location", &format_args!("{}", self.location()))
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let detail = self.detail();
        let fields = 13 + usize::from(detail.is_some());
        let mut out = serializer.serialize_struct("Resource", fields)?;
        out.serialize_field("id", &self.id())?;
        out.serialize_field("name", self.name())?;
        out.serialize_field("kind", self.kind())?;
        out.serialize_field("state", &self.state())?;
        out.serialize_field("created_at", &self.created_at())?;
        out.serialize_field("age_secs", &self.age().as_secs_f64())?;
        out.serialize_field("location", &self.location().to_string())?;
        out.serialize_field("parent", &self.parent())?;
        out.serialize_field("path", &self.path())?;
        out.serialize_field("strong_count", &self.strong_count())?;
        out.serialize_field("weak_count", &self.weak_count())?;
        out.serialize_field("hooks", &self.hooks())?;
        out.serialize_field("handles_of_ended_tasks", &self.handles_of_ended_tasks())?;
        match detail {
            Some(detail) => out.serialize_field("detail", &detail)?,
            None => out.skip_field("detail")?,
        }
        out.end()
    }
}
