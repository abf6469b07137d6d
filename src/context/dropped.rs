//! Contexts whose last handle was dropped while they were open: remembered, because they are gone when
//! somebody asks.

use crate::{
    clock::Stamp,
    context::core::Node,
    ledger::handle_log::Acquisition,
    name::Label,
    sync::{Mutex, lock},
    table::{record::State, resource},
};
use std::{collections::VecDeque, panic::Location};

/// How many are remembered.
const REMEMBERED: usize = 64;
/// How far up a close is looked for that may have been on its way.
const LOOKED_UP: usize = 64;

#[derive(Default)]
pub(crate) struct DroppedContexts(Mutex<Dropped>);

#[derive(Clone, Default)]
pub(crate) struct Dropped {
    /// How many there were.
    pub(crate) count: u64,
    /// The latest last.
    pub(crate) latest: VecDeque<DroppedWhileOpen>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct DroppedWhileOpen {
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) path: String,
    pub(crate) location: &'static Location<'static>,
    pub(crate) at: Stamp,
    /// How many tasks and children it had.
    pub(crate) inside: u64,
    /// How the last handle had been taken, where that was written down.
    pub(crate) last: Option<Acquisition>,
}

impl Dropped {
    /// How many there were since the first so many, and are not remembered.
    pub(crate) fn forgotten(&self, before: u64) -> u64 {
        let new = self.count.saturating_sub(before);
        new.saturating_sub(self.latest.len() as u64)
    }
}

impl DroppedContexts {
    /// Notes a context that was dropped while it was open, unless that is nobody's fault: a close further up
    /// had begun, or a panic is unwinding. `last` is the number under which its last handle was crossed out.
    pub(crate) fn note(&self, node: &Node, last: Option<usize>) {
        if std::thread::panicking() || is_closing_above(node) {
            return;
        }
        let dropped_one = DroppedWhileOpen {
            name: node.meta.name.clone(),
            kind: node.meta.kind.clone(),
            path: resource::short_path(node),
            location: node.meta.location,
            at: Stamp::now(),
            inside: node.gate.inside(),
            last: last.and_then(|last| node.ledger.read(|book| book.removed(last).cloned())?),
        };
        let mut dropped = lock(&self.0);
        dropped.count += 1;
        let oldest = (dropped.latest.len() == REMEMBERED).then(|| dropped.latest.pop_front());
        dropped.latest.push_back(dropped_one);
        drop(dropped);
        drop(oldest);
    }

    pub(crate) fn look(&self) -> Dropped {
        lock(&self.0).clone()
    }
}

fn is_closing_above(node: &Node) -> bool {
    let mut next = node.parent.as_deref();
    for _ in 0..LOOKED_UP {
        let Some(node) = next else { return false };
        if node.gate.state() != State::Open {
            return true;
        }
        next = node.parent.as_deref();
    }
    false
}
