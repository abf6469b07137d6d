//! [`Restart`]: when a supervised task is started again, and how soon.

use super::restarts::Restarts;
use std::{fmt, sync::Arc, time::Duration};

/// When a task is started again, how soon, and how often. For [`TaskBuilder::restart`](crate::TaskBuilder::restart).
///
/// | setting | default |
/// |---|---|
/// | [`backoff`](Self::backoff) | 200 ms for the first restart, at most 30 s |
/// | [`factor`](Self::factor) | 2: each pause is twice as long as the one before |
/// | [`jitter`](Self::jitter) | on: up to as much again, at random |
/// | [`budget`](Self::budget) | 5 restarts in 60 s |
/// | [`healthy_after`](Self::healthy_after) | 60 s |
/// | [`unless`](Self::unless) | all errors are retried |
/// | [`give_up`](Self::give_up) | [`GiveUp::Report`] |
///
/// It can be cloned, and used for any number of tasks. `U` is which errors are retried: see [`unless`](Self::unless).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use headcount::supervision::{GiveUp, Restart};
/// use std::{io, time::Duration};
///
/// let rules = Restart::on_failure()
///     .backoff(Duration::from_secs(1), Duration::from_secs(60))
///     .budget(10, Duration::from_secs(600))
///     .healthy_after(Duration::from_secs(300))
///     .unless(|error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied)
///     .give_up(GiveUp::Close);
///
/// let ctx = headcount::Registry::new().context("ctx");
/// let feed = ctx.task("feed").restart(rules).run(|_| async {
///     Err::<(), _>(io::Error::from(io::ErrorKind::PermissionDenied))
/// });
/// feed.ended().await;
/// assert_eq!(feed.attempts(), 1);
/// let report = ctx.closed().await;
/// assert!(report.reason().to_string().contains("permission denied"));
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it starts nothing until it is given to `TaskBuilder::restart`"]
pub struct Restart<U = RetryAll> {
    pub(super) rules: Rules,
    pub(super) filter: U,
}

/// The settings of a [`Restart`], but for which errors are retried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Also after an attempt that has returned without an error.
    pub(super) always: bool,
    pub(super) min: Duration,
    pub(super) max: Duration,
    pub(super) factor: f32,
    pub(super) jitter: bool,
    pub(super) budget: u32,
    pub(super) per: Duration,
    pub(super) healthy_after: Duration,
    pub(super) give_up: GiveUp,
}

/// What follows when a supervised task is not started again, because its budget is spent or its error is not retried.
///
/// The failure is reported in either case, and reaches [`Supervised::ended`](super::Supervised::ended).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{CloseReason, Registry, supervision::{GiveUp, Restart}};
/// use std::time::Duration;
/// let ctx = Registry::new().context("feed");
/// let once = Restart::on_failure().budget(0, Duration::from_secs(60)).give_up(GiveUp::Close);
/// ctx.task("read").restart(once).run(|_| async { Err::<(), _>("gone") });
/// assert!(matches!(ctx.closed().await.reason(), CloseReason::Failed(_)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// It is the failure of a task as any other: what follows is the policy of the context, see
    /// [`OnFailure`](crate::OnFailure).
    #[default]
    Report,
    /// Its own context closes as well, with the reason [`Failed`](crate::CloseReason::Failed).
    Close,
}

impl Restart {
    /// Restarts a task after a panic, an error, or the end of its [deadline](crate::TaskBuilder::deadline). One that returns
    /// without an error is finished.
    pub fn on_failure() -> Self {
        Self::new(false)
    }

    /// Restarts a task also when it returns without an error, as long as its context is open. Each restart counts against the
    /// [budget](Self::budget).
    pub fn always() -> Self {
        Self::new(true)
    }

    fn new(always: bool) -> Self {
        let rules = Rules {
            always,
            min: Duration::from_millis(200),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: true,
            budget: 5,
            per: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
            give_up: GiveUp::Report,
        };
        Self {
            rules,
            filter: RetryAll(()),
        }
    }

