//! A context as its registry lists it, and as its tasks see it.

use crate::{
    context::{close, core::Node},
    ledger::handle_log::Ledger,
    table::record::{Class, Meta, Outcome, Record, State},
};
use std::any::Any;

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

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.ledger)
    }

    fn is_root(&self) -> bool {
        Node::is_root(self)
    }

    fn is_aborting(&self) -> bool {
        self.gate.is_aborting()
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
            self.gate.leave()
        };
        close::on_leave(self, left);
    }
}
