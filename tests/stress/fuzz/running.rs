//! Whose code is running, as the operations know it.

use super::{
    fate::{Flags, STARTED},
    model::Model,
    panics::failure,
};
use headcount::Context;
use std::{backtrace::Backtrace, cell::RefCell, sync::Arc};

thread_local! {
    /// Whose code this thread runs, innermost last.
    static RUNNING: RefCell<Vec<Arc<Model>>> = const { RefCell::new(Vec::new()) };
}

/// Says whose code is running, until it is dropped.
pub(crate) struct Running;

impl Running {
    pub(crate) fn new(model: &Arc<Model>) -> Self {
        RUNNING.with_borrow_mut(|running| running.push(Arc::clone(model)));
        Self
    }
}

/// Says whose code a destructor is, if it is dropped in its scope. Nothing tells that of an unstarted task of the
/// registry itself.
pub(crate) fn in_destructor(model: &Arc<Model>, flags: &Flags) -> Option<Running> {
    let current = Context::current().map(|current| current.id());
    let is_current = current.is_some() && current.as_ref() == model.id.get();
    let is_inside = flags.has(STARTED) || model.parent.is_none() || is_current;
    is_inside.then(|| Running::new(model))
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

/// Whether the running code is awaited by the close of this context.
pub(crate) fn is_running_inside(model: &Model) -> bool {
    RUNNING.with_borrow(|running| running.iter().any(|one| one.is_awaited_by(model)))
        || is_current(model)
}

/// Whether the close of this context waits for the current context.
fn is_current(model: &Model) -> bool {
    let Some(current) = Context::current() else {
        return false;
    };
    let current = model.by_id(current.id());
    model.parent.is_none() || current.is_some_and(|current| current.is_awaited_by(model))
}

/// The code of a task or hook runs in the scope of its context.
pub(crate) fn check_scope(model: &Model, what: &str) {
    let current = Context::current().map(|current| current.id());
    if current.as_ref() != model.id.get() {
        failure(format_args!(
            "{what} of {} ran in the scope of {current:?}\n{}",
            model.name,
            Backtrace::force_capture()
        ));
    }
}
