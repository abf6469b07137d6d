//! How the result of a task reaches its handle, or is dropped where nobody can claim it.

use crate::{
    error::TaskError,
    panics,
    sync::{
        AtomicU32, Mutex,
        Ordering::{AcqRel, Acquire},
        lock,
    },
};
use std::{
    mem,
    task::{Context, Poll, Waker},
};

/// Set by the task after it put its result in place.
const READY: u32 = 1;
/// Set by the handle when it is dropped.
const ABANDONED: u32 = 1 << 1;

/// A place for one result between a task and its handle. Whoever of the two comes second, sees the
/// other's flag: the result is claimed, or dropped, exactly once. A task whose handle was dropped before
/// takes no lock.
#[derive(Debug)]
pub(crate) struct Output<T> {
    state: AtomicU32,
    place: Mutex<Place<T>>,
}

#[derive(Debug)]
enum Place<T> {
    Empty,
    /// The handle waits.
    Waiting(Waker),
    /// Errors are boxed, because they are rare, and a place is part of every task.
    Done(Result<T, Box<TaskError>>),
}

impl<T> Output<T> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            place: Mutex::new(Place::Empty),
        }
    }

    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.load(Acquire) & ABANDONED != 0
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.load(Acquire) & READY != 0
    }

    /// The task's part, once. Never panics, whatever wakers and destructors do.
    pub(crate) fn deliver(&self, result: Result<T, TaskError>) {
        let done = Place::Done(result.map_err(Box::new));
        let before = mem::replace(&mut *lock(&self.place), done);
        if self.state.fetch_or(READY, AcqRel) & ABANDONED != 0 {
            panics::discard(self.take());
        }
        if let Place::Waiting(waker) = before {
            if let Err(payload) = panics::guarded(|| waker.wake()) {
                panics::bury(payload);
            }
        }
    }

    /// The handle's part, once. `has_waited` if it was ever polled: then there may be a waker.
    #[inline]
    pub(crate) fn abandon(&self, has_waited: bool) {
        let before = self.state.fetch_or(ABANDONED, AcqRel);
        if has_waited || before & READY != 0 {
            panics::discard(self.take());
        }
    }

    fn take(&self) -> Place<T> {
        mem::replace(&mut *lock(&self.place), Place::Empty)
    }

    /// The result, once it is there. After that there is none.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        // Made before the lock is taken and dropped after it is let go: wakers are user code (I9).
        let mut waker = (!self.is_ready()).then(|| cx.waker().clone());
        let mut place = lock(&self.place);
        let before = match (&*place, waker.take()) {
            (Place::Empty | Place::Waiting(_), Some(waker)) => {
                mem::replace(&mut *place, Place::Waiting(waker))
            }
            (_, unused) => {
                waker = unused;
                mem::replace(&mut *place, Place::Empty)
            }
        };
        let is_waiting = matches!(*place, Place::Waiting(_));
        drop(place);
        panics::discard(waker);
        match before {
            Place::Done(result) => Poll::Ready(Some(result.map_err(|error| *error))),
            before => {
                panics::discard(before);
                if is_waiting {
                    Poll::Pending
                } else {
                    Poll::Ready(None)
                }
            }
        }
    }
}
