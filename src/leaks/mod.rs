//! Leaks: what should be gone and is not, and who still holds it.
//!
//! [`Registry::leaks`](crate::Registry::leaks) looks for them by a [`LeakPolicy`] and returns a [`LeakReport`], with one
//! [`Finding`] for each culprit. [`Allow`] names leaks that are known. [`Growth`] compares counts over time, for leaks that
//! are slow. [`LeakWatch`] looks while a program runs. [`docs::leaks`](crate::docs::leaks) explains what counts as a leak.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use headcount::{Registry, leaks::{LeakKind, LeakPolicy}};
//!
//! let registry = Registry::new();
//! let ctx = registry.context("session");
//! ctx.close().await; // and `ctx` is still held
//! let report = registry.leaks(&LeakPolicy::new()).await;
//! assert_eq!(report.findings()[0].kind(), LeakKind::ClosedButHeld);
//! println!("{report}");
//! # }
//! ```

// How a report is made: `snapshot` gathers what is alive, `judge` says which of them are leaks by the policy, `referrers` knows
// why each is alive, `counts` counts what is not listed, `attribution` tells culprits from victims, `chain` leads down to each
// culprit, `find` makes the findings, again and again until nothing is left to find. `report` has them and prints them;
// `drawing` makes a `graph` of them.

pub(crate) mod advice;
pub(crate) mod allow;
mod allow_list;
pub(crate) mod attribution;
pub(crate) mod chain;
pub(crate) mod counts;
pub(crate) mod drawing;
pub(crate) mod find;
pub(crate) mod finding;
pub(crate) mod graph;
pub(crate) mod growing;
pub(crate) mod growth;
pub(crate) mod held;
#[cfg(feature = "serde")]
pub(crate) mod json;
pub(crate) mod judge;
pub(crate) mod policy;
pub(crate) mod referrers;
pub(crate) mod report;
pub(crate) mod snapshot;
#[cfg(feature = "dump")]
pub(crate) mod stacks;
pub(crate) mod trend;

pub use crate::registry::watch::LeakWatch;
pub use allow::Allow;
pub use finding::Finding;
pub use graph::Graph;
pub use growth::{Growth, GrowthEntry};
pub use judge::LeakKind;
pub use policy::LeakPolicy;
pub use report::LeakReport;
