//! Contexts: scopes that own tasks, hooks, values and child contexts, and close for certain.
//!
//! A `core` is what a context is made of. Its [`gate`] refuses what comes too late and knows when the last one has left;
//! [`handles`] counts strong handles; a [`stack`] has the hooks ([`callback`]) and owned values; [`tally`] counts what became of
//! the tasks. [`tree`] opens contexts.
//!
//! `close` begins and ends a close, and [`steps`] is what lies between, in order. A [`driver`] runs them, by the rules of
//! [`drive`]. [`escalation`] says when to look for deadlocks and when to abort, [`stragglers`] what is still there, found by a
//! [`coalesced_scan`] for all that ask; `deadlocks` are looked for in the same way; both go by [`turns`]. A hook that runs has a
//! [place](hook_place), where it can be asked. The [`report`] says how the close went, [`refusal`] what came too late.
//!
//! [`current`] knows whose code is running, and [`record`] is a context as its registry lists it. The rest is what users
//! hold: [`handle`], [`weak`], [`builder`], [`hook`], [`owned`].

pub(crate) mod builder;
pub(crate) mod callback;
pub(crate) mod close;
pub(crate) mod coalesced_scan;
pub(crate) mod core;
pub(crate) mod current;
#[cfg(feature = "dump")]
pub(crate) mod deadlocks;
pub(crate) mod drive;
pub(crate) mod driver;
pub(crate) mod dropped;
pub(crate) mod escalation;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod handles;
pub(crate) mod hold;
pub(crate) mod hook;
pub(crate) mod hook_place;
pub(crate) mod owned;
pub(crate) mod reason;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod report;
pub(crate) mod stack;
pub(crate) mod steps;
pub(crate) mod stragglers;
pub(crate) mod tally;
pub(crate) mod tree;
pub(crate) mod turns;
pub(crate) mod weak;
