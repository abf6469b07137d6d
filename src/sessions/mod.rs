//! Sessions: contexts by key, which stay open while clients hold them, and for an idle window after that.
//!
//! [`Context::sessions`](crate::Context::sessions) opens a table of them; [`Sessions::attach`] returns a [`Lease`].
//! [`docs::sessions`](crate::docs::sessions) draws the states, and says what is refused when and what is not promised.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use headcount::Registry;
//! use std::time::Duration;
//!
//! let server = Registry::new().context("server");
//! let pages = server.sessions::<u64>("pages").idle(Duration::from_secs(60)).open();
//! let page = pages.attach(7, "alice").await.unwrap();
//! page.context().spawn(async { /* belongs to the session */ });
//! page.leave(); // on purpose, so nothing waits for this client
//! assert!(server.close().await.is_clean());
//! # }
//! ```

// How it is made: `table` decides, in one lock, with `places` for the limits and `idle` for the order of those that no lease holds;
// what it decides lies in `joining`, `opening`, `leaving` and `due`. `shared` does what follows; `build` makes the contexts.

pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod due;
pub(crate) mod error;
pub(crate) mod idle;
pub(crate) mod joining;
pub(crate) mod key;
pub(crate) mod lease;
pub(crate) mod leaving;
pub(crate) mod opening;
pub(crate) mod places;
pub(crate) mod session;
#[expect(clippy::module_inception, reason = "it is the table's handle")]
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod timer;

pub use builder::SessionsBuilder;
pub use error::{AttachError, EnvError, Limit};
pub use lease::{Arrival, Lease};
pub use sessions::{Session, Sessions};
pub use settings::{Overflow, WhileClosing};
pub use signal::Loss;
pub use status::{SessionCounts, SessionState};
