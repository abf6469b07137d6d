//! What grows without being listed: hooks, handles, and what handles keep, counted by the line that made it.

use crate::{
    context::{current::node_of, state::Core},
    table::{live::Live, resource::Resource},
};
use std::{
    collections::{BTreeMap, HashMap},
    panic::Location,
};

type Line = &'static Location<'static>;

/// Hooks that wait for the close of a context, by the line that registered them.
pub(crate) const HOOK: &str = "hook";
/// By the line that spawned the task.
pub(crate) const KEPT: &str = "handle of an ended task";
/// By the line that opened the context.
pub(crate) const WEAK: &str = "weak handle of a context";
/// Contexts that have left the list, by the line that opened them.
pub(crate) const OUTLIVED: &str = "closed context with weak handles";
/// What the kind of the strong handles of something begins with; its own kind follows.
const HANDLE: &str = "handle of a ";
/// The same, of those that were not recorded: by the line that made the thing.
const UNTRACKED: &str = "untracked handle of a ";

/// Whether a kind is one of this crate's own, without the kind of a thing in it.
pub(crate) fn is_own(kind: &str) -> bool {
    [HOOK, KEPT, WEAK, OUTLIVED].contains(&kind)
}

/// Whether a kind is one of those that are counted here.
pub(crate) fn is_counted(kind: &str) -> bool {
    is_own(kind) || kind.starts_with(HANDLE) || kind.starts_with(UNTRACKED)
}

/// How much there is of each kind and line.
pub(crate) type UnseenCounts = BTreeMap<(String, Line), usize>;

/// What is there of each kind and line. The first handle of each thing is not counted: the thing is.
pub(crate) fn unseen(live: &Live, root: &Core) -> UnseenCounts {
    let mut counts = Counts::default();
    for (line, count) in live.kept.by_line() {
        counts.add(KEPT, line, count);
    }
    for (line, count) in root.node.table.tracking.outlived.by_line() {
        counts.add(OUTLIVED, line, count);
    }
    // The registry itself is not listed.
    for (line, count) in root.hooks.by_line() {
        counts.add(HOOK, line, count);
    }
    for thing in live {
        counts.add(WEAK, thing.location(), thing.weak_count());
        add_hooks(&mut counts, thing);
        add_handles(&mut counts, thing);
    }
    counts.0
}

fn add_hooks(counts: &mut Counts, thing: &Resource) {
    for (line, count) in hooks(thing) {
        counts.add(HOOK, line, count);
    }
}

/// How many hooks of a context wait for its close, by the line that registered them.
pub(crate) fn hooks(context: &Resource) -> HashMap<Line, usize> {
    if context.hooks() == 0 {
        return HashMap::new();
    }
    let core = node_of(context.record()).and_then(|node| node.core.upgrade());
    core.map(|core| core.hooks.by_line()).unwrap_or_default()
}

fn add_handles(counts: &mut Counts, thing: &Resource) {
    let record = thing.record();
    let Some(strong) = record.strong_count().filter(|strong| *strong > 1) else {
        return;
    };
    let made_at = thing.location();
    let lines = record.ledger().and_then(|ledger| {
        ledger.read(|log| {
            let mut lines: BTreeMap<Line, usize> = BTreeMap::new();
            for (_, entry) in log.entries() {
                *lines.entry(entry.taken.location).or_default() += 1;
            }
            lines
        })
    });
    let lines = lines.unwrap_or_default();
    let tracked: usize = lines.values().sum();
    // The line that made the thing took the first handle, and the one of the context that owns it.
    let first = if lines.contains_key(made_at) {
        0
    } else {
        1 + usize::from(record.is_owned())
    };
    for (line, count) in lines.into_iter().filter(|(line, _)| *line != made_at) {
        counts.add(&format!("{HANDLE}{}", thing.kind()), line, count);
    }
    let untracked = strong.saturating_sub(tracked + first);
    counts.add(&format!("{UNTRACKED}{}", thing.kind()), made_at, untracked);
}

#[derive(Default)]
struct Counts(UnseenCounts);

impl Counts {
    fn add(&mut self, kind: &str, location: Line, count: usize) {
        if count > 0 {
            *self.0.entry((kind.to_owned(), location)).or_default() += count;
        }
    }
}

/// What to do about such a kind that grows, or of which there are too many.
pub(crate) fn advice(kind: &str, site: &str) -> Option<String> {
    let says = match kind {
        HOOK => format!(
            "cancel each hook registered at {site} (`Hook::cancel`) as soon as it is no longer needed, or register it on a context that closes then"
        ),
        KEPT => format!(
            "await or drop the handles of the tasks spawned at {site}: each keeps the output of its task"
        ),
        WEAK | OUTLIVED => format!(
            "find out what keeps weak handles to the contexts opened at {site}: each keeps the record of its context in memory"
        ),
        kind if kind.starts_with(HANDLE) => {
            format!("find out what keeps the handles taken at {site}")
        }
        kind if kind.starts_with(UNTRACKED) => format!(
            "find out what keeps handles to the things made at {site}; HEADCOUNT_LEVEL=holders names the lines that took them"
        ),
        _ => return None,
    };
    Some(says)
}
