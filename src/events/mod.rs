//! What happens in a registry, as it happens: [`Registry::events`](crate::Registry::events).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use headcount::{Registry, events::What};
//!
//! let registry = Registry::new();
//! let mut events = registry.events();
//!
//! let ctx = registry.context("job");
//! ctx.task("work").spawn(async {}).await.unwrap();
//! ctx.close().await;
//!
//! let mut said = Vec::new();
//! while let Some(Ok(event)) = events.try_next() {
//!     said.push(event.to_string());
//! }
//! assert!(said[0].ends_with("context job: opened"), "{said:#?}");
//! assert!(said[1].ends_with("task work: spawned"), "{said:#?}");
//! assert!(said[2].ends_with("task work: ended (finished)"), "{said:#?}");
//! assert!(said[3].ends_with("context job: closing (requested: close)"), "{said:#?}");
//! # }
//! ```
//!
//! The chapter [`docs::events`](crate::docs::events) says what is promised of them, and what is not.

pub(crate) mod broadcast;
mod event;
#[cfg(feature = "sessions")]
mod session;
mod stream;
mod told;

pub use event::{Event, TaskOutcome, What};
#[cfg(feature = "sessions")]
pub use session::SessionChange;
pub use stream::{Events, Lost};
pub(crate) use told::{EventSender, Told};
