//! The public view of the ledger: [`Holders`] are the strong handles of one thing, as they were at one moment.

use crate::{
    clock::{self, Stamp},
    codebase::Codebase,
    id::ResourceId,
    ledger::{
        acquirer::Acquirer,
        caller::{self, Behind, Site},
        handle_log::{Acquisition, Entry, HandleLog, How, Inside, Use},
    },
    name::Printed,
    table::{
        record::{Record, State},
        store::TableRef,
    },
};
use std::{
    backtrace::Backtrace,
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fmt, mem,
    panic::Location,
    slice,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Who held a context or a tracked value at one moment.
///
/// Made by [`Context::holders`] and [`Tracked::holders`]. The handles that are recorded are compared with the real number of
/// strong handles. The difference is [`untracked`](Self::untracked): handles that were taken while the registry's
/// [`Level`](crate::Level) was `Off`. While other threads take and drop handles, the difference may be off by one for each
/// handle that is being taken or dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Level, Registry};
///
/// let registry = Registry::new();
/// registry.set_level(Level::Off);
/// let server = registry.context("server"); // taken before tracking began
/// registry.set_level(Level::Holders);
/// let held = server.clone();
///
/// let holders = held.holders();
/// assert_eq!((holders.strong_count(), holders.len(), holders.untracked()), (2, 1, 1));
/// assert!(holders.to_string().starts_with("strong 2 = 1 tracked + 1 untracked"));
/// # }
/// ```
///
/// It keeps nothing alive (I5).
///
/// [`Context::holders`]: crate::Context::holders
/// [`Tracked::holders`]: crate::Tracked::holders
#[derive(Clone, Debug)]
pub struct Holders {
    strong: usize,
    /// Copies have them in common.
    tracked: Arc<[Holder]>,
    recent: Vec<Acquisition>,
}

/// One strong handle: where, when and by which task it was taken. One line of [`Holders`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Level, Registry, State};
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let cache = registry.own("users", "cache", ());
/// let weak = cache.downgrade();
/// registry.task("refresh").spawn(async move {
///     let _cache = weak.upgrade();
///     std::future::pending::<()>().await
/// });
/// tokio::task::yield_now().await;
///
/// let holders = cache.holders();
/// let holder = holders.iter().last().unwrap();
/// assert_eq!((holder.task_name(), holder.task_state()), (Some("refresh"), Some(State::Running)));
/// assert_eq!(holder.location().file(), file!());
/// # }
/// ```
#[derive(Clone)]
pub struct Holder {
    pub(crate) entry: Entry,
    /// What to say of where it was taken, which is looked up when it is first needed.
    origin: OnceLock<Origin>,
    /// The state of the task that took it; `None` if that has ended.
    state: Option<State>,
    /// Whether that task ended by a panic, as far as that is remembered.
    has_panicked: bool,
    /// Whether the container that it was said to lie in is gone.
    is_taken_out: bool,
    now: Stamp,
}

impl Holders {
    /// The holders of the thing with this record.
    pub(crate) fn of(record: &dyn Record, table: &TableRef) -> Self {
        let now = Stamp::now();
        // The number of handles is read under the lock of the log, while no handle can be recorded or removed.
        let seen = record.ledger().and_then(|ledger| {
            ledger.read(|log| {
                (
                    record.strong_count(),
                    entries_of(log),
                    log.gone().cloned().collect(),
                )
            })
        });
        let (strong, entries, recent) =
            seen.unwrap_or_else(|| (record.strong_count(), Vec::new(), <_>::default()));
        Self {
            strong: strong.unwrap_or(0).max(entries.len()),
            tracked: entries
                .into_iter()
                .map(|entry| Holder::of(entry, table, now))
                .collect(),
            recent,
        }
    }

    /// The handles that are recorded, oldest first.
    pub fn iter(&self) -> slice::Iter<'_, Holder> {
        self.tracked.iter()
    }

    /// The handles by the line that took them and the container that they lie in, most first.
    pub(crate) fn by_line(&self) -> Vec<HolderGroup<'_>> {
        let mut groups: Vec<HolderGroup<'_>> = Vec::new();
        let mut known = HashMap::new();
        for holder in self {
            let at = *known.entry(holder.line()).or_insert_with(|| {
                groups.push(HolderGroup(Vec::new()));
                groups.len() - 1
            });
            groups[at].0.push(holder);
        }
        groups.sort_by_key(|group| Reverse(group.0.len()));
        groups
    }

    /// How many handles are recorded.
    pub fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Whether no handle is recorded.
    pub fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }

    /// How many strong handles there are, recorded or not.
    pub fn strong_count(&self) -> usize {
        self.strong
    }

    /// How many strong handles are not recorded.
    pub fn untracked(&self) -> usize {
        self.strong - self.tracked.len()
    }

    /// The lines that took the handles which were dropped last, the latest one first. At most 8.
    pub fn recent(&self) -> impl Iterator<Item = &'static Location<'static>> + '_ {
        self.recent.iter().map(|taken| taken.location)
    }

    pub(crate) fn gone(&self) -> impl Iterator<Item = &Acquisition> {
        self.recent.iter()
    }

    /// `strong 3 = 2 tracked + 1 untracked`
    pub(crate) fn sum(&self) -> String {
        let sum = format!("strong {} = {} tracked", self.strong, self.len());
        match self.untracked() {
            0 => sum,
            untracked => format!("{sum} + {untracked} untracked"),
        }
    }
}

