//! Where tasks and hooks wait: how [`Registry::dump`](crate::Registry::dump) finds out, and what it cannot see.
//!
//! # How
//!
//! A future that waits has to be woken, so it stores a clone of the waker with which it was polled. A dump marks the task and
//! wakes it. The wrapper that every task has then polls the future once with a different waker. Each leaf future stores a clone
//! of that, and the clone captures a backtrace. What the leaf gets is a clone of the runtime's own waker, so nothing of the dump
//! stays behind. Each backtrace is one chain of `.await`s, down to the line.
//!
//! A running hook, [`on_closing`](crate::Context::on_closing) or [`on_close`](crate::Context::on_close), is asked in the same
//! way: the dump wakes the driver of the close, which polls the hook once more. [`Dump::hooks`](crate::dump::Dump::hooks)
//! returns them. A hook at its time limit is asked in its final poll, so the warning and the
//! [report](crate::CloseReport::stuck) say where it waited.
//!
//! That needs no annotation, no `tokio_unstable` and no debug build. Line numbers need debug information:
//!
//! ```toml
//! [profile.release]
//! debug = "limited"
//! ```
//!
//! With `debug = "line-tables-only"`, which makes a smaller program, there are lines, but often no names of inlined
//! functions. Without either there are functions only, and the dump says what to set.
//!
//! Stacks are captured as addresses, in 5 to 20 µs each. The addresses are looked up, each of them once, on the runtime's pool
//! for blocking closures, or on the crate's own thread if that pool is full. The first look-up reads the program's debug
//! information, which takes from half a second to several seconds, by the size of the program and the disk.
//!
//! # What is printed
//!
//! A dump prints the lines of the program's own code, from the task's function to the `.await`, then what is awaited there. It
//! leaves out the code of dependencies, of the standard library and of this crate;
//! [`Dump::in_full`](crate::dump::Dump::in_full) prints that too. Tasks that wait at the same line are printed once, with
//! their number, and so are equal waits of one task (`30 ×`, of a `join_all`). What a server of this crate waits for on its own account
//! is left out, and an upgraded connection is not asked: it waits for the code that has its socket.
//!
//! Of several waits of one task, `and` stands between those of a `join!`, which are all needed; `either` and `or` where the first
//! one that is over ends the wait, as in `select!` and `timeout`; and `also` where the code that polls both is not known.
//!
//! A task that makes the dump is left out of it, and a note says so.
//!
//! # Whose code it is
//!
//! A function is told by the crate in its symbol and by the file of its line:
//!
//! * The standard library, tokio, futures and some other well-known crates are known by name, wherever their files lie: in
//!   `vendor/`, or under what `--remap-path-prefix` made of them. Only the whole name counts: `futures_app` is a program's own.
//! * A file is a dependency's if it lies in a registry or a checkout of cargo's; beside this crate, where this is a dependency in
//!   a folder of such; or in a folder that is named after its crate, below `vendor/` or with a version, such as `/deps/sqlx-core-0.8.2`.
//! * An `impl` of the program's own trait for a dependency's type is the program's own.
//! * All else is the program's own. So a vendored crate whose paths were cut to something that shows neither a version nor a
//!   `vendor/` counts as the program's own, and a crate of the program's own that lies in `vendor/` does not.
//! * Without debug information there are no files. Then the program's own crate is the one that its file is named after, or else
//!   that of the outermost function that is not known by name.
//!
//! # Who waits for whom
//!
//! Where a task waits for another [`Task`](crate::Task), for a [`close`](crate::Context::close), or for a registry to be
//! [`idle`](crate::Registry::idle), its stack says for [which](crate::dump::AwaitStack::awaited); so does that of a hook. Tasks and
//! hooks of one registry that wait for each other, and for nothing else, are a [`Deadlock`](crate::dump::Deadlock):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use headcount::Registry;
//!
//! let registry = Registry::new();
//! let contexts = [registry.context("api"), registry.context("db")];
//! for (own, other, name) in [(0, 1, "stop"), (1, 0, "drain")] {
//!     let other = contexts[other].clone();
//!     contexts[own].task(name).spawn(async move { other.close().await });
//! }
//! tokio::task::yield_now().await;
//!
//! let dump = registry.dump().await;
//! let said = dump.deadlocks()[0].to_string();
//! // deadlock: 2 tasks wait for each other
//! //     api/stop waits for the close of db at src/main.rs:7
//! //     db waits for its task db/drain
//! //     db/drain waits for the close of api at src/main.rs:7
//! //     api waits for its task api/stop
//! assert!(said.starts_with("deadlock: 2 tasks wait for each other\n    api/stop waits for the close of db"));
//! # }
//! ```
//!
//! A task that waits for the close of a context also waits for the running hooks of that context and of those below it.
//!
//! A close searches for deadlocks 1 s, 3 s, 7 s … after it began, and before it aborts a task. When only hooks are left, it
//! searches 1 s, 3 s, 7 s … after its wait for them began. It reports them in a warning event, and in its
//! [report](crate::CloseReport::deadlocks). It asks only tasks and hooks that have ever waited for a task, a close or a
//! registry. A leak report contains deadlocks as well.
//!
//! A time limit ends such a circle: the grace period of a task, or the [limit](crate::ContextBuilder::hook_timeout) of a
//! hook. Until then the deadlock is reported all the same, because a close that always takes until a limit should be mended.
//!
//! # Dumps without a call
//!
//! A close asks the tasks before it aborts them, and a hook before it drops it: the warning, the
//! [report](crate::CloseReport::stuck) and [`StillClosing`](crate::StillClosing::stuck) contain the stacks. So do leak
//! reports, for tasks that run on after their context was closed, and for hooks that keep a context closing. A poll that takes
//! longer than [a threshold](crate::dump::set_long_poll_threshold) is reported once for each line.
//!
//! # Who holds a lock
//!
//! A [`Mutex`](tokio::sync::Mutex), an [`RwLock`](tokio::sync::RwLock) or a [`Semaphore`](tokio::sync::Semaphore) of tokio that is a
//! [`Tracked`](crate::Tracked) value records who holds it, from the level [`Holders`](crate::Level::Holders) on. Its methods are
//! called as before, and [return a guard](crate::TrackedGuard) that is used as tokio's is. A dump then says who holds what a task waits for,
//! and tasks that wait for each other's mutexes are a deadlock. So is a [limit](crate::Limit), whose places tasks have. For example:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # #[cfg(feature = "dump")] {
//! use headcount::{Level, Registry};
//! use tokio::sync::Mutex;
//!
//! let registry = Registry::new();
//! registry.set_level(Level::Holders);
//! let db = registry.own("db", "mutex", Mutex::new(0));
//! let ctx = registry.context("app");
//! for name in ["import", "export"] {
//!     let db = db.clone();
//!     ctx.task(name).spawn(async move {
//!         let _rows = db.lock().await;
//!         std::future::pending::<()>().await;
//!     });
//! }
//! tokio::task::yield_now().await;
//! let dump = registry.dump().await;
//! let export = dump.find("export").unwrap().to_string();
//! assert!(export.contains("→ the mutex db, held by task import at "), "{export}");
//! # ctx.close_now().await;
//! # }
//! # }
//! ```
//!
//! A mutex that is free, and was given to a request which is not polled any more ("futurelock"), is said to be "given to the request
//! of task import at …". A task counts as the holder of what it locked; that is wrong if it passes the guard of a `'static` lock to
//! another task. Locks in an `Arc`, and those of the standard library, are not recorded.
//!
//! # What it cannot see
//!
//! * **A task that is being polled** cannot answer: the dump says for how long it has been polling without yielding. Of a
//!   blocking closure it says for how long it has been blocking.
//! * **A future that has a waker of its own**, as in `FuturesUnordered`, `join_all` of more than 30 futures,
//!   `buffer_unordered` and `JoinSet`, is not polled again by its owner: the dump shows the owner's line.
//! * **A future that takes no waker** in the poll that answers has no stack. Either nothing can wake it (`std::future::pending`), or
//!   it keeps the waker of an earlier poll: the dump says both.
//! * **A deadlock of other things** than tasks, closes, registries and tracked mutexes is not found: the holder of any other lock or of
//!   an end of a channel is not known. A task that also waits for such a thing, or for tasks in a `FuturesUnordered`, counts as one that
//!   can go on, and so does a wrapped future, and a task or a hook that waits for another registry. So a reported deadlock is
//!   one, but not every deadlock is reported.
//! * **A turn that was given to a future which is not polled** ("futurelock": a task holds a future that is first in the queue of a
//!   lock, and awaits another one that is behind it) looks like any wait for that lock. Two dumps show more: the later one says
//!   [how often](crate::dump::TaskDump::polled_in_vain) a task was polled since the first that found it waiting there. A task
//!   that goes round a loop looks the same, so this is a hint and no finding. Of a [tracked](#who-holds-a-lock) mutex it is known.
//! * **Wakes** are not counted, because a future has the runtime's own waker. Polls are counted: every poll except the first
//!   follows a wake, or several that came together.
//! * **One more poll** is all that a dump does to a task or a hook. A future that counts its polls, or works in each of them,
//!   notices that.
//!
//! # Cost
//!
//! With the feature on and no dump under way, a short task takes 2 to 3 % longer (`dump_idle`). 10,000 parked tasks are dumped
//! in 0.8 s.
