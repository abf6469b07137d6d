//! Leaks: who still holds what should be gone.
//!
//! A [`survey`] gathers facts, [`judge`] says which things are leaks by the [`policy`], [`keepers`] knows why each is
//! alive, [`blame`] tells culprits from victims, and a [`chain`] leads down to each culprit. A [`finding`] is one culprit
//! with its [`fingerprint`] and [`advice`]; [`find`] makes them all, [`settle`] looks until nothing is left to find. The [`report`] is [`print`]ed,
//! or drawn: a [`picture`] is its [`graph`]. [`allow`] is the list of known leaks, [`growth`] compares counts.

pub(crate) mod advice;
pub(crate) mod allow;
pub(crate) mod blame;
pub(crate) mod chain;
pub(crate) mod find;
pub(crate) mod finding;
pub(crate) mod fingerprint;
pub(crate) mod graph;
pub(crate) mod growth;
pub(crate) mod judge;
pub(crate) mod keepers;
pub(crate) mod picture;
pub(crate) mod policy;
pub(crate) mod postorder;
pub(crate) mod print;
pub(crate) mod report;
pub(crate) mod settle;
#[cfg(feature = "dump")]
pub(crate) mod stacks;
pub(crate) mod survey;