fn entries_of(log: &HandleLog) -> Vec<Entry> {
    let mut entries: Vec<_> = log.entries().collect();
    entries.sort_by_key(|(number, entry)| (entry.taken.at, *number));
    entries
        .into_iter()
        .map(|(_, entry)| entry.clone())
        .collect()
}

impl Holder {
    fn of(entry: Entry, table: &TableRef, now: Stamp) -> Self {
        let task = entry.taken.by.as_task();
        let inside = entry.inside.as_ref();
        Self {
            state: task.and_then(|task| table.state_of(task.id)),
            has_panicked: task.is_some_and(|task| table.tracking.has_panicked(task.id)),
            is_taken_out: inside.is_some_and(|inside| table.has_gone(inside.who.id)),
            entry,
            origin: OnceLock::new(),
            now,
        }
    }

    /// The line that took the handle: the one that called `clone` or `upgrade`.
    ///
    /// It may be a line of the standard library, as for `map.get(key).cloned()`. `Display` and reports then name the
    /// program's own line, from the stack, if there is debug information.
    pub fn location(&self) -> &'static Location<'static> {
        self.entry.taken.location
    }

    /// How long ago it was taken; `None` if it was taken at [`Level::Counts`](crate::Level::Counts).
    pub fn age(&self) -> Option<Duration> {
        self.entry.taken.at.map(|at| ago(at, self.now))
    }

    /// How long ago it was last used: [touched](crate::Context::touch), waited through, or used in any way by the task that
    /// it is a variable of.
    pub fn last_touch(&self) -> Option<Duration> {
        self.last_use().map(|used| ago(used.at, self.now))
    }

    /// The last use that says where it is.
    pub(crate) fn last_use(&self) -> Option<&Use> {
        let used = self.entry.used.as_deref();
        used.filter(|used| used.how != How::InPassing)
    }

    /// The id of the task that took it, if it was a task of a context.
    pub fn task(&self) -> Option<ResourceId> {
        self.entry.taken.by.as_task().map(|task| task.id)
    }

    /// The name of that task.
    pub fn task_name(&self) -> Option<&str> {
        self.entry.taken.by.as_task().map(|task| &*task.name)
    }

    /// The state of that task; `None` if it had ended, or if no task took the handle.
    pub fn task_state(&self) -> Option<State> {
        self.state
    }

