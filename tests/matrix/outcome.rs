//! What became of the task, as its handle and the reports tell it, and what they should tell.

use crate::{
    axes::{Carrier, Case, Ending, Handle, Moment, Shape},
    limits::wait_for,
    stage::{MARKER, Output},
};
use headcount::{CloseReason, CloseReport, Task, TaskError};
use std::ops::RangeInclusive;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    Cancelled,
    Aborted,
    Panicked,
}

use Outcome::{Aborted, Cancelled, Finished, Panicked};

/// The handle of the code that started the task.
pub(crate) enum Held {
    Task(Task<Output>),
    /// tokio's own, of a task that was wrapped first.
    Elsewhere(JoinHandle<Result<Output, TaskError>>),
}

impl Held {
    pub(crate) fn abort(&self) {
        match self {
            Self::Task(task) => task.abort(),
            Self::Elsewhere(task) => task.abort(),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Task(task) => task.is_finished(),
            Self::Elsewhere(task) => task.is_finished(),
        }
    }

    /// Awaits the handle and says which outcomes of the task it goes with.
    pub(crate) fn resolve(self) -> Result<Vec<Outcome>, String> {
        let result = match self {
            Self::Task(task) => wait_for("the task's handle", task)?,
            Self::Elsewhere(task) => match wait_for("tokio's handle", task)? {
                Ok(result) => result,
                // A destructor that panics while tokio drops the future reaches no handle of tokio's.
                Err(error) if error.is_cancelled() => return Ok(vec![Aborted, Panicked]),
                Err(error) => {
                    let payload = error.into_panic();
                    let said = payload.downcast_ref::<String>().cloned();
                    return panicked(&said.unwrap_or_default());
                }
            },
        };
        match result {
            Ok(output) => {
                output.claim();
                Ok(vec![Finished])
            }
            Err(TaskError::Cancelled) => Ok(vec![Cancelled]),
            Err(TaskError::Aborted) => Ok(vec![Aborted]),
            Err(TaskError::Panicked(_, message)) => panicked(&message),
            Err(error) => Err(format!("the handle says: {error}")),
        }
    }
}

fn panicked(message: &str) -> Result<Vec<Outcome>, String> {
    if message.starts_with(MARKER) {
        Ok(vec![Panicked])
    } else {
        Err(format!("the handle has another panic: {message:?}"))
    }
}

/// What else a report counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) finished: u64,
    pub(crate) panicked: u64,
}

/// The outcome of the one task that a report counts.
pub(crate) fn counted(
    case: &Case,
    report: &CloseReport,
    others: Others,
) -> Result<Outcome, String> {
    let counts = [
        (report.finished().checked_sub(others.finished), Finished),
        (Some(report.cancelled()), Cancelled),
        (Some(report.aborted()), Aborted),
        (report.panicked().checked_sub(others.panicked), Panicked),
    ];
    let total: Option<u64> = counts.iter().map(|(count, _)| *count).sum();
    if total != Some(1) || report.refused() != 0 {
        return Err(format!("the report does not add up to one task: {report}"));
    }
    let one = counts.iter().find(|(count, _)| *count == Some(1));
    let outcome = one.expect("they add up to one").1;
    let failures = report.failures();
    let are_meant = failures
        .iter()
        .all(|failure| failure.message().contains(MARKER));
    let meant = failures.len().checked_sub(usize::from(others.panicked > 0));
    if !are_meant || !meant.is_some_and(|meant| told(case, outcome).contains(&meant)) {
        return Err(format!(
            "{outcome:?}, but the failures are others: {report}"
        ));
    }
    let is_clean = is_clean(case, outcome).map(|is_clean| is_clean && failures.is_empty());
    if is_clean.is_some_and(|is_clean| is_clean != report.is_clean()) {
        return Err(format!(
            "{outcome:?}, and clean: {}, {report}",
            report.is_clean()
        ));
    }
    Ok(outcome)
}

/// Whether nothing is lost with this outcome, if there are no failures; `None` where it depends on who was first.
fn is_clean(case: &Case, outcome: Outcome) -> Option<bool> {
    if outcome != Aborted {
        return Some(true);
    }
    match case.ending {
        Ending::Abort => Some(true),
        // The runtime drops a wrapped future as any owner may; the close drops it by force.
        ending if ending.is_shutdown() && case.carrier == Carrier::Wrapped => None,
        _ => Some(false),
    }
}

/// Whether this can be the reason of the context's close.
pub(crate) fn is_reason(case: &Case, reason: &CloseReason) -> bool {
    let is_requested = matches!(reason, CloseReason::Requested(_));
    let is_finished = *reason == CloseReason::Finished;
    match case.ending {
        Ending::LastHandleDropped
        | Ending::ShutDownThenDrop
        | Ending::ShutDownBehindThenDrop
        | Ending::ShutDownWhileDropped
        | Ending::DroppedOutside
        | Ending::NeededDropped => *reason == CloseReason::Dropped,
        Ending::Finish => is_finished,
        // The deadline may come first, or another call.
        Ending::FinishBy | Ending::FinishThenClose => is_finished || is_requested,
        Ending::Failure => matches!(reason, CloseReason::Failed(_)),
        Ending::NeededRegistryCloses => matches!(reason, CloseReason::Parent(_)),
        ending if ending.needs() => *reason == CloseReason::Needed,
        _ => is_requested,
    }
}

/// How many failures a report tells of.
fn told(case: &Case, outcome: Outcome) -> RangeInclusive<usize> {
    let is_unclaimed = case.handle == Handle::Dropped && case.carrier != Carrier::Wrapped;
    match (outcome, case.shape) {
        (Panicked, _) => 1..=1,
        // It may have finished before its handle was dropped, and then that drop is on the user.
        (Finished, Shape::PanicsInOutput) if is_unclaimed && case.moment == Moment::Finished => {
            0..=1
        }
        (Finished, Shape::PanicsInOutput) if is_unclaimed => 1..=1,
        _ => 0..=0,
    }
}

