//! [`Places`]: how many places there are, who has one, and who waits for one.
//!
//! The queue is that of tokio's semaphore: first come, first served. All of its operations happen under one lock, together with
//! the counts, so that those are exact at every moment. No foreign code runs under that lock (I9): the semaphore gets a
//! [`Waiter`], which only notes that it was woken, and the waker itself is woken when the lock is free again.
//!
//! Two equations hold whenever the lock is free. *Given* are the places of those in the queue that have one and were not polled since.
//!
//! 1. taken + given + free = max + debt
//! 2. debt > 0 only if free = 0: a place that becomes free pays the debt first

use crate::{
    limits::{error::AcquireError, usage::LimitUsage},
    panics,
    sync::{Mutex, lock},
};
use futures::future::BoxFuture;
use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{coop::poll_proceed, unconstrained},
};

/// How many may wait, unless told.
pub(crate) const QUEUE: usize = 1_024;

/// The places of one limit.
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    counts: Mutex<Counts>,
    /// What was woken under the lock.
    woken: Arc<Woken>,
}

type Woken = Mutex<Vec<Waker>>;

struct Counts {
    max: usize,
    /// How many places are to go as they become free, because `max` was lowered.
    debt: usize,
    taken: usize,
    /// How many are in the queue of the semaphore, or were given a place by it and not polled since.
    in_line: usize,
    queue: usize,
    is_closed: bool,
}

impl Counts {
    fn usage(&self, free: usize) -> LimitUsage {
        let used = self.max + self.debt - free;
        let given = used - self.taken;
        // Those in line have been refused when it is closed: they only do not know yet.
        let waiting = if self.is_closed {
            0
        } else {
            self.in_line - given
        };
        LimitUsage {
            used,
            max: self.max,
            waiting,
            queue: self.queue,
        }
    }
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        let counts = Counts {
            max,
            debt: 0,
            taken: 0,
            in_line: 0,
            queue: QUEUE,
            is_closed: false,
        };
        Self {
            semaphore: Arc::new(Semaphore::new(max)),
            counts: Mutex::new(counts),
            woken: Arc::default(),
        }
    }

    /// Changes something under the lock, and wakes those that are to be woken when that is free again.
    fn change<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        let mut counts = lock(&self.counts);
        let changed = change(&mut counts);
        let woken = mem::take(&mut *lock(&self.woken));
        drop(counts);
        for waker in woken {
            panics::contain(|| waker.wake());
        }
        changed
    }

    /// Takes a place if one is free. Then nothing waits: a place that becomes free is given to the first in the queue in the same step.
    pub(crate) fn try_take(self: &Arc<Self>) -> Result<Place, AcquireError> {
        let mut counts = lock(&self.counts);
        if counts.is_closed {
            return Err(AcquireError::Closed);
        }
        let permit = self.semaphore.try_acquire();
        permit.map_err(|_| AcquireError::Full)?.forget();
        counts.taken += 1;
        Ok(Place(Arc::clone(self)))
    }

    /// Takes a place, and waits for one if need be.
    pub(crate) fn take(self: &Arc<Self>) -> Taking {
        Taking {
            places: Arc::clone(self),
            waiting: None,
        }
    }

    /// One that was taken is free.
    fn give_back(&self, counts: &mut Counts) {
        counts.taken -= 1;
        if counts.debt > 0 {
            counts.debt -= 1;
        } else {
            self.semaphore.add_permits(1);
        }
    }

    pub(crate) fn set(&self, max: usize) {
        let max = max.min(Semaphore::MAX_PERMITS);
        self.change(|counts| {
            let before = mem::replace(&mut counts.max, max);
            let fewer = before.saturating_sub(max);
            counts.debt += fewer - self.semaphore.forget_permits(fewer);
            let more = max.saturating_sub(before);
            let paid = more.min(counts.debt);
            counts.debt -= paid;
            self.semaphore.add_permits(more - paid);
        });
    }

    pub(crate) fn set_queue(&self, queue: usize) {
        lock(&self.counts).queue = queue;
    }

    /// Nothing is taken from here on, and all that wait are told so.
    pub(crate) fn close(&self) {
        self.change(|counts| {
            counts.is_closed = true;
            self.semaphore.close();
        });
    }

    pub(crate) fn usage(&self) -> LimitUsage {
        let counts = lock(&self.counts);
        counts.usage(self.semaphore.available_permits())
    }
}

