//! The latest waker of a future that is polled now by this, now by that: wrapped futures, and hooks.

use crate::{
    panics,
    sync::{Mutex, lock},
};
use std::{mem, task::Waker};

#[derive(Debug, Default)]
pub(crate) struct WakerCell(Mutex<Latest>);

#[derive(Debug, Default)]
enum Latest {
    #[default]
    None,
    Set(Waker),
    /// The future has ended: no waker is kept any more.
    Closed,
}

impl WakerCell {
    /// The waker by which the future is woken from now on.
    pub(crate) fn set(&self, waker: &Waker) {
        if matches!(&*lock(&self.0), Latest::Set(known) if known.will_wake(waker)) {
            return;
        }
        // Cloned and dropped outside of the lock: wakers are foreign code (I9).
        let mut other = Latest::Set(waker.clone());
        {
            // It replaces whatever is there: an older one that is just being used to wake must not come back in its place.
            let mut latest = lock(&self.0);
            if !matches!(*latest, Latest::Closed) {
                mem::swap(&mut *latest, &mut other);
            }
        }
        panics::discard(other);
    }

    /// False if there is no waker.
    pub(crate) fn wake(&self) -> bool {
        // Wakers are foreign code: it is not called under the lock (I9), and may panic.
        let Some(waker) = self.take() else {
            return false;
        };
        // The runtime orders a wake before the poll that follows it.
        panics::contain(|| waker.wake_by_ref());
        self.put_back(waker);
        true
    }

    /// The future has ended, and its waker is dropped.
    pub(crate) fn close(&self) {
        let before = mem::replace(&mut *lock(&self.0), Latest::Closed);
        panics::discard(before);
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*lock(&self.0), Latest::Closed)
    }

    fn take(&self) -> Option<Waker> {
        let mut latest = lock(&self.0);
        match mem::take(&mut *latest) {
            Latest::Set(waker) => Some(waker),
            other => {
                *latest = other;
                None
            }
        }
    }

    /// After a wake; unless a poll has set another one meanwhile.
    fn put_back(&self, waker: Waker) {
        let mut latest = lock(&self.0);
        let spare = match &*latest {
            Latest::None => {
                *latest = Latest::Set(waker);
                return;
            }
            _ => waker,
        };
        drop(latest);
        panics::discard(spare);
    }
}
