//! A tenant for tests of the table and its parts.

use crate::table::{
    hold::{Held, Place},
    slot::Tenant,
    slots::{Key, Slots},
    stripe,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Counts how many of the things made with it were dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted(self.clone())
    }
}

/// Its drop is counted.
#[derive(Debug)]
pub(crate) struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

/// A tenant with a value. What comes later is counted when it is dropped, as the guest can be.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) value: usize,
    maker: u32,
    _counted: Option<Counted>,
    table: Option<Arc<Slots<Guest>>>,
}

impl Guest {
    pub(crate) fn new(value: usize) -> Self {
        Self {
            value,
            maker: stripe::current(),
            _counted: None,
            table: None,
        }
    }

    pub(crate) fn counted(self, drops: &Drops) -> Self {
        Self {
            _counted: Some(drops.counted()),
            ..self
        }
    }

    pub(crate) fn made_by(self, maker: u32) -> Self {
        Self { maker, ..self }
    }

    /// It keeps the table that it is in, as tasks do.
    fn of(self, table: &Arc<Slots<Self>>) -> Self {
        let table = Some(Arc::clone(table));
        Self { table, ..self }
    }
}

impl Tenant for Guest {
    type Later = Counted;
    type Keeper = Option<Arc<Slots<Guest>>>;

    fn was_made_by(&self, thread: u32) -> bool {
        self.maker == thread
    }

    fn take_keeper(&mut self) -> Self::Keeper {
        self.table.take()
    }
}

/// Lists a guest for as long as its place is kept.
#[expect(unsafe_code, reason = "the place knows no more than where it is")]
pub(crate) fn own(table: &Arc<Slots<Guest>>, stripe: usize, guest: Guest) -> Place<Guest> {
    // SAFETY: the guest holds the table.
    unsafe {
        table.reserve_on(stripe).own(|place, _| {
            place.write(guest.of(table));
        })
    }
}

/// Lists a guest for as long as its place is kept, with a second hold on it.
#[expect(unsafe_code, reason = "the place knows no more than where it is")]
pub(crate) fn share(
    table: &Arc<Slots<Guest>>,
    stripe: usize,
    guest: Guest,
) -> (Key, Place<Guest>, Held<Guest>) {
    let reserved = table.reserve_on(stripe);
    let key = reserved.key();
    // SAFETY: the guest holds the table.
    let (place, held) = unsafe {
        reserved.share(|place, _| {
            place.write(guest.of(table));
        })
    };
    (key, place, held)
}

/// Key and value of every guest on the list, in the order of their places.
pub(crate) fn listed(table: &Slots<Guest>) -> Vec<(Key, usize)> {
    let (directory, mut cursor, mut found) = (table.directory(), 0, Vec::new());
    while let Some(next) = directory.scan(cursor, 7, |look| {
        found.push((look.key(), look.tenant().value));
    }) {
        cursor = next;
    }
    found
}
