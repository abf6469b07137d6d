//! Supervision: the states of a task that is started again, what is counted, what is refused when, and what is not promised.
//!
//! A *supervised* task has *attempts*: futures that a closure makes, one after the other. It is made by
//! [`TaskBuilder::restart`](crate::TaskBuilder::restart), and its handle is a [`Supervised`](crate::supervision::Supervised). Each
//! attempt is a task of the context: it has the name of the task and an id of its own, goes in through the gate, is listed,
//! awaited by the close, aborted after the grace period, and counted in the report. So is the *pause* between two attempts, except
//! that it is not counted.
//!
//! ```text
//! 1 context, 2 tasks
//! server  context · open · 7.0s · 1 strong · src/main.rs:12
//! ├─ feed  task · backing off · attempt 3 in 1.2s · 800ms · src/main.rs:14
//! └─ mail  task · running · attempt 1 · 7.0s · src/main.rs:19
//! ```
//!
//! # States
//!
//! ```text
//!   run        closure is called                 it fails, and there is a budget
//!  ─────▶ ┌─────────────────────┐ ────────────────────────────────────▶ ┌─────────────────────┐
//!    │    │ Running (attempt n) │                                       │ BackingOff (n + 1)  │
//!    │    └─────────────────────┘ ◀──────────────────────────────────── └─────────────────────┘
//!    │       │  ▲       │             the pause is over · restart_now           │
//!    │       │  └───────┘                                                       │
//!    │       │ restart_now                                                      │
//!    │       │                                                                  │
//!    │       ├─ returns ──────────────────────▶ Finished                        │
//!    │       ├─ budget is spent · unless ─────▶ GaveUp                          │
//!    │       ├─ stop ─────────────────────────▶ Stopped ◀───────────────── stop ┤
//!    │       ├─ the context closes, finishes ─▶ Closed ◀── it closes, finishes ─┤
//!    │       └─ its runtime ends ─────────────▶ RuntimeGone ◀── its runtime ends┘
//!    └─ the context is closed ────────────────▶ Refused
//! ```
//!
//! With [`always`](crate::supervision::Restart::always) an attempt that returns is followed by another, as one that fails is.
//!
//! Attempts do not overlap. When one is over its future is dropped first, destructors included; then it is decided what follows;
//! then the next attempt, or the pause, goes in through the gate; and only then the one that is over goes out. So a context with a
//! supervised task never has a moment in which it has [run dry](crate::Context::idle). If the gate refuses, nothing follows: once
//! the context begins to close no attempt begins (I2).
//!
//! # What an attempt comes to
//!
//! | the attempt | is | `on_failure` | `always` | last failure |
//! |---|---|---|---|---|
//! | returns `()` or `Ok` | no failure | finished | restarted | stays |
//! | returns `Err` | a failure | restarted, or by [`unless`](crate::supervision::Restart::unless) given up | the same | the error |
//! | panics, in the closure, the future or a destructor | a failure | restarted | restarted | the panic |
//! | outlives its [deadline](crate::TaskBuilder::deadline) | a failure | restarted | restarted | says so |
//! | is aborted by `restart_now` | no failure | restarted | restarted | stays |
//! | is aborted by `stop`, or [replaced](crate::OnConflict::Replace) in its slot | no failure | stopped | stopped | stays |
//! | is cancelled or aborted by the close | no failure | closed | closed | stays |
//! | fails while the context closes or finishes, or after `stop` | a failure that nothing follows | closed, stopped | the same | the failure |
//!
//! # The budget
//!
//! [`budget(n, per)`](crate::supervision::Restart::budget) allows `n` restarts in each window of this length that ends with a restart: 5
//! in 60 s unless set.
//!
//! | counts | does not count |
//! |---|---|
//! | a restart after a failure | [`restart_now`](crate::supervision::Supervised::restart_now), in an attempt or in a pause |
//! | with `always`, a restart after a return | the first attempt |
//! | one whose pause ends early, by `restart_now` or a close | an attempt that fails while it is restarted by `restart_now` |
//!
//! An attempt that has run for [`healthy_after`](crate::supervision::Restart::healthy_after) finds a full budget at its end, and the
//! first pause. The pauses grow meanwhile, and `restart_now` makes them neither longer nor shorter. A budget that is spent before
//! the pauses have grown far gives up soon: with the defaults, a task that always fails at once is given up after some 6 to 12
//! seconds. Where what it needs may be away for an hour, give it a budget of [`u32::MAX`].
//!
//! # Failures, and the report
//!
//! A failure after which another attempt is to follow is no failure of the task: it triggers no policy, is not in
//! [`CloseReport::failures`](crate::CloseReport::failures), and leaves the close clean, also if the close comes in the pause. It
//! counts in [`restarted`](crate::CloseReport::restarted), and as every attempt in `panicked`, `finished`, `failed` and the like.
//!
//! A failure that nothing follows is the failure of a task as any other, whatever the reason is: the task was given up, its
//! context was closing, it was stopped. It follows the [policy](crate::OnFailure) of the context, is in the report, and makes the
//! close unclean unless it was seen: by [`ended`](crate::supervision::Supervised::ended), before the report was made.
//! With [`GiveUp::Close`](crate::supervision::GiveUp::Close) the task's own context closes if it is given up.
//!
//! An [essential](crate::TaskBuilder::essential) task ends when there is no other attempt. That it finishes, is stopped, or loses its runtime
//! is a failure while its context is open.
//!
//! # What is refused when
//!
//! | the task | `restart_now` | `stop` | `ended` |
//! |---|---|---|---|
//! | was not polled yet | drops that attempt unpolled, and begins the second | ends it, and calls nothing | waits |
//! | runs | aborts, and begins the next | aborts | waits |
//! | is between an attempt and what follows | skips the pause | ends what follows | waits |
//! | is in a pause | ends the pause | ends the pause | waits |
//! | runs while its context closes or finishes | false, and does nothing | aborts | waits |
//! | was told to stop | true, and does nothing | true, and does nothing | waits |
//! | has ended, or drops what is left | false | false | says how |
//!
//! # Ending
//!
//! * [`close`](crate::Context::close) ends a pause at once, and treats an attempt as it does any task.
//! * [`finish`](crate::Context::finish) awaits the attempt that runs, starts no other, and ends a pause at once. So does
//!   [`finish_by`](crate::Context::finish_by). A task that is in the middle of its work when it fails then leaves that undone, which
//!   the report says.
//! * [`idle`](crate::Context::idle) waits until the supervised tasks have ended: a pause is work.
//! * Neither attempts nor pauses hold a handle of the context (I3): dropping the last one closes it.
//!
//! # What is not promised
//!
//! * **A restart is no clean slate.** What an attempt shares with others, such as a lock or a file, is as the attempt left it.
//! * **A task that never waits is not restarted.** `restart_now` and `stop` abort, and an abort is a request: see
//!   [limitations](super::limitations).
//! * **Its runtime is not changed.** All attempts run where the first one did. If that runtime ends the task does, also where its
//!   context works on with another.
//! * **Attempts are futures that can be sent.** There are no supervised blocking closures, and no local ones.
//! * **Pauses are by timers**: to a millisecond, and at least as long as said. Jitter makes them up to twice as long as the
//!   longest one that was set.
//! * **There is no order among siblings.** Each task is restarted by itself; to restart what belongs together, supervise one
//!   task that opens a context, works with it, and closes it.
//! * **An attempt that waits for the end of its own task waits for itself**, as one does that joins itself.
