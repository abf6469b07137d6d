//! Everything a registry lists, with what is known of who keeps it: the facts that findings are made of.

use crate::{
    clock::{self, Stamp},
    context::{
        current::node_of,
        state::{Core, Node},
    },
    holders::Holders,
    id::ResourceId,
    leaks::counts::UnseenCounts,
    name::{Printed, Quoted},
    poll::scope::{self, Owner},
    registry::state::Dropped,
    table::{
        live::Live,
        record::{Class, Record, State},
        resource::{Resource, short_path},
    },
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    panic::Location,
    sync::Arc,
    time::Duration,
};

/// What was there at one moment.
pub(crate) struct LeakSnapshot {
    /// In the order of creation.
    pub(crate) things: Vec<Thing>,
    places: HashMap<ResourceId, usize>,
    /// What belongs to each context.
    members: HashMap<usize, Vec<usize>>,
    /// Where each thing, and all that lies below it, begins and ends in an order in which what lies below follows.
    spans: Vec<(usize, usize)>,
    /// The task that asks, and the contexts it is in: they are alive because they ask.
    asking: HashSet<ResourceId>,
    pub(crate) dropped: Dropped,
    /// What is not listed, if a policy limits it.
    pub(crate) unseen: UnseenCounts,
    /// How far the close of the registry itself is.
    pub(crate) root_close: Option<Closing>,
    pub(crate) now: Stamp,
}

/// One thing that is listed, and who has its handles.
pub(crate) struct Thing {
    pub(crate) resource: Resource,
    pub(crate) holders: Holders,
    /// Of a context: how far its close is.
    pub(crate) close: Option<Closing>,
    /// The context that owned it had closed before its handles were counted.
    pub(crate) is_left: bool,
}

/// How far a close is.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    pub(crate) reason: String,
    /// The line that asked for it.
    pub(crate) location: Option<&'static Location<'static>>,
    /// Since it began, or since it ended.
    pub(crate) since: Duration,
    /// How long its tasks have after they were cancelled.
    pub(crate) grace: Duration,
    /// How long each hook may run.
    pub(crate) hook: Duration,
    /// The hooks that are running.
    pub(crate) hooks: Vec<String>,
}

impl LeakSnapshot {
    /// May be made on another thread than the one that asks, which is the one to call [`asking`] on.
    pub(crate) fn of(root: &Arc<Core>, live: Live, asking: HashSet<ResourceId>) -> Self {
        let table = root.node.table.table_ref();
        let mut things: Vec<_> = live
            .into_iter()
            .map(|found| Thing::of(found, table))
            .collect();
        // What has gone since it was listed has no culprit any more: its context may be gone as well.
        things.retain(|thing| {
            let is_there = || table.state_of(thing.id()).is_some();
            !thing.is_going() && (thing.is_plain() || is_there())
        });
        let places: HashMap<_, _> = things.iter().map(Thing::id).zip(0..).collect();
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, thing) in things.iter().enumerate() {
            let parent = thing.resource.parent();
            if let Some(&parent) = parent.and_then(|id| places.get(&id)) {
                members.entry(parent).or_default().push(at);
            }
        }
        Self {
            spans: spans(&things, &places, &members),
            things,
            places,
            members,
            asking,
            dropped: root.registry.dropped.snapshot(),
            unseen: UnseenCounts::new(),
            root_close: Closing::of(&root.node),
            now: Stamp::now(),
        }
    }

    pub(crate) fn index_of(&self, id: ResourceId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    pub(crate) fn is_asking(&self, thing: usize) -> bool {
        self.asking.contains(&self.things[thing].id())
    }

    pub(crate) fn has_asking(&self) -> bool {
        !self.asking.is_empty()
    }

    /// What belongs to a context, in the order of creation.
    pub(crate) fn members(&self, context: usize) -> &[usize] {
        self.members.get(&context).map_or(&[], Vec::as_slice)
    }

    /// The context that a thing belongs to.
    pub(crate) fn parent(&self, thing: usize) -> Option<usize> {
        self.index_of(self.things[thing].resource.parent()?)
    }

    /// Whether a thing lies below a context, or is it.
    pub(crate) fn is_below(&self, thing: usize, context: usize) -> bool {
        let (begin, end) = self.spans[context];
        (begin..end).contains(&self.spans[thing].0)
    }
}

/// Without recursion: trees may be deep (I13).
fn spans(
    things: &[Thing],
    places: &HashMap<ResourceId, usize>,
    members: &HashMap<usize, Vec<usize>>,
) -> Vec<(usize, usize)> {
    let is_root = |at: &usize| {
        let parent = things[*at].resource.parent();
        !parent.is_some_and(|parent| places.contains_key(&parent))
    };
    let mut spans = vec![(0, 0); things.len()];
    let mut seen = 0;
    for root in (0..things.len()).filter(is_root) {
        let mut stack = vec![(root, 0)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 {
                spans[at].0 = seen;
                seen += 1;
            }
            match members.get(&at).and_then(|members| members.get(next)) {
                Some(&member) => stack.extend([(at, next + 1), (member, 0)]),
                None => spans[at].1 = seen,
            }
        }
    }
    spans
}

