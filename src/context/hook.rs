//! Registering hooks.

use crate::{
    context::{
        callback::{Callback, HookOutput},
        core::Node,
        handle::Context,
    },
    error::ClosedError,
    panics,
};
use std::{fmt, panic::Location, sync::Arc};

impl Context {
    /// Runs `hook` when the close begins, before the token is cancelled: the place to stop accepting
    /// work.
    ///
    /// All of these hooks start, latest first, and then run side by side with the drain, each within the
    /// hook time limit; the `on_close` hooks wait for them. A hook that captures a strong handle to its
    /// context keeps it open for ever. One that is registered after the close has begun runs with the
    /// [`on_close`](Self::on_close) hooks.
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_closing<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        register(self, When::Closing, hook, Location::caller())
    }

    /// Runs `hook` when nothing of the context is left but hooks and owned values: the place to flush
    /// and to say goodbye.
    ///
    /// Hooks run one after the other, latest first, exactly once, each within the hook time limit. A
    /// panic, an error or a timeout in one goes into the [report](crate::CloseReport) and a warning
    /// event, and the next one runs. One that is registered by another hook still runs (I7).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.on_close(|| async { Err::<(), _>("disk full") }).unwrap();
    /// let cancelled = ctx.on_close(async || unreachable!()).unwrap();
    /// cancelled.cancel();
    /// let report = ctx.close().await;
    /// assert_eq!((report.hooks().ran, report.hooks().failed), (1, 1));
    /// assert!(report.failures()[0].ends_with("disk full [ctx]"));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClosedError`], with the hook in it, once the hooks have run.
    #[track_caller]
    pub fn on_close<H, F>(&self, hook: H) -> Result<Hook, ClosedError<H>>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        register(self, When::Close, hook, Location::caller())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Closing,
    Close,
}

/// Boxes the hook only once there is a place for it, so that a refused one goes back as it came.
fn register<H, F>(
    context: &Context,
    when: When,
    hook: H,
    location: &'static Location<'static>,
) -> Result<Hook, ClosedError<H>>
where
    H: FnOnce() -> F + Send + 'static,
    F: Future<Output: HookOutput> + Send + 'static,
{
    let core = context.core();
    let hook = match when {
        When::Close => hook,
        When::Closing => match core
            .on_closing
            .push_with(hook, |hook| Callback::new(hook, location))
        {
            Ok(key) => {
                return Ok(Hook {
                    node: Arc::clone(&core.node),
                    when,
                    key,
                });
            }
            Err(hook) => hook,
        },
    };
    match core
        .on_close
        .push_with(hook, |hook| Callback::new(hook, location))
    {
        Ok(key) => Ok(Hook {
            node: Arc::clone(&core.node),
            when: When::Close,
            key,
        }),
        Err(hook) => Err(ClosedError(hook)),
    }
}

/// A registered hook. Dropping this leaves the hook in place; [`cancel`](Self::cancel) takes it out.
///
/// It holds no strong context.
pub struct Hook {
    node: Arc<Node>,
    when: When,
    key: u64,
}

impl Hook {
    /// Takes the hook out, so that it will not run, and drops it. False if it has run, is running, or
    /// was taken out before.
    pub fn cancel(&self) -> bool {
        let Some(core) = self.node.core.upgrade() else {
            return false;
        };
        let hook = match self.when {
            When::Closing => core.on_closing.take(self.key),
            When::Close => core.on_close.take(self.key),
        };
        let found = hook.is_some();
        panics::discard(hook);
        found
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("context", &self.node.meta.name)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}
