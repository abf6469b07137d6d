//! What is kept beside a context and has to follow its close: its place in a table of sessions, the limits that were made on it.

use crate::{
    context::{close_reason::CloseReason, state::Core},
    id::ResourceId,
    panics,
    sync::{Mutex, lock},
};
#[cfg(feature = "sessions")]
use crate::{sync::order, table::record::State};
use std::{
    collections::BTreeMap,
    sync::{OnceLock, Weak},
};

/// What is kept beside a context, such as its place in a table of sessions, and has to follow its close, whatever begins that.
/// Told without a lock, of each at least once if the context was open before, and maybe of the end first.
pub(crate) trait CloseObserver: Send + Sync {
    /// The close has begun.
    fn closing(&self, reason: &CloseReason);
    /// Nothing is left of the context. Its parent is still waiting for it.
    fn closed(&self, reason: &CloseReason);
}

/// Who is told of the close of one context.
#[derive(Default)]
pub(crate) struct Observers {
    one: OnceLock<Box<dyn CloseObserver>>,
    /// What belongs to the context and is neither task nor child: there only as long as its handles are.
    parts: Mutex<BTreeMap<ResourceId, Weak<dyn CloseObserver>>>,
}

#[cfg(all(test, not(headcount_loom)))]
impl Observers {
    /// How many there are besides the one.
    pub(crate) fn parts(&self) -> usize {
        lock(&self.parts).len()
    }
}

impl Core {
    /// Has this told of the close, which may have begun or ended by now. Once for each context.
    #[cfg(feature = "sessions")]
    pub(crate) fn observe(&self, observer: Box<dyn CloseObserver>) {
        let _ = self.observers.one.set(observer);
        // The close first changes the gate, then looks for an observer: one of us sees the other.
        order();
        if self.node.gate.state() != State::Open {
            self.tell_closing();
        }
        if self.node.gate.state() == State::Closed {
            self.tell_closed();
        }
    }

    /// The close has begun.
    pub(crate) fn tell_closing(&self) {
        if let (Some(observer), Some(reason)) = (self.observers.one.get(), self.node.close_reason())
        {
            panics::contain(|| observer.closing(reason));
        }
    }

    /// The close has ended.
    pub(crate) fn tell_closed(&self) {
        if let (Some(observer), Some(reason)) = (self.observers.one.get(), self.node.close_reason())
        {
            panics::contain(|| observer.closed(reason));
        }
        self.tell_parts(<dyn CloseObserver>::closed);
    }

    /// Has this told of the close, until it is removed. One that is added late looks by itself whether that has begun.
    pub(crate) fn add_part(&self, id: ResourceId, part: Weak<dyn CloseObserver>) {
        lock(&self.observers.parts).insert(id, part);
    }

    pub(crate) fn remove_part(&self, id: ResourceId) {
        let removed = lock(&self.observers.parts).remove(&id);
        drop(removed);
    }

    /// The close has begun: told with the tokens, in the call that begins it.
    pub(crate) fn tell_parts_closing(&self) {
        self.tell_parts(<dyn CloseObserver>::closing);
    }

    fn tell_parts(&self, tell: impl Fn(&(dyn CloseObserver + 'static), &CloseReason)) {
        let Some(reason) = self.node.close_reason() else {
            return;
        };
        let parts: Vec<_> = lock(&self.observers.parts)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for part in parts {
            panics::contain(|| tell(&*part, reason));
        }
    }
}
