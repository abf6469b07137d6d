//! Values that are owned, registered or tracked.

use super::{
    destructor::Destructor,
    fate::{DROPPED, EARLY, Flags},
    kinds::Kind,
    model::Model,
    panics::{contain, failure, never},
    records::OwnedRecord,
    world::{At, Ctx, World},
};
use crate::common::{Dice, lock};
use headcount::{State, WeakTracked};
use std::sync::{Arc, atomic::Ordering::SeqCst};

/// A value of the user's, which counts how often it is made and dropped.
pub(crate) struct Value {
    world: Arc<World>,
    destructor: Destructor,
    /// The context that owns it.
    owner: Option<(Arc<Model>, Arc<OwnedRecord>)>,
}

impl Value {
    pub(crate) fn new(world: &Arc<World>, destructor: Destructor) -> Self {
        world.counts.values.fetch_add(1, SeqCst);
        Self {
            world: Arc::clone(world),
            destructor,
            owner: None,
        }
    }

    fn any(world: &Arc<World>, dice: &mut Dice) -> Self {
        let destructor = match world.weak.pick(dice) {
            Some(own) => Destructor::kept(world, &own, dice),
            None => Destructor::nothing(),
        };
        Self::new(world, destructor)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.world.counts.values_dropped.fetch_add(1, SeqCst);
        if let Some((model, record)) = &self.owner {
            if record.flags.set(DROPPED) & DROPPED != 0 {
                failure(format_args!("{} dropped a value twice", model.name));
            }
            lock(&model.owned_dropped).push(Arc::clone(record));
        }
        let _running = self.world.run_as_current();
        self.destructor.run();
    }
}

/// A weak handle, with its value's name.
pub(crate) type WeakValue = WeakTracked<Value>;

pub(crate) fn own(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(ctx) = world.contexts.pick(dice) {
        let value = Value::any(world, dice);
        own_value(world, &ctx, value, dice);
    }
}

/// Gives a value to a context, which then has its only handle, or one of several.
pub(crate) fn own_value(world: &Arc<World>, ctx: &Ctx, mut value: Value, dice: &mut Dice) {
    let is_shared = value.destructor.handle_of().is_none() && dice.once_in(2);
    let name = world.name("v");
    let mut owned = lock(&ctx.model.owned);
    let record = Arc::new(OwnedRecord {
        number: owned.len(),
        flags: Flags::default(),
    });
    owned.push(Arc::clone(&record));
    value.owner = Some((Arc::clone(&ctx.model), Arc::clone(&record)));
    let given = ctx.handle.own(name, "value", value);
    drop(owned);
    match given {
        Ok(value) if is_shared => world.put(&world.values, value, dice),
        Ok(value) => {
            drop(value);
            if ctx.handle.state() == State::Open {
                record.flags.set(EARLY);
            }
        }
        Err(refused) => {
            world.check(ctx.handle.is_cancelled(), "an open context refused a value");
            contain(|| drop(refused));
        }
    }
}

pub(crate) fn own_in_registry(world: &Arc<World>, dice: &mut Dice, _: At) {
    let value = Value::any(world, dice);
    let value = world.registry.own(world.name("v"), "value", value);
    world.put(&world.values, value, dice);
}

pub(crate) fn duplicate(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(value) = world.values.pick(dice) {
        value.touch();
        if let Some(ctx) = world.contexts.pick(dice) {
            value.held_by(&ctx.handle);
            ctx.handle.touch();
        }
        world.put(&world.values, value, dice);
    }
}

pub(crate) fn drop_value(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop(world.values.take(dice));
}

/// Gives a value back early, if a context owns it: once.
pub(crate) fn release(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(value) = world.values.pick(dice) {
        never("a release", || value.release());
        world.check(!value.release(), "a value was released twice");
    }
}

pub(crate) fn downgrade(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(value) = world.values.pick(dice) {
        world.put(&world.weak_values, value.downgrade(), dice);
    }
}

pub(crate) fn upgrade(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(weak) = world.weak_values.pick(dice) else {
        return;
    };
    drop(weak.holders());
    match weak.upgrade() {
        Some(value) => world.put(&world.values, value, dice),
        None => world.check(weak.strong_count() == 0, "it is there and was not found"),
    }
}

pub(crate) fn register(world: &Arc<World>, dice: &mut Dice, _: At) {
    let registration = world.registry.register(world.name("r"), "registration");
    world.put(&world.registrations, registration, dice);
}

pub(crate) fn drop_registration(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(registration) = world.registrations.take(dice) {
        never("dropping a registration", || drop(registration));
    }
}

pub(crate) fn track(world: &Arc<World>, dice: &mut Dice, _: At) {
    let value = Arc::new(Value::any(world, dice));
    let id = world.registry.track(&value, world.name("a"), "arc");
    if world.has(Kind::DeadArcs) {
        world.put(&world.arcs, (value, id), dice);
    } else {
        world.registry.untrack(id);
    }
}

pub(crate) fn untrack(world: &Arc<World>, dice: &mut Dice, _: At) {
    if dice.once_in(20) {
        world.registry.clear();
    } else if let Some((value, id)) = world.arcs.take(dice) {
        world.registry.untrack(id);
        world.check(!world.registry.untrack(id), "untracked twice");
        drop(value);
    }
}

pub(crate) fn drop_arc(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop(world.arcs.take(dice));
}
