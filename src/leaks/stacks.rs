//! Where the tasks are that a report is about.

use crate::{
    dump::collect,
    leaks::{find::Found, finding::Finding, judge::LeakKind},
    table::store::Table,
};
use std::sync::Arc;

/// How many tasks are asked for a report.
const ASKED: usize = 10;

/// Asks tasks that run on when they should not where they are.
pub(crate) async fn with_stacks(table: &Arc<Table>, mut found: Found) -> Found {
    let running = |finding: &&mut Finding| finding.kind() == LeakKind::StillRunning;
    let stuck: Vec<_> = found
        .findings
        .iter_mut()
        .filter(running)
        .take(ASKED)
        .collect();
    let tasks: Vec<_> = stuck
        .iter()
        .filter_map(|finding| finding.resource().cloned())
        .collect();
    let stacks = collect::stacks(table, &tasks).await;
    for (finding, stack) in stuck.into_iter().zip(stacks) {
        finding.add_stack(&stack);
    }
    found
}
