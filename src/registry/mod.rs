//! Registries: the head counts. A [`Registry`](registry::Registry) is the root of a tree of contexts and
//! the table of everything alive in it.

pub(crate) mod builder;
pub(crate) mod coalesced_scan;
#[cfg(feature = "metrics")]
pub(crate) mod figures;
pub(crate) mod free;
pub(crate) mod readiness;
#[expect(clippy::module_inception, reason = "it is the registry")]
pub(crate) mod registry;
#[cfg(all(feature = "signal", unix))]
pub(crate) mod signal;
pub(crate) mod state;
pub(crate) mod watch;
