//! Timers that need no runtime: they go off though a runtime has none, has ended, or is blocked.
//!
//! tokio's own panic when they are polled after the end of their runtime, and when they are made on one that was built
//! without `enable_time`; nobody can ask beforehand whether that is so. These lie in one queue of the process. Its
//! thread starts with the first of them and ends when none is left.

use crate::panics;
use futures::task::AtomicWaker;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

struct Queue {
    jobs: BTreeMap<Key, Job>,
    /// Tells jobs of one moment apart.
    next: u64,
    has_thread: bool,
}

/// When a job is due, and its number.
type Key = (Instant, u64);
type Job = Box<dyn FnOnce() + Send>;

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    jobs: BTreeMap::new(),
    next: 0,
    has_thread: false,
});
static IS_EARLIER: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a job on the timers' thread after a while; never, if the system has no thread to give. A panic of it goes no
/// further.
#[cfg(feature = "dump")]
pub(crate) fn run_after(after: Duration, job: impl FnOnce() + Send + 'static) {
    if let Some(at) = Instant::now().checked_add(after) {
        schedule(at, Box::new(job));
    }
}

fn schedule(at: Instant, job: Job) -> Key {
    let mut queue = queue();
    let key = (at, queue.next);
    queue.next += 1;
    queue.jobs.insert(key, job);
    if !queue.has_thread {
        let thread = thread::Builder::new().name("headcount".into());
        queue.has_thread = thread.spawn(run).is_ok();
    }
    // The thread sleeps until the first one is due.
    if queue.jobs.first_key_value().map(|(first, _)| *first) == Some(key) {
        IS_EARLIER.notify_one();
    }
    key
}

fn run() {
    while let Some(job) = wait_for_job() {
        panics::contain(job);
    }
}

/// Waits until a job is due; `None` if there is none.
fn wait_for_job() -> Option<Job> {
    let mut queue = queue();
    loop {
        let Some(first) = queue.jobs.first_entry() else {
            queue.has_thread = false;
            return None;
        };
        let left = first.key().0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(first.remove());
        }
        let waited = IS_EARLIER.wait_timeout(queue, left);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Ends after a while. Dropping it takes it out of the queue.
pub(crate) struct Timer {
    /// `None` if the moment is too far away for any clock, or is now.
    key: Option<Key>,
    alarm: Arc<Alarm>,
}

#[derive(Default)]
struct Alarm {
    is_over: AtomicBool,
    waker: AtomicWaker,
}

impl Timer {
    pub(crate) fn new(after: Duration) -> Self {
        let alarm = Arc::new(Alarm::default());
        // No time at all is over at once, and not when the thread gets to it.
        alarm.is_over.store(after.is_zero(), SeqCst);
        let at = Instant::now()
            .checked_add(after)
            .filter(|_| !after.is_zero());
        let key = at.map(|at| {
            let alarm = Arc::clone(&alarm);
            schedule(at, Box::new(move || alarm.go_off()))
        });
        Self { key, alarm }
    }
}

impl Alarm {
    fn go_off(&self) {
        self.is_over.store(true, SeqCst);
        self.waker.wake();
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = || self.alarm.is_over.load(SeqCst);
        if is_over() {
            return Poll::Ready(());
        }
        // Whoever goes off between the two looks either finds the waker, or is seen.
        self.alarm.waker.register(cx.waker());
        if is_over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let job = self.key.and_then(|key| queue().jobs.remove(&key));
        drop(job);
        // Wakers are foreign code, and nothing panics in a drop.
        panics::contain(|| drop(self.alarm.waker.take()));
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use std::{pin::pin, sync::mpsc, task::Waker};

    #[test]
    fn jobs_run_in_the_order_in_which_they_are_due_though_one_panics() {
        let (give, take) = mpsc::channel();
        for (after, n) in [(30, 3), (10, 1), (20, 2)] {
            let give = give.clone();
            let at = Instant::now() + Duration::from_millis(after);
            schedule(
                at,
                Box::new(move || {
                    let _ = give.send(n);
                    assert!(n != 1, "on purpose");
                }),
            );
        }
        drop(give);
        let done: Vec<_> = take.iter().collect();
        assert_eq!(done, [1, 2, 3]);
    }

    #[test]
    fn a_timer_needs_no_runtime() {
        futures::executor::block_on(Timer::new(Duration::from_millis(1)));
    }

    #[test]
    fn a_timer_that_is_dropped_leaves_nothing_behind() {
        let timer = Timer::new(Duration::from_secs(3_600));
        let (key, alarm) = (timer.key.unwrap(), Arc::downgrade(&timer.alarm));
        assert!(queue().jobs.contains_key(&key));
        drop(timer);
        assert!(!queue().jobs.contains_key(&key));
        assert_eq!(alarm.strong_count(), 0);
    }

    #[test]
    fn no_time_is_over_at_once() {
        let mut timer = pin!(Timer::new(Duration::ZERO));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(timer.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_time_that_no_clock_has_never_comes() {
        let mut timer = pin!(Timer::new(Duration::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(timer.as_mut().poll(&mut cx).is_pending());
        assert!(timer.key.is_none());
    }
}
