//! [`Supervision`]: how a supervised task is doing, which its handles share with the code that runs it.

use super::{
    control::{Command, Control, Stage, Taken},
    pause::{Facts, due, may_start},
    restart::{GiveUp, Rules},
    restarts::Restarts,
    supervised::{SupervisedState, SupervisionEnd},
};
use crate::{
    clock,
    context::{
        failure::Failure,
        quota::QuotaPermit,
        state::{Core, Node},
    },
    error::RefusedReason,
    id::ResourceId,
    name::Label,
    panics,
    sync::{Mutex, Notify, lock},
    table::{record::Record as _, task_entry::TaskKind},
    task::{
        guard::TaskGuard,
        spawn::{TaskOptions, TaskOrigin},
    },
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What the handles of a supervised task share with the code that runs it. It holds no handle of the context (I3).
pub(super) struct Supervision {
    pub(super) node: Arc<Node>,
    pub(super) name: Label,
    pub(super) plan: Plan,
    state: Mutex<State>,
    /// Notified when it has ended.
    ended: Notify,
    /// What the code that runs it is to go on with.
    next: Mutex<Option<Next>>,
    /// Its room in a context that has not room for any number of tasks: that of all attempts and pauses, until it has ended.
    quota: Mutex<Option<QuotaPermit>>,
}

/// What does not change.
pub(super) struct Plan {
    /// Those of each attempt.
    pub(super) options: TaskOptions,
    pub(super) origin: TaskOrigin,
    pub(super) is_essential: bool,
    pub(super) always: bool,
    pub(super) give_up: GiveUp,
}

struct State {
    control: Control<ResourceId, SupervisionEnd>,
    attempts: u64,
    /// When the closure was called for the attempt that runs.
    since: Instant,
    last_failure: Option<Failure>,
    /// That of the end, which is seen once a handle has waited for the end.
    unseen: Option<Failure>,
    has_handle: bool,
    restarts: Restarts,
}

/// A listed task that is inside the gate, and is to be polled next.
pub(super) enum Next {
    Attempt {
        guard: TaskGuard<'static>,
        options: TaskOptions,
        number: u64,
    },
    Pause {
        guard: TaskGuard<'static>,
        /// The number of the attempt after it.
        number: u64,
        length: Duration,
    },
}

/// What is listed: the task, the number of its attempt, and the stage.
type Listed = (Next, u64, Stage<ResourceId, SupervisionEnd>);

/// What is inside the gate, and not listed yet.
pub(super) enum Admitted<'c> {
    Attempt(TaskGuard<'c>, TaskOptions),
    Pause(TaskGuard<'c>, Duration),
}

impl Supervision {
    /// One whose first attempt is listed.
    pub(super) fn new(
        node: Arc<Node>,
        name: Label,
        (plan, rules): (Plan, &Rules),
        first: ResourceId,
        quota: Option<QuotaPermit>,
    ) -> Self {
        Self {
            quota: Mutex::new(quota),
            ..Self::at(node, name, (plan, rules), Stage::Attempt(first), 1)
        }
    }

    /// One that was refused.
    pub(super) fn refused(
        node: Arc<Node>,
        name: Label,
        (plan, rules): (Plan, &Rules),
        reason: RefusedReason,
    ) -> Self {
        let end = SupervisionEnd::Refused(reason);
        Self::at(node, name, (plan, rules), Stage::Ended(end), 0)
    }

    fn at(
        node: Arc<Node>,
        name: Label,
        (plan, rules): (Plan, &Rules),
        stage: Stage<ResourceId, SupervisionEnd>,
        attempts: u64,
    ) -> Self {
        let state = State {
            control: Control::new(stage),
            attempts,
            since: clock::now(),
            last_failure: None,
            unseen: None,
            has_handle: true,
            restarts: rules.restarts(),
        };
        Self {
            node,
            name,
            plan,
            state: Mutex::new(state),
            ended: Notify::new(),
            next: Mutex::new(None),
            quota: Mutex::new(None),
        }
    }

    /// Asks for the end of what runs or waits. False if it has ended, or for a restart if nothing may follow.
    pub(super) fn command(&self, command: Command) -> bool {
        if command == Command::Restart && !may_start(&self.node) {
            return false;
        }
        let taken = lock(&self.state).control.command(command);
        match taken {
            Taken::TooLate => return false,
            Taken::Abort(task) => self.abort(Some(task)),
            Taken::Noted => {}
        }
        true
    }

    fn abort(&self, task: Option<ResourceId>) {
        if let Some(task) = task {
            panics::contain(|| self.node.table.table_ref().abort(task));
        }
    }

    /// The closure is about to be called for the attempt that was listed last; the latest failure before it.
    pub(super) fn begin(&self) -> Option<Failure> {
        let now = clock::now();
        let mut state = lock(&self.state);
        state.since = now;
        state.last_failure.clone()
    }

    /// What was listed last is over. What was asked for meanwhile.
    pub(super) fn take_command(&self) -> Option<Command> {
        lock(&self.state).control.leave()
    }

    /// The pause before another attempt after one that ends now; `None` if there may be no other.
    pub(super) fn next_pause(&self) -> Option<Duration> {
        let now = clock::now();
        let mut state = lock(&self.state);
        let lived = now.saturating_duration_since(state.since);
        state.restarts.next(lived, now)
    }

    pub(super) fn set_last_failure(&self, failure: &Failure) {
        let before = lock(&self.state).last_failure.replace(failure.clone());
        drop(before);
    }

    /// Asks for a place of an attempt, or of the pause before it if it has a length.
    pub(super) fn admit<'c>(
        &self,
        core: &'c Arc<Core>,
        pause: Duration,
    ) -> Result<Admitted<'c>, RefusedReason> {
        let mut options = if pause.is_zero() {
            self.plan.options.again()
        } else {
            TaskOptions::plain()
        };
        let guard = options.admit_another(core)?;
        Ok(if pause.is_zero() {
            Admitted::Attempt(guard, options)
        } else {
            Admitted::Pause(guard, pause)
        })
    }

    /// Lists what was admitted, and leaves it for the code that runs the task. Returns the number of the attempt.
    pub(super) fn list(&self, admitted: Admitted<'_>) -> u64 {
        let (next, number, stage) = match admitted {
            Admitted::Attempt(guard, options) => self.list_attempt(guard, options),
            Admitted::Pause(guard, length) => self.list_pause(guard, length),
        };
        // Before the stage: what a command aborts is there to be polled.
        *lock(&self.next) = Some(next);
        self.enter(stage);
        number
    }

    fn list_attempt(&self, guard: TaskGuard<'_>, mut options: TaskOptions) -> Listed {
        let number = {
            let mut state = lock(&self.state);
            state.attempts += 1;
            state.attempts
        };
        let origin = self.plan.origin;
        let guard = options.list_alone(&self.node, origin, guard, TaskKind::Spawned);
        guard.set_detail(Box::new(Facts::Attempt(number)));
        let stage = Stage::Attempt(id_of(&guard));
        let next = Next::Attempt {
            guard,
            options,
            number,
        };
        (next, number, stage)
    }

    fn list_pause(&self, guard: TaskGuard<'_>, length: Duration) -> Listed {
        let number = self.attempts() + 1;
        let mut options = self.plan.options.again();
        let origin = self.plan.origin;
        let guard = options.list_alone(&self.node, origin, guard, TaskKind::BackOff);
        let due = due(length);
        guard.set_detail(Box::new(Facts::Due(number, due)));
        let stage = Stage::BackingOff(id_of(&guard), due);
        let next = Next::Pause {
            guard,
            number,
            length,
        };
        (next, number, stage)
    }

    fn enter(&self, stage: Stage<ResourceId, SupervisionEnd>) {
        let aborted = lock(&self.state).control.enter(stage);
        self.abort(aborted);
    }

    /// What was listed last.
    pub(super) fn take_next(&self) -> Option<Next> {
        lock(&self.next).take()
    }

    /// There is nothing more to run, unless a restart was asked for meanwhile: then that is returned.
    pub(super) fn begin_to_end(&self) -> Option<Command> {
        lock(&self.state).control.begin_to_end()
    }

    /// There is nothing more that could run. True if a handle may still wait for the end.
    pub(super) fn must_end(&self) -> bool {
        let mut state = lock(&self.state);
        state.control.must_end();
        state.has_handle
    }

    /// It has ended, with this failure if that is to be seen.
    pub(super) fn end(&self, end: SupervisionEnd, failure: Option<Failure>) {
        let mut state = lock(&self.state);
        let stage = state.control.end(end);
        if state.has_handle {
            state.unseen = failure;
        } else if let Some(failure) = failure {
            failure.note_unseen();
        }
        drop(state);
        drop(stage);
        drop(lock(&self.quota).take());
    }

    /// Wakes those that wait for the end.
    pub(super) fn tell_end(&self) {
        panics::notify_all(&self.ended);
    }

    /// Waits for the end, and has seen its failure.
    pub(super) async fn ended(&self) -> SupervisionEnd {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if let Some(end) = self.take_end() {
                return end;
            }
            ended.await;
        }
    }

    fn take_end(&self) -> Option<SupervisionEnd> {
        let mut state = lock(&self.state);
        let Stage::Ended(end) = state.control.stage() else {
            return None;
        };
        let end = end.clone();
        if let Some(failure) = state.unseen.take() {
            failure.note_seen();
        }
        Some(end)
    }

    /// The last handle is gone.
    pub(super) fn drop_handle(&self) {
        let mut state = lock(&self.state);
        state.has_handle = false;
        if let Some(failure) = state.unseen.take() {
            failure.note_unseen();
        }
    }

    pub(super) fn attempts(&self) -> u64 {
        lock(&self.state).attempts
    }

    pub(super) fn last_failure(&self) -> Option<Failure> {
        lock(&self.state).last_failure.clone()
    }

    pub(super) fn state(&self) -> SupervisedState {
        let now = clock::now();
        match lock(&self.state).control.stage() {
            Stage::BackingOff(_, due) => {
                SupervisedState::BackingOff(due.saturating_duration_since(now))
            }
            Stage::Ended(_) => SupervisedState::Ended,
            Stage::Between | Stage::Attempt(_) | Stage::Ending => SupervisedState::Running,
        }
    }
}

