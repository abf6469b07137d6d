//! The spawned tasks of a context: tokio `JoinSet`s, drained at the close and kept tidy before it.
//!
//! # Why sets are taken out
//!
//! A `JoinSet` needs `&mut` to spawn, and a spawn can run user code: a runtime that has shut down
//! drops the future on the spot. Under a mutex that destructor could come back for the same mutex
//! (I9). So a set is taken out, used, and put back; whoever finds none makes another. The *home* has
//! room for one, for one swap each way: that is where a single spawner works. The *pool* has the rest:
//! n threads spawning at once come to n sets.
//!
//! # Why sets are reaped
//!
//! A set that nobody reads keeps a shell of every finished task. The completion that brings the
//! number of shells to [`SHELLS`] reaps all that can be reaped, and a spawn that finds shells reaps two,
//! which keeps memory hot. A completion counts its shell a moment before tokio lets it be reaped, so
//! after a reap that leaves too many a waker is left in the sets, and the next completion reaps again.
//!
//! # Why notes are read after putting back
//!
//! Who comes for a set that is out cannot wait for it. They leave a note and look once more; whoever
//! puts a set back looks for notes after that. One of the two sees the other (`SeqCst`), so nothing is
//! left undone: no shells unreaped (I6), no task unaborted.

use crate::sync::{
    AtomicUsize, Home, Mutex,
    Ordering::{Relaxed, SeqCst},
    lock, order,
};
use futures::{FutureExt, future::poll_fn};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Weak},
    task::{Context, Poll, Wake, Waker},
};
use tokio::task::{JoinSet, coop::unconstrained};

/// Shells that may linger without anybody reaping them.
const SHELLS: usize = 16;
/// Shells reaped with every spawn.
const PER_SPAWN: usize = 2;

/// Note: somebody came to reap and found no set.
const REAP: usize = 1;
/// Note: every task is to be aborted. It stays.
const ABORT: usize = 1 << 1;

pub(crate) struct TaskSets {
    home: Home<Set>,
    pool: Mutex<Vec<Box<Set>>>,
    notes: AtomicUsize,
    /// Tasks that have finished and are not reaped.
    shells: AtomicUsize,
}

#[derive(Default)]
struct Set {
    tasks: JoinSet<()>,
    /// Every task of it was told to abort. What is spawned on it later looks at the gate itself.
    is_aborted: bool,
}

impl Set {
    fn abort(&mut self) {
        if !self.is_aborted {
            self.is_aborted = true;
            self.tasks.abort_all();
        }
    }
}

impl TaskSets {
    pub(crate) fn new() -> Self {
        Self {
            home: Home::empty(),
            pool: Mutex::new(Vec::new()),
            notes: AtomicUsize::new(0),
            shells: AtomicUsize::new(0),
        }
    }

