//! A spawn through a weak handle against the drop of the last strong one.

use super::outcomes::{Outcomes, bounded_long};
use crate::{
    context::{
        close,
        gate::{Gate, OnLeave},
        handles::Handles,
        weak::WeakContext,
    },
    name::Label,
    registry::registry::Registry,
    table::{
        record::{Facts, Outcome, State},
        task_entry::{Role, TaskKind},
    },
    task::guard::TaskGuard,
};
use loom::thread;
use std::{
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// A context as far as a spawn needs one.
struct Context {
    gate: Gate,
    handles: Handles,
    /// References to the core: it is there until the last one goes, as with an `Arc`, which loom knows without its `Weak`.
    cores: Handles,
    /// Accepted futures that are not dropped yet.
    alive: AtomicUsize,
}

/// What became of the spawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spawn {
    Gone,
    Refused(bool),
    /// Accepted, and whether its end was announced to the close.
    Accepted(bool),
}

/// `WeakContext::spawn`: borrows the core, without a handle, and enters the gate.
fn spawn(context: &Context) -> Spawn {
    if !context.cores.try_add() {
        return Spawn::Gone;
    }
    let entered = context.gate.enter(|| false);
    if entered.is_ok() {
        context.alive.fetch_add(1, SeqCst);
    }
    // The call returns; the task runs on by itself.
    context.cores.remove();
    match entered {
        Err(left) => Spawn::Refused(left == OnLeave::NotifyDrained),
        Ok(()) => {
            let is_there = context.cores.count() > 0;
            assert!(is_there, "a close that waits for a task is not driven");
            context.alive.fetch_sub(1, SeqCst);
            Spawn::Accepted(context.gate.leave() == OnLeave::NotifyDrained)
        }
    }
}

/// I2, I3, I11: the spawn is refused, or awaited by the close that the last drop begins; and it keeps nothing open.
#[test]
fn a_weak_spawn_is_refused_or_awaited_by_the_close_of_the_last_drop() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let context = Arc::new(Context {
            gate: Gate::new(),
            handles: Handles::one(),
            // That of the handle, and then of the driver of the close until it has ended.
            cores: Handles::one(),
            alive: AtomicUsize::new(0),
        });
        let spawner = thread::spawn({
            let context = Arc::clone(&context);
            move || spawn(&context)
        });

        assert!(context.handles.remove(), "a weak spawn has no handle");
        assert_eq!(context.gate.begin(), State::Open);
        let is_empty = context.gate.inside() == 0;
        if is_empty {
            let alive = context.alive.load(SeqCst);
            assert_eq!(alive, 0, "closed, and a task is alive");
            context.gate.end();
            context.cores.remove();
        }
        let spawned = spawner.join().unwrap();
        let told = matches!(spawned, Spawn::Accepted(true) | Spawn::Refused(true));
        assert!(is_empty || told, "its end was not announced");
        assert_eq!(context.gate.inside(), 0);
        assert!(!context.handles.try_add(), "the context was held open");
        saw.saw((spawned, is_empty));
    });
    outcomes.assert_all([
        // After the end.
        (Spawn::Gone, true),
        // After the beginning: before the end, and after the close has counted it in passing.
        (Spawn::Refused(false), true),
        (Spawn::Refused(true), true),
        (Spawn::Refused(true), false),
        // Before the beginning: ended before it, or right after it, or when the close waited for it.
        (Spawn::Accepted(false), true),
        (Spawn::Accepted(true), true),
        (Spawn::Accepted(true), false),
    ]);
}

/// A task of a real context, spawned through a weak handle, which ends at once. `None` if the context is gone; else whether it
/// was let in.
fn run_task(context: &WeakContext) -> Option<bool> {
    // loom does not see who upgrades a `Weak`. What comes between this look and the next one may happen before it or after.
    let _ = context.state();
    let core = context.node().core.upgrade()?;
    let node = &core.node;
    let guard = match TaskGuard::admit(node) {
        Ok(guard) => guard,
        Err(left) => {
            close::on_leave(node, left);
            return Some(false);
        }
    };
    let facts = Facts {
        name: Label::borrowed("task"),
        kind: Label::borrowed("task"),
        location: Location::caller(),
    };
    let mut task = guard.list_alone(facts, Role::Task(TaskKind::Wrapped));
    drop(core);
    assert!(context.state() != State::Closed, "closed with a task in it");
    task.leave(Outcome::Finished, |_| {});
    Some(true)
}

/// The same of a whole context, without a runtime: the last drop or the task itself ends the close, and nothing is left.
#[test]
fn a_context_that_is_dropped_closes_after_a_weak_spawn() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(2).check(move || {
        let registry = Registry::new();
        let context = registry.context("context");
        let weak = context.downgrade();
        let spawner = thread::spawn({
            let weak = weak.clone();
            move || run_task(&weak)
        });
        drop(context);
        let at_once = weak.state() == State::Closed;
        let spawned = spawner.join().unwrap();
        assert_eq!(weak.state(), State::Closed, "the close is lost");
        assert!(registry.is_empty());
        saw.saw((spawned, at_once));
    });
    outcomes.assert_all([
        (None, true),
        (Some(false), true),
        (Some(false), false),
        (Some(true), true),
        (Some(true), false),
    ]);
}
