//! What is still there when the grace period of a close is over, and how it is ended by force.

use crate::{
    clock::{self, Stamp},
    context::{
        escalation::wait_until,
        failure::{Failure, LISTED},
        haste::Haste,
        refusal::{Refusal, Refusals},
        state::{Core, Node, ROOT_ID},
        tally::Counts,
    },
    event,
    id::ResourceId,
    name::{Printed, Quoted},
    registry::state::Stragglers,
    sync::lock,
    table::{
        live::Live,
        record::{Class, Record},
        resource::{self, Resource},
        store::Table,
        task_entry::TaskHold as _,
    },
};
#[cfg(feature = "dump")]
use crate::{
    context::deadlocks,
    dump::collect::{self, Answers, SHORT_LIMIT},
    registry::state::{DeadlockCheck, KnownDeadlock},
};
#[cfg(feature = "dump")]
use futures::future::join;
use futures::future::{Either, select};
#[cfg(feature = "dump")]
use std::collections::HashSet;
use std::{collections::HashMap, fmt, iter, pin::pin, sync::Arc, time::Duration};

/// How many stragglers are named.
const NAMED: usize = 10;
/// Of how many running tasks those are named that are outside of a context.
const LOOKED_AT: usize = 64;

/// Aborts the tasks of a context that is aborting, and returns which they were; one scan of the table is for all contexts
/// that want one.
async fn find(core: &Core) -> Stragglers {
    let table = &core.node.table;
    let scan = |contexts| scan(table, contexts);
    core.registry.stragglers.ask(core.node.meta.id, scan).await
}

/// Scans the table in bounded steps, and aborts the tasks of these contexts, if they are aborting.
async fn scan(table: &Table, contexts: Vec<ResourceId>) -> HashMap<ResourceId, Stragglers> {
    let contexts = contexts.into_iter();
    let mut found: HashMap<_, _> = contexts.map(|id| (id, Stragglers::default())).collect();
    let now = Stamp::now();
    let visit = table.visit(|task| {
        if task.class() != Class::Task {
            return;
        }
        let context = task.parent().map_or(ROOT_ID, |parent| parent.meta().id);
        if let Some(stragglers) = found.get_mut(&context) {
            task.abort_if_told();
            stragglers.count += 1;
            if stragglers.named.len() < NAMED {
                let resource = Resource::of_task(task, &table.tasks, now);
                stragglers.named.push(resource);
            }
        }
    });
    visit.await;
    for stragglers in found.values_mut() {
        let order = |resource: &Resource| resource.record().meta().order();
        stragglers.named.sort_unstable_by_key(order);
    }
    found
}

/// What tasks answered before they are ended by force.
#[cfg(feature = "dump")]
pub(crate) struct LastAnswers {
    tasks: Answers,
    deadlocks: Option<DeadlockCheck>,
}

/// Asks the tasks that are still there where they are, and those of the registry that wait for each other, for no longer than
/// `limit`.
#[cfg(feature = "dump")]
pub(crate) async fn ask(core: &Arc<Core>, limit: Duration) -> Option<LastAnswers> {
    if !core.has_tasks() {
        return None;
    }
    let limit = limit.min(SHORT_LIMIT);
    // If the context is not aborting yet, this aborts nothing.
    let named = find(core).await.named;
    let tasks = collect::ask(&core.node.table, named, Vec::new(), limit);
    let (tasks, deadlocks) = join(tasks, deadlocks::ask(core, limit)).await;
    Some(LastAnswers { tasks, deadlocks })
}

#[cfg(feature = "dump")]
impl LastAnswers {
    /// Looks up where the tasks were, and notes which wait for each other.
    async fn look_up(self) -> Vec<String> {
        let dump = self.tasks.resolve().await;
        if let Some(check) = self.deadlocks {
            check.await;
        }
        dump.tasks().iter().map(ToString::to_string).collect()
    }
}

/// Without the feature `dump` nothing is asked.
#[cfg(not(feature = "dump"))]
pub(crate) enum LastAnswers {}

#[cfg(not(feature = "dump"))]
impl LastAnswers {
    #[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
    async fn look_up(self) -> Vec<String> {
        match self {}
    }
}

