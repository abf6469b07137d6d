//! What keeps a thing alive, as far as that is known.

use crate::{
    holders::Holder,
    leaks::snapshot::{LeakSnapshot, Subject, Thing},
    ledger::{
        acquirer::Acquirer,
        caller::Site,
        handle_log::{How, Inside},
    },
    name::Printed,
    table::record::{Class, State},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
};

/// One reason why a thing is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) from: Origin,
    /// What the reference is, in words: `taken at src/main.rs:12 by task accept`.
    pub(crate) how: String,
    /// The same in few words, without ages.
    pub(crate) brief: String,
    /// The line that took the handle, if it is one.
    pub(crate) taken: Option<Site>,
    /// The same without lines, numbers, and names that were made at run time: for fingerprints.
    pub(crate) mark: String,
    pub(crate) strength: Strength,
}

/// Where a reference comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Another thing that is listed.
    Thing(usize),
    /// Code outside of everything listed: a static, a thread, the body of a test.
    Outside(Outside),
    /// Handles that were not recorded.
    Unknown(String),
    /// Nothing else: it is alive because it runs.
    Itself,
}

impl Reference {
    /// One that is no handle.
    fn new(
        from: Origin,
        strength: Strength,
        how: impl Into<String>,
        brief: impl Into<String>,
        mark: &str,
    ) -> Self {
        Self {
            from,
            how: how.into(),
            brief: brief.into(),
            taken: None,
            mark: mark.to_owned(),
            strength,
        }
    }

    /// Whether it keeps the thing alive, and does not only say where the thing belongs.
    pub(crate) fn is_holding(&self) -> bool {
        self.strength != Strength::Weak
    }

    /// The listed thing that it comes from, if it comes from one.
    pub(crate) fn thing(&self) -> Option<usize> {
        match self.from {
            Origin::Thing(at) => Some(at),
            _ => None,
        }
    }
}

/// By thing: why it is alive.
pub(crate) type References = HashMap<usize, Vec<Reference>>;

/// Why these are alive, and what keeps them, and so on up: each is looked at once, however many it keeps.
pub(crate) fn of_all(snapshot: &LeakSnapshot, mut next: Vec<usize>) -> References {
    let mut references = References::new();
    while let Some(at) = next.pop() {
        if let Entry::Vacant(entry) = references.entry(at) {
            let references = entry.insert(of(snapshot, at));
            let holding = references.iter().filter(|reference| reference.is_holding());
            next.extend(holding.filter_map(Reference::thing));
        }
    }
    references
}

/// A referrer that is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    pub(crate) who: String,
    /// What else is to be said of it; may be empty.
    pub(crate) note: &'static str,
}

/// `thread main, or code that it was passed to`
impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.note.is_empty() { "" } else { ", " };
        write!(f, "{}{comma}{}", self.who, self.note)
    }
}

fn outside(who: impl Into<String>, note: &'static str) -> Origin {
    let who = who.into();
    Origin::Outside(Outside { who, note })
}

/// How sure it is that a reference keeps something alive. The one to look at comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
pub(crate) enum Strength {
    /// The one to look at: a handle was taken there, and may have been passed on.
    Suspect,
    /// Known to keep it.
    Strong,
    /// It belongs there, which by itself keeps nothing.
    Weak,
}

/// One step of a chain: the reference to what is below, and where it comes from if that is listed.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) reference: Reference,
    pub(crate) thing: Option<Box<Subject>>,
}

impl Link {
    pub(crate) fn of(snapshot: &LeakSnapshot, reference: &Reference) -> Self {
        let subject = |at| Box::new(Subject::of(snapshot, at));
        Self {
            thing: reference.thing().map(subject),
            reference: reference.clone(),
        }
    }
}

/// Every reason why this thing is alive.
fn of(snapshot: &LeakSnapshot, at: usize) -> Vec<Reference> {
    let thing = &snapshot.things[at];
    let mut references = match thing.class() {
        Class::Task => of_task(snapshot, at),
        Class::Context if thing.state() != State::Open => of_close(snapshot, at),
        _ => Vec::new(),
    };
    if thing.state() != State::Closing {
        references.extend(
            thing
                .holders
                .iter()
                .map(|holder| of_holder(snapshot, holder)),
        );
        references.extend(of_untracked(thing));
    }
    if references.is_empty() {
        references.push(of_place(thing));
    }
    if thing.class() == Class::Resource {
        references.extend(of_parent(snapshot, at));
    }
    // Nearly everything has one, and the first makes room for four.
    references.shrink_to_fit();
    references
}

fn of_task(snapshot: &LeakSnapshot, at: usize) -> Vec<Reference> {
    let reference = match snapshot.parent(at) {
        Some(context) if snapshot.things[context].state() == State::Open => Reference::new(
            Origin::Thing(context),
            Strength::Strong,
            "runs in it, and was not told to end",
            "runs in it",
            "runs",
        ),
        _ => Reference::new(
            Origin::Itself,
            Strength::Strong,
            "it has not ended",
            "",
            "itself",
        ),
    };
    vec![reference]
}

