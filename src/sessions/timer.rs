//! The one timer of a table: a task that exists while something is due.
//!
//! It is a task of tokio's alone, as the driver of a close is: a task of the table's context would keep that from running dry.

use crate::clock;
use futures::future::select;
use std::{
    pin::pin,
    sync::{Arc, Weak},
};
use tokio::{sync::Notify, time::Instant};

/// What has things that are due.
pub(crate) trait Timed: Send + Sync + 'static {
    /// Sees to what is due. Returns when to look again, or `None` if nothing is due: then the timer ends.
    fn look(self: Arc<Self>) -> Option<Instant>;
    /// The timer ends before its time, with its runtime.
    fn lost(&self);
}

/// Looks whenever something is due, and when it is woken because something is due earlier. It holds nothing meanwhile.
///
/// Dropped before its first poll it is lost as well.
pub(crate) fn run<T: Timed>(
    timed: Weak<T>,
    wake: Arc<Notify>,
) -> impl Future<Output = ()> + Send + use<T> {
    let running = Running { timed, done: false };
    keep_looking(running, wake)
}

async fn keep_looking<T: Timed>(mut running: Running<T>, wake: Arc<Notify>) {
    while let Some(next) = running.timed.upgrade().and_then(Timed::look) {
        let left = next.saturating_duration_since(clock::now());
        if left.is_zero() {
            // There was too much for one look.
            tokio::task::yield_now().await;
        } else {
            select(pin!(wake.notified()), clock::sleep(left)).await;
        }
    }
    running.done = true;
}

struct Running<T: Timed> {
    timed: Weak<T>,
    done: bool,
}

impl<T: Timed> Drop for Running<T> {
    fn drop(&mut self) {
        if let Some(timed) = self.timed.upgrade().filter(|_| !self.done) {
            timed.lost();
        }
    }
}
