//! Finds tasks and hooks that wait for each other.
//!
//! A task or a hook can go on as soon as *any* of the things that it waits for ends. A close ends only when *all* tasks
//! and running hooks inside the context have ended; so does a wait for a registry to be idle. The search removes, one
//! by one, every task and hook that waits for something that can end without those that are left. What cannot be removed
//! is stuck for ever, and contains at least one circle.

use crate::{
    dump::view::{Activity, AwaitStack, HookDump, StackFrame, TaskDump, Whereabouts, named},
    id::ResourceId,
    ledger::lock_log::LockHolder,
    name::Quoted,
    plural::plural,
    poll::awaited::{Awaited, LockKind},
    table::{
        record::{Record, State},
        resource::short_path,
        task_entry::TaskEntry,
    },
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt, iter,
};

/// How many waiters of a circle are printed.
const PRINTED: usize = 10;

/// A circle of tasks and hooks that wait for each other, and for nothing else. Part of a [`Dump`](crate::dump::Dump).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let (api, db) = (registry.context("api"), registry.context("db"));
/// let (other_api, other_db) = (api.clone(), db.clone());
/// api.task("stop").spawn(async move { other_db.close().await });
/// db.task("drain").spawn(async move { other_api.close().await });
/// tokio::task::yield_now().await;
///
/// let dump = registry.dump().await;
/// let deadlock = &dump.deadlocks()[0];
/// let circle: Vec<_> = deadlock.waiters().iter().map(|waiter| waiter.path()).collect();
/// assert_eq!((circle, deadlock.others()), (vec!["api/stop", "db/drain"], 0));
/// # }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Deadlock {
    waiters: Vec<Waiter>,
    others: usize,
}

/// One task or hook of a [`Deadlock`], which waits for the next one, or for something that waits for the next one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, dump::Awaited};
/// let registry = Registry::new();
/// let ctx = registry.context("app");
/// let own = registry.clone();
/// ctx.task("exit").spawn(async move { own.idle().await }); // it is never idle while this runs
/// tokio::task::yield_now().await;
///
/// let dump = registry.dump().await;
/// let waiter = &dump.deadlocks()[0].waiters()[0];
/// assert_eq!((waiter.kind(), waiter.path()), ("task", "app/exit"));
/// assert_eq!(waiter.awaited(), &Awaited::Idle);
/// # ctx.close_now().await;
/// # }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Waiter {
    id: ResourceId,
    kind: &'static str,
    path: String,
    /// The line that registered the hook; `None` for a task.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    registered: Option<String>,
    awaited: Awaited,
    at: Option<StackFrame>,
}

impl Deadlock {
    /// The circle: each waits for the next one, and the last one for the first. It begins with the oldest.
    pub fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// How many other tasks and hooks wait for the circle, and are stuck with it.
    pub fn others(&self) -> usize {
        self.others
    }
}

impl Waiter {
    /// The id of the task, or of the hook: [`HookDump::id`](crate::dump::HookDump::id).
    pub fn id(&self) -> ResourceId {
        self.id
    }

    /// `task`, `on_closing` or `on_close`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The path of the task, or of the hook's context, cut to the last few names.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it waits for.
    pub fn awaited(&self) -> &Awaited {
        &self.awaited
    }

    /// The line of its `.await`, if it is known.
    pub fn at(&self) -> Option<&StackFrame> {
        self.at.as_ref()
    }
}

impl Waiter {
    fn is_hook(&self) -> bool {
        self.registered.is_some()
    }

    /// The task or hook as a sentence names it.
    fn name(&self) -> String {
        if self.is_hook() {
            return named(self.kind, &self.path);
        }
        Quoted(&self.path).to_string()
    }
}

/// Something that can be waited for: a task, a context or a tracked mutex by its id, or the registry, which is `None`. A place of a
/// limit is waited for as any of the tasks that have one.
type Thing = Option<ResourceId>;

