//! What the crate promises, one fact a test, by concept. `I1` … `I16` name invariants, `S…` and `L…`
//! rows of the list of behaviours that the crate grew from.

mod autotraits;
mod bad_input;
mod close;
mod current;
mod drops;
mod events;
mod hooks;
mod listing;
mod owned;
mod registry;
mod runtimes;
mod tasks;
mod tree;
mod util;
mod weak;
mod wrap;
