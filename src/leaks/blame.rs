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

    /// The leak that a tie comes from, if it comes from one.
    fn leak(&self, tie: &Tie) -> Option<usize> {
        from_thing(tie).filter(|from| self.flagged.contains_key(from))
    }

    /// The leaks that keep this one. One that only belongs somewhere counts as kept there if nothing better
    /// is known, and if there is anything left in there that could.
    fn keepers_among_leaks(&self, at: usize) -> Vec<usize> {
        let is_known = self.is_known(at);
        let lives = |leak: usize| self.survey.things[leak].state() != State::Closed;
        let keeper = |tie: &Tie| {
            let leak = self.leak(tie)?;
            (is_holding(tie) || !is_known && lives(leak)).then_some(leak)
        };
        let mut keepers: Vec<_> = self.ties[&at].iter().filter_map(keeper).collect();
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

    /// Whether something outside of the leaks keeps it.
    fn has_own_reason(&self, at: usize) -> bool {
        if !self.is_known(at) && !self.keepers_among_leaks(at).is_empty() {
            return false;
        }
        let mut ties = self.ties[&at].iter();
        ties.any(|tie| is_holding(tie) && self.leak(tie).is_none())
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

    /// The shortest way from something outside to a thing, from there down. Among equal ones the surest.
    pub(crate) fn chain(&self, culprit: usize) -> Vec<Tie> {
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
            chain.push(tie.clone());
        }
        chain.reverse();
        chain
    }

    /// The shortest way from a thing back to itself; from what keeps it, if that is in a cycle and it is not.
    fn round(&self, culprit: usize) -> Vec<Tie> {
        let mut seen = HashSet::new();
        let mut steps = Vec::new();
        let mut queue = VecDeque::from([(culprit, None)]);
        while let Some((at, below)) = queue.pop_front() {
            let ties = self.ties[&at].iter().filter(|tie| is_holding(tie));
            let mut ties: Vec<_> = ties.collect();
            ties.sort_by_key(|tie| Reverse(tie.strength));
            for tie in ties {
                let this = steps.len();
                steps.push((tie, below));
                match from_thing(tie) {
                    Some(from) if from == culprit => return walk_down(&steps, this),
                    Some(from) if seen.insert(from) => queue.push_back((from, Some(this))),
                    _ => {}
                }
            }
        }
        walk_down(&steps, 0)
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

/// From one of these ties over the one below it, and so on: each knows which that is.
fn walk_down(steps: &[(&Tie, Option<usize>)], from: usize) -> Vec<Tie> {
    let mut next = steps.get(from);
    let mut chain = Vec::new();
    while let Some((tie, below)) = next {
        chain.push((*tie).clone());
        next = below.and_then(|below| steps.get(below));
    }
    chain
}
