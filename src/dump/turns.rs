//! Tasks that wait for their turn, at a lock or a semaphore or for room in a channel, and do not move on although they are polled.
//!
//! A lock is handed to the future that is first in its queue, and that future's task is woken. If the task polls another future
//! meanwhile, which waits for the same lock, then neither goes on ("futurelock"). Nothing of that shows in one dump; two show
//! that the task was polled in between, and waits where it did.

use crate::{
    dump::view::{AwaitStack, TaskDump},
    poll::replies::Seen,
    sync::lock,
    table::store::Table,
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many tasks are remembered before those are forgotten that have ended.
const REMEMBERED: usize = 1_024;

/// The ends of names of what gives turns.
const TURNS: [&str; 12] = [
    "Mutex::lock",
    "Mutex::lock_owned",
    "RwLock::read",
    "RwLock::read_owned",
    "RwLock::write",
    "RwLock::write_owned",
    "Semaphore::acquire",
    "Semaphore::acquire_owned",
    "Semaphore::acquire_many",
    "Semaphore::acquire_many_owned",
    "Sender::send",
    "Sender::reserve",
];

/// Says of each task how often it was polled since a dump first found it waiting for its turn at this place, as all since have.
pub(crate) fn compare(table: &Table, tasks: &mut [TaskDump]) {
    let mut seen = lock(&table.replies.seen);
    for task in tasks {
        let id = task.id();
        if !task.stacks().iter().any(waits_for_turn) {
            seen.remove(&id);
            continue;
        }
        let now = Seen {
            place: place(task),
            polls: task.polls,
        };
        let first = seen.entry(id).or_insert(now);
        if first.place != now.place {
            *first = now;
        }
        let polls = now.polls.wrapping_sub(first.polls);
        task.polled_in_vain = Some(polls).filter(|polls| *polls > 0);
    }
    if seen.len() > REMEMBERED {
        let table = table.table_ref();
        seen.retain(|id, _| table.state_of(*id).is_some());
    }
}

fn waits_for_turn(stack: &AwaitStack) -> bool {
    let innermost = stack.beneath().last().or(stack.leaf()).unwrap_or_default();
    !stack.yields() && TURNS.iter().any(|turn| innermost.ends_with(turn))
}

fn place(task: &TaskDump) -> u64 {
    let mut hasher = DefaultHasher::new();
    task.stacks().hash(&mut hasher);
    hasher.finish()
}
