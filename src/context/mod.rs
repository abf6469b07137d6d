//! Contexts: scopes that own tasks, hooks, values and child contexts, and close for certain.
//!
//! From the bottom up: [`refusal`] and [`failure`] say what came too late and what went wrong, [`close_reason`] why a context closes. The
//! [`log`] collects that, and a [`report`] of how the close went is made of it;
//! [`tally`] counts. [`hooks`] are what a context keeps for its close, in a [`stack`]. Its [`gate`] refuses what comes too late and
//! knows when the last one has left; the [`lease`] decides who drives its close; [`haste`] says by when it is to be over. Its
//! [`slots`] put tasks in line, and its [`quota`] says how many there may be; its [`cancellation`] is the token. Of these a context's
//! [`state`] is made: a node, which is what is known of it as long as anything refers to it, and a core, which is what the close brings
//! to an end. [`record`] is how listings see it, [`finishing`] whether it only runs dry, and [`stats`] adds up; [`current`] knows whose
//! code is running.
//!
//! [`close`] is the close, in the order in which it runs, [`unwind`] the end of its stack; [`stragglers`] and `deadlocks` are what
//! is in its way, which the [`telling`] of the outermost context reports as one. A [`driver`] polls it. On top is what users hold: [`builder`], [`weak`],
//! and [`context`]; [`opening`] makes the first handle of one.

pub(crate) mod alike;
pub(crate) mod begin;
pub(crate) mod blocked;
pub(crate) mod builder;
pub(crate) mod cancellation;
pub(crate) mod close;
pub(crate) mod close_reason;
#[expect(clippy::module_inception, reason = "it is the context")]
pub(crate) mod context;
pub(crate) mod current;
#[cfg(feature = "dump")]
pub(crate) mod deadlocks;
pub(crate) mod driver;
#[cfg(feature = "dump")]
pub(crate) mod dumps;
pub(crate) mod escalation;
pub(crate) mod failure;
pub(crate) mod finish;
pub(crate) mod finishing;
pub(crate) mod gate;
pub(crate) mod handles;
pub(crate) mod haste;
pub(crate) mod hook_count;
pub(crate) mod hook_guard;
pub(crate) mod hook_origin;
pub(crate) mod hook_output;
pub(crate) mod hook_run;
pub(crate) mod hooks;
pub(crate) mod lease;
pub(crate) mod line_counts;
pub(crate) mod log;
pub(crate) mod look_up;
pub(crate) mod needs;
pub(crate) mod observers;
pub(crate) mod opening;
pub(crate) mod question;
pub(crate) mod quota;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod report;
pub(crate) mod runtimes;
pub(crate) mod slots;
pub(crate) mod stack;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod still_closing;
pub(crate) mod stop_on;
pub(crate) mod stragglers;
pub(crate) mod tally;
pub(crate) mod telling;
pub(crate) mod unwind;
pub(crate) mod wait;
pub(crate) mod weak;
pub(crate) mod weak_handles;
pub(crate) mod weak_set;
pub(crate) mod with_context;
