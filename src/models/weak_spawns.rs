//! A spawn through a weak handle against the drop of the last strong one.

use super::outcomes::Outcomes;
use crate::{
    context::{
        gate::{Gate, OnLeave},
        handles::Handles,
    },
    table::record::State,
};
use loom::thread;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
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