/// Aborts what the close of this context itself waits for, and warns of it; its children do so themselves. What it answered
/// before is looked up afterwards, as long as there is time for it.
pub(crate) async fn abort_and_warn(core: &Arc<Core>, answers: Option<LastAnswers>) {
    let node = &core.node;
    let is_first = !node.gate.is_aborting();
    // From here on: the scan for stragglers aborts those that are there, and those that come late abort themselves. Blocking
    // closures that have started run on.
    node.gate.abort();
    if !core.has_tasks() {
        return;
    }
    let Stragglers {
        count: tasks,
        named,
    } = find(core).await;
    // Said now: later they have ended.
    let named: Vec<_> = named.iter().collect();
    let names = named.iter().map(|task| Named::one(task)).collect();
    let named = Named {
        tasks: &named,
        count: tasks,
    };
    let named = named.to_string();
    let begun = node.begun.get();
    let since = begun.map_or(Duration::ZERO, |(_, at)| clock::now() - *at);
    let stacks = match answers {
        Some(answers) => in_time(node, answers.look_up()).await,
        None => None,
    };
    let shown = stacks.as_ref().map(|stacks| stacks.join("\n"));
    let mut log = lock(&core.log);
    if is_first {
        log.stuck(stacks.unwrap_or(names));
    }
    let refusals = log.refusals.clone();
    drop(log);
    let said = if is_first {
        lock(&node.haste).why_abort(clock::now())
    } else {
        "still closing"
    };
    event::emit!(
        WARN,
        context = %Printed(&node.meta.name),
        id = %node.meta.id,
        tasks,
        stacks = shown.as_ref().map(tracing::field::display),
        "{said} after {}: {named}{}",
        clock::human(since),
        Repeated(&refusals)
    );
}

/// The tasks outside of a context that still run, if there are any: a hook of it that did not end may wait for one of them.
pub(crate) async fn outside(core: &Core) -> Option<String> {
    let table = &core.node.table;
    let scan = |_| async move { HashMap::from([((), running(table).await)]) };
    let mut tasks = core.registry.running.ask((), scan).await;
    tasks.retain(|task| !is_of(task, &core.node));
    let is_more = tasks.len() > NAMED;
    tasks.truncate(NAMED);
    let named: Vec<_> = tasks.iter().map(Named::one).collect();
    let more = if is_more { ", …" } else { "" };
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

/// Some tasks of the registry, the oldest first.
async fn running(table: &Table) -> Vec<Resource> {
    let (now, mut tasks) = (Stamp::now(), Vec::new());
    let visit = table.visit(|task| {
        if task.class() == Class::Task && tasks.len() < LOOKED_AT {
            tasks.push(Resource::of_task(task, &table.tasks, now));
        }
    });
    visit.await;
    tasks.sort_unstable_by_key(|task: &Resource| task.record().meta().order());
    tasks
}

/// Whether a task is of this context, or of one below it.
fn is_of(task: &Resource, node: &Node) -> bool {
    let mut above = iter::successors(task.record().parent(), |record| record.parent());
    above.any(|record| record.meta().id == node.meta.id)
}

/// Runs something, but not beyond the moment when a deadline needs the time for what comes next.
async fn in_time<T>(node: &Node, run: impl Future<Output = T>) -> Option<T> {
    let time_is_up = wait_until(node, |haste: &Haste| haste.release_at());
    match select(pin!(run), pin!(time_is_up)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// The code that keeps spawning on a context that closes.
struct Repeated<'a>(&'a Refusals);

impl fmt::Display for Repeated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in self.0.repeated() {
            write!(f, "; {refusal}")?;
        }
        Ok(())
    }
}

/// `path (kind state for age, spawned at file:line), …`
struct Named<'a> {
    tasks: &'a [&'a Resource],
    /// How many there are in all.
    count: usize,
}

impl Named<'_> {
    fn one(task: &Resource) -> String {
        let path = resource::short_path(task.record());
        format!("{} ({})", Quoted(&path), Straggler(task))
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.tasks.len().min(NAMED);
        for (n, task) in self.tasks[..named].iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&Self::one(task))?;
        }
        match self.count.saturating_sub(named) {
            0 => Ok(()),
            more => write!(f, ", … {more} more"),
        }
    }
}

/// What one would want to know of a task that does not end.
struct Straggler<'a>(&'a Resource);

