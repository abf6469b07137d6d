//! The hooks that are running, in the order in which they started.

use crate::{
    clock::Stamp,
    id::ResourceId,
    poll::{state::PollState, waker_cell::WakerCell},
    sync::{AtomicU64, Mutex, Ordering::Relaxed, lock},
    table::record::Record,
};
use std::{collections::BTreeMap, iter, ops::Deref, panic::Location, sync::Arc};

/// What is known of a running hook.
pub(crate) struct RunningHook {
    pub(crate) id: ResourceId,
    pub(crate) context: Arc<dyn Record>,
    /// `on_closing` or `on_close`.
    pub(crate) kind: &'static str,
    /// The function that registered it.
    pub(crate) what: &'static str,
    pub(crate) location: &'static Location<'static>,
    pub(crate) started: Stamp,
    pub(crate) poll_state: PollState,
    pub(crate) waker: WakerCell,
}

impl RunningHook {
    /// The id of the hook with this number, in the registry of this table.
    #[expect(clippy::cast_possible_truncation, reason = "two halves are a whole")]
    pub(crate) fn id(table: u32, number: u64) -> ResourceId {
        ResourceId {
            table: table + 3,
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }

    /// Asks it where it waits, and wakes it to answer. False if it was never polled, or has ended.
    pub(crate) fn ask(&self) -> bool {
        self.poll_state.ask();
        self.waker.wake()
    }

    /// The registry it is of, as tasks of that have it in their ids.
    pub(crate) fn registry(&self) -> u32 {
        self.id.table - 3
    }

    /// Its context, and what that is in.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &dyn Record> {
        iter::successors(Some(&*self.context), |context| context.parent())
    }

    /// Whether the close of this context waits for it.
    pub(crate) fn is_below(&self, context: &dyn Record) -> bool {
        let is_it = |above: &dyn Record| above.meta().id == context.meta().id;
        context.is_root() || self.contexts().any(is_it)
    }
}

/// All of one registry.
#[derive(Default)]
pub(crate) struct RunningHooks {
    /// How many there have been.
    started: AtomicU64,
    running: Mutex<BTreeMap<u64, Arc<RunningHook>>>,
}

/// A hook that is running, until this is dropped.
pub(crate) struct RunningGuard {
    hooks: Arc<RunningHooks>,
    number: u64,
    hook: Arc<RunningHook>,
}

impl RunningHooks {
    /// Adds the hook that `make` makes of a number that no other has.
    pub(crate) fn add(self: &Arc<Self>, make: impl FnOnce(u64) -> RunningHook) -> RunningGuard {
        let number = self.started.fetch_add(1, Relaxed);
        let hook = Arc::new(make(number));
        lock(&self.running).insert(number, Arc::clone(&hook));
        RunningGuard {
            hooks: Arc::clone(self),
            number,
            hook,
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<RunningHook>> {
        lock(&self.running).values().cloned().collect()
    }
}

impl RunningGuard {
    pub(crate) fn arc(&self) -> Arc<RunningHook> {
        Arc::clone(&self.hook)
    }
}

impl Deref for RunningGuard {
    type Target = RunningHook;

    fn deref(&self) -> &RunningHook {
        &self.hook
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let gone = lock(&self.hooks.running).remove(&self.number);
        drop(gone);
    }
}
