//! Deadlocks that are found before the grace period of a close is over.
//!
//! Tasks and hooks that wait for each other may be of any contexts, so a look is at the whole registry; but only those are
//! asked that have ever waited for something of a registry. One look is for all who wait for one, as in
//! [`coalesced_scan`](super::coalesced_scan).

use crate::{
    context::{core::Core, current::node_of, turns::Turns},
    dump::{
        collect,
        deadlock::{Deadlock, Waiter},
        view::{Dump, TaskDump},
    },
    event,
    id::ResourceId,
    sync::{AtomicU64, Mutex, Ordering::SeqCst, lock},
    table::{record::Record, store::Table},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// In a registry's own core.
#[derive(Default)]
pub(crate) struct Deadlocks {
    /// How many came to look.
    came: AtomicU64,
    turns: Turns,
    looked: Mutex<Looked>,
}

/// What the last look found.
#[derive(Default)]
struct Looked {
    /// Who came before it began: it was for those as well.
    covers: u64,
    found: Vec<Known>,
    /// The members of those that were told of, as long as they are there.
    told: HashSet<Vec<ResourceId>>,
}

/// A deadlock that was found.
#[derive(Clone)]
pub(crate) struct Known {
    /// Its tasks and hooks, sorted.
    pub(crate) members: Vec<ResourceId>,
    pub(crate) text: Arc<str>,
}

impl Known {
    fn of(deadlock: &Deadlock) -> Self {
        let mut members: Vec<_> = deadlock.waiters().iter().map(Waiter::id).collect();
        members.sort_unstable();
        let text = deadlock.to_string().into();
        Self { members, text }
    }
}

/// Looks whether tasks and hooks of the registry wait for each other just now, says so once, and notes it for the reports of
/// their contexts.
pub(crate) async fn look(core: &Arc<Core>) -> Vec<Known> {
    let (all, table) = (&core.root().deadlocks, &core.root().node.table);
    let waiter = all.came.fetch_add(1, SeqCst) + 1;
    let _turn = all.turns.next().await;
    if lock(&all.looked).covers < waiter {
        let covers = all.came.load(SeqCst);
        let dump = collect::waiting(table).await;
        let found: Vec<_> = dump.deadlocks().iter().map(Known::of).collect();
        note(&dump, &found);
        // Not before: a look that is dropped is for nobody.
        let new = lock(&all.looked).end(covers, &found, table);
        for known in new {
            event::emit!(WARN, members = known.members.len(), "{}", known.text);
        }
        return found;
    }
    lock(&all.looked).found.clone()
}

impl Looked {
    /// A look has found these; those of whom nobody was told come back.
    fn end(&mut self, covers: u64, found: &[Known], table: &Table) -> Vec<Known> {
        self.covers = self.covers.max(covers);
        self.found = found.to_vec();
        self.forget(table);
        let is_new = |known: &&Known| self.told.insert(known.members.clone());
        found.iter().filter(is_new).cloned().collect()
    }

    /// Forgets what was told of those that are gone.
    fn forget(&mut self, table: &Table) {
        let hooks = table.hooks.all().into_iter();
        let hooks: HashSet<_> = hooks.map(|hook| hook.id).collect();
        let is_there =
            |id: &ResourceId| hooks.contains(id) || table.table_ref().state_of(*id).is_some();
        self.told.retain(|members| members.iter().all(is_there));
    }
}

/// Notes deadlocks with the closing contexts whose tasks and hooks are in them.
fn note(dump: &Dump, found: &[Known]) {
    let tasks = dump.tasks().iter();
    let tasks = tasks.filter_map(|task| Some((task.id(), context_of(task)?)));
    let hooks = dump.hooks().iter();
    let hooks = hooks.map(|hook| (hook.id(), &*hook.hook.context));
    let contexts: HashMap<_, _> = tasks.chain(hooks).collect();
    for known in found {
        let contexts = known.members.iter().filter_map(|id| contexts.get(id));
        for core in contexts.filter_map(|context| node_of(*context)?.core.upgrade()) {
            if core.begun.get().is_some() {
                lock(&core.log).deadlock(&known.members, &known.text);
            }
        }
    }
}

fn context_of(task: &TaskDump) -> Option<&dyn Record> {
    task.resource().task()?.owner()
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    /// It is told once, and forgotten when those it was told of are gone, as these are.
    #[test]
    fn what_was_told_is_kept_only_as_long_as_its_members_are_there() {
        let (table, mut looked) = (Table::new(), Looked::default());
        let gone = ResourceId {
            table: table.number,
            index: 7,
            generation: 0,
        };
        let known = Known {
            members: vec![gone],
            text: "deadlock".into(),
        };
        let found = [known];
        assert_eq!(looked.end(1, &found, &table).len(), 1);
        assert_eq!(looked.told.len(), 1);
        assert!(looked.end(2, &[], &table).is_empty());
        assert!(looked.told.is_empty() && looked.found.is_empty());
        // A look that began earlier and ends later covers nobody less.
        looked.end(1, &[], &table);
        assert_eq!(looked.covers, 2);
    }
}
