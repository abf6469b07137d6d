//! Where those are that a report is about: tasks that run on when they should not, tasks that hold things, and hooks that
//! a close waits for.

use crate::{
    dump::{
        collect,
        dump::Dump,
        view::{HookDump, TaskDump},
    },
    id::ResourceId,
    leaks::{find::LeakScan, finding::Finding, judge::LeakKind},
    name::Printed,
    table::{resource::Resource, store::Table},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many tasks are asked for a report, and how many hooks.
const ASKED: usize = 32;
/// How many tasks that hold one thing are named, and how many deadlocks.
const NAMED: usize = 3;

/// Asks where they are tasks that run on, or hold what leaks, and hooks of closes that do not end; and whether some wait
/// for each other.
pub(crate) async fn with_stacks(table: &Arc<Table>, mut found: LeakScan) -> LeakScan {
    let asked: BTreeSet<_> = found.findings.iter().flat_map(asked).collect();
    let tasks = asked.into_iter().take(ASKED);
    let tasks: Vec<Resource> = tasks.filter_map(|id| table.find_task(id)).collect();
    let leaks: BTreeSet<_> = found.findings.iter().filter_map(leaking).collect();
    let mut hooks = table.hooks.all();
    hooks.retain(|hook| leaks.contains(&hook.context.meta().id));
    hooks.truncate(ASKED);
    let dump = collect::in_the_way(table, tasks, hooks).await;
    let answers = Answers::of(&dump);
    for finding in &mut found.findings {
        let facts = facts(finding, &answers);
        finding.facts.extend(facts);
    }
    if !found.findings.is_empty() {
        let waiting = collect::waiting(table).await;
        let deadlocks = waiting.deadlocks().iter().take(NAMED);
        found.notes.extend(deadlocks.map(ToString::to_string));
    }
    found
}

/// The task that should have ended.
fn subject(finding: &Finding) -> Option<ResourceId> {
    let is_running = finding.kind() == LeakKind::StillRunning;
    finding.resource().filter(|_| is_running).map(Resource::id)
}

/// The tasks that hold it, the oldest handle first.
fn holding(finding: &Finding) -> Vec<ResourceId> {
    let mut tasks: Vec<_> = finding
        .holders()
        .into_iter()
        .flatten()
        .filter(|holder| holder.task_state().is_some())
        .filter_map(crate::Holder::task)
        .collect();
    tasks.dedup();
    tasks.truncate(NAMED);
    tasks
}

fn asked(finding: &Finding) -> impl Iterator<Item = ResourceId> + use<> {
    subject(finding).into_iter().chain(holding(finding))
}

/// What leaks.
fn leaking(finding: &Finding) -> Option<ResourceId> {
    finding.resource().map(Resource::id)
}

struct Answers<'a> {
    tasks: BTreeMap<ResourceId, &'a TaskDump>,
    hooks: &'a [HookDump],
}

impl<'a> Answers<'a> {
    fn of(dump: &'a Dump) -> Self {
        Self {
            tasks: dump.tasks().iter().map(|task| (task.id(), task)).collect(),
            hooks: dump.hooks(),
        }
    }
}

fn facts(finding: &Finding, answers: &Answers<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(task) = subject(finding).and_then(|id| answers.tasks.get(&id)) {
        facts.extend(lines(task).map(|line| ("stuck at", line)));
    }
    let holders = holding(finding);
    for task in holders.iter().filter_map(|id| answers.tasks.get(id)) {
        let at: Vec<_> = lines(task).collect();
        let name = Printed(task.resource().name());
        facts.push(("holder at", format!("task {name}: {}", at.join(" "))));
    }
    let hooks = answers.hooks.iter();
    for hook in hooks.filter(|hook| leaking(finding) == Some(hook.hook.context.meta().id)) {
        let (location, at) = (hook.location(), lines(hook).collect::<Vec<_>>());
        let line = format!("{}:{}", location.file(), location.line());
        facts.push(("hook at", format!("hook of {line}: {}", at.join(" "))));
    }
    facts
}

/// What is printed of the stacks of a task or a hook.
fn lines<D: ToString>(dump: &D) -> impl Iterator<Item = String> + use<D> {
    let text = dump.to_string();
    let lines: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.trim().to_owned())
        .collect();
    lines.into_iter()
}
