//! Records of values that live in an `Arc`: owned or tracked.

use crate::table::record::{Class, Meta, Record, State};
use std::sync::{Arc, Weak};

/// The record of a value that lives in an `Arc`: it counts the handles, and never holds one.
pub(crate) struct ArcEntry<T: ?Sized> {
    pub(crate) meta: Meta,
    pub(crate) parent: Option<Arc<dyn Record>>,
    pub(crate) value: Weak<T>,
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
}
