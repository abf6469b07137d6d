//! The code of users that a supervised task runs: the closure that makes attempts, and the filter of its errors.

use super::{
    attempt::{Attempt, AttemptOutput},
    restart::ErrorFilter,
};
use crate::{
    context::failure::FailureKind,
    error::TaskError,
    panics,
    sync::{Mutex, lock},
    task::future::Ended,
};
use std::{fmt::Display, panic::resume_unwind};

/// What a supervised task runs, whose attempts are futures of this type.
pub(super) trait Code<F: Future>: Send + Sync {
    /// Makes the future of an attempt. A panic of the closure goes on.
    fn call(&self, attempt: Attempt) -> F;
    /// What an attempt has come to. Drops that, and never panics.
    fn judge(&self, result: Ended<F::Output>) -> Verdict;
    /// Drops the closures: there is no other attempt.
    fn discard(&self);
}

/// What an attempt has come to.
pub(super) enum Verdict {
    /// It has returned, without an error.
    Returned,
    /// It panicked, returned an error, or ran into its deadline.
    Failed(Failed),
    /// It was cancelled with its context.
    Cancelled,
    /// It was dropped before it returned.
    Aborted,
}

/// In which way an attempt failed.
pub(super) struct Failed {
    pub(super) kind: FailureKind,
    pub(super) message: String,
    /// Whether it is not to be retried.
    pub(super) is_final: bool,
}

/// The closures, in a cell. They are out of it while they run, so that the lock is free then (I9).
pub(super) struct Closures<B, U>(Mutex<Option<(B, U)>>);

impl<B, U> Closures<B, U> {
    pub(super) fn new(factory: B, filter: U) -> Self {
        Self(Mutex::new(Some((factory, filter))))
    }

    fn with<R>(&self, run: impl FnOnce(&mut B, &mut U) -> R) -> R {
        let taken = lock(&self.0).take();
        let (mut factory, mut filter) = taken.expect("attempts come one after the other");
        let result = panics::guarded(|| run(&mut factory, &mut filter));
        *lock(&self.0) = Some((factory, filter));
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

impl<B, F, U> Code<F> for Closures<B, U>
where
    B: FnMut(Attempt) -> F + Send,
    F: Future,
    F::Output: AttemptOutput,
    U: ErrorFilter<<F::Output as AttemptOutput>::Error>,
{
    fn call(&self, attempt: Attempt) -> F {
        self.with(|factory, _| factory(attempt))
    }

    fn judge(&self, result: Ended<F::Output>) -> Verdict {
        let verdict = match &result {
            Ok(output) => match output.error() {
                None => Verdict::Returned,
                Some(error) => Verdict::Failed(self.with(|_, filter| Failed::of(error, filter))),
            },
            Err(TaskError::Panicked(_, message)) => {
                Failed::retried(FailureKind::TaskPanicked, message.clone())
            }
            Err(TaskError::TimedOut) => {
                let message = "it took longer than its deadline".to_owned();
                Failed::retried(FailureKind::TaskFailed, message)
            }
            Err(TaskError::Cancelled) => Verdict::Cancelled,
            Err(_) => Verdict::Aborted,
        };
        match (panics::discard(result), verdict) {
            // An attempt is over when its output is dropped.
            (Some(panic), Verdict::Returned) => Failed::retried(FailureKind::TaskPanicked, panic),
            (_, verdict) => verdict,
        }
    }

    fn discard(&self) {
        let closures = lock(&self.0).take();
        panics::discard(closures);
    }
}

impl Failed {
    fn retried(kind: FailureKind, message: String) -> Verdict {
        Verdict::Failed(Self {
            kind,
            message,
            is_final: false,
        })
    }

    fn of<E: Display>(error: &E, filter: &impl ErrorFilter<E>) -> Self {
        let said = guarded(|| error.to_string());
        let mut message = said
            .unwrap_or_else(|panic| format!("an error that panicked when it was printed: {panic}"));
        let is_final = guarded(|| filter.is_final(error)).unwrap_or_else(|panic| {
            message = format!(
                "{message} (`unless` panicked, so the error is treated as retryable: {panic})"
            );
            false
        });
        Self {
            kind: FailureKind::TaskFailed,
            message,
            is_final,
        }
    }
}

/// Runs code of a user; the message of its panic if it panics.
fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    panics::guarded(run).map_err(|payload| {
        let message = panics::message(&*payload);
        panics::bury(payload);
        message
    })
}
