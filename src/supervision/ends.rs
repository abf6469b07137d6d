//! What follows when an attempt or a pause is over: the next one, or the end.
//!
//! All of it happens in the place of the task that is over, while that is inside the gate of its context. So the next one comes
//! in before it goes out, and there is no moment in which a context with a supervised task has run dry.

use super::{
    code::{Code, Failed, Verdict},
    control::Command,
    pause::{PauseOver, may_start},
    restart::GiveUp,
    state::Supervision,
    supervised::SupervisionEnd,
};
use crate::{
    context::{
        close_reason::CloseReason,
        driver,
        failure::{Failure, FailureKind},
    },
    error::RefusedReason,
    events::What,
    poll::scope::{self, Owner},
    sync::lock,
    table::record::Outcome,
    task::{
        future::{End, Ended, outcome},
        guard::TaskGuard,
        telling::TaskFailure,
    },
};
use std::{sync::Arc, time::Duration};

/// Sees to the end of an attempt.
pub(super) struct AttemptEnd<F: Future> {
    pub(super) supervision: Arc<Supervision>,
    pub(super) code: Arc<dyn Code<F>>,
}

/// Sees to the end of a pause.
pub(super) struct PauseEnd<F: Future> {
    pub(super) supervision: Arc<Supervision>,
    pub(super) code: Arc<dyn Code<F>>,
}

/// What is to follow.
#[derive(Clone, Copy)]
enum Follows {
    /// Another attempt, after this pause.
    Attempt(Duration),
    End(Ending),
}

/// Why there is no other attempt.
#[derive(Clone, Copy)]
enum Ending {
    Finished,
    Stopped,
    Closed,
    RuntimeGone,
    Refused(RefusedReason),
    /// The budget is spent.
    Spent,
    /// The error is not to be retried.
    Final,
}

impl Ending {
    /// Whether it is what the attempt came to, and not what others decided.
    fn is_of_itself(self) -> bool {
        matches!(self, Self::Finished | Self::Spent | Self::Final)
    }
}

/// A task that is over.
struct Over<'g> {
    guard: &'g mut TaskGuard<'static>,
    outcome: Outcome,
    /// In which way an attempt failed, if it did.
    failed: Option<Failed>,
    /// Whether it is one that counts as restarted if another follows.
    is_attempt: bool,
}

impl<F: Future + 'static> End for AttemptEnd<F> {
    type Output = F::Output;

    fn end(&self, guard: &mut TaskGuard<'static>, result: Ended<F::Output>) {
        let (supervision, outcome) = (&self.supervision, outcome(&result));
        // In the scope of the task: filters, and what prints or drops its output, are its own code.
        let verdict = guard.enter(|| self.code.judge(result));
        let how = guard.how_aborted().filter(|_| outcome == Outcome::Aborted);
        let follows = supervision.after_attempt(&verdict, how);
        let failed = match verdict {
            Verdict::Failed(failed) => Some(failed),
            _ => None,
        };
        let mut over = Over {
            guard,
            outcome,
            failed,
            is_attempt: true,
        };
        supervision.go_on(&mut over, follows, &|| self.code.discard());
    }
}

impl<F: Future + 'static> End for PauseEnd<F> {
    type Output = PauseOver;

    fn end(&self, guard: &mut TaskGuard<'static>, result: Ended<PauseOver>) {
        let is_lost = result.is_err() && guard.how_aborted() == Some(Outcome::RuntimeEnded);
        let follows = self.supervision.after_pause(&result, is_lost);
        let mut over = Over {
            guard,
            // The end of a runtime is told, as it is of any other task.
            outcome: if is_lost {
                Outcome::Aborted
            } else {
                Outcome::Paused
            },
            failed: None,
            is_attempt: false,
        };
        self.supervision
            .go_on(&mut over, follows, &|| self.code.discard());
    }
}

impl Supervision {
    /// What is to follow an attempt that has come to this. `how` it was aborted, if it was.
    fn after_attempt(&self, verdict: &Verdict, how: Option<Outcome>) -> Follows {
        let command = self.take_command();
        match (command, verdict) {
            (Some(Command::Stop), _) => Follows::End(Ending::Stopped),
            (Some(Command::Restart), _) => Follows::Attempt(Duration::ZERO),
            (None, Verdict::Returned) if !self.plan.always => Follows::End(Ending::Finished),
            (None, Verdict::Aborted) => Follows::End(match how {
                Some(Outcome::RuntimeEnded) => Ending::RuntimeGone,
                Some(Outcome::Forced) => Ending::Closed,
                // By a task that replaces it in its slot.
                _ => Ending::Stopped,
            }),
            (None, Verdict::Cancelled) => Follows::End(Ending::Closed),
            // An end that nothing is to follow spends nothing.
            (None, _) if !may_start(&self.node) => Follows::End(Ending::Closed),
            (None, Verdict::Failed(failed)) if failed.is_final => Follows::End(Ending::Final),
            (None, Verdict::Returned | Verdict::Failed(_)) => match self.next_pause() {
                Some(pause) => Follows::Attempt(pause),
                None => Follows::End(Ending::Spent),
            },
        }
    }

    fn after_pause(&self, result: &Ended<PauseOver>, is_lost: bool) -> Follows {
        let command = self.take_command();
        match (command, result) {
            (Some(Command::Stop), _) => Follows::End(Ending::Stopped),
            (Some(Command::Restart), _) | (None, Ok(PauseOver::Due)) => {
                Follows::Attempt(Duration::ZERO)
            }
            (None, Err(_)) if is_lost => Follows::End(Ending::RuntimeGone),
            (None, Ok(PauseOver::Closing) | Err(_)) => Follows::End(Ending::Closed),
        }
    }

