//! Deadlocks that are found before the patience of a close is at its end.
//!
//! Tasks that wait for each other may be of any contexts, so a look is at the whole registry; but only those tasks are
//! asked that have ever waited for something of a registry. One look is for all who wait for one, as in [`roundup`](super::roundup).

use crate::{
    context::{core::Core, current::node_of},
    dump::{collect, deadlock::Waiter, view::Dump},
    id::ResourceId,
    sync::{AtomicU64, Ordering::SeqCst, lock},
};
use std::{collections::HashSet, sync::Arc};
use tokio::sync;

/// In a registry's own core.
#[derive(Default)]
pub(crate) struct Deadlocks {
    /// How many looks were begun.
    begun: AtomicU64,
    /// Who has it looks. The deadlocks that were told of and are still there, by the tasks in them.
    told: sync::Mutex<HashSet<Vec<ResourceId>>>,
}

/// Looks whether tasks of the registry wait for each other, says so once, and notes it for the reports of their
/// contexts.
pub(crate) async fn look(core: &Arc<Core>) {
    let root = core.root();
    let (looks, table) = (&root.deadlocks, &root.node.table);
    let before = looks.begun.load(SeqCst);
    let mut told = looks.told.lock().await;
    if looks.begun.load(SeqCst) > before {
        // One that began after we came has ended.
        return;
    }
    looks.begun.fetch_add(1, SeqCst);
    let dump = collect::waiting(table).await;
    let mut found = HashSet::new();
    for deadlock in dump.deadlocks() {
        let mut members: Vec<_> = deadlock.waiters().iter().map(Waiter::id).collect();
        let text: Arc<str> = deadlock.to_string().into();
        note(&dump, &members, &text);
        members.sort_unstable();
        if !told.contains(&members) {
            tracing::warn!("{text}");
        }
        found.insert(members);
    }
    *told = found;
}

/// Notes a deadlock with the contexts whose tasks are in it.
fn note(dump: &Dump, members: &[ResourceId], text: &Arc<str>) {
    let tasks = dump.tasks().iter();
    for task in tasks.filter(|task| members.contains(&task.id())) {
        let context = task.resource().card().and_then(|card| card.owner());
        let core = context
            .and_then(node_of)
            .and_then(|node| node.core.upgrade());
        if let Some(core) = core {
            lock(&core.log).deadlock(text);
        }
    }
}

/// The deadlocks that were found in a subtree.
pub(crate) fn found(core: &Arc<Core>) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut stack = vec![Arc::clone(core)];
    while let Some(core) = stack.pop() {
        for text in &lock(&core.log).deadlocks {
            if !found.contains(text) {
                found.push(Arc::clone(text));
            }
        }
        stack.extend(core.children());
    }
    found
}
