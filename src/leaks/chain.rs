//! Why each culprit is alive: the chain of references from something outside of everything listed down to it.
//!
//! The shortest chains from one outside form a forest, so each thing has one reference above it that all chains
//! through it share. A report keeps that forest once, and a finding knows its place in it: thousands of leaks at the end
//! of a long chain take no more than one leak and that chain.

use crate::leaks::{
    referrers::{Link, Origin, Reference, References, Strength},
    snapshot::{LeakSnapshot, Subject},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    fmt, iter,
    panic::Location,
    sync::Arc,
};

/// From outside down to a thing, or once round the cycle that keeps it.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    steps: Arc<[Step]>,
    last: Option<usize>,
}

/// A reference, and what is above it.
struct Step {
    link: Link,
    above: Option<usize>,
    /// The step down to here that comes from a task, if one does, the nearest.
    task: Option<usize>,
    /// Of all that is above, and of this.
    fingerprint: Fingerprint,
    /// The same with lines.
    lines: Fingerprint,
}

impl Chain {
    /// The reference to the thing itself.
    pub(crate) fn last(&self) -> Option<&Link> {
        self.last_step().map(|step| &step.link)
    }

    /// From the first reference down.
    pub(crate) fn links(&self) -> Vec<&Link> {
        let mut links: Vec<_> = self.upwards().map(|(_, link)| link).collect();
        links.reverse();
        links
    }

    /// From the last reference up. Chains of one report that have a number in common are the same from there up.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = (usize, &Link)> {
        let numbers = iter::successors(self.last, |&at| self.steps[at].above);
        numbers.map(|at| (at, &self.steps[at].link))
    }

    /// The last task on the way down.
    pub(crate) fn nearest_task(&self) -> Option<&Subject> {
        self.steps[self.last_step()?.task?].link.thing.as_deref()
    }

    /// What the fingerprint of a finding begins with.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.last_step()
            .map_or_else(Fingerprint::new, |step| step.fingerprint)
    }

    /// The lines that took the handles, as a number: two chains with the same lines have the same.
    pub(crate) fn lines(&self) -> Fingerprint {
        self.last_step()
            .map_or_else(Fingerprint::new, |step| step.lines)
    }

    fn last_step(&self) -> Option<&Step> {
        self.last.map(|last| &self.steps[last])
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.links()).finish()
    }
}

impl Step {
    fn below(above: Option<(usize, &Step)>, link: Link, this: usize) -> Self {
        let step = above.map(|(_, step)| step);
        let mut fingerprint = step.map_or_else(Fingerprint::new, |step| step.fingerprint);
        fingerprint.link(&link);
        let mut lines = step.map_or_else(Fingerprint::new, |step| step.lines);
        // Not the brief text: the field in it may be the key of an entry.
        match &link.reference.taken {
            Some(site) => lines.add(&site.to_string()),
            None => lines.add(&link.reference.brief),
        }
        let is_task = link.thing.as_ref().is_some_and(|thing| thing.is_task());
        Self {
            above: above.map(|(at, _)| at),
            task: if is_task {
                Some(this)
            } else {
                step.and_then(|step| step.task)
            },
            link,
            fingerprint,
            lines,
        }
    }
}

/// The chains of all culprits of a report.
pub(crate) struct Chains {
    steps: Arc<[Step]>,
    /// By thing: the step that leads to it.
    last: HashMap<usize, usize>,
}

impl Chains {
    /// Of what a cycle keeps and nothing outside, chains begin with the member of lowest rank.
    pub(crate) fn new<R: Ord>(
        snapshot: &LeakSnapshot,
        references: &References,
        rank: impl Fn(usize) -> R,
        culprits: impl Iterator<Item = usize>,
    ) -> Self {
        let distances = Distances::new(references, rank);
        let mut steps = Vec::new();
        let mut last = HashMap::new();
        for culprit in culprits {
            for (at, reference) in distances.new_steps(references, culprit, &last) {
                let above = distances.above(reference).and_then(|from| last.get(&from));
                let above = above.map(|&above| (above, &steps[above]));
                let step = Step::below(above, Link::of(snapshot, reference), steps.len());
                last.insert(at, steps.len());
                steps.push(step);
            }
        }
        Self {
            steps: steps.into(),
            last,
        }
    }

