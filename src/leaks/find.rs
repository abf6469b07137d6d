//! Findings: made of what a snapshot shows and of what the policy asks for, again and again until nothing looks like a leak
//! or time is up.
//!
//! Dropping the last handle of something notifies the listeners of its registry, so most scans come when there is
//! something new to see. For what sends no notification (a task of an open context, a registration, a plain `Arc`) there are
//! scans in growing intervals, from 1 ms to 100 ms, as goleak does it.

use crate::{
    clock,
    context::state::Core,
    id::ResourceId,
    leaks::{
        advice,
        allow::Suspect,
        allow_list,
        attribution::Attribution,
        counts,
        finding::Finding,
        growing, held,
        judge::{self, LONGEST_GRACE, LeakKind, Verdict, Verdicts},
        policy::LeakPolicy,
        snapshot::{LeakSnapshot, Subject, Thing, asking},
    },
    offload::beside_the_runtime,
    plural::plural,
    table::{live::Live, record::State},
};
#[cfg(feature = "dump")]
use crate::{leaks::stacks, table::store::Table};
use futures::future::select;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    panic::Location,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

/// The findings of one scan.
pub(crate) struct LeakScan {
    pub(crate) findings: Vec<Finding>,
    /// Those that the allow list accepts.
    pub(crate) allowed: Vec<Finding>,
    /// Something is about to end by itself.
    #[cfg(feature = "testing")]
    pub(crate) pending: bool,
    /// How many things there were.
    pub(crate) things: usize,
    /// How many of them are tasks.
    #[cfg(feature = "testing")]
    pub(crate) tasks: usize,
    /// Whether a close is under way, within its grace period or not.
    pub(crate) is_closing: bool,
    /// Notes for the report.
    pub(crate) notes: Vec<String>,
}

#[cfg(feature = "testing")]
impl LeakScan {
    /// Adds a finding of another search.
    pub(crate) fn add(&mut self, mut finding: Finding, policy: &LeakPolicy) {
        allow_list::apply(&mut finding, policy);
        match finding.allowed {
            Some(_) => self.allowed.push(finding),
            None => self.findings.push(finding),
        }
    }
}

/// The result of a scan that does not search for culprits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuickCheck {
    Clean,
    /// Something is about to end by itself.
    Pending,
    Leaking,
}

fn quick_check(snapshot: &LeakSnapshot, verdicts: &Verdicts, policy: &LeakPolicy) -> QuickCheck {
    let is_leak = |verdict: &Verdict| matches!(verdict, Verdict::Leak(_));
    if verdicts.pending {
        return QuickCheck::Pending;
    }
    let is_leaking = !verdicts.unsure.is_empty()
        || verdicts.flagged.values().any(is_leak)
        || dropped(snapshot, policy).next().is_some()
        || too_many(snapshot, policy).next().is_some()
        || too_many_unseen(snapshot, policy).next().is_some()
        || !policy.rises.is_empty();
    if is_leaking {
        QuickCheck::Leaking
    } else {
        QuickCheck::Clean
    }
}

fn find(snapshot: &LeakSnapshot, verdicts: Verdicts, policy: &LeakPolicy) -> LeakScan {
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
    // There may be a hundred thousand: exactly the room that they need, and each once.
    let mut findings = Vec::with_capacity(leaks().count());
    findings.extend(leaks().map(|(block, kind)| {
        let chain = chains.of(block.culprit);
        let mut finding = Finding::of_block(snapshot, &attribution, block, chain, kind);
        let hooks = hooks(&snapshot.things[block.culprit]);
        finding.facts.extend(hooks.map(|hooks| ("hooks", hooks)));
        finding.advice = advice::of(&finding);
        finding
    }));
    drop((chains, attribution, blocks));
    findings.extend(dropped(snapshot, policy));
    findings.extend(too_many(snapshot, policy));
    findings.extend(too_many_unseen(snapshot, policy));
    for finding in &mut findings {
        allow_list::apply(finding, policy);
    }
    let (mut more, growing_too) = growing::find(snapshot, policy, &findings);
    for finding in &mut more {
        allow_list::apply(finding, policy);
    }
    findings.append(&mut more);
    let mut notes = notes(snapshot, policy, &findings, pending);
    notes.extend(allow_list::withdraw_exceeded(&mut findings, policy));
    notes.extend(growing_too);
    let (allowed, findings) = allow_list::split(findings);
    let things = snapshot.things.iter();
    LeakScan {
        allowed,
        notes,
        findings,
        #[cfg(feature = "testing")]
        pending,
        things: snapshot.things.len(),
        #[cfg(feature = "testing")]
        tasks: things.clone().filter(|thing| thing.is_task()).count(),
        is_closing: things
            .into_iter()
            .any(|thing| thing.state() == State::Closing),
    }
}

/// The lines that registered the hooks of an open context: one of them may have the handle that keeps it open.
fn hooks(thing: &Thing) -> Option<String> {
    let is_open = thing.is_context() && thing.state() == State::Open;
    let lines = is_open.then(|| counts::hooks(&thing.resource))?;
    let lines = lines.into_iter().map(|(line, count)| (site(line), count));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| most_of(lines))
}

