//! Runs user code that may panic, and drops user values whose destructors may panic.

use crate::sync::Notify;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs user code, and returns the payload if it panics.
#[inline]
pub(crate) fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(run))
}

/// Runs user code, and swallows a panic.
#[inline]
pub(crate) fn contain(run: impl FnOnce()) {
    if let Err(payload) = guarded(run) {
        bury(payload);
    }
}

/// Wakes all waiters, and contains the panic of a waker. tokio drops those wakers of the same batch (of 32) that come after one that
/// panics: see *A waker that panics* in `docs::limitations`.
pub(crate) fn notify_all(waiters: &Notify) {
    contain(|| waiters.notify_waiters());
}

/// Drops a user's value, and returns the panic message if its destructor panics.
#[inline]
pub(crate) fn discard<T>(value: T) -> Option<String> {
    guarded(|| drop(value)).err().map(|payload| {
        let said = message(&*payload);
        bury(payload);
        said
    })
}

/// Drops a panic payload. If its destructor panics too, that second payload is leaked, for there could be a third.
pub(crate) fn bury(payload: Box<dyn Any + Send>) {
    if let Err(again) = guarded(|| drop(payload)) {
        std::mem::forget(again);
    }
}

/// The message of a panic, if its payload is a string.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is no string".to_owned()
    }
}
