//! Closing a context once it has run dry: a nursery's end.
//!
//! From the call on only code that belongs to the context comes in; its own tasks go on, and may start others. When no task is
//! left in it, below it, and in what needs it, nothing is left either that could start one, and the close begins.

use crate::{
    clock,
    context::{
        close,
        close_reason::CloseReason,
        current,
        driver::{self, Begun, runtimes},
        haste::{Deadline, Hurry},
        report::CloseReport,
        state::Core,
        still_closing::StillClosing,
        wait::{closed_by, wait, wait_until},
    },
    id::ResourceId,
    panics,
    sync::Ordering::SeqCst,
    table::record::State,
};
use futures::{
    FutureExt,
    future::{Fuse, select},
};
use std::{
    collections::HashSet,
    future::{pending, poll_fn},
    panic::Location,
    pin::pin,
    sync::Arc,
    task::Poll,
};
use tokio::time::Instant;

/// Begins to finish, and waits for the end of the close.
pub(crate) fn finish(
    core: &Arc<Core>,
    location: &'static Location<'static>,
) -> impl Future<Output = CloseReport> + use<> {
    begin(core, None, location);
    finished(Arc::clone(core), None)
}

/// Begins to finish, closes by the deadline what has not run dry in time, and waits for the end until then.
pub(crate) fn finish_by(
    core: &Arc<Core>,
    deadline: Deadline,
    location: &'static Location<'static>,
) -> impl Future<Output = Result<CloseReport, StillClosing>> + use<> {
    let at = deadline.instant();
    begin(core, at, location);
    let end = finished(Arc::clone(core), at);
    closed_by(Arc::clone(core), end, wait_until(deadline))
}

/// From here on only code that belongs to the context comes in, and a task sees to it that it closes when it has run dry.
fn begin(core: &Arc<Core>, deadline: Option<Instant>, location: &'static Location<'static>) {
    driver::note_line(core, location);
    let watch = Watch::new(core);
    if let Some(runtime) = runtimes(core).next() {
        let watch = async move { close_when_dry(&watch.0, deadline).await };
        panics::contain(|| drop(runtime.spawn(watch)));
    }
}

/// Marks the context, those below it, and those that need it.
pub(crate) fn mark(core: &Arc<Core>) {
    let (mut new, mut ids) = (core.closing_set(), HashSet::new());
    while !new.is_empty() {
        ids.extend(new.iter().map(|core| core.node.meta.id));
        for core in &new {
            let parent = core.node.parent.as_ref().map(|parent| parent.meta.id);
            // A child that is opened from here on is marked by the code that opens it.
            core.node
                .finish(!parent.is_some_and(|parent| ids.contains(&parent)));
        }
        // One that was opened meanwhile may have seen that its parent was not marked.
        new = core.closing_set();
        new.retain(|core| !core.node.gate.is_finishing());
    }
}

/// Keeps the context while it is watched.
pub(crate) struct Watch(Arc<Core>);

impl Watch {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        core.node.watches.fetch_add(1, SeqCst);
        mark(core);
        Self(Arc::clone(core))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let node = &self.0.node;
        let is_last = node.watches.fetch_sub(1, SeqCst) == 1;
        if is_last && node.close_reason().is_none() {
            unwatch(&self.0);
        }
    }
}

/// Its runtime has ended, or there was none: dropping handles closes the context again, those below it, and those that need it,
/// and nothing is left that would close those without handles: as if the last one was dropped now.
fn unwatch(core: &Arc<Core>) {
    let mut all = Vec::new();
    loop {
        let mut new = core.closing_set();
        new.retain(|core| !core.node.is_unwatched() && core.node.watches.load(SeqCst) == 0);
        if new.is_empty() {
            break;
        }
        for core in &new {
            core.node.stop_watching();
        }
        // Once more: one that was opened meanwhile may have seen that its parent was watched.
        all.append(&mut new);
    }
    for core in all {
        let node = &core.node;
        if node.close_reason().is_none() && node.handles.count() == 0 && !node.is_root() {
            driver::request(&core, CloseReason::Dropped);
        }
    }
}

/// Waits for the end of the close; from inside only for its beginning. Also watches for the moment when it has run dry: the
/// task that does so may have lost its runtime.
async fn finished(core: Arc<Core>, deadline: Option<Instant>) -> CloseReport {
    let watched = async {
        close_when_dry(&core, deadline).await;
        pending().await
    };
    let either = async {
        let (closed, watched) = (pin!(wait(&core)), pin!(watched));
        select(closed, watched).await.factor_first().0
    };
    let mut either = pin!(either.fuse());
    let end = poll_fn(|cx| {
        let has_ended = core.node.report.get().is_some();
        if !has_ended && current::is_inside(&core.node) {
            // The waker that it was polled with outside goes with it, and may panic.
            panics::contain(|| either.set(Fuse::terminated()));
            return Poll::Ready(close::begun_report(&core));
        }
        either.as_mut().poll(cx)
    });
    end.await
}

/// Closes the context when it has run dry, or so early before the deadline that tasks have their grace period, but not before
/// half of the time is over.
async fn close_when_dry(core: &Arc<Core>, deadline: Option<Instant>) {
    let is_dry = run_dry(core);
    let Some(deadline) = deadline else {
        is_dry.await;
        return driver::request(core, CloseReason::Finished);
    };
    let left = deadline.saturating_duration_since(clock::now());
    let patience = left.saturating_sub(core.limits.grace.min(left / 2));
    match select(pin!(is_dry), pin!(clock::sleep(patience))).await {
        futures::future::Either::Left(_) => driver::request(core, CloseReason::Finished),
        futures::future::Either::Right(_) => {
            let reason = CloseReason::from("finish_by");
            drop(Begun::new(core, reason, Some(Hurry::By(deadline))));
        }
    }
}

/// Waits until there is a moment at which no task is left.
pub(crate) async fn run_dry(core: &Arc<Core>) {
    let mut before = None;
    loop {
        // If each of them was without tasks twice, and none has ended in any of them between, then there was none between.
        let seen = look(core).await;
        if before.as_ref() == Some(&seen) {
            return;
        }
        before = Some(seen);
    }
}

/// Waits for each context in turn until it has no task; says how many had ended then.
async fn look(core: &Arc<Core>) -> Vec<(ResourceId, u64)> {
    let mut seen = Vec::new();
    for core in core.closing_set() {
        let node = &core.node;
        loop {
            let mut drained = pin!(node.drained.notified());
            let mut changed = pin!(node.changed.notified());
            drained.as_mut().enable();
            changed.as_mut().enable();
            // The tasks of one that closes still belong to it.
            let is_dry = match node.gate.state() {
                State::Open => !core.has_tasks(),
                _ => node.report.get().is_some(),
            };
            if is_dry {
                break;
            }
            select(drained, changed).await;
        }
        seen.push((node.meta.id, node.counts().tasks()));
    }
    seen
}
