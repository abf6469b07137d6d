//! Records that are not in their slot, and those of values that live in an `Arc`: owned or tracked.

use crate::{
    ledger::handle_log::Ledger,
    slab::block::Entry,
    table::record::{Class, Meta, Record, State},
};
use std::{
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// An entry of the slab whose record is not in its slot.
pub(crate) struct Indirect<R>(Option<R>);

impl<R> Indirect<R> {
    pub(crate) fn new(record: R) -> Self {
        Self(Some(record))
    }
}

impl<R> Default for Indirect<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: Send + Sync + 'static> Entry for Indirect<R> {
    type Aside = ();
    type Remains = Option<R>;

    fn clear(&mut self, (): &mut (), _: bool, remains: &mut Option<R>) {
        *remains = self.0.take();
    }
}

impl<R> Deref for Indirect<R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.0.as_ref().expect("it is there while it is listed")
    }
}

/// The record of a value that lives in an `Arc`: it counts the handles, and never holds one.
pub(crate) struct ArcEntry<T: ?Sized> {
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<dyn Record>>,
    pub(crate) value: Weak<T>,
    /// Who holds it; `None` for a plain `Arc`, whose handles are nobody's business.
    pub(crate) ledger: Option<Ledger>,
    /// Whether the parent keeps a handle until it closes.
    pub(crate) is_owned: AtomicBool,
}

impl<T: Send + Sync + ?Sized> Record for ArcEntry<T> {
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
        self.parent.as_deref()
    }

    fn strong_count(&self) -> Option<usize> {
        Some(self.value.strong_count())
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    fn is_owned(&self) -> bool {
        self.is_owned.load(Relaxed)
    }

    fn released(&self) {
        self.is_owned.store(false, Relaxed);
    }
}
