//! [`Ledger`]: the record of the strong handles of one context or tracked value.
//!
//! A ledger allocates nothing until the first handle is recorded. Each recorded handle has an entry, and knows its number;
//! the entry is removed when the handle is dropped, and the last few that were removed are remembered. While the lock is
//! held, only code of this file runs (I9).

use crate::{
    clock::Stamp,
    codebase::Codebase,
    ledger::{
        acquirer::{Acquirer, Who},
        entries::Entries,
        level::Level,
        tracking::{IS_COMPILED_IN, Tracking},
    },
    name::Label,
    sync::{Mutex, lock},
};
use std::{
    backtrace::Backtrace,
    collections::VecDeque,
    fmt, mem,
    panic::Location,
    sync::{Arc, OnceLock},
};

/// How many dropped handles are remembered.
const REMEMBERED: usize = 8;

/// Records the strong handles of one thing, once there is one to record.
#[derive(Default)]
pub(crate) struct Ledger(OnceLock<Box<Mutex<HandleLog>>>);

/// The handles that are recorded now, and the last few that were dropped.
#[derive(Default)]
pub(crate) struct HandleLog {
    held: Entries<Entry>,
    /// The handles that were dropped last, the latest one last.
    gone: VecDeque<Acquisition>,
    /// How many recorded handles have been dropped.
    removed_count: usize,
    /// When the latest handle was taken.
    last: Option<Stamp>,
}

/// Where and when a handle was taken, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Acquisition {
    pub(crate) location: &'static Location<'static>,
    /// Unknown at the level `Counts`.
    pub(crate) at: Option<Stamp>,
    pub(crate) by: Acquirer,
}

/// `taken at src/main.rs:12 by task reader`
impl fmt::Display for Acquisition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.location.file(), self.location.line());
        write!(f, "taken at {file}:{line} by {}", self.by)
    }
}

/// One handle that exists.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) taken: Acquisition,
    /// When it was last used, and by what.
    pub(crate) used: Option<Box<Use>>,
    /// The container that it lies in, as `held_by` declared.
    pub(crate) inside: Option<Arc<Inside>>,
    pub(crate) backtrace: Option<Arc<Backtrace>>,
    /// The stack, if the line that took the handle is a library's.
    pub(crate) behind: Option<Arc<Backtrace>>,
}

/// When a handle was last used, and by what.
#[derive(Clone)]
pub(crate) struct Use {
    pub(crate) at: Stamp,
    pub(crate) by: Acquirer,
    pub(crate) how: How,
}

/// What a use says of where the handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is a variable of the task that used it.
    Owned,
    /// The code that used it said so, or waits through it.
    Touched,
    /// It was used through a reference, to something that others may have as well.
    InPassing,
}

impl Use {
    pub(crate) fn now(by: Acquirer, how: How) -> Self {
        let at = Stamp::now();
        Self { at, by, how }
    }
}

/// The container that a handle lies in.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) who: Who,
    /// The field or key under which the handle lies.
    pub(crate) field: Option<Label>,
}

/// The number of a handle's entry, if the handle is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandleId(u32);

impl HandleId {
    /// The id of a handle that was taken while nothing was recorded.
    pub(crate) const UNTRACKED: Self = Self(u32::MAX);

    #[inline]
    pub(crate) fn is_tracked(self) -> bool {
        IS_COMPILED_IN && self != Self::UNTRACKED
    }
}

impl HandleLog {
    /// The entries of the handles that exist, each with its number, in any order. Numbers rise, until they begin again.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.held.iter()
    }

    /// The last few handles that were dropped, the latest one first.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Acquisition> {
        self.gone.iter().rev()
    }

    /// Moves a time behind that of the latest handle, so that handles of one tick of the clock keep their order.
    fn after_the_last(&mut self, at: Stamp) -> Stamp {
        let at = self.last.map_or(at, |last| at.max(last.next()));
        self.last = Some(at);
        at
    }

    /// The handle whose removal had this number, if it is still remembered.
    pub(crate) fn removed(&self, which: usize) -> Option<&Acquisition> {
        let ago = self.removed_count.wrapping_sub(which);
        let at = self.gone.len().checked_sub(ago)?;
        self.gone.get(at)
    }
}

impl Entry {
    /// Records a use. Returns what is to be dropped.
    fn note_use(&mut self, now: Use) -> (Option<Box<Use>>, Option<Use>) {
        // Whoever took it has it still, as far as is known without this use.
        let is_taker = || now.how == How::InPassing && now.by.is(&self.taken.by);
        match &mut self.used {
            used if is_taker() => (used.take(), None),
            Some(used) => (None, Some(mem::replace(used, now))),
            none => {
                *none = Some(Box::new(now));
                (None, None)
            }
        }
    }
}

impl Ledger {
    /// Records a new handle, if the registry's level asks for it.
    #[inline]
    pub(crate) fn take(
        &self,
        tracking: &Tracking,
        location: &'static Location<'static>,
        by: fn() -> Acquirer,
    ) -> HandleId {
        if tracking.is_off() {
            return HandleId::UNTRACKED;
        }
        self.write(tracking, location, by)
    }

    #[inline(never)]
    fn write(
        &self,
        tracking: &Tracking,
        location: &'static Location<'static>,
        by: fn() -> Acquirer,
    ) -> HandleId {
        let level = tracking.level();
        let is_known = level >= Level::Holders;
        let capture = || Arc::new(Backtrace::force_capture());
        let wants_trace = level >= Level::Backtraces && tracking.is_its_turn();
        let wants_caller =
            is_known && Codebase::is_library(location.file()) && tracking.wants_caller();
        let mut entry = Entry {
            taken: Acquisition {
                location,
                at: is_known.then(Stamp::now),
                by: if is_known { by() } else { Acquirer::Unknown },
            },
            used: None,
            inside: None,
            backtrace: wants_trace.then(capture),
            behind: wants_caller.then(capture),
        };
        let mut log = lock(self.0.get_or_init(Box::default));
        entry.taken.at = entry.taken.at.map(|at| log.after_the_last(at));
        HandleId(log.held.insert(entry))
    }

