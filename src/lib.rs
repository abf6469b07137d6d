//! Know who is still inside before you lock the door: an async-native resource manager for tokio.

mod clock;
mod context;
mod error;
mod id;
#[cfg(all(test, headcount_loom))]
mod models;
mod name;
mod panics;
mod registry;
mod sync;
mod table;
mod task;
mod tracked;

pub use context::builder::ContextBuilder;
pub use context::callback::HookOutput;
pub use context::handle::Context;
pub use context::hook::Hook;
pub use context::reason::CloseReason;
pub use context::report::{CloseReport, CloseStatus, HookCounts};
pub use context::stragglers::StillClosing;
pub use context::weak::WeakContext;

pub use error::{Closed, PanicPayload, Refused, RefusedReason, TaskError};
pub use id::ResourceId;

pub use registry::free::{context, live, register, spawn, track};
pub use registry::handle::Registry;

pub use table::entry::Registration;
pub use table::live::{Live, LiveIter};
pub use table::record::State;
pub use table::resource::Resource;

pub use task::builder::TaskBuilder;
pub use task::handle::Task;
pub use task::wrapped::Wrapped;

pub use tracked::{Tracked, WeakTracked};
