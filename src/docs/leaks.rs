//! Leaks: what counts as one, how the report is made, and what it cannot see.
//!
//! # What counts
//!
//! Facts, whatever the [policy](crate::leaks::LeakPolicy):
//!
//! | [`LeakKind`](crate::leaks::LeakKind) | is |
//! |---|---|
//! | `ClosedButHeld` | a context that is closed, and a handle is still held; or a value that a context owned, after that context has closed |
//! | `StillRunning` | a task whose context was closed longer ago than its grace period |
//! | `DroppedOpen` | a context whose last handle was dropped while it was open; the registry remembers the last 64, for an hour |
//! | `PinsItself` | an open context of which only its own tasks have handles, each for longer than the policy's settle time: nothing else can ever close it |
//!
//! Limits that a policy sets: `TooOld` and `TooMany` of a kind, `Growing` by the line that makes them. And at the end
//! of a test or a program, with [`LeakPolicy::nothing_left`](crate::leaks::LeakPolicy::nothing_left), whatever is alive:
//! `StillThere`.
//!
//! # Who holds it
//!
//! Each strong handle of a [`Context`](crate::Context) or a [`Tracked`](crate::Tracked) value is recorded when it is
//! made (`clone`, `upgrade`, the first one) and removed when it is dropped, in a log beside the thing. How much is
//! recorded is the registry's [`Level`](crate::Level). `strong 3 = 2 tracked + 1 untracked` is the sum: handles
//! from before tracking began are counted and never guessed at (I16).
//!
//! Rust does not show where a handle *went*. Known are the line that took it, the task that was running there, the
//! task that last waited through it or [touched](crate::Context::touch) it, and the task that has it in a variable: when a handle
//! to a context is used (to spawn, to open a child, to wait, and so on), its address says whether it lies in the future of the
//! running task, or behind a reference that others may share. And known is what the program declared: with
//! [`held_by`](crate::Context::held_by) a handle says that it lies in another thing, a cache or a struct with a
//! [`Registration`](crate::Registration), and chains get longer than one step. A handle that was moved elsewhere is reported
//! under the line that took it, which is the line to start from.
//!
//! # What grows without being listed
//!
//! Hooks, handles, and what handles keep are not listed by themselves. [`Growth`](crate::leaks::Growth) counts them by line, and
//! [`max_count`](crate::leaks::LeakPolicy::max_count) takes these kinds as well:
//!
//! | kind | counted by the line that |
//! |---|---|
//! | `hook` | registered the hook |
//! | `handle of an ended task` | spawned the task, whose [`Task`](crate::Task) is kept with its output |
//! | `handle of a pool` (and so for each kind) | took the handle; the first handle of each thing is not counted |
//! | `untracked handle of a pool` | made the thing: nothing was recorded when the handle was taken |
//! | `weak handle of a context` | opened the context |
//! | `closed context with weak handles` | opened the context, which has left the list, and of which weak handles keep what is known |
//!
//! A listing shows the numbers of a context: `server  context · open · 3s · 1 strong · 2 weak · 4 hooks`. What a context
//! [owns](crate::Context::own) is listed by itself.
//!
//! # Culprits and victims
//!
//! Of everything that is a leak, the report asks why it is alive. A task of an open context was not told to end: the
//! context is the culprit. A context that closes waits for its tasks: they are the culprits. A value whose handle lies in another leak
//! is a victim of that one. What something outside of all leaks keeps (a static, a thread, a test's variable, an unknown
//! holder) is a *culprit*, and gets a block of the report; what only culprits keep alive is listed under the
//! nearest. Cycles that nothing leads to are culprits as a whole.
//!
//! The chain of a block is the shortest way from something outside down to the culprit. The last edge
//! is the *suspect*: its holder is legitimately alive, the culprit is not.
//!
//! ```text
//! 1. context server/connection of edsger: closed but still held   [cd110a7b49785778]
//!    ┌─ thread main, or code that it was passed to
//!    │ ↓ taken at examples/leak_hunt.rs:24, 230ms ago
//!    ├─ board server/presence board: alive for 230ms, made at examples/leak_hunt.rs:24
//!    ┆ ⇣ in presence board.by_name, taken at examples/leak_hunt.rs:71 by task handler of edsger (ended), 230ms ago   ← suspect
//!    └─ context server/connection of edsger: closed 209ms ago (requested: close)
//! ```
//!
//! The number in brackets is the *fingerprint*: the same for equal leaks from run to run, and after edits that only move
//! code ([`Allow::fingerprint`](crate::leaks::Allow::fingerprint) says what it is made of). With it an allow list accepts a known leak.
//!
//! # Waiting
//!
//! Much that looks like a leak is on its way out. [`Registry::leaks`](crate::Registry::leaks) looks, and looks again
//! whenever the last handle of something is dropped, and in growing intervals for what announces nothing, until nothing
//! looks like a leak or the policy's time is up. A close within its grace period is no leak.
//!
//! # What it cannot see
//!
//! * **Plain `Arc`s** have no log: a [tracked](crate::Registry::track) one is reported with the number of its handles.
//!   [`own`](crate::Registry::own) a value to know them.
//! * **Registrations** have no handles: the report has the line that made one.
//! * **Cycles of plain `Arc`s** round something that is not listed. What in them is listed is reported as held from outside.
//! * **Handles in a value that is itself a leak**, if the program did not say [`held_by`](crate::Context::held_by): then both are
//!   culprits, which is true of each by itself.
//! * **Tasks of bare `tokio::spawn`**: the test kit has the number from the runtime, no more.
//! * **A function that hands out handles** (`fn get(&self) -> Option<Context>`) is the line that took them. With
//!   `#[track_caller]` on it, and the clone in it and not in a closure, its caller is.
//! * **A task that puts a handle to its own context elsewhere**, such as into a map, looks as if it pinned it, until other code
//!   uses the handle: say so with [`held_by`](crate::Context::held_by).
//! * **A task that never uses a handle to its own context**, or has it in a box, as in `Box::pin(async move { .. })`: while the
//!   program runs that is not seen. At the end of a test, it is.
//! * **A hook that captures a handle to its own context**: nothing shows what a closure captured. At the end of a test the context
//!   is reported, with the lines of its hooks.
//! * **A derived `Clone`** takes handles on the line of the derive: that is where Rust says it happens. A clone inside of the
//!   standard library or another crate (`map.get(key).cloned()`) has a line of that library; the stack is captured then, which
//!   takes 6 to 20 µs, and the line behind it is named, if the program has debug information (`debug = "limited"`).
//! * **Other processes' memory, files, sockets**: list what matters with [`register`](crate::Registry::register).
//!
//! # Cost
//!
//! At `Off` a relaxed load and a branch a handle: spawning is as fast as in a build without any of it (`level_off`). At
//! `Holders` a clone takes 40 ns instead of 11, its drop 30 instead of 11: a lock that only handles of the same thing take.
//! Entries are some 100 bytes for each handle that is out, and eight that are gone for each thing; what handles that are gone
//! took is given back. The first use of a handle by the task that has it adds some 50 bytes.
