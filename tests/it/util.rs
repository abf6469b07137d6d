//! What many tests need.

use std::{
    future::Future,
    panic::resume_unwind,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// Counts how many of its guards exist, and how many were ever dropped.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<(AtomicUsize, AtomicUsize)>);

impl Counter {
    pub(crate) fn guard(&self) -> Guard {
        self.0.0.fetch_add(1, SeqCst);
        Guard(self.clone())
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

/// Lives in a future, an output, a hook or a value.
pub(crate) struct Guard(Counter);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, SeqCst);
        self.0.0.1.fetch_add(1, SeqCst);
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Notes its name when dropped.
pub(crate) struct Notes(pub(crate) Log, pub(crate) &'static str);

impl Drop for Notes {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Runs when dropped.
pub(crate) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub(crate) fn new(run: F) -> Self {
        Self(Some(run))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

/// A waker that counts its wakes.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls a future once, by hand.
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What takes longer hangs, also on a machine that has much else to do.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Fails the test instead of hanging it. Real time: paused clocks jump over it.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let start = std::time::Instant::now();
    loop {
        if let Ok(output) = tokio::time::timeout(TIME_LIMIT, &mut future).await {
            return output;
        }
        assert!(start.elapsed() < TIME_LIMIT, "hangs");
    }
}

/// Lets everything that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn multi_thread(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

/// On one thread, with a clock that goes on when there is nothing to do.
pub(crate) fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

/// Runs it on a thread of its own, and fails the test when that hangs, whatever it hangs in. Real time.
#[track_caller]
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    run: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (give, take) = mpsc::channel();
    let running = std::thread::spawn(move || give.send(run()).is_ok());
    match take.recv_timeout(limit) {
        Ok(output) => output,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => resume_unwind(running.join().unwrap_err()),
    }
}

/// Whether ages follow a clock that a test pauses and advances. Without the feature `testing` they are real.
pub(crate) const AGES_ARE_PAUSED: bool = cfg!(feature = "testing");

/// A printed age, where it follows the paused clock; else nothing is expected of it.
pub(crate) fn age(printed: &str) -> &str {
    if AGES_ARE_PAUSED { printed } else { "" }
}

/// What a panic says; `None` if there is none.
#[cfg(feature = "testing")]
pub(crate) fn caught(run: impl FnOnce()) -> Option<String> {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).err()?;
    let owned = payload.downcast_ref::<String>().cloned();
    let literal = || payload.downcast_ref::<&str>().map(ToString::to_string);
    Some(owned.or_else(literal).expect("it panics with words"))
}
