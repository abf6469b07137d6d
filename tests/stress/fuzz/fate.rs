//! What has happened to something, and to futures above all.

use super::{model::Model, panics::failure, running::check_scope};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU8, Ordering::SeqCst},
};

/// What has happened to something, as bits.
#[derive(Debug, Default)]
pub(crate) struct Flags(AtomicU8);

impl Flags {
    /// Sets a bit, and returns all bits as they were before.
    pub(crate) fn set(&self, flag: u8) -> u8 {
        self.0.fetch_or(flag, SeqCst)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.0.load(SeqCst) & flag != 0
    }
}

pub(crate) const ACCEPTED: u8 = 1;
pub(crate) const DROPPED: u8 = 1 << 1;
/// The future returned, or the hook did.
pub(crate) const RETURNED: u8 = 1 << 2;
/// It panicked, or its destructor did, or the hook returned an error.
pub(crate) const FAILED: u8 = 1 << 3;
pub(crate) const STARTED: u8 = 1 << 4;
pub(crate) const CANCELLED: u8 = 1 << 5;
/// It was registered before the close of its context began.
pub(crate) const EARLY: u8 = 1 << 6;

/// What has happened to one future or closure that was given to a context.
#[derive(Debug)]
pub(crate) struct Fate {
    /// How it was given.
    pub(crate) sort: &'static str,
    pub(crate) flags: Flags,
    pub(crate) model: Arc<Model>,
    /// The slot of its context that it runs in.
    pub(crate) slot: OnceLock<&'static str>,
}

impl Fate {
    pub(crate) fn new(model: &Arc<Model>, sort: &'static str) -> Arc<Self> {
        Arc::new(Self {
            sort,
            flags: Flags::default(),
            model: Arc::clone(model),
            slot: OnceLock::new(),
        })
    }

    /// It is polled, or called.
    pub(crate) fn start(&self) {
        let is_first = self.flags.set(STARTED) & STARTED == 0;
        if let Some(slot) = self.slot.get().filter(|_| is_first) {
            self.model.count_in_slot(slot, 1);
        }
    }

    /// It was accepted, as its spawn said; it may have ended meanwhile.
    pub(crate) fn accept(&self) {
        self.model.accept();
        if self.flags.set(ACCEPTED) & DROPPED == 0 {
            self.model.count(1);
        }
    }

    /// May be counted down before it is counted up: the sum is never too high.
    fn dropped(&self) {
        let before = self.flags.set(DROPPED);
        if before & DROPPED != 0 {
            failure(format_args!(
                "a future of {} was dropped twice",
                self.model.name
            ));
        }
        if before & ACCEPTED != 0 {
            self.model.count(-1);
        }
    }
}

/// Lives in a future, as the last of it to be dropped.
pub(crate) struct FutureGuard(pub(crate) Arc<Fate>);

impl Drop for FutureGuard {
    fn drop(&mut self) {
        if self.0.flags.has(STARTED) {
            check_scope(&self.0.model, "the destructor of a future");
            if let Some(slot) = self.0.slot.get() {
                self.0.model.count_in_slot(slot, -1);
            }
        }
        self.0.dropped();
    }
}
