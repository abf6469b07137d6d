//! Tasks in [tokio-console](https://docs.rs/console-subscriber), without `tokio_unstable`; with the feature `console`.
//!
//! tokio-console reads `tracing` spans, which tokio makes in builds with `tokio_unstable` only. With this feature, the tasks of this crate
//! have such spans in every build. Add `console-subscriber` to the program, and install it first of all:
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     console_subscriber::init();
//!     headcount::run("api", serve)
//! }
//! ```
//!
//! ```sh
//! RUSTFLAGS="--cfg console_without_tokio_unstable" cargo run
//! tokio-console
//! ```
//!
//! That cfg changes nothing in tokio: `console-subscriber` panics at its start without one of the two, because most programs that lack
//! both have nothing to show.
//!
//! # What is shown
//!
//! | | |
//! |---|---|
//! | name | of the task; control characters are escaped |
//! | kind | of the task: `task`, `blocking`, `wrapped`, or what [`kind`](crate::TaskBuilder::kind) says |
//! | location | the line that spawned it |
//! | polls, busy and idle time | as of tokio's own tasks |
//! | wakes, time between wake and poll | of tasks that a runtime polls; not of wrapped futures, whose waker is that of others |
//! | `task.context` | the name of its context |
//! | `headcount.id` | its id, as in listings, dumps and the window |
//!
//! Each attempt of a [supervised](crate::supervision) task is a task, and the pauses between them are none. Tasks of bare
//! `tokio::spawn` and resources, such as the semaphores of tokio, are not shown: they need `tokio_unstable`.
//!
//! tokio-console counts one waker for each task, which is that of its context, by which it is ended. So it never warns of a lost waker of
//! these tasks; a dump of this crate (`Registry::dump`) says where such a task waits.
//!
//! # With `tokio_unstable`
//!
//! Then tokio makes the spans, of all tasks, and this crate gives it the names. There are never both. The kind is tokio's, and the last two
//! fields are not there. Where this crate starts a task later than it was asked to, as that of a limit, tokio takes a line of this crate for
//! the location; a supervised task is one for all its attempts.
//!
//! # The spans
//!
//! They have the target `tokio::task`, the name `runtime.spawn` and the level `TRACE`, and wakes are events with the target
//! `tokio::task::waker`. Each span is a root, because a task may outlive what spawned it, and follows from the span of the code that spawned
//! it. It is entered for each poll, so events of the task are in it, and closed when the task has ended.
//!
//! # Panics
//!
//! A subscriber that panics takes no task with it: each call of one is caught by itself.
//!
//! # Cost
//!
//! Without the feature there is nothing. With it, and while no subscriber wants the level `TRACE`, a task is a word larger, and costs a load
//! and a branch when it is spawned, and a branch for each poll. Where a subscriber wants these spans, a task allocates twice more, and what
//! the subscriber does comes on top.
