//! `/tree`: what is alive, in pages, part by part.

use crate::{
    id::ResourceId,
    offload::offload,
    table::{
        live::Live,
        record::{Class, Meta},
        resource::Resource,
    },
    window::{
        answer::answer,
        entry::{EntryView, class},
        params::Params,
        problem::Problem,
        shared::Shared,
    },
};
use serde::Serialize;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How many entries a page has.
pub(crate) const PAGE: usize = 500;
const CLASSES: [&str; 3] = ["task", "context", "resource"];
const STATES: [&str; 7] = [
    "open",
    "closing",
    "closed",
    "waiting",
    "running",
    "backing off",
    "live",
];
/// The parameters of `/tree`.
const KNOWN: [&str; 9] = [
    "parent", "all", "kind", "class", "name", "state", "older", "after", "limit",
];
/// No age comes near it.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// Where an entry stands in the order of creation.
type Order = (u64, u32, u32);

/// Which entries are asked for.
#[derive(Debug)]
struct TreeQuery {
    parent: Option<ResourceId>,
    /// Entries of every depth, not only those at the top.
    is_flat: bool,
    kind: Option<String>,
    class: Option<&'static str>,
    /// In small letters.
    name: Option<String>,
    state: Option<&'static str>,
    older: Option<Duration>,
    after: Option<Order>,
    limit: usize,
}

#[derive(Serialize)]
struct TreePage {
    /// The number of the latest event that this is as new as.
    seq: u64,
    /// How many entries there are in all.
    total: usize,
    /// How many of them are asked for, on this page and others.
    matched: usize,
    entries: Vec<TreeEntry>,
    /// What to give as `after` for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct TreeEntry {
    #[serde(flatten)]
    entry: EntryView,
    /// How many entries belong to it directly.
    children: usize,
}

/// Lists one page. The listing is sorted and written beside the runtime.
pub(crate) async fn tree(shared: &Arc<Shared>, uri: &axum::http::Uri) -> Result<String, Problem> {
    let query = TreeQuery::of(shared, &Params::of(uri, &KNOWN)?)?;
    let live = shared.table().live().await;
    let shared = Arc::clone(shared);
    Ok(offload(move || answer(&shared, page(&shared, &query, &live))).await)
}

impl TreeQuery {
    fn of(shared: &Shared, params: &Params) -> Result<Self, Problem> {
        let parent = params.get("parent").map(|text| shared.find(text));
        let parent = parent.transpose()?;
        if parent
            .as_ref()
            .is_some_and(|it| it.class() != Class::Context)
        {
            return Err(Problem::not_a_context());
        }
        let mut query = Self {
            parent: parent.map(|context| context.id()),
            is_flat: params.has("all"),
            kind: params.get("kind").map(str::to_owned),
            class: params.word("class", &CLASSES)?,
            name: params.get("name").map(str::to_lowercase),
            state: params.word("state", &STATES)?,
            older: params.seconds("older", LONGEST)?,
            after: params.get("after").map(cursor).transpose()?,
            limit: params.get("limit").map_or(Ok(PAGE), limit)?,
        };
        query.is_flat |= query.has_filter();
        Ok(query)
    }

    fn has_filter(&self) -> bool {
        let has_word = self.class.is_some() || self.state.is_some();
        has_word || self.kind.is_some() || self.name.is_some() || self.older.is_some()
    }

    fn is_met(&self, shared: &Shared, entry: &Resource) -> bool {
        let labels = shared.labels;
        let meta = entry.record().meta();
        // Names are compared as they are shown: what is hashed cannot be guessed letter by letter.
        let is_named = |wanted: &String| {
            let name = labels.label(&meta.name).to_lowercase();
            name.contains(&**wanted)
        };
        let is_kind = |wanted: &String| labels.label(&meta.kind) == *wanted;
        self.class.is_none_or(|wanted| wanted == class(entry))
            && self
                .state
                .is_none_or(|wanted| entry.state().to_string() == wanted)
            && self.older.is_none_or(|age| entry.age() > age)
            && self.kind.as_ref().is_none_or(is_kind)
            && self.name.as_ref().is_none_or(is_named)
    }
}