/// The task that is running here, and the contexts it is in.
pub(crate) fn asking() -> HashSet<ResourceId> {
    let mut asking = HashSet::new();
    scope::find(|owner| {
        let mut next: Option<&dyn Record> = match owner {
            Owner::Registry(_) => None,
            Owner::Hook { context, .. } => Some(context),
            Owner::Task(task) => Some(task),
        };
        while let Some(record) = next {
            if !asking.insert(record.meta().id) {
                break;
            }
            next = record.parent();
        }
        None::<()>
    });
    asking
}

impl Thing {
    fn of(resource: Resource, table: &crate::table::store::TableRef) -> Self {
        let record = resource.record();
        let owner = record.parent().filter(|_| record.is_owned());
        let is_left = owner.is_some_and(|owner| owner.state() == State::Closed);
        Self {
            is_left,
            holders: Holders::of(record, table),
            close: node_of(record).and_then(Closing::of),
            resource,
        }
    }

    pub(crate) fn id(&self) -> ResourceId {
        self.resource.id()
    }

    pub(crate) fn class(&self) -> Class {
        self.resource.class()
    }

    pub(crate) fn state(&self) -> State {
        self.resource.state()
    }

    pub(crate) fn is_context(&self) -> bool {
        self.class() == Class::Context
    }

    pub(crate) fn is_task(&self) -> bool {
        self.class() == Class::Task
    }

    /// `closed 3.2s ago (requested: close)`, `open for 2s`, `running for 12s`
    fn describe_state(&self) -> String {
        let age = clock::human(self.resource.age());
        match (self.state(), &self.close) {
            (State::Closed, Some(close)) => {
                let since = clock::human(close.since);
                format!("closed {since} ago ({})", close.reason)
            }
            (State::Closing, Some(close)) => {
                let since = clock::human(close.since);
                format!("closing for {since} ({})", close.reason)
            }
            (State::Live, _) => format!("alive for {age}"),
            (state, _) => format!("{state} for {age}"),
        }
    }

    /// Whether its last handle is gone and its destructor is running.
    fn is_going(&self) -> bool {
        self.class() == Class::Resource && self.resource.record().strong_count() == Some(0)
    }

    /// Whether a plain `Arc` stands behind it, whose handles are not recorded.
    pub(crate) fn is_plain(&self) -> bool {
        let record = self.resource.record();
        record.strong_count().is_some() && record.ledger().is_none()
    }
}

impl Closing {
    pub(crate) fn of(node: &Node) -> Option<Self> {
        let core = node.core.upgrade()?;
        // The close of a context that others need is asked for before it begins.
        let begun = node.begun.get().filter(|_| node.state() != State::Open);
        let (reason, begun) = &**begun?;
        let since = clock::now().saturating_duration_since(*begun);
        let took = node
            .report
            .get()
            .map(crate::context::report::CloseReport::duration);
        Some(Self {
            reason: reason.to_string(),
            location: core.closed_at.get().copied(),
            since: since.saturating_sub(took.unwrap_or_default()),
            grace: core.limits.grace,
            hook: core.limits.hook,
            hooks: core
                .hooks
                .running()
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }
}

/// What a finding is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The name, if it is a literal of the program: the same from run to run.
    pub(crate) literal: Option<&'static str>,
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) state: String,
    pub(crate) location: Option<&'static Location<'static>>,
    /// What the location is of: `opened`, `spawned`, `made`.
    pub(crate) made: &'static str,
    pub(crate) resource: Option<Resource>,
}

impl Subject {
    /// Several things at once, or one that is not listed any more.
    pub(crate) fn unlisted(kind: &str, state: String) -> Self {
        Self {
            name: String::new(),
            literal: None,
            kind: kind.to_owned(),
            path: String::new(),
            state,
            location: None,
            made: "made",
            resource: None,
        }
    }

    pub(crate) fn of(snapshot: &LeakSnapshot, at: usize) -> Self {
        let thing = &snapshot.things[at];
        let resource = &thing.resource;
        Self {
            name: resource.name().to_owned(),
            literal: resource.record().meta().name.literal(),
            kind: resource.kind().to_owned(),
            path: short_path(resource.record()),
            state: thing.describe_state(),
            location: Some(resource.location()),
            made: match thing.class() {
                Class::Context => "opened",
                Class::Task => "spawned",
                Class::Resource => "made",
            },
            resource: Some(resource.clone()),
        }
    }

    pub(crate) fn is_task(&self) -> bool {
        let class = self.resource.as_ref().map(Resource::class);
        class == Some(Class::Task)
    }

    /// `src/net/conn.rs:41`
    pub(crate) fn site(&self) -> String {
        let site = |location: &Location<'_>| format!("{}:{}", location.file(), location.line());
        self.location.map(site).unwrap_or_default()
    }
}

/// `context server/conn-7`
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Quoted(&self.path);
        if self.path.is_empty() {
            return write!(f, "{}", Printed(&self.kind));
        }
        write!(f, "{} {path}", Printed(&self.kind))
    }
}
