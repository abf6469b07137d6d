//! Listings, leak reports, levels, counts: from any thread, at any moment.

use super::{
    kinds::Kind,
    panics::never,
    world::{At, Stored, World},
};
use crate::common::Dice;
use headcount::{Level, Live, leaks::LeakPolicy};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// I4: what lives during the whole call is listed, and nothing twice.
pub(crate) fn list(world: &Arc<World>, dice: &mut Dice, _: At) {
    let ctx = world.contexts.pick(dice);
    let task = world.tasks.take(dice);
    let id = task.as_ref().and_then(super::handles::TaskHandle::alive);
    let live = world.registry.live_now();
    let mut ids = HashSet::new();
    let is_right = live.iter().all(|entry| ids.insert(entry.id()));
    world.check(is_right, "an entry is listed twice");
    if let Some(ctx) = ctx {
        world.check(ids.contains(&ctx.handle.id()), "a context is not listed");
    }
    if let Some(task) = task {
        let is_listed = id.is_none_or(|id| ids.contains(&id));
        let is_accepted = id != Some(world.refused_id);
        if is_accepted && !is_listed && task.alive().is_some() {
            world.check(false, "a task is not listed");
        }
        world.put(&world.tasks, task, dice);
    }
    if dice.once_in(8) {
        drop(live.to_string());
    }
    store(world, live, dice);
}

fn store(world: &Arc<World>, live: Live, dice: &mut Dice) {
    let live = match dice.below(4) {
        0 => live.tasks(),
        1 => live.contexts(),
        2 => live.older_than(Duration::from_millis(1)),
        _ => live,
    };
    if dice.once_in(3) {
        world.put(&world.listings, live, dice);
    }
}

/// Reads a listing that was made before.
pub(crate) fn read(world: &Arc<World>, dice: &mut Dice, _: At) {
    if let Some(live) = world.listings.take(dice) {
        for entry in &live {
            drop((
                entry.path(),
                entry.state(),
                entry.age(),
                entry.strong_count(),
            ));
            world.check(entry.parent() != Some(entry.id()), "it is its own parent");
        }
    }
}

/// A listing in steps, given up in the middle or not.
pub(crate) fn list_in_steps(world: &Arc<World>, dice: &mut Dice, _: At) {
    let mut live = Box::pin(world.registry.live());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..dice.below(20) {
        if let Poll::Ready(live) = live.as_mut().poll(&mut cx) {
            return store(world, live, dice);
        }
    }
}

pub(crate) fn count(world: &Arc<World>, dice: &mut Dice, _: At) {
    drop((world.registry.count(), format!("{:?}", world.registry)));
    if let Some(mut growth) = world.growths.take(dice) {
        growth.sample_now();
        drop((growth.rising(), growth.to_string()));
        return world.put(&world.growths, growth, dice);
    }
    let mut growth = Box::pin(world.registry.growth());
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(growth) = growth.as_mut().poll(&mut cx) {
        world.put(&world.growths, growth, dice);
    }
}

pub(crate) fn leaks_now(world: &Arc<World>, dice: &mut Dice, _: At) {
    let policy = match dice.below(3) {
        0 => LeakPolicy::nothing_left(),
        1 => LeakPolicy::new().max_count("value", 3),
        _ => LeakPolicy::new().max_age("context", Duration::from_millis(2)),
    };
    let report = never("a look for leaks", || world.registry.leaks_now(&policy));
    if let Some(report) = report.filter(|_| dice.once_in(4)) {
        drop((report.to_string(), report.alive()));
    }
}

/// A look for leaks that settles, for others to poll.
pub(crate) fn leaks(world: &Arc<World>, dice: &mut Dice, _: At) {
    if !world.has(Kind::TimersElsewhere) {
        return;
    }
    let registry = world.registry.clone();
    let settle = Duration::from_micros(dice.below(3_000) as u64);
    let policy = LeakPolicy::new().settle(settle);
    let future = Box::pin(async move { drop(registry.leaks(&policy).await) });
    let stored = Stored {
        future,
        has_timers: true,
        is_delicate: true,
    };
    world.put(&world.stored, stored, dice);
}

pub(crate) fn level(world: &Arc<World>, dice: &mut Dice, _: At) {
    let level = match dice.below(8) {
        0..3 => Level::Off,
        3 => Level::Backtraces,
        _ => Level::Holders,
    };
    world.registry.set_level(level);
    world.registry.sample_backtraces(50);
    world.check(world.registry.level() <= Level::Backtraces, "no such level");
}

/// Looks in the background for leaks, for a while.
pub(crate) fn watch(world: &Arc<World>, dice: &mut Dice, _: At) {
    let _inside = world.runtimes.enter(dice);
    let after = Duration::from_millis(dice.below(2) as u64);
    let watch = never("a watch", || {
        world.registry.watch_leaks(LeakPolicy::new(), after)
    });
    if let Some(watch) = watch {
        world.put(&world.watches, watch, dice);
    }
}

/// A probe that panics now and then.
pub(crate) fn probe(world: &Arc<World>, dice: &mut Dice, _: At) {
    let panics = world.has(Kind::TaskPanics) && dice.once_in(2);
    let values = Arc::downgrade(world);
    world.registry.probe("values", move || {
        if panics {
            super::panics::on_purpose("a probe");
        }
        values
            .upgrade()
            .map_or(0, |world| world.counts.values.load(SeqCst))
    });
    if dice.once_in(2) {
        world.registry.remove_probe("values");
    }
}
