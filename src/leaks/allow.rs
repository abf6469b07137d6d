//! Leaks that are known and accepted for now.

use crate::{clock, name::Quoted};
use std::{
    borrow::Cow,
    iter,
    panic::Location,
    time::{Duration, SystemTime},
};

/// A known leak: which findings it covers, why they are accepted, and until when.
///
/// Every text makes a valid entry. A report names the entries that cover nothing, so that a typing error does not go
/// unnoticed. No entry covers everything.
///
/// ```
/// use headcount::leaks::{Allow, LeakPolicy};
/// use std::time::{Duration, SystemTime};
///
/// let next_month = SystemTime::now() + Duration::from_secs(30 * 24 * 3_600);
/// let policy = LeakPolicy::nothing_left().allow([
///     Allow::name_prefix("conn-").because("upstream bug, see issue 123").until(next_month),
///     Allow::site("src/pool.rs:41").because("the pool lives as long as the process"),
/// ]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    part: Part,
    text: String,
    is_prefix: bool,
    /// Empty if none was given.
    reason: String,
    until: Option<SystemTime>,
    /// How many findings it accepts.
    most: Option<usize>,
}

/// The part of a finding that an entry is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Fingerprint,
    Kind,
    Name,
    Site,
}

/// The parts of one finding of a report that an entry may be compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect<'a> {
    pub(crate) fingerprint: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
}

impl<'a> Suspect<'a> {
    /// A thing that no finding is about yet.
    pub(crate) fn new(kind: &'a str, name: &'a str, location: &'a Location<'_>) -> Self {
        Self {
            fingerprint: "",
            kind,
            name,
            file: location.file(),
            line: location.line(),
        }
    }
}

impl Allow {
    /// Covers the findings with this [fingerprint](crate::leaks::Finding::fingerprint), as a report prints it. Upper and
    /// lower case are the same.
    ///
    /// A fingerprint is made of what a leak has in common with itself in another run, or after other code was edited:
    ///
    /// * the kind of leak; the kind of the thing, and the file and the column that made it; the same of what holds it, up to
    ///   what is outside, and the files and columns that took the handles;
    /// * *names that are literals*, of things and of the tasks and contexts that took handles. The name of an unnamed task is
    ///   one as well: the path of its function. A name that is made at run time (`format!("conn-{n}")`) is not in it, and the
    ///   field or key of [`held_by`](crate::Context::held_by) is not either;
    /// * *distances*: how many lines below the one that made the thing the others are that took the handle and began the close,
    ///   where they are in the same file. They move together when something above them is edited.
    ///
    /// An edit between these lines changes the fingerprint: the leak is reported again, and the entry is named among those that
    /// cover nothing. Two leaks that are alike in all of this, such as two registrations of one kind in one file whose names are
    /// made at run time, have the same: give them different kinds, or use [`site`](Self::site) with a line.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let one = Allow::fingerprint("3fa291bc07d1e2a4").because("upstream bug, see issue 123");
    /// ```
    #[must_use]
    pub fn fingerprint(fingerprint: impl AsRef<str>) -> Self {
        let digits = fingerprint.as_ref().to_ascii_lowercase();
        Self::new(Part::Fingerprint, &digits, false)
    }

    /// Covers everything of this kind, such as `context` or `pool`. Case matters.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let pools = Allow::kind("pool").because("they live as long as the process");
    /// ```
    #[must_use]
    pub fn kind(kind: impl AsRef<str>) -> Self {
        Self::new(Part::Kind, kind.as_ref(), false)
    }

    /// Covers everything whose kind begins with this text. An empty text covers nothing.
    #[must_use]
    pub fn kind_prefix(prefix: impl AsRef<str>) -> Self {
        Self::new(Part::Kind, prefix.as_ref(), true)
    }

    /// Covers everything with this name. Case matters.
    #[must_use]
    pub fn name(name: impl AsRef<str>) -> Self {
        Self::new(Part::Name, name.as_ref(), false)
    }

