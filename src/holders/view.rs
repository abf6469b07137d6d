//! [`Holders`]: the strong handles of one thing, as they were at one moment.

use crate::{
    clock::{self, Stamp},
    id::ResourceId,
    ledger::{
        acquirer::Acquirer,
        caller::{self, Site},
        handle_log::{Acquisition, Entry, HandleLog, Inside},
    },
    name::Printed,
    table::{
        record::{Record, State},
        store::TableRef,
    },
};
use std::{
    backtrace::Backtrace,
    fmt,
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
    tracked: Vec<Holder>,
    recent: Vec<Acquisition>,
}

/// One strong handle: where, when and by which task it was taken. One line of [`Holders`].
#[derive(Clone)]
pub struct Holder {
    taken: Acquisition,
    used: Option<Box<(Stamp, Acquirer)>>,
    inside: Option<Arc<Inside>>,
    backtrace: Option<Arc<Backtrace>>,
    /// The line to name, which is looked up when it is first needed.
    site: OnceLock<Site>,
    behind: Option<Arc<Backtrace>>,
    /// The state of the task that took it; `None` if that has ended.
    state: Option<State>,
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
    pub(crate) fn sum(&self) -> impl fmt::Display + '_ {
        Sum(self)
    }
}

fn entries_of(log: &HandleLog) -> Vec<Entry> {
    let mut entries: Vec<_> = log.held.iter().map(|(_, entry)| entry.clone()).collect();
    entries.sort_by_key(|entry| entry.taken.at);
    entries
}

impl Holder {
    fn of(entry: Entry, table: &TableRef, now: Stamp) -> Self {
        let task = entry.taken.by.as_task();
        Self {
            state: task.and_then(|task| table.state_of(task.id)),
            taken: entry.taken,
            used: entry.used,
            inside: entry.inside,
            backtrace: entry.backtrace,
            site: OnceLock::new(),
            behind: entry.behind,
            now,
        }
    }

    /// The line that took the handle: the one that called `clone` or `upgrade`.
    ///
    /// It may be a line of the standard library, as for `map.get(key).cloned()`. `Display` and reports then name the
    /// program's own line, from the stack, if there is debug information.
    pub fn location(&self) -> &'static Location<'static> {
        self.taken.location
    }

    /// How long ago it was taken; `None` if it was taken at [`Level::Counts`](crate::Level::Counts).
    pub fn age(&self) -> Option<Duration> {
        self.taken.at.map(|at| ago(at, self.now))
    }

    /// How long ago it was last used: [touched](crate::Context::touch), or waited through.
    pub fn last_touch(&self) -> Option<Duration> {
        self.used().map(|(at, _)| ago(*at, self.now))
    }

    /// The id of the task that took it, if it was a task of a context.
    pub fn task(&self) -> Option<ResourceId> {
        self.taken.by.as_task().map(|task| task.id)
    }

    /// The name of that task.
    pub fn task_name(&self) -> Option<&str> {
        self.taken.by.as_task().map(|task| &*task.name)
    }

    /// The state of that task; `None` if it had ended, or if no task took the handle.
    pub fn task_state(&self) -> Option<State> {
        self.state
    }

    /// The container that the handle lies in, as [`held_by`](crate::Context::held_by) declared.
    pub fn inside(&self) -> Option<ResourceId> {
        self.inside.as_ref().map(|inside| inside.who.id)
    }

    /// The stack on which it was taken, at [`Level::Backtraces`](crate::Level::Backtraces), if this handle was sampled.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.backtrace.as_deref()
    }

    /// The line to name: a library's only if the program's own is not known.
    pub(crate) fn site(&self) -> &Site {
        self.site.get_or_init(|| {
            let behind = self.behind.as_deref().and_then(caller::find);
            behind.unwrap_or_else(|| Site::of(self.taken.location))
        })
    }

    pub(crate) fn taken(&self) -> &Acquisition {
        &self.taken
    }

    pub(crate) fn used(&self) -> Option<&(Stamp, Acquirer)> {
        self.used.as_deref()
    }

    pub(crate) fn declared(&self) -> Option<&Inside> {
        self.inside.as_deref()
    }
}

fn ago(then: Stamp, now: Stamp) -> Duration {
    Duration::from_nanos(now.since(then))
}

struct Sum<'a>(&'a Holders);

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holders {
            strong, tracked, ..
        } = self.0;
        write!(f, "strong {strong} = {} tracked", tracked.len())?;
        match strong - tracked.len() {
            0 => Ok(()),
            untracked => write!(f, " + {untracked} untracked"),
        }
    }
}

/// Prints the sum, then a line for each handle.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sum())?;
        for holder in &self.tracked {
            write!(f, "\n  {holder}")?;
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
        self.write(f, Says::ALL)
    }
}

/// What is printed of a handle beside the line that took it.
#[derive(Clone, Copy)]
pub(crate) struct Says {
    pub(crate) by: bool,
    pub(crate) inside: bool,
}

impl Says {
    const ALL: Self = Self {
        by: true,
        inside: true,
    };
}

impl Holder {
    /// Prints the handle, without the parts that the caller prints elsewhere.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, says: Says) -> fmt::Result {
        write!(f, "taken at {}", self.site())?;
        if caller::is_library(&self.site().file) {
            f.write_str(" (a library's line: the line behind it needs debug information)")?;
        }
        if says.by && !matches!(self.taken.by, Acquirer::Unknown) {
            write!(f, " by {}", self.taken.by)?;
        }
        if says.by && self.taken.by.as_task().is_some() {
            match self.state {
                Some(state) => write!(f, " ({state})")?,
                None => f.write_str(" (ended)")?,
            }
        }
        if let Some(age) = self.age() {
            write!(f, ", {} ago", clock::human(age))?;
        }
        if let Some(inside) = self.inside.as_deref().filter(|_| says.inside) {
            write!(f, ", in {inside}")?;
        }
        if let (Some(ago), Some((_, by))) = (self.last_touch(), self.used()) {
            write!(f, ", last used {} ago by {by}", clock::human(ago))?;
        }
        Ok(())
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
