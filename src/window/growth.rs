//! `/growth`: how many things there are by the line that made them, each time that this is asked.

use crate::{
    clock,
    leaks::{
        counts::is_own,
        growth::{Growth, GrowthEntry},
    },
    name::Label,
    offload::offload,
    sync::lock,
    window::{
        answer::answer,
        params::Params,
        problem::Problem,
        shared::{Sampled, Shared},
    },
};
use serde::Serialize;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The shortest time between two samples: many that look count as one.
const BETWEEN: Duration = Duration::from_secs(2);
/// How many lines are listed, those first that have grown most.
const LINES: usize = 100;

#[derive(Serialize)]
struct GrowthAnswer {
    samples: usize,
    lines: Vec<LineView>,
    /// How many lines are left out.
    more: usize,
}

/// What one line made, or what a probe counts.
#[derive(Serialize)]
struct LineView {
    /// A kind, or the name of a probe.
    name: String,
    is_probe: bool,
    location: Option<String>,
    /// At each sample, the latest last.
    counts: Vec<usize>,
    more: usize,
    /// Whether it rises again and again, as a leak does.
    is_rising: bool,
}

pub(crate) async fn growth(shared: &Arc<Shared>, uri: &axum::http::Uri) -> Result<String, Problem> {
    Params::of(uri, &[])?;
    // One after the other, because the samples are kept from request to request. A request that is dropped does not end the turn.
    let turns = Arc::clone(&shared.samples).acquire_owned().await;
    let turn = turns.map_err(|_| Problem::busy())?;
    let (now, shared) = (clock::now(), Arc::clone(shared));
    let work = move || {
        let _turn = turn;
        // Not under the lock: probes are code of the program.
        let kept = lock(&shared.growth).take();
        let sampled = sample(&shared, kept, now);
        let text = answer(&shared, view(&shared, &sampled.0));
        *lock(&shared.growth) = Some(sampled);
        text
    };
    Ok(offload(work).await)
}

fn sample(shared: &Shared, kept: Option<Sampled>, now: Instant) -> Sampled {
    match kept {
        Some((growth, at)) if now.saturating_duration_since(at) < BETWEEN => (growth, at),
        Some((mut growth, _)) => {
            growth.sample_now();
            (growth, now)
        }
        None => (Growth::of(&shared.root), now),
    }
}

/// The kinds that are literals, and may be shown.
fn literals(shared: &Shared) -> HashSet<&'static str> {
    let live = shared.table().live_now();
    let kinds = live.iter().map(|entry| &entry.record().meta().kind);
    kinds.filter_map(Label::literal).collect()
}

fn view(shared: &Shared, growth: &Growth) -> GrowthAnswer {
    let (rising, literals) = (growth.rising(), literals(shared));
    let rising: HashSet<_> = rising.iter().map(key).collect();
    let all = growth.all();
    let lines = all.iter().take(LINES);
    let line = |entry: &GrowthEntry| LineView {
        name: shared
            .labels
            .name(entry.name(), is_literal(entry, &literals)),
        is_probe: entry.is_probe(),
        location: entry.site().map(|(file, line)| format!("{file}:{line}")),
        counts: entry.counts().to_vec(),
        more: entry.more(),
        is_rising: rising.contains(&key(entry)),
    };
    GrowthAnswer {
        samples: growth.samples(),
        lines: lines.map(line).collect(),
        more: all.len().saturating_sub(LINES),
    }
}

/// Whether a name quotes nothing that was made at run time: a kind, or the handles of one.
fn is_literal(entry: &GrowthEntry, literals: &HashSet<&'static str>) -> bool {
    let name = entry.name();
    let kind = name
        .rsplit_once("handle of a ")
        .map_or(name, |(_, kind)| kind);
    !entry.is_probe() && (is_own(name) || literals.contains(kind))
}

fn key(entry: &GrowthEntry) -> (&str, Option<(&'static str, u32)>) {
    (entry.name(), entry.site())
}
