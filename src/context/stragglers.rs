//! What is still there when the grace period of a close is over, and how it is ended by force.

use crate::{
    clock::{self, Stamp},
    context::{
        alike::{self, Alike, NAMED},
        begin,
        look_up::in_time,
        state::{Core, Node, ROOT_ID},
        telling::{Coming, Forced, STILL, Whereabouts},
    },
    id::ResourceId,
    registry::state::Stragglers,
    sync::lock,
    table::{
        record::{Class, Record},
        resource::Resource,
        store::Table,
        task_entry::TaskHold as _,
    },
};
#[cfg(feature = "dump")]
use crate::{
    context::deadlocks,
    dump::collect::{self, Answers, SHORT_LIMIT},
    registry::state::DeadlockCheck,
};
#[cfg(feature = "dump")]
use futures::future::join;
use std::{collections::HashMap, iter, mem, sync::Arc, time::Duration};

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
            let resource = Resource::of_task(task, &table.tasks, now);
            stragglers.tasks.add(&resource);
            if stragglers.named.len() < NAMED {
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
    async fn look_up(self) -> Vec<Whereabouts> {
        let dump = self.tasks.resolve().await;
        if let Some(check) = self.deadlocks {
            check.await;
        }
        dump.into_tasks()
    }
}

/// Without the feature `dump` nothing is asked.
#[cfg(not(feature = "dump"))]
pub(crate) enum LastAnswers {}

#[cfg(not(feature = "dump"))]
impl LastAnswers {
    #[expect(clippy::unused_async, reason = "it waits with the feature `dump`")]
    async fn look_up(self) -> Vec<Whereabouts> {
        match self {}
    }
}

/// Tasks that were ended by force.
pub(crate) struct Aborted {
    core: Arc<Core>,
    is_first: bool,
    /// Why.
    said: &'static str,
    tasks: Alike,
    /// What to call them in the report, until it is known where they were.
    names: Vec<String>,
    /// How long the close has lasted.
    since: Duration,
}

/// Aborts what the close of this context itself waits for; its children do so themselves. `None` if these are no tasks.
pub(crate) async fn abort(core: &Arc<Core>) -> Option<Aborted> {
    let node = &core.node;
    let is_first = !node.gate.is_aborting();
    // From here on: the scan for stragglers aborts those that are there, and those that come late abort themselves. Blocking
    // closures that have started run on.
    node.gate.abort();
    if !core.has_tasks() {
        return None;
    }
    let Stragglers { tasks, named } = find(core).await;
    let begun = node.begun.get();
    let why_first = node.haste().why_abort(clock::now());
    Some(Aborted {
        core: Arc::clone(core),
        is_first,
        said: if is_first { why_first } else { STILL },
        tasks,
        // Named now: later they have ended.
        names: named.iter().map(alike::one).collect(),
        since: begun.map_or(Duration::ZERO, |begun| clock::now() - begun.1),
    })
}

impl Aborted {
    /// Looks up what they answered before, as long as there is time for it, and has it told.
    pub(crate) async fn tell(mut self, answers: Option<LastAnswers>, coming: Coming) {
        let node = &self.core.node;
        let stacks = match answers {
            Some(answers) => in_time(node, answers.look_up()).await,
            None => None,
        };
        if let Some(stacks) = &stacks {
            self.names = stacks.iter().map(ToString::to_string).collect();
        }
        let forced = Forced {
            said: self.said,
            since: self.since,
            contexts: 1,
            tasks: mem::take(&mut self.tasks),
            stacks: stacks.unwrap_or_default(),
            refusals: lock(&self.core.log).look(|notes| notes.refusals.clone()),
        };
        begin::telling(&self.core).add(forced);
        drop(coming);
    }
}

/// Also where the look-up was dropped with its runtime.
impl Drop for Aborted {
    fn drop(&mut self) {
        if self.is_first {
            lock(&self.core.log)
                .notes()
                .stuck(mem::take(&mut self.names));
        }
    }
}

/// The tasks outside of a context that still run, if there are any: a hook of it that did not end may wait for one of them.
pub(crate) async fn outside(core: &Core) -> Option<String> {
    let table = &core.node.table;
    let scan = |_| async move { HashMap::from([((), running(table).await)]) };
    let mut tasks = core.registry.running.ask((), scan).await;
    tasks.retain(|task| !is_of(task, &core.node));
    let is_more = tasks.len() > NAMED;
    tasks.truncate(NAMED);
    let named: Vec<_> = tasks.iter().map(alike::one).collect();
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
