//! A context as a listing shows it.

#[cfg(all(feature = "supervision", feature = "testing"))]
use crate::sync::Ordering::SeqCst;
use crate::{
    context::{close::on_leave, state::Node},
    ledger::handle_log::Ledger,
    table::{
        numbers::Numbers,
        record::{Class, Detail, Meta, Outcome, Record, State},
    },
};
use std::{any::Any, sync::Arc};

impl Node {
    /// What listings say of it from here on; the first one wins.
    pub(crate) fn set_detail(&self, detail: Arc<dyn Detail>) {
        let _ = self.detail.set(Box::new(detail));
    }

    /// What listings say of it, beside its state.
    pub(crate) fn detail_text(&self) -> Option<String> {
        self.detail.get()?.text()
    }
}

/// A context as its registry lists it, and as its tasks see it.
impl Record for Node {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Context
    }

    fn state(&self) -> State {
        Node::state(self)
    }

    fn parent(&self) -> Option<&dyn Record> {
        match &self.parent {
            Some(parent) if !parent.is_root() => Some(&**parent),
            _ => None,
        }
    }

    fn strong_count(&self) -> Option<usize> {
        Some(self.handles.count())
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            weak: self.weak_handles.count(),
            hooks: self.hook_count.get(),
            ..Numbers::default()
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.ledger)
    }

    fn is_root(&self) -> bool {
        Node::is_root(self)
    }

    fn is_aborting(&self) -> bool {
        self.gate.is_aborting()
    }

    fn detail(&self) -> Option<String> {
        self.detail_text()
    }

    #[inline]
    fn is_heard(&self) -> bool {
        self.table.events.is_heard()
    }

    fn as_context(&self) -> Option<&dyn Any> {
        Some(self)
    }

    #[inline]
    fn task_left(&self, outcome: Outcome) {
        let left = if outcome == Outcome::Finished {
            self.gate.leave_finished()
        } else {
            self.tally.task(outcome);
            #[cfg(all(feature = "supervision", feature = "testing"))]
            if outcome == Outcome::Paused {
                // It is in no count, so it was none that was accepted.
                self.table.accepted.fetch_sub(1, SeqCst);
            }
            self.gate.leave()
        };
        on_leave(self, left);
    }
}