    /// Removes the entry of a handle, and remembers how it was taken. Returns the number of this removal, for
    /// [`HandleLog::removed`].
    #[inline(never)]
    pub(crate) fn remove(&self, hold: HandleId) -> Option<usize> {
        let mut log = lock(self.0.get()?);
        let entry = log.held.remove(hold.0)?;
        let which = log.removed_count;
        log.removed_count += 1;
        let is_full = log.gone.len() == REMEMBERED;
        let oldest = is_full.then(|| log.gone.pop_front());
        log.gone.push_back(entry.taken);
        // Names and backtraces are freed outside of the lock.
        drop(log);
        drop((oldest, entry.used, entry.inside));
        drop((entry.backtrace, entry.behind));
        Some(which)
    }

    /// Records that a handle was used.
    #[cold]
    pub(crate) fn note_use(&self, hold: HandleId, now: Use) {
        self.change(hold, |entry| entry.note_use(now));
    }

    /// Records the container that a handle lies in, or that it lies in none.
    pub(crate) fn put(&self, hold: HandleId, inside: Option<Inside>) {
        let inside = inside.map(Arc::new);
        self.change(hold, |entry| mem::replace(&mut entry.inside, inside));
    }

    /// Records a new holder of a handle, where the code that took it only passes it on.
    pub(crate) fn pass(&self, hold: HandleId, to: Acquirer) {
        self.change(hold, |entry| mem::replace(&mut entry.taken.by, to));
    }

    /// Changes the entry of a handle. What `change` returns is dropped outside of the lock.
    fn change<R>(&self, hold: HandleId, change: impl FnOnce(&mut Entry) -> R) {
        let Some(log) = self.0.get() else { return };
        let before = lock(log).held.get_mut(hold.0).map(change);
        drop(before);
    }

    /// Forgets everything: no handle will ever be taken again.
    pub(crate) fn clear(&self) {
        let Some(log) = self.0.get() else { return };
        let before = mem::take(&mut *lock(log));
        drop(before);
    }

    /// Reads the log under its lock; `None` if no handle was ever recorded.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&HandleLog) -> R) -> Option<R> {
        self.0.get().map(|log| read(&lock(log)))
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    fn tracking(level: Level) -> Tracking {
        let tracking = Tracking::new();
        tracking.set_level(level);
        tracking
    }

    /// Takes a handle at this line.
    #[track_caller]
    fn take(ledger: &Ledger, tracking: &Tracking) -> (HandleId, u32) {
        let location = Location::caller();
        let hold = ledger.take(tracking, location, || Acquirer::Unknown);
        (hold, location.line())
    }

    fn removed(ledger: &Ledger, which: usize) -> Option<u32> {
        ledger.read(|log| log.removed(which).map(|taken| taken.location.line()))?
    }

    #[test]
    fn a_dropped_handle_is_found_by_its_number_among_the_last_few() {
        let (ledger, tracking) = (Ledger::default(), tracking(Level::Holders));
        // Taken on lines of two kinds.
        let odd: Vec<_> = (0..20).map(|_| take(&ledger, &tracking)).collect();
        let even: Vec<_> = (0..20).map(|_| take(&ledger, &tracking)).collect();
        let lines = [odd[0].1, even[0].1];
        let mut gone = Vec::new();
        for (first, second) in odd.into_iter().zip(even) {
            for (hold, line) in [first, second] {
                gone.push(line);
                assert_eq!(ledger.remove(hold), Some(gone.len() - 1));
                assert_eq!(ledger.remove(hold), None, "it is removed once");
                for (which, line) in gone.iter().enumerate() {
                    let is_remembered = gone.len() - which <= REMEMBERED;
                    assert_eq!(removed(&ledger, which), is_remembered.then_some(*line));
                }
            }
        }
        assert_eq!(removed(&ledger, gone.len()), None);
        let last = ledger.read(|log| {
            let lines = log.gone().map(|taken| taken.location.line());
            lines.collect::<Vec<_>>()
        });
        let [first, second] = lines;
        assert_eq!(last.unwrap(), [second, first].repeat(REMEMBERED / 2));
    }

    #[test]
    fn a_handle_that_was_taken_while_nothing_was_recorded_has_no_entry() {
        let (ledger, tracking) = (Ledger::default(), tracking(Level::Off));
        let (hold, _) = take(&ledger, &tracking);
        assert!(!hold.is_tracked());
        assert!(ledger.read(|_| ()).is_none(), "there is no log");
        tracking.set_level(Level::Counts);
        let (known, _) = take(&ledger, &tracking);
        assert!(known.is_tracked());
        assert_eq!(ledger.remove(hold), None);
        assert_eq!(ledger.read(|log| log.entries().count()), Some(1));
    }

    #[test]
    fn each_level_records_what_it_says() {
        let at = |level| {
            let (ledger, tracking) = (Ledger::default(), tracking(level));
            take(&ledger, &tracking);
            let known = |log: &HandleLog| {
                let (_, entry) = log.held.iter().next().expect("one was taken");
                (entry.taken.at.is_some(), entry.backtrace.is_some())
            };
            ledger.read(known)
        };
        let levels = [Level::Counts, Level::Holders, Level::Backtraces];
        let found = levels.map(at);
        assert_eq!(
            found,
            [(false, false), (true, false), (true, true)].map(Some)
        );
    }
}
