//! [`Attempt`]: one life of a supervised task; and what it may come to.

use crate::context::{failure::Failure, hook_output::Never};
use std::{convert::Infallible, fmt};

/// What a new attempt of a supervised task is told. The closure that is given to [`run`](super::SupervisedBuilder::run) gets it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use headcount::supervision::Restart;
/// let ctx = headcount::Registry::new().context("ctx");
/// let feed = ctx.task("feed").restart(Restart::on_failure()).run(|attempt| async move {
///     match attempt.last_failure() {
///         None => Err("no route"),
///         Some(failure) => {
///             assert_eq!((attempt.number(), failure.message()), (2, "no route"));
///             Ok(())
///         }
///     }
/// });
/// feed.ended().await;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Attempt {
    number: u64,
    last_failure: Option<Failure>,
}

impl Attempt {
    pub(super) fn new(number: u64, last_failure: Option<Failure>) -> Self {
        Self {
            number,
            last_failure,
        }
    }

    /// Which one it is, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The latest failure of an attempt before this one; `None` if none has failed.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }
}

/// What an attempt may return: nothing, or a result whose error is a failure.
///
/// Implemented for `()`, for `Result<T, E>` with any printable `E`, and for `!`, which is what a future returns that never ends by
/// itself. Nothing else can implement it.
///
/// It is the bound of a function that supervises what its caller runs:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Context, Registry, supervision::{AttemptOutput, Restart, Supervised}};
/// fn keep_running<F>(ctx: &Context, run: impl Fn() -> F + Send + 'static) -> Supervised
/// where
///     F: Future<Output: AttemptOutput + Send> + Send + 'static,
/// {
///     ctx.task("feed").restart(Restart::on_failure()).run(move |_| run())
/// }
/// let ctx = Registry::new().context("server");
/// let feed = keep_running(&ctx, || async { Ok::<(), String>(()) });
/// feed.ended().await;
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "an attempt returns `()` or a `Result` whose error can be printed, not `{Self}`",
    note = "`run` is for outputs `()` and `Result<T, E>` where `E: Display`"
)]
pub trait AttemptOutput: sealed::Sealed + 'static {
    /// What is a failure.
    type Error: fmt::Display;

    #[doc(hidden)]
    fn error(&self) -> Option<&Self::Error>;
}

mod sealed {
    #[expect(unnameable_types, reason = "nothing else can implement it")]
    pub trait Sealed {}

    impl Sealed for () {}
    impl<T, E> Sealed for Result<T, E> {}
    impl Sealed for super::Never {}
}

impl AttemptOutput for () {
    type Error = Infallible;

    fn error(&self) -> Option<&Infallible> {
        None
    }
}

impl<T: 'static, E: fmt::Display + 'static> AttemptOutput for Result<T, E> {
    type Error = E;

    fn error(&self) -> Option<&E> {
        self.as_ref().err()
    }
}

#[doc(hidden)]
#[expect(private_interfaces, reason = "it is only a way to write `!`")]
impl AttemptOutput for Never {
    type Error = Infallible;

    fn error(&self) -> Option<&Infallible> {
        *self
    }
}
