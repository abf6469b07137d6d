//! [`Request`]: asking for a tracked lock, which is recorded while it waits and while it holds.

use crate::{
    ledger::{
        lock_log::{LockHolder, LockLog, Number, Part},
        tracking::Tracking,
    },
    limits::places::Places,
    locks::guard::{LockRecord, TrackedGuard},
    poll::{
        awaited::{Awaited, LockKind},
        scope,
        waiting::{For, waiting},
    },
    table::record::Record,
};
use futures::FutureExt;
use std::{convert::Infallible, future::poll_fn, panic::Location, pin::pin, sync::OnceLock};

/// How many holders each that waits is told of: there may be as many who wait as there are who hold.
const HOLDERS: usize = 16;

/// One call that asks for a lock or for permits.
pub(crate) struct Request<'a> {
    pub(crate) kind: LockKind,
    pub(crate) value: &'a dyn Record,
    pub(crate) log: &'a LockLog,
    pub(crate) tracking: &'a Tracking,
    pub(crate) location: &'static Location<'static>,
    /// The places, if it is a limit.
    pub(crate) places: Option<&'a Places>,
}

impl<'a> Request<'a> {
    fn record(&self, part: Part) -> LockRecord<'a> {
        let log = self.log;
        let number = log.add(part, self.tracking, self.location, scope::acquirer);
        LockRecord { log, part, number }
    }

    /// What is held as of now.
    pub(crate) fn held<G>(&self, guard: G) -> TrackedGuard<'a, G> {
        TrackedGuard::new(guard, self.record(Part::Held))
    }

    /// The number under which it is recorded that the running code holds something, until that is removed.
    pub(crate) fn number_held(&self) -> Number {
        let (log, tracking) = (self.log, self.tracking);
        log.add(Part::Held, tracking, self.location, scope::acquirer)
    }

    /// Waits for it. As cancel safe as the future is that it is given.
    pub(crate) async fn wait<G, E>(
        self,
        future: impl Future<Output = Result<G, E>>,
    ) -> Result<TrackedGuard<'a, G>, E> {
        self.wait_as(future, |guard| self.held(guard)).await
    }

    /// As [`wait`](Self::wait); `held` records what it was given.
    pub(crate) async fn wait_as<G, H, E>(
        &self,
        future: impl Future<Output = Result<G, E>>,
        held: impl FnOnce(G) -> H,
    ) -> Result<H, E> {
        let (mut future, asking) = (pin!(future), OnceLock::new());
        let awaited = || self.awaited(asking.get().map_or(Number::UNTRACKED, number));
        let result = poll_fn(|cx| {
            waiting(cx, For::Lock(&awaited), |cx| {
                let result = future.as_mut().poll(cx);
                if result.is_pending() {
                    // A lock that is free is not asked for.
                    asking.get_or_init(|| self.record(Part::Asking));
                }
                result
            })
        });
        // It holds it before it stops asking: in between, others would be said to have it.
        result.await.map(held)
    }

    /// As [`wait`](Self::wait), for what is always granted in the end.
    pub(crate) async fn wait_for_lock<G>(
        self,
        future: impl Future<Output = G>,
    ) -> TrackedGuard<'a, G> {
        match self.wait(future.map(Ok::<_, Infallible>)).await {
            Ok(held) => held,
            Err(never) => match never {},
        }
    }

    /// Who has the places of a limit. Those count as more that are not recorded, or were given to code that has not been polled since.
    fn holders_of(&self, places: &Places) -> (Vec<LockHolder>, usize) {
        let (held_by, _) = self.log.holders(HOLDERS);
        let more = places.usage().used.saturating_sub(held_by.len());
        (held_by, more)
    }

    /// What a request of this number waits for.
    fn awaited(&self, asking: Number) -> (Awaited, u32) {
        let meta = self.value.meta();
        let (held_by, more) = match self.places {
            None => self.log.holders(HOLDERS),
            Some(places) => self.holders_of(places),
        };
        // Others let several in, or not the oldest first.
        let gives_in_order = self.kind == LockKind::Mutex && asking != Number::UNTRACKED;
        let awaited = Awaited::Lock {
            id: meta.id,
            kind: self.kind,
            name: meta.name.to_string(),
            given_to: gives_in_order.then(|| self.log.given_to(asking)).flatten(),
            held_by,
            more,
        };
        (awaited, meta.id.table)
    }
}

fn number(record: &LockRecord<'_>) -> Number {
    record.number
}
