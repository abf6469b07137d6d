//! Tasks and hooks that wait for each other.
//!
//! A task can go on when any of the things it waits for can, and so can a hook; a close, or a registry that shall be idle,
//! only when all tasks and running hooks inside can. So those are taken out one by one whose end, or that of a thing they wait for, does not depend on
//! those that are left; what cannot be taken out is stuck for good, and somewhere in it is a circle.

use crate::{
    dump::{
        hook::{self, HookDump},
        view::{Activity, AwaitStack, StackFrame, TaskDump, Whereabouts},
    },
    id::ResourceId,
    name::Quoted,
    poll::awaited::Awaited,
    table::{
        record::{Record, State},
        resource::short_path,
        task_entry::TaskEntry,
    },
};
use std::{
    collections::{HashMap, HashSet},
    fmt, iter,
};

/// How many of a circle are printed.
const PRINTED: usize = 10;

/// Tasks and hooks that wait for each other, and for nothing else. Part of a [`Dump`](crate::dump::Dump).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Deadlock {
    waiters: Vec<Waiter>,
    others: usize,
}

/// One task or hook of a [`Deadlock`]: it waits for the next one, or for something that waits for the next one.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Waiter {
    id: ResourceId,
    kind: &'static str,
    path: String,
    /// The line that registered it, if it is a hook.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    registered: Option<String>,
    awaited: Awaited,
    at: Option<StackFrame>,
}

impl Deadlock {
    /// The circle: each waits for the next, the last one for the first, which is the oldest.
    pub fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// How many tasks and hooks more wait for those, and are stuck with them.
    pub fn others(&self) -> usize {
        self.others
    }
}

impl Waiter {
    /// The id of the task, or of the hook: [`HookDump::id`](crate::dump::HookDump::id).
    pub fn id(&self) -> ResourceId {
        self.id
    }

    /// `task`, or of a hook `on_closing` or `on_close`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The path of the task, or of the context that the hook is of, cut to the nearest names.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it waits for.
    pub fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// The line of its `.await`.
    pub fn at(&self) -> Option<&StackFrame> {
        self.at.as_ref()
    }
}

impl Waiter {
    fn is_hook(&self) -> bool {
        self.registered.is_some()
    }

    /// What it is called in a sentence.
    fn name(&self) -> String {
        if self.is_hook() {
            return hook::named(self.kind, &self.path);
        }
        Quoted(&self.path).to_string()
    }
}

/// What can be waited for: a task or a context by its id; `None` is the registry.
type Thing = Option<ResourceId>;

/// Finds the circles among tasks and hooks of one registry.
pub(crate) fn find(tasks: &[TaskDump], hooks: &[HookDump]) -> Vec<Deadlock> {
    let tasks = tasks.iter().filter_map(Waiting::task);
    let hooks = hooks.iter().filter_map(Waiting::hook);
    let stuck = stuck(tasks.chain(hooks).collect());
    let made = |circle: Circle| Deadlock {
        waiters: circle
            .members
            .iter()
            .map(|&at| stuck[at].waiter())
            .collect(),
        others: circle.others,
    };
    circles(&followers(&stuck)).into_iter().map(made).collect()
}

