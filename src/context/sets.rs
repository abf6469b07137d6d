//! The spawned tasks of a context: tokio `JoinSet`s, drained at the close and kept tidy before it.
//!
//! # Why sets are checked out
//!
//! A `JoinSet` needs `&mut` to spawn, and a spawn can run user code: a runtime that has shut down
//! drops the future on the spot. Under a mutex that destructor could come back for the same mutex
//! (I9). So a set is taken out of the pool, used, and put back; whoever finds the pool empty makes
//! another set. One thread keeps using one set; n threads spawning at once come to n sets.
//!
//! # Why sets are reaped
//!
//! A set that nobody reads keeps a shell of every finished task. The completion that brings the
//! number of shells to [`SHELLS`] reaps all that can be reaped, and every spawn reaps two, which
//! keeps memory hot. A completion counts its shell a moment before tokio lets it be reaped, so after
//! a reap that leaves too many a waker is left in the sets, and the next completion reaps again.
//! Whoever finds the pool empty leaves a note, and whoever puts sets back reads it (I6).

use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering::SeqCst, lock};
use futures::{FutureExt, future::poll_fn};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Weak},
    task::{Context, Poll, Wake, Waker},
};
use tokio::task::{JoinSet, coop::unconstrained};

/// Shells that may linger without anybody reaping them.
const SHELLS: usize = 16;
/// Shells reaped with every spawn.
const PER_SPAWN: usize = 2;

#[derive(Debug)]
pub(crate) struct TaskSets {
    pool: Mutex<Pool>,
    /// Tasks that have finished and are not reaped.
    shells: AtomicUsize,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<JoinSet<()>>,
    /// Somebody came to reap and found no set.
    again: bool,
    /// Every task is to be aborted, also those of sets that are taken out just now.
    is_aborting: bool,
}

impl TaskSets {
    pub(crate) fn new() -> Self {
        Self {
            pool: Mutex::new(Pool::default()),
            shells: AtomicUsize::new(0),
        }
    }

    /// A set to spawn on; put back when dropped.
    pub(crate) fn checkout(self: &Arc<Self>) -> Checkout<'_> {
        let set = lock(&self.pool).idle.pop();
        Checkout {
            sets: self,
            set: Some(set.unwrap_or_default()),
        }
    }

    /// A task of a set is about to finish: its shell will need reaping.
    pub(crate) fn finished(self: &Arc<Self>) {
        if self.shells.fetch_add(1, SeqCst) + 1 >= SHELLS {
            self.reap();
        }
    }

    fn is_littered(&self) -> bool {
        self.shells.load(SeqCst) >= SHELLS
    }

    #[cold]
    fn reap(self: &Arc<Self>) {
        while self.is_littered() {
            let mut pool = lock(&self.pool);
            let mut sets = std::mem::take(&mut pool.idle);
            pool.again = sets.is_empty();
            drop(pool);
            if sets.is_empty() {
                return;
            }
            let mut reaped = sets
                .iter_mut()
                .map(|set| self.reap_from(set, usize::MAX))
                .sum::<usize>();
            if self.is_littered() {
                let waker = Waker::from(Arc::new(Reaper(Arc::downgrade(self))));
                reaped += sets
                    .iter_mut()
                    .map(|set| self.arm(set, &waker))
                    .sum::<usize>();
            }
            if !self.put_back(sets) && reaped == 0 {
                return;
            }
        }
    }

    fn reap_from(&self, set: &mut JoinSet<()>, most: usize) -> usize {
        let reaped = (0..most)
            .take_while(|_| set.try_join_next().is_some())
            .count();
        self.shells.fetch_sub(reaped, SeqCst);
        reaped
    }

    /// Reaps, and leaves the waker for the next completion.
    fn arm(&self, set: &mut JoinSet<()>, waker: &Waker) -> usize {
        let mut reaped = 0;
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(Some(_)) =
            unconstrained(poll_fn(|cx| set.poll_join_next(cx))).poll_unpin(&mut cx)
        {
            reaped += 1;
        }
        self.shells.fetch_sub(reaped, SeqCst);
        reaped
    }

    /// Puts sets back, one empty one at the most; says whether somebody came for them meanwhile.
    fn put_back(&self, sets: Vec<JoinSet<()>>) -> bool {
        let (mut used, mut empty): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| !set.is_empty());
        if used.is_empty() {
            used.extend(empty.pop());
        }
        let mut pool = self.pool_for(&mut used);
        pool.idle.append(&mut used);
        std::mem::take(&mut pool.again)
    }

    /// Locks the pool to put these sets back. If an abort came while they were out, it is made up for
    /// first, outside the lock: it wakes tasks, and with them whoever polls a `LocalSet`.
    fn pool_for(&self, sets: &mut [JoinSet<()>]) -> MutexGuard<'_, Pool> {
        let pool = lock(&self.pool);
        if !pool.is_aborting {
            return pool;
        }
        drop(pool);
        sets.iter_mut().for_each(JoinSet::abort_all);
        lock(&self.pool)
    }

    /// Aborts every task: now those in the pool, and those of sets that are taken out as soon as they
    /// are put back. A task that is being spawned meanwhile looks at the gate.
    pub(crate) fn abort_all(&self) {
        let mut pool = lock(&self.pool);
        pool.is_aborting = true;
        let mut sets = std::mem::take(&mut pool.idle);
        drop(pool);
        sets.iter_mut().for_each(JoinSet::abort_all);
        lock(&self.pool).idle.append(&mut sets);
    }

    /// Awaits what is left of every task, after the gate let the last one out.
    pub(crate) async fn drain(&self) {
        loop {
            let sets = std::mem::take(&mut lock(&self.pool).idle);
            if sets.is_empty() {
                return;
            }
            for mut set in sets {
                while set.join_next().await.is_some() {}
            }
        }
    }
}

/// A set in use.
pub(crate) struct Checkout<'a> {
    sets: &'a Arc<TaskSets>,
    /// `Some` until it is dropped.
    set: Option<JoinSet<()>>,
}

const IN_USE: &str = "a set is checked out until it is dropped";

impl Deref for Checkout<'_> {
    type Target = JoinSet<()>;

    fn deref(&self) -> &JoinSet<()> {
        self.set.as_ref().expect(IN_USE)
    }
}

impl DerefMut for Checkout<'_> {
    fn deref_mut(&mut self) -> &mut JoinSet<()> {
        self.set.as_mut().expect(IN_USE)
    }
}

impl Drop for Checkout<'_> {
    fn drop(&mut self) {
        let Some(mut set) = self.set.take() else {
            return;
        };
        self.sets.reap_from(&mut set, PER_SPAWN);
        let mut pool = self.sets.pool_for(std::slice::from_mut(&mut set));
        pool.idle.push(set);
        let again = std::mem::take(&mut pool.again);
        drop(pool);
        if again {
            self.sets.reap();
        }
    }
}

/// Reaps when a completion that was waited for has come.
struct Reaper(Weak<TaskSets>);

impl Wake for Reaper {
    fn wake(self: Arc<Self>) {
        if let Some(sets) = self.0.upgrade() {
            sets.reap();
        }
    }
}
