//! A thread of this crate's own, for what a runtime may have no thread or no timer for. There is one at most, and it
//! ends when it has nothing to wait for.

use crate::panics;
use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

struct Queue {
    /// By when they are to be done, and in which order they came.
    jobs: BTreeMap<(Instant, u64), Job>,
    came: u64,
    is_running: bool,
}

type Job = Box<dyn FnOnce() + Send>;

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    jobs: BTreeMap::new(),
    came: 0,
    is_running: false,
});
static CAME: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it after a while; never, if the system has no thread to give.
pub(crate) fn later(after: Duration, job: impl FnOnce() + Send + 'static) {
    let mut queue = queue();
    let at = (Instant::now() + after, queue.came);
    queue.came += 1;
    queue.jobs.insert(at, Box::new(job));
    if !queue.is_running {
        let thread = thread::Builder::new().name("headcount".into());
        queue.is_running = thread.spawn(run).is_ok();
    }
    CAME.notify_one();
}

fn run() {
    while let Some(job) = next() {
        panics::contain(job);
    }
}

/// Waits for the next job; `None` if there is none.
fn next() -> Option<Job> {
    let mut queue = queue();
    loop {
        let Some(first) = queue.jobs.first_entry() else {
            queue.is_running = false;
            return None;
        };
        let left = first.key().0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(first.remove());
        }
        let waited = CAME.wait_timeout(queue, left);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_are_done_in_time_and_in_order_though_one_panics() {
        let (give, take) = mpsc::channel();
        for (after, n) in [(30, 3), (10, 1), (20, 2)] {
            let give = give.clone();
            later(Duration::from_millis(after), move || {
                let _ = give.send(n);
                assert!(n != 1, "on purpose");
            });
        }
        drop(give);
        let done: Vec<_> = take.iter().collect();
        assert_eq!(done, [1, 2, 3]);
    }
}
