//! One finding: a culprit, why it is alive, and what it keeps alive.

use crate::{
    holders::Holders,
    id::ResourceId,
    leaks::{
        allow::{Allow, Suspect},
        attribution::{Attribution, Block},
        chain::Chain,
        judge::LeakKind,
        referrers::Strength,
        snapshot::{Closing, LeakSnapshot, Subject},
    },
    table::resource::Resource,
};
use std::{collections::HashMap, panic::Location};

/// A leak: what it is, why it is alive as far as that is known, and what it keeps alive.
///
/// Holds copies and keeps nothing alive (I5). `Display` prints it as the report does.
#[derive(Clone, Debug)]
pub struct Finding {
    pub(crate) kind: LeakKind,
    pub(crate) fingerprint: String,
    pub(crate) subject: Subject,
    /// From outside down to the subject: what is known to be alive on the way.
    pub(crate) chain: Chain,
    /// The others of a cycle.
    pub(crate) cycle: Vec<Kept>,
    pub(crate) victims: Vec<Kept>,
    /// Facts of the kind: a label, and a line.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) holders: Option<Holders>,
    pub(crate) advice: String,
    pub(crate) allowed: Option<Allow>,
    pub(crate) expired: Option<Allow>,
}

/// Something that is kept alive by a leak.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) subject: Subject,
    /// What keeps it.
    pub(crate) by: ResourceId,
    pub(crate) brief: String,
    pub(crate) strength: Strength,
}

impl Kept {
    fn of(snapshot: &LeakSnapshot, attribution: &Attribution<'_>, at: usize, by: usize) -> Self {
        let reference = attribution.reference(by, at);
        Self {
            subject: Subject::of(snapshot, at),
            by: snapshot.things[by].id(),
            brief: reference
                .map(|reference| reference.brief.clone())
                .unwrap_or_default(),
            strength: reference.map_or(Strength::Weak, |reference| reference.strength),
        }
    }
}

impl Finding {
    /// A finding about a listed thing, without advice yet.
    pub(crate) fn of_block(
        snapshot: &LeakSnapshot,
        attribution: &Attribution<'_>,
        block: &Block,
        chain: Chain,
        kind: LeakKind,
    ) -> Self {
        let thing = &snapshot.things[block.culprit];
        let subject = Subject::of(snapshot, block.culprit);
        let kept = |all: &[(usize, usize)]| {
            let one = |&(at, by): &(usize, usize)| Kept::of(snapshot, attribution, at, by);
            all.iter().map(one).collect()
        };
        let counts_handles = thing.resource.record().strong_count().is_some();
        let facts = facts(&subject, thing.close.as_ref());
        let mut finding = Self {
            cycle: kept(&block.cycle),
            victims: kept(&block.victims),
            holders: counts_handles.then(|| thing.holders.clone()),
            chain,
            ..Self::of_fact(kind, subject, facts, String::new())
        };
        finding.set_fingerprint();
        finding
    }

    /// A finding about no thing that is listed now.
    pub(crate) fn of_fact(
        kind: LeakKind,
        subject: Subject,
        facts: Vec<(&'static str, String)>,
        advice: String,
    ) -> Self {
        let mut finding = Self {
            kind,
            fingerprint: String::new(),
            subject,
            chain: Chain::default(),
            cycle: Vec::new(),
            victims: Vec::new(),
            facts,
            holders: None,
            advice,
            allowed: None,
            expired: None,
        };
        finding.set_fingerprint();
        finding
    }

    /// The chain comes first, because many findings share the beginning of theirs.
    fn set_fingerprint(&mut self) {
        let mut fingerprint = self.chain.fingerprint();
        fingerprint.add(&self.kind.to_string());
        fingerprint.subject(&self.subject);
        self.fingerprint = fingerprint.to_string();
    }

    /// Why it is a leak.
    pub fn kind(&self) -> LeakKind {
        self.kind
    }

    /// Sixteen hex digits that are the same for equal leaks, from run to run: made of the kinds of things, the
    /// files that made them and took handles, with the column, and the names of fields; not of names, lines, ids or ages.
    /// Two leaks on different lines that are alike in all this have the same.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What an allow list is asked about.
    pub(crate) fn as_suspect(&self) -> Suspect<'_> {
        let location = self.subject.location;
        Suspect {
            fingerprint: &self.fingerprint,
            kind: &self.subject.kind,
            name: &self.subject.name,
            file: location.map_or("", Location::file),
            line: location.map_or(0, Location::line),
        }
    }

    /// The fingerprint, and the lines, of all handles as well: findings with the same are printed once.
    pub(crate) fn likeness(&self) -> String {
        let (site, lines) = (self.subject.site(), self.chain.lines());
        let handles = self.holders.as_ref().map(Holders::lines);
        let handles = handles.unwrap_or_default();
        format!("{} {site} {lines} {handles}", self.fingerprint)
    }

    /// The name of what leaks; empty if the finding is about several things.
    pub fn name(&self) -> &str {
        &self.subject.name
    }

    /// The kind of what leaks.
    pub fn resource_kind(&self) -> &str {
        &self.subject.kind
    }

    /// Where what leaks was made; `None` where no line is known.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.subject.location
    }

    /// What leaks, if it is listed.
    pub fn resource(&self) -> Option<&Resource> {
        self.subject.resource.as_ref()
    }

    /// Who has its handles, if it has any.
    pub fn holders(&self) -> Option<&Holders> {
        self.holders.as_ref()
    }

    /// What is kept alive by it alone.
    pub fn victims(&self) -> impl ExactSizeIterator<Item = &Resource> {
        self.victims.iter().map(|victim| {
            let resource = victim.subject.resource.as_ref();
            resource.expect("a victim is listed")
        })
    }

    /// What to do about it, in a sentence.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// The entry of the allow list that accepts it, if one does.
    pub fn allowed(&self) -> Option<&Allow> {
        self.allowed.as_ref()
    }
}

fn facts(subject: &Subject, close: Option<&Closing>) -> Vec<(&'static str, String)> {
    let mut facts = vec![(subject.made, subject.site())];
    if let Some(close) = close {
        let at = close
            .location
            .map(|at| format!("{}:{}, ", at.file(), at.line()));
        facts.push(("closed", at.unwrap_or_default() + &close.reason));
        facts.extend(
            close
                .hooks
                .iter()
                .map(|hook| ("running", format!("hook {hook}"))),
        );
    }
    facts
}

/// Equal ones together, in the order of the first of each.
pub(crate) fn group(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for finding in findings {
        let at = *known.entry(finding.likeness()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(finding);
    }
    groups
}
