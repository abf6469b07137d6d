//! Findings: made of what a snapshot shows and of what the policy asks for.

use crate::{
    clock,
    leaks::{
        advice,
        allow::{Allow, Suspect},
        attribution::Attribution,
        finding::Finding,
        growth::Made,
        judge::{self, LeakKind, Verdict, Verdicts},
        policy::LeakPolicy,
        snapshot::LeakSnapshot,
        subject::Subject,
    },
    table::{live::Live, record::State},
};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

/// The findings of one scan.
pub(crate) struct LeakScan {
    pub(crate) findings: Vec<Finding>,
    /// Something is about to end by itself.
    pub(crate) pending: bool,
    /// How many things there were.
    pub(crate) things: usize,
    /// How many of them are tasks.
    #[cfg(feature = "testing")]
    pub(crate) tasks: usize,
    /// Whether a close is under way, within its grace period or not.
    pub(crate) is_closing: bool,
    pub(crate) is_asked_from_inside: bool,
    /// Entries of the allow list that cover nothing.
    pub(crate) idle: Vec<String>,
    /// Contexts that were dropped open, and nothing more is remembered.
    pub(crate) forgotten: u64,
    /// Further notes for the report.
    pub(crate) notes: Vec<String>,
}

/// The result of a scan that does not search for culprits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuickCheck {
    Clean,
    /// Something is about to end by itself.
    Pending,
    Leaking,
}

pub(crate) fn quick_check(
    snapshot: &LeakSnapshot,
    verdicts: &Verdicts,
    policy: &LeakPolicy,
) -> QuickCheck {
    let is_leak = |verdict: &Verdict| matches!(verdict, Verdict::Leak(_));
    if verdicts.pending {
        return QuickCheck::Pending;
    }
    let is_leaking = !verdicts.unsure.is_empty()
        || verdicts.flagged.values().any(is_leak)
        || dropped(snapshot, policy).next().is_some()
        || too_many(snapshot, policy).next().is_some()
        || !policy.rises.is_empty();
    if is_leaking {
        QuickCheck::Leaking
    } else {
        QuickCheck::Clean
    }
}

pub(crate) fn find(snapshot: &LeakSnapshot, verdicts: Verdicts, policy: &LeakPolicy) -> LeakScan {
    let Verdicts {
        flagged, pending, ..
    } = verdicts;
    let attribution = Attribution::new(snapshot, &flagged);
    let blocks = attribution.blocks();
    let leaks = || {
        blocks
            .iter()
            .filter_map(|block| match flagged[&block.culprit] {
                Verdict::Leak(kind) => Some((block, kind)),
                Verdict::Ignored => None,
            })
    };
    let chains = attribution.chains(leaks().map(|(block, _)| block.culprit));
    let mut findings: Vec<_> = leaks()
        .map(|(block, kind)| {
            let chain = chains.of(block.culprit);
            let mut finding = Finding::of_block(snapshot, &attribution, block, chain, kind);
            finding.advice = advice::of(&finding);
            finding
        })
        .collect();
    findings.extend(dropped(snapshot, policy));
    findings.extend(too_many(snapshot, policy));
    findings.extend(growing(snapshot, policy));
    for finding in &mut findings {
        apply_allow_list(finding, policy);
    }
    let covers = |entry: &Allow| {
        findings
            .iter()
            .any(|finding| entry.covers(&finding.as_suspect()))
    };
    let idle = policy.allowed.iter().filter(|entry| !covers(entry));
    let idle = idle.map(|entry| entry.what().to_string()).collect();
    LeakScan {
        findings,
        pending,
        things: snapshot.things.len(),
        #[cfg(feature = "testing")]
        tasks: snapshot
            .things
            .iter()
            .filter(|thing| thing.is_task())
            .count(),
        is_closing: snapshot
            .things
            .iter()
            .any(|thing| thing.state() == State::Closing),
        is_asked_from_inside: snapshot.has_asking(),
        notes: Vec::new(),
        idle,
        forgotten: if policy.asks_for.dropped_open {
            snapshot.dropped.forgotten(policy.dropped_before)
        } else {
            0
        },
    }
}

/// Looks a finding up in the allow list. An entry that holds beats those that have ended; of these it is the one that
/// ended last.
pub(crate) fn apply_allow_list(finding: &mut Finding, policy: &LeakPolicy) {
    let (suspect, now) = (finding.as_suspect(), SystemTime::now());
    let covering = || policy.allowed.iter().filter(|entry| entry.covers(&suspect));
    let allowed = covering().find(|entry| entry.holds_at(now)).cloned();
    let expired = covering().max_by_key(|entry| entry.end()).cloned();
    finding.expired = expired.filter(|_| allowed.is_none());
    finding.allowed = allowed;
}

