//! Runs slow work away from the runtime's threads.

use crate::{
    panics,
    sync::{Mutex, lock},
    timer,
};
use std::{panic::resume_unwind, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::oneshot};

/// How long the runtime's pool may take to begin before the crate's own thread does the work.
const POOL_LIMIT: Duration = Duration::from_millis(50);

/// Runs `work` on the runtime's pool for blocking closures, or on the crate's own thread if that pool is full.
///
/// The pool comes first because a paused clock does not advance while it works. It may be full of the very closures
/// that a dump is about, so it is not relied on.
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
    let work = lock(work).take();
    if let Some(work) = work {
        work();
    }
}
