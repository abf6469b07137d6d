//! A scan of the table under way.

use crate::{
    clock::Stamp,
    slab::{pins::Pins, slab::Directory},
    table::{
        arc_entry::Indirect,
        live::Live,
        record::Record,
        resource::{Resource, Snapshot},
        store::{STEP, Table, is_alive},
        task_entry::TaskEntry,
    },
};
use std::sync::{Arc, Weak};

/// What has been found keeps facts alive, never the things they stand for (I5).
pub(crate) struct Listing {
    tasks: Arc<Directory<TaskEntry>>,
    records: Arc<Directory<Indirect<Weak<dyn Record>>>>,
    arcs: Arc<Directory<Indirect<Arc<dyn Record>>>>,
    cursor: Option<Cursor>,
    found: Listed,
    now: Stamp,
}

/// Everything that a listing has found.
pub(crate) struct Listed {
    pub(crate) tasks: Pins<TaskEntry, Snapshot>,
    /// Contexts and values.
    pub(crate) others: Vec<Resource>,
}

enum Cursor {
    Tasks(usize),
    Records(usize),
    Arcs(usize),
}

impl Listing {
    pub(crate) fn of(table: &Table) -> Self {
        let room = table.records.len() + table.arcs.len();
        Self {
            tasks: table.tasks.directory(),
            records: table.records.directory(),
            arcs: table.arcs.directory(),
            cursor: Some(Cursor::Tasks(0)),
            found: Listed {
                tasks: Pins::of(&table.tasks, table.tasks.len()),
                others: Vec::with_capacity(room),
            },
            now: Stamp::now(),
        }
    }

    /// One bounded step; says whether there is more to do.
    pub(crate) fn step(&mut self) -> bool {
        let (found, now) = (&mut self.found, self.now);
        self.cursor = match self.cursor {
            Some(Cursor::Tasks(from)) => {
                let next = self.tasks.scan(from, STEP, |look| {
                    let snapshot = Snapshot::of(&*look, now);
                    found.tasks.keep(look, snapshot);
                });
                Some(next.map_or(Cursor::Records(0), Cursor::Tasks))
            }
            Some(Cursor::Records(from)) => {
                let next = self.records.scan(from, STEP, |look| {
                    if let Some(record) = look.upgrade() {
                        found.others.push(Resource::of(record, now));
                    }
                });
                Some(next.map_or(Cursor::Arcs(0), Cursor::Records))
            }
            Some(Cursor::Arcs(from)) => {
                let next = self.arcs.scan(from, STEP, |look| {
                    if is_alive(&look) {
                        found.others.push(Resource::of(Arc::clone(&look), now));
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
