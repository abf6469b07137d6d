//! The context under test, and the task in it.

use crate::{
    axes::{Carrier, Case, Ending, Moment, Shape},
    needed::Needed,
    outcome::Held,
    runtime::TestRuntime,
    stage::{Body, GRACE, Stage, closure},
};
use headcount::{Context, OnFailure, Registry, TaskBuilder};
use std::{rc::Rc, sync::Arc, time::Duration};

/// The context under test.
pub(crate) fn open(
    case: Case,
    registry: &Registry,
    runtime: &TestRuntime,
    needed: Option<&Needed>,
) -> Context {
    // Where there is haste, it alone ends what outlasts the rest.
    let outlasts = case.shape == Shape::Ignores && !case.ending.hurries();
    let grace = if outlasts { GRACE } else { Duration::MAX };
    let is_outside = case.ending == Ending::DroppedOutside;
    let _inside = (!is_outside).then(|| runtime.handle.enter());
    let mut builder = registry.context_builder("ctx").grace(grace);
    if let Some(needed) = needed {
        builder = builder.needs(needed.ctx());
    }
    if case.ending == Ending::Failure {
        builder = builder.on_failure(OnFailure::Close);
    }
    builder.open()
}

/// Starts the task; if it is not to be polled yet, everybody who could do so is busy afterwards.
pub(crate) fn start(
    case: Case,
    runtime: &mut TestRuntime,
    ctx: &Context,
    stage: &Arc<Stage>,
) -> Result<Held, String> {
    let is_early = case.moment == Moment::BeforeFirstPoll;
    match case.carrier {
        Carrier::Blocking if is_early => runtime.plug_pool()?,
        Carrier::Local | Carrier::Blocking => {}
        _ if is_early => runtime.plug_workers()?,
        _ => {}
    }
    Ok(match case.carrier {
        Carrier::Spawned | Carrier::Cancellable => {
            let body = Body::<()>::new(case, stage);
            Held::Task(subject(case, runtime, ctx).spawn(body))
        }
        Carrier::Wrapped => {
            let wrapped = ctx.wrap(Body::<()>::new(case, stage));
            Held::Elsewhere(runtime.handle.spawn(wrapped))
        }
        Carrier::Blocking => {
            let closure = closure(case, stage);
            Held::Task(subject(case, runtime, ctx).spawn_blocking(closure))
        }
        Carrier::Local => {
            let (ctx, stage) = (ctx.clone(), Arc::clone(stage));
            let spawn = move || ctx.spawn_local(Body::<Rc<()>>::new(case, &stage));
            Held::Task(runtime.on_thread(is_early, spawn)?)
        }
    })
}

/// The settings of the task.
fn subject<'a>(case: Case, runtime: &TestRuntime, ctx: &'a Context) -> TaskBuilder<'a> {
    let mut task = ctx.task("subject");
    if case.carrier == Carrier::Cancellable {
        task = task.cancellable();
    }
    if case.ending == Ending::DroppedOutside {
        task = task.on(&runtime.handle);
    }
    task
}
