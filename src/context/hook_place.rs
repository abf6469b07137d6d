//! A hook under way that answers whoever asks where it is; without the feature `dump` nobody asks.

use crate::context::{callback::Origin, core::Node};
#[cfg(feature = "dump")]
use crate::{
    clock::Stamp,
    dump::collect::LastWords,
    scope::{self, Owner},
    table::hook::RunningHook,
    trace::{bell::Bell, capture, inquiry::Inquiry, roll::Entry},
};
use futures::future::BoxFuture;
use std::sync::Arc;
#[cfg(feature = "dump")]
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// What the user's code of a hook comes to: its error, if it fails.
type Run = BoxFuture<'static, Option<String>>;

/// The place of a hook among those that are running. Given up when dropped.
#[cfg(feature = "dump")]
pub(crate) struct Place {
    node: Arc<Node>,
    entry: Entry<RunningHook>,
}

#[cfg(feature = "dump")]
impl Place {
    pub(crate) fn new(node: &Arc<Node>, origin: Origin, kind: &'static str) -> Self {
        let table = &node.table;
        let entry = table.hooks.enter(|number| RunningHook {
            id: RunningHook::id(table.number, number),
            context: Arc::<Node>::clone(node),
            kind,
            what: origin.what,
            location: origin.location,
            started: Stamp::now(),
            inquiry: Inquiry::default(),
            bell: Bell::default(),
        });
        let node = Arc::clone(node);
        Self { node, entry }
    }

    /// The hook, which answers from here on.
    pub(crate) fn of(&self, run: Run) -> Answering<'_> {
        Answering { place: self, run }
    }

    /// The time limit of the hook has come: it says where it is in its next poll.
    pub(crate) fn late(&self) -> Late {
        Late(LastWords::of(&self.node.table, self.entry.arc()))
    }
}

/// What a hook says that is out of time.
#[cfg(feature = "dump")]
pub(crate) struct Late(LastWords);

#[cfg(feature = "dump")]
impl Late {
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        let hook = self.0.heard().await?;
        Some(hook.to_string().into())
    }
}

#[cfg(feature = "dump")]
impl Drop for Place {
    fn drop(&mut self) {
        self.entry.bell.end();
    }
}

/// Runs a hook, and answers.
#[cfg(feature = "dump")]
pub(crate) struct Answering<'a> {
    place: &'a Place,
    run: Run,
}

#[cfg(feature = "dump")]
impl Future for Answering<'_> {
    type Output = Option<String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { place, run } = &mut *self;
        let RunningHook {
            id, inquiry, bell, ..
        } = &*place.entry;
        let owner = Owner::Hook {
            context: &*place.node,
            inquiry: Some(inquiry),
        };
        bell.hang(capture::original(cx.waker()));
        inquiry.poll(
            cx,
            |cx| scope::enter_as(owner, || run.as_mut().poll(cx)),
            |found| place.node.table.desk.answer(*id, found),
        )
    }
}

#[cfg(not(feature = "dump"))]
pub(crate) struct Place;

#[cfg(not(feature = "dump"))]
impl Place {
    pub(crate) fn new(_: &Arc<Node>, _: Origin, _: &'static str) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "it is used with the feature `dump`")]
    pub(crate) fn of(&self, run: Run) -> Run {
        run
    }

    #[expect(clippy::unused_self, reason = "it is used with the feature `dump`")]
    pub(crate) fn late(&self) -> Late {
        Late
    }
}

#[cfg(not(feature = "dump"))]
pub(crate) struct Late;

#[cfg(not(feature = "dump"))]
impl Late {
    #[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
    pub(crate) async fn whereabouts(self) -> Option<Arc<str>> {
        None
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
        let facts = place.entry.arc();
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
        assert!(facts.bell.is_over() && !facts.ask());
        assert!(root.node.running_hooks().is_empty());
    }
}