/// Finds the deadlocks among tasks and hooks of one registry.
pub(crate) fn find(tasks: &[TaskDump], hooks: &[HookDump]) -> Vec<Deadlock> {
    let found = tasks.iter().map(|task| &task.found);
    let found = found.chain(hooks.iter().map(|hook| &hook.found));
    let locked = Locked::of(found.flat_map(|found| &found.stacks));
    let tasks = tasks.iter().filter_map(|task| Waiting::task(task, &locked));
    let hooks = hooks.iter().filter_map(|hook| Waiting::hook(hook, &locked));
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

/// Who has locked the mutexes that are waited for, and who has the places of limits.
struct Locked {
    /// The tasks that have all places of a limit; `None` if that is not known of all.
    holders_of_limit: HashMap<ResourceId, Option<Vec<ResourceId>>>,
    /// The task that has a mutex.
    holder_of_mutex: HashMap<ResourceId, Option<ResourceId>>,
    /// The mutexes that a task has.
    mutexes_of_task: HashMap<ResourceId, Vec<Thing>>,
}

impl Locked {
    /// A mutex of which two answers do not say the same has changed hands meanwhile: those that wait for it go on.
    fn of<'a>(stacks: impl Iterator<Item = &'a AwaitStack> + Clone) -> Self {
        let holders_of_limit = agreed(
            stacks
                .clone()
                .filter_map(|stack| limit(stack.awaited.as_ref()?)),
        );
        let holder_of_mutex = agreed(stacks.filter_map(|stack| mutex(stack.awaited.as_ref()?)));
        let mut mutexes_of_task: HashMap<_, Vec<_>> = HashMap::new();
        for (mutex, task) in &holder_of_mutex {
            if let Some(task) = task {
                mutexes_of_task.entry(*task).or_default().push(Some(*mutex));
            }
        }
        Self {
            holders_of_limit,
            holder_of_mutex,
            mutexes_of_task,
        }
    }

    /// The mutexes that a task has.
    fn by(&self, task: ResourceId) -> impl Iterator<Item = Thing> {
        self.mutexes_of_task
            .get(&task)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Whether a task is known that has to go on before this mutex is free.
    fn is_locked(&self, mutex: &ResourceId) -> bool {
        self.holder_of_mutex.get(mutex).is_some_and(Option::is_some)
    }

    /// The tasks of which one has to go on before there is a place in this limit, if they are known.
    fn holders(&self, limit: &ResourceId) -> Option<Vec<Thing>> {
        let holders = self.holders_of_limit.get(limit)?.as_ref()?;
        Some(holders.iter().copied().map(Some).collect())
    }
}

/// What all answers say, for each lock. `None` where they do not say the same: it has changed hands meanwhile.
fn agreed<T: PartialEq>(
    answers: impl Iterator<Item = (ResourceId, Option<T>)>,
) -> HashMap<ResourceId, Option<T>> {
    let mut agreed = HashMap::new();
    for (id, answer) in answers {
        match agreed.entry(id) {
            Entry::Vacant(vacant) => drop(vacant.insert(answer)),
            Entry::Occupied(mut known) if *known.get() != answer => drop(known.insert(None)),
            Entry::Occupied(_) => {}
        }
    }
    agreed
}

/// The id of the limit that is awaited, and the tasks that have its places. A task may have several of them.
fn limit(awaited: &Awaited) -> Option<(ResourceId, Option<Vec<ResourceId>>)> {
    match awaited {
        Awaited::Lock {
            id,
            kind: LockKind::Limit,
            held_by,
            more,
            ..
        } => {
            let tasks: Option<Vec<_>> = held_by.iter().map(LockHolder::task).collect();
            // Without any it has no places, and waits for more.
            Some((*id, tasks.filter(|tasks| *more == 0 && !tasks.is_empty())))
        }
        _ => None,
    }
}

/// The id of the mutex that is awaited, and the task that has it. Other locks may let in more than one.
fn mutex(awaited: &Awaited) -> Option<(ResourceId, Option<ResourceId>)> {
    match awaited {
        Awaited::Lock {
            id,
            kind: LockKind::Mutex,
            held_by,
            ..
        } => Some((*id, held_by.first().and_then(LockHolder::task))),
        _ => None,
    }
}

/// A task or a hook with what the dump knows about it.
#[derive(Clone, Copy)]
enum Dumped<'a> {
    Task(&'a TaskDump),
    Hook(&'a HookDump),
}

/// A task or a hook, all of whose waits are for known things.
struct Waiting<'a> {
    dumped: Dumped<'a>,
    /// What cannot end before it: the task itself, the contexts it is in, and the registry.
    within: Vec<Thing>,
    /// What it waits for: the end of any of these lets it go on.
    awaited: Vec<(Thing, &'a AwaitStack)>,
}

impl<'a> Waiting<'a> {
    fn task(task: &'a TaskDump, locked: &Locked) -> Option<Self> {
        let entry = task.resource.task()?;
        let up = iter::successors(Some(entry as &dyn Record), |record| record.parent());
        let registry = (task.id().table, locked);
        let mut waiting = Self::of(Dumped::Task(task), &task.found, registry, up)?;
        waiting.within.extend(locked.by(task.id()));
        (!is_about_to_end(task, entry)).then_some(waiting)
    }

    /// A hook counts as stuck although its time limit will end it, as a task does although the grace period will.
    fn hook(dump: &'a HookDump, locked: &Locked) -> Option<Self> {
        let hook = &dump.hook;
        let registry = (hook.registry(), locked);
        Self::of(Dumped::Hook(dump), &dump.found, registry, hook.contexts())
    }

    fn of(
        dumped: Dumped<'a>,
        found: &'a Whereabouts,
        registry: (u32, &Locked),
        up: impl Iterator<Item = &'a dyn Record>,
    ) -> Option<Self> {
        let stacks = found.stacks.iter();
        let stacks = stacks.filter(|stack| !stack.is_for_cancellation());
        let mut awaited = Vec::new();
        for stack in stacks {
            awaited.extend(
                things(registry, stack)?
                    .into_iter()
                    .map(|thing| (thing, stack)),
            );
        }
        let is_parked = matches!(found.activity, Activity::Parked(_)) && found.cut == 0;
        (is_parked && !awaited.is_empty()).then(|| Self {
            dumped,
            within: up
                .map(|record| Some(record.meta().id))
                .chain([None])
                .collect(),
            awaited,
        })
    }

    /// The wait that was captured last. An earlier one of the same poll may be over: it may have been ready in that poll.
    fn latest(&self) -> (Thing, &'a AwaitStack) {
        *self.awaited.last().expect("it waits for something")
    }

    fn waiter(&self) -> Waiter {
        let (_, stack) = self.latest();
        let awaited = stack.awaited.clone();
        let (id, kind, record, registered) = match self.dumped {
            Dumped::Task(task) => (task.id(), "task", task.resource.record(), None),
            Dumped::Hook(hook) => {
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

/// What a stack waits for, if those are things that end when tasks and hooks have ended, or have given them back. The first that ends
/// lets it go on.
fn things((registry, locked): (u32, &Locked), stack: &AwaitStack) -> Option<Vec<Thing>> {
    let thing = match stack.awaited.as_ref().filter(|_| !stack.yields)? {
        Awaited::Lock {
            id,
            kind: LockKind::Limit,
            ..
        } => return locked.holders(id),
        Awaited::Task { id, .. }
        | Awaited::Close {
            id,
            has_begun: true,
            ..
        } => Some(Some(*id)),
        Awaited::Idle => (stack.registry == registry).then_some(None),
        Awaited::Lock { id, .. } => locked.is_locked(id).then_some(Some(*id)),
        Awaited::Close { .. }
        | Awaited::Cancellation
        | Awaited::Socket
        | Awaited::BackOff { .. } => None,
    };
    thing.map(|thing| vec![thing])
}

/// Whether something outside of the task ends it, or can: its context, by an abort or because it is cancellable; an
/// abort of its handle; or, for a wrapped future, the owner that polls it.
fn is_about_to_end(task: &TaskDump, entry: &TaskEntry) -> bool {
    let is_open = |context: &dyn Record| context.state() == State::Open;
    entry.owner().is_some_and(Record::is_aborting)
        || task.is_cancellable && !entry.owner().is_some_and(is_open)
        || entry.is_in_other_hands()
}

/// Removes the tasks and hooks that can go on, and returns those that are stuck.
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

/// For each task or hook the one that it waits for: the oldest of those that keep the awaited thing from ending.
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

/// Those that wait for each other, by number, and how many others wait for them.
#[derive(Debug, PartialEq, Eq)]
struct Circle {
    members: Vec<usize>,
    others: usize,
}

/// The circles in a list that gives for each number the next one. Every number leads into exactly one circle.
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

/// Splits off the part of the path that begins with `first`.
fn split_off_at(path: &mut Vec<usize>, first: usize) -> Vec<usize> {
    let at = path.iter().position(|&at| at == first);
    path.split_off(at.unwrap_or(path.len()))
}

/// Turns the circle so that it begins with the oldest.
fn from_oldest(mut members: Vec<usize>) -> Vec<usize> {
    let oldest = (0..members.len()).min_by_key(|&at| members[at]);
    members.rotate_left(oldest.unwrap_or(0));
    members
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
                let (tasks, hooks) = (plural(tasks, "task"), plural(hooks, "hook"));
                write!(f, "deadlock: {tasks} and {hooks} wait for each other")?;
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

    /// What has changed hands between two answers keeps nothing waiting for ever.
    #[test]
    fn answers_that_do_not_agree_say_nothing() {
        let [one, two, three] = [1, 2, 3].map(|index| ResourceId {
            index,
            ..ResourceId::REFUSED
        });
        let answers = [
            (one, Some(7)),
            (two, Some(7)),
            (one, Some(8)),
            (two, Some(7)),
            (three, None),
        ];
        let agreed = agreed(answers.into_iter());
        assert_eq!(
            agreed,
            HashMap::from([(one, None), (two, Some(7)), (three, None)])
        );
    }

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
