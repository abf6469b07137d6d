//! Findings about counts that grow.

use crate::leaks::{
    counts,
    finding::Finding,
    growth::{Counted, GrowthEntry},
    held,
    judge::LeakKind,
    policy::LeakPolicy,
    snapshot::{LeakSnapshot, Subject},
};
use std::collections::{BTreeMap, HashSet};

/// The rises that no finding lists, and notes of those that are listed: a finding says more of a thing than that there are
/// more of its kind.
pub(crate) fn find(
    snapshot: &LeakSnapshot,
    policy: &LeakPolicy,
    findings: &[Finding],
) -> (Vec<Finding>, Vec<String>) {
    if policy.rises.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let makes = makes_of_rises(snapshot, policy);
    let listed = Listed::by(findings);
    let (known, new): (Vec<_>, Vec<_>) = policy.rises.iter().partition(|rise| listed.has(rise));
    let notes = known
        .iter()
        .map(|rise| format!("reported below, and growing: {rise}"));
    let found = new.iter().map(|rise| {
        let mut subject =
            Subject::unlisted(rise.name(), format!("{:.1} more per sample", rise.rate()));
        let mut facts = vec![("counts", rise.to_string())];
        let all = makes.get(&rise.counted).map_or(&[][..], Vec::as_slice);
        if let Some(&at) = all.last() {
            let newest = Subject::of(snapshot, at);
            facts.push(("newest", format!("{newest}, {}", newest.state)));
            let name = |at: &usize| Subject::of(snapshot, *at).literal;
            subject.literal = newest
                .literal
                .filter(|_| all.iter().all(|at| name(at) == newest.literal));
        }
        subject.location = rise.location();
        facts.extend(held::facts(snapshot, all));
        let held = held::line_of_most(snapshot, all);
        let held = held.filter(|line| *line != subject.site());
        let by = held.map_or_else(String::new, |line| {
            format!(": handles taken at {line} hold it")
        });
        let advice = match rise.site() {
            Some((file, line)) => {
                let line = format!("{file}:{line}");
                let usual = || format!("find out what should drop the things made at {line}{by}");
                counts::advice(rise.name(), &line).unwrap_or_else(usual)
            }
            None => format!("see what the probe {} counts", rise.name()),
        };
        Finding::of_fact(LeakKind::Growing, subject, facts, advice)
    });
    (found.collect(), notes.collect())
}

/// What findings list that are not allowed: how many things of each make, and the kinds of which there are too many.
#[derive(Default)]
struct Listed {
    makes: BTreeMap<Counted, usize>,
    kinds: HashSet<String>,
}

impl Listed {
    fn by(findings: &[Finding]) -> Self {
        let mut listed = Self::default();
        for finding in findings.iter().filter(|finding| finding.allowed.is_none()) {
            if finding.kind == LeakKind::TooMany {
                listed.kinds.insert(finding.subject.kind.clone());
            }
            for thing in finding.resource().into_iter().chain(finding.kept()) {
                *listed.makes.entry(Counted::of(thing)).or_default() += 1;
            }
        }
        listed
    }

    /// Whether as many are listed as there are more.
    fn has(&self, rise: &GrowthEntry) -> bool {
        let of_make = self.makes.get(&rise.counted).copied().unwrap_or(0);
        !rise.is_probe() && (self.kinds.contains(rise.name()) || of_make >= rise.more().max(1))
    }
}

/// The things that are counted together, the newest last.
fn makes_of_rises(snapshot: &LeakSnapshot, policy: &LeakPolicy) -> BTreeMap<Counted, Vec<usize>> {
    let counted = policy
        .rises
        .iter()
        .map(|rise| (rise.counted.clone(), Vec::new()));
    let mut makes: BTreeMap<_, Vec<_>> = counted.collect();
    for (thing, at) in snapshot.things.iter().zip(0..) {
        if let Some(all) = makes.get_mut(&Counted::of(&thing.resource)) {
            all.push(at);
        }
    }
    makes
}
