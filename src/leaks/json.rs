//! Leak reports for programs.

use crate::{
    holders::{Holder, HolderGroup, Holders},
    labels::Wording,
    leaks::{
        finding::{Finding, Kept},
        judge::LeakKind,
        referrers::{Link, Origin, Strength},
        report::LeakReport,
        snapshot::Subject,
    },
    ledger::acquirer::{Acquirer, Who},
    table::{record::State, resource::Resource},
};
use serde::{Serialize, Serializer};
use std::{panic::Location, time::Duration};

/// How many of each list of a finding are written: victims, groups of handles.
const LISTED: usize = 100;

/// `{"is_clean": …, "alive": …, "notes": […], "findings": […], "allowed": […]}`, each finding with its `kind`, its `fingerprint`, its
/// `subject`, the `chain` that keeps it alive from outside down, `holders` and `advice`.
#[derive(Serialize)]
struct ReportView<'a> {
    is_clean: bool,
    alive: usize,
    notes: &'a [String],
    findings: Vec<FindingView>,
    allowed: Vec<FindingView>,
}

impl Serialize for LeakReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = |id: crate::id::ResourceId| id.to_string();
        let wording = Wording {
            labels: crate::labels::Labels::Shown,
            id: &id,
        };
        let views = |findings: &[Finding]| {
            let views = findings.iter();
            views.map(|one| FindingView::of(one, wording)).collect()
        };
        ReportView {
            is_clean: self.is_clean(),
            alive: self.alive(),
            notes: self.notes(),
            findings: views(self.findings()),
            allowed: views(self.allowed()),
        }
        .serialize(serializer)
    }
}

/// One finding.
#[derive(Serialize)]
pub(crate) struct FindingView {
    kind: LeakKind,
    /// The kind in words.
    what: String,
    fingerprint: String,
    subject: SubjectView,
    /// From outside down; the last one is the suspect.
    chain: Vec<LinkView>,
    cycle: Vec<SubjectView>,
    victims: Vec<SubjectView>,
    /// How many victims are left out.
    more_victims: usize,
    facts: Vec<FactView>,
    holders: Option<HoldersView>,
    advice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<String>,
}

#[derive(Serialize)]
struct FactView {
    what: &'static str,
    text: String,
}

impl FindingView {
    pub(crate) fn of(finding: &Finding, wording: Wording<'_>) -> Self {
        let labels = wording.labels;
        let kept = |all: &[Kept]| {
            let all = all.iter().take(LISTED);
            all.map(|kept| SubjectView::of(&kept.subject, wording))
                .collect()
        };
        // A close's reason and the like may quote anything; where a thing was made quotes nothing.
        let facts = finding.facts.iter();
        let facts = facts.filter(|(what, _)| labels.are_shown() || *what == finding.subject.made);
        let links = finding.chain.links();
        let last = links.len().saturating_sub(1);
        let links = links.into_iter().enumerate();
        let kind_is_literal = finding.resource().is_some_and(|resource| {
            let kind = &resource.record().meta().kind;
            kind.literal().is_some()
        });
        let allowed = finding.allowed().filter(|_| labels.are_shown());
        Self {
            kind: finding.kind,
            what: finding.kind.to_string(),
            fingerprint: finding.fingerprint.clone(),
            subject: SubjectView::of(&finding.subject, wording),
            chain: links
                .map(|(at, link)| LinkView::of(link, at == last, wording))
                .collect(),
            cycle: kept(&finding.cycle),
            victims: kept(&finding.victims),
            more_victims: finding.victims.len().saturating_sub(LISTED),
            facts: facts
                .map(|(what, text)| FactView {
                    what,
                    text: text.clone(),
                })
                .collect(),
            holders: finding
                .holders
                .as_ref()
                .map(|holders| HoldersView::of(holders, wording)),
            // It names lines and functions, and sometimes the kind.
            advice: (labels.are_shown() || kind_is_literal).then(|| finding.advice.clone()),
            allowed: allowed.map(|entry| entry.terms(std::time::SystemTime::now())),
        }
    }
}

/// What a finding, or a step of a chain, is about.
#[derive(Serialize)]
struct SubjectView {
    /// `None` if it is not listed, or is several things.
    id: Option<String>,
    name: String,
    kind: String,
    path: String,
    state: Option<State>,
    age_secs: Option<f64>,
    /// The state in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<String>,
    /// `opened`, `spawned` or `made`.
    made: &'static str,
    location: Option<String>,
}

impl SubjectView {
    fn of(subject: &Subject, wording: Wording<'_>) -> Self {
        let labels = wording.labels;
        let resource = subject.resource.as_ref();
        let meta = resource.map(|resource| resource.record().meta());
        let kind_is_literal = meta.is_none_or(|meta| meta.kind.literal().is_some());
        let path = resource.map(|resource| labels.path(resource.record()));
        Self {
            id: resource.map(|resource| (wording.id)(resource.id())),
            name: labels.name(&subject.name, subject.literal.is_some()),
            kind: labels.name(&subject.kind, kind_is_literal),
            path: path
                .or_else(|| labels.text(&subject.path).map(str::to_owned))
                .unwrap_or_default(),
            state: resource.map(Resource::state),
            age_secs: resource.map(|resource| resource.age().as_secs_f64()),
            is: labels.text(&subject.state).map(str::to_owned),
            made: subject.made,
            location: subject.location.map(|_| subject.site()),
        }
    }
}

