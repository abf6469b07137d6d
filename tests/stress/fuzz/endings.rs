//! All the ways to end a context, or the registry, and what each of them promises.

use super::{
    kinds::Kind,
    model::Model,
    world::{Ctx, World},
};
use crate::common::Dice;
use futures::future::{BoxFuture, FutureExt};
use headcount::{CloseReason, CloseReport, Deadline, Registry, StillClosing};
use std::{sync::Arc, time::Duration};

/// A way to end something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    CloseWith,
    CloseNow,
    CloseBy(Duration),
    CloseWithin(Duration),
    Finish,
    FinishBy(Duration),
}

impl Ending {
    /// One that only waits for what happens, without a timer.
    pub(crate) fn patient(world: &World, dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 if world.has(Kind::Finish) => Self::Finish,
            1 if world.has(Kind::Finish) => Self::FinishBy(Duration::MAX),
            2 | 3 => Self::CloseNow,
            4 => Self::CloseBy(Duration::MAX),
            5 => Self::CloseWithin(Duration::MAX),
            6 => Self::CloseWith,
            _ => Self::Close,
        }
    }

    /// One that waits no longer than this.
    pub(crate) fn limited(world: &World, limit: Duration, dice: &mut Dice) -> Self {
        let has_haste = world.has(Kind::Haste) && world.has_deadlines;
        match dice.below(4) {
            0 if has_haste => Self::CloseBy(limit),
            1 if has_haste && world.has(Kind::Finish) => Self::FinishBy(limit),
            _ => Self::CloseWithin(limit),
        }
    }

    fn deadline(self) -> Option<Duration> {
        match self {
            Self::CloseBy(limit) | Self::FinishBy(limit) => Some(limit),
            _ => None,
        }
    }

    pub(crate) fn is_finish(self) -> bool {
        matches!(self, Self::Finish | Self::FinishBy(_))
    }
}

/// What can be ended.
pub(crate) enum Whole {
    Context(Ctx),
    Registry(Registry, Arc<Model>),
}

macro_rules! either {
    ($whole:expr, $handle:ident => $call:expr) => {
        match $whole {
            Whole::Context(Ctx {
                handle: $handle, ..
            }) => $call,
            Whole::Registry($handle, _) => $call,
        }
    };
}

/// A call that ends something, under way.
pub(crate) enum Call {
    Endless(BoxFuture<'static, CloseReport>),
    Limited(BoxFuture<'static, Result<CloseReport, StillClosing>>),
}

impl Whole {
    pub(crate) fn of_registry(world: &World) -> Self {
        Self::Registry(world.registry.clone(), Arc::clone(&world.root))
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        match self {
            Self::Context(ctx) => &ctx.model,
            Self::Registry(_, model) => model,
        }
    }

    /// Begins to end it; what comes back only waits.
    pub(crate) fn call(&self, ending: Ending) -> Call {
        let model = self.model();
        let is_near = |limit: &Duration| Deadline::from(*limit).instant().is_some();
        if ending.deadline().as_ref().is_some_and(is_near) {
            model.hurry();
        }
        if ending.is_finish() {
            model.begin_to_finish();
        }
        let call = either!(self, handle => match ending {
            Ending::Close => Call::Endless(handle.close().boxed()),
            Ending::CloseWith => Call::Endless(handle.close_with(CloseReason::Culled).boxed()),
            Ending::CloseNow => Call::Endless(handle.close_now().boxed()),
            Ending::Finish => Call::Endless(handle.finish().boxed()),
            Ending::CloseBy(limit) => Call::Limited(handle.close_by(limit).boxed()),
            Ending::CloseWithin(limit) => Call::Limited(handle.close_within(limit).boxed()),
            Ending::FinishBy(limit) => Call::Limited(handle.finish_by(limit).boxed()),
        });
        if ending.is_finish() {
            model.finishes();
        } else {
            self.check_begun();
        }
        call
    }

    /// The close has begun, or is held back by what needs the context; then the reason is known.
    pub(crate) fn check_begun(&self) {
        let is_needed = self.model().is_needed();
        let (state, reason) = either!(self, handle => (handle.state(), handle.close_reason()));
        if reason.is_none() || state == headcount::State::Open && !is_needed {
            let name = &self.model().name;
            super::panics::failure(format_args!(
                "{name} was closed, and is {state}: {reason:?}"
            ));
        }
    }

    /// The whole of it, as a future that notes the report, and keeps the handle or not.
    pub(crate) fn end(self, ending: Ending, keeps_handle: bool) -> BoxFuture<'static, ()> {
        let (call, model) = (self.call(ending), Arc::clone(self.model()));
        let kept = keeps_handle.then_some(self);
        let wait = async move {
            call.wait(&model).await;
            drop(kept);
        };
        wait.boxed()
    }
}

impl Call {
    /// Waits, and notes the report, if it came in time.
    pub(crate) async fn wait(self, model: &Model) -> Option<CloseReport> {
        let report = match self {
            Self::Endless(call) => call.await,
            Self::Limited(call) => match call.await {
                Ok(report) => report,
                Err(still) => {
                    drop(still.to_string());
                    return None;
                }
            },
        };
        model.saw(&report);
        Some(report)
    }
}
