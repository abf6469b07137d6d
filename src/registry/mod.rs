//! Registries: the head counts. A [`Registry`](handle::Registry) is the root of a tree of contexts and
//! the table of everything alive in it.

pub(crate) mod current;
#[cfg(feature = "dump")]
pub(crate) mod dump;
pub(crate) mod free;
pub(crate) mod handle;
pub(crate) mod leaks;
#[cfg(all(feature = "signal", unix))]
pub(crate) mod signal;
pub(crate) mod watch;
