//! What is kept beside a context and has to follow its close: its place in a table of sessions, the limits that were made on it.

use crate::{
    context::{close_reason::CloseReason, state::Core},
    id::ResourceId,
    panics,
    rare::Rare,
    sync::{Mutex, lock},
};
#[cfg(feature = "sessions")]
use crate::{sync::order, table::record::State};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
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
pub(crate) struct Observers(Mutex<Rare<ToTell>>);

#[derive(Default)]
struct ToTell {
    one: Option<Arc<dyn CloseObserver>>,
    /// What belongs to the context and is neither task nor child: there only as long as its handles are.
    parts: BTreeMap<ResourceId, Weak<dyn CloseObserver>>,
}

impl Observers {
    fn one(&self) -> Option<Arc<dyn CloseObserver>> {
        lock(&self.0).get()?.one.clone()
    }
}

#[cfg(all(test, not(headcount_loom)))]
impl Observers {
    /// How many there are besides the one.
    pub(crate) fn parts(&self) -> usize {
        lock(&self.0).get().map_or(0, |all| all.parts.len())
    }
}

impl Core {
    /// Has this told of the close, which may have begun or ended by now. Once for each context.
    #[cfg(feature = "sessions")]
    pub(crate) fn observe(&self, observer: Arc<dyn CloseObserver>) {
        lock(&self.observers.0)
            .get_mut()
            .one
            .get_or_insert(observer);
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
        if let (Some(observer), Some(reason)) = (self.observers.one(), self.node.close_reason()) {
            panics::contain(|| observer.closing(reason));
        }
    }

    /// The close has ended.
    pub(crate) fn tell_closed(&self) {
        if let (Some(observer), Some(reason)) = (self.observers.one(), self.node.close_reason()) {
            panics::contain(|| observer.closed(reason));
        }
        self.tell_parts(<dyn CloseObserver>::closed);
    }

    /// Has this told of the close, until it is removed. One that is added late looks by itself whether that has begun.
    pub(crate) fn add_part(&self, id: ResourceId, part: Weak<dyn CloseObserver>) {
        lock(&self.observers.0).get_mut().parts.insert(id, part);
    }

    pub(crate) fn remove_part(&self, id: ResourceId) {
        let mut all = lock(&self.observers.0);
        let removed = all.existing().and_then(|all| all.parts.remove(&id));
        drop(all);
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
        let parts: Vec<_> = {
            let all = lock(&self.observers.0);
            let parts = all.get().into_iter().flat_map(|all| all.parts.values());
            parts.filter_map(Weak::upgrade).collect()
        };
        for part in parts {
            panics::contain(|| tell(&*part, reason));
        }
    }
}