fn site(line: &Location<'_>) -> String {
    format!("{}:{}", line.file(), line.line())
}

/// What is to be said of the scan as a whole.
fn notes(
    snapshot: &LeakSnapshot,
    policy: &LeakPolicy,
    findings: &[Finding],
    pending: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if snapshot.has_asking() {
        notes.push(
            "not counted: the task that made this report and the contexts it runs in".to_owned(),
        );
    }
    notes.extend(allow_list::of_no_use(findings, policy));
    let forgotten = snapshot.dropped.forgotten(policy.dropped_before);
    if forgotten > 0 && policy.asks_for.dropped_open {
        notes.push(format!(
            "{} dropped while open: only the latest are remembered",
            if forgotten == 1 {
                "1 more context was".to_owned()
            } else {
                format!("{forgotten} more contexts were")
            }
        ));
    }
    if pending {
        notes.push("a close is still within its grace period".to_owned());
    }
    notes
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
        let suspect = Suspect::new(&entry.kind, &entry.name, entry.location);
        policy.asks_for.dropped_open && !policy.leaves_out(&suspect)
    });
    entry.map(|entry| {
        let ago = Duration::from_nanos(snapshot.now.since(entry.at));
        let ago = clock::human(ago);
        let state = format!("dropped {ago} ago ({} tasks and child contexts inside)", entry.inside);
        let subject = Subject {
            name: entry.name.to_string(),
            literal: entry.name.literal(),
            path: entry.path.clone(),
            location: Some(entry.location),
            made: "opened",
            ..Subject::unlisted(&entry.kind, state)
        };
        let site = subject.site();
        let mut facts = vec![("opened", site.clone())];
        let last = entry.last.as_ref().map(ToString::to_string);
        facts.extend(last.map(|last| ("last handle", last)));
        let advice =
            format!("close the context opened at {site} with `close().await` before its last handle is dropped");
        let finding = Finding::of_fact(LeakKind::DroppedOpen, subject, facts, advice);
        finding.with_last_handle(entry.last.as_ref().map(|last| last.location))
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
        let subject = Subject::unlisted(kind, format!("{} alive, {most} allowed", all.len()));
        let oldest = Subject::of(snapshot, all[0]);
        let mut facts = vec![
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
        facts.extend(held::facts(snapshot, all));
        let advice = format!(
            "find out what keeps the oldest one, which was {} at {}",
            oldest.made,
            oldest.site()
        );
        Some(Finding::of_fact(LeakKind::TooMany, subject, facts, advice))
    })
}

