//! Hooks and owned values: what a context keeps for its close (I7).
//!
//! A [`Callback`] is a hook that has not been started. It waits in a [`Stack`]; `on_close` hooks and owned values wait in the same
//! one. While a hook runs it has a [`HookGuard`], by which a dump can ask it where it waits.

use crate::{
    context::{
        failure::{FailureKind, is_overrun},
        hook_count::{CountedHook, HookCount},
        hook_guard::{HookGuard, LastAnswer},
        hook_origin::HookOrigin,
        hook_output::HookOutput,
        look_up::LookUp,
        stack::Stack,
    },
    id::ResourceId,
    name::{self, Label},
    panics,
    rare::Rare,
    sync::{Mutex, lock},
    table::record::Record,
};
#[cfg(feature = "testing")]
use crate::{
    poll::observer,
    sync::{AtomicUsize, Ordering::Relaxed},
};
use futures::{FutureExt, future::BoxFuture};
use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, Location},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

/// What a context keeps for its close.
#[derive(Default)]
pub(crate) struct Hooks {
    /// Hooks that start when the close begins.
    pub(crate) on_closing: Stack<Callback>,
    /// Hooks that run, and values that are dropped, when everything has left.
    pub(crate) on_close: Stack<Kept>,
    under_way: Mutex<Rare<UnderWay>>,
    /// How many hooks were registered in the whole registry, less those that were cancelled.
    #[cfg(feature = "testing")]
    pub(crate) registered: Arc<AtomicUsize>,
}

/// The hooks that have been started.
#[derive(Default)]
struct UnderWay {
    /// `on_closing` hooks that are not awaited yet.
    to_await: Vec<StartedHook>,
    /// Where the hooks come from that are running just now.
    running: Vec<HookOrigin>,
}

/// A hook that has got as far as its first wait.
pub(crate) type StartedHook = BoxFuture<'static, Option<LookUp>>;

/// What waits for the end of the close.
pub(crate) enum Kept {
    Hook(Callback),
    Value(Owned),
}

/// A value that lives until the close, or until it is released.
pub(crate) struct Owned {
    pub(crate) id: ResourceId,
    pub(crate) name: Label,
    pub(crate) value: Box<dyn Any + Send>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Closing,
    Close,
}

impl Hooks {
    /// Those of a context, whose hooks are counted there as well.
    #[cfg(feature = "testing")]
    pub(crate) fn counted(registered: &Arc<AtomicUsize>) -> Self {
        Self {
            registered: Arc::clone(registered),
            ..Self::default()
        }
    }

