//! What the crate promises, one fact a test, by concept. `I1` … `I20` name invariants (see `docs::invariants`), `S…` and `L…`
//! rows of the list of behaviours that the crate grew from.

#![expect(
    clippy::unwrap_used,
    clippy::async_yields_async,
    clippy::redundant_async_block,
    clippy::semicolon_if_nothing_returned,
    reason = "tests unwrap, and spell futures out as users do"
)]

#[cfg(feature = "dump")]
mod asking;
mod autotraits;
mod bad_input;
mod blocked;
mod close;
mod current;
mod deadlines;
#[cfg(feature = "dump")]
mod deadlocks;
mod debug;
mod drops;
#[cfg(feature = "dump")]
mod dump;
mod events;
mod failures;
mod finishing;
mod force;
mod holders;
#[cfg(feature = "dump")]
mod hook_deadlocks;
mod hooks;
mod hostile;
mod inside;
mod leak_growth;
mod leaks;
mod listing;
mod needs;
mod owned;
mod peers;
mod refusals;
mod registry;
#[cfg(feature = "dump")]
mod running_hooks;
mod runtimes;
mod scans;
mod service;
#[cfg(feature = "sessions")]
mod session_model;
#[cfg(feature = "sessions")]
mod sessions;
mod slots;
mod sockets;
mod source;
mod streams;
mod task_handles;
mod task_set;
mod tasks;
#[cfg(feature = "testing")]
mod testing;
mod timers;
mod tree;
mod unwind;
mod util;
mod weak;
mod with_context;
mod wrap;