/// The outcomes that the case may have: one, unless it is a race by its nature.
pub(crate) fn expected(case: &Case) -> Vec<Outcome> {
    let mut outcomes = match case.moment {
        Moment::Finished => by_itself(case),
        _ => match case.ending {
            Ending::Close
            | Ending::CloseDropped
            | Ending::CloseDroppedThenIdle
            | Ending::LastHandleDropped
            | Ending::CloseBy
            | Ending::HurriedBy
            | Ending::FinishThenClose
            | Ending::Failure
            | Ending::NeededCloses
            | Ending::NeededClosesBy
            | Ending::NeededParentCloses
            | Ending::NeededRegistryCloses
            | Ending::NeededDropped => by_close(case),
            Ending::CloseNow | Ending::HurriedNow | Ending::NeededClosesNow => at_once(case),
            Ending::Finish | Ending::NeededFinishes => by_itself(case),
            Ending::FinishBy => by_deadline(case),
            Ending::Abort => by_abort(case),
            Ending::DroppedOutside => by_tear_down(case),
            Ending::ShutDown | Ending::ShutDownThenDrop => by_shutdown(case),
            // A close and a shutdown race for it.
            Ending::ShutDownBehind
            | Ending::ShutDownBehindThenDrop
            | Ending::ShutDownWhileClosing
            | Ending::ShutDownWhileDropped => {
                let mut either = by_close(case);
                either.extend(by_shutdown(case));
                either
            }
        },
    };
    outcomes.dedup();
    outcomes
}

/// Left alone.
fn by_itself(case: &Case) -> Vec<Outcome> {
    match case.shape {
        Shape::Ready | Shape::Yields | Shape::Sleeps | Shape::PanicsInOutput => vec![Finished],
        Shape::PanicsInPoll | Shape::PanicsInDrop | Shape::PanicsTwice => vec![Panicked],
        Shape::Ignores if case.carrier == Carrier::Blocking => vec![Finished],
        Shape::Ignores => vec![],
    }
}

/// Dropped before it returned.
fn by_force(case: &Case) -> Vec<Outcome> {
    match case.shape {
        Shape::PanicsInDrop | Shape::PanicsTwice => vec![Panicked],
        _ => vec![Aborted],
    }
}

/// Whether it does all it does in the poll in which it goes on.
fn is_done_at_once(case: &Case) -> bool {
    case.carrier == Carrier::Blocking
        || !matches!(case.shape, Shape::Yields | Shape::Sleeps | Shape::Ignores)
}

fn by_close(case: &Case) -> Vec<Outcome> {
    match (case.carrier, case.shape) {
        // The close aborts it after the grace period, unless a thread was free to start it by then.
        (Carrier::Blocking, Shape::Ignores) if case.moment == Moment::BeforeFirstPoll => {
            vec![Finished, Aborted]
        }
        // It is dropped without another poll.
        (Carrier::Cancellable, shape) if case.moment != Moment::Running => match shape {
            Shape::PanicsInDrop | Shape::PanicsTwice => vec![Panicked],
            _ => vec![Cancelled],
        },
        (Carrier::Cancellable, Shape::Ignores) => vec![Cancelled],
        // It waits once more, and by then may or may not have been cancelled.
        (Carrier::Cancellable, Shape::Yields | Shape::Sleeps) => vec![Finished, Cancelled],
        (Carrier::Blocking, _) => by_itself(case),
        (_, Shape::Ignores) => vec![Aborted],
        _ => by_itself(case),
    }
}

/// Cancelled and aborted in the same call; a thread that is free may poll it in between.
fn at_once(case: &Case) -> Vec<Outcome> {
    match case.moment {
        Moment::Running if is_done_at_once(case) => by_itself(case),
        _ => [by_close(case), by_itself(case), by_force(case)].concat(),
    }
}

/// Nothing happens to it unless it waits for a cancellation. That comes in time for the grace period, but after that it may
/// have no time.
fn by_deadline(case: &Case) -> Vec<Outcome> {
    match (case.moment, case.shape) {
        (Moment::Parked, _) => [by_close(case), by_force(case)].concat(),
        (_, Shape::Ignores) => by_close(case),
        _ => by_itself(case),
    }
}

fn by_abort(case: &Case) -> Vec<Outcome> {
    match case.moment {
        // An abort takes effect at the end of the poll that is under way.
        Moment::Running if is_done_at_once(case) => by_itself(case),
        _ => by_force(case),
    }
}

/// Cancelled and aborted right after, without a grace period.
fn by_tear_down(case: &Case) -> Vec<Outcome> {
    match (case.moment, case.carrier) {
        // The future is found out at its next poll, not before.
        (Moment::BeforeFirstPoll, Carrier::Wrapped) if is_done_at_once(case) => by_itself(case),
        // It may be woken by the first before the second comes.
        (Moment::Parked, _) => [by_close(case), by_itself(case), by_force(case)].concat(),
        // The poll under way finds out by itself that it is cancelled.
        (Moment::Running, Carrier::Cancellable) if !is_done_at_once(case) => vec![Cancelled],
        _ => by_abort(case),
    }
}

fn by_shutdown(case: &Case) -> Vec<Outcome> {
    match case.moment {
        Moment::Parked => by_force(case),
        Moment::Running if is_done_at_once(case) => by_itself(case),
        // It gets as far as the runtime lets it.
        _ => [by_itself(case), by_force(case)].concat(),
    }
}