    /// Covers everything whose name begins with this text. An empty text covers nothing.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let idle = Allow::name_prefix("conn-").because("upstream bug");
    /// ```
    #[must_use]
    pub fn name_prefix(prefix: impl AsRef<str>) -> Self {
        Self::new(Part::Name, prefix.as_ref(), true)
    }

    /// Covers everything that was created in this file, or on this line of it.
    ///
    /// The end of the path is enough, from the beginning of a folder or of the file's name on: `net/conn.rs`
    /// covers `src/net/conn.rs`, but not `src/subnet/conn.rs`. `\` and `/` are the same.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// let line = Allow::site("net/conn.rs:41").because("upstream bug");
    /// let file = Allow::site(r"net\conn.rs").because("upstream bug");
    /// ```
    #[must_use]
    pub fn site(site: impl AsRef<str>) -> Self {
        Self::new(Part::Site, &with_slashes(site.as_ref()), false)
    }

    /// Covers everything that was created where the path begins with this text: `src/net/` is all below that folder.
    /// An empty text covers nothing.
    #[must_use]
    pub fn site_prefix(prefix: impl AsRef<str>) -> Self {
        Self::new(Part::Site, &with_slashes(prefix.as_ref()), true)
    }

    /// Says why it is accepted. A report prints it with what it covers.
    #[must_use]
    pub fn because(mut self, reason: impl AsRef<str>) -> Self {
        reason.as_ref().trim().clone_into(&mut self.reason);
        self
    }

    /// Ends it at this moment of the system's clock: from then on it allows nothing, and a report says so. Without this
    /// call it has no end.
    ///
    /// ```
    /// use headcount::leaks::Allow;
    /// use std::time::{Duration, SystemTime};
    /// let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3_600);
    /// let idle = Allow::name_prefix("conn-").because("upstream bug").until(tomorrow);
    /// ```
    #[must_use]
    pub fn until(mut self, end: impl Into<SystemTime>) -> Self {
        self.until = Some(end.into());
        self
    }

    /// Accepts so many findings at most, such as the connections that a pool keeps. If it covers more than that in one report, it
    /// accepts none of them, because nothing tells which of them are too many. Zero accepts nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::{Allow, LeakPolicy}};
    /// let registry = Registry::new();
    /// let two = LeakPolicy::nothing_left().allow(Allow::kind("conn").at_most(2).because("the pool keeps two"));
    /// let kept = [1, 2].map(|n| registry.register(format!("conn {n}"), "conn"));
    /// assert!(registry.leaks(&two).await.is_clean());
    ///
    /// let third = registry.register("conn 3", "conn");
    /// assert_eq!(registry.leaks(&two).await.findings().len(), 3);
    /// # drop((kept, third));
    /// # }
    /// ```
    #[must_use]
    pub fn at_most(mut self, findings: usize) -> Self {
        self.most = Some(findings);
        self
    }

    fn new(part: Part, text: &str, is_prefix: bool) -> Self {
        Self {
            part,
            text: text.to_owned(),
            is_prefix,
            reason: String::new(),
            until: None,
            most: None,
        }
    }

    /// Whether it accepts only so many.
    pub(crate) fn has_limit(&self) -> bool {
        self.most.is_some()
    }

    /// Whether it accepts so many findings.
    pub(crate) fn accepts(&self, findings: usize) -> bool {
        self.most.is_none_or(|most| findings <= most)
    }

    /// Whether the finding is one of those it is about, also if it has ended.
    pub(crate) fn covers(&self, suspect: &Suspect<'_>) -> bool {
        match self.part {
            Part::Fingerprint => self.covers_text(suspect.fingerprint),
            Part::Kind => self.covers_text(suspect.kind),
            Part::Name => self.covers_text(suspect.name),
            Part::Site if self.is_prefix => self.covers_text(&with_slashes(suspect.file)),
            Part::Site => self.covers_site(&with_slashes(suspect.file), suspect.line),
        }
    }

    fn covers_text(&self, text: &str) -> bool {
        if self.is_prefix {
            return !self.text.is_empty() && text.starts_with(&self.text);
        }
        text == self.text
    }

