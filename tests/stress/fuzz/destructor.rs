//! What destructors do.

use super::{
    closes,
    kinds::Kind,
    model::Model,
    ops,
    panics::on_purpose,
    world::{At, Ctx, WeakCtx, World},
};
use crate::common::Dice;
use std::{mem, sync::Arc};

/// Something that happens when a future, output, hook or value is dropped; once.
pub(crate) struct Destructor {
    what: What,
    own: Option<(Arc<World>, WeakCtx, Dice)>,
}

enum What {
    Nothing,
    Panic,
    /// Some operations.
    Act,
    /// Begins a close and does not wait for it.
    BeginClose,
    /// Waits for the close of the context it is dropped in, which must return at once.
    CloseInside,
    /// Drops the handle of a context.
    LetGo(Ctx),
}

impl Destructor {
    pub(crate) fn new(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) -> Self {
        let what = match dice.below(16) {
            0 if world.has(Kind::DestructorPanics) => What::Panic,
            1 | 2 if world.has(Kind::Destructors) => What::Act,
            3 if world.has(Kind::Destructors) => What::BeginClose,
            4 if world.has(Kind::CloseInside) => What::CloseInside,
            5 => world.contexts.pick(dice).map_or(What::Nothing, What::LetGo),
            _ => What::Nothing,
        };
        let own = match what {
            What::Nothing | What::Panic | What::LetGo(_) => None,
            _ => Some((
                Arc::clone(world),
                own.clone(),
                dice.fork(dice.clone().below(1 << 30)),
            )),
        };
        Self { what, own }
    }

    /// Of something that a context keeps until it closes.
    pub(crate) fn kept(world: &Arc<World>, own: &WeakCtx, dice: &mut Dice) -> Self {
        let destructor = Self::new(world, own, dice);
        match destructor.what {
            What::LetGo(_) if world.is_acyclic => Self::nothing(),
            _ => destructor,
        }
    }

    pub(crate) fn nothing() -> Self {
        Self {
            what: What::Nothing,
            own: None,
        }
    }

    /// Lets go of the handle of a context.
    pub(crate) fn of_handle(ctx: Ctx) -> Self {
        Self {
            what: What::LetGo(ctx),
            own: None,
        }
    }

    /// The context whose handle is dropped with it.
    pub(crate) fn handle_of(&self) -> Option<&Arc<Model>> {
        match &self.what {
            What::LetGo(ctx) => Some(&ctx.model),
            _ => None,
        }
    }

    pub(crate) fn run(&mut self) {
        let what = mem::replace(&mut self.what, What::Nothing);
        let own = self.own.take();
        let _running = own.as_ref().and_then(|(world, ..)| world.run_as_current());
        match (what, own) {
            (What::Panic, _) => on_purpose("a destructor"),
            (What::LetGo(ctx), _) => drop(ctx),
            (What::Act, Some((world, _, mut dice))) => {
                for _ in 0..=dice.below(2) {
                    ops::act(&world, &mut dice, At::Drop);
                }
            }
            (What::BeginClose, Some((world, own, mut dice))) => {
                closes::begin_once(&world, &own, &mut dice);
            }
            (What::CloseInside, Some((world, own, mut dice))) => {
                closes::inside(&world, &own, &mut dice);
            }
            _ => {}
        }
    }
}

impl Drop for Destructor {
    fn drop(&mut self) {
        self.run();
    }
}
