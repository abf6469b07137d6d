//! Where tasks and hooks wait: how [`Registry::dump`](crate::Registry::dump) finds out, and what it cannot see.
//!
//! # How
//!
//! A future that waits has to be woken, so it keeps a clone of the waker it was polled with. Whoever asks marks the task and wakes
//! it; the wrapper that every task has polls the future once more, with a waker that notes the stack of whoever clones
//! it. Each leaf of the chain of `.await`s clones it, because it is not the one that the leaf has, and what it gets is a
//! clone of the runtime's own. So each stack is one chain, down to the line, and nothing of the question stays behind.
//!
//! A hook that is running, [`on_closing`](crate::Context::on_closing) or [`on_close`](crate::Context::on_close), is asked in
//! the same way: what is woken is the drive of the close, which polls the hook once more. [`Dump::hooks`](crate::dump::Dump::hooks)
//! has them. A hook whose time limit comes is asked in its last poll, so the warning and the
//! [report](crate::CloseReport::stuck) say where it was.
//!
//! That needs no annotation, no `tokio_unstable` and no debug build; line numbers need debug information:
//!
//! ```toml
//! [profile.release]
//! debug = "limited"
//! ```
//!
//! With `debug = "line-tables-only"`, which makes a smaller program, there are lines, and where functions were inlined
//! often no names. Without either there are functions, and the dump says what to set.
//!
//! Stacks are captured as addresses, in 5 to 20 µs each. They are looked up, each address once, on the runtime's pool for
//! blocking closures, or on a thread of its own if that pool is full. The first look reads the program's debug information,
//! which takes up to a second in a debug build.
//!
//! # What is read
//!
//! Lines of one's own, from the task's function to the `.await`, then what is awaited there. Code of dependencies, of the standard
//! library and of this crate is folded away; [`Dump::in_full`](crate::dump::Dump::in_full) shows it all. Tasks that wait at the same
//! place are printed once, and counted.
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
//! Whoever waits for the close of a context waits for the hooks of it that are running, and of what is below it.
//!
//! A close looks for such tasks and hooks 1 s, 3 s, 7 s … after it began, and before it aborts anybody; when only hooks are
//! left, 1 s, 3 s, 7 s … after the wait for them began. It tells of them in a warning event, and in its
//! [report](crate::CloseReport::deadlocks). It asks only those that have ever waited for something of a registry. A leak
//! report has them as well.
//!
//! A time limit does end such a circle: the grace period of a task, or the
//! [limit](crate::ContextBuilder::hook_timeout) of a hook. It is told all the same, as long as that has not come: who runs
//! into a limit each time it closes wants to know why.
//!
//! # When nobody asks
//!
//! A close that is out of patience asks before it aborts, or drops a hook: the warning, the
//! [report](crate::CloseReport::stuck) and [`StillClosing`](crate::StillClosing::stuck) have the stacks. So have leak reports,
//! of tasks that run on when they should not, and of hooks that keep a context closing. Polls of tasks that take longer than
//! [a threshold](crate::dump::set_long_poll_threshold) are told once a line.
//!
//! # What it cannot see
//!
//! * **A task that is being polled** cannot answer: it is said to have been polling for so long without yielding. A blocking
//!   closure is said to be blocking, since when.
//! * **A future that is woken by itself**, as in `FuturesUnordered`, `join_all` of more than 30, `buffer_unordered` and
//!   `JoinSet`, is not polled again by its owner: the owner's line is shown.
//! * **A future that keeps no waker** (`std::future::pending`) waits for nothing that could wake it, and that is said.
//! * **A deadlock of other things** than tasks, closes and registries: who holds a mutex, or an end of a channel, nobody says. A
//!   task that waits for one of those besides, or joins tasks in a `FuturesUnordered`, a wrapped future, or a task or a hook
//!   of another registry, is taken for one that can go on: a deadlock that is told is one, but not every one is told.
//! * **Wakes** are not counted, because the waker that a future gets is the runtime's own. Polls are: each but the first
//!   follows a wake, and wakes that come together are one poll.
//! * **One more poll** is all that a dump does to a task or a hook. A future that counts its polls, or does work in each, does so.
//!
//! # Cost
//!
//! With the feature on and nobody dumping, a short task takes 3 to 5 % longer (`dump_idle`): two counters, a load, a clone of
//! its waker. Its slot is a cache line larger. 10,000 parked tasks are dumped in a second.
