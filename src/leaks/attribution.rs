//! Culprits and victims: what is held only by another leak is a victim.
//!
//! Leaks are the nodes of a graph, and an edge goes from each to what it keeps alive. A leak that something
//! outside of the graph keeps is a culprit, and what is reached from there and has no such reason of its own is
//! its victim. What is left then lies in or behind cycles: each cycle that nothing leads to is a culprit.

use crate::leaks::{
    chain::{Chains, Keeps},
    judge::Verdict,
    referrers::{self, Origin, Reference, References},
    snapshot::LeakSnapshot,
};
use crate::table::record::{Class, State};
use std::collections::{BTreeMap, HashSet, VecDeque};

/// A culprit, what it is in a cycle with, and what it alone keeps alive.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) culprit: usize,
    /// The others of a cycle, each with what keeps it in there.
    pub(crate) cycle: Vec<(usize, usize)>,
    /// Nearest first, each with what keeps it.
    pub(crate) victims: Vec<(usize, usize)>,
}

pub(crate) struct Attribution<'a> {
    snapshot: &'a LeakSnapshot,
    flagged: &'a BTreeMap<usize, Verdict>,
    /// Of the leaks, and of everything that keeps them.
    references: References,
    /// What each leak keeps alive among the leaks.
    keeps: Keeps,
}

impl<'a> Attribution<'a> {
    pub(crate) fn new(snapshot: &'a LeakSnapshot, flagged: &'a BTreeMap<usize, Verdict>) -> Self {
        let mut attribution = Self {
            snapshot,
            flagged,
            references: referrers::of_all(snapshot, flagged.keys().copied().collect()),
            keeps: Keeps::default(),
        };
        for &at in flagged.keys() {
            for referrer in attribution.referrers_among_leaks(at) {
                attribution.keeps.add(referrer, at);
            }
        }
        attribution
    }

    /// The leak that a reference comes from, if it comes from one.
    fn leak(&self, reference: &Reference) -> Option<usize> {
        reference
            .thing()
            .filter(|from| self.flagged.contains_key(from))
    }

    /// The leaks that keep this one. One that only belongs somewhere counts as kept there if nothing better
    /// is known, and if there is anything left in there that could.
    fn referrers_among_leaks(&self, at: usize) -> Vec<usize> {
        let is_known = self.is_known(at);
        let lives = |leak: usize| self.snapshot.things[leak].state() != State::Closed;
        let referrer = |reference: &Reference| {
            let leak = self.leak(reference)?;
            (reference.is_holding() || !is_known && lives(leak)).then_some(leak)
        };
        let mut referrers: Vec<_> = self.references[&at].iter().filter_map(referrer).collect();
        referrers.sort_unstable();
        referrers.dedup();
        referrers
    }

    /// Whether a holder of it is known by name: a resource without recorded handles has none.
    fn is_known(&self, at: usize) -> bool {
        let thing = &self.snapshot.things[at];
        thing.class() != Class::Resource || !thing.holders.is_empty()
    }

    /// Whether something outside of the leaks keeps it.
    fn has_own_reason(&self, at: usize) -> bool {
        if !self.is_known(at) && !self.referrers_among_leaks(at).is_empty() {
            return false;
        }
        let mut references = self.references[&at].iter();
        references.any(|reference| reference.is_holding() && self.leak(reference).is_none())
    }

    fn is_ignored(&self, at: usize) -> bool {
        self.flagged[&at] == Verdict::Ignored
    }

    /// Divides the leaks among culprits. What is left out gets what is left: nothing that something else keeps
    /// as well.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let culprits = self.flagged.keys().copied();
        let (ignored, culprits): (Vec<_>, Vec<_>) = culprits
            .filter(|&at| self.has_own_reason(at))
            .partition(|&at| self.is_ignored(at));
        let mut taken: HashSet<_> = culprits.iter().chain(&ignored).copied().collect();
        let mut blocks = self.spread(culprits, &mut taken);
        let mut left_out = taken.clone();
        self.spread(ignored.clone(), &mut left_out);
        // What is left lies in cycles that nothing else leads to, or behind them: these come first.
        let starts = self.flagged.keys().copied();
        for root in self.keeps.reverse_postorder(starts, left_out) {
            if taken.insert(root) {
                let mut found = self.spread(vec![root], &mut taken);
                self.make_cycles(&mut found);
                blocks.extend(found);
            }
        }
        blocks.extend(self.spread(ignored, &mut taken));
        blocks.sort_by_key(|block| block.culprit);
        blocks
    }

    /// Gives each culprit what is nearest to it, breadth first.
    fn spread(&self, culprits: Vec<usize>, taken: &mut HashSet<usize>) -> Vec<Block> {
        let mut blocks: Vec<_> = culprits
            .into_iter()
            .map(|culprit| Block {
                culprit,
                cycle: Vec::new(),
                victims: Vec::new(),
            })
            .collect();
        let mut queue: VecDeque<_> = blocks
            .iter()
            .enumerate()
            .map(|(block, found)| (block, found.culprit))
            .collect();
        while let Some((block, at)) = queue.pop_front() {
            for &kept in self.keeps.of(at) {
                if taken.insert(kept) {
                    blocks[block].victims.push((kept, at));
                    queue.push_back((block, kept));
                }
            }
        }
        blocks
    }

    /// Separates those that lead back to the culprit from those that only hang on it; a context is a better
    /// culprit than its task, and what is left out than anything: nothing else keeps the others.
    fn make_cycles(&self, blocks: &mut [Block]) {
        for block in blocks {
            let members: HashSet<_> = block.victims.iter().map(|(at, _)| *at).collect();
            let mut leads_back = HashSet::from([block.culprit]);
            let mut queue = vec![block.culprit];
            while let Some(at) = queue.pop() {
                for referrer in self.referrers_among_leaks(at) {
                    if members.contains(&referrer) && leads_back.insert(referrer) {
                        queue.push(referrer);
                    }
                }
            }
            let is_context = |at: usize| self.snapshot.things[at].is_context();
            let best = leads_back.iter().copied();
            let culprit = best.min_by_key(|&at| (!self.is_ignored(at), !is_context(at), at));
            let kept_by = |at: usize| self.referrers_among_leaks(at).into_iter();
            let in_cycle = |at: usize| kept_by(at).find(|referrer| leads_back.contains(referrer));
            block.culprit = culprit.unwrap_or(block.culprit);
            let mut cycle: Vec<_> = leads_back
                .iter()
                .filter_map(|&at| Some((at, in_cycle(at)?)))
                .filter(|(at, _)| *at != block.culprit)
                .collect();
            cycle.sort_unstable();
            block.cycle = cycle;
            block.victims.retain(|(at, _)| !leads_back.contains(at));
        }
    }

    /// The chain of each culprit; a chain that goes round in a cycle begins with a context that leaks, if there is one
    /// in it.
    pub(crate) fn chains(&self, culprits: impl Iterator<Item = usize>) -> Chains {
        let is_leak = |at| matches!(self.flagged.get(&at), Some(Verdict::Leak(_)));
        let rank = |at: usize| (!is_leak(at), !self.snapshot.things[at].is_context(), at);
        Chains::new(self.snapshot, &self.references, rank, culprits)
    }

    /// How one leak keeps another.
    pub(crate) fn reference(&self, referrer: usize, kept: usize) -> Option<&Reference> {
        let mut references = self.references.get(&kept)?.iter();
        references.find(|reference| reference.from == Origin::Thing(referrer))
    }
}
