//! [`Broadcast`]: hands each event to every subscriber, in one order, and waits for none of them.
//!
//! Events lie in one buffer, and each subscriber has the number of the next one that it is to get. A subscriber that is too far
//! behind loses the oldest, and is told how many. What is subscribed and unsubscribed, sent and taken is one step each, under a
//! lock that is taken only while there are subscribers. No foreign code runs under it: the wakers of subscribers are called by
//! [`PendingWakes`], when the sender has done everything that it has to do (I9).

use crate::{
    panics,
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering::SeqCst, lock, order},
};
use futures::task::AtomicWaker;
use slab::Slab;
use std::{collections::VecDeque, sync::Arc};

/// How many events a subscriber may be behind.
pub(crate) const CAPACITY: usize = 4_096;
/// How many are taken in one step where others take them as well.
const BATCH: usize = 64;
/// A buffer that had many events keeps room for so many.
const KEPT: usize = 64;
/// Of so many times that all was taken, the buffer is asked once whether it has too much room.
const ASKED: u32 = 256;

#[derive(Debug)]
pub(crate) struct Broadcast<T> {
    /// How many subscribe: with none, nothing is sent.
    subscribed: AtomicUsize,
    /// The number of the latest event.
    latest: AtomicU64,
    ring: Mutex<Ring<T>>,
}

#[derive(Debug)]
struct Ring<T> {
    /// The latest events; the last of them has the number `latest`.
    buffer: VecDeque<T>,
    latest: u64,
    /// The number of the next event that each of them takes.
    subscribers: Slab<u64>,
    wakers: Arc<[Arc<AtomicWaker>]>,
    /// Whether one of them waits for the next event.
    is_awaited: bool,
    has_ended: bool,
    /// How many events there were at once, and how often all were taken, since it was asked last whether there is too much room.
    most: usize,
    emptied: u32,
}

/// One who gets events. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Subscription<T> {
    broadcast: Arc<Broadcast<T>>,
    key: usize,
    waker: Arc<AtomicWaker>,
    /// The number of the latest event before the first one that it gets.
    since: u64,
}

/// What a subscriber gets in one step.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The number of the first event; the others have the next ones.
    pub(crate) first: u64,
    /// How many events it has lost before those.
    pub(crate) lost: u64,
    pub(crate) has_ended: bool,
}

/// Subscribers that wait for what was sent. They are woken when this is dropped.
#[derive(Debug, Default)]
#[must_use = "subscribers are woken when it is dropped: keep it until everything is done that has to be done"]
pub(crate) struct PendingWakes(Option<Arc<[Arc<AtomicWaker>]>>);

impl<T> Default for Broadcast<T> {
    fn default() -> Self {
        Self {
            subscribed: AtomicUsize::new(0),
            latest: AtomicU64::new(0),
            ring: Mutex::new(Ring {
                buffer: VecDeque::new(),
                latest: 0,
                subscribers: Slab::new(),
                wakers: Arc::default(),
                is_awaited: false,
                has_ended: false,
                most: 0,
                emptied: 0,
            }),
        }
    }
}

impl<T> Broadcast<T> {
    /// Whether there are subscribers. Who changes something that is listed does that first, in one `SeqCst` step, and then asks
    /// this; a subscriber is counted first, and then lists: one of them sees the other.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        order();
        self.subscribed.load(SeqCst) > 0
    }

    /// The number of the latest event. What happened before that was sent is seen by the caller from here on.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(SeqCst)
    }

    /// Sends to those that subscribe, if there are any.
    #[inline]
    pub(crate) fn send(&self, event: T) -> PendingWakes {
        let oldest;
        let wakes;
        {
            let mut ring = lock(&self.ring);
            if ring.subscribers.is_empty() || ring.has_ended {
                return PendingWakes(None);
            }
            oldest = ring.push(event);
            self.latest.store(ring.latest, SeqCst);
            wakes = ring.take_waiting();
        }
        drop(oldest);
        wakes
    }

    /// As [`send`](Self::send), by one who sends another one soon, and wakes with that.
    pub(crate) fn send_first(&self, event: T) {
        let oldest = {
            let mut ring = lock(&self.ring);
            if ring.subscribers.is_empty() || ring.has_ended {
                return;
            }
            let oldest = ring.push(event);
            self.latest.store(ring.latest, SeqCst);
            oldest
        };
        drop(oldest);
    }

    /// Nothing more is sent: what is there may still be taken.
    pub(crate) fn end(&self) -> PendingWakes {
        let mut ring = lock(&self.ring);
        ring.has_ended = true;
        self.subscribed.store(0, SeqCst);
        ring.take_waiting()
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription<T> {
        let waker = Arc::new(AtomicWaker::new());
        let mut ring = lock(&self.ring);
        if ring.subscribers.is_empty() {
            // What happened while there was no subscriber has no number: this one stands for it, so that a listing from then is
            // not taken for one that the new events follow.
            ring.latest += 1;
            self.latest.store(ring.latest, SeqCst);
        }
        let since = ring.latest;
        let key = ring.subscribers.insert(since + 1);
        ring.wakers = ring.wakers.iter().chain([&waker]).cloned().collect();
        if !ring.has_ended {
            self.subscribed.fetch_add(1, SeqCst);
            order();
        }
        drop(ring);
        Subscription {
            broadcast: Arc::clone(self),
            key,
            waker,
            since,
        }
    }
}