/// The same, of what is not listed.
fn too_many_unseen<'a>(
    snapshot: &'a LeakSnapshot,
    policy: &'a LeakPolicy,
) -> impl Iterator<Item = Finding> + use<'a> {
    policy.max_count.iter().filter_map(|(kind, most)| {
        let unseen = snapshot.unseen.iter();
        let lines = unseen.filter(|((of, _), _)| *of == **kind);
        let lines: Vec<_> = lines.map(|((_, line), count)| (*line, *count)).collect();
        let all: usize = lines.iter().map(|(_, count)| count).sum();
        let (line, _) = *lines.iter().max_by_key(|(_, count)| *count)?;
        if all <= *most {
            return None;
        }
        let state = format!("{all} alive, {most} allowed");
        let subject = Subject {
            location: Some(line),
            ..Subject::unlisted(kind, state)
        };
        let busiest = subject.site();
        let counts = lines.iter().map(|(line, count)| (site(line), *count));
        let facts = vec![("made at", most_of(counts.collect()))];
        let advice = counts::advice(kind, &busiest).unwrap_or_default();
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

/// The lines that made most of these: `src/a.rs:12 (40), src/b.rs:3 (2)`.
fn sites(snapshot: &LeakSnapshot, all: &[usize]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for &at in all {
        *counts.entry(Subject::of(snapshot, at).site()).or_default() += 1;
    }
    most_of(counts.into_iter().collect())
}

fn most_of(mut counts: Vec<(String, usize)>) -> String {
    counts.sort_by(|one, other| (Reverse(one.1), &one.0).cmp(&(Reverse(other.1), &other.0)));
    let named = counts.iter().take(SITES);
    let mut text: Vec<_> = named
        .map(|(site, count)| format!("{site} ({count})"))
        .collect();
    if counts.len() > SITES {
        text.push(format!("… {}", plural(counts.len() - SITES, "more line")));
    }
    text.join(", ")
}

/// How many lines are named.
const SITES: usize = 5;

/// Everything that is listed, and what is not if the policy limits it.
fn snapshot_of(
    root: &Arc<Core>,
    live: Live,
    asking: HashSet<ResourceId>,
    policy: &LeakPolicy,
) -> LeakSnapshot {
    let mut kinds = policy.max_count.iter().map(|(kind, _)| kind);
    let unseen = kinds.any(|kind| counts::is_counted(kind));
    let unseen = unseen.then(|| counts::unseen(&live, root));
    let mut snapshot = LeakSnapshot::of(root, live, asking);
    snapshot.unseen = unseen.unwrap_or_default();
    snapshot
}

/// Scans a listing.
pub(crate) fn scan(root: &Arc<Core>, live: Live, policy: &LeakPolicy) -> LeakScan {
    let snapshot = snapshot_of(root, live, asking(), policy);
    let verdicts = judge::judge(&snapshot, policy);
    find(&snapshot, verdicts, policy)
}

/// Between the first two looks, and the most between two.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// The most that closes may add to the time to settle: there may always be another one.
const LONGEST: Duration = Duration::from_secs(2 * LONGEST_GRACE.as_secs());

/// So many looks follow each other at once.
const EAGER: u32 = 4;
/// Later ones leave at least so much between them.
const BREATH: Duration = Duration::from_millis(2);

/// After a look that took long there are so many times as long without one.
const REST: u32 = 4;

/// How long things took to settle, or did not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    took: Duration,
    looks: u32,
}

impl Settled {
    pub(crate) fn note(&self) -> String {
        let looks = if self.looks == 1 { "look" } else { "looks" };
        let took = clock::human(self.took);
        format!("waited {took} for things to settle, {} {looks}", self.looks)
    }
}

/// Looks until nothing is found or the policy's time is up; says what was found last.
///
/// `more` is asked beside that: whether something else has to settle. The registry is held only while it is looked
/// at, and not while things settle; nothing comes of it when the registry has gone.
pub(crate) async fn settle(
    root: &Weak<Core>,
    policy: &LeakPolicy,
    mut more: impl FnMut() -> bool,
) -> Option<(LeakScan, Settled)> {
    let table = Arc::clone(&root.upgrade()?.node.table);
    let listening = table.tracking.listen();
    let started = clock::now();
    let policy = Arc::new(policy.clone());
    let mut looks = 0;
    let mut suspects = None;
    let mut rest = INTERVALS.0;
    let mut deadline = policy.settle;
    loop {
        let mut gone = pin!(listening.changed().notified());
        gone.as_mut().enable();
        // Before the look: what was there when it began is at least as old.
        let took = clock::now().saturating_duration_since(started);
        let live = table.live().await;
        looks += 1;
        let settled = Settled { took, looks };
        let (size, before) = (live.len(), suspects.take());
        let (core, by, asking) = (root.upgrade()?, Arc::clone(&policy), asking());
        let look = move || (look(&core, live, asking, &by, before.as_ref()), core);
        // The registry comes back: it may be its last handle, whose drop belongs on this thread.
        let (looked, core) = beside_the_runtime(size, look).await;
        drop(core);
        let Look {
            snapshot,
            verdicts,
            check: look,
            ..
        } = looked;
        suspects = looked.suspects;
        // A close within its grace period is no leak yet, and it is going to end: what it leaves has its time
        // from then on.
        if look == QuickCheck::Pending && policy.is_patient {
            let later = took.saturating_add(policy.settle.max(INTERVALS.1));
            deadline = later.min(policy.settle.saturating_add(LONGEST));
        }
        let is_clean = look == QuickCheck::Clean && !more();
        if is_clean || took >= deadline {
            let by = Arc::clone(&policy);
            let find = move || find(&snapshot, verdicts, &by);
            let found = beside_the_runtime(size, find).await;
            #[cfg(feature = "dump")]
            let found = with_stacks(&table, found).await;
            return Some((found, settled));
        }
        beside_the_runtime(size, move || drop((snapshot, verdicts))).await;
        let left = deadline.saturating_sub(took).max(INTERVALS.0);
        let now = clock::now().saturating_duration_since(started);
        rest = rest.max(REST * now.saturating_sub(took));
        select(gone, pin!(clock::sleep(rest.min(left)))).await;
        if looks > EAGER {
            // Many things that go one by one are not looked at one by one.
            clock::sleep(BREATH.min(left)).await;
            rest = (rest * 2).min(INTERVALS.1.max(rest));
        }
    }
}

#[cfg(feature = "dump")]
async fn with_stacks(table: &Arc<Table>, found: LeakScan) -> LeakScan {
    let LeakScan {
        findings,
        mut notes,
        ..
    } = found;
    let (findings, deadlocks) = stacks::add(table, findings).await;
    notes.extend(deadlocks);
    LeakScan {
        findings,
        notes,
        ..found
    }
}

/// One look, without the search for culprits.
struct Look {
    snapshot: LeakSnapshot,
    verdicts: Verdicts,
    /// What looked like a leak, for the look after.
    suspects: Option<HashSet<ResourceId>>,
    check: QuickCheck,
}

fn look(
    root: &Arc<Core>,
    live: Live,
    asking: HashSet<ResourceId>,
    policy: &LeakPolicy,
    before: Option<&HashSet<ResourceId>>,
) -> Look {
    let snapshot = snapshot_of(root, live, asking, policy);
    let mut verdicts = judge::judge(&snapshot, policy);
    // While a program runs there is always something that was closed a moment ago and is about to be let go of.
    let suspects = (!policy.nothing_left).then(|| verdicts.narrow(&snapshot, before));
    Look {
        check: quick_check(&snapshot, &verdicts, policy),
        snapshot,
        verdicts,
        suspects,
    }
}
