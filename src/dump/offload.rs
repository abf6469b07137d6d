//! Doing what takes long away from the runtime's threads.

use crate::{
    panics,
    sync::{Mutex, lock},
    timer,
};
use std::{panic::resume_unwind, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::oneshot};

/// How long the runtime's pool has to find a thread.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs it on the runtime's pool for blocking closures, which stops a paused clock meanwhile. That pool may be full of
/// what one wants to know, so after a while a thread of this crate's own does it.
pub(crate) async fn offload<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let Ok(runtime) = Handle::try_current() else {
        // There is nobody to hold up.
        return work();
    };
    let (give, take) = oneshot::channel();
    let work = move || drop(give.send(panics::guarded(work)));
    let work = Arc::new(Mutex::new(Some(work)));
    let second = Arc::clone(&work);
    runtime.spawn_blocking(move || run(&work));
    timer::run_after(PATIENCE, move || run(&second));
    match take.await {
        Ok(Ok(done)) => done,
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => std::future::pending().await,
    }
}

/// Runs it, unless somebody else does.
fn run(work: &Mutex<Option<impl FnOnce()>>) {
    let work = lock(work).take();
    if let Some(work) = work {
        work();
    }
}
