//! How much, how random, and how long at the most.

use std::{
    fmt::Display,
    future::Future,
    panic::resume_unwind,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::{Builder, Runtime};

/// Longer than any single wait in here takes.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The first number, or the second in a full run.
pub(crate) fn short_or_full<T>(short: T, full: T) -> T {
    match std::env::var("HEADCOUNT_STRESS").as_deref() {
        Ok("full") => full,
        Ok("short") | Err(_) => short,
        Ok(other) => panic!("HEADCOUNT_STRESS is `full` or `short`, not {other:?}"),
    }
}

/// Says what is going on, in case it never ends.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<String>>);

impl Notes {
    pub(crate) fn now(&self, what: impl Display) {
        *lock(&self.0) = what.to_string();
    }
}

/// One test at a time: they measure time, and the fuzzer counts the memory and the panics of the process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    lock(&ONE)
}

/// Runs a test on a thread with tokio's and libtest's 2 MiB of stack, and fails when it takes too long.
pub(crate) fn within(limit: Duration, test: impl FnOnce(&Notes) + Send + 'static) {
    let _alone = alone();
    let notes = Notes::default();
    let (done, is_done) = mpsc::channel::<()>();
    let noted = notes.clone();
    let body = move || {
        let _done = done;
        test(&noted);
    };
    let builder = thread::Builder::new().stack_size(2 << 20);
    let running = builder.spawn(body).expect("a thread");
    if is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        let last = lock(&notes.0).clone();
        panic!("not done within {limit:?}; it was at: {last}");
    }
    if let Err(payload) = running.join() {
        println!("it was at: {}", lock(&notes.0));
        resume_unwind(payload);
    }
}

/// Random numbers that can be had again.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The same in every test of a run, and printed where one fails.
    pub(crate) fn new() -> Self {
        let seed = Self::seed();
        println!("HEADCOUNT_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn seed() -> u64 {
        static SEED: OnceLock<u64> = OnceLock::new();
        *SEED.get_or_init(|| match std::env::var("HEADCOUNT_SEED") {
            Ok(seed) => seed.parse().expect("HEADCOUNT_SEED is a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |now| now.subsec_nanos().into()),
        })
    }

    /// Dice of one's own, for a thread or a round.
    pub(crate) fn fork(&self, number: usize) -> Self {
        let mut fork = Self(self.0 ^ (number as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        fork.next();
        fork
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Passes a random time that is too short to sleep.
    pub(crate) fn dawdle(&mut self, most: usize) {
        for _ in 0..self.below(most + 1) {
            std::hint::spin_loop();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread, on no runtime but the one that was entered.
pub(crate) fn wait_for<F: Future>(what: &str, future: F) -> F::Output {
    let deadline = Instant::now() + TIME_LIMIT;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what}: not within {TIME_LIMIT:?}");
        thread::park_timeout(left);
    }
}

/// Awaits a future inside a runtime.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let output = tokio::time::timeout(TIME_LIMIT, future).await;
    output.unwrap_or_else(|_| panic!("{what}: not within {TIME_LIMIT:?}"))
}

pub(crate) fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
}

pub(crate) fn multi_thread(workers: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers).enable_time().build();
    runtime.expect("a runtime")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