impl fmt::Display for Straggler<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (task, location) = (self.0, self.0.location());
        write!(f, "{} {}", Printed(task.kind()), task.state())?;
        write!(f, " for {}", clock::human(task.age()))?;
        write!(f, ", spawned at {}:{}", location.file(), location.line())?;
        if task.is_unabortable() {
            f.write_str(", cannot be aborted")?;
        }
        Ok(())
    }
}

/// The answer of `close_within` when the limit came first: what is still in the way.
///
/// The close itself goes on; [`close`](crate::Context::close) or [`closed`](crate::Context::closed)
/// joins it.
#[derive(Clone)]
pub struct StillClosing {
    name: String,
    limit: Duration,
    remaining: Live,
    hooks: Vec<String>,
    refusals: Refusals,
    failures: Vec<Failure>,
    counts: Counts,
    /// Where the tasks are, and which of them wait for each other; only with the feature `dump`.
    stuck: Vec<Arc<str>>,
    deadlocks: Vec<Arc<str>>,
}

/// Where tasks are, each on lines of its own.
pub(crate) struct Stuck<'a>(pub(crate) &'a [Arc<str>]);

impl fmt::Display for Stuck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for text in self.0 {
            write!(f, "\n{text}")?;
        }
        Ok(())
    }
}

impl StillClosing {
    /// What the close of this context is waiting for.
    pub(crate) async fn of(core: &Arc<Core>, limit: Duration) -> Self {
        let node = &core.node;
        let live = node.table.live().await;
        let live = if node.is_root() {
            live
        } else {
            live.under(node.meta.id)
        };
        let name = node.meta.name.to_string();
        let remaining = live.unfinished();
        let Subtree {
            hooks,
            refusals,
            failures,
            counts,
        } = Subtree::of(core);
        Self {
            name,
            limit,
            stuck: stuck(node, &remaining).await,
            deadlocks: deadlocked(core, &remaining).await,
            remaining,
            hooks,
            refusals,
            failures,
            counts,
        }
    }

    /// What has gone wrong so far in tasks, hooks and destructors, in the context and below it. At most 32; the counters have
    /// them all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::{future::pending, time::Duration};
    /// let ctx = headcount::Registry::new().context("ctx");
    /// ctx.spawn(pending::<()>());
    /// let _ = ctx.task("parser").spawn(async { panic!("bad input") }).await;
    /// let still = ctx.close_within(Duration::from_millis(10)).await.unwrap_err();
    /// assert_eq!((still.panicked(), still.failures()[0].what()), (1, "parser"));
    /// # }
    /// ```
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Tasks whose future has returned, in the context and below it, over its whole life.
    pub fn finished(&self) -> u64 {
        self.counts.finished
    }

    /// Cancellable tasks that were dropped because the token was cancelled.
    pub fn cancelled(&self) -> u64 {
        self.counts.cancelled
    }

    /// Tasks that were dropped before they returned.
    pub fn aborted(&self) -> u64 {
        self.counts.aborted
    }

    /// Tasks that panicked.
    pub fn panicked(&self) -> u64 {
        self.counts.panicked
    }

    /// Spawns and wraps that came too late, and were dropped.
    pub fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// Which lines kept spawning on the closing context and those below it, and were refused: at most 32.
    pub fn refusals(&self) -> &[Refusal] {
        self.refusals.as_slice()
    }

    /// The tasks and contexts that the close was waiting for when the limit came.
    pub fn remaining(&self) -> &Live {
        &self.remaining
    }

    /// Where the first tasks and hooks in the way were stuck, each with its chain of `.await`s.
    #[cfg(feature = "dump")]
    pub fn stuck(&self) -> Vec<String> {
        self.stuck.iter().map(ToString::to_string).collect()
    }

    /// Tasks and hooks that wait for each other, in this context or below it: see
    /// [`Dump::deadlocks`](crate::dump::Dump::deadlocks).
    #[cfg(feature = "dump")]
    pub fn deadlocks(&self) -> Vec<String> {
        self.deadlocks.iter().map(ToString::to_string).collect()
    }

    /// The hooks that were running when the limit came: path of the context, function, and line.
    pub fn hooks(&self) -> &[String] {
        &self.hooks
    }
}

