//! Deadlocks that are found before the grace period of a close is over.
//!
//! Tasks and hooks that wait for each other may be of any contexts, so a check is of the whole registry; but only those are
//! asked that have ever waited for something of a registry. One check is for all that wait for one.

use crate::{
    context::{current::node_of, line_counts::Event, state::Core},
    dump::{
        collect::{self, Answers, SHORT_LIMIT},
        deadlock::{Deadlock, Waiter},
        dump::Dump,
        view::TaskDump,
    },
    event,
    events::{self, What},
    id::ResourceId,
    registry::state::{DeadlockCheck, Deadlocks, KnownDeadlock, RegistryState},
    sync::lock,
    table::{record::Record, store::Table},
};
use futures::FutureExt;
use std::{
    collections::{HashMap, HashSet},
    panic::Location,
    sync::Arc,
    time::Duration,
};

/// Checks whether tasks and hooks of the registry wait for each other just now, warns of it once, and notes it for the reports
/// of their contexts.
pub(crate) async fn check(core: &Arc<Core>) -> Arc<[KnownDeadlock]> {
    match ask(core, SHORT_LIMIT).await {
        Some(check) => check.await,
        None => Arc::default(),
    }
}

/// Asks those that may be in a deadlock, for no longer than `limit`. What they have answered is looked up by the first one that
/// waits for it; without that nothing is found.
pub(crate) async fn ask(core: &Core, limit: Duration) -> Option<DeadlockCheck> {
    let (registry, table) = (&core.registry, &core.node.table);
    let scan = |_| async move {
        let answers = collect::ask_waiting(table, limit).await;
        let check = find(Arc::clone(registry), Arc::clone(table), answers);
        HashMap::from([((), Some(check.boxed().shared()))])
    };
    registry.deadlocks.scan.ask((), scan).await
}

async fn find(
    registry: Arc<RegistryState>,
    table: Arc<Table>,
    answers: Answers,
) -> Arc<[KnownDeadlock]> {
    let dump = answers.resolve().await;
    let found: Arc<[_]> = dump.deadlocks().iter().map(KnownDeadlock::of).collect();
    note(&dump, &found);
    for new in registry.deadlocks.report(&found, &table) {
        let (members, text) = (new.members.as_slice().into(), Arc::clone(&new.text));
        drop(
            table
                .events
                .send(events::Event::of_registry(What::Deadlock { members, text })),
        );
        // Alike are those whose texts say the same but for numbers; no line is the first of a circle.
        let line = Location::caller();
        if let Some(so_far) = registry.repeats.tell_text(Event::Deadlock, line, &new.text) {
            event::emit!(target: "headcount::deadlock", WARN, members = new.members.len(), "{}{so_far}", new.text);
        }
    }
    found
}

impl KnownDeadlock {
    fn of(deadlock: &Deadlock) -> Self {
        let mut members: Vec<_> = deadlock.waiters().iter().map(Waiter::id).collect();
        members.sort_unstable();
        let text = deadlock.to_string().into();
        Self { members, text }
    }
}

impl Deadlocks {
    /// Those of the found ones that were not reported before. Forgets reported ones whose members are gone.
    fn report<'a>(&self, found: &'a [KnownDeadlock], table: &Table) -> Vec<&'a KnownDeadlock> {
        let hooks = table.hooks.all().into_iter();
        let hooks: HashSet<_> = hooks.map(|hook| hook.id).collect();
        let is_there =
            |id: &ResourceId| hooks.contains(id) || table.table_ref().state_of(*id).is_some();
        let mut reported = lock(&self.reported);
        reported.retain(|members| members.iter().all(is_there));
        let is_new = |known: &&KnownDeadlock| reported.insert(known.members.clone());
        found.iter().filter(is_new).collect()
    }
}

/// Notes deadlocks with the closing contexts whose tasks and hooks are in them.
fn note(dump: &Dump, found: &[KnownDeadlock]) {
    let tasks = dump.tasks().iter();
    let tasks = tasks.filter_map(|task| Some((task.id(), context_of(task)?)));
    let hooks = dump.hooks().iter();
    let hooks = hooks.map(|hook| (hook.id(), &*hook.hook.context));
    let contexts: HashMap<_, _> = tasks.chain(hooks).collect();
    for known in found {
        let contexts = known.members.iter().filter_map(|id| contexts.get(id));
        for core in contexts.filter_map(|context| node_of(*context)?.core.upgrade()) {
            if core.node.begun.get().is_some() {
                lock(&core.log)
                    .notes()
                    .deadlock(&known.members, &known.text);
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

    /// It is reported once, and forgotten when its members are gone, as these are.
    #[test]
    fn what_was_reported_is_kept_only_as_long_as_its_members_are_there() {
        let (table, all) = (Table::new(), Deadlocks::default());
        let gone = ResourceId {
            table: table.number,
            index: 7,
            generation: 0,
        };
        let found = [KnownDeadlock {
            members: vec![gone],
            text: "deadlock".into(),
        }];
        assert_eq!(all.report(&found, &table).len(), 1);
        assert_eq!(lock(&all.reported).len(), 1);
        assert!(all.report(&[], &table).is_empty());
        assert!(lock(&all.reported).is_empty());
    }
}
