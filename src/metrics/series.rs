//! [`Series`]: which values a label has had, and that they are not too many.

use crate::{name::Printed, table::record::State};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds with a series of their own.
const KINDS: usize = 100;
/// The kind of all others.
const OTHER: &str = "other";

#[derive(Debug, Default)]
pub(super) struct Series {
    kinds: BTreeSet<String>,
    /// The last value of each.
    entries: BTreeMap<(String, &'static str), u64>,
}

impl Series {
    /// The value of every series from here on: those that are not counted any more are 0. Which kinds get a series of their own does
    /// not depend on the order of the counts.
    pub(super) fn update(
        &mut self,
        counts: impl Iterator<Item = (String, State, u64)>,
    ) -> Vec<(String, &'static str, u64)> {
        let mut counts: Vec<_> = counts.collect();
        counts.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        for value in self.entries.values_mut() {
            *value = 0;
        }
        for (kind, state, count) in counts {
            let kind = self.kind(Printed(&kind).to_string());
            *self.entries.entry((kind, word(state))).or_default() += count;
        }
        let entries = self.entries.iter();
        entries
            .map(|((kind, state), value)| (kind.clone(), *state, *value))
            .collect()
    }

    fn kind(&mut self, kind: String) -> String {
        if self.kinds.contains(&kind) {
            return kind;
        }
        if self.kinds.len() < KINDS {
            self.kinds.insert(kind.clone());
            return kind;
        }
        OTHER.to_owned()
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Closing => "closing",
        State::Closed => "closed",
        State::Waiting => "waiting",
        State::Running => "running",
        State::BackingOff => "backing_off",
        State::Live => "live",
    }
}
