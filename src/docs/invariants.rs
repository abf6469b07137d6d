//! The promises, numbered as the code and the tests cite them.
//!
//! Each has three parts: the promise, the types and modules that keep it, and the tests that show it. *Not built yet* marks
//! what a later version adds.
//!
//! # I1 Drain
//!
//! When [`close`](crate::Context::close) or [`closed`](crate::Context::closed) returns with the status
//! [`Closed`](crate::CloseStatus::Closed), every future that the context or a descendant accepted has been dropped, no
//! hook runs, and the owned values are gone, except those of which a handle is still held. Nothing is about to finish.
//!
//! * Kept by: the gate of the context, which a task leaves last of all, after its future is dropped and its output is
//!   delivered (`task::guard`).
//! * Shown by: `tests/it/close.rs`, `tests/it/hostile.rs`, `tests/it/close_anywhere.rs`, `tests/matrix`, `tests/stress/spawn_close.rs`,
//!   and the fuzzer.
//!
//! # I2 No gap
//!
//! A spawn is either refused or awaited by the close, in every interleaving.
//!
//! * Kept by: the gate. Its state and the number of what is inside are one atomic word, so entering and learning whether
//!   the context is open are one step.
//! * Shown by: the models `closing`, `finishing` and `weak_spawns`, `tests/it/close.rs`, `tests/it/weak.rs`,
//!   `tests/it/refusals.rs`, `tests/it/limits.rs`, `tests/it/supervision.rs`, `tests/stress/spawn_close.rs`.
//!
//! # I3 Weak
//!
//! Neither a task nor the registry holds a strong handle to a context. A task that upgrades its weak handle keeps the
//! context open for exactly as long as it keeps the strong one, and [`holders`](crate::Context::holders) lists that.
//!
//! * Kept by: entries and tasks refer to what is known about a context, never to a handle; strong handles have a counter
//!   of their own. The driver of a close holds the inner state only while it runs, and a call on a weak handle, such as
//!   [`WeakContext::spawn`](crate::WeakContext::spawn), only for the call: it counts as no handle.
//! * Shown by: the models `handles` and `weak_spawns`, `tests/it/weak.rs`, `tests/it/drops.rs`, `tests/stress/races.rs`.
//!
//! # I4 Visible
//!
//! A task is listed from before its first poll until after its future is dropped. A listing contains everything that was
//! alive during the whole call, and nothing that had ended before the call began.
//!
//! * Kept by: the entry is listed before the runtime gets the future, and leaves the list after the future is dropped. The
//!   listing reads the slab's blocks in a fixed order.
//! * Shown by: `tests/it/tasks.rs`, `tests/it/listing.rs`, `tests/matrix`, `tests/stress/registrations.rs`,
//!   `tests/stress/churn.rs`, and the fuzzer.
//!
//! # I5 Never prolong
//!
//! Listings, dumps, reports and events never keep a user's value alive, and never run its destructor.
//!
//! * Kept by: a record contains facts only. The record of an owned value or a tracked `Arc` has at most a weak reference
//!   to the value, and only counts with it.
//! * Shown by: `tests/it/registry.rs`, `tests/it/leaks.rs`, `tests/it/asking.rs`.
//!
//! # I6 Bounded garbage
//!
//! Memory is O(live), never O(ever spawned), without any call by the user. No user value outlives its task: not the
//! future, not what it captured, not an output without a handle to claim it. After a burst the registry gives memory back.
//!
//! * Exception: the runtime's own memory of a finished task may stay until the next spawn, for at most as many tasks as
//!   there are entries, and 16 more. No user value is in it.
//! * Kept by: a slot is cleared by the last guard that releases it; the slab gives back blocks from its end; a dropped
//!   handle makes the task drop its output.
//! * Shown by: `tests/stress_memory.rs`, the models `slab`, `free_list` and `outputs`, `tests/it/registry.rs`,
//!   `tests/it/tasks.rs`, `tests/stress/churn.rs`.
//!
//! # I7 Hooks
//!
//! Hooks run one after the other, the latest first, exactly once, and each by itself: a panic, an error or a time-out of
//! one is recorded, and the next one runs. A hook that is registered while the context closes still runs. After that, the
//! registration is refused and hands the hook back. Owned values and `on_close` hooks are one stack, and each panic of a
//! destructor is recorded as well.
//!
//! * Exception: if no runtime is left (I11), the hooks that could not run are dropped, and named, in the same order.
//! * Kept by: a stack that seals itself in the step in which the close finds it empty (`context::stack`).
//! * Shown by: the model `stack`, `tests/it/hooks.rs`, `tests/it/owned.rs`, `tests/it/close_anywhere.rs`.
//!
//! # I8 Close once
//!
//! Concurrent callers share one close and one report, and the first reason wins. Dropping the future of a close abandons
//! nothing: the close goes on, and a later call joins it.
//!
//! * Kept by: the reason is stored once; a background task that holds the one `DriverLease` does the work, not the caller's
//!   future. A lease that is lost with its runtime is taken by another driver.
//! * Shown by: the models `closing`, `driving` and `hurrying`, `tests/it/close.rs`, `tests/it/deadlines.rs`, `tests/it/runtimes.rs`,
//!   `tests/stress/races.rs`.
//!
//! # I9 No user code under a lock
//!
//! Futures, hooks, destructors, wakers, subscribers of events and `Debug` of user values never run while an internal lock
//! is held.
//!
//! * Kept by: what a lock protects is moved out, and dropped, woken or printed after it is released. Events are emitted
//!   through one macro, after the state that they report. The spans of tasks are opened when a task is listed, and each call of a subscriber is
//!   caught by itself (`console::span`).
//! * Shown by: `tests/it/console.rs`, `tests/it/unwind.rs`, `tests/it/drops.rs`, `tests/it/hostile.rs`, `tests/it/limits.rs`.
//!
//! # I10 No self-deadlock
//!
//! A close that is awaited by a task, a hook or a destructor of the context or of a descendant begins the close, and
//! returns at once with the status [`Begun`](crate::CloseStatus::Begun).
//!
//! * Kept by: the scope of a poll, which knows whose code is running. It is asked at each poll of the close's future.
//! * Shown by: `tests/it/inside.rs`, `tests/it/close.rs`, `tests/it/current.rs`, and the fuzzer.
//!
//! # I11 Drop is a close
//!
//! Dropping the last strong handle of an open context closes it in the background, with the reason
//! [`Dropped`](crate::CloseReason::Dropped) and a warning event. If no runtime is left, its tasks are aborted and each hook
//! that could not run is named in an error event. Nothing blocks or panics in a `Drop`, except a
//! `testing::LeakGuard`, whose purpose that is.
//!
//! * Kept by: the counter of strong handles, the driver, and the code that ends a close without one.
//! * Shown by: `tests/it/drops.rs`, `tests/it/finishing.rs`, `tests/it/events.rs`, `tests/it/hostile.rs`,
//!   `tests/stress/deep.rs`, and the fuzzer.
//!
//! # I12 Failures
//!
//! A failure of a task reaches its handle and the reports (of a [supervised](crate::supervision) one, when no other attempt
//! follows): a panic, an error of a
//! [`fallible`](crate::TaskBuilder::fallible) task, the end of an [`essential`](crate::TaskBuilder::essential) one while its
//! context is open. It reaches other tasks only by policy: the nearest context, from the task's own upwards, that set
//! [`on_failure`](crate::ContextBuilder::on_failure) decides, then the registry, and
//! [`Close`](crate::OnFailure::Close) closes that one. Failures of hooks and destructors are reported and trigger nothing.
//!
//! * Kept by: every call of user code is caught by `panics`; `task::guard` notes the failure. Which context it closes is
//!   decided when a context is opened (`FailurePolicy`), so a failure costs the same at every depth.
//! * Shown by: `tests/it/failures.rs`, `tests/it/tasks.rs`, `tests/it/unwind.rs`, `tests/it/wrap.rs`, `tests/it/supervision.rs`,
//!   `tests/matrix`, and the fuzzer.
//!
//! # I13 Depth and width
//!
//! A tree of 50,000 levels works, and so do 1,000,000 tasks. No function recurses over the tree, and nothing that a user
//! can do n times costs n² in all.
//!
//! * Kept by: walks over the tree are loops with a stack of their own.
//! * Shown by: `tests/stress/deep.rs`, `tests/stress/wide.rs`, `tests/it/tree.rs`, `tests/it/drops.rs`.
//!
//! # I14 Parents wait
//!
//! The close of a parent waits for its descendants, also for those whose handles were dropped meanwhile.
//!
//! * Kept by: a child is inside its parent's gate from its creation until it is closed.
//! * Shown by: `tests/it/tree.rs`, `tests/it/drops.rs`, `tests/it/hostile.rs`, `tests/stress/deep.rs`.
//!
//! # I15 Cheap when off
//!
//! What is not switched on costs a relaxed load and a branch. No task takes a lock that others contend for.
//!
//! * Kept by: the [`Level`](crate::Level) of a registry and the threshold of long polls are single atomics. The table
//!   takes no lock.
//! * Shown by: the bars `level_off` and `dump_idle` of `cargo bench --bench bars`; `tests/it/source.rs` reads the source of
//!   the table for locks.
//!
//! # I16 Honest
//!
//! A report says what it does not know ("strong 3 = 2 tracked + 1 untracked") and what it left out, and it never guesses.
//! [`is_clean`](crate::CloseReport::is_clean) is true only if nothing was lost: no work dropped by a refusal from inside,
//! nothing ended by force by the close or by the end of its runtime, no failure unseen, no reason
//! [`Failed`](crate::CloseReason::Failed). A failure is seen if its result was taken from the task's handle before the report
//! was made. Refusals after a close count in the first ancestor that is not closed, else in the registry. A check in a test
//! that passes means the same.
//!
//! * Kept by: the holders are compared with the real number of handles; the report has a count for whatever it cuts; a failure
//!   notes whether the handle has given it away (`context::failure`), also where it is not listed.
//! * Shown by: `tests/it/failures.rs`, `tests/it/testing.rs`, `tests/it/leaks.rs`, `tests/it/holders.rs`,
//!   `tests/it/events.rs`, `tests/it/quotas.rs`, `tests/it/unwind.rs`.
//!
//! # I17 Order
//!
//! A context that others [need](crate::ContextBuilder::needs) stays open, and accepts work, until they are closed, whatever
//! begins the close. Those that need it hold a handle, listed as "needed by", and give it back when they are closed, or have nothing
//! left but what a [deadline](#i18-deadline) has left behind, in them or in their children.
//!
//! * Kept by: `context::begin`, which closes the gate under the lock by which others come to need the context.
//! * Shown by: the model `needs`, `tests/it/needs.rs`, `tests/it/deadlines.rs`, `tests/it/service.rs`, `tests/it/sockets.rs`,
//!   `tests/matrix`, and the fuzzer.
//!
//! # I18 Deadline
//!
//! While one worker of the runtime is free, a close [with a deadline](crate::Context::close_by) has aborted tasks, run hooks and
//! dropped values by then. What cannot be ended is named, left behind, and takes no hook's turn away.
//!
//! * Kept by: `context::haste`, which shares out the time among those that have something to do, and the release in
//!   `context::close`.
//! * Shown by: the models `hurrying` and `release`, `tests/it/deadlines.rs`, the tests of `context::haste` and
//!   `context::escalation`; with the feature `dump`, that tasks are aborted before their lines are looked up: `tests/it/force.rs`.
//! * Not built yet: a limit on the look-up of the lines of a hook that has timed out.
//!
//! # I19 Voice
//!
//! Nothing that waits longer than its limit is silent. A close whose grace period has ended names what it waits for, again
//! with growing intervals; a hook is named when its time limit comes; code that blocks its thread is named while it does, also
//! where a dump waits for that thread. What many contexts of one close have to tell is one event, and what happens again and again
//! on one line is [counted](super::closing#events).
//!
//! * Kept by: `context::telling`, `context::stragglers`, `context::blocked`, `context::line_counts`, `poll::long_polls`,
//!   `registry::signal`, `registry::watch`.
//! * Shown by: `tests/it/tree_warnings.rs`, `tests/it/repeats.rs`, `tests/it/blocked.rs`, `tests/it/watch.rs`, `tests/stress/day.rs`,
//!   `tests/it/events.rs`, `tests/it/refusals.rs`, `tests/it/asking.rs`.
//!
//! # I20 Sound
//!
//! No call of safe code causes undefined behaviour, whatever panics in between. `unsafe` is in three modules (the slab, the
//! scope of a poll, the capturing waker), each of them sound at its own boundary, and each block cites what it relies on.
//!
//! * Kept by: guards that own what they point into; `unsafe_code = "deny"` in all other modules.
//! * Shown by: the models `slab`, `ends` and `free_list`, `tests/stress/holds.rs`, and runs under the address sanitizer.
