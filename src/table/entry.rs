//! Records of resources: things that are registered, owned or tracked, but do not run.

use crate::table::record::{Class, Meta, Record, State};
use std::sync::{Arc, Weak};

/// The record of a registration: the facts and nothing else.
pub(crate) struct Entry {
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<dyn Record>>,
}

impl Record for Entry {
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
}

/// The record of a value that lives in an `Arc`: it counts the handles, and never holds one.
pub(crate) struct ArcEntry<T: ?Sized> {
    pub(crate) entry: Entry,
    pub(crate) value: Weak<T>,
}

impl<T: Send + Sync + ?Sized> Record for ArcEntry<T> {
    fn meta(&self) -> &Meta {
        &self.entry.meta
    }

    fn class(&self) -> Class {
        Class::Resource
    }

    fn state(&self) -> State {
        State::Live
    }

    fn parent(&self) -> Option<&dyn Record> {
        self.entry.parent()
    }

    fn strong_count(&self) -> Option<usize> {
        Some(self.value.strong_count())
    }
}