fn page(shared: &Shared, query: &TreeQuery, live: &Live) -> TreePage {
    let (mut matched, mut listed, mut last) = (0, Vec::new(), None);
    let mut has_more = false;
    for entry in entries(query, live) {
        if !query.is_met(shared, entry) {
            continue;
        }
        matched += 1;
        let order = order(entry.record().meta());
        if query.after.is_some_and(|after| order <= after) {
            continue;
        }
        if listed.len() == query.limit {
            has_more = true;
            continue;
        }
        listed.push(entry);
        last = Some(order);
    }
    let mut children = children(&listed, live);
    let view = |entry: &Resource| TreeEntry {
        entry: shared.wording(|wording| EntryView::of(entry, wording)),
        children: children.remove(&entry.id()).unwrap_or_default(),
    };
    TreePage {
        seq: live.seq(),
        total: live.len(),
        matched,
        entries: listed.into_iter().map(view).collect(),
        next: last.filter(|_| has_more).map(written),
    }
}

/// The part of the tree that is asked for, in the order of creation.
fn entries<'a>(query: &TreeQuery, live: &'a Live) -> impl Iterator<Item = &'a Resource> {
    let wants_top = query.parent.is_none() && !query.is_flat;
    // What belongs to a context that is not listed any more is at the top: else it would be nowhere.
    let contexts: HashSet<ResourceId> = if wants_top {
        let contexts = live.iter().filter(|it| it.class() == Class::Context);
        contexts.map(Resource::id).collect()
    } else {
        HashSet::new()
    };
    let parent = query.parent;
    live.iter().filter(move |entry| match parent {
        Some(parent) => entry.parent() == Some(parent),
        None if wants_top => !entry.parent().is_some_and(|id| contexts.contains(&id)),
        None => true,
    })
}

/// How many entries belong to each of these contexts.
fn children(listed: &[&Resource], live: &Live) -> HashMap<ResourceId, usize> {
    let contexts = listed.iter().filter(|it| it.class() == Class::Context);
    let mut counts: HashMap<_, _> = contexts.map(|context| (context.id(), 0)).collect();
    if counts.is_empty() {
        return counts;
    }
    for entry in live {
        if let Some(count) = entry.parent().and_then(|id| counts.get_mut(&id)) {
            *count += 1;
        }
    }
    counts
}

fn order(meta: &Meta) -> Order {
    let (created, made, index) = meta.order();
    (created.to_bits(), made, index)
}

fn written((created, made, index): Order) -> String {
    format!("{created:x}-{made:x}-{index:x}")
}

fn cursor(text: &str) -> Result<Order, Problem> {
    let parts: Vec<_> = text.split('-').collect();
    let number = |at: usize| {
        let digits = parts.get(at)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
    };
    let narrow = |at| number(at).and_then(|number| u32::try_from(number).ok());
    let order = number(0).zip(narrow(1)).zip(narrow(2));
    let order = order.filter(|_| parts.len() == 3);
    order
        .map(|((created, made), index)| (created, made, index))
        .ok_or_else(|| Problem::bad_parameter("after", "the `next` of the page before"))
}

fn limit(text: &str) -> Result<usize, Problem> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=PAGE).contains(number));
    number.ok_or_else(|| Problem::bad_parameter("limit", "a number from 1 to 500"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for order in [(0, 0, 0), (u64::MAX, u32::MAX, 7)] {
            assert_eq!(cursor(&written(order)), Ok(order));
        }
        for text in ["", "1-2", "1-2-3-4", "x-1-1", "1-1ffffffff-1", "+1-1-1"] {
            assert_eq!(cursor(text).unwrap_err().code(), "bad_parameter", "{text}");
        }
    }
}
