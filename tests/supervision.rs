#![allow(clippy::unwrap_used, dead_code)]
#[path = "it/events.rs"]
mod events;
#[path = "it/supervision.rs"]
mod supervision;
#[path = "it/supervision_model.rs"]
mod supervision_model;
#[path = "it/util.rs"]
mod util;
