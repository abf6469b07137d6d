//! The operations, and how often each is done.

use super::{
    closes, contexts, hooks,
    kinds::Kind,
    listings, needs,
    panics::contain,
    sets, tasks, values,
    world::{At, World},
    wrapped,
};
use crate::common::Dice;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

type Run = fn(&Arc<World>, &mut Dice, At);

/// An operation, how often it comes, and the kind it is of, if that can be switched off.
pub(crate) struct Op {
    name: &'static str,
    weight: usize,
    kind: Option<Kind>,
    run: Run,
}

const fn op(name: &'static str, weight: usize, run: Run) -> Op {
    Op {
        name,
        weight,
        kind: None,
        run,
    }
}

const fn of(kind: Kind, name: &'static str, weight: usize, run: Run) -> Op {
    Op {
        name,
        weight,
        kind: Some(kind),
        run,
    }
}

pub(crate) const OPS: &[Op] = &[
    op("open a context", 8, contexts::open),
    of(
        Kind::Needs,
        "open what needs another",
        6,
        contexts::open_needing,
    ),
    of(Kind::Weak, "open by a weak handle", 2, contexts::open_weak),
    of(Kind::Needs, "view what is needed", 2, needs::view),
    op("clone a handle", 3, contexts::duplicate),
    op("drop a handle", 5, contexts::drop_handle),
    op("downgrade", 4, contexts::downgrade),
    op("upgrade", 3, contexts::upgrade),
    of(
        Kind::OwnChild,
        "own a child's handle",
        2,
        contexts::give_to_parent,
    ),
    op("view a context", 2, contexts::view),
    op("cancel a token", 1, contexts::cancel_token),
    of(Kind::Ends, "end a runtime", 1, contexts::end_runtime),
    op("request a close", 2, closes::request),
    op("end and wait for nothing", 2, closes::end),
    op("make a close", 4, closes::store),
    op("poll a close", 6, closes::poll),
    op("await a close", 1, closes::poll_for_a_while),
    op("drop a close", 2, closes::drop_stored),
    op("spawn a close", 2, closes::spawn_stored),
    of(
        Kind::CloseRegistry,
        "close the registry",
        1,
        closes::close_registry,
    ),
    of(Kind::Forget, "forget", 1, closes::forget),
    op("spawn", 14, tasks::spawn),
    op("spawn fallible", 2, tasks::spawn_fallible),
    op("spawn freely", 2, tasks::spawn_free),
    of(Kind::Blocking, "spawn blocking", 2, tasks::spawn_blocking),
    of(Kind::Local, "spawn local", 3, tasks::spawn_local),
    op("abort", 3, tasks::abort),
    op("drop a task", 3, tasks::drop_task),
    op("poll a task", 5, tasks::poll_task),
    of(Kind::Wrapped, "wrap", 4, wrapped::wrap),
    of(Kind::Wrapped, "poll wrapped", 6, wrapped::poll_wrapped),
    of(Kind::Wrapped, "drop wrapped", 1, wrapped::drop_wrapped),
    of(Kind::Wrapped, "spawn wrapped", 2, wrapped::spawn_wrapped),
    of(Kind::Sets, "make a set", 1, sets::make),
    of(Kind::Sets, "spawn into a set", 4, sets::spawn),
    of(Kind::Sets, "add to a set", 2, sets::insert),
    of(Kind::Sets, "join", 5, sets::join),
    of(Kind::Sets, "end a set", 1, sets::end),
    op("ask for the current context", 1, tasks::ask_current),
    of(Kind::Hooks, "register a hook", 6, hooks::register),
    of(Kind::Hooks, "cancel a hook", 2, hooks::cancel),
    of(Kind::Hooks, "drop a hook's handle", 1, hooks::drop_hook),
    of(Kind::Owned, "own", 4, values::own),
    op("own in the registry", 2, values::own_in_registry),
    op("clone a value", 3, values::duplicate),
    op("drop a value", 4, values::drop_value),
    op("release a value", 2, values::release),
    op("downgrade a value", 2, values::downgrade),
    op("upgrade a value", 2, values::upgrade),
    op("register", 3, values::register),
    op("drop a registration", 2, values::drop_registration),
    op("track", 3, values::track),
    op("untrack", 1, values::untrack),
    op("drop an arc", 1, values::drop_arc),
    of(Kind::Listings, "list", 2, listings::list),
    of(Kind::Listings, "read a listing", 1, listings::read),
    of(Kind::Listings, "list in steps", 1, listings::list_in_steps),
    of(Kind::Listings, "count", 1, listings::count),
    of(Kind::Leaks, "leaks now", 1, listings::leaks_now),
    of(Kind::Leaks, "leaks", 1, listings::leaks),
    of(Kind::Leaks, "watch leaks", 1, listings::watch),
    of(Kind::Leaks, "probe", 1, listings::probe),
    of(Kind::Levels, "level", 1, listings::level),
];

/// How often each was done.
static DONE: [AtomicU64; OPS.len()] = [const { AtomicU64::new(0) }; OPS.len()];

thread_local! {
    /// Operations that run on this thread: destructors do some in the middle of others.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// So many operations inside of each other.
const DEEPEST: usize = 4;

/// Does one operation. What panics in it on purpose goes no further.
pub(crate) fn act(world: &Arc<World>, dice: &mut Dice, at: At) {
    if DEPTH.get() == DEEPEST {
        return;
    }
    let number = any(world, dice);
    let op = &OPS[number];
    let _under_way = world.begin();
    if !world.spend(op.name) {
        return;
    }
    DONE[number].fetch_add(1, Relaxed);
    DEPTH.set(DEPTH.get() + 1);
    contain(|| (op.run)(world, dice, at));
    DEPTH.set(DEPTH.get() - 1);
}

fn any(world: &World, dice: &mut Dice) -> usize {
    let is_on = |op: &&Op| op.kind.is_none_or(|kind| world.has(kind));
    let sum: usize = OPS.iter().filter(is_on).map(|op| op.weight).sum();
    let mut left = dice.below(sum);
    for (number, op) in OPS.iter().enumerate() {
        if !is_on(&op) {
            continue;
        }
        if left < op.weight {
            return number;
        }
        left -= op.weight;
    }
    unreachable!("it is below the sum")
}

/// Each operation, with how often it was done.
pub(crate) fn done() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = DONE.iter().map(|count| count.load(Relaxed));
    OPS.iter().map(|op| op.name).zip(counts)
}
