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
#[cfg(feature = "testing")]
mod close_anywhere;
#[cfg(feature = "testing")]
mod closed_examples;
#[cfg(feature = "testing")]
mod closed_faults;
#[cfg(all(feature = "console", not(tokio_unstable)))]
mod console;
mod current;
mod deadlines;
#[cfg(feature = "dump")]
mod deadlocks;
mod debug;
mod drops;
#[cfg(feature = "dump")]
mod dump;
#[cfg(feature = "dump")]
mod elsewhere;
mod event_stream;
mod event_targets;
mod events;
mod failures;
mod fingerprints;
mod finishing;
mod force;
mod growth;
mod holders;
#[cfg(feature = "dump")]
mod hook_deadlocks;
mod hooks;
mod hostile;
mod inside;
mod leak_growth;
#[cfg(feature = "testing")]
mod leak_practice;
mod leaks;
#[cfg(feature = "dump")]
mod leaves;
#[cfg(feature = "dump")]
mod limit_holders;
mod limit_model;
mod limits;
mod listing;
mod locks;
#[cfg(feature = "dump")]
mod look_ups;
#[cfg(feature = "metrics")]
mod metrics;
mod needs;
mod own_handles;
mod owned;
mod peers;
mod quotas;
mod refusals;
mod registry;
mod repeats;
mod reports;
#[cfg(feature = "supervision")]
mod restart_requests;
#[cfg(feature = "signal")]
mod run;
#[cfg(feature = "dump")]
mod running_hooks;
mod runtimes;
mod scans;
mod service;
#[cfg(feature = "sessions")]
mod session_model;
#[cfg(feature = "sessions")]
mod session_values;
#[cfg(feature = "sessions")]
mod sessions;
mod slots;
mod sockets;
mod source;
mod stats;
mod stop_on;
mod streams;
#[cfg(feature = "supervision")]
mod supervision;
#[cfg(feature = "supervision")]
mod supervision_model;
mod task_handles;
mod task_set;
mod tasks;
#[cfg(feature = "testing")]
mod testing;
mod timers;
mod tree;
mod tree_warnings;
mod unseen_growth;
mod unwind;
mod util;
#[cfg(feature = "dump")]
mod waits;
mod watch;
mod weak;
#[cfg(feature = "web")]
mod window;
#[cfg(feature = "web")]
mod window_fuzz;
mod with_context;
mod wrap;
