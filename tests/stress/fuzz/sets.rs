//! Sets of tasks, each of which is joined once.

use super::{
    fate::Fate,
    handles::{DropsHandle, Output, judge},
    panics::{failure, never},
    script::script,
    target::{Door, Target},
    tasks::SPAWNED,
    world::{At, World},
};
use crate::common::Dice;
use headcount::{ResourceId, TaskError, TaskSet};
use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::runtime::Handle;

/// A set, with what is known of the tasks in it.
pub(crate) struct StoredSet {
    set: Option<TaskSet<Output>>,
    target: Target,
    members: HashMap<ResourceId, Arc<Fate>>,
    /// So many of them were refused.
    refused: usize,
}

impl Drop for StoredSet {
    fn drop(&mut self) {
        let _drops = DropsHandle::new();
        let set = self.set.take();
        never("dropping a set", || drop(set));
    }
}

impl StoredSet {
    fn set(&mut self) -> &mut TaskSet<Output> {
        self.set.as_mut().expect("it is there until it is dropped")
    }

    fn check_length(&mut self) {
        let known = self.members.len() + self.refused;
        let length = self.set().len();
        if length != known || self.set().is_empty() != (known == 0) {
            failure(format_args!("a set of {known} tasks has {length}"));
        }
    }

    fn add(&mut self, id: ResourceId, refused: ResourceId, fate: &Arc<Fate>) {
        if id == refused {
            self.refused += 1;
        } else {
            self.members.insert(id, Arc::clone(fate));
        }
    }

    /// A task was joined.
    fn joined(&mut self, id: ResourceId, refused: ResourceId, result: &Result<Output, TaskError>) {
        if id != refused {
            match self.members.remove(&id) {
                Some(fate) => judge(&fate, result),
                None => failure(format_args!("{id} was joined, and is not in the set")),
            }
        } else if self.refused > 0 && matches!(result, Err(TaskError::Refused)) {
            self.refused -= 1;
        } else {
            failure("what was refused was joined as something else");
        }
    }
}

pub(crate) fn make(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(target) = Target::pick(world, dice) else {
        return;
    };
    let set = match &target {
        Target::Strong(ctx) => ctx.handle.join_set(),
        Target::Weak(ctx) => ctx.handle.join_set(),
    };
    // It does not keep the context open.
    let target = Target::Weak(target.weak());
    let set = StoredSet {
        set: Some(set),
        target,
        members: HashMap::new(),
        refused: 0,
    };
    world.put(&world.sets, set, dice);
}

pub(crate) fn spawn(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(mut set) = world.sets.take(dice) else {
        return;
    };
    let _inside = world.runtimes.enter(dice);
    if Handle::try_current().is_ok() {
        spawn_into(world, &mut set, dice);
    }
    world.put(&world.sets, set, dice);
}

fn spawn_into(world: &Arc<World>, set: &mut StoredSet, dice: &mut Dice) {
    let fate = world.fate(set.target.model(), "spawned into a set");
    let own = set.target.weak();
    let script = script(world, &own, &fate, SPAWNED, dice);
    let door = Door::of(&set.target);
    let tasks = set.set();
    let Some(handle) = world.may_refuse("a spawn into a set", || tasks.spawn(script)) else {
        return;
    };
    door.settle(world, &fate, handle.id());
    set.add(handle.id(), world.refused_id, &fate);
    set.check_length();
}

/// Adds a task of any context.
pub(crate) fn insert(world: &Arc<World>, dice: &mut Dice, _: At) {
    let (Some(mut set), Some(task)) = (world.sets.take(dice), world.tasks.take(dice)) else {
        return;
    };
    if let Some((task, fate)) = task.into_inner() {
        let tasks = set.set();
        if let Some(handle) = never("an insertion", || tasks.insert(task)) {
            set.add(handle.id(), world.refused_id, &fate);
        }
        set.check_length();
    }
    world.put(&world.sets, set, dice);
}

pub(crate) fn join(world: &Arc<World>, dice: &mut Dice, at: At) {
    let Some(mut set) = world.sets.take(dice) else {
        return;
    };
    let waker = world.waker(at, dice);
    for _ in 0..=dice.below(3) {
        let tasks = set.set();
        let joined = if dice.once_in(2) {
            tasks.try_join_next_with_id()
        } else {
            match tasks.poll_join_next_with_id(&mut Context::from_waker(&waker)) {
                Poll::Ready(joined) => joined,
                Poll::Pending => None,
            }
        };
        let Some((id, result)) = joined else { break };
        set.joined(id, world.refused_id, &result);
        set.check_length();
        super::panics::contain(|| drop(result));
    }
    world.put(&world.sets, set, dice);
}

pub(crate) fn end(world: &Arc<World>, dice: &mut Dice, _: At) {
    let Some(mut set) = world.sets.take(dice) else {
        return;
    };
    let _drops = DropsHandle::new();
    match dice.below(3) {
        0 => {
            never("an abort of a set", || set.set().abort_all());
            set.check_length();
        }
        1 => {
            never("a detachment", || set.set().detach_all());
            set.members.clear();
            set.refused = 0;
            set.check_length();
        }
        _ => return,
    }
    world.put(&world.sets, set, dice);
}