/// A close waits for tasks, children and hooks.
fn of_close(snapshot: &LeakSnapshot, at: usize) -> Vec<Reference> {
    let thing = &snapshot.things[at];
    if thing.state() == State::Closed {
        return Vec::new();
    }
    let waits = |other: &&usize| {
        let other = &snapshot.things[**other];
        other.class() != Class::Resource && other.state() != State::Closed
    };
    let members = snapshot.members(at).iter().filter(waits);
    let members = members.map(|other| {
        let (from, how) = (Origin::Thing(*other), "its close waits for it");
        Reference::new(from, Strength::Strong, how, "awaited", "awaited")
    });
    let hooks = thing.close.iter().flat_map(|close| &close.hooks);
    let hooks = hooks.map(|hook| {
        let (from, how) = (
            outside(format!("hook {hook}"), ""),
            "its close waits for the hook",
        );
        Reference::new(from, Strength::Strong, how, "awaited", "hook")
    });
    members.chain(hooks).collect()
}

fn of_holder(snapshot: &LeakSnapshot, holder: &Holder) -> Reference {
    let site = holder.site();
    let by = holder.entry.taken.by.literal_name().unwrap_or_default();
    let file = format!("{}:{} {by}", site.file, holder.location().column());
    let brief = format!("taken at {site}");
    if let Some(inside) = holder.container() {
        let from = snapshot
            .index_of(inside.who.id)
            .map_or_else(|| elsewhere(snapshot, inside), Origin::Thing);
        return Reference {
            from,
            how: format!("in {inside}, {}", holder.describe(true, false)),
            brief: match &inside.field {
                Some(field) => format!(".{}, {brief}", Printed(field)),
                None => brief,
            },
            taken: Some(site.clone()),
            // Without the field: it may be the key of an entry.
            mark: format!("in {file}"),
            strength: Strength::Strong,
        };
    }
    let (from, strength) = origin(snapshot, holder);
    // Who is outside took it: no need to say so twice.
    let is_known = matches!(from, Origin::Thing(_));
    Reference {
        from,
        how: holder.describe(is_known, false),
        brief,
        taken: Some(site.clone()),
        mark: format!("taken {file}"),
        strength,
    }
}

/// A declared container that is not listed here.
fn elsewhere(snapshot: &LeakSnapshot, inside: &Inside) -> Origin {
    let of_here = snapshot.things.first().map(|thing| thing.id().table);
    let is_gone = of_here == Some(inside.who.id.table);
    let why = if is_gone {
        "which is gone"
    } else {
        "which another registry lists"
    };
    outside(Printed(&inside.who.name).to_string(), why)
}

/// Handles can be passed on.
const PASSED_ON: &str = "or code that it was passed to";

/// The holder of a handle: the task that used it last, else the one that took it, if that has not
/// ended.
fn origin(snapshot: &LeakSnapshot, holder: &Holder) -> (Origin, Strength) {
    let used = holder.last_use();
    let users = used.iter().map(|used| (&used.by, used.how));
    for (acquirer, how) in users.chain([(&holder.entry.taken.by, How::InPassing)]) {
        let (who, strength) = match acquirer {
            Acquirer::Task(who) if how == How::Owned => (who, Strength::Strong),
            Acquirer::Task(who) | Acquirer::Hook(who) => (who, Strength::Suspect),
            Acquirer::Owner(who) => (who, Strength::Strong),
            _ => continue,
        };
        if let Some(at) = snapshot.index_of(who.id) {
            return (Origin::Thing(at), strength);
        }
    }
    let acquirer = &holder.entry.taken.by;
    let from = match acquirer {
        Acquirer::Task(_) => {
            let end = holder.end_of_task();
            outside(format!("{acquirer} ({end})"), PASSED_ON)
        }
        Acquirer::Unknown => outside("an unknown holder", ""),
        _ => outside(acquirer.to_string(), PASSED_ON),
    };
    (from, Strength::Suspect)
}

fn of_untracked(thing: &Thing) -> Option<Reference> {
    let untracked = thing.holders.untracked();
    let how = if thing.is_plain() {
        "a plain `Arc`, whose handles are not tracked"
    } else {
        "taken before tracking began"
    };
    let from = Origin::Unknown(format!("{untracked} untracked"));
    let (brief, mark) = ("untracked", "untracked");
    (untracked > 0).then(|| Reference::new(from, Strength::Suspect, how, brief, mark))
}

/// A registration has no handles: it lives in whatever its maker put it into.
fn of_place(thing: &Thing) -> Reference {
    let location = thing.resource.location();
    let (what, mark) = match (thing.class(), thing.state()) {
        (Class::Context, State::Closing) => ("its close is under way".to_owned(), "closing"),
        (Class::Context, _) => ("its last handle is going".to_owned(), "going"),
        _ => (
            format!("made at {}:{}", location.file(), location.line()),
            location.file(),
        ),
    };
    let from = outside("whatever it was put into", "");
    Reference::new(from, Strength::Suspect, what.clone(), what, mark)
}

fn of_parent(snapshot: &LeakSnapshot, at: usize) -> Option<Reference> {
    let from = Origin::Thing(snapshot.parent(at)?);
    let how = "belongs to it";
    Some(Reference::new(from, Strength::Weak, how, how, "belongs"))
}
