//! Limits: what is refused when, who waits, and what is not promised.
//!
//! There are two kinds. A [`Limit`](crate::Limit) says how many may be *inside* at once, and keeps a queue for the rest: eight uploads,
//! a hundred queries. A quota says how many a context may *have*, and refuses the rest:
//! [`max_tasks`](crate::ContextBuilder::max_tasks) and [`max_children`](crate::ContextBuilder::max_children).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use headcount::Registry;
//! let registry = Registry::new();
//! let server = registry.context_builder("server").max_children(10_000).open();
//! let queries = server.limit("queries", 8).queue(200);
//!
//! let conn = server.child_builder("conn-1").max_tasks(16).open();
//! let query = conn.task("query").within(&queries).spawn(async { 42 });
//! assert_eq!(query.await.unwrap().await.unwrap(), 42);
//! assert_eq!(queries.usage().to_string(), "0 of 8 used");
//! # server.close().await;
//! # }
//! ```
//!
//! # What is refused when
//!
//! | | all places are taken | and the queue is full | the context begins to close | is closing or closed |
//! |---|---|---|---|---|
//! | [`acquire`](crate::Limit::acquire) | waits | `Full`, at once | `Closed` | `Closed` |
//! | [`try_acquire`](crate::Limit::try_acquire) | `Full` | `Full` | | `Closed` |
//! | [`spawn`](crate::Limit::spawn) | waits | `Full`, at once | `Closed` | `Closed` |
//! | [`try_spawn`](crate::Limit::try_spawn) | `Full` | `Full` | | `Closed` |
//!
//! A spawn hands the future back, unpolled, in a [`RefusedError`](crate::RefusedError). The context is that of the limit, and for a task
//! that is started elsewhere [within](crate::TaskBuilder::within) it also that of the task. A place is taken first, then the task goes
//! through the gate of its context: so what was given a place just before the close is refused all the same, and the place is free
//! again (I2).
//!
//! | the context | `try_spawn` | `spawn` | `wrap` | `try_open` | `open`, `child` |
//! |---|---|---|---|---|---|
//! | has [`max_tasks`](crate::ContextBuilder::max_tasks) | hands back: [`Full`](crate::RefusedReason::Full) | drops, with a warning; [`Refused`](crate::TaskError::Refused) | the same | | |
//! | has [`max_children`](crate::ContextBuilder::max_children) | | | | [`Full`](crate::OpenError::Full) | closed from the start: [`Full`](crate::CloseReason::Full) |
//! | is closing or closed, full or not | `Closed` | as [ever](super::closing) | | `Closed` | closed from the start |
//!
//! What is dropped counts in the report as [`refused`](crate::CloseReport::refused). If it came from inside, work was lost, and the
//! close is not clean (I16).
//!
//! # When a place is free
//!
//! When the future was dropped, whatever ended it, and before the handle gives the output: code that has awaited a task finds its place
//! free. An abort frees nothing by itself; the drop of the future does, which is when the task is next scheduled. A blocking closure
//! has its place until it has returned. The output has none.
//!
//! A child counts until it has closed. Handles that are left after that do not count.
//!
//! # Changing a limit
//!
//! [`set`](crate::Limit::set) takes effect at once where there are more places: those that wait first come in first. Where there are
//! fewer, free places go, and then those that become free, until no more are used than may be. Nothing is thrown out.
//!
//! # What is not promised
//!
//! * **Code that holds a place and waits for another of the same limit may wait for itself.** Take the place of the outer work before, or
//!   use two limits. The close of the limit's context ends the waiting. A dump (`Registry::dump`, feature `dump`) says who has the places, and names
//!   the deadlock, where tasks have all of them, at most 16, and were recorded: at [`Level::Holders`](crate::Level::Holders).
//! * **Code that was given a place and is not polled keeps it.** Such as an `acquire` in a `select!` whose other branch is taken
//!   again and again: poll it on, or drop it.
//! * **The order is that of the first poll**, not that of the calls.
//! * **A permit is no task.** The close does not wait for it, and does not name it.
//! * **A limit does not cover what its tasks start.** A task that spawns another one without the limit brings in as many as it likes.
//! * **Room in a context is not waited for.** For a queue, take a limit of as many places as well.
//! * **Quotas count what the context itself has.** Tasks of children, and children of children, have contexts of their own to count them.
