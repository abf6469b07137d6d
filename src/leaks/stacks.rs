//! Where the tasks are that a report is about: those that run on when they should not, and those that hold things.

use crate::{
    dump::{collect, view::TaskDump},
    id::ResourceId,
    leaks::{find::Found, finding::Finding, judge::LeakKind},
    name::Printed,
    table::{resource::Resource, store::Table},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many tasks are asked for a report.
const ASKED: usize = 32;
/// How many tasks are told of that hold one thing, and how many deadlocks.
const TOLD: usize = 3;

/// Asks tasks that run on, or hold what leaks, where they are; and whether tasks wait for each other.
pub(crate) async fn with_stacks(table: &Arc<Table>, mut found: Found) -> Found {
    let asked: BTreeSet<_> = found.findings.iter().flat_map(asked).collect();
    let tasks = asked.into_iter().take(ASKED);
    let tasks: Vec<Resource> = tasks.filter_map(|id| table.find_card(id)).collect();
    let dump = collect::in_the_way(table, tasks, Vec::new()).await;
    let answers: BTreeMap<_, _> = dump.tasks().iter().map(|task| (task.id(), task)).collect();
    for finding in &mut found.findings {
        let facts = facts(finding, &answers);
        finding.facts.extend(facts);
    }
    if !found.findings.is_empty() {
        let waiting = collect::waiting(table).await;
        let deadlocks = waiting.deadlocks().iter().take(TOLD);
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
    tasks.truncate(TOLD);
    tasks
}

fn asked(finding: &Finding) -> impl Iterator<Item = ResourceId> + use<> {
    subject(finding).into_iter().chain(holding(finding))
}

type Answers<'a> = BTreeMap<ResourceId, &'a TaskDump>;

fn facts(finding: &Finding, answers: &Answers<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(task) = subject(finding).and_then(|id| answers.get(&id)) {
        facts.extend(lines(task).map(|line| ("stuck at", line)));
    }
    let holders = holding(finding);
    for task in holders.iter().filter_map(|id| answers.get(id)) {
        let at: Vec<_> = lines(task).collect();
        let name = Printed(task.resource().name());
        facts.push(("holder at", format!("task {name}: {}", at.join(" "))));
    }
    facts
}

/// What is printed of a task's stacks.
fn lines(task: &TaskDump) -> impl Iterator<Item = String> + use<> {
    let text = task.to_string();
    let lines: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.trim().to_owned())
        .collect();
    lines.into_iter()
}