    /// Registers a hook; says when it will run, and its key. Hands it back once the hooks have run. One that is too late to
    /// run when the close begins runs with the others.
    ///
    /// Boxes the hook only once there is a place for it, so that a refused one goes back as it came.
    pub(crate) fn add<H, F>(
        &self,
        when: When,
        hook: H,
        location: &'static Location<'static>,
        count: &HookCount,
    ) -> Result<(When, u64), H>
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        let make = |hook| {
            #[cfg(feature = "testing")]
            self.registered.fetch_add(1, Relaxed);
            Callback::new(hook, location, count.one())
        };
        // A hook that comes too late for the beginning of the close is not refused as long as the end is still to come.
        let hook = match when {
            When::Close => hook,
            When::Closing => match self.on_closing.push_with(hook, make) {
                Ok(key) => return Ok((When::Closing, key)),
                Err(hook) => hook,
            },
        };
        let key = self
            .on_close
            .push_with(hook, |hook| Kept::Hook(make(hook)))?;
        Ok((When::Close, key))
    }

    /// Takes a hook out that has not been started.
    fn take(&self, when: When, key: u64) -> Option<Callback> {
        match when {
            When::Closing => self.on_closing.take(key),
            When::Close => match self.on_close.take(key)? {
                Kept::Hook(hook) => Some(hook),
                Kept::Value(_) => unreachable!("a key is of one thing"),
            },
        }
    }

    /// Lets go of a value before the close; `None` if that has happened, or the close has dropped it.
    pub(crate) fn release(&self, key: u64) -> Option<Owned> {
        match self.on_close.take(key)? {
            Kept::Value(value) => Some(value),
            Kept::Hook(_) => unreachable!("a key is of one thing"),
        }
    }

    /// How many hooks of each line wait for the close.
    pub(crate) fn by_line(&self) -> HashMap<&'static Location<'static>, usize> {
        let mut lines = HashMap::new();
        let mut add = |hook: &Callback| *lines.entry(hook.location).or_default() += 1;
        self.on_closing.for_each(&mut add);
        self.on_close.for_each(|kept| {
            if let Kept::Hook(hook) = kept {
                add(hook);
            }
        });
        lines
    }

    /// Whether nothing is left to run or to drop, and nothing runs.
    pub(crate) fn is_empty(&self) -> bool {
        let is_waiting = !self.on_closing.is_empty() || !self.on_close.is_empty();
        !is_waiting && lock(&self.under_way).get().is_none()
    }

    /// Refuses hooks and values from here on, if there are none and no hook is under way.
    pub(crate) fn seal_if_empty(&self) -> bool {
        lock(&self.under_way).get().is_none()
            && self.on_closing.seal_if_empty()
            && self.on_close.seal_if_empty()
    }

    /// Refuses hooks and values from here on.
    pub(crate) fn seal(&self) {
        self.on_closing.seal();
        self.on_close.seal();
    }

    /// Notes that a hook is running.
    pub(crate) fn has_started(&self, origin: HookOrigin) {
        lock(&self.under_way).get_mut().running.push(origin);
    }

    /// Notes that a hook is not running any more.
    pub(crate) fn has_ended(&self, origin: HookOrigin) {
        let mut under_way = lock(&self.under_way);
        let UnderWay { to_await, running } = under_way.get_mut();
        // Any of those that came from the same line: they are equal to the reader.
        if let Some(at) = running.iter().position(|other| *other == origin) {
            running.swap_remove(at);
        }
        // Many may have run side by side.
        let (len, places) = (running.len(), running.capacity());
        if len < places / 4 {
            running.shrink_to(2 * len);
        }
        if len == 0 && to_await.is_empty() {
            drop(under_way.take());
        }
    }

    /// Where the hooks come from that are running just now.
    pub(crate) fn running(&self) -> Vec<HookOrigin> {
        let under_way = lock(&self.under_way);
        under_way
            .get()
            .map_or_else(Vec::new, |under_way| under_way.running.clone())
    }

    /// Keeps an `on_closing` hook until it is awaited.
    pub(crate) fn keep_started(&self, hook: StartedHook) {
        lock(&self.under_way).get_mut().to_await.push(hook);
    }

    /// Takes the `on_closing` hooks that are to be awaited.
    pub(crate) fn take_started(&self) -> Vec<StartedHook> {
        let mut under_way = lock(&self.under_way);
        let started = under_way.existing();
        started.map_or_else(Vec::new, |under_way| mem::take(&mut under_way.to_await))
    }
}

/// A registered hook. Dropping this leaves the hook in place; [`cancel`](Self::cancel) takes it out.
///
/// It holds no strong context.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("upload");
/// let delete_part = ctx.on_close(|| async { println!("the part is deleted") }).unwrap();
/// drop(ctx.on_close(|| async { println!("goodbye") }).unwrap()); // this hook stays
///
/// assert!(delete_part.cancel()); // the upload is complete, so the part is kept
/// assert_eq!(ctx.close().await.hooks().ran, 1);
/// # }
/// ```
pub struct Hook {
    context: Arc<dyn Record>,
    hooks: Weak<dyn AsRef<Hooks> + Send + Sync>,
    when: When,
    key: u64,
}

impl Hook {
    /// A hook among those of a context.
    pub(crate) fn new(
        context: Arc<dyn Record>,
        hooks: Weak<dyn AsRef<Hooks> + Send + Sync>,
        (when, key): (When, u64),
    ) -> Self {
        Self {
            context,
            hooks,
            when,
            key,
        }
    }

