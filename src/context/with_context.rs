//! A context for one piece of code: opened before it, closed behind it.

use crate::context::{close_reason::CloseReason, driver, state::Core, wait};
use futures::FutureExt;
use std::{
    panic::{AssertUnwindSafe, Location, resume_unwind},
    sync::Arc,
};

/// Runs a body with a handle of its own, which `make` makes, to the context of this one, and closes that behind it.
pub(crate) fn run_with<H, B, T>(
    (handle, core): (H, Arc<Core>),
    make: fn(&Arc<Core>, &'static Location<'static>) -> H,
    body: B,
    location: &'static Location<'static>,
) -> impl Future<Output = T> + use<H, B, T>
where
    B: AsyncFnOnce(H) -> T,
{
    // Made now, so that the context is closed also if the future is never polled.
    let behind = CloseBehind {
        core,
        location,
        _handle: handle,
    };
    async move {
        let handle = make(&behind.core, location);
        let body = async { body(handle).await };
        let result = AssertUnwindSafe(body).catch_unwind().await;
        wait::close_for(&behind.core, CloseReason::from("close"), location).await;
        drop(behind);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Begins the close of a context when it is dropped.
struct CloseBehind<H> {
    core: Arc<Core>,
    location: &'static Location<'static>,
    _handle: H,
}

impl<H> Drop for CloseBehind<H> {
    fn drop(&mut self) {
        driver::request_at(&self.core, CloseReason::Dropped, self.location);
    }
}
