//! Leaks that are known and accepted for now.
//!
//! An [`Allow`] says [`what`] it covers, why, and until which [`day`](date). A [`list`] of them may come from
//! a file, of which a [`line`](self::line) is one entry; [`error`] tells what is wrong with it.

mod date;
mod error;
mod line;
mod list;
mod pattern;
mod site;
mod what;

pub use error::{AllowError, AllowListError};
pub use list::AllowList;

pub(crate) use date::Day;

use std::{fmt, str::FromStr};
use what::{Maker, What};

/// One known leak: which findings it covers, why, and until when.
///
/// Without [`until`](Self::until) it has no last day, and without [`because`](Self::because) a report can
/// only say that no reason was given.
///
/// ```
/// use headcount::leaks::{Allow, AllowList};
///
/// let known: AllowList = [
///     Allow::name("conn-*").because("upstream bug, see issue 123").until("2026-12-31"),
///     Allow::site("src/pool.rs:41").because("the pool lives as long as the process"),
/// ]
/// .into_iter()
/// .collect();
/// assert_eq!(known.len(), 2);
/// ```
///
/// What is not known when the program is written, such as a setting, is parsed as a line of an
/// [`AllowList`], and a mistake in it is an error instead of a panic:
///
/// ```
/// use headcount::leaks::Allow;
///
/// let given: Result<Allow, _> = "name conn-* 2026-02-30 upstream bug".parse();
/// assert_eq!(
///     given.unwrap_err().to_string(),
///     "`name conn-* 2026-02-30 upstream bug`: `2026-02-30` is no date: that month has 28 days"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    what: What,
    /// Empty if none was given.
    reason: String,
    /// The last day it holds, if it has one.
    until: Option<Day>,
}

/// What an entry is asked about: one finding of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect<'a> {
    pub(crate) fingerprint: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
}

/// What a list says to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// No entry covers it.
    NotAllowed,
    /// This entry covers it.
    Allowed(&'a Allow),
    /// This entry covered it, and its last day is over.
    Expired(&'a Allow),
}

impl Allow {
    /// The finding with this fingerprint: 16 hexadecimal digits, as a report prints them.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// assert_eq!(Allow::fingerprint("3FA291BC07D1E2A4"), Allow::fingerprint("3fa291bc07d1e2a4"));
    /// ```
    ///
    /// # Panics
    ///
    /// If it is anything else.
    #[track_caller]
    pub fn fingerprint(fingerprint: impl AsRef<str>) -> Self {
        Self::new(fingerprint.as_ref(), What::fingerprint)
    }

    /// Everything of this kind, such as `context` or `pool`. Kinds are compared whole, with their case.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let pools = Allow::kind("pool").because("they live as long as the process");
    /// ```
    ///
    /// # Panics
    ///
    /// If it is empty, or nothing but `*`.
    #[track_caller]
    pub fn kind(kind: impl AsRef<str>) -> Self {
        Self::new(kind.as_ref(), What::kind)
    }

    /// Everything with this name. Each `*` in it stands for any text, or none; case matters.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let idle = Allow::name("conn-*-idle").because("upstream bug").until("2026-12-31");
    /// ```
    ///
    /// # Panics
    ///
    /// If it is empty, or nothing but `*`: that would cover everything.
    #[track_caller]
    pub fn name(pattern: impl AsRef<str>) -> Self {
        Self::new(pattern.as_ref(), What::name)
    }

    /// Everything that was created in this file, or on this line of it.
    ///
    /// The end of the path is enough, from the beginning of a folder or of the file's name on: `net/conn.rs`
    /// covers `src/net/conn.rs`, but not `src/subnet/conn.rs`. `\` and `/` are the same.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let one = Allow::site("net/conn.rs:41").because("upstream bug").until("2026-12-31");
    /// let all = Allow::site(r"net\conn.rs").because("upstream bug").until("2026-12-31");
    /// ```
    ///
    /// # Panics
    ///
    /// If it names no file, has a `*`, or what follows the `:` is no line.
    #[track_caller]
    pub fn site(file: impl AsRef<str>) -> Self {
        Self::new(file.as_ref(), What::site)
    }

    /// Why it is accepted. A report prints it with what it covers.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let pools = Allow::kind("pool").because("they live as long as the process");
    /// ```
    #[must_use]
    pub fn because(mut self, reason: impl AsRef<str>) -> Self {
        reason.as_ref().trim().clone_into(&mut self.reason);
        self
    }

    /// The last day it holds, in UTC, as in `2026-12-31`; or `never`, if it does not end. From the next day
    /// on it allows nothing, and a report says so.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let idle = Allow::name("conn-*").because("upstream bug").until("2026-12-31");
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no such day. [`try_until`](Self::try_until) does not, for dates that come from outside.
    #[track_caller]
    #[must_use]
    pub fn until(self, date: impl AsRef<str>) -> Self {
        or_panic(self.try_until(date))
    }

    /// As [`until`](Self::until), for a date that comes from outside.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let error = Allow::name("conn-*").try_until("2026-13-01").unwrap_err();
    /// assert_eq!(error.to_string(), "`2026-13-01` is no date: there is no month 13");
    /// ```
    ///
    /// # Errors
    ///
    /// [`AllowError`], if there is no such day.
    pub fn try_until(mut self, date: impl AsRef<str>) -> Result<Self, AllowError> {
        self.until = date::parse_until(date.as_ref()).map_err(AllowError::new)?;
        Ok(self)
    }

    #[track_caller]
    fn new(text: &str, make: Maker) -> Self {
        Self {
            what: or_panic(make(text)),
            reason: String::new(),
            until: None,
        }
    }

    /// Which findings, as the file of a list would have it: `kind pool`.
    pub(crate) fn what(&self) -> impl fmt::Display + '_ {
        &self.what
    }

    /// Why.
    pub(crate) fn reason(&self) -> &str {
        if self.reason.is_empty() {
            return "no reason given";
        }
        &self.reason
    }

    /// The last day it holds, if it has one.
    pub(crate) fn expires(&self) -> Option<Day> {
        self.until
    }

    /// Whether the finding is one of those it is about, at whatever date.
    pub(crate) fn covers(&self, suspect: &Suspect<'_>) -> bool {
        self.what.covers(suspect)
    }

    fn holds_on(&self, today: Day) -> bool {
        self.until.is_none_or(|last| today <= last)
    }
}

