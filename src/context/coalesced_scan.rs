//! Looking for the tasks of contexts whose grace period is over: one scan of the table for all that wait for one.
//!
//! A service with ten thousand connections closes them at the same moment, and the grace periods of those that hang end at the
//! same moment. A scan for each would be quadratic. So all of them queue as waiters; whose turn it is scans on behalf of all
//! that wait just then, and those find their answer when their turn comes.

use crate::{
    clock::Stamp,
    context::{
        core::{Node, ROOT_ID},
        turns::Turns,
    },
    id::ResourceId,
    sync::{Mutex, lock},
    table::{
        record::{Class, Record},
        resource::Resource,
        task_entry::TaskHold as _,
    },
};
use std::collections::{BTreeMap, HashMap};

/// How many stragglers are named.
pub(crate) const NAMED: usize = 10;

/// The tasks of one context that are still there.
#[derive(Clone, Default)]
pub(crate) struct Stragglers {
    pub(crate) count: usize,
    /// The oldest of the first few that were found.
    pub(crate) named: Vec<Resource>,
}

/// In a registry's own core.
#[derive(Default)]
pub(crate) struct CoalescedScan {
    turns: Turns,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    drawn: u64,
    waiting: BTreeMap<u64, ResourceId>,
    answered: BTreeMap<u64, Stragglers>,
}

/// A place in the queue. Given back when dropped, answered or not.
struct Waiter<'a> {
    stragglers_scan: &'a CoalescedScan,
    number: u64,
}

impl CoalescedScan {
    /// Aborts the tasks of a context that is aborting, and returns which they were.
    pub(crate) async fn of(&self, node: &Node) -> Stragglers {
        let waiter = self.draw(node.meta.id);
        let _turn = self.turns.next().await;
        if let Some(answer) = waiter.answer() {
            return answer;
        }
        let waiting = lock(&self.waiters).waiting.clone();
        let found = look(
            node,
            waiting.values().map(|id| (*id, Stragglers::default())),
        )
        .await;
        let mut waiters = lock(&self.waiters);
        for (number, id) in waiting {
            // A waiter that was dropped does not want its answer any more.
            if let (Some(_), Some(answer)) = (waiters.waiting.remove(&number), found.get(&id)) {
                waiters.answered.insert(number, answer.clone());
            }
        }
        waiters.answered.remove(&waiter.number).unwrap_or_default()
    }

    fn draw(&self, id: ResourceId) -> Waiter<'_> {
        let mut waiters = lock(&self.waiters);
        let number = waiters.drawn;
        waiters.drawn += 1;
        waiters.waiting.insert(number, id);
        Waiter {
            stragglers_scan: self,
            number,
        }
    }
}

impl Waiter<'_> {
    fn answer(&self) -> Option<Stragglers> {
        lock(&self.stragglers_scan.waiters)
            .answered
            .remove(&self.number)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = lock(&self.stragglers_scan.waiters);
        waiters.waiting.remove(&self.number);
        let unread = waiters.answered.remove(&self.number);
        drop(waiters);
        drop(unread);
    }
}

/// Looks through the table in bounded steps, and aborts the tasks of these contexts.
async fn look(
    node: &Node,
    contexts: impl Iterator<Item = (ResourceId, Stragglers)>,
) -> HashMap<ResourceId, Stragglers> {
    let mut found: HashMap<_, _> = contexts.collect();
    let now = Stamp::now();
    let tasks = &node.table.tasks;
    let visit = node.table.visit(|look| {
        let task = &look;
        if task.class() != Class::Task {
            return;
        }
        let context = task.parent().map_or(ROOT_ID, |parent| parent.meta().id);
        if let Some(stragglers) = found.get_mut(&context) {
            task.abort_if_told();
            stragglers.count += 1;
            if stragglers.named.len() < NAMED {
                stragglers.named.push(Resource::of_task(look, tasks, now));
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

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::context::tree;
    use futures::FutureExt;

    /// Somebody who waits for a turn and gives up leaves nothing behind.
    #[test]
    fn a_ticket_that_is_given_up_is_forgotten() {
        let (root, stragglers_scan) = (tree::root(), CoalescedScan::default());
        let node = &root.node;
        let turn = stragglers_scan.turns.next().now_or_never().unwrap();
        {
            let mut waiting = std::pin::pin!(stragglers_scan.of(node));
            assert!(
                (&mut waiting).now_or_never().is_none(),
                "it is another's turn"
            );
            assert_eq!(lock(&stragglers_scan.waiters).waiting.len(), 1);
        }
        drop(turn);
        assert!(
            stragglers_scan
                .of(node)
                .now_or_never()
                .is_some_and(|found| found.count == 0)
        );
        let waiters = lock(&stragglers_scan.waiters);
        assert!(waiters.waiting.is_empty() && waiters.answered.is_empty());
    }
}
