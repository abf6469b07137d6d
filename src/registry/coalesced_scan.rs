//! [`CoalescedScan`]: something expensive that many want at the same moment, done once for all of them.
//!
//! A service with ten thousand connections closes them at the same moment, and the grace periods of those that hang end at the
//! same moment. A scan of the table for each would be quadratic. So all of them queue as waiters; the one whose turn it is scans
//! on behalf of all that wait just then, and those find their answer when their turn comes.

use crate::{
    clock,
    sync::{Mutex, lock},
};
use futures::future::{Either, select};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::sync;

/// How long a waiter waits for its turn before it begins a new queue.
const TURN_LIMIT: Duration = Duration::from_millis(250);

/// Answers questions `Q` with answers `A`, many at once.
pub(crate) struct CoalescedScan<Q, A> {
    queue: WaitQueue,
    waiters: Mutex<Waiters<Q, A>>,
}

struct Waiters<Q, A> {
    drawn: u64,
    waiting: BTreeMap<u64, Q>,
    answered: BTreeMap<u64, A>,
}

/// A number in the queue. Given back when dropped, answered or not.
struct Waiter<'a, Q, A> {
    scan: &'a CoalescedScan<Q, A>,
    number: u64,
}

impl<Q, A> Default for CoalescedScan<Q, A> {
    fn default() -> Self {
        Self {
            queue: WaitQueue::default(),
            waiters: Mutex::new(Waiters {
                drawn: 0,
                waiting: BTreeMap::new(),
                answered: BTreeMap::new(),
            }),
        }
    }
}

impl<Q: Clone + Eq + Hash, A: Clone + Default> CoalescedScan<Q, A> {
    /// The answer to a question: of a scan that began after this was called, by this caller or by another that waited too.
    pub(crate) async fn ask<S>(&self, question: Q, scan: impl FnOnce(Vec<Q>) -> S) -> A
    where
        S: Future<Output = HashMap<Q, A>>,
    {
        let waiter = self.draw(question);
        let _turn = self.queue.next().await;
        if let Some(answer) = waiter.answer() {
            return answer;
        }
        let waiting = lock(&self.waiters).waiting.clone();
        let found = scan(waiting.values().cloned().collect()).await;
        // Not before: a scan that is dropped answers no question.
        let mut waiters = lock(&self.waiters);
        for (number, question) in waiting {
            // A waiter that was dropped does not want its answer any more.
            let is_waiting = waiters.waiting.remove(&number).is_some();
            if let Some(answer) = found.get(&question).filter(|_| is_waiting) {
                waiters.answered.insert(number, answer.clone());
            }
        }
        waiters.answered.remove(&waiter.number).unwrap_or_default()
    }

    fn draw(&self, question: Q) -> Waiter<'_, Q, A> {
        let mut waiters = lock(&self.waiters);
        let number = waiters.drawn;
        waiters.drawn += 1;
        waiters.waiting.insert(number, question);
        Waiter { scan: self, number }
    }
}

impl<Q, A> Waiter<'_, Q, A> {
    fn answer(&self) -> Option<A> {
        lock(&self.scan.waiters).answered.remove(&self.number)
    }
}

impl<Q, A> Drop for Waiter<'_, Q, A> {
    fn drop(&mut self) {
        let mut waiters = lock(&self.scan.waiters);
        waiters.waiting.remove(&self.number);
        let unread = waiters.answered.remove(&self.number);
        drop(waiters);
        drop(unread);
    }
}

/// A queue of those that want their turn. The one that has it may not be polled any more: its runtime is not run, or the task
/// that it is in does something else first. So after a while the queue is left behind, and a new one begins.
#[derive(Default)]
struct WaitQueue(Mutex<Arc<sync::Mutex<()>>>);

impl WaitQueue {
    /// Waits for a turn, which lasts until what is returned is dropped.
    async fn next(&self) -> sync::OwnedMutexGuard<()> {
        loop {
            let queue = Arc::clone(&lock(&self.0));
            if let Ok(turn) = Arc::clone(&queue).try_lock_owned() {
                return turn;
            }
            let turn = pin!(Arc::clone(&queue).lock_owned());
            match select(turn, pin!(clock::sleep(TURN_LIMIT))).await {
                Either::Left((turn, _)) => return turn,
                Either::Right(_) => self.leave_behind(&queue),
            }
        }
    }

    fn leave_behind(&self, queue: &Arc<sync::Mutex<()>>) {
        let mut current = lock(&self.0);
        if Arc::ptr_eq(&current, queue) {
            *current = Arc::default();
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use futures::{FutureExt, future::ready};

    type Squares = CoalescedScan<u64, u64>;

    async fn squares(questions: Vec<u64>) -> HashMap<u64, u64> {
        questions.into_iter().map(|n| (n, n * n)).collect()
    }

    #[test]
    fn one_scan_answers_all_that_wait_when_it_begins() {
        let scan = Squares::default();
        let turn = scan.queue.next().now_or_never().unwrap();
        let (mut first, mut second) = (
            pin!(scan.ask(2, |questions| {
                assert_eq!(questions, [2, 3]);
                squares(questions)
            })),
            pin!(scan.ask(3, |_| -> std::future::Ready<_> {
                unreachable!("the first has scanned for it")
            })),
        );
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(turn);
        assert_eq!(first.now_or_never(), Some(4));
        assert_eq!(second.now_or_never(), Some(9));
        let waiters = lock(&scan.waiters);
        assert!(waiters.waiting.is_empty() && waiters.answered.is_empty());
    }

    /// A waiter that gives up before its turn leaves nothing behind.
    #[test]
    fn a_waiter_that_gives_up_is_forgotten() {
        let scan = Squares::default();
        let turn = scan.queue.next().now_or_never().unwrap();
        {
            let mut waiting = pin!(scan.ask(2, squares));
            assert!(
                (&mut waiting).now_or_never().is_none(),
                "it is another's turn"
            );
            assert_eq!(lock(&scan.waiters).waiting.len(), 1);
        }
        drop(turn);
        let nothing = scan.ask(3, |_| ready(HashMap::new()));
        assert_eq!(nothing.now_or_never(), Some(0));
        let waiters = lock(&scan.waiters);
        assert!(waiters.waiting.is_empty() && waiters.answered.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_its_turn_after_the_other() {
        let turns = WaitQueue::default();
        let first = turns.next().await;
        let mut second = pin!(turns.next());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_keeps_its_turn_is_left_behind_with_all_that_wait_for_it() {
        let turns = WaitQueue::default();
        let kept = turns.next().await;
        let began = clock::now();
        let after = async |wait| {
            clock::sleep(wait).await;
            drop(turns.next().await);
            clock::now() - began
        };
        let waited = tokio::join!(
            after(Duration::ZERO),
            after(TURN_LIMIT / 2),
            after(TURN_LIMIT * 2)
        );
        assert_eq!(waited, (TURN_LIMIT, TURN_LIMIT * 3 / 2, TURN_LIMIT * 2));
        drop(kept);
    }
}
