//! What every answer begins with: the version of the schema, and which registry it is about.

use crate::{
    table::record::State,
    window::{
        json::{SCHEMA, text},
        shared::Shared,
    },
};
use serde::Serialize;

#[derive(Serialize)]
struct Answer<'a, T> {
    schema: u32,
    registry: RegistryView<'a>,
    #[serde(flatten)]
    facts: T,
}

/// Which registry it is, and how far along.
#[derive(Serialize)]
struct RegistryView<'a> {
    id: &'a str,
    state: State,
    ready: bool,
    /// Whether names that were made at run time are `shown` or `hashed`.
    labels: &'static str,
}

/// The JSON of an answer.
pub(crate) fn answer(shared: &Shared, facts: impl Serialize) -> String {
    let labels = if shared.labels.are_shown() {
        "shown"
    } else {
        "hashed"
    };
    text(&Answer {
        schema: SCHEMA,
        registry: RegistryView {
            id: shared.ids.tag(),
            state: shared.node.gate.state(),
            ready: shared.readiness.is_ready(),
            labels,
        },
        facts,
    })
}
