#![allow(clippy::all, dead_code, unused)]
#[path = "it/holders.rs"]
mod holders;
#[path = "it/own_handles.rs"]
mod own_handles;
#[path = "it/registry.rs"]
mod registry;
#[path = "it/unseen_growth.rs"]
mod unseen_growth;
#[path = "it/util.rs"]
mod util;
