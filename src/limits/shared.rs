//! [`Shared`]: a limit, as its context knows it and listings show it.

use crate::{
    context::{
        close_reason::CloseReason,
        observers::CloseObserver,
        state::{Core, Node},
    },
    ledger::lock_log::LockLog,
    limits::places::Places,
    locks::request::Request,
    name::Label,
    poll::awaited::LockKind,
    sync::order,
    table::{
        record::{Class, Facts, Meta, Record, State},
        registration::Listed,
    },
};
use std::{
    panic::Location,
    sync::{Arc, Weak},
};

/// What handles of a limit share with the places that are taken. It is listed as long as this is there, and its context is not closed.
pub(crate) struct Shared {
    pub(crate) places: Arc<Places>,
    /// The context that it belongs to: its identity, not a handle.
    pub(crate) node: Arc<Node>,
    listed: Listed,
    /// Who has places, and who waits for one.
    pub(crate) holders: LockLog,
}

/// The facts that listings show. One that keeps them keeps no place, and nothing of what waits (I5).
struct LimitRecord {
    meta: Meta,
    parent: Arc<dyn Record>,
    places: Arc<Places>,
}

impl Shared {
    /// A limit of this context. If that is closing, closed or gone, it is closed from the start.
    pub(crate) fn new(
        node: &Arc<Node>,
        core: Option<&Arc<Core>>,
        facts: Facts,
        max: usize,
    ) -> Arc<Self> {
        let places = Arc::new(Places::new(max));
        let record = node.table.insert(facts, |meta| {
            let (parent, places) = (Arc::clone(node) as _, Arc::clone(&places));
            Arc::new(LimitRecord {
                meta,
                parent,
                places,
            })
        });
        let id = record.meta.id;
        let shared = Arc::new(Self {
            places,
            node: Arc::clone(node),
            listed: Listed::new(record, &node.table),
            holders: LockLog::default(),
        });
        let observer: Weak<Self> = Arc::downgrade(&shared);
        if let Some(core) = core {
            core.add_part(id, observer);
        }
        // The close first changes the gate, then tells the parts: one of us sees the other.
        order();
        match node.gate.state() {
            State::Open if core.is_some() => {}
            State::Open | State::Closed => shared.end(),
            _ => shared.places.close(),
        }
        shared
    }

    /// A call that asks for a place, on this line.
    pub(crate) fn request(&self, location: &'static Location<'static>) -> Request<'_> {
        Request {
            kind: LockKind::Limit,
            value: self.listed.record(),
            log: &self.holders,
            tracking: self.listed.tracking(),
            location,
            places: Some(&self.places),
        }
    }

    pub(crate) fn meta(&self) -> &Meta {
        self.listed.record().meta()
    }

    /// The name, to be kept.
    pub(crate) fn name(&self) -> &Label {
        &self.meta().name
    }

    /// Its context is closed: nothing is limited any more.
    fn end(&self) {
        self.places.close();
        self.listed.unlist();
    }
}

impl CloseObserver for Shared {
    fn closing(&self, _: &CloseReason) {
        self.places.close();
    }

    fn closed(&self, _: &CloseReason) {
        self.end();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(core) = self.node.core.upgrade() {
            core.remove_part(self.meta().id);
        }
    }
}

impl Record for LimitRecord {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn class(&self) -> Class {
        Class::Resource
    }

    fn state(&self) -> State {
        State::Live
    }

    fn parent(&self) -> Option<&dyn Record> {
        Some(&*self.parent)
    }

    fn detail(&self) -> Option<String> {
        Some(self.places.usage().to_string())
    }
}
