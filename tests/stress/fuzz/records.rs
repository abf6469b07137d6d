//! What is known of hooks and of owned values.

use super::{
    fate::{CANCELLED, DROPPED, Flags, STARTED},
    model::Model,
    panics::failure,
    running::check_scope,
};
use crate::common::lock;
use std::sync::{Arc, atomic::Ordering::SeqCst};

/// One value that a context owns.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) number: usize,
    pub(crate) flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Closing,
    Close,
}

/// One hook: whether it was accepted, ran, and how it ended.
#[derive(Debug)]
pub(crate) struct HookRecord {
    pub(crate) flags: Flags,
    pub(crate) number: usize,
    pub(crate) when: When,
    pub(crate) model: Arc<Model>,
}

impl HookRecord {
    pub(crate) fn start(self: &Arc<Self>) {
        if self.flags.set(STARTED) & STARTED != 0 {
            failure(format_args!("a hook of {} ran twice", self.model.name));
        }
        if self.flags.has(CANCELLED) {
            failure(format_args!(
                "a hook of {} ran, though it was cancelled",
                self.model.name
            ));
        }
        check_scope(&self.model, "a hook");
        lock(&self.model.started).push(Arc::clone(self));
        self.model.check_order("when a hook begins");
        if self.when == When::Close {
            self.model.check_turn();
            if self.model.running.fetch_add(1, SeqCst) > 0 {
                failure(format_args!("two hooks of {} run at once", self.model.name));
            }
        }
    }
}

/// Lives in a hook, as the last of it to be dropped.
pub(crate) struct HookGuard(pub(crate) Arc<HookRecord>);

impl Drop for HookGuard {
    fn drop(&mut self) {
        let hook = &self.0;
        if hook.flags.set(DROPPED) & DROPPED != 0 {
            failure(format_args!(
                "a hook of {} was dropped twice",
                hook.model.name
            ));
        }
        if hook.flags.has(STARTED) && hook.when == When::Close {
            hook.model.running.fetch_sub(1, SeqCst);
        }
    }
}
