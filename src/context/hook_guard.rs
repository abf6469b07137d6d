//! [`HookGuard`]: a hook that runs, which is listed among those, and says where it waits when it is asked.

#[cfg(feature = "dump")]
use crate::dump::collect::{Answers, FinalPoll};
#[cfg(feature = "testing")]
use crate::poll::observer;
use crate::{
    clock::Stamp,
    context::hook_origin::HookOrigin,
    poll::{
        capture,
        running_hooks::{RunningGuard, RunningHook},
        scope::{self, Owner},
        state::PollState,
        waker_cell::WakerCell,
    },
    sync::{AtomicU64, Ordering::Relaxed},
    table::{record::Record, store::Table},
};
use futures::future::BoxFuture;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// What the user's code of a hook comes to: its error, if it fails.
type HookFuture = BoxFuture<'static, Option<String>>;

/// A hook among those that are running. Taken out when dropped.
pub(crate) struct HookGuard {
    table: Arc<Table>,
    hook: RunningGuard,
    /// How long its longest poll took, in nanoseconds.
    longest: AtomicU64,
}

impl HookGuard {
    pub(crate) fn new(
        table: &Arc<Table>,
        context: Arc<dyn Record>,
        origin: HookOrigin,
        kind: &'static str,
    ) -> Self {
        let hook = table.hooks.add(|number| RunningHook {
            id: RunningHook::id(table.number, number),
            context,
            kind,
            what: origin.what,
            location: origin.location,
            started: Stamp::now(),
            poll_state: PollState::default(),
            waker: WakerCell::default(),
        });
        let table = Arc::clone(table);
        Self {
            table,
            hook,
            longest: AtomicU64::new(0),
        }
    }

    fn note_poll(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.longest.fetch_max(nanos, Relaxed);
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Relaxed))
    }

    /// The hook, which answers from here on.
    pub(super) fn run(&self, run: HookFuture) -> AskableHook<'_> {
        AskableHook { guard: self, run }
    }

    /// The time limit of the hook has come: it says where it is in its next poll.
    #[cfg(feature = "dump")]
    pub(super) fn final_poll(&self) -> FinalPoll {
        FinalPoll::of(&self.table, self.hook.arc())
    }

    #[cfg(not(feature = "dump"))]
    #[expect(clippy::unused_self, reason = "it is used with the feature `dump`")]
    pub(super) fn final_poll(&self) -> FinalPoll {
        FinalPoll
    }
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        self.hook.waker.close();
    }
}

/// What a hook has answered that is out of time.
pub(crate) struct LastAnswer(Answers);

impl LastAnswer {
    pub(super) fn of(last: FinalPoll) -> Self {
        Self(last.take())
    }

    /// Looks up where it waited.
    #[cfg(feature = "dump")]
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        let dump = self.0.resolve().await;
        Some(dump.hooks().first()?.to_string().into())
    }

    #[cfg(not(feature = "dump"))]
    #[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        None
    }
}

/// Without the feature `dump` nothing is asked.
#[cfg(not(feature = "dump"))]
pub(super) struct FinalPoll;

#[cfg(not(feature = "dump"))]
struct Answers;

#[cfg(not(feature = "dump"))]
impl FinalPoll {
    #[expect(clippy::unused_self, reason = "it is used with the feature `dump`")]
    fn take(self) -> Answers {
        Answers
    }
}

/// Runs a hook, and answers.
pub(super) struct AskableHook<'a> {
    guard: &'a HookGuard,
    run: HookFuture,
}

impl Future for AskableHook<'_> {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { guard, run } = &mut *self;
        let RunningHook {
            id,
            context,
            poll_state,
            waker,
            ..
        } = &*guard.hook;
        let owner = Owner::Hook {
            context: &**context,
            poll_state: Some(poll_state),
        };
        // Before the poll: a question that comes while it runs wakes the hook to answer in the next one. Each time, because a hook
        // may be polled by another driver than before.
        waker.set(capture::original(cx.waker()));
        #[cfg(feature = "testing")]
        if !observer::may_poll_hook(&guard.hook) {
            return Poll::Pending;
        }
        let began = Instant::now();
        let polled = poll_state.poll(
            cx,
            |cx| {
                // A dump says for how long it has been in one poll.
                poll_state.stamp(Stamp::now());
                let polled = scope::enter_as(owner, || run.as_mut().poll(cx));
                poll_state.stamp(Stamp::now());
                polled
            },
            |captured| guard.table.replies.answer(*id, captured),
        );
        guard.note_poll(began.elapsed());
        polled
    }
}

#[cfg(all(test, feature = "dump", not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::context::{
        haste::Limits,
        state::{Core, Node},
    };
    use futures::FutureExt as _;
    use std::{
        panic::Location,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::{Wake, Waker},
    };

    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Though a dump may still have the facts.
    #[test]
    fn the_waker_of_a_hook_that_ended_is_not_kept() {
        let root = Core::of_registry(Limits::default(), None);
        let origin = HookOrigin {
            what: "a hook",
            location: Location::caller(),
        };
        let context = Arc::<Node>::clone(&root.node);
        let guard = HookGuard::new(&root.node.table, context, origin, "on_close");
        let facts = guard.hook.arc();
        let wakes = Arc::new(Counts::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut run = guard.run(std::future::pending().boxed());
        let polled = run.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        assert!(facts.ask());
        assert_eq!(wakes.0.load(SeqCst), 1);
        assert_eq!(root.node.running_hooks().len(), 1);
        drop(run);
        drop(guard);
        assert_eq!(Arc::strong_count(&wakes), 1);
        assert!(facts.waker.is_closed() && !facts.ask());
        assert!(root.node.running_hooks().is_empty());
    }
}
