//! [`LockLog`]: what is held of one lock and asked for, by which task, and on which line.

use crate::{
    id::ResourceId,
    ledger::{
        acquirer::Acquirer,
        level::Level,
        tracking::{IS_COMPILED_IN, Tracking},
    },
    sync::{Mutex, lock},
};
use std::{collections::BTreeMap, fmt, mem, panic::Location, sync::OnceLock};

/// Records what is held of one lock and asked for. Allocates nothing until there is something to record.
#[derive(Default)]
pub(crate) struct LockLog(OnceLock<Box<Mutex<Entries>>>);

/// Each under a number; later ones have greater numbers.
#[derive(Default)]
struct Entries {
    held: BTreeMap<u64, Entry>,
    asking: BTreeMap<u64, Entry>,
    last: u64,
}

#[derive(Clone)]
struct Entry {
    by: Acquirer,
    location: &'static Location<'static>,
}

/// The number of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u64);

impl Number {
    /// Of what was not recorded.
    pub(crate) const UNTRACKED: Self = Self(0);
}

/// Which of both an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Held,
    Asking,
}

impl Entries {
    fn part(&mut self, part: Part) -> &mut BTreeMap<u64, Entry> {
        match part {
            Part::Held => &mut self.held,
            Part::Asking => &mut self.asking,
        }
    }
}

impl LockLog {
    /// Records that the running code holds the lock, or asks for it, if the registry's level asks for that.
    pub(crate) fn add(
        &self,
        part: Part,
        tracking: &Tracking,
        location: &'static Location<'static>,
        by: fn() -> Acquirer,
    ) -> Number {
        if !IS_COMPILED_IN || tracking.is_off() {
            return Number::UNTRACKED;
        }
        let by = match tracking.level() {
            Level::Off | Level::Counts => Acquirer::Unknown,
            _ => by(),
        };
        let mut entries = lock(self.0.get_or_init(Box::default));
        entries.last += 1;
        let number = entries.last;
        entries.part(part).insert(number, Entry { by, location });
        Number(number)
    }

    /// What is held is passed on to this holder.
    pub(crate) fn pass(&self, number: Number, to: Acquirer) {
        let entries = self.0.get().filter(|_| number != Number::UNTRACKED);
        let before = entries.and_then(|entries| {
            let mut entries = lock(entries);
            let entry = entries.held.get_mut(&number.0)?;
            // Where holders are not recorded, this one is not either.
            let is_recorded = !matches!(entry.by, Acquirer::Unknown);
            is_recorded.then(|| mem::replace(&mut entry.by, to))
        });
        drop(before);
    }

    pub(crate) fn remove(&self, part: Part, number: Number) {
        let entries = self.0.get().filter(|_| number != Number::UNTRACKED);
        let entry = entries.and_then(|entries| lock(entries).part(part).remove(&number.0));
        // A name is freed outside of the lock.
        drop(entry);
    }

    /// Those that hold it, the longest first, at most so many; and how many more there are.
    pub(crate) fn holders(&self, most: usize) -> (Vec<LockHolder>, usize) {
        let Some(entries) = self.0.get() else {
            return (Vec::new(), 0);
        };
        let entries = lock(entries);
        let held: Vec<_> = entries.held.values().take(most).cloned().collect();
        let more = entries.held.len() - held.len();
        drop(entries);
        (held.iter().map(LockHolder::of).collect(), more)
    }

    /// The oldest request, if nothing is held, and unless it is this one: a lock that is free was given to that.
    pub(crate) fn given_to(&self, asking: Number) -> Option<LockHolder> {
        let entries = lock(self.0.get()?);
        let (number, oldest) = entries.asking.first_key_value()?;
        let is_given = entries.held.is_empty() && *number != asking.0;
        is_given.then(|| LockHolder::of(oldest))
    }
}

/// Who holds a tracked lock, or a permit of a semaphore, and which line took it.
///
/// See [`Tracked::lock_holders`](crate::Tracked::lock_holders).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Level, Registry};
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let slots = registry.own("slots", "semaphore", tokio::sync::Semaphore::new(2));
/// let own = slots.clone();
/// let worker = registry.task("worker").spawn(async move {
///     let _permit = own.acquire().await.unwrap();
///     std::future::pending::<()>().await
/// });
/// tokio::task::yield_now().await;
///
/// let holder = &slots.lock_holders()[0];
/// assert_eq!((holder.by(), holder.task()), ("task worker", Some(worker.id())));
/// assert!(holder.at().starts_with(file!()), "{holder}");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LockHolder {
    by: String,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    task: Option<ResourceId>,
    at: String,
}

impl LockHolder {
    fn of(entry: &Entry) -> Self {
        let (file, line) = (entry.location.file(), entry.location.line());
        Self {
            by: entry.by.to_string(),
            task: entry.by.as_task().map(|task| task.id),
            at: format!("{file}:{line}"),
        }
    }

    /// The task, hook or thread, as text: `task worker`.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The id of the task, if it is a task of a context, and the [`Level`] was `Holders` at least.
    pub fn task(&self) -> Option<ResourceId> {
        self.task
    }

    /// The line that asked for the lock: `src/main.rs:12`.
    pub fn at(&self) -> &str {
        &self.at
    }
}

/// `task worker at src/main.rs:12`
impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.by, self.at)
    }
}