    /// Goes on with what follows, if the context takes it, and lets the task leave that is over.
    fn go_on(&self, over: &mut Over<'_>, follows: Follows, discard: &dyn Fn()) {
        // Borrowed for this call: it counts as no handle (I3).
        let core = self.node.core.upgrade();
        let pause = match follows {
            Follows::Attempt(pause) => pause,
            // A restart that was asked for since this was decided is kept to: it was not too late.
            Follows::End(ending) if ending.is_of_itself() && self.begin_to_end().is_some() => {
                Duration::ZERO
            }
            Follows::End(ending) => return self.finish(over, ending, discard),
        };
        let core = core.as_ref().filter(|_| may_start(&self.node));
        let Some(core) = core else {
            return self.finish(over, Ending::Closed, discard);
        };
        let admitted = match self.admit(core, pause) {
            Ok(admitted) => admitted,
            Err(RefusedReason::Closed) => return self.finish(over, Ending::Closed, discard),
            Err(reason) => return self.finish(over, Ending::Refused(reason), discard),
        };
        let failure = over.failure(Ending::Finished);
        if let Some(failure) = &failure {
            self.set_last_failure(failure);
        }
        if over.is_attempt {
            lock(&core.log)
                .notes()
                .restarted(failure.as_ref().map(Failure::kind));
        }
        let told = failure.and_then(|failure| over.guard.told(failure));
        if over.is_attempt {
            let attempt = self.attempts() + 1;
            // Its end follows.
            over.guard
                .send_first(|| What::Restarting { attempt, pause });
        }
        over.guard.leave(over.outcome, |_| {});
        let number = self.list(admitted);
        if let Some(failure) = told {
            failure.emit_restart(number, pause);
        }
    }

    /// There is no other attempt: what is left goes, and then the task does.
    fn finish(&self, over: &mut Over<'_>, ending: Ending, discard: &dyn Fn()) {
        let has_handle = self.must_end();
        over.guard.enter(discard);
        let failure = over
            .failure(ending)
            .or_else(|| self.ended_early(over, ending));
        let failure = failure.map(|failure| {
            if has_handle {
                failure.pending()
            } else {
                failure
            }
        });
        let reported = failure.as_ref().and_then(|failure| {
            self.set_last_failure(failure);
            over.guard.report(failure)
        });
        let is_given_up = matches!(ending, Ending::Spent | Ending::Final);
        self.end(end_of(ending, failure.as_ref()), failure);
        if let Some(reported) = reported.as_ref().filter(|_| is_given_up) {
            self.close_if_told(reported);
        }
        over.guard.leave(over.outcome, |task| {
            // What waits for the end runs as code of the task, as it does for a handle (I10).
            scope::enter_as(Owner::Task(task), || self.tell_end());
        });
        if let Some(reported) = reported.filter(|_| is_given_up || !has_handle) {
            reported.emit();
        }
    }

    /// The failure of an essential task that has ended while its context is open, or of one that returned too often.
    fn ended_early(&self, over: &Over<'_>, ending: Ending) -> Option<Failure> {
        let how = match ending {
            Ending::Spent => {
                let said = "it returned, and its restarts are used up".to_owned();
                let kind = FailureKind::ReturnedTooOften;
                return over.guard.failure(kind, ("is not started again: ", said));
            }
            Ending::Closed | Ending::Final => return None,
            Ending::Finished => "it returned",
            Ending::Stopped => "it was stopped",
            Ending::RuntimeGone => "its runtime ended",
            Ending::Refused(_) => "it could not be started again",
        };
        let is_failure = self.plan.is_essential && !over.guard.may_end();
        let said = ("ended although it is essential: ", how.to_owned());
        is_failure.then(|| over.guard.failure(FailureKind::EssentialEnded, said))?
    }

    /// Closes the context, if that is what follows from giving up.
    fn close_if_told(&self, failure: &TaskFailure) {
        if self.plan.give_up == GiveUp::Close {
            if let Some(core) = self.node.core.upgrade() {
                driver::request(&core, CloseReason::Failed(failure.failure().clone()));
            }
        }
    }
}

impl Over<'_> {
    /// The failure of an attempt, if it failed, after which this follows.
    fn failure(&self, ending: Ending) -> Option<Failure> {
        let Failed { kind, message, .. } = self.failed.as_ref()?;
        let verb = match (kind, ending) {
            (FailureKind::TaskPanicked, Ending::Spent) => {
                "panicked, and its restarts are used up: "
            }
            (FailureKind::TaskPanicked, _) => "panicked: ",
            (_, Ending::Spent) => "failed, and its restarts are used up: ",
            (_, Ending::Final) => "failed, and is not to be retried: ",
            _ => "failed: ",
        };
        self.guard.failure(*kind, (verb, message.clone()))
    }
}

fn end_of(ending: Ending, failure: Option<&Failure>) -> SupervisionEnd {
    match (ending, failure) {
        (Ending::Spent | Ending::Final, Some(failure)) => SupervisionEnd::GaveUp(failure.clone()),
        (Ending::Finished, _) => SupervisionEnd::Finished,
        (Ending::Stopped, _) => SupervisionEnd::Stopped,
        (Ending::RuntimeGone, _) => SupervisionEnd::RuntimeGone,
        (Ending::Refused(reason), _) => SupervisionEnd::Refused(reason),
        (Ending::Closed | Ending::Spent | Ending::Final, _) => SupervisionEnd::Closed,
    }
}
