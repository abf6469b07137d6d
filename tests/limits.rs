//! While this is being built.
#![expect(
    clippy::unwrap_used,
    clippy::async_yields_async,
    reason = "tests unwrap"
)]
#![allow(dead_code, clippy::allow_attributes)]
#[path = "it/events.rs"]
mod events;
#[path = "it/limit_model.rs"]
mod limit_model;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/quotas.rs"]
mod quotas;
#[path = "it/util.rs"]
mod util;
