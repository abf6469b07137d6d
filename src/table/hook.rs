//! A hook that is running, as those see it who ask where it is.

use crate::{
    clock::Stamp,
    id::ResourceId,
    table::record::Record,
    trace::{bell::Bell, inquiry::Inquiry},
};
use std::{iter, panic::Location, sync::Arc};

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
    pub(crate) inquiry: Inquiry,
    pub(crate) bell: Bell,
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
        self.inquiry.ask();
        self.bell.ring()
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
