//! Seeing a program from outside: events, sums, and figures for a monitoring system. What is promised, and what it costs.
//!
//! | to | use |
//! |---|---|
//! | follow what happens, one thing after the other | [`Registry::events`](crate::Registry::events) |
//! | have it in a log | a subscriber of `tracing`, and the [table](#events-of-tracing) below |
//! | know what became of tasks so far | [`Registry::stats`](crate::Registry::stats), [`Context::stats`](crate::Context::stats) |
//! | know how many things of each kind there are | [`Registry::count_by_kind`](crate::Registry::count_by_kind) |
//! | plot it, and be alerted | `headcount::metrics`, with the feature `metrics` |
//! | watch polls and wakes in tokio-console | the feature `console` |
//!
//! # Events
//!
//! [`Registry::events`](crate::Registry::events) is a stream of [`Event`](crate::events::Event)s. They are copies of facts, and keep
//! nothing alive. A subscriber keeps neither the registry nor a context, and nothing waits for it.
//!
//! # Where to read them
//!
//! In a task of tokio's own. The stream ends when the registry has closed; a task of a context would be waited for by that very close,
//! until the grace period is over, and one that is cancellable would end before the closes that it is to tell of:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let registry = headcount::Registry::new();
//! let mut events = registry.events();
//! let reader = tokio::spawn(async move {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Ok(event) => println!("{event}"),
//!             Err(lost) => println!("{lost}"),
//!         }
//!     }
//! });
//! registry.context("server").close().await;
//! registry.close().await;
//! reader.await.unwrap();
//! # }
//! ```
//!
//! `headcount::run` gives such tasks a moment to end when everything has closed.
//!
//! A session is called `session` in events, listings and dumps, unless [`label`](crate::sessions::SessionsBuilder::label) says what to call
//! it: its key may be a secret.
//!
//! # Order
//!
//! Each event has a [number](crate::events::Event::seq), the next one of its registry, and all subscribers get them in this order.
//!
//! * `Spawned` comes before `Ended` of the same task, and both come before `Closed` of its context.
//! * `Opened`, `Closing`, `Closed`, `Gone` come in this order for each context. A child's `Closed` comes before that of its parent.
//! * `Closing` of a parent comes before that of the children which close with it.
//! * When `task.await` or `ctx.close().await` returns, its `Ended` or `Closed` is in the stream.
//! * The registry's own `Closed` is the last one: the stream ends behind it. It ends as well when the registry was dropped.
//!
//! # What is lost
//!
//! The latest 4,096 events are kept for those who have not taken them. A subscriber that is further behind gets one
//! [`Lost`](crate::events::Lost) with the number of those that it missed, and goes on with the oldest that is there. What was lost
//! can be made up for by a new listing.
//!
//! # Listing and events
//!
//! A [listing](crate::Registry::live) has a number, [`Live::seq`](crate::Live::seq): everything that the events up to that one say
//! about tasks and contexts is in the listing, and what came while it was made may be in it or not. So what is alive is followed by
//! three rules:
//!
//! 1. subscribe, and only then list;
//! 2. of the events, leave out those up to the number of the listing;
//! 3. apply the others in their order: `Spawned`, `BackingOff` and `Opened` put an entry in, unless it is there; `Ended` and `Gone`
//!    take it out, if it is there.
//!
//! Then each task and context that is alive is in, and none that has gone, as of the latest event. Registrations, owned and tracked
//! values have no events: they are in listings only.
//!
//! Nothing has a number while there is no subscriber. When the first one comes, one number is left out: so a listing from a time
//! without subscribers has a smaller number than [`Events::since`](crate::events::Events::since), and it shows that there is a gap.
//!
//! # Cost
//!
//! Without subscribers a task costs two loads and a branch when it is spawned, and as much when it ends: is there a subscriber to the
//! stream, and does `tracing` want the level `TRACE`. With a subscriber, each event takes a lock that all threads of the program share,
//! for as long as it takes to write a hundred bytes. The bench `events` measures it.
//!
//! A subscriber's waker is called by the thread on which the event happened, when that has done all that it has to do: never under
//! a lock of this crate, and if it panics, nothing follows from it.
//!
//! # Sums
//!
//! [`Stats`](crate::Stats) has the sums of a [`CloseReport`](crate::CloseReport) at any time, and tasks pay nothing for it: contexts count
//! anyway how their tasks end, and a child that closes hands its sums to its parent in one step. So each is counted once, and no
//! sum is ever less than at an earlier call. `running` and `spawned` may be ahead for a moment, by those that are being refused or are
//! just leaving. What it costs is one look at each context that is open.
//!
//! There are no sums by kind: each task would pay for them. [`count_by_kind`](crate::Registry::count_by_kind) says how many of each kind
//! are alive, by a look at each entry.
//!
//! # Metrics
//!
//! With the feature `metrics` the module `headcount::metrics` hands these figures to the facade of the crate `metrics`, when a scrape
//! asks for them or every few seconds; its page has a table of their names and labels. Names and ids are never labels, and there are
//! at most 100 kinds, with all others in one.
//!
//! # Events of `tracing`
//!
//! Warnings, errors and what else is worth a line in a log go to `tracing`. Targets, levels and the names of fields are public: they
//! change with a new major version only. All targets begin with `headcount`, so the filter `headcount=debug` takes those that an operator
//! wants. At the level `TRACE` each event of the stream is there as well. The message is for people, and may change.
//!
//! | target | level | fields | what it says |
//! |---|---|---|---|
//! | `headcount::context` | `DEBUG` | `context`, `id`, `reason` | a context, or the registry, has closed |
//! | `headcount::context` | `WARN` | `context`, `id` | the last handle of an open context was dropped |
//! | `headcount::context` | `WARN` | `context`, `id`, `contexts`, `tasks`, `stacks` | tasks are still there when the grace period is over, and what became of them |
//! | `headcount::context` | `WARN` | `context` | the runtime of a context has ended; the future of `stop_on` panicked; a hook or a destructor blocks its thread |
//! | `headcount::context` | `WARN` |   | a close makes no progress, because its runtime does not |
//! | `headcount::context` | `TRACE` | `what`, `id`, `parent`, `name`, `kind` | an event of the stream, of a context |
//! | `headcount::deadlock` | `WARN` | `members` | tasks and hooks wait for each other |
//! | `headcount::hook` | `ERROR` | `context` | a hook could not run to its end, because its runtime has ended |
//! | `headcount::hook` | `WARN` | `context`, `stacks` | a hook failed, or took too long |
//! | `headcount::hook` | `WARN` | `context` | more hooks failed than are named |
//! | `headcount::leak` | `WARN` | `fingerprint`, `alike` | `watch_leaks` has found leaks |
//! | `headcount::registry` | `INFO` | `tasks` | the registry has closed, and other tasks run on |
//! | `headcount::registry` | `WARN` | `probe` | a probe panicked |
//! | `headcount::registry` | `WARN` |   | `HEADCOUNT_LEVEL` is not a level |
//! | `headcount::registry` | `TRACE` | `what`, `id`, `parent`, `name`, `kind` | an event of the stream, of the registry itself |
//! | `headcount::run` | `INFO` | `service`, `signal` | a service got a signal |
//! | `headcount::session` | `WARN` | `context` | an attach by another owner was refused |
//! | `headcount::session` | `TRACE` | `what`, `id`, `parent`, `name`, `kind` | an event of the stream, of a session |
//! | `headcount::task` | `ERROR` | `context` | a task without a handle failed, or ended with its runtime |
//! | `headcount::task` | `WARN` | `context` | a supervised task failed, and is started again |
//! | `headcount::task` | `WARN` | `context`, `task`, `count` | a task was refused, because its context is closing |
//! | `headcount::task` | `WARN` | `context`, `task`, `max_tasks`, `count` | a task was refused, because its context is full |
//! | `headcount::task` | `WARN` | `task` | a task held its thread for too long |
//! | `headcount::task` | `INFO` |   | `headcount::spawn` was called outside of any context |
//! | `headcount::task` | `DEBUG` | `context`, `task` | a late result was dropped, which no handle can claim |
//! | `headcount::task` | `TRACE` | `what`, `id`, `parent`, `name`, `kind` | an event of the stream, of a task |
//! | `headcount::tower` | `WARN` | `context` | a server can accept no connection |
//! | `headcount::tower` | `WARN` | `context`, `request` | a request panicked, with its method and route |
//! | `headcount::value` | `ERROR` | `context` | the destructor of an owned value panicked, or took too long |
//! | `headcount::window` | `WARN` | `context`, `peer` | the close of a context was asked for through the window |
