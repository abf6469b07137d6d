//! [`Live`]: a listing of what was alive, how it is made, and the questions one asks of it.

use crate::{
    clock::Stamp,
    id::ResourceId,
    slab::{directory::Directory, pins::Pins},
    table::{
        arc_entry::Indirect,
        kept_handles::KeptHandles,
        record::{Class, Record, State},
        resource::{Resource, Snapshot},
        store::{STEP, Table, is_alive},
        task_entry::TaskEntry,
        tree::Tree,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, slice,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

/// What was alive at one moment, in the order of creation.
///
/// Holds facts, not things: a `Live` keeps no value alive and runs no destructor of yours (I5).
/// It contains everything that was live during the whole call that made it, and nothing that had
/// ended before the call began (I4).
///
/// `Display` prints it as a tree. Filters return a smaller `Live`.
///
/// ```
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let _pool = registry.register("pool", "pool");
/// let _conns: Vec<_> = (0..3).map(|n| registry.register(format!("conn-{n}"), "conn")).collect();
///
/// let live = registry.live().await;
/// assert_eq!(live.len(), 4);
/// assert_eq!(live.kind("conn").len(), 3);
/// assert_eq!(live.by_kind()["pool"].len(), 1);
/// assert!(live.older_than(Duration::from_secs(60)).is_empty());
/// let names: Vec<_> = live.iter().map(|r| r.name().to_owned()).collect();
/// assert_eq!(names, ["pool", "conn-0", "conn-1", "conn-2"]);
/// println!("{live}");
/// # }
/// ```
///
/// # Performance
///
/// Listing notes where things are, and does not sort; the first access in order (iteration, filters,
/// printing) does, once.
pub struct Live {
    len: usize,
    /// The number of the latest event before it was made.
    seq: u64,
    /// What was found; `None` if it was sorted from the start.
    found: Option<Listed>,
    /// In the order of creation, once somebody asked for it.
    sorted: OnceLock<Vec<Resource>>,
    /// Handles of tasks that have ended; of a listing of everything.
    pub(crate) kept: KeptHandles,
}

impl Live {
    fn of_sorted(sorted: Vec<Resource>, seq: u64) -> Self {
        Self {
            len: sorted.len(),
            seq,
            found: None,
            sorted: OnceLock::from(sorted),
            kept: KeptHandles::default(),
        }
    }

    fn sorted(&self) -> &[Resource] {
        self.sorted
            .get_or_init(|| self.found.as_ref().map(sort).unwrap_or_default())
    }

    /// In the order of creation.
    pub fn iter(&self) -> LiveIter<'_> {
        LiveIter(self.sorted().iter())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the latest [event](crate::Registry::events) before this listing was made.
    ///
    /// What the events up to this one say about tasks and contexts is in the listing, and maybe more. So it is followed without a
    /// gap by the events with greater numbers, of a subscriber that was there before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let _before = registry.context("before");
    /// let mut events = registry.events();
    /// let _listed = registry.context("listed");
    /// let live = registry.live().await;
    /// let _after = registry.context("after");
    ///
    /// let mut news = Vec::new();
    /// while let Some(Ok(event)) = events.try_next() {
    ///     if event.seq() > live.seq() {
    ///         news.push(event.name().to_owned());
    ///     }
    /// }
    /// assert_eq!((live.len(), news), (2, vec!["after".to_owned()]));
    /// # }
    /// ```
    pub fn seq(&self) -> u64 {
        self.seq
    }

    fn only(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        let kept = self.iter().filter(|resource| keep(resource));
        Self::of_sorted(kept.cloned().collect(), self.seq)
    }

    /// Only the tasks, blocking and local ones included.
    #[must_use]
    pub fn tasks(&self) -> Self {
        self.only(|resource| resource.class() == Class::Task)
    }

    /// Only the contexts.
    #[must_use]
    pub fn contexts(&self) -> Self {
        self.only(|resource| resource.class() == Class::Context)
    }

    /// Only what was registered, owned or tracked.
    #[must_use]
    pub fn resources(&self) -> Self {
        self.only(|resource| resource.class() == Class::Resource)
    }

    /// Only what is of this kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Self {
        self.only(|resource| resource.kind() == kind)
    }

    /// Only what was older than this when it was listed.
    #[must_use]
    pub fn older_than(&self, age: Duration) -> Self {
        self.only(|resource| resource.age() > age)
    }

    /// Grouped by kind, kinds in alphabetical order.
    pub fn by_kind(&self) -> BTreeMap<String, Live> {
        let mut kinds: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
        for resource in self {
            kinds
                .entry(resource.kind().to_owned())
                .or_default()
                .push(resource.clone());
        }
        kinds
            .into_iter()
            .map(|(kind, group)| (kind, Self::of_sorted(group, self.seq)))
            .collect()
    }

    /// The oldest one of this name.
    pub fn find(&self, name: &str) -> Option<&Resource> {
        self.iter().find(|resource| resource.name() == name)
    }

    /// Only what lies in the tree under the context with this id, itself included.
    pub(crate) fn under(&self, root: ResourceId) -> Self {
        let mut known: HashMap<ResourceId, bool> = HashMap::from([(root, true)]);
        self.only(|resource| is_under(resource.record(), &mut known))
    }

    /// Only the tasks, and the contexts that are not closed.
    pub(crate) fn unfinished(&self) -> Self {
        self.only(|resource| {
            resource.class() != Class::Resource && resource.state() != State::Closed
        })
    }

    /// Prints as `Display` does, but at most `siblings` of each group of siblings, then how many
    /// more there are.
    ///
    /// ```
    /// let registry = headcount::Registry::new();
    /// let conns: Vec<_> = (0..5).map(|n| registry.register(format!("conn-{n}"), "conn")).collect();
    /// let printed = registry.live_now().trimmed(2).to_string();
    /// assert!(printed.contains("conn-1"), "{printed}");
    /// assert!(printed.contains("… 3 more"), "{printed}");
    /// ```
    pub fn trimmed(&self, siblings: usize) -> impl fmt::Display + '_ {
        Tree {
            items: self.iter().collect(),
            siblings,
        }
    }
}

