//! What holds many things of one make: `8 of 8 held by handles taken at src/pool.rs:12 by tasks request (ended)`.

use crate::{
    holders::HolderGroup,
    leaks::snapshot::{LeakSnapshot, Thing},
    ledger::acquirer::Acquirer,
    name::Printed,
    plural::plural,
};
use std::{cmp::Reverse, collections::BTreeMap};

/// How many kinds of holders are named.
const NAMED: usize = 3;
/// How many things are asked who holds them, the newest.
const ASKED: usize = 1_000;

/// The handles of many things that were taken in one way.
struct Held<'a> {
    /// How many of the things have such a handle.
    things: usize,
    handles: HolderGroup<'a>,
}

/// The facts of a finding about these things.
pub(crate) fn facts(
    snapshot: &LeakSnapshot,
    all: &[usize],
) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let held = describe(snapshot, all);
    held.into_iter().map(|held| ("holders", held))
}

/// Who holds these things, those first that hold most. Of things without handles there is nothing to say.
fn describe(snapshot: &LeakSnapshot, all: &[usize]) -> Vec<String> {
    let all = newest(all);
    let things = || all.iter().map(|&at| &snapshot.things[at]);
    let all = all.len();
    let held = ways(things());
    let mut said: Vec<_> = held
        .iter()
        .take(NAMED)
        .map(|held| held.describe(all))
        .collect();
    let hidden = held.len().saturating_sub(NAMED);
    if hidden > 0 {
        said.push(format!(
            "and handles taken in {}",
            plural(hidden, "other way")
        ));
    }
    let unknown = things()
        .filter(|thing| thing.holders.untracked() > 0)
        .count();
    if unknown > 0 {
        said.push(format!(
            "{unknown} of {all} held by handles that were not recorded"
        ));
    }
    said
}

/// The line that took handles of more than half of them, if they are no owner's.
pub(crate) fn line_of_most(snapshot: &LeakSnapshot, all: &[usize]) -> Option<String> {
    let all = newest(all);
    let held = ways(all.iter().map(|&at| &snapshot.things[at]));
    let most = held.into_iter().next()?;
    let holder = most.handles.0[0];
    let is_owner = matches!(holder.entry.taken.by, Acquirer::Owner(_));
    (2 * most.things > all.len() && !is_owner).then(|| holder.site().to_string())
}

fn newest(all: &[usize]) -> &[usize] {
    &all[all.len().saturating_sub(ASKED)..]
}

/// By line, and by owner: a context holds what it owns until it closes, wherever the handle was taken.
fn ways<'a>(things: impl Iterator<Item = &'a Thing>) -> Vec<Held<'a>> {
    let mut ways: BTreeMap<String, Held<'_>> = BTreeMap::new();
    for thing in things {
        for group in thing.holders.by_line() {
            let holder = group.0[0];
            let key = match &holder.entry.taken.by {
                Acquirer::Owner(owner) => format!("owned by {:?}", owner.id),
                by => format!("{} {:?}", holder.site(), std::mem::discriminant(by)),
            };
            let held = ways.entry(key).or_insert_with(|| Held {
                things: 0,
                handles: HolderGroup(Vec::new()),
            });
            held.things += 1;
            held.handles.0.extend(group.0);
        }
    }
    let mut ways: Vec<_> = ways.into_values().collect();
    ways.sort_by_key(|held| Reverse(held.things));
    ways
}

impl Held<'_> {
    fn describe(&self, all: usize) -> String {
        let (things, holder) = (self.things, self.handles.0[0]);
        match &holder.entry.taken.by {
            Acquirer::Owner(owner) => format!(
                "{things} of {all} owned by context {} until it closes",
                Printed(&owner.name)
            ),
            Acquirer::Unknown => format!(
                "{things} of {all} held by handles taken at {}",
                holder.site()
            ),
            _ => format!(
                "{things} of {all} held by handles taken at {} by {}",
                holder.site(),
                self.handles.acquirers()
            ),
        }
    }
}