    fn covers_site(&self, file: &str, line: u32) -> bool {
        let on_line = || {
            self.text
                .rsplit_once(':')
                .filter(|(_, at)| *at == line.to_string())
        };
        ends_with_path(file, &self.text)
            || on_line().is_some_and(|(end, _)| ends_with_path(file, end))
    }

    pub(crate) fn holds_at(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|end| now < end)
    }

    /// The end, for comparing entries that have one.
    pub(crate) fn end(&self) -> Option<SystemTime> {
        self.until
    }

    /// Which findings, in the words of the calls: `name conn-*, at most 2`.
    pub(crate) fn what(&self) -> String {
        let part = match self.part {
            Part::Fingerprint => "fingerprint",
            Part::Kind => "kind",
            Part::Name => "name",
            Part::Site => "site",
        };
        let rest = if self.is_prefix { "*" } else { "" };
        let most = self.most.map(|most| format!(", at most {most}"));
        let most = most.unwrap_or_default();
        format!("{part} {}{rest}{most}", Quoted(&self.text))
    }

    /// Which findings, until when, and why: `kind pool, for another 12d 3h: its owner moves this winter`.
    pub(crate) fn terms(&self, now: SystemTime) -> String {
        let time = match self.until.map(|end| end.duration_since(now)) {
            None => String::new(),
            Some(Ok(left)) if !left.is_zero() => format!(", for another {}", clock::human(left)),
            Some(over) => {
                let ago = over.map_or_else(|over| over.duration(), |_| Duration::ZERO);
                format!(", expired {} ago", clock::human(ago))
            }
        };
        let what = self.what();
        if self.reason.is_empty() {
            return format!("{what}{time}: no reason given");
        }
        format!("{what}{time}: {}", Quoted(&self.reason))
    }
}

/// One entry is a list of one.
impl IntoIterator for Allow {
    type Item = Self;
    type IntoIter = iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        iter::once(self)
    }
}

fn with_slashes(path: &str) -> Cow<'_, str> {
    if path.contains('\\') {
        return path.replace('\\', "/").into();
    }
    path.into()
}

