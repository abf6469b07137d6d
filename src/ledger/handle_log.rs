//! The book of one thing's handles.
//!
//! Nothing is there until the first handle is written down. Each has an entry with a number, which the handle
//! knows; it is taken out when the handle is dropped, and a few that came and went are remembered. Under the
//! lock nothing is run but this file (I9).

use crate::{
    clock::Stamp,
    ledger::{
        acquirer::{Acquirer, Who},
        caller,
        level::Level,
        tracking::{IS_COMPILED_IN, Tracking},
    },
    name::Label,
    sync::{Mutex, lock},
};
use slab::Slab;
use std::{
    backtrace::Backtrace,
    mem,
    panic::Location,
    sync::{Arc, OnceLock},
};

/// How many handles that came and went are remembered.
const REMEMBERED: usize = 8;

#[derive(Default)]
pub(crate) struct Ledger(OnceLock<Box<Mutex<Book>>>);

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) held: Slab<Entry>,
    gone: [Option<Acquisition>; REMEMBERED],
    /// How many are gone.
    crossed_out: usize,
    /// When the last one was taken.
    last: Option<Stamp>,
}

/// Where, when and by whom a handle was taken.
#[derive(Clone, Debug)]
pub(crate) struct Acquisition {
    pub(crate) location: &'static Location<'static>,
    /// Unknown at the level `Counts`.
    pub(crate) at: Option<Stamp>,
    pub(crate) by: Acquirer,
}

/// One handle that is out.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) taken: Acquisition,
    /// When it was last used, and by whom.
    pub(crate) used: Option<Box<(Stamp, Acquirer)>>,
    /// What it lies in, as somebody declared.
    pub(crate) inside: Option<Arc<Inside>>,
    pub(crate) backtrace: Option<Arc<Backtrace>>,
    /// The stack, where the line is a library's.
    pub(crate) behind: Option<Arc<Backtrace>>,
}

/// Another thing that a handle lies in.
#[derive(Clone, Debug)]
pub(crate) struct Inside {
    pub(crate) who: Who,
    /// In which field or under which key.
    pub(crate) field: Option<Label>,
}

/// The number of a handle's entry, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandleId(u32);

impl HandleId {
    /// The handle was taken while nothing was written down.
    pub(crate) const UNTRACKED: Self = Self(u32::MAX);

    #[inline]
    pub(crate) fn is_tracked(self) -> bool {
        IS_COMPILED_IN && self != Self::UNTRACKED
    }
}

impl Book {
    /// Handles that came and went, the last one to go first.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Acquisition> {
        let latest = (0..REMEMBERED).map(|ago| self.crossed_out.wrapping_sub(ago + 1) % REMEMBERED);
        latest.filter_map(|at| self.gone[at].as_ref())
    }

    /// That moment, or the one after that of the last handle: those of one tick of the clock are told in order.
    fn after_the_last(&mut self, at: Stamp) -> Stamp {
        let at = self.last.map_or(at, |last| at.max(last.next()));
        self.last = Some(at);
        at
    }

    /// The one that was crossed out under this number, if that was not long ago.
    pub(crate) fn removed(&self, which: usize) -> Option<&Acquisition> {
        let ago = self.crossed_out.wrapping_sub(which);
        let is_remembered = (1..=REMEMBERED).contains(&ago);
        self.gone[which % REMEMBERED]
            .as_ref()
            .filter(|_| is_remembered)
    }
}

impl Ledger {
    /// Writes down a new handle, if the registry wants it.
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
            is_known && caller::is_library(location.file()) && tracking.is_worth_a_look();
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
        let mut book = lock(self.0.get_or_init(Box::default));
        entry.taken.at = entry.taken.at.map(|at| book.after_the_last(at));
        HandleId(u32::try_from(book.held.insert(entry)).unwrap_or(u32::MAX))
    }

    /// Takes the entry of a handle out, and remembers how it was taken. Returns how many had been crossed out
    /// before it, by which it is [found](Book::went) again.
    #[inline(never)]
    pub(crate) fn remove(&self, hold: HandleId) -> Option<usize> {
        let mut book = lock(self.0.get()?);
        let entry = book.held.try_remove(hold.0 as usize)?;
        let which = book.crossed_out;
        book.crossed_out += 1;
        let oldest = book.gone[which % REMEMBERED].replace(entry.taken);
        drop(book);
        drop((oldest, entry.used, entry.inside));
        drop((entry.backtrace, entry.behind));
        Some(which)
    }

    /// Notes that a handle was used.
    #[cold]
    pub(crate) fn touch(&self, hold: HandleId, by: fn() -> Acquirer) {
        let now = Box::new((Stamp::now(), by()));
        self.change(hold, |entry| entry.used.replace(now));
    }

    /// Notes where a handle lies.
    pub(crate) fn put(&self, hold: HandleId, inside: Inside) {
        let inside = Some(Arc::new(inside));
        self.change(hold, |entry| mem::replace(&mut entry.inside, inside));
    }

    /// Notes who has a handle, where that is not whoever took it.
    pub(crate) fn pass(&self, hold: HandleId, to: Acquirer) {
        self.change(hold, |entry| mem::replace(&mut entry.taken.by, to));
    }

    /// What was there before is dropped outside of the lock.
    fn change<R>(&self, hold: HandleId, change: impl FnOnce(&mut Entry) -> R) {
        let Some(book) = self.0.get() else { return };
        let before = lock(book).held.get_mut(hold.0 as usize).map(change);
        drop(before);
    }

    /// Reads the book, if there is one.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Book) -> R) -> Option<R> {
        self.0.get().map(|book| read(&lock(book)))
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
        ledger.read(|book| book.removed(which).map(|taking| taking.location.line()))?
    }

    #[test]
    fn a_handle_that_went_is_found_by_its_number_among_the_last_few() {
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
                assert_eq!(ledger.remove(hold), None, "it is crossed out once");
                for (which, line) in gone.iter().enumerate() {
                    let is_remembered = gone.len() - which <= REMEMBERED;
                    assert_eq!(removed(&ledger, which), is_remembered.then_some(*line));
                }
            }
        }
        assert_eq!(removed(&ledger, gone.len()), None);
        let last = ledger.read(|book| {
            let lines = book.gone().map(|taking| taking.location.line());
            lines.collect::<Vec<_>>()
        });
        let [first, second] = lines;
        assert_eq!(last.unwrap(), [second, first].repeat(REMEMBERED / 2));
    }

    #[test]
    fn what_was_taken_while_nothing_was_written_down_has_no_entry() {
        let (ledger, tracking) = (Ledger::default(), tracking(Level::Off));
        let (hold, _) = take(&ledger, &tracking);
        assert!(!hold.is_tracked());
        assert!(ledger.read(|_| ()).is_none(), "there is no book");
        tracking.set_level(Level::Counts);
        let (known, _) = take(&ledger, &tracking);
        assert!(known.is_tracked());
        assert_eq!(ledger.remove(hold), None);
        assert_eq!(ledger.read(|book| book.held.len()), Some(1));
    }

    #[test]
    fn each_level_writes_down_what_it_says() {
        let at = |level| {
            let (ledger, tracking) = (Ledger::default(), tracking(level));
            take(&ledger, &tracking);
            let known = |book: &Book| {
                let (_, entry) = book.held.iter().next().expect("one was taken");
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
