//! What the code that closes a context waits for. Each of these begins what it waits for when it is called; the future that it
//! returns only waits, and brings a runtime to a close that lost its own.

use crate::{
    clock,
    context::{
        close,
        close_reason::CloseReason,
        current,
        driver::{Begun, begin_at, drive_here, ensure_driver, respawn_drivers},
        haste::{Deadline, HOOK_AT_ONCE, Hurry},
        report::CloseReport,
        state::{Core, Node},
        still_closing::StillClosing,
    },
    name::Printed,
    panics,
    poll::waiting::{For, waiting},
    table::record::State,
};
use futures::{
    FutureExt,
    future::{Either, Fuse, select},
};
use std::{future::poll_fn, panic::Location, pin::pin, sync::Arc, task::Poll, time::Duration};
use tokio::{runtime::Handle, time::Instant};

/// Waits for the end of a close.
pub(crate) fn closed(core: &Arc<Core>) -> impl Future<Output = CloseReport> + use<> {
    let core = Arc::clone(core);
    async move { wait(&core).await }
}

/// Waits for the end of a close that was just begun.
async fn closed_of(begun: Begun) -> CloseReport {
    let core = begun.start();
    wait(&core).await
}

/// Begins the close and waits for its end.
pub(crate) fn close_for(
    core: &Arc<Core>,
    reason: CloseReason,
    location: &'static Location<'static>,
) -> impl Future<Output = CloseReport> + use<> {
    closed_of(begin_at(core, reason, None, location))
}

/// Begins the close, aborts what there is, and waits for its end.
pub(crate) fn close_now(
    core: &Arc<Core>,
    reason: CloseReason,
    location: &'static Location<'static>,
) -> impl Future<Output = CloseReport> + use<> {
    closed_of(begin_at(core, reason, Some(Hurry::Now), location))
}

/// Begins the close and waits for its end, at most so long.
pub(crate) fn close_within(
    core: &Arc<Core>,
    limit: Duration,
    reason: CloseReason,
    location: &'static Location<'static>,
) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
    let begun = begin_at(core, reason, None, location);
    let core = Arc::clone(core);
    closed_by(core, closed_of(begun), clock::now().checked_add(limit))
}

/// Begins the close, sees to it that it is over by the deadline, and waits for its end until then.
pub(crate) fn close_by(
    core: &Arc<Core>,
    reason: CloseReason,
    deadline: Deadline,
    location: &'static Location<'static>,
) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
    let hurry = deadline.instant().map(Hurry::By);
    let closed = closed_of(begin_at(core, reason, hurry, location));
    closed_by(Arc::clone(core), closed, wait_until(deadline))
}

/// Until when one waits for a close with a deadline: where it has passed, for as long as hooks have.
pub(crate) fn wait_until(deadline: Deadline) -> Option<Instant> {
    let at = deadline.instant()?;
    let now = clock::now();
    if at > now {
        Some(at)
    } else {
        now.checked_add(HOOK_AT_ONCE)
    }
}

/// Waits until nothing is inside.
pub(crate) fn idle(node: &Arc<Node>) -> impl Future<Output = ()> + use<> {
    let node = Arc::clone(node);
    async move {
        node.gate.watch();
        loop {
            let mut drained = pin!(node.drained.notified());
            drained.as_mut().enable();
            if node.gate.inside() == 0 {
                return;
            }
            if node.is_root() && current::is_inside(&node) {
                let what = For::Idle(node.table.number);
                poll_fn(|cx| waiting(cx, what, |cx| drained.as_mut().poll(cx))).await;
            } else {
                drained.await;
            }
        }
    }
}

/// Waits for the end of a close, until then.
pub(crate) fn closed_by<F: Future<Output = CloseReport>>(
    core: Arc<Core>,
    closed: F,
    until: Option<Instant>,
) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<F> {
    let called = clock::now();
    async move {
        let close = pin!(closed);
        let Some(until) = until else {
            return Ok(close.await);
        };
        let timer = pin!(clock::sleep(until.saturating_duration_since(clock::now())));
        match select(close, timer).await {
            Either::Left((report, _)) => Ok(report),
            Either::Right(_) => {
                Err(StillClosing::of(&core, until.saturating_duration_since(called)).await)
            }
        }
    }
}

/// Waits for the end of the close; from inside only for its beginning. The code that polls is asked for each time: what was
/// begun outside may be awaited inside.
pub(crate) async fn wait(core: &Arc<Core>) -> CloseReport {
    let mut outside = pin!(wait_outside(core).fuse());
    let report = poll_fn(|cx| match close::begun_inside(core) {
        Some(report) => {
            // One that others need is open until those are closed, and nothing drives it before that.
            if core.node.gate.state() != State::Open {
                ensure_driver(core);
            }
            // The waker that it was polled with outside goes with it, and may panic.
            panics::contain(|| outside.set(Fuse::terminated()));
            Poll::Ready(report)
        }
        None => outside.as_mut().poll(cx),
    });
    report.await
}

/// Waits for the end of the close, and brings a runtime to it and to those below that lost their drivers.
async fn wait_outside(core: &Arc<Core>) -> CloseReport {
    let node = &core.node;
    loop {
        // Both are registered before the report and the gate are read: what changes after the read wakes us.
        let mut changed = pin!(node.changed.notified());
        changed.as_mut().enable();
        let mut needs_runtime = pin!(core.registry.undriven.changed.notified());
        needs_runtime.as_mut().enable();
        if let Some(report) = node.report.get() {
            return report.clone();
        }
        if node.gate.state() == State::Open {
            // It may be needed by others, whose closes it waits for.
            respawn_drivers(core);
        } else {
            if !ensure_driver(core) {
                assert!(
                    Handle::try_current().is_ok(),
                    "the close of `{}` has no tokio runtime to run on: await it inside one, or open contexts inside one",
                    Printed(&node.meta.name)
                );
                // This runtime is ending, or another driver had the lease and lost it this very moment.
                drive_here(core).await;
                continue;
            }
            respawn_drivers(core);
        }
        let what = For::Close(&**node, node.gate.state() != State::Open);
        let mut either = select(changed, needs_runtime);
        poll_fn(|cx| waiting(cx, what, |cx| either.poll_unpin(cx))).await;
    }
}
