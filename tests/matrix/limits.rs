//! Waiting with an end: nothing in this test waits longer than [`LIMIT`].

use std::{
    pin::pin,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Longer than anything here takes, even on a machine that does something else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Closed until it is opened, and then for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub(crate) fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }

    /// Blocks this thread until the latch is open; false if that took too long.
    pub(crate) fn pass(&self) -> bool {
        self.pass_within(LIMIT)
    }

    pub(crate) fn pass_within(&self, limit: Duration) -> bool {
        let (is_open, opened) = &*self.0;
        let closed = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_open, _) = opened
            .wait_timeout_while(closed, limit, |is_open| !*is_open)
            .unwrap_or_else(PoisonError::into_inner);
        *is_open
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread, without any runtime but the one that was entered.
pub(crate) fn wait_for<F: Future>(what: &str, future: F) -> Result<F::Output, String> {
    let deadline = Instant::now() + LIMIT;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("{what}: not within {LIMIT:?}"));
        }
        thread::park_timeout(left);
    }
}

/// Looks again and again until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("{what}: not within {LIMIT:?}"));
        }
        thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}
