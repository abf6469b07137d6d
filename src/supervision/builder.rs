//! [`SupervisedBuilder`]: starts a supervised task.

use super::{
    attempt::{Attempt, AttemptOutput},
    code::{Closures, Code},
    pause::Facts,
    restart::{ErrorFilter, Restart, RetryAll},
    state::{Next, Plan, Supervision, id_of},
    supervised::Supervised,
    supervisor::Supervisor,
};
use crate::{
    console,
    context::state::Node,
    error::RefusedError,
    panics,
    table::{record::Record as _, task_entry::TaskKind},
    task::{
        builder::TaskBuilder,
        end_check::CheckKind,
        spawn::{Rejected, Target, TaskOptions, TaskOrigin},
    },
};
use std::{fmt, sync::Arc};

impl<'a, C: CheckKind> TaskBuilder<'a, C> {
    /// Starts the task again when it fails: see [`supervision`](crate::supervision). What the task is, is said by a closure that
    /// makes a future for each attempt: [`run`](SupervisedBuilder::run).
    ///
    /// The settings of the builder are those of each attempt: its kind, slot and span; a [deadline](Self::deadline), whose end is
    /// a failure; the [cancellation](Self::cancellable) by its context. An [essential](Self::essential) task must not end for
    /// good; the end of an attempt is none. Errors are failures whether the task is [fallible](Self::fallible) or not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// use headcount::supervision::Restart;
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let feed = ctx.task("feed").restart(Restart::on_failure()).run(|attempt| async move {
    ///     assert!(attempt.number() > 1, "the first one panics");
    /// });
    /// feed.ended().await;
    /// assert_eq!(feed.attempts(), 2);
    /// # }
    /// ```
    pub fn restart<U>(self, restart: Restart<U>) -> SupervisedBuilder<'a, U> {
        let (target, options) = self.into_parts();
        SupervisedBuilder {
            target,
            options,
            is_essential: C::IS_ESSENTIAL,
            restart,
        }
    }
}

/// Starts a supervised task. Made by [`TaskBuilder::restart`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, supervision::{Restart, SupervisionEnd}};
/// let ctx = Registry::new().context("server");
/// let supervised = ctx.task("import").kind("job").restart(Restart::on_failure());
/// let import = supervised.run(|_attempt| async { /* reads a file */ });
/// assert_eq!(import.ended().await, SupervisionEnd::Finished);
/// # }
/// ```
#[must_use = "a builder starts nothing until `run` or `try_run`"]
pub struct SupervisedBuilder<'a, U = RetryAll> {
    target: Target<'a>,
    options: TaskOptions,
    is_essential: bool,
    restart: Restart<U>,
}

/// What was refused: the closure, and what goes into a handle that says so.
struct Refused<B, U> {
    rejected: Rejected,
    factory: B,
    plan: Plan,
    restart: Restart<U>,
}

impl<U> SupervisedBuilder<'_, U> {
    /// Starts the first attempt, and restarts the task by the rules. It runs where a [spawn](TaskBuilder::spawn) would, on one
    /// runtime for all its life.
    ///
    /// The closure is called for each attempt, when that is first polled, as code of the task. A panic of it is a failure as any
    /// other. Attempts do not overlap: the closure is called when the future before is dropped.
    ///
    /// If the context is closing or closed the closure is dropped uncalled, as the future of a refused
    /// [`spawn`](crate::Context::spawn) is, and the handle says [`Refused`](super::SupervisionEnd::Refused).
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime, see [`RefusedReason::NoRuntime`](crate::RefusedReason::NoRuntime).
    ///
    /// # Performance
    ///
    /// An attempt costs what a task does, and a lock that only the handles contend for; a pause takes an allocation and a timer.
    /// The runtime has one task for all attempts.
    #[track_caller]
    pub fn run<B, F>(self, factory: B) -> Supervised
    where
        B: FnMut(Attempt) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: AttemptOutput,
        U: ErrorFilter<<F::Output as AttemptOutput>::Error>,
    {
        let node = self.target.node;
        match self.start(TaskOrigin::of::<F>("task"), factory) {
            Ok(supervised) => supervised,
            Err(refused) => refused.supervised(node),
        }
    }

    /// As [`run`](Self::run), or hands the closure back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{RefusedReason, supervision::Restart};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.close().await;
    /// let builder = ctx.task("feed").restart(Restart::on_failure());
    /// let refused = builder.try_run(|_| async {}).unwrap_err();
    /// assert_eq!(refused.reason(), RefusedReason::Closed);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RefusedError`], with the closure in it, if the context is closing or closed, or there is no runtime.
    #[track_caller]
    pub fn try_run<B, F>(self, factory: B) -> Result<Supervised, RefusedError<B>>
    where
        B: FnMut(Attempt) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: AttemptOutput,
        U: ErrorFilter<<F::Output as AttemptOutput>::Error>,
    {
        let started = self.start(TaskOrigin::of::<F>("task"), factory);
        started.map_err(|refused| {
            let Refused {
                rejected, factory, ..
            } = *refused;
            rejected.refused(factory)
        })
    }

    fn start<B, F>(
        mut self,
        origin: TaskOrigin,
        factory: B,
    ) -> Result<Supervised, Box<Refused<B, U>>>
    where
        B: FnMut(Attempt) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: AttemptOutput,
        U: ErrorFilter<<F::Output as AttemptOutput>::Error>,
    {
        let rules = self.restart.rules;
        let plan = Plan {
            options: self.options.again(),
            origin,
            is_essential: self.is_essential,
            always: rules.always,
            give_up: rules.give_up,
        };
        let lent = self.target.lend();
        let (core, guard) = match self.options.admit(lent.core()) {
            Ok(admitted) => admitted,
            Err(reason) => {
                return Err(Box::new(Refused {
                    rejected: self.options.reject(origin, reason),
                    factory,
                    plan,
                    restart: self.restart,
                }));
            }
        };
        let runtime = self.options.runtime().clone();
        let node = Arc::clone(&core.node);
        let mut options = self.options;
        let guard = options.list_alone(&node, origin, guard, TaskKind::Spawned);
        guard.set_detail(Box::new(Facts::Attempt(1)));
        let name = guard.task().map(|task| task.meta().name.clone());
        let name = name.expect("it is listed");
        let (first, quota) = (id_of(&guard), options.take_quota());
        let supervision = Supervision::new(node, name, (plan, &rules), first, quota);
        let supervision = Arc::new(supervision);
        // Before a runtime that has ended drops the task in the call.
        let supervised = Supervised::new(Arc::clone(&supervision));
        let code: Arc<dyn Code<F>> = Arc::new(Closures::new(factory, self.restart.filter));
        let first = Next::Attempt {
            guard,
            options,
            number: 1,
        };
        let supervisor = Supervisor::new(&supervision, code, first);
        console::spawn(&runtime, supervised.name(), supervisor);
        Ok(supervised)
    }
}

impl<B, U> Refused<B, U> {
    /// The handle of a task that was refused, whose closure is dropped.
    #[track_caller]
    fn supervised(self, node: &Arc<Node>) -> Supervised {
        let Self {
            rejected,
            factory,
            plan,
            restart,
        } = self;
        let (name, reason) = rejected.drop_task(node, factory);
        let rules = restart.rules;
        panics::discard(restart);
        let node = Arc::clone(node);
        let supervision = Supervision::refused(node, name, (plan, &rules), reason);
        Supervised::new(Arc::new(supervision))
    }
}

impl<U> fmt::Debug for SupervisedBuilder<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedBuilder")
            .field("name", &self.options.name)
            .field("is_essential", &self.is_essential)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}
