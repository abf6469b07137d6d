//! [`Timer`]: a timer that needs no runtime, and also fires while a runtime is blocked, has no timers, or has ended.
//!
//! tokio's timers panic when they are polled after the end of their runtime, and when they are made on a runtime that was
//! built without `enable_time`; there is no way to ask beforehand whether that is so. These timers are in one queue of the
//! process. Its thread starts with the first timer and ends when none is left.

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
    /// The number of the next job, which distinguishes jobs that are due at the same time.
    next: u64,
    has_thread: bool,
}

/// The time at which a job is due, and its number.
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

/// Runs a job after a while, on a thread of its own: it may take long, and call code of others, while all timers go on. It never
/// runs if the system cannot start the timer thread. A panic of the job is caught.
pub(crate) fn run_after(after: Duration, job: impl FnOnce() + Send + 'static) {
    run_after_if(after, || true, job);
}

/// As [`run_after`], if it is wanted then. That is asked on the timer thread, and must not wait for anything.
pub(crate) fn run_after_if(
    after: Duration,
    is_wanted: impl FnOnce() -> bool + Send + 'static,
    job: impl FnOnce() + Send + 'static,
) {
    let when_due = || {
        if is_wanted() {
            run_beside(job);
        }
    };
    if let Some(at) = Instant::now().checked_add(after) {
        schedule(at, Box::new(when_due));
    }
}

/// Runs a job on a thread of its own, or here if the system has none to give.
fn run_beside(job: impl FnOnce() + Send + 'static) {
    let job = Arc::new(Mutex::new(Some(job)));
    let beside = Arc::clone(&job);
    let thread = thread::Builder::new().name("headcount-job".into());
    let started = thread.spawn(move || run_once(&beside));
    if started.is_err() {
        run_once(&job);
    }
}

fn run_once(job: &Mutex<Option<impl FnOnce()>>) {
    let job = job.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(job) = job {
        panics::contain(job);
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
    // The thread sleeps until the first job is due: wake it if that is now this one.
    if queue.jobs.first_key_value().map(|(first, _)| *first) == Some(key) {
        IS_EARLIER.notify_one();
    }
    key
}

/// Runs jobs when they are due. None of them may wait: the others wait for it.
fn run() {
    while let Some(job) = wait_for_job() {
        panics::contain(job);
    }
}

/// Waits until a job is due, and returns it. Without any job it returns `None`, and the thread ends.
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

/// A future that is ready after a while. Dropping it removes it from the queue.
pub(crate) struct Timer {
    /// `None` if the time is beyond what a clock can represent, or is now.
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
        // A zero duration is over at once, without waiting for the thread.
        alarm.is_over.store(after.is_zero(), SeqCst);
        let at = Instant::now()
            .checked_add(after)
            .filter(|_| !after.is_zero());
        let key = at.map(|at| {
            let alarm = Arc::clone(&alarm);
            schedule(at, Box::new(move || alarm.fire()))
        });
        Self { key, alarm }
    }
}

impl Alarm {
    fn fire(&self) {
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
        // Pairs with `fire`, which sets the flag and then wakes: if it fires after the first look, it finds this waker or
        // the second look sees the flag.
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
        // A waker is user code, and a drop must not panic.
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
