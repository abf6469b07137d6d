//! What a task is reached by from outside: to be ended by force, and to be asked where it waits.
//!
//! A build has one of two. With the feature `dump` it is the task's waker, which its first poll leaves with its card:
//! who aborts the task marks the card and wakes it, and the poll that finds the mark drops the future, as the runtime
//! would have. Without, it is the runtime's handle, left by whoever spawned the task, which is half the size. Both
//! would cost a short task a tenth more.

#[cfg(feature = "dump")]
use crate::table::card::CardPlace;
use crate::{
    panics,
    table::card::{Card, CardHeld},
};
#[cfg(feature = "dump")]
use std::task::Waker;
use tokio::task::JoinHandle;

/// tokio keeps a task's memory for it, without the future, which was dropped at the end: the shell.
#[cfg(feature = "dump")]
pub(crate) type Reach = Waker;
#[cfg(not(feature = "dump"))]
pub(crate) type Reach = JoinHandle<()>;

/// The task is with the runtime. A close that gave up on its tasks meanwhile may have missed this one; then we see
/// that it did, because it says so before it looks, and we look after the task can be reached. With `dump` the first
/// poll does this.
#[cfg(not(feature = "dump"))]
#[inline]
pub(crate) fn spawned(task: &CardHeld, join: JoinHandle<()>, is_condemned: impl FnOnce() -> bool) {
    task.complete(join);
    if is_condemned() {
        abort(task, || task.later());
    }
}

#[cfg(feature = "dump")]
#[inline]
pub(crate) fn spawned(_: &CardHeld, join: JoinHandle<()>, _: impl FnOnce() -> bool) {
    drop(join);
}

/// The first poll of a task begins.
#[cfg(feature = "dump")]
#[inline]
pub(crate) fn first_polled(task: &CardPlace, waker: &Waker) {
    task.complete(waker.clone());
    task.abort_condemned(|| None);
}

#[cfg(not(feature = "dump"))]
#[inline]
pub(crate) fn abort<'a>(_: &Card, reach: impl FnOnce() -> Option<&'a Reach>) {
    if let Some(join) = reach() {
        // It wakes, and wakers are somebody else's code, also that of a `LocalSet`.
        panics::contain(|| join.abort());
    }
}

/// The mark comes first: a task that cannot be reached yet looks for it once it can.
#[cfg(feature = "dump")]
pub(crate) fn abort<'a>(task: &Card, reach: impl FnOnce() -> Option<&'a Reach>) {
    let Some(inquiry) = task.inquiry() else {
        return;
    };
    inquiry.abort();
    wake(task, reach());
}

/// Wakes a task, or a future that others poll. False if there is nothing to wake it by: it was never polled.
#[cfg(feature = "dump")]
pub(crate) fn wake(task: &Card, reach: Option<&Reach>) -> bool {
    match reach {
        Some(waker) => {
            panics::contain(|| waker.wake_by_ref());
            true
        }
        None => task.bell().ring(),
    }
}
