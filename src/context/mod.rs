//! Contexts: scopes that own tasks, hooks, values and child contexts, and close for certain.
//!
//! A `core` is what a context is made of. [`gate`] decides who comes in and when
//! everybody has left; [`handles`] counts who holds it; a [`stack`] holds the
//! hooks ([`callback`]) and owned values; a hook that runs has a [place](hook_place), where it can be asked; [`tally`] counts what became of the tasks. [`tree`] opens
//! contexts. `close` begins and ends a close, [`ladder`] is what lies between,
//! [`driver`] finds who climbs it by the rules of [`drive`], [`report`] says how it went, [`refusal`] what came too late, and [`stragglers`] who is in the way,
//! found by [`roundup`]; `deadlocks` looks for tasks that wait for each other, when [`patience`] says so; both do it for
//! all who want it, in [`turns`].
//! [`current`] knows whose code is running, [`record`] is a context as its registry lists it and its tasks see it. The rest is
//! what users hold: [`handle`], [`weak`],
//! [`builder`], [`hook`], [`owned`].

pub(crate) mod builder;
pub(crate) mod callback;
pub(crate) mod close;
pub(crate) mod core;
pub(crate) mod current;
#[cfg(feature = "dump")]
pub(crate) mod deadlocks;
pub(crate) mod drive;
pub(crate) mod driver;
pub(crate) mod dropped;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod handles;
pub(crate) mod hold;
pub(crate) mod hook;
pub(crate) mod hook_place;
pub(crate) mod ladder;
pub(crate) mod owned;
pub(crate) mod patience;
pub(crate) mod reason;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod report;
pub(crate) mod roundup;
pub(crate) mod stack;
pub(crate) mod stragglers;
pub(crate) mod tally;
pub(crate) mod tree;
pub(crate) mod turns;
pub(crate) mod weak;