/// The id of a listed task.
pub(super) fn id_of(guard: &TaskGuard<'_>) -> ResourceId {
    guard.task().expect("it is listed").meta().id
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::{context::haste::Limits, supervision::Restart};

    /// A supervised task of this context whose first attempt is over.
    fn between(core: &Arc<Core>) -> Supervision {
        let plan = Plan {
            options: TaskOptions::plain(),
            origin: TaskOrigin::of::<()>("task"),
            is_essential: false,
            always: false,
            give_up: GiveUp::Report,
        };
        let rules = Restart::on_failure().rules;
        let (node, name) = (Arc::clone(&core.node), Label::borrowed("feed"));
        Supervision::at(node, name, (plan, &rules), Stage::Between, 1)
    }

    /// Lists what follows after this pause, and says whether it is to end.
    fn is_aborted(core: &Arc<Core>, command: Command, pause: Duration) -> bool {
        let supervision = between(core);
        assert!(supervision.command(command));
        let admitted = supervision.admit(core, pause);
        supervision.list(admitted.expect("it is open"));
        let next = supervision.take_next();
        let (Next::Attempt { guard, .. } | Next::Pause { guard, .. }) =
            next.expect("it was listed");
        guard.is_aborting()
    }

    /// It comes when there is no task that it could abort: the next one is aborted when it is listed.
    #[test]
    fn a_command_between_two_tasks_ends_the_next_one() {
        let core = Core::of_registry(Limits::default(), None);
        let second = Duration::from_secs(1);
        assert!(is_aborted(&core, Command::Stop, Duration::ZERO));
        assert!(is_aborted(&core, Command::Stop, second));
        assert!(is_aborted(&core, Command::Restart, second));
        // The attempt that is about to begin is the one that was asked for.
        assert!(!is_aborted(&core, Command::Restart, Duration::ZERO));
    }
}
