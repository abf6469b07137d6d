//! One finding: a culprit, why it is alive, and what it keeps alive.

use crate::{
    holders::view::Holders,
    id::ResourceId,
    leaks::{
        allow::{Allow, Suspect},
        attribution::{Attribution, Block},
        chain::Chain,
        fingerprint::Fingerprint,
        judge::{self, LeakKind},
        referrers::{Origin, Outside, Reference, Strength},
        snapshot::LeakSnapshot,
    },
    name::Printed,
    table::{record::Class, resource::Resource},
};
use std::{fmt, panic::Location};

/// A leak: what it is, why it is alive as far as that is known, and what it keeps alive.
///
/// Holds facts, not things (I5). `Display` prints it as the report does.
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

/// What a finding is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) state: String,
    pub(crate) location: Option<&'static Location<'static>>,
    /// What the location is of: `opened`, `spawned`, `made`.
    pub(crate) made: &'static str,
    pub(crate) resource: Option<Resource>,
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

/// One step of a chain, and how it keeps the next.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) referrer: Referrer,
    pub(crate) how: String,
    pub(crate) brief: String,
    /// The line that took the handle, if it is one.
    pub(crate) taken: Option<String>,
    pub(crate) mark: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Referrer {
    Thing(Box<Subject>),
    Outside(Outside),
    Unknown(String),
    Itself,
}

impl Subject {
    pub(crate) fn of(snapshot: &LeakSnapshot, at: usize) -> Self {
        let thing = &snapshot.things[at];
        let resource = &thing.resource;
        Self {
            name: resource.name().to_owned(),
            kind: resource.kind().to_owned(),
            path: crate::table::resource::short_path(resource.record()),
            state: judge::state(thing),
            location: Some(resource.location()),
            made: match thing.class() {
                Class::Context => "opened",
                Class::Task => "spawned",
                Class::Resource => "made",
            },
            resource: Some(resource.clone()),
        }
    }

    pub(crate) fn is_task(&self) -> bool {
        let class = self.resource.as_ref().map(Resource::class);
        class == Some(Class::Task)
    }

    /// `src/net/conn.rs:41`
    pub(crate) fn site(&self) -> String {
        let site = |location: &Location<'_>| format!("{}:{}", location.file(), location.line());
        self.location.map(site).unwrap_or_default()
    }
}

/// `context server/conn-7`
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::name::Quoted(&self.path);
        if self.path.is_empty() {
            return write!(f, "{}", Printed(&self.kind));
        }
        write!(f, "{} {path}", Printed(&self.kind))
    }
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

impl Link {
    pub(crate) fn of(snapshot: &LeakSnapshot, reference: &Reference) -> Self {
        let referrer = match &reference.from {
            Origin::Thing(at) => Referrer::Thing(Box::new(Subject::of(snapshot, *at))),
            Origin::Outside(what) => Referrer::Outside(what.clone()),
            Origin::Unknown(what) => Referrer::Unknown(what.clone()),
            Origin::Itself => Referrer::Itself,
        };
        Self {
            referrer,
            how: reference.how.clone(),
            brief: reference.brief.clone(),
            taken: reference.taken.clone(),
            mark: reference.mark.clone(),
        }
    }
}

impl Finding {
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
        let mut finding = Self {
            kind,
            fingerprint: String::new(),
            cycle: kept(&block.cycle),
            victims: kept(&block.victims),
            facts: facts(&subject, thing.close.as_ref()),
            holders: counts_handles.then(|| thing.holders.clone()),
            advice: String::new(),
            chain,
            subject,
            allowed: None,
            expired: None,
        };
        finding.advice = super::advice::of(&finding);
        finding.fingerprint = Fingerprint::of(&finding).to_string();
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
        finding.fingerprint = Fingerprint::of(&finding).to_string();
        finding
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

    /// The fingerprint, and the lines: findings with the same are printed once.
    pub(crate) fn likeness(&self) -> String {
        let (site, lines) = (self.subject.site(), self.chain.lines());
        format!("{} {site} {lines}", self.fingerprint)
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

fn facts(
    subject: &Subject,
    close: Option<&super::snapshot::Closing>,
) -> Vec<(&'static str, String)> {
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