fn dropped<'a>(
    snapshot: &'a LeakSnapshot,
    policy: &'a LeakPolicy,
) -> impl Iterator<Item = Finding> + use<'a> {
    let dropped = &snapshot.dropped;
    let new = dropped.count.saturating_sub(policy.dropped_before);
    let new = usize::try_from(new).unwrap_or(usize::MAX);
    let from = dropped.latest.len().saturating_sub(new);
    let entry = dropped.latest.iter().skip(from).filter(|entry| {
        let suspect = Suspect {
            fingerprint: "",
            kind: &entry.kind,
            name: &entry.name,
            file: entry.location.file(),
            line: entry.location.line(),
        };
        policy.asks_for.dropped_open && !policy.leaves_out(&suspect)
    });
    entry.map(|entry| {
        let ago = Duration::from_nanos(snapshot.now.since(entry.at));
        let subject = Subject {
            name: entry.name.to_string(),
            kind: entry.kind.to_string(),
            path: entry.path.clone(),
            state: format!(
                "dropped {} ago ({} inside)",
                clock::human(ago),
                entry.inside
            ),
            location: Some(entry.location),
            made: "opened",
            resource: None,
        };
        let site = subject.site();
        let mut facts = vec![("opened", site.clone())];
        let last = entry.last.as_ref().map(|acquisition| {
            let location = acquisition.location;
            format!(
                "{}:{} by {}",
                location.file(),
                location.line(),
                acquisition.by
            )
        });
        facts.extend(last.map(|last| ("last handle", format!("taken at {last}"))));
        let advice =
            format!("`close().await` the context opened at {site} before its last handle goes");
        Finding::of_fact(LeakKind::DroppedOpen, subject, facts, advice)
    })
}

fn too_many<'a>(
    snapshot: &'a LeakSnapshot,
    policy: &'a LeakPolicy,
) -> impl Iterator<Item = Finding> + use<'a> {
    let by_kind = by_limited_kind(snapshot, policy);
    policy.max_count.iter().filter_map(move |(kind, most)| {
        let all = by_kind.get(&**kind)?;
        if all.len() <= *most {
            return None;
        }
        let subject = several(kind, format!("{} alive, {most} allowed", all.len()));
        let oldest = Subject::of(snapshot, all[0]);
        let facts = vec![
            (
                "oldest",
                format!(
                    "{oldest}, {}, {} at {}",
                    oldest.state,
                    oldest.made,
                    oldest.site()
                ),
            ),
            ("made at", sites(snapshot, all)),
        ];
        let advice = format!(
            "see what keeps the oldest: it was {} at {}",
            oldest.made,
            oldest.site()
        );
        Some(Finding::of_fact(LeakKind::TooMany, subject, facts, advice))
    })
}

/// The things of each kind that has a limit, oldest first.
fn by_limited_kind<'a>(
    snapshot: &LeakSnapshot,
    policy: &'a LeakPolicy,
) -> HashMap<&'a str, Vec<usize>> {
    let kinds = policy
        .max_count
        .iter()
        .map(|(kind, _)| (&**kind, Vec::new()));
    let mut by_kind: HashMap<_, _> = kinds.collect();
    for (at, thing) in snapshot.things.iter().enumerate() {
        if policy.ignored.contains(&thing.id()) {
            continue;
        }
        if let Some(all) = by_kind.get_mut(thing.resource.kind()) {
            all.push(at);
        }
    }
    by_kind
}

fn growing<'a>(
    snapshot: &'a LeakSnapshot,
    policy: &'a LeakPolicy,
) -> impl Iterator<Item = Finding> + use<'a> {
    let newest = newest_of_rises(snapshot, policy);
    policy.rises.iter().map(move |rise| {
        let mut subject = several(rise.name(), format!("{:.1} more a sample", rise.rate()));
        let mut facts = vec![("counts", rise.to_string())];
        if let Some(&at) = rise.made().and_then(|made| newest.get(&made)) {
            let newest = Subject::of(snapshot, at);
            facts.push(("newest", format!("{newest}, {}", newest.state)));
            subject.location = newest.location;
        }
        let advice = match rise.site() {
            Some((file, line)) => format!("see who should let go of what is made at {file}:{line}"),
            None => format!("see what the probe {} counts", rise.name()),
        };
        Finding::of_fact(LeakKind::Growing, subject, facts, advice)
    })
}

/// The newest of the things that are counted together.
fn newest_of_rises<'a>(
    snapshot: &'a LeakSnapshot,
    policy: &LeakPolicy,
) -> HashMap<Made<'a>, usize> {
    if policy.rises.is_empty() {
        return HashMap::new();
    }
    let things = snapshot.things.iter().zip(0..);
    things
        .map(|(thing, at)| (Made::of(&thing.resource), at))
        .collect()
}

fn several(kind: &str, state: String) -> Subject {
    Subject {
        name: String::new(),
        kind: kind.to_owned(),
        path: String::new(),
        state,
        location: None,
        made: "made",
        resource: None,
    }
}

/// The lines that made most of these: `src/a.rs:12 (40), src/b.rs:3 (2)`.
fn sites(snapshot: &LeakSnapshot, all: &[usize]) -> String {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for &at in all {
        *counts.entry(Subject::of(snapshot, at).site()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named = counts.iter().take(SITES);
    let mut text: Vec<_> = named
        .map(|(site, count)| format!("{site} ({count})"))
        .collect();
    if counts.len() > SITES {
        text.push(format!("… {} more lines", counts.len() - SITES));
    }
    text.join(", ")
}

/// How many lines are named.
const SITES: usize = 5;

/// Scans a listing.
pub(crate) fn scan(
    root: &std::sync::Arc<crate::context::state::Core>,
    live: Live,
    policy: &LeakPolicy,
) -> LeakScan {
    let snapshot = LeakSnapshot::of(root, live);
    let verdicts = judge::judge(&snapshot, policy);
    find(&snapshot, verdicts, policy)
}