/// Asks the oldest few of these tasks where they are, and of the hooks.
#[cfg(feature = "dump")]
async fn stuck(node: &Arc<Node>, remaining: &Live) -> Vec<Arc<str>> {
    let tasks = remaining.tasks().into_iter().take(NAMED).collect();
    let mut hooks = node.running_hooks();
    hooks.truncate(NAMED);
    let dump = collect::in_the_way(&node.table, tasks, hooks).await;
    let tasks = dump.tasks().iter().map(ToString::to_string);
    let hooks = dump.hooks().iter().map(ToString::to_string);
    tasks.chain(hooks).map(Arc::from).collect()
}

#[cfg(not(feature = "dump"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
async fn stuck(_node: &Arc<Node>, _remaining: &Live) -> Vec<Arc<str>> {
    Vec::new()
}

/// Those of these tasks, and of the hooks, that wait for each other.
#[cfg(feature = "dump")]
async fn deadlocked(core: &Arc<Core>, remaining: &Live) -> Vec<Arc<str>> {
    let found = deadlocks::check(core).await;
    if found.is_empty() {
        return Vec::new();
    }
    let hooks = core.node.running_hooks().into_iter().map(|hook| hook.id);
    let remaining: HashSet<_> = remaining.iter().map(Resource::id).chain(hooks).collect();
    let is_here = |known: &KnownDeadlock| known.members.iter().any(|id| remaining.contains(id));
    let here = found.iter().filter(|known| is_here(known)).take(NAMED);
    here.map(|known| Arc::clone(&known.text)).collect()
}

#[cfg(not(feature = "dump"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
async fn deadlocked(_core: &Arc<Core>, _remaining: &Live) -> Vec<Arc<str>> {
    Vec::new()
}

/// What has happened in a context and in those below it.
#[derive(Default)]
struct Subtree {
    /// The hooks that are running.
    hooks: Vec<String>,
    refusals: Refusals,
    failures: Vec<Failure>,
    counts: Counts,
}

impl Subtree {
    fn of(core: &Arc<Core>) -> Self {
        let mut all = Self::default();
        let mut stack = vec![Arc::clone(core)];
        while let Some(core) = stack.pop() {
            all.add(&core);
            stack.extend(core.children());
        }
        all
    }

    fn add(&mut self, core: &Core) {
        let log = lock(&core.log);
        let room = LISTED - self.failures.len();
        self.failures
            .extend(log.failures().iter().take(room).cloned());
        self.refusals.child(&log.refusals);
        self.counts = self.counts.and(log.counts(core.node.counts()));
        drop(log);
        let running = lock(&core.hooks.running).clone();
        let path = resource::short_path(&*core.node);
        let hooks = running.into_iter();
        self.hooks
            .extend(hooks.map(|origin| format!("{path}: {origin}")));
    }
}

impl fmt::Display for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.remaining.tasks();
        let tasks: Vec<_> = tasks.iter().collect();
        write!(
            f,
            "{} is still closing after {}",
            Printed(&self.name),
            clock::human(self.limit)
        )?;
        if tasks.is_empty() && self.hooks.is_empty() {
            return f.write_str(": nothing is left but owned values that are being dropped");
        }
        if !tasks.is_empty() {
            let plural = if tasks.len() == 1 { "" } else { "s" };
            write!(
                f,
                ", waiting for {} task{plural}: {}",
                tasks.len(),
                Named {
                    tasks: &tasks,
                    count: tasks.len()
                }
            )?;
        }
        for hook in self.hooks.iter().take(NAMED) {
            write!(f, ", waiting for a hook: {}", Quoted(hook))?;
        }
        let refusals = Repeated(&self.refusals);
        write!(
            f,
            "{refusals}{}{}",
            Stuck(&self.deadlocks),
            Stuck(&self.stuck)
        )
    }
}

impl fmt::Debug for StillClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StillClosing")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("remaining", &self.remaining)
            .field("hooks", &self.hooks)
            .field("refusals", &self.refusals)
            .field("failures", &self.failures)
            .field("counts", &self.counts)
            .field("stuck", &self.stuck.len())
            .field("deadlocks", &self.deadlocks)
            .finish()
    }
}

impl std::error::Error for StillClosing {}
