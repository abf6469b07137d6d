//! Long work of this crate's own, beside the runtime's threads.

use crate::{panics, timer};
use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::oneshot};

/// Up to so many things are gone through on the thread that asks.
const FEW: usize = 256;

/// Does what takes some microseconds for each of so many things: here if they are few, else beside the runtime.
pub(crate) async fn beside_the_runtime<R: Send + 'static>(
    things: usize,
    part: impl FnOnce() -> R + Send + 'static,
) -> R {
    if things <= FEW {
        return part();
    }
    offload(part).await
}

/// How long the runtime's pool may take to begin before a thread of the crate does the work.
const POOL_LIMIT: Duration = Duration::from_millis(50);

/// Runs `work` as [`begin`] does, and waits for it.
pub(crate) async fn offload<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let Ok(runtime) = Handle::try_current() else {
        // Without a runtime there is no thread of it to block.
        return work();
    };
    let (give, take) = oneshot::channel();
    begin(&runtime, move || drop(give.send(panics::guarded(work))));
    match take.await {
        Ok(Ok(done)) => done,
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => std::future::pending().await,
    }
}

/// Runs `work` on the runtime's pool for blocking closures, or on a thread of the crate's own if that pool is full.
///
/// The pool comes first because a paused clock does not advance while it works. It may be full of the very closures
/// that a dump or a report is about, so it is not relied on.
pub(crate) fn begin(runtime: &Handle, work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let (second, third) = (Arc::clone(&work), Arc::clone(&work));
    // The pool's thread waits for the other one if that was faster: the clock stands still until both have ended.
    let in_pool = move || run(&mut work.lock().unwrap_or_else(PoisonError::into_inner));
    // It panics where the system has no thread to give.
    panics::contain(|| drop(runtime.spawn_blocking(in_pool)));
    let has_not_begun = move || matches!(third.try_lock().as_deref(), Ok(Some(_)));
    timer::run_after_if(POOL_LIMIT, has_not_begun, move || {
        if let Ok(mut work) = second.try_lock() {
            run(&mut work);
        }
    });
}

/// Runs the work, unless the other thread has done it.
fn run(work: &mut Option<impl FnOnce()>) {
    if let Some(work) = work.take() {
        work();
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::clock;
    use futures::future::{Either, select};
    use std::{pin::pin, sync::mpsc, thread};

    /// Also where the pool was busy, so that the crate's own thread works: a limit that runs meanwhile would be over at once.
    #[test]
    fn a_paused_clock_stands_still_until_the_work_is_done() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let builder = builder.enable_all().start_paused(true);
        let runtime = builder.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (begun, wait) = mpsc::channel();
            let busy = tokio::task::spawn_blocking(move || wait.recv().is_ok());
            let work = offload(move || {
                begun.send(()).unwrap();
                // Until the pool has come to what it was to do.
                thread::sleep(Duration::from_millis(100));
            });
            let (work, limit) = (pin!(work), pin!(clock::sleep(Duration::from_secs(3_600))));
            let first = select(work, limit).await;
            assert!(matches!(first, Either::Left(_)), "the clock went on");
            assert!(busy.await.unwrap());
        });
    }
}