/// A place that is taken, until this is dropped.
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.0;
        places.change(|counts| places.give_back(counts));
    }
}

/// Comes to have a place. Not in the queue before it is polled.
pub(crate) struct Taking {
    places: Arc<Places>,
    waiting: Option<Waiting>,
}

/// One in the queue.
struct Waiting {
    acquiring: BoxFuture<'static, Result<OwnedSemaphorePermit, tokio::sync::AcquireError>>,
    waiter: Arc<Waiter>,
}

/// What the semaphore wakes.
struct Waiter {
    /// The waker of the one that waits, until it is woken.
    waker: Mutex<Option<Waker>>,
    woken: Arc<Woken>,
}

impl Wake for Waiter {
    /// Under the lock of the places.
    fn wake(self: Arc<Self>) {
        let waker = lock(&self.waker).take();
        lock(&self.woken).extend(waker);
    }
}

impl Waiting {
    fn new(places: &Places, waker: Waker) -> Self {
        let waiter = Waiter {
            waker: Mutex::new(Some(waker)),
            woken: Arc::clone(&places.woken),
        };
        Self {
            // The code that waits has a budget, and this has none: a poll says what is so.
            acquiring: Box::pin(unconstrained(Arc::clone(&places.semaphore).acquire_owned())),
            waiter: Arc::new(waiter),
        }
    }

    /// Under the lock of the places. `Ok` is a place that is taken from here on.
    fn poll(&mut self, counts: &mut Counts) -> Poll<Result<(), AcquireError>> {
        let waker = Waker::from(Arc::clone(&self.waiter));
        let polled = self
            .acquiring
            .as_mut()
            .poll(&mut Context::from_waker(&waker));
        let permit = ready!(polled).map_err(|_| AcquireError::Closed)?;
        permit.forget();
        counts.taken += 1;
        Poll::Ready(Ok(()))
    }
}

impl Taking {
    /// Takes a place, or comes into the queue.
    fn begin(&mut self, waker: &Waker) -> Poll<Result<Place, AcquireError>> {
        let places = &self.places;
        match places.try_take() {
            Err(AcquireError::Full) => {}
            decided => return Poll::Ready(decided),
        }
        let mut waiting = Waiting::new(places, waker.clone());
        let polled = places.change(|counts| {
            let usage = counts.usage(places.semaphore.available_permits());
            if usage.waiting >= usage.queue && !counts.is_closed {
                return Poll::Ready(Err(AcquireError::Full));
            }
            let polled = waiting.poll(counts);
            counts.in_line += usize::from(polled.is_pending());
            polled
        });
        if polled.is_pending() {
            self.waiting = Some(waiting);
        }
        polled.map_ok(|()| Place(Arc::clone(&self.places)))
    }

    /// Looks whether it has come to its turn.
    fn go_on(&mut self, waker: &Waker) -> Poll<Result<Place, AcquireError>> {
        let Some(waiting) = &mut self.waiting else {
            return self.begin(waker);
        };
        let before = lock(&waiting.waiter.waker).replace(waker.clone());
        panics::discard(before);
        let polled = self.places.change(|counts| {
            let polled = waiting.poll(counts);
            counts.in_line -= usize::from(polled.is_ready());
            polled
        });
        let result = ready!(polled);
        // Not in line any more: what is dropped is the memory of it.
        panics::discard(self.waiting.take());
        Poll::Ready(result.map(|()| Place(Arc::clone(&self.places))))
    }
}

impl Future for Taking {
    type Output = Result<Place, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let coop = ready!(poll_proceed(cx));
        let polled = self.go_on(cx.waker());
        if polled.is_ready() {
            coop.made_progress();
        }
        polled
    }
}

/// Leaves the queue. A place that it was given goes to the next one, unless it pays the debt.
impl Drop for Taking {
    fn drop(&mut self) {
        let Some(mut waiting) = self.waiting.take() else {
            return;
        };
        let (places, waiter) = (&self.places, Arc::clone(&waiting.waiter));
        places.change(|counts| {
            let polled = waiting.poll(counts);
            counts.in_line -= 1;
            // Out of the queue before the next one is given the place.
            drop(waiting);
            if let Poll::Ready(Ok(())) = polled {
                places.give_back(counts);
            }
        });
        // Its waker is foreign code.
        panics::discard(waiter);
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.usage()).finish()
    }
}
