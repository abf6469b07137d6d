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
use std::{
    collections::{BTreeSet, HashMap},
    panic::Location,
};

/// A leak: what it is, why it is alive as far as that is known, and what it keeps alive.
///
/// Holds copies and keeps nothing alive (I5). `Display` prints it as the report does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::{LeakKind, LeakPolicy}};
/// use std::time::Duration;
/// let registry = Registry::new();
/// let conn = registry.context("conn-7");
/// let forgotten = conn.clone();
/// conn.close().await;
/// drop(conn);
///
/// let report = registry.leaks(&LeakPolicy::new().settle(Duration::ZERO)).await;
/// let finding = &report.findings()[0];
/// assert_eq!((finding.kind(), finding.name()), (LeakKind::ClosedButHeld, "conn-7"));
/// assert_eq!(finding.holders().unwrap().strong_count(), 1);
/// # drop(forgotten);
/// # }
/// ```
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
        let closed = thing.close.as_ref().and_then(|close| close.location);
        let mut finding = Self {
            cycle: kept(&block.cycle),
            victims: kept(&block.victims),
            holders: counts_handles.then(|| thing.holders.clone()),
            chain,
            ..Self::of_fact(kind, subject, facts, String::new())
        };
        let taken = finding
            .chain
            .last()
            .and_then(|link| link.reference.taken.clone());
        let taken = taken.as_ref().map(|site| (&*site.file, site.line));
        let closed = closed.map(|at| (at.file(), at.line()));
        finding.set_fingerprint(&[taken, closed]);
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
        finding.set_fingerprint(&[]);
        finding
    }

    /// As [`of_fact`](Self::of_fact), with the line that took the last handle.
    pub(crate) fn with_last_handle(mut self, taken: Option<&'static Location<'static>>) -> Self {
        self.set_fingerprint(&[taken.map(|at| (at.file(), at.line()))]);
        self
    }

    /// The chain comes first, because many findings share the beginning of theirs. Then the other lines of the finding: they
    /// move together with the first.
    fn set_fingerprint(&mut self, lines: &[Option<(&str, u32)>]) {
        let mut fingerprint = self.chain.fingerprint();
        fingerprint.add(&self.kind.to_string());
        fingerprint.subject(&self.subject);
        for line in lines {
            fingerprint.add("line");
            if let (Some(first), Some((file, line))) = (self.subject.location, line) {
                fingerprint.distance(first, file, *line);
            }
        }
        self.fingerprint = fingerprint.to_string();
    }

    /// Why it is a leak.
    pub fn kind(&self) -> LeakKind {
        self.kind
    }

    /// Sixteen hex digits that are the same for equal leaks, from run to run, and after edits that only move them up or down
    /// in their file. [`Allow::fingerprint`] says what they are made of.
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

    /// A number for the fingerprint, and all lines that made it and hold it: findings with the same are printed once.
    pub(crate) fn likeness(&self) -> u64 {
        let mut lines = self.chain.lines();
        lines.add(&self.fingerprint);
        lines.add(&self.subject.site());
        let holders = self.holders.iter().flat_map(Holders::iter);
        let held: BTreeSet<_> = holders.map(|holder| holder.site().to_string()).collect();
        for site in &held {
            lines.add(site);
        }
        lines.number()
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

    /// The others of its cycle, and what is kept alive by it alone, as far as that is listed.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Resource> {
        let kept = self.cycle.iter().chain(&self.victims);
        kept.filter_map(|kept| kept.subject.resource.as_ref())
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
    let mut known: HashMap<u64, usize> = HashMap::new();
    for finding in findings {
        let at = *known.entry(finding.likeness()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(finding);
    }
    groups
}
