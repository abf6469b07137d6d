//! [`check`]: runs the body of a test, and searches for leaks at its end.

use crate::{
    clock::{self, human},
    leaks::{find, policy::LeakPolicy, report::LeakReport},
    ledger::level::Level,
    registry::registry::Registry,
    testing::{bare_spawns::BareSpawns, overtime::Overtime, report_files, unclean::Unclean},
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, Location, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

/// Runs the body of a test with a registry of its own, and fails the test if the body leaves anything behind.
///
/// The registry is the [current](Registry::current) one in the body, so code under test that uses
/// [`spawn`](crate::spawn) or [`register`](crate::register) is seen as well. When the body has ended, everything in the
/// registry must be gone: tasks, contexts, resources. The check waits for that up to 2 s, and longer only for a close
/// within its grace period; it returns as soon as nothing is left. Tests may run side by side, in one process and on one
/// runtime.
///
/// Nothing must be lost either: each close in the registry must be [clean](crate::CloseReport::is_clean), and each task that
/// panics must have a handle that is awaited. [`Check::allow_unclean_closes`] is the way out.
///
/// Code on another thread or in a bare `tokio::spawn` is outside of the body: there [`Registry::current`] is the global
/// registry, so pass the test's registry on to it. With paused time the 2 s pass as soon as nothing else runs, so a handle
/// that another thread or a blocking closure drops a moment later is reported.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::testing;
///
/// testing::check(async |registry| {
///     let ctx = registry.context("job");
///     let answer = ctx.spawn(async { 6 * 7 });
///     assert_eq!(answer.await.unwrap(), 42);
///     ctx.close().await;
/// })
/// .await;
/// # }
/// ```
///
/// The output of the body is returned; a handle in it counts as left behind.
///
/// # Panics
///
/// If something is left, with the [report](LeakReport) and the line that called `check`, and if a close was not clean, with its
/// report. The report and its graph are also
/// written into `target/headcount/`. If the body panics, that panic goes on, unchanged, after a leak beside it was
/// printed.
///
/// # Bare `tokio::spawn`
///
/// A task of bare `tokio::spawn` is in no registry. The check reports the number of such tasks if they can only be the
/// body's: the runtime had no task before, and no other check ran on it at the same time.
#[track_caller]
pub fn check<T>(body: impl AsyncFnOnce(Registry) -> T) -> impl Future<Output = T> {
    Check::new().run(body)
}

/// A [`check`] with settings.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{testing::Check, leaks::LeakPolicy};
/// use std::time::Duration;
///
/// let policy = LeakPolicy::nothing_left().ignore_kind("pool");
/// Check::new()
///     .policy(policy)
///     .settle(Duration::from_millis(500))
///     .run(async |registry| {
///         std::mem::forget(registry.register("users", "pool"));
///     })
///     .await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a check checks nothing until `run`"]
pub struct Check {
    policy: LeakPolicy,
    limit: Option<Duration>,
    allows_unclean: bool,
}

impl Check {
    /// A check that allows nothing to be left, and waits 2 s for that.
    pub fn new() -> Self {
        Self {
            policy: LeakPolicy::nothing_left(),
            limit: None,
            allows_unclean: false,
        }
    }

    /// Allows closes that are not [clean](crate::CloseReport::is_clean), and failures of tasks whose handles are not awaited:
    /// for a test that provokes them on purpose.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::testing::Check;
    ///
    /// Check::new()
    ///     .allow_unclean_closes()
    ///     .run(async |registry| {
    ///         let ctx = registry.context("ctx");
    ///         drop(ctx.spawn(async { panic!("on purpose") }));
    ///         assert!(!ctx.close().await.is_clean());
    ///     })
    ///     .await;
    /// # }
    /// ```
    pub fn allow_unclean_closes(mut self) -> Self {
        self.allows_unclean = true;
        self
    }

    /// Sets what counts as a leak; [`LeakPolicy::nothing_left`] by default.
    pub fn policy(mut self, policy: LeakPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how long to wait until nothing is left; 2 s by default.
    pub fn settle(mut self, limit: Duration) -> Self {
        self.policy.settle = limit;
        self
    }

    /// Limits the time of the body; there is no limit by default.
    ///
    /// A body that takes longer fails the test. With the feature `dump` the failure says where the body and every task of
    /// its registry wait, down to the `.await`.
    ///
    /// What cannot be ended would keep the process from ending as well. So where the body, or a task beside it, blocks the thread
    /// that the limit needs, a thread of the crate says so 5 s after the limit, and 30 s later it ends the process, with the exit
    /// code 101. The same happens 30 s after a limit that leaves a blocking closure behind which does not return. Both are times of
    /// the system's clock, also where tokio's is paused.
    ///
    /// ```should_panic
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::testing::Check;
    /// use std::time::Duration;
    ///
    /// Check::new()
    ///     .limit(Duration::from_millis(50))
    ///     .run(async |registry| {
    ///         registry.context("server").closed().await; // no task closes it
    ///     })
    ///     .await;
    /// # }
    /// ```
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the body, then searches for leaks.
    ///
    /// # Panics
    ///
    /// As [`check`], and if the body does not end within the [`limit`](Self::limit).
    #[track_caller]
    pub fn run<T>(self, body: impl AsyncFnOnce(Registry) -> T) -> impl Future<Output = T> {
        let location = Location::caller();
        async move {
            let registry = Registry::new();
            registry.set_level(registry.level().max(Level::Holders));
            let bare_spawns = BareSpawns::watch();
            let given = registry.clone();
            // The scope also covers what the closure does before it returns its future.
            let scoped = registry.scope(async move { body(given).await });
            let body = AssertUnwindSafe(scoped).catch_unwind();
            let outcome = within_limit(self.limit, &registry, location, body).await;
            match outcome {
                Ok(output) => {
                    let report = find_leaks(&registry, &self.policy, &bare_spawns).await;
                    let unclean = (!self.allows_unclean).then(|| Unclean::of(&registry));
                    match unclean.flatten() {
                        None if report.is_clean() => output,
                        None => fail(&report, location),
                        Some(unclean) if report.is_clean() => {
                            panic!("something was lost in the check at {location}\n\n{unclean}")
                        }
                        Some(unclean) => {
                            let what = "left behind at the end of the check";
                            panic!("{}\n\n{unclean}", message(what, &report, location))
                        }
                    }
                }
                Err(payload) => {
                    let policy = self.policy.impatient();
                    let report = find_leaks(&registry, &policy, &bare_spawns).await;
                    if !report.is_clean() {
                        let what = "left behind, beside the panic, by the check";
                        eprintln!("{}", message(what, &report, location));
                    }
                    resume_unwind(payload)
                }
            }
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the body no longer than the limit.
///
/// # Panics
///
/// At the limit, with what is known about where it waits.
async fn within_limit<F: Future>(
    limit: Option<Duration>,
    registry: &Registry,
    location: &'static Location<'static>,
    body: F,
) -> F::Output {
    let Some(limit) = limit else {
        return body.await;
    };
    let overtime = Overtime::watch(limit, registry, location);
    let mut body = pin!(body);
    let body = poll_fn(|cx| overtime.poll(|| body.as_mut().poll(cx)));
    let mut body = pin!(body);
    match select(body.as_mut(), pin!(clock::sleep(limit))).await {
        Either::Left((output, _)) => return output,
        Either::Right(_) => {}
    }
    match whereabouts(registry, body).await {
        Ok(output) => output,
        Err(said) => {
            let left = overtime.left_behind(registry);
            let left = left.map_or_else(String::new, |left| format!("{left}\n\n"));
            panic!(
                "the body of the check at {location} did not end within {}\n\n{left}{said}",
                human(limit)
            )
        }
    }
}

/// Polls the body once more, with a waker that captures stacks. Returns its output, should it end in this poll.
#[cfg(feature = "dump")]
pub(super) async fn whereabouts<F: Future>(
    registry: &Registry,
    mut body: Pin<&mut F>,
) -> Result<F::Output, String> {
    use crate::{dump::collect, poll::capture};
    use std::task::Poll;
    let ask = poll_fn(|cx| {
        let (polled, found) = capture::poll(cx.waker(), |cx| body.as_mut().poll(cx));
        Poll::Ready((polled, found))
    });
    let found = match ask.await {
        (Poll::Ready(output), _) => return Ok(output),
        (Poll::Pending, found) => found,
    };
    let stacks = collect::folded(found).await;
    let dump = registry.dump().await;
    let stacks: Vec<_> = stacks
        .iter()
        .map(|stack| format!("\n    {stack}"))
        .collect();
    Err(format!("the body:{}\n\n{dump}", stacks.concat()))
}

/// Says what is alive.
#[cfg(not(feature = "dump"))]
pub(super) async fn whereabouts<F: Future>(
    registry: &Registry,
    _body: Pin<&mut F>,
) -> Result<F::Output, String> {
    let live = registry.live().await;
    Err(format!("{live}\n(the feature `dump` adds where they wait)"))
}

pub(super) async fn find_leaks(
    registry: &Registry,
    policy: &LeakPolicy,
    bare_spawns: &BareSpawns,
) -> LeakReport {
    let counts_them = policy.nothing_left && policy.asks_for.foreign;
    let has_more = || counts_them && bare_spawns.more() > 0;
    let root = Arc::downgrade(registry.root());
    let settled = find::settle(&root, policy, has_more).await;
    let (mut found, settled) = settled.expect("the registry is there");
    let mut notes = Vec::new();
    if counts_them {
        bare_spawns.judge(&mut found, policy, &mut notes);
    }
    LeakReport::new(found, Some(settled), notes)
}

/// Fails the test with the report.
pub(super) fn fail(report: &LeakReport, location: &Location<'_>) -> ! {
    panic!(
        "{}",
        message("left behind at the end of the check", report, location)
    )
}

/// The message of a failure: the line of the check, the report, and the files that contain it.
pub(super) fn message(what: &str, report: &LeakReport, location: &Location<'_>) -> String {
    let written = report_files::write(report, location);
    format!("{what} at {location}\n\n{report}\n\n{written}")
}