/// A scan of the table under way.
///
/// What has been found keeps facts alive, never the things they stand for (I5).
struct Listing {
    tasks: Arc<Directory<TaskEntry>>,
    records: Arc<Directory<Indirect<Weak<dyn Record>>>>,
    arcs: Arc<Directory<Indirect<Arc<dyn Record>>>>,
    cursor: Option<Cursor>,
    found: Listed,
    kept: KeptHandles,
    now: Stamp,
    seq: u64,
}

/// Everything that a listing has found.
struct Listed {
    tasks: Pins<TaskEntry, Snapshot>,
    /// Contexts and values.
    others: Vec<Resource>,
}

enum Cursor {
    Tasks(usize),
    Records(usize),
    Arcs(usize),
}

impl Listing {
    fn of(table: &Table) -> Self {
        let room = table.records.len() + table.arcs.len();
        Self {
            // First of all: what the events up to this one say is in the listing.
            seq: table.events.latest(),
            tasks: table.tasks.directory(),
            records: table.records.directory(),
            arcs: table.arcs.directory(),
            cursor: Some(Cursor::Tasks(0)),
            found: Listed {
                tasks: Pins::of(&table.tasks, table.tasks.len()),
                others: Vec::with_capacity(room),
            },
            kept: KeptHandles::default(),
            now: Stamp::now(),
        }
    }