    /// The container that the handle lies in, as [`held_by`](crate::Context::held_by) declared; `None` once that is gone.
    pub fn inside(&self) -> Option<ResourceId> {
        self.container().map(|inside| inside.who.id)
    }

    /// The declared container, unless it is gone: what is left of it is not there.
    pub(crate) fn container(&self) -> Option<&Inside> {
        let inside = self.entry.inside.as_deref();
        inside.filter(|_| !self.is_taken_out)
    }

    /// What became of the task that took it.
    pub(crate) fn end_of_task(&self) -> &'static str {
        if self.has_panicked {
            "panicked"
        } else {
            "ended"
        }
    }

    /// The stack on which it was taken, at [`Level::Backtraces`](crate::Level::Backtraces), if this handle was sampled.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.entry.backtrace.as_deref()
    }

    /// The line to name: a library's only if the program's own is not known.
    pub(crate) fn site(&self) -> &Site {
        &self.origin().site
    }

    /// What of a dependency took it, if the stack is known and no line of the program's own is on it.
    pub(crate) fn dependency(&self) -> Option<&str> {
        match &self.origin().behind {
            Some(Behind::Dependency(what)) => Some(what),
            _ => None,
        }
    }

    fn origin(&self) -> &Origin {
        self.origin.get_or_init(|| Origin::of(&self.entry))
    }
}

/// Where a handle was taken, as far as that is known.
#[derive(Clone)]
struct Origin {
    site: Site,
    /// What the stack says, where the location alone does not tell.
    behind: Option<Behind>,
}

impl Origin {
    fn of(entry: &Entry) -> Self {
        let location = entry.taken.location;
        let trace = entry.behind.as_deref().or(entry.backtrace.as_deref());
        let behind = trace.map(caller::behind);
        let is_library = Codebase::is_library(location.file());
        let site = match &behind {
            Some(Behind::Own(site, through)) if is_library || through.is_some() => site.clone(),
            _ => Site::of(location),
        };
        Self { site, behind }
    }

    /// What to add to the line, in brackets.
    fn note(&self) -> Option<String> {
        let is_library = Codebase::is_library(&self.site.file);
        match &self.behind {
            Some(Behind::Own(_, Some(through))) => {
                Some(format!("through the `clone` at {through}"))
            }
            _ if !is_library => None,
            Some(Behind::Dependency(what)) => {
                Some(format!("no line of yours is on the stack: taken by {what}"))
            }
            Some(_) => {
                Some("a library's line: the line behind it needs debug information".to_owned())
            }
            None => Some("a library's line: its stack was not captured".to_owned()),
        }
    }
}

fn ago(then: Stamp, now: Stamp) -> Duration {
    Duration::from_nanos(now.since(then))
}

/// Prints the sum, then a line for each line of code that took handles, with how many there are of it.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sum())?;
        for group in self.by_line() {
            write!(f, "\n  {group}")?;
        }
        match self.untracked() {
            0 => Ok(()),
            untracked => write!(f, "\n  {untracked} taken before tracking began"),
        }
    }
}

/// `taken at src/main.rs:12 by task reader (running), 3.2s ago, in cache.entries, last used 1.2s ago`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(true, true))
    }
}