/// Who waits.
#[derive(Clone, Copy)]
enum Who<'a> {
    Task(&'a TaskDump),
    Hook(&'a HookDump),
}

/// A task or a hook that waits for nothing but known things.
struct Waiting<'a> {
    who: Who<'a>,
    /// The task itself, the contexts it is in, and the registry: what cannot end before it.
    within: Vec<Thing>,
    /// Any of these lets it go on.
    awaited: Vec<(Thing, &'a AwaitStack)>,
}

impl<'a> Waiting<'a> {
    fn task(task: &'a TaskDump) -> Option<Self> {
        let entry = task.resource.task()?;
        let up = iter::successors(Some(entry as &dyn Record), |record| record.parent());
        let waiting = Self::of(Who::Task(task), &task.found, task.id().table, up)?;
        (!is_about_to_end(task, entry)).then_some(waiting)
    }

    /// That its time limit will end it does not count, as the grace period of a task does not.
    fn hook(dump: &'a HookDump) -> Option<Self> {
        let hook = &dump.hook;
        Self::of(
            Who::Hook(dump),
            &dump.found,
            hook.registry(),
            hook.contexts(),
        )
    }

    fn of(
        who: Who<'a>,
        found: &'a Whereabouts,
        registry: u32,
        up: impl Iterator<Item = &'a dyn Record>,
    ) -> Option<Self> {
        let stacks = found.stacks.iter();
        let stacks = stacks.filter(|stack| !stack.is_for_cancellation());
        let awaited: Vec<_> = stacks
            .map(|stack| Some((thing(registry, stack)?, stack)))
            .collect::<Option<_>>()?;
        let is_parked = matches!(found.activity, Activity::Parked(_)) && found.cut == 0;
        (is_parked && !awaited.is_empty()).then(|| Self {
            who,
            within: up
                .map(|record| Some(record.meta().id))
                .chain([None])
                .collect(),
            awaited,
        })
    }

    /// Of several things it waited for the first ones may have come in the poll in which it was asked.
    fn latest(&self) -> (Thing, &'a AwaitStack) {
        *self.awaited.last().expect("it waits for something")
    }

    fn waiter(&self) -> Waiter {
        let (_, stack) = self.latest();
        let awaited = stack.awaited.clone();
        let (id, kind, record, registered) = match self.who {
            Who::Task(task) => (task.id(), "task", task.resource.record(), None),
            Who::Hook(hook) => {
                let (context, location) = (&*hook.hook.context, hook.location());
                let line = format!("{}:{}", location.file(), location.line());
                (hook.id(), hook.kind(), context, Some(line))
            }
        };
        Waiter {
            id,
            kind,
            path: short_path(record),
            registered,
            awaited: awaited.expect("it waits for something known"),
            at: stack.own_frames().next_back().cloned(),
        }
    }
}

/// What a stack waits for, if that is a thing that ends when others have ended.
fn thing(registry: u32, stack: &AwaitStack) -> Option<Thing> {
    match stack.awaited.as_ref().filter(|_| !stack.yields)? {
        Awaited::Task { id, .. }
        | Awaited::Close {
            id,
            has_begun: true,
            ..
        } => Some(Some(*id)),
        Awaited::Idle => (stack.registry == registry).then_some(None),
        Awaited::Close { .. } | Awaited::Cancellation => None,
    }
}

/// Whether somebody else is ending it, or can: its context, by force or because it is cancellable, whoever aborted it,
/// or whoever polls it.
fn is_about_to_end(task: &TaskDump, entry: &TaskEntry) -> bool {
    let is_open = |context: &dyn Record| context.state() == State::Open;
    entry.owner().is_some_and(Record::is_aborting)
        || task.is_cancellable && !entry.owner().is_some_and(is_open)
        || entry.is_in_other_hands()
}

/// Takes out who can go on, until nobody is left who can.
fn stuck(mut all: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    let mut inside: HashMap<Thing, usize> = HashMap::new();
    let mut waiters: HashMap<Thing, Vec<usize>> = HashMap::new();
    for (at, waiting) in all.iter().enumerate() {
        for thing in &waiting.within {
            *inside.entry(*thing).or_default() += 1;
        }
        for (thing, _) in &waiting.awaited {
            waiters.entry(*thing).or_default().push(at);
        }
    }
    let mut is_free = vec![false; all.len()];
    let has_end = |thing: &&Thing| !inside.contains_key(*thing);
    let mut ends: Vec<Thing> = waiters.keys().filter(has_end).copied().collect();
    while let Some(thing) = ends.pop() {
        for &at in waiters.get(&thing).into_iter().flatten() {
            if std::mem::replace(&mut is_free[at], true) {
                continue;
            }
            for thing in &all[at].within {
                let left = inside.entry(*thing).or_default();
                *left -= 1;
                if *left == 0 {
                    ends.push(*thing);
                }
            }
        }
    }
    let mut is_free = is_free.into_iter();
    all.retain(|_| is_free.next() == Some(false));
    all
}

/// For each the one that it waits for: the oldest that keeps the thing from ending.
fn followers(stuck: &[Waiting<'_>]) -> Vec<usize> {
    let mut oldest: HashMap<Thing, usize> = HashMap::new();
    for (at, waiting) in stuck.iter().enumerate() {
        for thing in &waiting.within {
            oldest.entry(*thing).or_insert(at);
        }
    }
    let follower = |(at, waiting): (usize, &Waiting<'_>)| {
        let (thing, _) = waiting.latest();
        if waiting.within.contains(&thing) {
            at
        } else {
            oldest[&thing]
        }
    };
    stuck.iter().enumerate().map(follower).collect()
}

/// Who waits for each other, and how many wait for them.
#[derive(Debug, PartialEq, Eq)]
struct Circle {
    members: Vec<usize>,
    others: usize,
}

/// The circles to which following leads.
fn circles(next: &[usize]) -> Vec<Circle> {
    let mut circles: Vec<Circle> = Vec::new();
    let mut leads_to: Vec<Option<usize>> = vec![None; next.len()];
    for start in 0..next.len() {
        let (mut path, mut seen, mut at) = (Vec::new(), HashSet::new(), start);
        while leads_to[at].is_none() && seen.insert(at) {
            path.push(at);
            at = next[at];
        }
        let circle = leads_to[at].unwrap_or(circles.len());
        for &at in &path {
            leads_to[at] = Some(circle);
        }
        if circle == circles.len() {
            circles.push(Circle {
                members: from_oldest(split_off_at(&mut path, at)),
                others: 0,
            });
        }
        circles[circle].others += path.len();
    }
    circles
}

/// The part of the path that begins with this one.
fn split_off_at(path: &mut Vec<usize>, first: usize) -> Vec<usize> {
    let at = path.iter().position(|&at| at == first);
    path.split_off(at.unwrap_or(path.len()))
}

fn from_oldest(mut members: Vec<usize>) -> Vec<usize> {
    let oldest = (0..members.len()).min_by_key(|&at| members[at]);
    members.rotate_left(oldest.unwrap_or(0));
    members
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = self
            .waiters
            .iter()
            .filter(|waiter| waiter.is_hook())
            .count();
        match (self.waiters.len() - hooks, hooks) {
            (1, 0) => f.write_str("deadlock: a task waits for itself")?,
            (0, 1) => f.write_str("deadlock: a hook waits for itself")?,
            (tasks, 0) => write!(f, "deadlock: {tasks} tasks wait for each other")?,
            (0, hooks) => write!(f, "deadlock: {hooks} hooks wait for each other")?,
            (tasks, hooks) => {
                let (some, more) = (plural(tasks), plural(hooks));
                write!(
                    f,
                    "deadlock: {tasks} task{some} and {hooks} hook{more} wait for each other"
                )?;
            }
        }
        let following = self.waiters.iter().cycle().skip(1);
        let steps = self.waiters.iter().zip(following);
        for (waiter, next) in steps.take(PRINTED) {
            write!(f, "\n    {waiter}")?;
            let what: &dyn fmt::Display = match &waiter.awaited {
                Awaited::Close { path, .. } => &Quoted(path),
                Awaited::Idle => &"the registry",
                _ => continue,
            };
            let path = Quoted(&next.path);
            match &next.registered {
                None => write!(f, "\n    {what} waits for its task {path}")?,
                Some(line) => write!(
                    f,
                    "\n    {what} waits for {}, registered at {line}",
                    next.name()
                )?,
            }
        }
        if self.waiters.len() > PRINTED {
            write!(f, "\n    … {} more", self.waiters.len() - PRINTED)?;
        }
        match self.others {
            0 => Ok(()),
            1 => f.write_str("\n    1 more waits for them"),
            n => write!(f, "\n    {n} more wait for them"),
        }
    }
}

/// `server/conn waits for the close of server at src/main.rs:12`
impl fmt::Display for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}", self.name(), self.awaited)?;
        match &self.at {
            Some(at) if at.line > 0 => write!(f, " at {}:{}", Quoted(&at.file), at.line),
            Some(at) => write!(f, " in {at}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn following_leads_to_circles() {
        let circle = |members: &[usize], others| Circle {
            members: members.to_vec(),
            others,
        };
        for (next, found) in [
            (vec![], vec![]),
            (vec![0], vec![circle(&[0], 0)]),
            (vec![1, 0], vec![circle(&[0, 1], 0)]),
            (vec![1, 2, 1, 0], vec![circle(&[1, 2], 2)]),
            (
                vec![3, 0, 2, 1],
                vec![circle(&[0, 3, 1], 0), circle(&[2], 0)],
            ),
            (vec![1, 1, 3, 3, 2], vec![circle(&[1], 1), circle(&[3], 2)]),
        ] {
            assert_eq!(circles(&next), found, "{next:?}");
        }
    }
}
