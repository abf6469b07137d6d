//! Culprits and victims: what is held only by another leak is not to blame.
//!
//! Leaks are the nodes of a graph, and an edge goes from each to what it keeps alive. A leak that something
//! outside of the graph keeps is a culprit, and what is reached from there and has no such reason of its own is
//! its victim. What is left then lies in or behind cycles: each cycle that nothing leads to is a culprit.

use crate::leaks::{
    judge::Verdict,
    keepers::{self, From, Strength, Tie},
    survey::Survey,
};
use crate::table::record::{Class, State};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet, VecDeque, hash_map::Entry},
};

/// A culprit, what it is in a cycle with, and what it alone keeps alive.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) culprit: usize,
    /// The others of a cycle, each with what keeps it in there.
    pub(crate) cycle: Vec<(usize, usize)>,
    /// Nearest first, each with what keeps it.
    pub(crate) victims: Vec<(usize, usize)>,
}

type Ties = HashMap<usize, Vec<Tie>>;

pub(crate) struct Blame<'a> {
    survey: &'a Survey,
    flagged: &'a BTreeMap<usize, Verdict>,
    /// Of the leaks, and of everything that keeps them.
    ties: Ties,
    /// How many steps each of these is from something outside, where it is kept from there.
    steps: HashMap<usize, usize>,
    /// What each leak keeps alive among the leaks.
    keeps: HashMap<usize, Vec<usize>>,
}

impl<'a> Blame<'a> {
    pub(crate) fn new(survey: &'a Survey, flagged: &'a BTreeMap<usize, Verdict>) -> Self {
        let ties = ties(survey, flagged.keys().copied().collect());
        let mut blame = Self {
            survey,
            flagged,
            steps: steps(&ties),
            ties,
            keeps: HashMap::new(),
        };
        for &at in flagged.keys() {
            for keeper in blame.keepers_among_leaks(at) {
                blame.keeps.entry(keeper).or_default().push(at);
            }
        }
        blame
    }

    fn is_leak(&self, from: &From) -> Option<usize> {
        match from {
            From::Thing(at) if self.flagged.contains_key(at) => Some(*at),
            _ => None,
        }
    }

    /// The leaks that keep this one. One that only belongs somewhere counts as kept there if nothing better
    /// is known, and if there is anything left in there that could.
    fn keepers_among_leaks(&self, at: usize) -> Vec<usize> {
        let is_known = self.is_known(at);
        let counts = |tie: &&Tie| tie.strength > Strength::Weak || !is_known && self.lives(tie);
        let ties = self.ties[&at].iter().filter(counts);
        let mut keepers: Vec<_> = ties.filter_map(|tie| self.is_leak(&tie.from)).collect();
        keepers.sort_unstable();
        keepers.dedup();
        keepers
    }

    /// Whether somebody who keeps it is known by name: a resource without handles that are written down has
    /// nobody.
    fn is_known(&self, at: usize) -> bool {
        let thing = &self.survey.things[at];
        thing.class() != Class::Resource || !thing.holders.is_empty()
    }

    fn lives(&self, tie: &Tie) -> bool {
        match tie.from {
            From::Thing(at) => self.survey.things[at].state() != State::Closed,
            _ => false,
        }
    }

    /// Whether something outside of the leaks keeps it.
    fn has_own_reason(&self, at: usize) -> bool {
        if !self.is_known(at) && !self.keepers_among_leaks(at).is_empty() {
            return false;
        }
        let mut ties = self.ties[&at].iter();
        ties.any(|tie| tie.strength > Strength::Weak && self.is_leak(&tie.from).is_none())
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
        for root in self.in_reverse_order_of_end(&left_out) {
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
            for &kept in self.kept_by(at) {
                if taken.insert(kept) {
                    blocks[block].victims.push((kept, at));
                    queue.push_back((block, kept));
                }
            }
        }
        blocks
    }

    fn kept_by(&self, at: usize) -> &[usize] {
        self.keeps.get(&at).map_or(&[], Vec::as_slice)
    }

    /// What is left, so that the first one of each group that hangs together is in a cycle that nothing else
    /// leads to (Kosaraju's order). Without recursion: chains may be long (I13).
    fn in_reverse_order_of_end(&self, taken: &HashSet<usize>) -> Vec<usize> {
        let mut seen = taken.clone();
        let mut ended = Vec::new();
        for &start in self.flagged.keys() {
            if !seen.insert(start) {
                continue;
            }
            let mut stack = vec![(start, 0)];
            while let Some((at, next)) = stack.pop() {
                let Some(&kept) = self.kept_by(at).get(next) else {
                    ended.push(at);
                    continue;
                };
                stack.push((at, next + 1));
                if seen.insert(kept) {
                    stack.push((kept, 0));
                }
            }
        }
        ended.reverse();
        ended
    }

