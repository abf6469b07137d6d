//! The latest waker of a future: it is woken from outside, to end, or to say where it waits.

use crate::{
    panics,
    sync::{Mutex, lock},
};
use std::{mem, sync::PoisonError, task::Waker};

#[derive(Debug, Default)]
pub(crate) struct WakerCell(Mutex<Latest>);

/// What a [`WakerCell`] contains.
#[derive(Debug, Default)]
pub(crate) enum Latest {
    #[default]
    None,
    Set(LastWaker),
    /// It is just being used to wake, outside of the lock.
    InUse {
        /// Another wants to wake by it as well.
        again: bool,
    },
    /// The future has ended: no waker is kept any more.
    Closed,
}

/// It may be the last thing that keeps a runtime's memory, with values of users in it: a panic of theirs goes no further.
#[derive(Debug)]
pub(crate) struct LastWaker(Option<Waker>);

impl Drop for LastWaker {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            panics::discard(waker);
        }
    }
}

impl LastWaker {
    fn is(&self, waker: &Waker) -> bool {
        let known = self.0.as_ref();
        known.is_some_and(|known| known.will_wake(waker))
    }
}

impl WakerCell {
    /// The waker by which the future is woken from now on.
    pub(crate) fn set(&self, waker: &Waker) {
        if !matches!(&*lock(&self.0), Latest::Set(known) if known.is(waker)) {
            self.replace(waker);
        }
    }

    /// As [`set`](Self::set), of one that is known to be new.
    #[inline]
    pub(crate) fn replace(&self, waker: &Waker) {
        // Cloned and dropped outside of the lock: wakers are foreign code (I9).
        let mut other = Latest::Set(LastWaker(Some(waker.clone())));
        let mut latest = lock(&self.0);
        // It replaces whatever is there: an older one that is just being used to wake must not come back in its place.
        if !matches!(*latest, Latest::Closed) {
            mem::swap(&mut *latest, &mut other);
        }
        drop(latest);
    }

    /// False if there is no waker.
    pub(crate) fn wake(&self) -> bool {
        let waker = match &mut *lock(&self.0) {
            latest @ Latest::Set(_) => mem::replace(latest, Latest::InUse { again: false }),
            Latest::InUse { again } => {
                *again = true;
                return true;
            }
            Latest::None | Latest::Closed => return false,
        };
        self.wake_by(waker);
        true
    }

    /// Wakes by a waker that was taken out, as often as others want it meanwhile, and puts it back.
    fn wake_by(&self, mut waker: Latest) {
        loop {
            if let Latest::Set(LastWaker(Some(waker))) = &waker {
                // Wakers are foreign code: it is not called under the lock (I9), and may panic. The runtime orders a wake
                // before the poll that follows it.
                panics::contain(|| waker.wake_by_ref());
            }
            let mut latest = lock(&self.0);
            match &mut *latest {
                Latest::InUse {
                    again: again @ true,
                } => *again = false,
                Latest::InUse { again: false } => {
                    mem::swap(&mut *latest, &mut waker);
                    return;
                }
                // A poll has set another one, or the future has ended. Dropped after the lock is let go.
                _ => return,
            }
        }
    }

    /// What was in it.
    #[inline]
    pub(crate) fn empty(&mut self) -> Latest {
        let latest = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        mem::take(latest)
    }

    /// The future has ended, and its waker is dropped.
    pub(crate) fn close(&self) {
        let before = mem::replace(&mut *lock(&self.0), Latest::Closed);
        drop(before);
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*lock(&self.0), Latest::Closed)
    }
}