    /// Gives up at once on errors for which this is true: a wrong password does not get right by trying again. It is asked after
    /// each attempt that returned an error; panics are always retried.
    ///
    /// The closure names the type of the error, which has to be the one that the attempts return. It runs as code of the task.
    ///
    /// # Panics
    ///
    /// A panic of the closure is caught, and counts as false. The message of the failure tells of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// use headcount::supervision::{Restart, SupervisionEnd};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let rules = Restart::on_failure().unless(|error: &String| error.starts_with("fatal"));
    /// let feed = ctx.task("feed").restart(rules).run(|attempt| async move {
    ///     let kind = if attempt.number() == 1 { "transient" } else { "fatal" };
    ///     Err::<(), _>(format!("{kind}: no such topic"))
    /// });
    /// let SupervisionEnd::GaveUp(failure) = feed.ended().await else { panic!() };
    /// assert_eq!((feed.attempts(), failure.message()), (2, "fatal: no such topic"));
    /// # }
    /// ```
    pub fn unless<E>(
        self,
        is_final: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Restart<Unless<E>> {
        Restart {
            rules: self.rules,
            filter: Unless(Arc::new(is_final)),
        }
    }
}

impl<U> Restart<U> {
    /// How long the first pause is, and how long a pause is at most, without [jitter](Self::jitter). The second of these is raised
    /// to the first if it is less, and both are cut to two years. Zero and zero starts the next attempt when the code that waits
    /// for the same thread has had its turn.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.rules.min, self.rules.max) = (min, max);
        self
    }

    /// By how much each pause is longer than the one before. Less than 1, and what is no number, count as 1.
    pub fn factor(mut self, factor: f32) -> Self {
        self.rules.factor = factor;
        self
    }

    /// Whether pauses are lengthened at random, by up to as much again, so that tasks that failed together do not come back
    /// together.
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.rules.jitter = jitter;
        self
    }

    /// How many restarts there may be within any period of this length; at one more the task is given up. 0 never restarts,
    /// [`u32::MAX`] has no limit. With a period of [`Duration::MAX`] it is the number of restarts in all; one of zero has
    /// no limit.
    ///
    /// Of a budget with a limit the time of each restart in the period is kept, 16 bytes each.
    pub fn budget(mut self, restarts: u32, per: Duration) -> Self {
        (self.rules.budget, self.rules.per) = (restarts, per);
        self
    }

    /// How long an attempt has to run, from the call of the closure on, to be healthy: its end finds a full budget, and the first
    /// pause. Zero is every attempt, so the budget is never spent; [`Duration::MAX`] is none.
    pub fn healthy_after(mut self, lived: Duration) -> Self {
        self.rules.healthy_after = lived;
        self
    }

    /// What follows when the task is given up.
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.rules.give_up = give_up;
        self
    }
}

impl Rules {
    pub(super) fn restarts(&self) -> Restarts {
        Restarts::new(self)
    }
}

impl<U> fmt::Debug for Restart<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

/// All errors are retried.
///
/// ```
/// use headcount::supervision::{Restart, RetryAll};
/// fn gentle() -> Restart<RetryAll> {
///     Restart::on_failure().budget(3, std::time::Duration::from_secs(3_600))
/// }
/// # gentle();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RetryAll(());

/// Errors are retried for which the closure of [`Restart::unless`] is false.
///
/// ```
/// use headcount::supervision::{Restart, Unless};
/// use std::io::{Error, ErrorKind};
/// fn while_it_may_help() -> Restart<Unless<Error>> {
///     Restart::on_failure().unless(|error: &Error| error.kind() == ErrorKind::PermissionDenied)
/// }
/// # while_it_may_help();
/// ```
pub struct Unless<E>(Arc<dyn Fn(&E) -> bool + Send + Sync>);

/// Which errors of this type are retried. Implemented by [`RetryAll`] and [`Unless`]; nothing else can implement it.
///
/// It is the bound of a function that takes rules of either kind:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Context, Registry, supervision::{ErrorFilter, Restart, Supervised}};
/// use std::io::Error;
/// fn import<U: ErrorFilter<Error>>(ctx: &Context, restart: Restart<U>) -> Supervised {
///     ctx.task("import").restart(restart).run(|_| async { Ok::<(), Error>(()) })
/// }
/// let ctx = Registry::new().context("server");
/// import(&ctx, Restart::on_failure()).ended().await;
/// import(&ctx, Restart::on_failure().unless(|_: &Error| true)).ended().await;
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "the attempts return errors of type `{E}`, and `unless` asks for another type",
    note = "name the type of the error in the closure: `unless(|error: &MyError| …)`"
)]
pub trait ErrorFilter<E>: sealed::Sealed + Send + 'static {
    #[doc(hidden)]
    fn is_final(&self, error: &E) -> bool;
}

mod sealed {
    #[expect(unnameable_types, reason = "nothing else can implement it")]
    pub trait Sealed {}

    impl Sealed for super::RetryAll {}
    impl<E> Sealed for super::Unless<E> {}
}

impl<E> ErrorFilter<E> for RetryAll {
    fn is_final(&self, _: &E) -> bool {
        false
    }
}

impl<E: 'static> ErrorFilter<E> for Unless<E> {
    fn is_final(&self, error: &E) -> bool {
        (self.0)(error)
    }
}

impl<E> Clone for Unless<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Unless<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unless(..)")
    }
}
