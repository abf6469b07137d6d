//! Looking for the tasks of contexts that have lost their patience: one look through the table for all
//! that wait for one.
//!
//! A service with ten thousand connections closes them at the same moment, and those that hang run out
//! of patience at the same moment. A look each would be quadratic. So whoever comes draws a ticket and
//! waits for a turn; who gets one looks on behalf of all tickets there are, and they find their answer
//! when their turn comes.

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
pub(crate) struct Roundup {
    turns: Turns,
    tickets: Mutex<Tickets>,
}

#[derive(Default)]
struct Tickets {
    drawn: u64,
    waiting: BTreeMap<u64, ResourceId>,
    answered: BTreeMap<u64, Stragglers>,
}

/// A place in the queue. Given back when dropped, answered or not.
struct Ticket<'a> {
    roundup: &'a Roundup,
    number: u64,
}

impl Roundup {
    /// Aborts the tasks of a context that has condemned them, and says which they were.
    pub(crate) async fn of(&self, node: &Node) -> Stragglers {
        let ticket = self.draw(node.meta.id);
        let _turn = self.turns.next().await;
        if let Some(answer) = ticket.answer() {
            return answer;
        }
        let waiting = lock(&self.tickets).waiting.clone();
        let found = look(
            node,
            waiting.values().map(|id| (*id, Stragglers::default())),
        )
        .await;
        let mut tickets = lock(&self.tickets);
        for (number, id) in waiting {
            // Whose ticket was given back does not want to know any more.
            if let (Some(_), Some(answer)) = (tickets.waiting.remove(&number), found.get(&id)) {
                tickets.answered.insert(number, answer.clone());
            }
        }
        tickets.answered.remove(&ticket.number).unwrap_or_default()
    }

    fn draw(&self, id: ResourceId) -> Ticket<'_> {
        let mut tickets = lock(&self.tickets);
        let number = tickets.drawn;
        tickets.drawn += 1;
        tickets.waiting.insert(number, id);
        Ticket {
            roundup: self,
            number,
        }
    }
}

impl Ticket<'_> {
    fn answer(&self) -> Option<Stragglers> {
        lock(&self.roundup.tickets).answered.remove(&self.number)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut tickets = lock(&self.roundup.tickets);
        tickets.waiting.remove(&self.number);
        let unread = tickets.answered.remove(&self.number);
        drop(tickets);
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
    let cards = &node.table.cards;
    let visit = node.table.visit(|look| {
        let card = look.tenant();
        if card.class() != Class::Task {
            return;
        }
        let context = card.parent().map_or(ROOT_ID, |parent| parent.meta().id);
        if let Some(stragglers) = found.get_mut(&context) {
            card.abort_condemned(|| look.later());
            stragglers.count += 1;
            if stragglers.named.len() < NAMED {
                stragglers.named.push(Resource::of_look(look, cards, now));
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
        let (root, roundup) = (tree::root(), Roundup::default());
        let node = &root.node;
        let turn = roundup.turns.next().now_or_never().unwrap();
        {
            let mut waiting = std::pin::pin!(roundup.of(node));
            assert!(
                (&mut waiting).now_or_never().is_none(),
                "it is another's turn"
            );
            assert_eq!(lock(&roundup.tickets).waiting.len(), 1);
        }
        drop(turn);
        assert!(
            roundup
                .of(node)
                .now_or_never()
                .is_some_and(|found| found.count == 0)
        );
        let tickets = lock(&roundup.tickets);
        assert!(tickets.waiting.is_empty() && tickets.answered.is_empty());
    }
}
