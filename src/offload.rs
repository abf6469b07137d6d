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

/// How long the runtime's pool may take to begin before the crate's own thread does the work.
const POOL_LIMIT: Duration = Duration::from_millis(50);

/// Runs `work` on the runtime's pool for blocking closures, or on the crate's own thread if that pool is full.
///
/// The pool comes first because a paused clock does not advance while it works. It may be full of the very closures
/// that a dump or a report is about, so it is not relied on.
pub(crate) async fn offload<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let Ok(runtime) = Handle::try_current() else {
        // Without a runtime there is no thread of it to block.
        return work();
    };
    let (give, take) = oneshot::channel();
    let work = move || drop(give.send(panics::guarded(work)));
    let work = Arc::new(Mutex::new(Some(work)));
    let second = Arc::clone(&work);
    runtime.spawn_blocking(move || run(&work));
    timer::run_after(POOL_LIMIT, move || run(&second));
    match take.await {
        Ok(Ok(done)) => done,
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => std::future::pending().await,
    }
}

/// Runs the work, unless the other thread has taken it.
fn run(work: &Mutex<Option<impl FnOnce()>>) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = work {
        work();
    }
}