/// Reads one line of an [`AllowList`].
impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(line: &str) -> Result<Self, AllowError> {
        if line.trim().contains('\n') {
            let problem = "an entry is one line: read several with AllowList::parse".into();
            return Err(AllowError::in_text(line, &problem));
        }
        line::parse(line).map_err(|problem| AllowError::in_text(line, &problem))
    }
}

/// For what the program itself says: a mistake there is found by the first run.
#[track_caller]
fn or_panic<T>(said: Result<T, impl fmt::Display>) -> T {
    match said {
        Ok(value) => value,
        Err(problem) => panic!("{problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        panic,
        sync::{Arc, Mutex},
        thread,
    };

    const SUSPECT: Suspect<'_> = Suspect {
        fingerprint: "3fa291bc07d1e2a4",
        kind: "pool",
        name: "conn-7",
        file: "src/net/conn.rs",
        line: 41,
    };

    /// What it panics with, or nothing.
    fn panics(build: fn() -> Allow) -> String {
        panic::catch_unwind(build).map_or_else(
            |payload| crate::panics::message(&*payload),
            |_| String::new(),
        )
    }

    #[test]
    fn each_way_of_saying_it_covers_the_same_finding() {
        for allow in [
            Allow::fingerprint("3FA291BC07D1E2A4"),
            Allow::kind("pool"),
            Allow::name("conn-*"),
            Allow::site("net/conn.rs:41"),
        ] {
            assert!(allow.covers(&SUSPECT), "{allow:?}");
        }
    }

    #[test]
    fn each_way_looks_at_its_own_part_of_the_finding() {
        for allow in [
            Allow::fingerprint("3fa291bc07d1e2a5"),
            Allow::kind("conn-7"),
            Allow::name("pool"),
            Allow::site("pool"),
        ] {
            assert!(!allow.covers(&SUSPECT), "{allow:?}");
        }
    }

    #[test]
    fn an_entry_holds_up_to_and_including_its_day() {
        let allow = Allow::kind("pool").until("2026-12-31");
        let day = |text| date::parse_until(text).unwrap().unwrap();
        assert!(allow.holds_on(day("2026-12-30")));
        assert!(allow.holds_on(day("2026-12-31")));
        assert!(!allow.holds_on(day("2027-01-01")));
    }

    #[test]
    fn never_takes_a_date_back() {
        let allow = Allow::kind("pool").until("2026-12-31").until("never");
        assert!(allow.expires().is_none());
    }

    #[test]
    fn an_entry_says_what_it_was_given() {
        let allow = Allow::name("conn-*").because(" a bug ").until("2026-12-31");
        assert_eq!(allow.what().to_string(), "name conn-*");
        assert_eq!(allow.reason(), "a bug");
        assert_eq!(allow.expires().unwrap().to_string(), "2026-12-31");
    }

    #[test]
    fn a_missing_reason_is_said_to_be_missing() {
        assert_eq!(Allow::kind("pool").reason(), "no reason given");
        assert_eq!(Allow::kind("pool").because(" ").reason(), "no reason given");
    }

    #[test]
    fn an_entry_is_read_from_one_line() {
        let read: Allow = "kind pool never x\r\n".parse().unwrap();
        assert_eq!(read, Allow::kind("pool").because("x"));
        assert!(
            "kind pool never x\nkind a never y"
                .parse::<Allow>()
                .is_err()
        );
    }

    #[test]
    fn what_covers_everything_or_is_malformed_panics() {
        for build in [
            (|| Allow::name("")) as fn() -> Allow,
            || Allow::name("**"),
            || Allow::kind(""),
            || Allow::kind("*"),
            || Allow::site(""),
            || Allow::site("*"),
            || Allow::fingerprint(""),
            || Allow::fingerprint("*"),
        ] {
            assert!(!panics(build).is_empty());
        }
    }

    #[test]
    fn a_bad_date_panics_and_says_why() {
        assert_eq!(
            panics(|| Allow::kind("pool").until("2026-13-01")),
            "`2026-13-01` is no date: there is no month 13"
        );
    }

    #[test]
    fn a_panic_is_at_the_callers_line() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let before = Arc::new(panic::take_hook());
        panic::set_hook(Box::new({
            let (lines, before, this) = (lines.clone(), before.clone(), thread::current().id());
            move |info| {
                if thread::current().id() != this {
                    return before(info);
                }
                let at = info.location().unwrap();
                lines
                    .lock()
                    .unwrap()
                    .push((at.file().to_owned(), at.line()));
            }
        }));
        let first = line!() + 1;
        panics(|| Allow::kind("pool").until("soon"));
        panics(|| Allow::kind(""));
        panics(|| Allow::name(""));
        panics(|| Allow::site(""));
        panics(|| Allow::fingerprint(""));
        panic::set_hook(Box::new(move |info| before(info)));
        let expected: Vec<_> = (first..first + 5)
            .map(|line| (file!().to_owned(), line))
            .collect();
        assert_eq!(*lines.lock().unwrap(), expected);
    }
}
