//! `/resourcez`: how much there is, by kind; with `verbose` what it is.

use crate::{
    context::close_reason::CloseReason,
    offload::offload,
    table::{live::Live, record::Class, resource::Resource},
    window::{
        answer::answer,
        entry::{EntryView, class},
        params::Params,
        problem::Problem,
        shared::Shared,
        tree::PAGE,
    },
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

#[derive(Serialize)]
struct Summary {
    total: usize,
    tasks: usize,
    contexts: usize,
    resources: usize,
    /// Why the registry closes, or has closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    close_reason: Option<String>,
    kinds: Vec<KindView>,
    /// The first 500, with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryView>>,
    /// How many entries are not listed here; `/tree?all` has them in pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<usize>,
}

/// The entries of one kind in one state.
#[derive(Serialize)]
struct KindView {
    kind: String,
    class: &'static str,
    state: String,
    count: usize,
    oldest_secs: f64,
}

pub(crate) async fn resources(
    shared: &Arc<Shared>,
    uri: &axum::http::Uri,
) -> Result<String, Problem> {
    let is_verbose = Params::of(uri, &["verbose"])?.has("verbose");
    let live = shared.table().live().await;
    let shared = Arc::clone(shared);
    Ok(offload(move || answer(&shared, summary(&shared, &live, is_verbose))).await)
}

fn summary(shared: &Shared, live: &Live, is_verbose: bool) -> Summary {
    let count = |class| live.iter().filter(|it| it.class() == class).count();
    let reason = shared.node.close_reason().map(CloseReason::to_string);
    let entries = is_verbose.then(|| {
        let entries = live.iter().take(PAGE);
        entries
            .map(|entry| shared.wording(|wording| EntryView::of(entry, wording)))
            .collect()
    });
    Summary {
        total: live.len(),
        tasks: count(Class::Task),
        contexts: count(Class::Context),
        resources: count(Class::Resource),
        close_reason: reason.filter(|_| shared.labels.are_shown()),
        kinds: kinds(shared, live),
        entries,
        left_out: is_verbose.then(|| live.len().saturating_sub(PAGE)),
    }
}

fn kinds(shared: &Shared, live: &Live) -> Vec<KindView> {
    let mut kinds: BTreeMap<_, (&Resource, usize, Duration)> = BTreeMap::new();
    for entry in live {
        let key = (entry.kind(), class(entry), entry.state() as u8);
        let (_, count, oldest) = kinds.entry(key).or_insert((entry, 0, Duration::ZERO));
        *count += 1;
        *oldest = (*oldest).max(entry.age());
    }
    let view = |(entry, count, oldest): (&Resource, usize, Duration)| KindView {
        kind: shared.labels.label(&entry.record().meta().kind),
        class: class(entry),
        state: entry.state().to_string(),
        count,
        oldest_secs: oldest.as_secs_f64(),
    };
    kinds.into_values().map(view).collect()
}
