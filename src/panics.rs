//! Running user code that may panic, and dropping what it left behind.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tokio::sync::Notify;

/// Runs user code; a panic comes back as its payload.
#[inline]
pub(crate) fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(run))
}

/// Runs user code for what it does; a panic of it goes no further.
#[inline]
pub(crate) fn contain(run: impl FnOnce()) {
    if let Err(payload) = guarded(run) {
        bury(payload);
    }
}

/// Wakes all that wait. What a waker of theirs panics with concerns nobody else.
pub(crate) fn notify_all(waiters: &Notify) {
    contain(|| waiters.notify_waiters());
}

/// Drops a user's value; says what it panicked with, if it did.
#[inline]
pub(crate) fn discard<T>(value: T) -> Option<String> {
    guarded(|| drop(value)).err().map(|payload| {
        let said = message(&*payload);
        bury(payload);
        said
    })
}

/// Drops a panic payload. One that panics in its own destructor is leaked rather than followed.
pub(crate) fn bury(payload: Box<dyn Any + Send>) {
    if let Err(again) = guarded(|| drop(payload)) {
        std::mem::forget(again);
    }
}

/// What a panic said, as far as it can be read.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is no string".to_owned()
    }
}
