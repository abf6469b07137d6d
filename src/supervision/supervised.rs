//! [`Supervised`]: the handle to a supervised task.

use super::{control::Command, state::Supervision};
use crate::{context::failure::Failure, error::RefusedReason};
use std::{fmt, sync::Arc, time::Duration};

/// A handle to a supervised task: how it is doing, and to restart or stop it. Made by
/// [`SupervisedBuilder::run`](super::SupervisedBuilder::run).
///
/// Clones are cheap. Dropping it changes nothing: the task stays with its context, as one does whose [`Task`](crate::Task) is
/// dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use headcount::supervision::{Restart, SupervisedState, SupervisionEnd};
/// use std::time::Duration;
/// let ctx = headcount::Registry::new().context("ctx");
/// let feed = ctx.task("feed").restart(Restart::on_failure()).run(|attempt| async move {
///     if attempt.number() == 1 {
///         return Err("no route");
///     }
///     std::future::pending::<Result<(), _>>().await
/// });
/// tokio::time::sleep(Duration::from_millis(100)).await;
/// assert!(matches!(feed.state(), SupervisedState::BackingOff(_)));
///
/// feed.restart_now(); // does not wait any longer
/// tokio::task::yield_now().await;
/// assert_eq!((feed.state(), feed.attempts()), (SupervisedState::Running, 2));
///
/// feed.stop();
/// assert_eq!(feed.ended().await, SupervisionEnd::Stopped);
/// # }
/// ```
#[derive(Clone)]
pub struct Supervised(Arc<Handle>);

/// The last clone of it says that it is gone.
struct Handle(Arc<Supervision>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.drop_handle();
    }
}

impl Supervised {
    pub(super) fn new(supervision: Arc<Supervision>) -> Self {
        Self(Arc::new(Handle(supervision)))
    }

    fn supervision(&self) -> &Supervision {
        &self.0.0
    }

    /// The name that its attempts have.
    pub fn name(&self) -> &str {
        &self.supervision().name
    }

    /// How many attempts have begun: the number of the latest one. 0 if it was refused.
    pub fn attempts(&self) -> u64 {
        self.supervision().attempts()
    }

    /// The latest failure: of an attempt, or with [`GaveUp`](SupervisionEnd::GaveUp) that of the task.
    pub fn last_failure(&self) -> Option<Failure> {
        self.supervision().last_failure()
    }

    /// What it is doing.
    pub fn state(&self) -> SupervisedState {
        self.supervision().state()
    }

    /// Begins the next attempt without waiting: ends the pause, or aborts the attempt that runs. Returns false if it has
    /// [ended](Self::ended), or is about to; and if its context closes or [finishes](crate::Context::finish), so that no other attempt
    /// may follow: then the attempt that runs is left to come to its end.
    ///
    /// This is no failure and not counted against the budget, whatever the attempt comes to meanwhile, and the next pause is as
    /// long as it would have been. The next attempt begins when the future of the one before is dropped, which is at its next
    /// wait. If an attempt is about to begin this does nothing.
    pub fn restart_now(&self) -> bool {
        self.supervision().command(Command::Restart)
    }

    /// Stops the task: ends the pause, or aborts the attempt that runs, and none follows. Returns false if it has
    /// [ended](Self::ended), or is about to.
    ///
    /// It is a request, as [`Task::abort`](crate::Task::abort) is: the future is dropped at its next wait. A failure that the
    /// attempt comes to meanwhile is reported.
    pub fn stop(&self) -> bool {
        self.supervision().command(Command::Stop)
    }

    /// Waits until there is no other attempt, and says why. By then the last future and the closures are dropped.
    ///
    /// Any number may wait. A failure with which it ends is [seen](crate::CloseReport::is_clean) from then on.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub fn ended(&self) -> impl Future<Output = SupervisionEnd> + Send + use<> {
        let handle = Arc::clone(&self.0);
        async move { handle.0.ended().await }
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}

/// What a supervised task is doing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, supervision::{Restart, SupervisedState}};
/// let ctx = Registry::new().context("server");
/// let feed = ctx.task("feed").restart(Restart::on_failure()).run(|_| std::future::pending::<()>());
/// assert_eq!(feed.state(), SupervisedState::Running);
/// feed.stop();
/// feed.ended().await;
/// assert_eq!(feed.state(), SupervisedState::Ended);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisedState {
    /// An attempt runs, or is about to begin or to be over.
    Running,
    /// It waits so much longer before the next attempt.
    BackingOff(Duration),
    /// There is no other attempt.
    Ended,
}

/// Why a supervised task has no other attempt.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, supervision::{Restart, SupervisionEnd}};
/// use std::time::Duration;
/// let ctx = Registry::new().context("server");
/// let once = Restart::on_failure().budget(0, Duration::from_secs(60));
/// let feed = ctx.task("feed").restart(once).run(|_| async { Err::<(), _>("no such host") });
/// match feed.ended().await {
///     SupervisionEnd::GaveUp(failure) => assert_eq!(failure.message(), "no such host"),
///     end => panic!("{end}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisionEnd {
    /// An attempt has returned without an error, and is not always restarted.
    Finished,
    /// [`Supervised::stop`] was called, or a task in its [slot](crate::TaskBuilder::slot) replaces it.
    Stopped,
    /// Its context closes or finishes. If the last attempt failed, [`Supervised::last_failure`] has that.
    Closed,
    /// Its budget is spent, or its error is not to be retried.
    GaveUp(Failure),
    /// Its runtime has ended.
    RuntimeGone,
    /// It was refused: when it was to be run, or because its [slot](crate::TaskBuilder::slot) was taken when it was to be started
    /// again.
    Refused(RefusedReason),
}

impl fmt::Display for SupervisionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Stopped => f.write_str("stopped"),
            Self::Closed => f.write_str("its context closed"),
            Self::GaveUp(failure) => write!(f, "given up: {failure}"),
            Self::RuntimeGone => f.write_str("its runtime has ended"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
        }
    }
}