    /// One bounded step; says whether there is more to do.
    fn step(&mut self) -> bool {
        let (found, kept, now) = (&mut self.found, &mut self.kept, self.now);
        self.cursor = match self.cursor {
            Some(Cursor::Tasks(from)) => {
                let next = self.tasks.scan_with_held(from, STEP, |look, is_listed| {
                    if is_listed {
                        let snapshot = Snapshot::of(&*look, now);
                        found.tasks.keep(look, snapshot);
                    } else {
                        kept.add(&look);
                    }
                });
                Some(next.map_or(Cursor::Records(0), Cursor::Tasks))
            }
            Some(Cursor::Records(from)) => {
                let next = self.records.scan(from, STEP, |look| {
                    if let Some(record) = look.upgrade() {
                        let kept = kept.of(record.meta().id);
                        found.others.push(Resource::of(record, kept, now));
                    }
                });
                Some(next.map_or(Cursor::Arcs(0), Cursor::Records))
            }
            Some(Cursor::Arcs(from)) => {
                let next = self.arcs.scan(from, STEP, |look| {
                    if is_alive(&look) {
                        found.others.push(Resource::of(Arc::clone(&look), 0, now));
                    }
                });
                next.map(Cursor::Arcs)
            }
            None => None,
        };
        self.cursor.is_some()
    }

    fn into_live(self) -> Live {
        Live {
            len: self.found.tasks.len() + self.found.others.len(),
            seq: self.seq,
            found: Some(self.found),
            sorted: OnceLock::new(),
            kept: self.kept,
        }
    }
}

impl Table {
    /// Lists what is live, yielding to the runtime after every few slots.
    pub(crate) async fn live(&self) -> Live {
        let mut listing = Listing::of(self);
        while listing.step() {
            tokio::task::yield_now().await;
        }
        listing.into_live()
    }

    /// Lists what is live without yielding.
    pub(crate) fn live_now(&self) -> Live {
        let mut listing = Listing::of(self);
        while listing.step() {}
        listing.into_live()
    }
}

/// What was found, each by itself, in the order of creation.
fn sort(found: &Listed) -> Vec<Resource> {
    let mut all = Vec::with_capacity(found.tasks.len() + found.others.len());
    all.extend(found.others.iter().cloned());
    let tasks = found.tasks.iter();
    all.extend(tasks.map(|(task, snapshot)| Resource::of_pinned(task, *snapshot)));
    all.sort_unstable_by_key(|resource| resource.record().meta().order());
    all
}

/// Whether a record is the root of `known` or a descendant of it; walks up once per context.
fn is_under(record: &dyn Record, known: &mut HashMap<ResourceId, bool>) -> bool {
    let mut walked = Vec::new();
    let mut next = Some(record);
    let answer = loop {
        let Some(record) = next else { break false };
        let id = record.meta().id;
        if let Some(&answer) = known.get(&id) {
            break answer;
        }
        if record.class() == Class::Context {
            walked.push(id);
        }
        next = record.parent();
    };
    known.extend(walked.into_iter().map(|id| (id, answer)));
    answer
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trimmed(usize::MAX).fmt(f)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Clone for Live {
    fn clone(&self) -> Self {
        Self::of_sorted(self.iter().cloned().collect(), self.seq)
    }
}

/// Goes through a [`Live`] in the order of creation. Made by [`Live::iter`].
///
/// ```
/// let registry = headcount::Registry::new();
/// let _entries = ["first", "second", "third"].map(|name| registry.register(name, "request"));
/// let live = registry.live_now();
/// let names = live.iter().map(|thing| thing.name());
/// assert_eq!(names.rev().collect::<Vec<_>>(), ["third", "second", "first"]);
/// assert_eq!(live.iter().len(), 3);
/// ```
#[derive(Clone)]
pub struct LiveIter<'a>(slice::Iter<'a, Resource>);

impl<'a> Iterator for LiveIter<'a> {
    type Item = &'a Resource;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for LiveIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for LiveIter<'_> {}

impl fmt::Debug for LiveIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> IntoIterator for &'a Live {
    type Item = &'a Resource;
    type IntoIter = LiveIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Live {
    type Item = Resource;
    type IntoIter = std::vec::IntoIter<Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted();
        self.sorted.into_inner().unwrap_or_default().into_iter()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Live {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}
