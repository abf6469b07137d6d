//! One hook: an async callback that runs once, isolated from everything else (I7).

use crate::{clock, name, panics};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, Location},
    pin::pin,
    time::Duration,
};

/// What a hook may return: nothing, or a result whose error goes into the close report.
///
/// Implemented for `()`, for `Result<(), E>` with any printable `E`, and for `!`, which is what a hook
/// returns that always panics.
pub trait HookOutput {
    /// The error to be reported, printed.
    fn into_error(self) -> Option<String>;
}

impl HookOutput for () {
    fn into_error(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> HookOutput for Result<(), E> {
    fn into_error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// `!`, by a name that the stable compiler accepts.
type Never = <fn() -> ! as Returns>::Output;

trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

#[doc(hidden)]
#[expect(
    private_interfaces,
    reason = "the private trait is only a way to write `!`"
)]
impl HookOutput for Never {
    fn into_error(self) -> Option<String> {
        self
    }
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ran,
    Failed(String),
    TimedOut,
}

/// A hook that has not been started.
pub(crate) struct Callback {
    /// The type path of the closure: the function that registered it.
    what: &'static str,
    location: &'static Location<'static>,
    call: Box<dyn FnOnce() -> BoxFuture<'static, Option<String>> + Send>,
}

impl Callback {
    pub(crate) fn new<H, F>(hook: H, location: &'static Location<'static>) -> Self
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        let call = Box::new(|| hook().map(HookOutput::into_error).boxed());
        Self {
            what: name::of_type::<H>(),
            location,
            call,
        }
    }

    /// Where it came from, for reports.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            what: self.what,
            location: self.location,
        }
    }

    /// Runs the hook to its end, its panic, or the time limit. Dropping the returned future drops the
    /// hook where it stands.
    pub(crate) async fn run(self, limit: Duration) -> End {
        let call = self.call;
        let hook = async move { call().await };
        let guarded = AssertUnwindSafe(hook).catch_unwind();
        let mut guarded = Box::pin(guarded);
        let end = match select(guarded.as_mut(), pin!(clock::sleep(limit))).await {
            Either::Left((Ok(None), _)) => End::Ran,
            Either::Left((Ok(Some(error)), _)) => End::Failed(error),
            Either::Left((Err(payload), _)) => {
                let said = panics::message(&*payload);
                panics::bury(payload);
                End::Failed(format!("panicked: {said}"))
            }
            Either::Right(_) => End::TimedOut,
        };
        match (panics::discard(guarded), end) {
            (Some(panic), End::Ran) => {
                End::Failed(format!("panicked while it was dropped: {panic}"))
            }
            (_, end) => end,
        }
    }
}

/// Where a hook was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    what: &'static str,
    location: &'static Location<'static>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {}:{}",
            self.what,
            self.location.file(),
            self.location.line()
        )
    }
}