/// Whether a path ends with another, between two of its components. Shells and editors write `./`, the compiler does not.
fn ends_with_path(path: &str, end: &str) -> bool {
    let end = end.strip_prefix("./").unwrap_or(end);
    let before = path.strip_suffix(end).filter(|_| !end.is_empty());
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUSPECT: Suspect<'_> = Suspect {
        fingerprint: "3fa291bc07d1e2a4",
        kind: "pool",
        name: "conn-7",
        file: "src/net/conn.rs",
        line: 41,
    };

    fn covers(site: &str, file: &str, line: u32) -> bool {
        let suspect = Suspect {
            file,
            line,
            ..SUSPECT
        };
        Allow::site(site).covers(&suspect)
    }

    #[test]
    fn each_way_of_saying_it_covers_the_same_finding() {
        for allow in [
            Allow::fingerprint("3FA291BC07D1E2A4"),
            Allow::kind("pool"),
            Allow::kind_prefix("po"),
            Allow::name("conn-7"),
            Allow::name_prefix("conn-"),
            Allow::site("net/conn.rs:41"),
            Allow::site_prefix("src/net/"),
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
    fn a_kind_is_compared_whole_and_with_its_case() {
        for other in ["", "Pool", "pools", "poo", "a pool", "p*", "*"] {
            assert!(!Allow::kind(other).covers(&SUSPECT), "{other}");
        }
    }

    #[test]
    fn a_prefix_is_a_beginning_and_nothing_else() {
        assert!(Allow::name_prefix("conn-7").covers(&SUSPECT));
        for other in ["onn", "Conn", "conn-77", "conn*", "*"] {
            assert!(!Allow::name_prefix(other).covers(&SUSPECT), "{other}");
        }
        assert!(!Allow::site_prefix("net/").covers(&SUSPECT));
    }

    #[test]
    fn no_entry_covers_everything() {
        for allow in [
            Allow::fingerprint(""),
            Allow::kind(""),
            Allow::kind_prefix(""),
            Allow::name(""),
            Allow::name_prefix(""),
            Allow::site(""),
            Allow::site("./"),
            Allow::site("/"),
            Allow::site_prefix(""),
        ] {
            assert!(!allow.covers(&SUSPECT), "{allow:?}");
        }
    }

    #[test]
    fn the_end_of_a_path_is_enough() {
        for site in [
            "conn.rs",
            "net/conn.rs",
            "src/net/conn.rs",
            "./src/net/conn.rs",
        ] {
            assert!(covers(site, "src/net/conn.rs", 41), "{site}");
        }
    }

    #[test]
    fn a_site_ends_between_folders() {
        for site in ["onn.rs", "et/conn.rs", "rs", "t/conn.rs", "net", "net/"] {
            assert!(!covers(site, "src/net/conn.rs", 41), "{site}");
        }
    }

    #[test]
    fn more_than_the_whole_path_is_another_file() {
        assert!(!covers("app/src/net/conn.rs", "src/net/conn.rs", 41));
        assert!(!covers("/src/net/conn.rs", "src/net/conn.rs", 41));
    }

    #[test]
    fn an_absolute_path_is_the_whole_path() {
        assert!(covers("/net/conn.rs", "/net/conn.rs", 41));
        assert!(!covers("/net/conn.rs", "/app/net/conn.rs", 41));
    }

    #[test]
    fn separators_of_all_systems_are_the_same() {
        assert!(covers(r"net\conn.rs:41", "src/net/conn.rs", 41));
        assert!(covers("net/conn.rs", r"C:\app\net\conn.rs", 41));
        assert!(covers(r"C:\app\net\conn.rs:41", r"C:\app\net\conn.rs", 41));
        assert!(covers(r".\net\conn.rs", r"net\conn.rs", 41));
    }

    #[test]
    fn a_line_is_that_line_alone() {
        assert!(covers("conn.rs:41", "src/net/conn.rs", 41));
        for site in [
            "conn.rs:4",
            "conn.rs:411",
            "conn.rs:",
            "conn.rs:0",
            "conn.rs:+41",
            "conn.rs:41:9",
            ":41",
            "41",
        ] {
            assert!(!covers(site, "src/net/conn.rs", 41), "{site}");
        }
    }

    #[test]
    fn case_matters_in_a_path() {
        assert!(!covers("Conn.rs", "src/net/conn.rs", 41));
    }

    #[test]
    fn an_entry_holds_up_to_its_end() {
        let (end, tick) = (SystemTime::now(), Duration::from_secs(1));
        let allow = Allow::kind("pool").until(end);
        assert!(allow.holds_at(end - tick));
        assert!(!allow.holds_at(end));
        assert!(!allow.holds_at(end + tick));
        assert!(Allow::kind("pool").holds_at(end));
    }

    #[test]
    fn an_entry_prints_what_it_was_given() {
        let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3_600));
        let allow = Allow::name_prefix("conn-").because(" a bug ");
        assert_eq!(allow.terms(now), "name conn-*: a bug");
        let allow = allow.until(now);
        assert_eq!(
            allow.terms(now - day),
            "name conn-*, for another 1d 0h: a bug"
        );
        assert_eq!(
            allow.terms(now + day),
            "name conn-*, expired 1d 0h ago: a bug"
        );
        assert_eq!(allow.terms(now), "name conn-*, expired 0ms ago: a bug");
    }

    #[test]
    fn a_missing_reason_is_said_to_be_missing() {
        let now = SystemTime::now();
        for allow in [Allow::kind("pool"), Allow::kind("pool").because(" ")] {
            assert_eq!(allow.terms(now), "kind pool: no reason given");
        }
    }

    #[test]
    fn it_prints_on_one_line_whatever_it_is() {
        let name = format!("a\n\u{1b}[31m{}", "x".repeat(1 << 20));
        let printed = Allow::name(name).what();
        assert!(printed.starts_with("name a\\n\\u{1b}[31mx"));
        assert!(printed.len() < 1_100 && !printed.contains(char::is_control));
    }
}
