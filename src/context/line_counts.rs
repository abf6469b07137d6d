//! [`LineCounts`]: what happens again and again on a line is told the first time, the tenth, the hundredth and so on (I19).

use crate::{
    name::Shape,
    sync::{Mutex, lock},
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash},
    panic::Location,
    sync::LazyLock,
};

type CallSite = &'static Location<'static>;

/// What is told again and again on one line need not be the same each time: of so many things one keeps count.
const KEPT: usize = 1_024;

/// What may happen again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A spawn or a wrap came too late.
    Refused,
    /// A spawn or a wrap found its context full.
    Full,
    /// A task ended with its runtime.
    Lost,
    /// The result of a task came late, and without a handle.
    LateResult,
    /// A task without a handle failed.
    TaskFailed,
    /// A close had to end tasks by force.
    Forced,
    /// They outlived that.
    Outlived,
    /// A hook failed, or could not run.
    HookFailed,
    /// The destructor of a value failed.
    ValueFailed,
    /// A context was dropped while it was open.
    Dropped,
    /// The runtime of a context has ended.
    RuntimeEnded,
    /// A poll took long.
    LongPoll,
    /// A session was to be attached to by an owner that it does not have.
    #[cfg(feature = "sessions")]
    WrongOwner,
    /// A supervised task failed, and is started again.
    #[cfg(feature = "supervision")]
    Restarted,
    /// Tasks wait for each other.
    #[cfg(feature = "dump")]
    Deadlock,
    /// A server could not accept a connection.
    #[cfg(feature = "tower")]
    AcceptFailed,
}

/// What happened in no registry that is there, or is counted in all of them together.
pub(crate) static PROCESS: LazyLock<LineCounts> = LazyLock::new(LineCounts::default);

/// How often something happened on each line of a program.
#[derive(Default)]
pub(crate) struct LineCounts {
    /// By the hash of what is told.
    counts: Mutex<HashMap<u64, u64>>,
    hashes: RandomState,
}

impl LineCounts {
    /// Counts one more from this line; how often it has happened, if that is to be told.
    pub(crate) fn tell(&self, event: Event, line: CallSite) -> Option<SoFar> {
        let count = self.add((event, line), (), 1);
        is_told_with(1, count).then_some(SoFar(count))
    }

    /// As [`tell`](Self::tell), each text by itself, but for the numbers in it.
    pub(crate) fn tell_text(&self, event: Event, line: CallSite, text: &str) -> Option<SoFar> {
        let count = self.add((event, line), Shape(text), 1);
        is_told_with(1, count).then_some(SoFar(count))
    }

    /// Counts some more that are told together, and says how many that makes.
    pub(crate) fn add(&self, line: (Event, CallSite), what: impl Hash, more: u64) -> u64 {
        let mut key = self.hashes.hash_one((line, what));
        let mut counts = lock(&self.counts);
        // The lines of a program are not that many, but what it says may be.
        if counts.len() >= KEPT && !counts.contains_key(&key) {
            key = self.hashes.hash_one((line, ()));
        }
        let count = counts.entry(key).or_default();
        *count += more;
        *count
    }
}

/// Whether it is told that something happened so many times, when the latest so many of them came together.
pub(crate) fn is_told_with(latest: u64, count: u64) -> bool {
    let digits = |count: u64| count.checked_ilog10();
    digits(count) > digits(count - latest)
}

/// The next count after this one that is told.
pub(crate) fn next_told(count: u64) -> u64 {
    let digits = count.checked_ilog10().map_or(0, |digits| digits + 1);
    10_u64.checked_pow(digits).unwrap_or(u64::MAX)
}

/// `, 100 times so far; reported again at 1,000 times`
pub(crate) struct SoFar(pub(crate) u64);

impl fmt::Display for SoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            return Ok(());
        }
        write!(
            f,
            ", {} so far; reported again at {}",
            Times(self.0),
            Times(next_told(self.0))
        )
    }
}

/// `once`, `3 times`, `1,204 times`
pub(crate) struct Times(pub(crate) u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            return f.write_str("once");
        }
        let digits = self.0.to_string();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        f.write_str(" times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_at_powers_of_ten() {
        let warned: Vec<_> = (1..=1_000)
            .filter(|count| is_told_with(1, *count))
            .collect();
        assert_eq!(warned, [1, 10, 100, 1_000]);
    }

    #[test]
    fn it_is_said_when_the_next_one_comes() {
        let next = [0, 1, 9, 10, 57, 999, 1_000].map(next_told);
        assert_eq!(next, [1, 10, 10, 100, 100, 1_000, 10_000]);
    }

    #[test]
    fn many_at_once_are_told_if_one_of_them_is() {
        let cases = [
            (50, 50, true),
            (50, 100, true),
            (50, 99, false),
            (2, 10, true),
        ];
        for (latest, count, told) in cases {
            assert_eq!(is_told_with(latest, count), told, "{latest} of {count}");
        }
    }

    #[test]
    fn texts_are_counted_each_by_itself_but_for_their_numbers() {
        let (line, counts) = (Location::caller(), LineCounts::default());
        let texts = ["disk 1 full", "disk 22 full", "no route", "disk 3 full"];
        let count = |text| counts.add((Event::Refused, line), Shape(text), 1);
        assert_eq!(texts.map(count), [1, 2, 1, 3]);
        for n in 0..2 * KEPT {
            let name: String = format!("{n:012b}").replace('0', "a").replace('1', "b");
            counts.tell_text(Event::Refused, line, &name);
        }
        assert!(lock(&counts.counts).len() <= KEPT + 1);
    }

    #[test]
    fn times_are_grouped_by_thousands() {
        let cases = [
            (1, "once"),
            (2, "2 times"),
            (999, "999 times"),
            (1_204, "1,204 times"),
        ];
        for (count, said) in cases {
            assert_eq!(Times(count).to_string(), said);
        }
        assert_eq!(Times(1_000_000).to_string(), "1,000,000 times");
    }
}
