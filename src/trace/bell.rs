//! What wakes those who are no tasks of a runtime: wrapped futures, which others poll, now here, now there, and hooks.

use crate::{
    panics,
    sync::{Mutex, lock},
};
use std::{mem, task::Waker};

#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Hung>);

#[derive(Debug, Default)]
enum Hung {
    #[default]
    No,
    Up(Waker),
    /// It has ended: no waker is kept any more.
    Over,
}

impl Bell {
    /// What wakes it now.
    #[inline]
    pub(crate) fn hang(&self, waker: &Waker) {
        let before = self.take();
        let is_known = before
            .as_ref()
            .is_some_and(|before| before.will_wake(waker));
        self.put_back(before.filter(|_| is_known).unwrap_or_else(|| waker.clone()));
    }

    /// Wakes it. False if there is nothing to wake it by.
    pub(crate) fn ring(&self) -> bool {
        // Wakers are somebody else's code: none of it under the lock (I9), and it may panic.
        let Some(waker) = self.take() else {
            return false;
        };
        // The runtime orders a wake before the poll that follows it.
        panics::contain(|| waker.wake_by_ref());
        self.put_back(waker);
        true
    }

    /// It has ended, and its waker is let go of.
    pub(crate) fn end(&self) {
        let before = mem::replace(&mut *lock(&self.0), Hung::Over);
        panics::discard(before);
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(*lock(&self.0), Hung::Over)
    }

    fn take(&self) -> Option<Waker> {
        let mut hung = lock(&self.0);
        match mem::take(&mut *hung) {
            Hung::Up(waker) => Some(waker),
            other => {
                *hung = other;
                None
            }
        }
    }

    /// Unless a poll has hung another one meanwhile.
    fn put_back(&self, waker: Waker) {
        let mut hung = lock(&self.0);
        let spare = match &*hung {
            Hung::No => {
                *hung = Hung::Up(waker);
                return;
            }
            _ => waker,
        };
        drop(hung);
        panics::discard(spare);
    }
}