    /// Takes the hook out, so that it will not run, and drops it. False if it has run, is running, or
    /// was taken out before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = headcount::Registry::new().context("ctx");
    /// let hook = ctx.on_close(|| async { unreachable!("it is cancelled") }).unwrap();
    /// assert!(hook.cancel());
    /// assert!(!hook.cancel(), "it is gone");
    /// assert_eq!(ctx.close().await.hooks().ran, 0);
    /// # }
    /// ```
    ///
    /// # Performance
    ///
    /// It takes logarithmic time in the number of hooks and values of the context.
    pub fn cancel(&self) -> bool {
        let Some(context) = self.hooks.upgrade() else {
            return false;
        };
        let hook = (*context).as_ref().take(self.when, self.key);
        let found = hook.is_some();
        #[cfg(feature = "testing")]
        (*context)
            .as_ref()
            .registered
            .fetch_sub(found.into(), Relaxed);
        // Outside of the lock of the stack: what the hook captured is the user's, and its destructors may do anything (I9).
        panics::discard(hook);
        found
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("context", &self.context.meta().name)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

/// How a hook ended.
pub(crate) enum HookEnd {
    Ran,
    /// It blocked its thread for so long, which is more than its limit.
    Overran(Duration, Duration),
    /// In which way, what it did, and what it said.
    Failed(FailureKind, (&'static str, String)),
    TimedOut {
        /// What it said then.
        last: LastAnswer,
        /// The tasks it may have waited for: outside of its context, and still running.
        outside: Option<String>,
    },
}

/// A hook that has not been started.
pub(crate) struct Callback {
    /// The type path of the closure: the function that registered it.
    what: &'static str,
    location: &'static Location<'static>,
    /// The later it was registered, the greater.
    #[cfg(feature = "testing")]
    pub(crate) number: u64,
    call: Box<dyn FnOnce() -> BoxFuture<'static, Option<String>> + Send>,
    _counted: CountedHook,
}

impl Callback {
    pub(crate) fn new<H, F>(
        hook: H,
        location: &'static Location<'static>,
        counted: CountedHook,
    ) -> Self
    where
        H: FnOnce() -> F + Send + 'static,
        F: Future<Output: HookOutput> + Send + 'static,
    {
        let call = Box::new(|| async move { hook().await.into_error() }.boxed());
        Self {
            what: name::of_type::<H>(),
            location,
            #[cfg(feature = "testing")]
            number: observer::next_number(),
            call,
            _counted: counted,
        }
    }

    /// Where it came from, for reports.
    pub(crate) fn origin(&self) -> HookOrigin {
        HookOrigin {
            what: self.what,
            location: self.location,
        }
    }

    /// Runs the hook to its end, its panic, or the time limit; then this is what it said last. Dropping the returned future drops
    /// the hook where it stands.
    pub(crate) async fn run(
        self,
        (allowed, limit): (Duration, impl Future<Output = ()>),
        guard: HookGuard,
    ) -> Result<HookEnd, LastAnswer> {
        let hook = guard.run((self.call)());
        let hook = AssertUnwindSafe(hook).catch_unwind();
        // Boxed, so that it can be dropped on its own below, where a panic of its destructor is caught.
        let mut hook = Box::pin(hook);
        let ended = within(limit, hook.as_mut(), || guard.final_poll()).await;
        Ok(match (ended, panics::discard(hook)) {
            (Ok(Ok(None)), None) => match guard.longest() {
                longest if is_overrun(longest, allowed) => HookEnd::Overran(longest, allowed),
                _ => HookEnd::Ran,
            },
            (Ok(Ok(None)), Some(panic)) => HookEnd::Failed(
                FailureKind::HookPanicked,
                ("panicked while it was dropped: ", panic),
            ),
            (Ok(Ok(Some(error))), _) => HookEnd::Failed(FailureKind::HookFailed, ("", error)),
            (Ok(Err(payload)), _) => {
                let said = panics::message(&*payload);
                panics::bury(payload);
                HookEnd::Failed(FailureKind::HookPanicked, ("panicked: ", said))
            }
            (Err(late), _) => return Err(LastAnswer::of(late)),
        })
    }
}

/// Polls a future until it ends or the limit comes, and then once more, with what `late` makes before that.
async fn within<F: Future, L>(
    limit: impl Future<Output = ()>,
    mut future: Pin<&mut F>,
    late: impl Fn() -> L,
) -> Result<F::Output, L> {
    let mut timer = pin!(limit);
    let limited = poll_fn(|cx| {
        // The timer first: at the limit the hook is polled once more, to say where it is, and may be done just then.
        let late = timer.as_mut().poll(cx).is_ready().then(&late);
        match (future.as_mut().poll(cx), late) {
            (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
            (Poll::Pending, Some(late)) => Poll::Ready(Err(late)),
            (Poll::Pending, None) => Poll::Pending,
        }
    });
    limited.await
}
