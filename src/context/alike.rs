//! Tasks that are alike, told as one: those of one line, in contexts that were opened on one line.

use crate::{
    clock,
    name::{Printed, Quoted, Shape},
    table::{
        record::Record,
        resource::{NEAREST, Resource},
    },
};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    iter,
    panic::Location,
    sync::LazyLock,
    time::Duration,
};

/// How many groups are printed.
pub(crate) const NAMED: usize = 10;
/// How many groups are kept; what is in none of them is counted.
const KEPT: usize = 64;

/// Tasks by what they have in common.
#[derive(Clone, Default)]
pub(crate) struct Alike {
    groups: HashMap<u64, Group>,
    /// How many there are in all.
    count: usize,
}

#[derive(Clone)]
struct Group {
    paths: Paths,
    what: String,
    site: &'static Location<'static>,
    is_unabortable: bool,
    count: usize,
    youngest: Duration,
    oldest: Duration,
    /// What some of them are at work on: of connections, their requests.
    works: BTreeSet<String>,
}

impl Alike {
    pub(crate) fn of<'a>(tasks: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut alike = Self::default();
        for task in tasks {
            alike.add(task);
        }
        alike
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, task: &Resource) {
        let key = likeness(task);
        self.count += 1;
        if let Some(group) = self.groups.get_mut(&key) {
            group.paths.add(task.record());
            group.ages(1, (task.age(), task.age()));
            group.work(task.work());
        } else if self.groups.len() < KEPT {
            self.groups.insert(key, Group::of(task));
        }
    }

    /// Adds those of another context.
    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        for (key, group) in other.groups {
            if let Some(known) = self.groups.get_mut(&key) {
                known.paths.merge(&group.paths);
                known.ages(group.count, (group.youngest, group.oldest));
                known.work(group.works);
            } else if self.groups.len() < KEPT {
                self.groups.insert(key, group);
            }
        }
    }

    /// The lines that spawned them.
    pub(crate) fn sites(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.groups.values().map(|group| group.site)
    }
}

/// `server/conn-*/reader (50 × task running for 5.0s, spawned at src/main.rs:12), …`
impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by_key(|group| (Reverse((group.count, group.oldest)), group.site));
        let named = &groups[..groups.len().min(NAMED)];
        for (n, group) in named.iter().enumerate() {
            let separator = if n > 0 { ", " } else { "" };
            write!(f, "{separator}{group}")?;
        }
        let told: usize = named.iter().map(|group| group.count).sum();
        match self.count - told {
            0 => Ok(()),
            more => write!(f, ", … {more} more"),
        }
    }
}

impl Group {
    fn of(task: &Resource) -> Self {
        Self {
            paths: Paths::of(task.record()),
            what: format!("{} {}", Printed(task.kind()), task.state()),
            site: task.location(),
            is_unabortable: task.is_unabortable(),
            count: 1,
            youngest: task.age(),
            oldest: task.age(),
            works: task.work().into_iter().collect(),
        }
    }

    /// Keeps one more than are named.
    fn work(&mut self, more: impl IntoIterator<Item = String>) {
        self.works.extend(more);
        while self.works.len() > NAMED + 1 {
            self.works.pop_last();
        }
    }

    fn ages(&mut self, more: usize, (youngest, oldest): (Duration, Duration)) {
        self.count += more;
        self.youngest = self.youngest.min(youngest);
        self.oldest = self.oldest.max(oldest);
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.paths)?;
        if self.count > 1 {
            write!(f, "{} × ", self.count)?;
        }
        let ages = [self.youngest, self.oldest].map(clock::human);
        write!(f, "{} for {}", self.what, ages[0])?;
        if ages[0] != ages[1] {
            write!(f, " to {}", ages[1])?;
        }
        for work in self.works.iter().take(NAMED) {
            write!(f, ", {work}")?;
        }
        if self.works.len() > NAMED {
            f.write_str(", …")?;
        }
        let (file, line) = (self.site.file(), self.site.line());
        write!(f, ", spawned at {file}:{line}")?;
        let how = if self.is_unabortable {
            ", cannot be aborted)"
        } else {
            ")"
        };
        f.write_str(how)
    }
}

/// A task by itself, as it is told in a group.
pub(crate) fn one(task: &Resource) -> String {
    Group::of(task).to_string()
}

