//! A hook under way, which can be asked where it waits.

#[cfg(feature = "dump")]
use crate::dump::collect::FinalPoll;
use crate::{
    clock::Stamp,
    context::{callback::Origin, core::Node},
    poll::{
        capture,
        running_hooks::{RunningGuard, RunningHook},
        scope::{self, Owner},
        state::PollState,
        waker_cell::WakerCell,
    },
};
use futures::future::BoxFuture;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// What the user's code of a hook comes to: its error, if it fails.
type Run = BoxFuture<'static, Option<String>>;

/// A hook among those that are running. Taken out when dropped.
pub(crate) struct Place {
    node: Arc<Node>,
    hook: RunningGuard,
}

impl Place {
    pub(crate) fn new(node: &Arc<Node>, origin: Origin, kind: &'static str) -> Self {
        let table = &node.table;
        let hook = table.hooks.add(|number| RunningHook {
            id: RunningHook::id(table.number, number),
            context: Arc::<Node>::clone(node),
            kind,
            what: origin.what,
            location: origin.location,
            started: Stamp::now(),
            poll_state: PollState::default(),
            waker: WakerCell::default(),
        });
        let node = Arc::clone(node);
        Self { node, hook }
    }

    /// The hook, which answers from here on.
    pub(crate) fn of(&self, run: Run) -> Answering<'_> {
        Answering { place: self, run }
    }

    /// The time limit of the hook has come: it says where it is in its next poll.
    #[cfg(feature = "dump")]
    pub(crate) fn late(&self) -> Late {
        Late(FinalPoll::of(&self.node.table, self.hook.arc()))
    }

    #[cfg(not(feature = "dump"))]
    #[expect(clippy::unused_self, reason = "it is used with the feature `dump`")]
    pub(crate) fn late(&self) -> Late {
        Late
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hook.waker.close();
    }
}

/// What a hook answers that is out of time.
#[cfg(feature = "dump")]
pub(crate) struct Late(FinalPoll);

#[cfg(feature = "dump")]
impl Late {
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        let hook = self.0.heard().await?;
        Some(hook.to_string().into())
    }
}

/// What a hook answers that is out of time.
#[cfg(not(feature = "dump"))]
pub(crate) struct Late;

#[cfg(not(feature = "dump"))]
impl Late {
    #[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        None
    }
}

/// Runs a hook, and answers.
pub(crate) struct Answering<'a> {
    place: &'a Place,
    run: Run,
}

impl Future for Answering<'_> {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { place, run } = &mut *self;
        let RunningHook {
            id,
            poll_state,
            waker,
            ..
        } = &*place.hook;
        let owner = Owner::Hook {
            context: &*place.node,
            poll_state: Some(poll_state),
        };
        waker.set(capture::original(cx.waker()));
        poll_state.poll(
            cx,
            |cx| scope::enter_as(owner, || run.as_mut().poll(cx)),
            |captured| place.node.table.replies.answer(*id, captured),
        )
    }
}

#[cfg(all(test, feature = "dump", not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::context::{callback::Callback, tree};
    use futures::FutureExt;
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

    /// Though somebody still has the facts, as a dump does.
    #[test]
    fn of_a_hook_that_ended_nobody_keeps_the_waker() {
        let root = tree::root();
        let origin = Callback::new(async || {}, Location::caller()).origin();
        let place = Place::new(&root.node, origin, "on_close");
        let facts = place.hook.arc();
        let wakes = Arc::new(Counts::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut run = place.of(std::future::pending().boxed());
        let polled = run.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        assert!(facts.ask());
        assert_eq!(wakes.0.load(SeqCst), 1);
        assert_eq!(root.node.running_hooks().len(), 1);
        drop(run);
        drop(place);
        assert_eq!(Arc::strong_count(&wakes), 1);
        assert!(facts.waker.is_closed() && !facts.ask());
        assert!(root.node.running_hooks().is_empty());
    }
}
