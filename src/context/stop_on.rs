//! Closes a context when a future is done.

use crate::{
    context::{close_reason::CloseReason, driver, state::Core},
    event,
    name::Printed,
    panics,
};
use futures::{
    FutureExt,
    future::{Either, select},
};
use std::{
    panic::{AssertUnwindSafe, Location},
    pin::pin,
    sync::Arc,
};

/// Runs the future in the background, uncounted, until the close begins.
pub(crate) fn stop_on<F>(
    core: &Arc<Core>,
    future: F,
    reason: CloseReason,
    location: &'static Location<'static>,
) where
    F: Future + Send + 'static,
{
    let node = Arc::clone(&core.node);
    let runtime = driver::runtimes(core).next();
    let runtime = runtime.unwrap_or_else(|| {
        panic!(
            "`stop_on` of `{}` has no tokio runtime to run on: call it inside one",
            Printed(&node.meta.name)
        )
    });
    let watch = async move {
        // The output goes at once: it may hold a handle.
        let done = AssertUnwindSafe(async { drop(future.await) }).catch_unwind();
        let ended = match select(pin!(done), pin!(node.cancelled())).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => return,
        };
        match ended {
            Ok(()) => {
                if let Some(core) = node.core.upgrade() {
                    driver::request_at(&core, reason, location);
                }
            }
            Err(payload) => {
                let (name, said) = (Printed(&node.meta.name), panics::message(&*payload));
                let (file, line) = (location.file(), location.line());
                event::emit!(target: "headcount::context", WARN,
                    context = %name,
                    "the future that was to stop the context panicked: {said} (passed to `stop_on` at {file}:{line})"
                );
                panics::bury(payload);
            }
        }
    };
    drop(runtime.spawn(watch));
}
