//! How many entries there are by kind.

use crate::{
    name::Label,
    table::{
        record::{Record, State},
        store::{STEP, Table, is_alive},
    },
};
use std::collections::HashMap;

/// How many entries of one kind are in one state. Made by [`Registry::count_by_kind`](crate::Registry::count_by_kind), which has an
/// example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KindCount {
    /// The kind.
    pub kind: String,
    /// The state that they are in.
    pub state: State,
    /// How many.
    pub count: u64,
}

#[derive(Default)]
struct Counts(HashMap<(Label, State), u64>);

impl Counts {
    fn add(&mut self, entry: &(impl Record + ?Sized)) {
        // A literal is copied, and of the others one is shared.
        let kind = (entry.meta().kind.clone(), entry.state());
        *self.0.entry(kind).or_default() += 1;
    }
}

/// Where a count goes on.
enum Cursor {
    Tasks(usize),
    Records(usize),
    Arcs(usize),
}

impl Table {
    /// Counts the next few slots. Returns where to go on, or `None` at the end.
    fn count_step(&self, cursor: &Cursor, counts: &mut Counts) -> Option<Cursor> {
        match *cursor {
            Cursor::Tasks(from) => {
                let next = self
                    .tasks
                    .directory()
                    .scan(from, STEP, |task| counts.add(&*task));
                Some(next.map_or(Cursor::Records(0), Cursor::Tasks))
            }
            Cursor::Records(from) => {
                let next = self.records.directory().scan(from, STEP, |look| {
                    if let Some(record) = look.upgrade() {
                        counts.add(&*record);
                    }
                });
                Some(next.map_or(Cursor::Arcs(0), Cursor::Records))
            }
            Cursor::Arcs(from) => {
                let next = self.arcs.directory().scan(from, STEP, |look| {
                    if is_alive(&look) {
                        counts.add(&***look);
                    }
                });
                next.map(Cursor::Arcs)
            }
        }
    }

    /// Counts what is live by kind and state, yielding to the runtime after every few slots.
    pub(crate) async fn count_by_label(&self) -> impl Iterator<Item = (Label, State, u64)> + use<> {
        let mut counts = Counts::default();
        let mut cursor = Cursor::Tasks(0);
        while let Some(next) = self.count_step(&cursor, &mut counts) {
            cursor = next;
            tokio::task::yield_now().await;
        }
        let counts = counts.0.into_iter();
        counts.map(|((kind, state), count)| (kind, state, count))
    }

    /// The same, sorted.
    pub(crate) async fn count_by_kind(&self) -> Vec<KindCount> {
        let counts = self.count_by_label().await;
        let mut counts: Vec<_> = counts
            .map(|(kind, state, count)| KindCount {
                kind: kind.to_string(),
                state,
                count,
            })
            .collect();
        counts.sort_unstable_by(|a, b| (&a.kind, a.state as u8).cmp(&(&b.kind, b.state as u8)));
        counts
    }
}