    pub(crate) fn of(&self, culprit: usize) -> Chain {
        Chain {
            steps: Arc::clone(&self.steps),
            last: self.last.get(&culprit).copied(),
        }
    }
}

/// How far each thing is from where its chain begins.
struct Distances {
    steps: HashMap<usize, usize>,
    /// By thing: what it keeps alive.
    keeps: Keeps,
    /// The members of cycles that chains begin with.
    begins: HashSet<usize>,
}

impl Distances {
    fn new<R: Ord>(references: &References, rank: impl Fn(usize) -> R) -> Self {
        let mut distances = Self {
            steps: HashMap::new(),
            keeps: Keeps::default(),
            begins: HashSet::new(),
        };
        let mut held_from_outside = HashSet::new();
        for (&at, references) in references {
            for reference in references.iter().filter(|reference| reference.is_holding()) {
                match reference.thing() {
                    Some(from) => distances.keeps.add(from, at),
                    None => drop(held_from_outside.insert(at)),
                }
            }
        }
        distances.spread(&held_from_outside);
        distances.begins = distances.begins_of_cycles(references, rank);
        distances.spread(&distances.begins.clone());
        distances
    }

    /// Breadth first from these, which are the first step of chains.
    fn spread(&mut self, first: &HashSet<usize>) {
        self.steps.extend(first.iter().map(|&at| (at, 1)));
        let mut queue: VecDeque<_> = first.iter().copied().collect();
        while let Some(at) = queue.pop_front() {
            let further = self.steps[&at] + 1;
            for &kept in self.keeps.of(at) {
                if let Entry::Vacant(entry) = self.steps.entry(kept) {
                    entry.insert(further);
                    queue.push_back(kept);
                }
            }
        }
    }

    /// One member of each cycle that nothing else leads to: what is not reached from outside is reached from there.
    fn begins_of_cycles<R: Ord>(
        &self,
        references: &References,
        rank: impl Fn(usize) -> R,
    ) -> HashSet<usize> {
        let mut reached: HashSet<_> = self.steps.keys().copied().collect();
        let starts = references.keys().copied();
        let mut begins = HashSet::new();
        for root in self.keeps.reverse_postorder(starts, reached.clone()) {
            if reached.contains(&root) {
                continue;
            }
            // Nothing else leads there, so what leads to one of its members is the cycle.
            let holding = |at| {
                references[&at]
                    .iter()
                    .filter(|reference| reference.is_holding())
            };
            let mut cycle = HashSet::new();
            walk(root, &mut cycle, |at| {
                holding(at).filter_map(Reference::thing)
            });
            begins.extend(cycle.into_iter().min_by_key(|&at| rank(at)));
            walk(root, &mut reached, |at| self.keeps.of(at).iter().copied());
        }
        begins
    }

    /// What is above a reference; nothing is above the member of a cycle that chains begin with.
    fn above(&self, reference: &Reference) -> Option<usize> {
        reference.thing().filter(|from| !self.begins.contains(from))
    }

