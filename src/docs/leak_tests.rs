//! Writing leak tests: from the first one to a service that is watched.
//!
//! With the feature `testing`, in `[dev-dependencies]`:
//!
//! ```toml
//! headcount = { version = "0.1", features = ["testing"] }
//! ```
//!
//! Tasks of bare `tokio::spawn` are counted with that alone. For names and lines, and for handles and contexts, the code under test uses
//! `headcount::spawn`, [`Registry::current`](crate::Registry::current) and so on: then the crate is under `[dependencies]` as well.
//!
//! In a workspace with the old resolver, check that this does not reach the program itself. Resolver 1 (`resolver = "1"`, or a
//! root package of edition 2015 or 2018 that sets none, or a virtual workspace that sets none) builds a dependency once, with the
//! features of `[dependencies]` and `[dev-dependencies]` together, also in `cargo build --release`. Then the program gets `testing`
//! as well: ages follow tokio's clock, which costs a little, and reports of unclean closes are kept. Set `resolver = "2"` in the root
//! `Cargo.toml`; `cargo tree -e features -i headcount --edges normal` shows what the program gets.
//!
//! # Wrap the body
//!
//! ```ignore
//! #[tokio::test]
//! async fn a_session_leaves_nothing_behind() {
//!     headcount::testing::check(async |registry| {
//!         let server = Server::start(&registry).await;
//!         server.login("ada").await;
//!         server.shut_down().await;
//!     })
//!     .await;
//! }
//! ```
//!
//! The registry is the test's own and the [current](crate::Registry::current) one, so tests can run side by side, and code
//! that says `headcount::spawn` or `Registry::current()` is seen. At the end everything in it must be gone. What is on its
//! way is waited for; a leak fails the test with the report, which names the line.
//!
//! Whatever outlives the body outlives it by mistake or on purpose. For the second there is
//! [`Check`](crate::testing::Check) with a [`LeakPolicy`](crate::leaks::LeakPolicy): leave out a kind or a site, or
//! [allow](crate::leaks::LeakPolicy::allow) what is known, with a reason and an end.
//!
//! A pool may keep some: `Allow::kind("conn").at_most(2)` accepts two, and none where there are three.
//!
//! # A whole test binary
//!
//! Each test has a registry of its own, so each is checked by itself, and the tests of a binary may run side by side: there is no
//! check of the binary as a whole, which could not say which test it was. What tests share is not in their registries: a client
//! or a pool in a `static` belongs to the [global](crate::Registry::global) registry, or to one that it keeps itself, outlives each test
//! and is no leak of theirs. Its tasks run on the runtime of the test that came first, and end with that: give what is shared a
//! runtime of its own, on a thread of its own. A test binary with a `main` of its own (`harness = false`) can wrap that in
//! [`check`](crate::testing::check).
//!
//! There is no attribute such as `#[headcount::test]`: it would have to repeat each setting of `#[tokio::test]`, and would hide which
//! registry the body gets. One line inside does the same, and works with every attribute that makes a runtime.
//!
//! # Nothing may be lost
//!
//! A check also fails if a close in its registry was not [clean](crate::CloseReport::is_clean), and prints its report: a task had
//! to be aborted, a hook failed, a task that was to go on spawning was refused. And it fails if a task panicked in the background
//! and no handle was awaited for it, in whatever context: that is how a test notices a bug in a task that it does not look at.
//!
//! What the test expects, it sees: `assert!(task.await.is_err())` before the close. For the rest there is
//! [`Check::allow_unclean_closes`](crate::testing::Check::allow_unclean_closes).
//!
//! # Tests that hang
//!
//! [`Check::limit`](crate::testing::Check::limit) ends a body that does not end. With the features `testing` and `dump` it says
//! where: the line of the body, and that of every task, instead of `Elapsed(())`:
//!
//! ```text
//! the body of the check at tests/server.rs:12 did not end within 5.0s
//!
//! the body:
//!     server::shuts_down at tests/server.rs:15
//!       → a close of server, which has not begun
//!
//! 1 task
//!
//! server/reader: parked for 5.0s, 1 poll, spawned at src/server.rs:31
//!     server::read at src/server.rs:40
//!       → tokio::sync::mpsc::Receiver::recv
//! ```
//!
//! A body that blocks its thread, on a `std::sync::Mutex` for example, cannot be ended. Five seconds after the limit a thread of the
//! crate says so, and half a minute later it ends the process, so that a test run does not hang.
//!
//! # Look while it runs
//!
//! When the server goes, everything that it kept by mistake goes with it, and the test passes: a map that is never cleared
//! leaks for as long as the map lives. So look while the server is up, at a moment when its clients are gone. A policy for
//! programs that run knows what is a leak even then:
//!
//! ```ignore
//! testing::check(async |registry| {
//!     let server = Server::start(&registry).await;
//!     server.login("ada").await.log_out().await;
//!     registry.leaks(&LeakPolicy::new()).await.assert_clean();
//!     server.shut_down().await;
//! })
//! .await;
//! ```
//!
//! and [`assert_no_growth`](crate::testing::assert_no_growth) finds the rest, with a server that lives longer than a cycle.
//!
//! # Let go before the end
//!
//! A local variable at the end of the body is dropped before the look; one outside of it is not. Three habits:
//!
//! * Close what you open, `ctx.close().await`, and do not only drop it: a context that is dropped while it is open closes in
//!   the background, and is reported.
//! * Build what is tested in a function that returns weak handles only, and wait with
//!   [`assert_released`](crate::testing::assert_released):
//!
//! ```ignore
//! async fn scenario(registry: &Registry) -> WeakContext { /* … */ }
//! testing::assert_released(scenario(&registry).await).await;
//! ```
//!
//! * Return nothing from the body that holds a handle.
//!
//! # Tests that cannot be wrapped
//!
//! ```ignore
//! let guard = LeakGuard::new(&registry).ignoring_current().ignore_kind("pool");
//! // … the test …
//! guard.finish().await;
//! ```
//!
//! A [`LeakGuard`](crate::testing::LeakGuard) that is only dropped looks as well, but cannot wait on a `current_thread`
//! runtime, because nothing moves while it does.
//!
//! # Slow leaks
//!
//! One round may leave nothing, and a hundred something: a listener, an entry of a map.
//! [`assert_no_growth`](crate::testing::assert_no_growth) repeats a scenario and compares counts by the line that made
//! things: what is still there when all else has gone must not rise and rise. A pool is no leak once it is full, so give it
//! more cycles than it takes to fill; [`probe`](crate::Registry::probe)s add numbers of your own.
//!
//! ```ignore
//! testing::assert_no_growth(10, async |registry| {
//!     registry.probe("listeners", || LISTENERS.len());
//!     open_and_close_a_session(&registry).await;
//! })
//! .await;
//! ```
//!
//! # Close at every moment
//!
//! A test closes a service where it is convenient: when everything is set up, or at rest. In production the close comes in between:
//! after the row was accepted and before the hook that flushes it is registered, with a message taken and not yet handled.
//! [`close_anywhere`](crate::testing::close_anywhere) tries them all. It runs a scenario once to count its polls, and then anew for
//! each poll and each [`Disturbance`](crate::testing::Disturbance): just before that poll the close begins, or the handles are
//! dropped, the task is aborted, a hook fails, the runtime ends. Afterwards everything must have ended in time, nothing may be left,
//! and nothing lost.
//!
//! ```ignore
//! #[test]
//! fn no_message_is_lost_whenever_the_service_closes() {
//!     CloseAnywhere::new()
//!         .disturbances([Disturbance::Close, Disturbance::Drop])
//!         .run_with(
//!             Ledger::default,
//!             async |registry, ledger| serve(&registry, ledger).await,
//!             |ledger| assert_eq!(ledger.taken(), ledger.handled()),
//!         );
//! }
//! ```
//!
//! It fails at the first moment at which something is wrong:
//!
//! ```text
//! the scenario of tests/service.rs:4 cannot be disturbed at every moment: the close of the registry began, just before poll 7 of 31,
//! of task consumer/consumer (its poll 2, spawned at src/service.rs:62)
//!
//! the check at the end panicked: assertion `left == right` failed
//!
//! only this one: HEADCOUNT_SEED=0 HEADCOUNT_POLL=7 HEADCOUNT_DISTURBANCE=close
//! ```
//!
//! * What a scenario must stand depends on the disturbance. A task that is aborted, or that a runtime takes along, may lose what it
//!   had in hand; one whose context closes may not. So give a check of your own the disturbances that it is about.
//! * A scenario that unwraps the result of a task panics where that task was cancelled. That is a fault, as it is in production;
//!   [`allow_panics`](crate::testing::CloseAnywhere::allow_panics) is for scenarios that are only a script.
//! * A service may run until its registry closes: `registry.closed().await` at the end of the scenario. After a minute on the paused
//!   clock it is closed.
//! * The clock is tokio's, paused, on a runtime of one thread. So a scenario of a hundred polls takes a second, with all its grace
//!   periods. Let it use pipes (`tokio::io::duplex`) and not sockets, because those take real time, in which the clock jumps.
//!   That is also why the feature `testing` switches on tokio's `test-util`: it belongs into `[dev-dependencies]`.
//!
//! # Reading the report
//!
//! Read a block from the bottom: `to do` says what to change on which line. If that line is right to hold on, the chain above
//! shows why the thing is alive, from the root down, and `handles` lists all holders. If it says `untracked`, the
//! handles were taken at a lower [`Level`](crate::Level): run with `HEADCOUNT_LEVEL=holders`, or `backtraces` if a line is not
//! enough. A failing check also writes the report and a picture of it into `target/headcount/`: keep that folder in CI.
//!
//! # Common sources
//!
//! | source | what helps |
//! |---|---|
//! | a global map, a thread-local | remove the entry in an [`on_close`](crate::Context::on_close) hook |
//! | a closure or a callback that captures a handle | capture [`downgrade()`](crate::Context::downgrade), upgrade for a moment |
//! | a task that holds the context it runs on | the same; let a task of its parent hold it |
//! | a handle in a channel without a reader | close the receiver, or send weak handles |
//! | two values that hold each other | one of the two directions weak |
//! | saved state: `previous`, `last_error` | clear it when it is restored |
//! | the output of a task that is not awaited | [`Task`](crate::Task) handles are dropped or awaited, not collected |
//!
//! # In a program that runs
//!
//! [`Registry::leaks`](crate::Registry::leaks) with [`LeakPolicy::new`](crate::leaks::LeakPolicy::new) behind an admin command, or
//! [`watch_leaks`](crate::Registry::watch_leaks) for a warning event some time after a close. Release builds track no
//! holders by themselves: set `HEADCOUNT_LEVEL=holders`, or [`set_level`](crate::Registry::set_level) when it matters.
//!
//! More on how the report is made and what it cannot see: [`leaks`](super::leaks).
