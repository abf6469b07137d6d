//! What the end of a task is checked for: nothing, an error, or that it ended at all.
//!
//! The check is a type parameter of [`TaskBuilder`](crate::TaskBuilder), so a task that is not checked has no code for it.

use crate::{context::failure::FailureKind, error::TaskError, panics};
use std::fmt::Display;

/// The end of the task is no failure, unless it panics. [`EndCheck`] has an example.
#[derive(Debug)]
pub enum Unchecked {}

/// The task returns a result, and an error is a failure: see [`TaskBuilder::fallible`](crate::TaskBuilder::fallible).
/// [`EndCheck`] has an example.
#[derive(Debug)]
pub enum Fallible {}

/// The task must not end before its context closes: see [`TaskBuilder::essential`](crate::TaskBuilder::essential). `C` is what
/// its output is checked for. [`EndCheck`] has an example of a check as a parameter.
#[derive(Debug)]
pub struct Essential<C = Unchecked>(std::marker::PhantomData<C>);

/// What a [`TaskBuilder`](crate::TaskBuilder) checks the end of its task for. Implemented by [`Unchecked`], [`Fallible`] and
/// [`Essential`]; nothing else can implement it. [`EndCheck`] has an example.
pub trait CheckKind: sealed::Sealed + 'static {
    /// The same, of a task that is essential.
    type Essential: CheckKind;
    /// The same, of a task that is fallible.
    type Fallible: CheckKind;

    /// Whether the task is essential.
    #[doc(hidden)]
    const IS_ESSENTIAL: bool = false;
}

/// A check of tasks with this output.
///
/// It is the bound of a function that accepts a builder with any check:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{EndCheck, Registry, Task, TaskBuilder};
/// type Saved = Result<(), String>;
/// fn save<C: EndCheck<Saved>>(task: TaskBuilder<'_, C>) -> Task<Saved> {
///     task.kind("save").spawn(async { Err("disk full".to_owned()) })
/// }
///
/// let ctx = Registry::new().context("editor");
/// save(ctx.task("draft")); // `Unchecked`: an error is like any output
/// save(ctx.task("document").fallible()); // `Fallible`: an error is a failure
/// let report = ctx.close().await;
/// assert_eq!((report.finished(), report.failed()), (2, 1));
/// assert_eq!(report.failures()[0].what(), "document");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a fallible task returns a `Result` whose error can be printed, not `{T}`",
    note = "`TaskBuilder::fallible` is for outputs `Result<T, E>` where `E: Display`"
)]
pub trait EndCheck<T>: CheckKind {
    /// Whether there is anything to check.
    #[doc(hidden)]
    const CHECKS: bool = true;

    /// In which way this is a failure, and what there is to say. Panics are failures anyway.
    #[doc(hidden)]
    fn check(ended: &Result<T, TaskError>) -> Option<(FailureKind, String)>;
}

mod sealed {
    #[expect(unnameable_types, reason = "nothing else can implement it")]
    pub trait Sealed {}

    impl Sealed for super::Unchecked {}
    impl Sealed for super::Fallible {}
    impl<C> Sealed for super::Essential<C> {}
}

impl CheckKind for Unchecked {
    type Essential = Essential;
    type Fallible = Fallible;
}

impl CheckKind for Fallible {
    type Essential = Essential<Fallible>;
    type Fallible = Self;
}

impl CheckKind for Essential {
    type Essential = Self;
    type Fallible = Essential<Fallible>;
    const IS_ESSENTIAL: bool = true;
}

impl CheckKind for Essential<Fallible> {
    type Essential = Self;
    type Fallible = Self;
    const IS_ESSENTIAL: bool = true;
}

impl<T> EndCheck<T> for Unchecked {
    const CHECKS: bool = false;

    #[inline(always)]
    fn check(_: &Result<T, TaskError>) -> Option<(FailureKind, String)> {
        None
    }
}

impl<T, E: Display> EndCheck<Result<T, E>> for Fallible {
    fn check(ended: &Result<Result<T, E>, TaskError>) -> Option<(FailureKind, String)> {
        let error = ended.as_ref().ok()?.as_ref().err()?;
        let said = panics::guarded(|| error.to_string()).unwrap_or_else(|payload| {
            let said = panics::message(&*payload);
            panics::bury(payload);
            format!("an error that panicked when it was printed: {said}")
        });
        Some((FailureKind::TaskFailed, said))
    }
}

impl<T, C> EndCheck<T> for Essential<C>
where
    C: EndCheck<T>,
    Self: CheckKind,
{
    fn check(ended: &Result<T, TaskError>) -> Option<(FailureKind, String)> {
        let how = match ended {
            Err(TaskError::Panicked(..)) => return None,
            Err(TaskError::Cancelled) => "it was cancelled",
            Err(_) => "it was aborted",
            Ok(_) => "it returned",
        };
        let essential = || Some((FailureKind::EssentialEnded, how.to_owned()));
        C::check(ended).or_else(essential)
    }
}
