//! Doing something on behalf of all who want it done, one after the other.

use crate::{
    clock,
    sync::{Mutex, lock},
};
use futures::future::{Either, select};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::sync;

/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// A queue of those who want their turn. Who has it may be polled by nobody any more: its runtime is not run, or the task
/// that it is in does something else first. So after a while the queue is left behind, and a new one begins.
#[derive(Default)]
pub(crate) struct Turns(Mutex<Arc<sync::Mutex<()>>>);

impl Turns {
    /// Waits for a turn, which lasts until what is returned is dropped.
    pub(crate) async fn next(&self) -> sync::OwnedMutexGuard<()> {
        loop {
            let queue = Arc::clone(&lock(&self.0));
            if let Ok(turn) = Arc::clone(&queue).try_lock_owned() {
                return turn;
            }
            let turn = pin!(Arc::clone(&queue).lock_owned());
            match select(turn, pin!(clock::sleep(PATIENCE))).await {
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
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn one_has_its_turn_after_the_other() {
        let turns = Turns::default();
        let first = turns.next().await;
        let mut second = pin!(turns.next());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_keeps_its_turn_is_left_behind_with_all_who_wait_for_it() {
        let turns = Turns::default();
        let kept = turns.next().await;
        let began = clock::now();
        let after = async |wait| {
            clock::sleep(wait).await;
            drop(turns.next().await);
            clock::now() - began
        };
        let waited = tokio::join!(
            after(Duration::ZERO),
            after(PATIENCE / 2),
            after(PATIENCE * 2)
        );
        assert_eq!(waited, (PATIENCE, PATIENCE * 3 / 2, PATIENCE * 2));
        drop(kept);
    }
}