    /// A set to spawn on; put back when dropped.
    #[inline]
    pub(crate) fn checkout(self: &Arc<Self>) -> Checkout<'_> {
        Checkout {
            sets: self,
            set: Some(self.home.take().unwrap_or_else(|| self.another())),
        }
    }

    #[cold]
    fn another(&self) -> Box<Set> {
        let pooled = lock(&self.pool).pop();
        pooled.unwrap_or_default()
    }

    /// A task of a set is about to finish: its shell will need reaping.
    #[inline]
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
            let mut sets = self.take_or_note(REAP);
            if sets.is_empty() {
                return;
            }
            let mut reaped = 0;
            for set in &mut sets {
                reaped += self.reap_from(&mut set.tasks, usize::MAX);
            }
            if self.is_littered() {
                let waker = Waker::from(Arc::new(Reaper(Arc::downgrade(self))));
                for set in &mut sets {
                    reaped += self.arm(&mut set.tasks, &waker);
                }
            }
            self.put_back(sets);
            if self.notes.fetch_and(!REAP, SeqCst) & REAP == 0 && reaped == 0 {
                return;
            }
        }
    }

    /// Every set that is in. If none is, leaves a note and looks again.
    fn take_or_note(&self, note: usize) -> Vec<Box<Set>> {
        let sets = self.take_all();
        if !sets.is_empty() {
            return sets;
        }
        self.notes.fetch_or(note, SeqCst);
        order();
        self.take_all()
    }

    fn take_all(&self) -> Vec<Box<Set>> {
        let mut sets = std::mem::take(&mut *lock(&self.pool));
        sets.extend(self.home.take());
        sets
    }

    fn reap_from(&self, tasks: &mut JoinSet<()>, most: usize) -> usize {
        let reaped = (0..most)
            .take_while(|_| tasks.try_join_next().is_some())
            .count();
        if reaped > 0 {
            self.shells.fetch_sub(reaped, SeqCst);
        }
        reaped
    }

    /// Reaps, and leaves the waker for the next completion.
    fn arm(&self, tasks: &mut JoinSet<()>, waker: &Waker) -> usize {
        let mut reaped = 0;
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(Some(_)) =
            unconstrained(poll_fn(|cx| tasks.poll_join_next(cx))).poll_unpin(&mut cx)
        {
            reaped += 1;
        }
        self.shells.fetch_sub(reaped, SeqCst);
        reaped
    }

    /// Puts sets back, one empty one at the most.
    fn put_back(&self, sets: Vec<Box<Set>>) {
        let is_in_use = |set: &Box<Set>| !set.tasks.is_empty();
        let (mut kept, mut empty): (Vec<_>, Vec<_>) = sets.into_iter().partition(is_in_use);
        if kept.is_empty() {
            kept.extend(empty.pop());
        }
        for set in kept {
            self.put(set);
        }
    }

    /// Puts a set back. An abort that came while it was out is made up for.
    #[inline]
    fn put(&self, set: Box<Set>) {
        let mut is_aborted = set.is_aborted;
        if let Some(other) = self.home.put(set) {
            is_aborted &= other.is_aborted;
            lock(&self.pool).push(other);
        }
        order();
        if !is_aborted && self.notes.load(SeqCst) & ABORT != 0 {
            self.abort_those_in();
        }
    }

    /// Reaps if somebody came for that while sets were out.
    #[inline]
    fn look_again(self: &Arc<Self>) {
        if self.notes.load(SeqCst) & REAP != 0 {
            self.notes.fetch_and(!REAP, SeqCst);
            self.reap();
        }
    }

    /// Aborts every task: now those of sets that are in, and those of the others as soon as they are
    /// put back. A task that is being spawned meanwhile looks at the gate.
    pub(crate) fn abort_all(self: &Arc<Self>) {
        self.notes.fetch_or(ABORT, SeqCst);
        order();
        self.abort_those_in();
        self.look_again();
    }

    /// Aborts every task, and lets go of what is left of those that ended.
    pub(crate) fn end(self: &Arc<Self>) {
        self.abort_all();
        drop(self.take_all());
    }

    /// Aborts outside the lock: it wakes tasks, and with them whoever polls a `LocalSet`.
    #[cold]
    fn abort_those_in(&self) {
        let mut sets = self.take_all();
        sets.iter_mut().for_each(|set| set.abort());
        sets.into_iter().for_each(|set| self.put(set));
    }

    /// Awaits what is left of every task, after the gate let the last one out.
    pub(crate) async fn drain(&self) {
        loop {
            let sets = self.take_all();
            if sets.is_empty() {
                return;
            }
            for mut set in sets {
                while set.tasks.join_next().await.is_some() {}
            }
        }
    }
}

impl fmt::Debug for TaskSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSets").finish_non_exhaustive()
    }
}

/// A set in use.
pub(crate) struct Checkout<'a> {
    sets: &'a Arc<TaskSets>,
    /// `Some` until it is dropped.
    set: Option<Box<Set>>,
}

const IN_USE: &str = "a set is checked out until it is dropped";

impl Deref for Checkout<'_> {
    type Target = JoinSet<()>;

    #[inline]
    fn deref(&self) -> &JoinSet<()> {
        &self.set.as_ref().expect(IN_USE).tasks
    }
}

impl DerefMut for Checkout<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut JoinSet<()> {
        &mut self.set.as_mut().expect(IN_USE).tasks
    }
}

impl Drop for Checkout<'_> {
    #[inline]
    fn drop(&mut self) {
        let (Some(mut set), sets) = (self.set.take(), self.sets) else {
            return;
        };
        if sets.shells.load(Relaxed) > 0 {
            sets.reap_from(&mut set.tasks, PER_SPAWN);
        }
        sets.put(set);
        sets.look_again();
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
