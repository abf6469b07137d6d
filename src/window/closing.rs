//! `/closing`: the closes under way, and what is in the way of each.

use crate::{
    context::current::node_of,
    id::ResourceId,
    leaks::snapshot::Closing,
    offload::offload,
    table::{
        live::Live,
        record::{Class, State},
        resource::Resource,
    },
    window::{
        answer::answer,
        entry::{EntryView, site},
        params::Params,
        problem::Problem,
        shared::Shared,
    },
};
use serde::Serialize;
use std::{collections::HashMap, sync::Arc};

/// How many closes are listed, those first that began first.
const CLOSES: usize = 100;
/// How many tasks of each are named.
const NAMED: usize = 10;

#[derive(Serialize)]
struct ClosingAnswer {
    /// The close of the registry itself, while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<CloseView>,
    closes: Vec<ContextClose>,
    /// How many are left out.
    more: usize,
}

#[derive(Serialize)]
struct ContextClose {
    #[serde(flatten)]
    entry: EntryView,
    close: CloseView,
}

/// How far a close is.
#[derive(Serialize)]
struct CloseView {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The line that asked for it.
    location: Option<String>,
    since_secs: f64,
    grace_secs: f64,
    /// Hooks that run.
    hooks: Vec<String>,
    /// How many tasks it waits for, its own.
    tasks: usize,
    /// The oldest of them.
    oldest: Vec<EntryView>,
    /// How many contexts in it are not closed.
    children: usize,
}

pub(crate) async fn closing(
    shared: &Arc<Shared>,
    uri: &axum::http::Uri,
) -> Result<String, Problem> {
    Params::of(uri, &[])?;
    let live = shared.table().live().await;
    let shared = Arc::clone(shared);
    Ok(offload(move || answer(&shared, closes(&shared, &live))).await)
}

/// What each closing context waits for. The registry is `None`.
type InTheWay<'a> = HashMap<Option<ResourceId>, (Vec<&'a Resource>, usize)>;

fn closes(shared: &Shared, live: &Live) -> ClosingAnswer {
    let is_closing = |it: &&Resource| it.class() == Class::Context && it.state() == State::Closing;
    let mut waiting = InTheWay::new();
    for entry in live {
        let (tasks, children) = match entry.class() {
            Class::Task => (Some(entry), 0),
            Class::Context if entry.state() != State::Closed => (None, 1),
            _ => continue,
        };
        let waits = waiting.entry(entry.parent()).or_default();
        waits.0.extend(tasks);
        waits.1 += children;
    }
    let contexts: Vec<_> = live.iter().filter(is_closing).collect();
    let listed = contexts.iter().take(CLOSES).filter_map(|context| {
        let close = Closing::of(node_of(context.record())?)?;
        Some(ContextClose {
            entry: shared.wording(|wording| EntryView::of(context, wording)),
            close: view(shared, close, waiting.remove(&Some(context.id()))),
        })
    });
    let listed = listed.collect();
    let whole = Some(&shared.node).filter(|node| node.gate.state() == State::Closing);
    let whole = whole.and_then(|node| Closing::of(node));
    ClosingAnswer {
        whole: whole.map(|close| view(shared, close, waiting.remove(&None))),
        closes: listed,
        more: contexts.len().saturating_sub(CLOSES),
    }
}

fn view(shared: &Shared, close: Closing, in_the_way: Option<(Vec<&Resource>, usize)>) -> CloseView {
    let (tasks, children) = in_the_way.unwrap_or_default();
    let oldest = tasks.iter().take(NAMED);
    CloseView {
        reason: shared.labels.text(&close.reason).map(str::to_owned),
        location: close.location.map(site),
        since_secs: close.since.as_secs_f64(),
        grace_secs: close.grace.as_secs_f64(),
        hooks: close.hooks,
        tasks: tasks.len(),
        oldest: oldest
            .map(|task| shared.wording(|wording| EntryView::of(task, wording)))
            .collect(),
        children,
    }
}