/// One step of a chain: what holds, and how it holds what comes next.
#[derive(Serialize)]
struct LinkView {
    /// `thing`, `outside`, `unknown` or `itself`.
    from: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thing: Option<SubjectView>,
    /// What is outside, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<String>,
    /// The line that took the handle, if it is one.
    taken: Option<String>,
    strength: Strength,
}

impl LinkView {
    fn of(link: &Link, is_last: bool, wording: Wording<'_>) -> Self {
        let reference = &link.reference;
        let (from, who) = match (&link.thing, &reference.from) {
            (Some(_), _) | (None, Origin::Thing(_)) => ("thing", None),
            (None, Origin::Outside(outside)) => ("outside", Some(outside.to_string())),
            (None, Origin::Unknown(what)) => ("unknown", Some(what.clone())),
            (None, Origin::Itself) => ("itself", None),
        };
        let thing = link.thing.as_deref();
        Self {
            from,
            thing: thing.map(|subject| SubjectView::of(subject, wording)),
            who: who.filter(|_| wording.labels.are_shown()),
            how: wording.labels.text(&reference.how).map(str::to_owned),
            taken: reference
                .taken
                .as_ref()
                .map(|site| format!("{}:{}", site.file, site.line)),
            strength: if is_last {
                Strength::Suspect
            } else {
                reference.strength
            },
        }
    }
}

/// The strong handles of one thing.
#[derive(Serialize)]
pub(crate) struct HoldersView {
    strong: usize,
    tracked: usize,
    untracked: usize,
    /// Handles that were taken on one line and lie in one container, most first.
    groups: Vec<HolderGroupView>,
    /// How many groups are left out.
    more: usize,
    /// The lines that took the handles which were dropped last.
    recent: Vec<String>,
}

impl HoldersView {
    pub(crate) fn of(holders: &Holders, wording: Wording<'_>) -> Self {
        let groups = holders.by_line();
        let listed = groups.iter().take(LISTED);
        Self {
            strong: holders.strong_count(),
            tracked: holders.len(),
            untracked: holders.untracked(),
            groups: listed
                .map(|group| HolderGroupView::of(group, wording))
                .collect(),
            more: groups.len().saturating_sub(LISTED),
            recent: holders.recent().map(site).collect(),
        }
    }
}

#[derive(Serialize)]
struct HolderGroupView {
    count: usize,
    /// The line of the program that took them.
    taken: String,
    by: AcquirerView,
    #[serde(skip_serializing_if = "Option::is_none")]
    inside: Option<InsideView>,
    oldest_secs: Option<f64>,
    newest_secs: Option<f64>,
    last_used_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The container that a handle lies in.
#[derive(Serialize)]
struct InsideView {
    id: String,
    name: String,
    field: Option<String>,
}

impl HolderGroupView {
    fn of(group: &HolderGroup<'_>, wording: Wording<'_>) -> Self {
        let (first, last) = (group.0[0], group.0[group.0.len() - 1]);
        let secs = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
        let labels = wording.labels;
        let used = group.0.iter().filter_map(|holder| holder.last_touch());
        let inside = first.container().map(|inside| InsideView {
            id: (wording.id)(inside.who.id),
            name: labels.label(&inside.who.name),
            field: inside.field.as_ref().map(|field| labels.label(field)),
        });
        Self {
            count: group.0.len(),
            taken: format!("{}:{}", first.site().file, first.site().line),
            by: AcquirerView::of(first, wording),
            inside,
            oldest_secs: secs(first.age()),
            newest_secs: secs(last.age()),
            last_used_secs: secs(used.min()),
            text: labels.are_shown().then(|| group.to_string()),
        }
    }
}

/// What took a handle; of a group the first of them.
#[derive(Serialize)]
struct AcquirerView {
    /// `task`, `hook`, `owner`, `dependent`, `tokio task`, `thread` or `unknown`.
    what: &'static str,
    id: Option<String>,
    name: Option<String>,
    /// Of a task: its state, or how it ended.
    state: Option<String>,
}

impl AcquirerView {
    fn of(holder: &Holder, wording: Wording<'_>) -> Self {
        let labels = wording.labels;
        let named = |what, who: &Who| {
            let (id, name) = ((wording.id)(who.id), labels.label(&who.name));
            (what, Some(id), Some(name))
        };
        let (what, id, name) = match &holder.entry.taken.by {
            Acquirer::Unknown => ("unknown", None, None),
            Acquirer::Task(who) => named("task", who),
            Acquirer::Hook(who) => named("hook", who),
            Acquirer::Owner(who) => named("owner", who),
            Acquirer::Dependent(who) => named("dependent", who),
            Acquirer::Foreign(id) => ("tokio task", None, Some(id.to_string())),
            Acquirer::Thread(thread) => {
                let name = thread.name().map(|name| labels.name(name, false));
                ("thread", None, name)
            }
        };
        let state = |_| {
            let ended = || holder.end_of_task().to_owned();
            holder
                .task_state()
                .map_or_else(ended, |state| state.to_string())
        };
        Self {
            what,
            id,
            name,
            state: holder.task().map(state),
        }
    }
}

fn site(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}
