//! The handle by which something is given to a context: a strong one, or a weak one of a context that may be gone.

use super::{
    fate::{DROPPED, Fate, STARTED},
    kinds::Kind,
    model::Model,
    panics::failure,
    world::{Ctx, WeakCtx, World},
};
use crate::common::Dice;
use futures::FutureExt;
use headcount::{ResourceId, State, TaskBuilder};
use std::sync::Arc;

pub(crate) enum Target {
    Strong(Ctx),
    Weak(WeakCtx),
}

impl Target {
    /// Any of those that are there, mostly a strong one.
    pub(crate) fn pick(world: &World, dice: &mut Dice) -> Option<Self> {
        if world.has(Kind::Weak) && dice.once_in(4) {
            world.weak.pick(dice).map(Self::Weak)
        } else {
            world.contexts.pick(dice).map(Self::Strong)
        }
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        match self {
            Self::Strong(ctx) => &ctx.model,
            Self::Weak(ctx) => &ctx.model,
        }
    }

    pub(crate) fn weak(&self) -> WeakCtx {
        match self {
            Self::Strong(ctx) => ctx.downgrade(),
            Self::Weak(ctx) => ctx.clone(),
        }
    }

    pub(crate) fn state(&self) -> State {
        match self {
            Self::Strong(ctx) => ctx.handle.state(),
            Self::Weak(ctx) => ctx.handle.state(),
        }
    }

    pub(crate) fn task(&self, name: String) -> TaskBuilder<'_> {
        match self {
            Self::Strong(ctx) => ctx.handle.task(name),
            Self::Weak(ctx) => ctx.handle.task(name),
        }
    }
}

/// What is known of a context before something is given to it.
pub(crate) struct Door {
    /// It refuses for certain.
    is_shut: bool,
}

impl Door {
    pub(crate) fn of(target: &Target) -> Self {
        let has_begun = match target {
            Target::Strong(ctx) => ctx.handle.is_cancelled(),
            // Without handles it is not open any more, but the drop of the last one may need another moment to begin the close.
            Target::Weak(ctx) => ctx.handle.cancelled().now_or_never().is_some(),
        };
        Self {
            is_shut: has_begun || target.model().refuses(),
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Of what was not asked before.
    pub(crate) fn unknown() -> Self {
        Self { is_shut: false }
    }

    /// A spawn has returned a handle with this id. What was refused is dropped by then, unpolled.
    pub(crate) fn settle(&self, world: &World, fate: &Fate, id: ResourceId) {
        if id != world.refused_id {
            self.accepted(fate);
        } else if !fate.flags.has(DROPPED) || fate.flags.has(STARTED) {
            failure(format_args!(
                "what was refused is there, or began: {fate:?}"
            ));
        }
    }

    /// I2: nothing is accepted once the close has begun, nor from outside once a context finishes.
    pub(crate) fn accepted(&self, fate: &Fate) {
        if self.is_shut {
            let (name, sort) = (&fate.model.name, fate.sort);
            failure(format_args!("{name} accepted what is {sort}, and was shut"));
        }
        fate.accept();
    }
}