impl<T> Ring<T> {
    /// Returns the oldest event if there is no room for it any more.
    #[inline]
    fn push(&mut self, event: T) -> Option<T> {
        let is_full = self.buffer.len() == CAPACITY;
        let oldest = if is_full {
            self.buffer.pop_front()
        } else {
            None
        };
        self.buffer.push_back(event);
        self.latest += 1;
        oldest
    }

    fn take_waiting(&mut self) -> PendingWakes {
        let is_awaited = std::mem::take(&mut self.is_awaited);
        PendingWakes(is_awaited.then(|| Arc::clone(&self.wakers)))
    }

    /// The number of the oldest event that is there.
    fn first(&self) -> u64 {
        self.latest + 1 - self.buffer.len() as u64
    }

    /// Drops what all have taken.
    fn trim(&mut self) -> Vec<T> {
        let next = self.subscribers.iter().map(|(_, next)| *next).min();
        let next = next.unwrap_or(self.latest + 1);
        let taken = next.saturating_sub(self.first());
        let taken = usize::try_from(taken).map_or(self.buffer.len(), |n| n.min(self.buffer.len()));
        let before = self.buffer.len();
        let taken = self.buffer.drain(..taken).collect();
        if self.buffer.is_empty() {
            self.shrink(before);
        }
        taken
    }

    /// All was taken, of so many events. Room that is not needed is given back (I6); that is asked now and then, because a buffer
    /// that grows and shrinks all the time costs more than what is in it.
    fn shrink(&mut self, before: usize) {
        self.most = self.most.max(before);
        self.emptied += 1;
        if self.emptied < ASKED {
            return;
        }
        let needed = self.most.max(KEPT);
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * needed {
            self.buffer.shrink_to(needed);
        }
        (self.most, self.emptied) = (0, 0);
    }
}

impl<T: Clone> Ring<T> {
    /// Takes the next events of a subscriber. Without any, it is woken when there are.
    fn take(&mut self, key: usize, into: &mut VecDeque<T>) -> (Taken, Vec<T>) {
        let oldest = self.first();
        let first = self.subscribers[key].max(oldest);
        let lost = first - self.subscribers[key];
        let mut rest = Vec::new();
        let count;
        if self.subscribers.len() == 1 && into.is_empty() {
            // No other wants them, and there are none before them: what all had was trimmed.
            count = self.buffer.len();
            std::mem::swap(&mut self.buffer, into);
            self.shrink(count);
        } else {
            let skipped = usize::try_from(first - oldest).unwrap_or(usize::MAX);
            count = (self.buffer.len() - skipped).min(BATCH);
            into.extend(self.buffer.range(skipped..skipped + count).cloned());
        }
        self.subscribers[key] = first + count as u64;
        if !self.buffer.is_empty() {
            rest = self.trim();
        }
        let has_none = lost == 0 && count == 0;
        self.is_awaited |= has_none && !self.has_ended;
        let has_ended = has_none && self.has_ended;
        let taken = Taken {
            first,
            lost,
            has_ended,
        };
        (taken, rest)
    }
}

impl<T> Subscription<T> {
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// By which it is woken when there are events.
    pub(crate) fn waker(&self) -> &AtomicWaker {
        &self.waker
    }
}

impl<T: Clone> Subscription<T> {
    /// Takes the next few events. Where there are none, its waker is called for the next one.
    pub(crate) fn take(&mut self, into: &mut VecDeque<T>) -> Taken {
        let (taken, rest) = lock(&self.broadcast.ring).take(self.key, into);
        drop(rest);
        taken
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let mut ring = lock(&self.broadcast.ring);
        ring.subscribers.remove(self.key);
        let others = ring.wakers.iter();
        let others = others.filter(|waker| !Arc::ptr_eq(waker, &self.waker));
        ring.wakers = others.cloned().collect();
        if !ring.has_ended {
            self.broadcast.subscribed.fetch_sub(1, SeqCst);
        }
        let rest = ring.trim();
        if ring.subscribers.is_empty() {
            ring.buffer.shrink_to_fit();
        }
        drop(ring);
        drop(rest);
        // It is foreign code, and may panic.
        panics::discard(self.waker.take());
    }
}

impl PendingWakes {
    /// Those of two events.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        // All that wait are in the later one.
        let later = other.0.take().or(self.0.take());
        Self(later)
    }
}

impl Drop for PendingWakes {
    #[inline]
    fn drop(&mut self) {
        if let Some(wakers) = self.0.take() {
            wake(&wakers);
        }
    }
}

/// Each by itself: a waker that panics concerns none of the others.
#[cold]
fn wake(wakers: &[Arc<AtomicWaker>]) {
    for waker in wakers {
        panics::contain(|| waker.wake());
    }
}
