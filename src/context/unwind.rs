//! How the stack of hooks and owned values is unwound: each by itself, and what fails is noted (I7).

#[cfg(feature = "testing")]
use crate::poll::observer;
use crate::{
    context::{
        blocked,
        current::{self, Scope},
        failure::{Failure, FailureKind, Subject, is_overrun, overrun},
        hook_origin::HookOrigin,
        hook_run::tell_hook,
        hooks::{Callback, Kept, Owned},
        line_counts::{Event, PROCESS},
        state::{Core, Node},
    },
    event,
    events::What,
    name::Printed,
    panics,
    sync::lock,
    table::resource,
};
use std::sync::Arc;

/// Notes a hook that did not run to its end because no runtime was left, and says so.
pub(super) fn note_interrupted(node: &Node, origin: HookOrigin) {
    let said = "could not run to its end because its runtime has ended".to_owned();
    let (kind, path) = (FailureKind::HookInterrupted, resource::short_path(node));
    let failure = Failure::new(kind, origin.subject(), path, ("", said));
    let sentence = failure.sentence();
    let core = node.core.upgrade();
    let repeats = core
        .as_ref()
        .map_or(&*PROCESS, |core| &core.registry.repeats);
    let line = failure.location().unwrap_or(node.meta.location);
    if let Some(so_far) = repeats.tell_text(Event::HookFailed, line, &sentence) {
        event::emit!(target: "headcount::hook", ERROR, context = %Printed(&node.meta.name), "{sentence}{so_far}");
    }
    if let Some(core) = core {
        lock(&core.log).notes().interrupted(failure.clone());
    }
    drop(tell_hook(node, origin, Some(&failure)));
}

/// Drops a value that the context owned, in its scope; a panic of its destructor is noted.
pub(super) fn drop_value(core: &Core, owned: Owned) {
    let scope = Scope::Hook(Arc::clone(&core.node));
    let (name, id) = (owned.name.clone(), owned.id);
    let (panic, took) = current::enter(&scope, || blocked::drop_owned(&core.node, owned));
    let limit = core.limits.hook;
    let failed = match panic {
        Some(panic) => Some((
            FailureKind::DestructorPanicked,
            ("panicked while it was dropped: ", panic),
        )),
        None if is_overrun(took, limit) => {
            Some((FailureKind::DestructorTimedOut, overrun(took, limit)))
        }
        None => None,
    };
    if let Some((kind, said)) = failed {
        let path = resource::short_path(&*core.node);
        let failure = Failure::new(kind, Subject::Value { name, id }, path, said);
        let (sentence, text) = (failure.sentence(), format!("{kind:?} {}", failure.what()));
        lock(&core.log).notes().failure(failure.clone());
        let _wakes = core.node.tell(|| What::Failed(failure));
        // A value is of no line, but its context is.
        let (meta, repeats) = (&core.node.meta, &core.registry.repeats);
        if let Some(so_far) = repeats.tell_text(Event::ValueFailed, meta.location, &text) {
            event::emit!(target: "headcount::value", ERROR, context = %Printed(&meta.name), "{sentence}{so_far}");
        }
    }
}

/// Names a hook that cannot run, because no runtime is left, and drops it in its scope.
pub(super) fn drop_hook(core: &Core, hook: Callback) {
    #[cfg(feature = "testing")]
    observer::hook_starts(core.node.table.number, &*core.node, hook.number);
    note_interrupted(&core.node, hook.origin());
    let scope = Scope::Hook(Arc::clone(&core.node));
    current::enter(&scope, || panics::discard(hook));
}

/// Unwinds the stack where no runtime is left to run its hooks, in the same order.
pub(super) fn unwind_undriven(core: &Core) {
    while let Some(kept) = core.hooks.on_close.pop_or_seal() {
        match kept {
            Kept::Hook(hook) => drop_hook(core, hook),
            Kept::Value(value) => drop_value(core, value),
        }
    }
}
