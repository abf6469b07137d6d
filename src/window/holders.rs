//! `/holders`: who holds a context or a value.

use crate::{
    holders::Holders,
    leaks::json::HoldersView,
    offload::offload,
    window::{answer::answer, entry::EntryView, params::Params, problem::Problem, shared::Shared},
};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Answer {
    entry: EntryView,
    holders: HoldersView,
}

pub(crate) async fn holders(
    shared: &Arc<Shared>,
    uri: &axum::http::Uri,
) -> Result<String, Problem> {
    let params = Params::of(uri, &["id"])?;
    let id = params.get("id").ok_or_else(Problem::missing_id)?;
    let found = shared.find(id)?;
    if found.record().strong_count().is_none() {
        return Err(Problem::no_handles());
    }
    let shared = Arc::clone(shared);
    // Lines behind a library's are looked up in the program's debug information.
    let work = move || {
        let holders = Holders::of(found.record(), shared.table().table_ref());
        let facts = shared.wording(|wording| Answer {
            entry: EntryView::of(&found, wording),
            holders: HoldersView::of(&holders, wording),
        });
        answer(&shared, facts)
    };
    Ok(offload(work).await)
}
