//! The way back for what is left of a task that ended: its record, and tokio's memory of it.
//!
//! Both were allocated by the thread that spawned the task. If the threads that run tasks freed them, they
//! would contend with that thread for the allocator: spawning 100,000 tasks on a `multi_thread` runtime
//! takes half as long again. So they hand it back, and each
//! spawn frees two. What has no room is freed at once: never more than [`QUEUES`] × [`ROOM`] shells
//! linger, in the whole process, and closes free them as well (I6).

use crate::{context::current::InTask, table::stripe};
use crossbeam_queue::ArrayQueue;
use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

const QUEUES: usize = 4;
const ROOM: usize = 8;
/// Freed with every spawn.
const PER_SPAWN: usize = 2;

/// Whether there ever was one: programs with one thread do without.
static USED: AtomicBool = AtomicBool::new(false);

type Queue = ArrayQueue<Arc<dyn InTask>>;

static SHELLS: LazyLock<[Queue; QUEUES]> =
    LazyLock::new(|| std::array::from_fn(|_| ArrayQueue::new(ROOM)));

/// Takes leave of a task that has ended.
#[inline]
pub(crate) fn give_back(task: Arc<dyn InTask>) {
    let home = task.home();
    if home != stripe::current() {
        if !USED.load(Relaxed) {
            USED.store(true, Relaxed);
        }
        drop(SHELLS[home as usize % QUEUES].push(task));
    }
}

/// Frees a few of those that this thread spawned.
#[inline]
pub(crate) fn free_some() {
    if !USED.load(Relaxed) {
        return;
    }
    let shells = &SHELLS[stripe::current() as usize % QUEUES];
    for _ in 0..PER_SPAWN {
        if shells.pop().is_none() {
            return;
        }
    }
}

/// Frees all there are.
pub(crate) fn free_all() {
    if !USED.load(Relaxed) {
        return;
    }
    for shells in &*SHELLS {
        for _ in 0..ROOM {
            drop(shells.pop());
        }
    }
}