/// What alike tasks have in common: their line, what they are, their names but for numbers, and the lines that opened the
/// contexts that they are in.
fn likeness(task: &Resource) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let record = task.record();
    let mut hasher = KEYS.build_hasher();
    (task.location(), task.kind(), task.is_unabortable()).hash(&mut hasher);
    (task.state() as u8).hash(&mut hasher);
    Shape(task.name()).hash(&mut hasher);
    for above in ancestors(record).take(NEAREST - 1) {
        above.meta().location.hash(&mut hasher);
    }
    hasher.finish()
}

fn ancestors(record: &dyn Record) -> impl Iterator<Item = &dyn Record> {
    iter::successors(record.parent(), |record| record.parent())
}

/// The paths of things that are alike, as one: where they differ there is a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The innermost last.
    names: Vec<String>,
    is_cut: bool,
}

impl Paths {
    pub(crate) fn of(record: &dyn Record) -> Self {
        let (names, is_cut) = names(record);
        Self {
            names: names.into_iter().map(str::to_owned).collect(),
            is_cut,
        }
    }

    /// Adds the path of another thing, as deep as the others.
    pub(crate) fn add(&mut self, record: &dyn Record) {
        let (names, is_cut) = names(record);
        self.is_cut |= is_cut;
        self.merge_names(&names);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let names: Vec<_> = other.names.iter().map(String::as_str).collect();
        self.is_cut |= other.is_cut;
        self.merge_names(&names);
    }

    /// From the inside out: where one is deeper than the other, what is above is cut.
    fn merge_names(&mut self, names: &[&str]) {
        if names.len() != self.names.len() {
            let more = self.names.len().saturating_sub(names.len());
            self.names.drain(..more);
            self.is_cut = true;
        }
        for (own, other) in self.names.iter_mut().rev().zip(names.iter().rev()) {
            if own != other {
                *own = common(own, other);
            }
        }
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = if self.is_cut { "…/" } else { "" };
        write!(f, "{}", Quoted(&format!("{cut}{}", self.names.join("/"))))
    }
}

/// The nearest names of a path, the innermost last, and whether there are more.
fn names(record: &dyn Record) -> (Vec<&str>, bool) {
    let all = iter::once(record).chain(ancestors(record));
    let mut names: Vec<_> = all
        .take(NEAREST + 1)
        .map(|record| &*record.meta().name)
        .collect();
    let is_cut = names.len() > NEAREST;
    names.truncate(NEAREST);
    names.reverse();
    (names, is_cut)
}

/// What two names have in common at their beginnings and ends, numbers excepted, and a star in between.
fn common(one: &str, other: &str) -> String {
    let same = iter::zip(one.chars(), other.chars()).take_while(|(a, b)| a == b);
    let begins: usize = same.map(|(a, _)| a.len_utf8()).sum();
    let begins = one[..begins].trim_end_matches(|c: char| c.is_ascii_digit());
    let rest = |name: &str| name[begins.len()..].chars().rev().collect::<Vec<_>>();
    let (one, other) = (rest(one), rest(other));
    let same = iter::zip(&one, &other).take_while(|(a, b)| a == b);
    let ends: Vec<_> = same.map(|(a, _)| *a).collect();
    let ends: String = ends.into_iter().rev().collect();
    let ends = ends.trim_start_matches(|c: char| c.is_ascii_digit() || c == '*');
    format!("{begins}*{ends}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_star_where_they_differ() {
        let cases = [
            (["conn-1", "conn-2"], "conn-*"),
            (["conn-10", "conn-17"], "conn-*"),
            (["conn-10", "conn-20"], "conn-*"),
            (["worker-1-reader", "worker-12-reader"], "worker-*-reader"),
            (["worker-*-reader", "worker-7-reader"], "worker-*-reader"),
            (["conn-*", "conn-3"], "conn-*"),
            (["ada", "bob"], "*"),
            (["aa", "aaa"], "aa*"),
            (["größe-1", "größe-2"], "größe-*"),
            (["1ä", "2ä"], "*ä"),
        ];
        for ([one, other], both) in cases {
            assert_eq!(common(one, other), both);
        }
    }

    #[test]
    fn the_star_stays_however_many_come() {
        let paths = |names: &[&str]| Paths {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            is_cut: false,
        };
        let mut all = paths(&["server", "conn-1", "reader"]);
        for n in 2..20 {
            all.merge(&paths(&["server", &format!("conn-{n}"), "reader"]));
        }
        assert_eq!(all.to_string(), "server/conn-*/reader");
        all.merge(&paths(&["conn-3", "reader"]));
        assert_eq!(all.to_string(), "…/conn-*/reader");
    }
}
