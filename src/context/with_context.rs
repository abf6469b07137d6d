//! A context for one piece of code: opened before it, closed behind it.

use crate::context::{context::Context, driver, report::CloseReason, wait};
use futures::FutureExt;
use std::{
    panic::{AssertUnwindSafe, Location, resume_unwind},
    sync::Arc,
};

/// Runs a body with a context, and closes that behind it.
pub(crate) fn run_with<B, T>(
    context: Context,
    body: B,
    location: &'static Location<'static>,
) -> impl Future<Output = T> + use<B, T>
where
    B: AsyncFnOnce(Context) -> T,
{
    // Made now, so that the context is closed also if the future is never polled.
    let behind = CloseBehind { context, location };
    async move {
        let context = behind.handle();
        let body = async { body(context).await };
        let result = AssertUnwindSafe(body).catch_unwind().await;
        wait::close_for(behind.context.core(), CloseReason::from("close"), location).await;
        drop(behind);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Begins the close of a context when it is dropped.
struct CloseBehind {
    context: Context,
    location: &'static Location<'static>,
}

impl CloseBehind {
    /// A handle for the body.
    fn handle(&self) -> Context {
        let core = self.context.core();
        core.node.handles.add();
        Context::counted(Arc::clone(core), self.location)
    }
}

impl Drop for CloseBehind {
    fn drop(&mut self) {
        driver::request_at(self.context.core(), CloseReason::Dropped, self.location);
    }
}
