//! A scan of the table under way.

use crate::{
    clock::Stamp,
    table::{
        card::Card,
        entry::Elsewhere,
        live::Live,
        pins::Pins,
        record::Record,
        resource::{Resource, Sighting},
        slots::Directory,
        store::{STEP, Table, is_alive},
    },
};
use std::sync::{Arc, Weak};

/// What has been found keeps facts alive, never the things they stand for (I5).
pub(crate) struct Listing {
    cards: Arc<Directory<Card>>,
    records: Arc<Directory<Elsewhere<Weak<dyn Record>>>>,
    arcs: Arc<Directory<Elsewhere<Arc<dyn Record>>>>,
    cursor: Option<Cursor>,
    found: Found,
    now: Stamp,
}

/// Everything that a listing has found.
pub(crate) struct Found {
    pub(crate) cards: Pins<Card, Sighting>,
    /// Contexts and values.
    pub(crate) others: Vec<Resource>,
}

enum Cursor {
    Cards(usize),
    Records(usize),
    Arcs(usize),
}

impl Listing {
    pub(crate) fn of(table: &Table) -> Self {
        let room = table.records.len() + table.arcs.len();
        Self {
            cards: table.cards.directory(),
            records: table.records.directory(),
            arcs: table.arcs.directory(),
            cursor: Some(Cursor::Cards(0)),
            found: Found {
                cards: Pins::of(&table.cards, table.cards.len()),
                others: Vec::with_capacity(room),
            },
            now: Stamp::now(),
        }
    }

    /// One bounded step; says whether there is more to do.
    pub(crate) fn step(&mut self) -> bool {
        let (found, now) = (&mut self.found, self.now);
        self.cursor = match self.cursor {
            Some(Cursor::Cards(from)) => {
                let next = self.cards.scan(from, STEP, |look| {
                    let sighting = Sighting::of(look.tenant(), now);
                    found.cards.keep(look, sighting);
                });
                Some(next.map_or(Cursor::Records(0), Cursor::Cards))
            }
            Some(Cursor::Records(from)) => {
                let next = self.records.scan(from, STEP, |look| {
                    if let Some(record) = look.tenant().upgrade() {
                        found.others.push(Resource::of(record, now));
                    }
                });
                Some(next.map_or(Cursor::Arcs(0), Cursor::Records))
            }
            Some(Cursor::Arcs(from)) => {
                let next = self.arcs.scan(from, STEP, |look| {
                    let record = look.tenant();
                    if is_alive(record) {
                        found.others.push(Resource::of(Arc::clone(record), now));
                    }
                });
                next.map(Cursor::Arcs)
            }
            None => None,
        };
        self.cursor.is_some()
    }

    pub(crate) fn into_live(self) -> Live {
        Live::new(self.found)
    }
}
