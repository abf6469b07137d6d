//! [`Rare`]: what few owners need.

use std::fmt;

/// A value that takes a pointer's room until it is first changed, and allocates then: for parts that most owners never use.
pub(crate) struct Rare<T>(Option<Box<T>>);

impl<T: Default> Rare<T> {
    /// What there is; `None` where it was not changed since it was made or taken.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// To change it.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// To change what there is.
    pub(crate) fn existing(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Takes it out, and gives the memory back.
    pub(crate) fn take(&mut self) -> T {
        self.0.take().map_or_else(T::default, |value| *value)
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