impl Holder {
    fn line(&self) -> HolderLine<'_> {
        let taken = &self.entry.taken;
        (self.site(), mem::discriminant(&taken.by), self.inside())
    }

    /// The text of the handle, with or without who took it and the container that it lies in.
    pub(crate) fn describe(&self, says_by: bool, says_inside: bool) -> String {
        let (site, by) = (self.site(), &self.entry.taken.by);
        let mut parts = vec![format!("taken at {site}")];
        parts.extend(self.origin().note().map(|note| format!(" ({note})")));
        if says_by && !matches!(by, Acquirer::Unknown) {
            parts.push(format!(" by {by}"));
        }
        if says_by && by.as_task().is_some() {
            let ended = || self.end_of_task().to_owned();
            let state = self.state.map_or_else(ended, |state| state.to_string());
            parts.push(format!(" ({state})"));
        }
        if let Some(age) = self.age() {
            parts.push(format!(", {} ago", clock::human(age)));
        }
        match &self.entry.inside {
            Some(inside) if self.is_taken_out => {
                parts.push(format!(", was in {inside}, which is gone"));
            }
            Some(inside) if says_inside => parts.push(format!(", in {inside}")),
            _ => {}
        }
        if let (Some(ago), Some(used)) = (self.last_touch(), self.last_use()) {
            let (ago, by) = (clock::human(ago), &used.by);
            parts.push(format!(", last used {ago} ago by {by}"));
            if used.how == How::Owned {
                parts.push(", which has it in a variable".to_owned());
            }
        }
        parts.concat()
    }
}

/// What handles of one group have in common: the line, the kind of acquirer, and the container.
type HolderLine<'a> = (&'a Site, mem::Discriminant<Acquirer>, Option<ResourceId>);

/// Handles that were taken on one line and lie in one container. There is at least one.
pub(crate) struct HolderGroup<'a>(pub(crate) Vec<&'a Holder>);

impl HolderGroup<'_> {
    /// `tasks request (ended)`, `9 tasks, the first of them request-1 (3 running)`
    pub(crate) fn acquirers(&self) -> String {
        let first = &self.0[0].entry.taken.by;
        let names: HashSet<_> = self
            .0
            .iter()
            .map(|holder| holder.entry.taken.by.to_string())
            .collect();
        if first.as_task().is_none() {
            return match names.len() {
                1 => first.to_string(),
                others => format!("{first} and {} more", others - 1),
            };
        }
        let tasks: HashSet<_> = self.0.iter().filter_map(|holder| holder.task()).collect();
        let name = first.as_task().map_or("", |task| &task.name);
        let running = self
            .0
            .iter()
            .filter(|holder| holder.state.is_some())
            .count();
        let state = match running {
            0 => "ended".to_owned(),
            all if all == self.0.len() => self.0[0]
                .state
                .map_or_else(String::new, |state| state.to_string()),
            some => format!("{some} not ended"),
        };
        match (tasks.len(), names.len()) {
            (1, _) => format!("task {} ({state})", Printed(name)),
            (_, 1) => format!("tasks {} ({state})", Printed(name)),
            (tasks, _) => format!(
                "{tasks} tasks, the first of them {} ({state})",
                Printed(name)
            ),
        }
    }
}

/// `999 × taken at src/main.rs:80 by tasks request (ended), 3.2s to 1.2s ago`; one alone as it prints itself.
impl fmt::Display for HolderGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0[0], self.0[self.0.len() - 1]);
        if self.0.len() == 1 {
            return first.fmt(f);
        }
        write!(f, "{} × taken at {}", self.0.len(), first.site())?;
        if let Some(note) = first.origin().note() {
            write!(f, " ({note})")?;
        }
        if !matches!(first.entry.taken.by, Acquirer::Unknown) {
            write!(f, " by {}", self.acquirers())?;
        }
        if let (Some(oldest), Some(newest)) = (first.age(), last.age()) {
            let (oldest, newest) = (clock::human(oldest), clock::human(newest));
            if oldest == newest {
                write!(f, ", {oldest} ago")?;
            } else {
                write!(f, ", {oldest} to {newest} ago")?;
            }
        }
        match &first.entry.inside {
            Some(inside) => write!(f, ", in {}", Printed(&inside.who.name)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printed(&self.who.name))?;
        match &self.field {
            Some(field) => write!(f, ".{}", Printed(field)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder")
            .field("location", &format_args!("{}", self.location()))
            .field("task", &self.task())
            .field("age", &self.age())
            .field("last_touch", &self.last_touch())
            .field("inside", &self.inside())
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Holders {
    type Item = &'a Holder;
    type IntoIter = slice::Iter<'a, Holder>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