    /// The reference that is nearest to where chains begin. Among equally near ones the surest, and then one
    /// of the line that took most.
    fn nearest<'a>(&self, references: &'a References, at: usize) -> Option<&'a Reference> {
        let references = references[&at]
            .iter()
            .filter(|reference| reference.is_holding());
        // Of many handles the one is to look at that has most like it: those of one line that are never given back.
        let mut alike: HashMap<_, usize> = HashMap::new();
        for reference in references.clone() {
            *alike.entry(&reference.taken).or_default() += 1;
        }
        references.min_by_key(|reference| {
            let steps = reference
                .thing()
                .map_or(Some(&0), |from| self.steps.get(&from));
            let steps = steps.copied().unwrap_or(usize::MAX);
            let is_unsure = reference.strength != Strength::Strong;
            (steps, is_unsure, Reverse(alike[&reference.taken]))
        })
    }

    /// The chain down to a thing, from below what has its step already.
    fn new_steps<'a>(
        &self,
        references: &'a References,
        thing: usize,
        known: &HashMap<usize, usize>,
    ) -> impl Iterator<Item = (usize, &'a Reference)> + use<'a> {
        let mut way = Vec::new();
        let mut next = Some(thing);
        while let Some(at) = next.filter(|at| !known.contains_key(at)) {
            let Some(reference) = self.nearest(references, at) else {
                break;
            };
            way.push((at, reference));
            next = self.above(reference);
        }
        way.into_iter().rev()
    }
}

/// By thing: what it keeps alive.
#[derive(Default)]
pub(crate) struct Keeps(HashMap<usize, Vec<usize>>);

impl Keeps {
    pub(crate) fn add(&mut self, referrer: usize, kept: usize) {
        self.0.entry(referrer).or_default().push(kept);
    }

    pub(crate) fn of(&self, referrer: usize) -> &[usize] {
        self.0.get(&referrer).map_or(&[], Vec::as_slice)
    }

    /// Everything that is reached from these and was not seen before, in reverse postorder of a depth-first walk: the first
    /// of each group that hangs together lies in a cycle that nothing else leads to, if the group has no other beginning
    /// (Kosaraju's algorithm). Without recursion, because chains may be long (I13).
    pub(crate) fn reverse_postorder(
        &self,
        starts: impl Iterator<Item = usize>,
        mut seen: HashSet<usize>,
    ) -> Vec<usize> {
        let mut ended = Vec::new();
        for start in starts {
            if !seen.insert(start) {
                continue;
            }
            let mut stack = vec![(start, 0)];
            while let Some((at, nth)) = stack.pop() {
                let Some(&next) = self.of(at).get(nth) else {
                    ended.push(at);
                    continue;
                };
                stack.push((at, nth + 1));
                if seen.insert(next) {
                    stack.push((next, 0));
                }
            }
        }
        ended.reverse();
        ended
    }
}

/// Marks what is reached from a thing.
fn walk<I: Iterator<Item = usize>>(
    from: usize,
    reached: &mut HashSet<usize>,
    next_of: impl Fn(usize) -> I,
) {
    let mut stack = vec![from];
    while let Some(at) = stack.pop() {
        if reached.insert(at) {
            stack.extend(next_of(at));
        }
    }
}

/// What equal leaks have in common, from run to run: a hash of kinds, files, columns and literal names. Lines are not in it,
/// because they move whenever something above them is edited; a finding adds how far its lines are from each other. Two
/// leaks on different lines of one file may still have the same: reports group by
/// [`Finding::likeness`](crate::leaks::finding::Finding::likeness), which has the lines in it.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(OFFSET)
    }

    /// One more step of a chain.
    pub(crate) fn link(&mut self, link: &Link) {
        match (&link.thing, &link.reference.from) {
            (Some(subject), _) => self.subject(subject),
            (None, Origin::Unknown(_)) => self.add("unknown"),
            (None, Origin::Itself) => self.add("itself"),
            (None, _) => self.add("outside"),
        }
        self.add(&link.reference.mark);
    }

    pub(crate) fn subject(&mut self, subject: &Subject) {
        self.add(&subject.kind);
        self.add(subject.literal.unwrap_or_default());
        if let Some(location) = subject.location {
            self.add(location.file());
            self.add(&location.column().to_string());
        }
    }

    /// How far below another line of its file a line is; of lines in different files nothing is known.
    pub(crate) fn distance(&mut self, from: &Location<'_>, file: &str, line: u32) {
        if from.file() == file {
            self.add(&(i64::from(line) - i64::from(from.line())).to_string());
        }
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// FNV-1a (Fowler, Noll, Vo), because it is the same everywhere and for ever.
    pub(crate) fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
