//! The findings of a report as a graph.

use crate::{
    id::ResourceId,
    leaks::{
        finding::{self, Finding, Kept},
        graph::{Graph, Node, Role},
        referrers::{Origin, Outside, Strength},
        snapshot::Subject,
    },
    table::resource::Resource,
};
use std::collections::{HashMap, HashSet};

/// Findings that are drawn, equal ones as one.
const DRAWN: usize = 200;

/// Draws the findings: who keeps whom alive.
pub(crate) fn draw(findings: &[Finding]) -> Graph {
    let mut drawing = Drawing::new(&headline(findings.len()));
    let groups = finding::group(findings);
    let (drawn, left_out) = groups.split_at(groups.len().min(DRAWN));
    // Culprits first: what is drawn once keeps the role it got first.
    let culprits: Vec<_> = drawn.iter().map(|group| drawing.culprits(group)).collect();
    for (group, culprit) in drawn.iter().zip(culprits) {
        drawing.finding(group[0], culprit);
    }
    drawing.graph.leave_out(left_out.iter().map(Vec::len).sum());
    drawing.graph
}

fn headline(leaks: usize) -> String {
    match leaks {
        0 => "no leaks".to_owned(),
        1 => "1 leak".to_owned(),
        leaks => format!("{leaks} leaks"),
    }
}

/// A graph in the making, with what is drawn already.
struct Drawing {
    graph: Graph,
    things: HashMap<ResourceId, usize>,
    /// What lies outside, by its words.
    outside: HashMap<(Role, String), usize>,
    edges: HashSet<(usize, usize)>,
    /// The steps of chains that are drawn.
    steps: HashSet<usize>,
}

impl Drawing {
    fn new(title: &str) -> Self {
        Self {
            graph: Graph::new(title),
            things: HashMap::new(),
            outside: HashMap::new(),
            edges: HashSet::new(),
            steps: HashSet::new(),
        }
    }

    /// One box for equal findings: the first stands for all.
    fn culprits(&mut self, group: &[&Finding]) -> usize {
        let (role, alike) = (Role::Culprit, &group[1..]);
        for other in &group[0].cycle {
            self.thing(role, &other.subject);
        }
        let culprit = self.thing(role, &group[0].subject);
        if alike.is_empty() {
            return culprit;
        }
        self.graph
            .add_fact(culprit, format!("and {} alike", alike.len()));
        for finding in alike {
            self.graph
                .fold(1 + finding.cycle.len(), finding.victims.len());
            let kept = finding.cycle.iter().chain(&finding.victims);
            let subjects = [&finding.subject].into_iter();
            for subject in subjects.chain(kept.map(|kept| &kept.subject)) {
                let id = subject.resource.as_ref().map(Resource::id);
                id.map(|id| *self.things.entry(id).or_insert(culprit));
            }
        }
        culprit
    }

    fn finding(&mut self, finding: &Finding, culprit: usize) {
        // Chains share their beginnings: what is above a step that is drawn is drawn as well.
        let new = finding
            .chain
            .upwards()
            .map_while(|(step, link)| self.steps.insert(step).then_some(link));
        let mut chain: Vec<_> = new.collect();
        chain.reverse();
        for (n, link) in chain.iter().enumerate() {
            let from = match (&link.thing, &link.reference.from) {
                (Some(subject), _) => self.thing(Role::Alive, subject),
                (None, Origin::Outside(Outside { who, note })) => {
                    self.outside(Role::Root, "outside", (who, note))
                }
                (None, Origin::Unknown(what)) => self.outside(Role::Unknown, "handles", (what, "")),
                (None, _) => continue,
            };
            let below = chain.get(n + 1).and_then(|next| next.thing.as_deref());
            let to = below.map_or(culprit, |subject| self.thing(Role::Alive, subject));
            let is_last = n + 1 == chain.len();
            let strength = if is_last {
                Strength::Suspect
            } else {
                Strength::Strong
            };
            self.connect((from, to), &link.reference.brief, strength);
        }
        let mut boxes: HashMap<_, (usize, usize)> = HashMap::new();
        for kept in finding.cycle.iter().chain(&finding.victims) {
            let from = self.things.get(&kept.by).copied().unwrap_or(culprit);
            let subject = &kept.subject;
            let id = subject.resource.as_ref().map(Resource::id);
            let is_drawn = id.is_none_or(|id| self.things.contains_key(&id));
            let alike = (from, &subject.kind, subject.site(), kept.strength);
            // One box for what one thing keeps of what one line made: the first stands for all.
            if let Some((number, others)) = boxes.get_mut(&alike).filter(|_| !is_drawn) {
                *others += 1;
                self.things.extend(id.map(|id| (id, *number)));
                self.graph.fold(0, 1);
            } else {
                boxes.insert(alike, (self.kept(kept, from), 0));
            }
        }
        for (number, others) in boxes.into_values().filter(|(_, others)| *others > 0) {
            let fact = format!("and {others} alike");
            self.graph.add_fact(number, fact);
        }
    }

    fn kept(&mut self, kept: &Kept, from: usize) -> usize {
        let to = self.thing(Role::Victim, &kept.subject);
        let strength = match kept.strength {
            Strength::Weak => Strength::Weak,
            _ => Strength::Strong,
        };
        self.connect((from, to), &kept.brief, strength);
        to
    }

    /// Draws an edge, if there is none yet.
    fn connect(&mut self, edge: (usize, usize), label: &str, strength: Strength) {
        if self.edges.insert(edge) {
            self.graph.connect(edge.0, edge.1, label, strength);
        }
    }

    fn thing(&mut self, role: Role, subject: &Subject) -> usize {
        let id = subject.resource.as_ref().map(Resource::id);
        if let Some(&drawn) = id.and_then(|id| self.things.get(&id)) {
            return drawn;
        }
        let mut lines = vec![short(&subject.state).to_owned()];
        if subject.location.is_some() {
            lines.push(format!("{} {}", subject.made, subject.site()));
        }
        let number = self.graph.add(Node {
            role,
            kind: subject.kind.clone(),
            name: if subject.resource.is_none() && subject.name.is_empty() {
                "several".to_owned()
            } else {
                subject.name.clone()
            },
            lines,
        });
        if let Some(id) = id {
            self.things.insert(id, number);
        }
        number
    }

    fn outside(&mut self, role: Role, kind: &str, (name, note): (&str, &str)) -> usize {
        let graph = &mut self.graph;
        let add = || {
            graph.add(Node {
                role,
                kind: kind.to_owned(),
                name: name.to_owned(),
                lines: Some(note.to_owned())
                    .filter(|note| !note.is_empty())
                    .into_iter()
                    .collect(),
            })
        };
        let known = self.outside.entry((role, format!("{name}, {note}")));
        *known.or_insert_with(add)
    }
}

/// What a state comes to without its reason: `closed 3.2s ago`.
fn short(state: &str) -> &str {
    state.split(" (").next().unwrap_or(state)
}
