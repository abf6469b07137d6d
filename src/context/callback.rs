//! One hook: an async callback that runs once, isolated from everything else (I7).

use crate::{clock, context::hook_place::Place, name, panics};
use futures::{FutureExt, future::BoxFuture};
use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, Location},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
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
    /// And where it was then, if that is known.
    TimedOut(Option<Arc<str>>),
}

impl End {
    /// Where it was at its time limit.
    pub(crate) fn whereabouts(&self) -> Option<Arc<str>> {
        match self {
            Self::TimedOut(at) => at.clone(),
            _ => None,
        }
    }
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
        let call = Box::new(|| async move { hook().await.into_error() }.boxed());
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
    pub(crate) async fn run(self, limit: Duration, place: Place) -> End {
        let hook = place.of((self.call)());
        let guarded = AssertUnwindSafe(hook).catch_unwind();
        let mut guarded = Box::pin(guarded);
        let ended = within(limit, guarded.as_mut(), || place.late()).await;
        match (ended, panics::discard(guarded)) {
            (Ok(Ok(None)), None) => End::Ran,
            (Ok(Ok(None)), Some(panic)) => {
                End::Failed(format!("panicked while it was dropped: {panic}"))
            }
            (Ok(Ok(Some(error))), _) => End::Failed(error),
            (Ok(Err(payload)), _) => {
                let said = panics::message(&*payload);
                panics::bury(payload);
                End::Failed(format!("panicked: {said}"))
            }
            (Err(late), _) => End::TimedOut(late.whereabouts().await),
        }
    }
}

/// Polls a future until it ends or the limit comes, and then once more, with what `late` makes before that.
async fn within<F: Future, L>(
    limit: Duration,
    mut future: Pin<&mut F>,
    late: impl Fn() -> L,
) -> Result<F::Output, L> {
    let mut timer = pin!(clock::sleep(limit));
    let limited = poll_fn(|cx| {
        let late = timer.as_mut().poll(cx).is_ready().then(&late);
        match (future.as_mut().poll(cx), late) {
            (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
            (Poll::Pending, Some(late)) => Poll::Ready(Err(late)),
            (Poll::Pending, None) => Poll::Pending,
        }
    });
    limited.await
}

/// Where a hook was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) what: &'static str,
    pub(crate) location: &'static Location<'static>,
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
