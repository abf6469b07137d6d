//! Entries that somebody has found and keeps looking at.

use crate::table::{
    hold::Pin,
    slots::{Look, Slots},
};
use std::{
    fmt,
    mem::{self, ManuallyDrop},
    ops::Deref,
    sync::Arc,
};

/// Pinned entries, each with a note of how it was found: four bytes and a note, and no reference count.
pub(crate) struct Pins<T, L, N>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    slots: Arc<Slots<T, L>>,
    found: Vec<(u32, N)>,
}

impl<T, L, N> Pins<T, L, N>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    pub(crate) fn of(slots: &Arc<Slots<T, L>>, room: usize) -> Self {
        Self {
            slots: Arc::clone(slots),
            found: Vec::with_capacity(room),
        }
    }

    /// Keeps an entry of the same table.
    #[inline]
    pub(crate) fn keep(&mut self, look: Look<'_, T, L>, note: N) {
        self.found.push((look.keep(), note));
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Each entry, pinned once more.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pinned<T, L>, &N)> {
        self.found.iter().map(|(index, note)| {
            // Ours stays, so the one taken up is left alone.
            let ours = ManuallyDrop::new(take_up(&self.slots, *index));
            let pinned = Pinned {
                pin: Pin::clone(&ours),
                slots: Arc::clone(&self.slots),
            };
            (pinned, note)
        })
    }
}

/// Takes up a pin that a look has left.
#[expect(unsafe_code, reason = "nobody counts again what was counted before")]
fn take_up<T, L>(slots: &Arc<Slots<T, L>>, index: u32) -> Pin<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    // SAFETY: `keep` left one pin for each index, and those who call this have the index from there; they
    // hold the table for as long as the pin.
    unsafe { slots.take_up(index) }
}

impl<T, L, N> Drop for Pins<T, L, N>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    fn drop(&mut self) {
        for (index, _) in mem::take(&mut self.found) {
            drop(take_up(&self.slots, index));
        }
    }
}

/// A pinned entry, and the table that keeps it.
pub(crate) struct Pinned<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    // Before the table.
    pin: Pin<T, L>,
    slots: Arc<Slots<T, L>>,
}

impl<T, L> Pinned<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    /// Keeps an entry of this table.
    pub(crate) fn of(look: Look<'_, T, L>, slots: &Arc<Slots<T, L>>) -> Self {
        Self {
            pin: take_up(slots, look.keep()),
            slots: Arc::clone(slots),
        }
    }
}

impl<T, L> Clone for Pinned<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self {
            pin: self.pin.clone(),
            slots: Arc::clone(&self.slots),
        }
    }
}

impl<T, L> Deref for Pinned<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.pin
    }
}

impl<T, L> fmt::Debug for Pinned<T, L>
where
    T: Send + Sync + 'static,
    L: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pin.fmt(f)
    }
}
