//! Where those are that a report is about: tasks that run on when they should not, tasks that hold things, and hooks that
//! a close waits for.

use crate::{
    dump::{
        collect::{self, SHORT_LIMIT},
        view::{Activity, HookDump, TaskDump},
    },
    id::ResourceId,
    leaks::{advice, finding::Finding, judge::LeakKind},
    name::Printed,
    offload::beside_the_runtime,
    table::{record::Class, resource::Resource, store::Table},
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
/// for each other. Returns the deadlocks, as notes.
pub(crate) async fn add(table: &Arc<Table>, findings: Vec<Finding>) -> (Vec<Finding>, Vec<String>) {
    let many = findings.len();
    let (mut findings, asked, leaks) = beside_the_runtime(many, move || {
        let asked: BTreeSet<_> = findings.iter().flat_map(asked).collect();
        let leaks: BTreeSet<_> = findings.iter().filter_map(leaking).collect();
        (findings, asked, leaks)
    })
    .await;
    let tasks = asked.into_iter().take(ASKED);
    let tasks: Vec<Resource> = tasks.filter_map(|id| table.find_task(id)).collect();
    let mut hooks = table.hooks.all();
    hooks.retain(|hook| leaks.contains(&hook.context.meta().id));
    hooks.truncate(ASKED);
    let dump = collect::in_the_way(table, tasks, hooks).await;
    findings = beside_the_runtime(many, move || {
        let tasks = dump.tasks().iter().map(|task| (task.id(), task));
        let tasks: BTreeMap<_, _> = tasks.collect();
        for finding in &mut findings {
            let facts = facts(finding, &tasks, dump.hooks());
            finding.facts.extend(facts);
            let task = subject(finding).and_then(|id| tasks.get(&id));
            if let Some(Activity::Polling(_)) = task.map(|task| task.activity()) {
                finding.advice = advice::never_waits(&finding.subject);
            }
        }
        drop(tasks);
        findings
    })
    .await;
    if findings.is_empty() {
        return (findings, Vec::new());
    }
    let waiting = collect::ask_waiting(table, SHORT_LIMIT).await;
    let waiting = waiting.resolve().await;
    let deadlocks = waiting.deadlocks().iter().take(NAMED);
    let deadlocks = deadlocks.map(ToString::to_string).collect();
    (findings, deadlocks)
}

/// The task that should have ended, or that is too old, or still there.
fn subject(finding: &Finding) -> Option<ResourceId> {
    let kinds = [
        LeakKind::StillRunning,
        LeakKind::StillThere,
        LeakKind::TooOld,
    ];
    let resource = finding
        .resource()
        .filter(|_| kinds.contains(&finding.kind()));
    resource
        .filter(|it| it.class() == Class::Task)
        .map(Resource::id)
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

fn facts(
    finding: &Finding,
    tasks: &BTreeMap<ResourceId, &TaskDump>,
    hooks: &[HookDump],
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(task) = subject(finding).and_then(|id| tasks.get(&id)) {
        // One of an open context may well wait.
        let label = match finding.kind() {
            LeakKind::StillRunning => "stuck at",
            _ => "waits at",
        };
        facts.extend(lines(task).into_iter().map(|line| (label, line)));
    }
    let holders = holding(finding);
    for task in holders.iter().filter_map(|id| tasks.get(id)) {
        let (name, at) = (Printed(task.resource().name()), lines(task).join(" "));
        facts.push(("holder at", format!("task {name}: {at}")));
    }
    let is_of_it = |hook: &&HookDump| leaking(finding) == Some(hook.hook.context.meta().id);
    for hook in hooks.iter().filter(is_of_it) {
        let (location, at) = (hook.location(), lines(hook).join(" "));
        let (file, line) = (location.file(), location.line());
        facts.push(("hook at", format!("hook of {file}:{line}: {at}")));
    }
    facts
}

/// What is printed of the stacks of a task or a hook.
fn lines(dump: &impl ToString) -> Vec<String> {
    let text = dump.to_string();
    let lines = text.lines().skip(1);
    lines.map(|line| line.trim().to_owned()).collect()
}