    /// Tells those that lead back to the culprit from those that only hang on it; a context is a better
    /// culprit than its task, and what is left out than anything: nothing else keeps the others.
    fn make_cycles(&self, blocks: &mut [Block]) {
        for block in blocks {
            let members: HashSet<_> = block.victims.iter().map(|(at, _)| *at).collect();
            let mut leads_back = HashSet::from([block.culprit]);
            let mut queue = vec![block.culprit];
            while let Some(at) = queue.pop() {
                for keeper in self.keepers_among_leaks(at) {
                    if members.contains(&keeper) && leads_back.insert(keeper) {
                        queue.push(keeper);
                    }
                }
            }
            let is_context = |at: usize| self.survey.things[at].is_context();
            let best = leads_back.iter().copied();
            let culprit = best.min_by_key(|&at| (!self.is_ignored(at), !is_context(at), at));
            let kept_by = |at: usize| self.keepers_among_leaks(at).into_iter();
            let in_cycle = |at: usize| kept_by(at).find(|keeper| leads_back.contains(keeper));
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

    /// How one leak keeps another.
    pub(crate) fn tie(&self, keeper: usize, kept: usize) -> Option<&Tie> {
        let mut ties = self.ties.get(&kept)?.iter();
        ties.find(|tie| tie.from == From::Thing(keeper))
    }

    /// The shortest way from something outside to a thing, from there down: each step with the tie that
    /// leads to the next. Among equal ones the surest.
    pub(crate) fn chain(&self, culprit: usize) -> Vec<(Option<usize>, Tie)> {
        if !self.steps.contains_key(&culprit) {
            return self.round(culprit);
        }
        let mut chain = Vec::new();
        let mut next = Some(culprit);
        while let Some(at) = next {
            let ties = self.ties[&at].iter().filter(|tie| is_holding(tie));
            let nearest = ties.min_by_key(|tie| {
                let steps = from_thing(tie).map_or(Some(&0), |from| self.steps.get(&from));
                (
                    steps.map_or(usize::MAX, |steps| *steps),
                    Reverse(tie.strength),
                )
            });
            let Some(tie) = nearest else { break };
            next = from_thing(tie);
            chain.push((next, tie.clone()));
        }
        chain.reverse();
        chain
    }

    /// The way from a thing back to itself, or from what is in a cycle above it.
    fn round(&self, culprit: usize) -> Vec<(Option<usize>, Tie)> {
        let mut seen = HashSet::from([culprit]);
        let mut steps: Vec<(usize, Tie, Option<usize>)> = Vec::new();
        let mut queue = VecDeque::from([(culprit, None::<usize>)]);
        while let Some((at, step)) = queue.pop_front() {
            let mut ties: Vec<_> = self.ties[&at]
                .iter()
                .filter(|tie| is_holding(tie))
                .collect();
            ties.sort_by_key(|tie| Reverse(tie.strength));
            for tie in ties {
                steps.push((at, tie.clone(), step));
                let this = steps.len() - 1;
                if let Some(next) = from_thing(tie).filter(|next| seen.insert(*next)) {
                    queue.push_back((next, Some(this)));
                }
            }
        }
        steps
            .first()
            .map_or_else(Vec::new, |_| walk_down(&steps, once_round(&steps, culprit)))
    }
}

fn is_holding(tie: &Tie) -> bool {
    tie.strength > Strength::Weak
}

fn from_thing(tie: &Tie) -> Option<usize> {
    match tie.from {
        From::Thing(at) => Some(at),
        _ => None,
    }
}

/// Why the leaks are alive, and what keeps them, and so on up: each is looked at once, however many it keeps.
fn ties(survey: &Survey, leaks: Vec<usize>) -> Ties {
    let mut ties = Ties::new();
    let mut next = leaks;
    while let Some(at) = next.pop() {
        if let Entry::Vacant(entry) = ties.entry(at) {
            let ties = entry.insert(keepers::of(survey, at));
            next.extend(
                ties.iter()
                    .filter(|tie| is_holding(tie))
                    .filter_map(from_thing),
            );
        }
    }
    ties
}

/// How far each is from something outside, by the shortest way.
fn steps(ties: &Ties) -> HashMap<usize, usize> {
    let mut keeps: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut steps = HashMap::new();
    for (&at, ties) in ties {
        for tie in ties.iter().filter(|tie| is_holding(tie)) {
            match from_thing(tie) {
                Some(from) => keeps.entry(from).or_default().push(at),
                None => drop(steps.insert(at, 1)),
            }
        }
    }
    let mut queue: VecDeque<_> = steps.keys().copied().collect();
    while let Some(at) = queue.pop_front() {
        let further = steps[&at] + 1;
        for &kept in keeps.get(&at).into_iter().flatten() {
            if let Entry::Vacant(entry) = steps.entry(kept) {
                entry.insert(further);
                queue.push_back(kept);
            }
        }
    }
    steps
}

/// The step that comes from the culprit itself.
fn once_round(steps: &[(usize, Tie, Option<usize>)], culprit: usize) -> usize {
    let comes_back = |(_, tie, _): &(usize, Tie, Option<usize>)| tie.from == From::Thing(culprit);
    steps.iter().position(comes_back).unwrap_or(0)
}

fn walk_down(steps: &[(usize, Tie, Option<usize>)], from: usize) -> Vec<(Option<usize>, Tie)> {
    let mut chain = Vec::new();
    let mut next = Some(from);
    while let Some(step) = next {
        let (_, tie, before) = &steps[step];
        chain.push((from_thing(tie), tie.clone()));
        next = *before;
    }
    chain
}
