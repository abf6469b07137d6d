//! One entry of a listing, as answers have it.

use crate::{
    labels::Wording,
    table::{
        record::{Class, State},
        resource::Resource,
    },
};
use serde::Serialize;
use std::{panic::Location, time::UNIX_EPOCH};

#[derive(Debug, Serialize)]
pub(crate) struct EntryView {
    id: String,
    name: String,
    kind: String,
    /// `task`, `context` or `resource`.
    class: &'static str,
    state: State,
    age_secs: f64,
    /// In seconds since 1970.
    created_at: f64,
    location: String,
    parent: Option<String>,
    path: String,
    /// What there is to say beside the state: of a session how many hold it, of a supervised task its attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    strong_count: Option<usize>,
    weak_count: usize,
    hooks: usize,
    handles_of_ended_tasks: usize,
}

impl EntryView {
    pub(crate) fn of(resource: &Resource, wording: Wording<'_>) -> Self {
        let labels = wording.labels;
        let meta = resource.record().meta();
        let since_1970 = resource.created_at().duration_since(UNIX_EPOCH);
        Self {
            id: (wording.id)(meta.id),
            name: labels.label(&meta.name),
            kind: labels.label(&meta.kind),
            class: class(resource),
            state: resource.state(),
            age_secs: resource.age().as_secs_f64(),
            created_at: since_1970.map_or(0.0, |since| since.as_secs_f64()),
            location: site(meta.location),
            parent: resource.parent().map(wording.id),
            path: labels.path(resource.record()),
            detail: resource.detail(),
            strong_count: resource.strong_count(),
            weak_count: resource.weak_count(),
            hooks: resource.hooks(),
            handles_of_ended_tasks: resource.handles_of_ended_tasks(),
        }
    }
}

pub(crate) fn class(resource: &Resource) -> &'static str {
    match resource.class() {
        Class::Task => "task",
        Class::Context => "context",
        Class::Resource => "resource",
    }
}

/// `src/net/conn.rs:41`
pub(crate) fn site(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}
