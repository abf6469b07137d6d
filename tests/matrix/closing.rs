//! The calls that end a context, or what it needs, and what each of them promises at once.

use crate::{
    axes::{Case, Ending, Moment, Shape},
    needed::Needed,
    stage::{GRACE, MARKER, Seen, Stage},
};
use futures::{FutureExt, future::BoxFuture};
use headcount::{CloseReport, Context, RefusedReason, Registry, State, StillClosing, WeakContext};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task,
    time::Duration,
};

/// A close under way, which owns a handle.
pub(crate) type Close = BoxFuture<'static, Result<(CloseReport, Seen), String>>;

/// A deadline that is of no consequence.
const FAR: Duration = Duration::from_secs(30);
/// One that comes; also where hooks need their time.
const NEAR: Duration = GRACE.saturating_mul(4);
const NEAR_WITH_HOOKS: Duration = Duration::from_secs(2);

impl Case {
    /// Whether the task is still there at the deadline of its ending.
    fn outlasts(&self) -> bool {
        let is_parked = self.moment == Moment::Parked && self.ending == Ending::FinishBy;
        self.shape == Shape::Ignores || is_parked
    }

    fn deadline(&self) -> Duration {
        match self.ending {
            _ if !self.outlasts() => FAR,
            Ending::NeededClosesBy => NEAR_WITH_HOOKS,
            _ => NEAR,
        }
    }
}

/// Begins the ending, and looks, right when it is over, at what was dropped; then it has the report of the context.
pub(crate) fn call(
    case: Case,
    ctx: &Context,
    needed: Option<&Needed>,
    registry: &Registry,
    stage: &Arc<Stage>,
) -> Close {
    let deadline = case.deadline();
    let what = needed.map_or(ctx, Needed::ctx);
    let ended = match case.ending {
        Ending::CloseNow | Ending::HurriedNow | Ending::NeededClosesNow => {
            what.close_now().map(drop).map(Ok).boxed()
        }
        Ending::CloseBy | Ending::HurriedBy | Ending::NeededClosesBy => {
            in_time(case, what.close_by(deadline), what.downgrade())
        }
        Ending::FinishBy => in_time(case, what.finish_by(deadline), what.downgrade()),
        Ending::Finish | Ending::NeededFinishes => what.finish().map(drop).map(Ok).boxed(),
        Ending::NeededParentCloses => {
            let parent = &needed.expect("it is needed").parent;
            parent.close().map(drop).map(Ok).boxed()
        }
        Ending::NeededRegistryCloses => registry.close().map(drop).map(Ok).boxed(),
        _ => what.close().map(drop).map(Ok).boxed(),
    };
    let (ctx, stage) = (ctx.clone(), Arc::clone(stage));
    let close = async move {
        ended.await?;
        let seen = stage.seen();
        Ok((ctx.closed().await, seen))
    };
    close.boxed()
}

/// Waits until the deadline, and if that came first until the end, which comes all the same.
fn in_time(
    case: Case,
    end: impl Future<Output = Result<CloseReport, StillClosing>> + Send + 'static,
    ctx: WeakContext,
) -> BoxFuture<'static, Result<(), String>> {
    let wait = async move {
        let Err(still) = end.await else { return Ok(()) };
        if !case.outlasts() {
            return Err(format!("not by a deadline that is far away: {still}"));
        }
        drop(ctx.closed().await);
        Ok(())
    };
    wait.boxed()
}

/// A context that finishes is open, and takes nothing from outside.
pub(crate) fn check_finishing(case: Case, ctx: &Context) -> Result<(), String> {
    let spawned = ctx.try_spawn(async {}).map_err(|refused| refused.reason());
    if !matches!(spawned, Err(RefusedReason::Closed)) || ctx.try_child("child").is_ok() {
        return Err("a context that finishes let an outsider in".to_owned());
    }
    // Its task is there, so it has not run dry.
    let is_open = ctx.state() == State::Open && !ctx.is_cancelled();
    if case.moment != Moment::Finished && !is_open {
        return Err("a context that finishes was cancelled".to_owned());
    }
    Ok(())
}

/// Something else in the context fails; true if the context still took it.
pub(crate) fn fail(ctx: &Context) -> Result<bool, String> {
    let Ok(wrapped) = ctx.try_wrap(async { panic!("{MARKER}: beside the task") }) else {
        return Ok(false);
    };
    let mut wrapped = pin!(wrapped);
    let mut cx = task::Context::from_waker(task::Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| {
        wrapped.as_mut().poll(&mut cx).map(drop)
    }));
    if polled.is_ok() || ctx.state() == State::Open {
        return Err("a failure did not close the context".to_owned());
    }
    Ok(true)
}
