//! What a task's slot has for those who ask where it is, and a running hook.

use crate::{
    clock::Stamp,
    panics,
    sync::{
        AtomicU8, AtomicU32, AtomicU64, Mutex,
        Ordering::{Acquire, Relaxed},
        lock,
    },
    trace::capture::{self, Found},
};
use std::{
    task::{Context, Waker},
    time::Duration,
};

/// How a task stands, and who wants to know where.
///
/// Only the poll writes, but for `asked`; all of it is a moment's sight to others.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    /// 1 if somebody asks.
    asked: AtomicU8,
    /// Beginnings and ends of polls: odd while one runs.
    steps: AtomicU32,
    /// When the last step was, as the bits of a [`Stamp`]; 0 if nobody looked at the clock.
    at: AtomicU64,
    /// 1 once it has waited for something of a registry.
    waits: AtomicU8,
    /// 1 if others poll it, and may drop it, and 1 once somebody aborted it.
    is_wrapped: AtomicU8,
    is_aborted: AtomicU8,
    /// 1 once it has ended: no waker is kept any more.
    is_over: AtomicU8,
    /// How many polls were made to answer.
    answers: AtomicU32,
    /// Wakes the task. Kept until the slot is emptied, as the runtime's handle is; of the task there is then
    /// nothing left but its shell.
    waker: Mutex<Option<Waker>>,
}

impl Inquiry {
    /// Runs one poll; if somebody asks where it waits, so that the answer is found.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
        answer: impl FnOnce(&Found),
    ) -> R {
        let is_first = self.begin();
        if is_first {
            self.put_back(capture::original(cx.waker()).clone());
        }
        let result = if self.take() {
            self.answering(is_first, || answered(cx, poll, answer))
        } else {
            poll(cx)
        };
        self.end();
        result
    }

    /// A poll begins. True for the first one.
    #[inline]
    fn begin(&self) -> bool {
        let steps = self.steps.load(Relaxed);
        self.steps.store(steps.wrapping_add(1), Relaxed);
        steps == 0
    }

    /// A poll ends.
    #[inline]
    fn end(&self) {
        let steps = self.steps.load(Relaxed);
        self.steps.store(steps.wrapping_add(1), Relaxed);
    }

    /// Notes when the last step was.
    pub(crate) fn stamp(&self, at: Stamp) {
        self.at.store(at.to_bits(), Relaxed);
    }

    /// How long ago the last step was, if somebody looked at the clock.
    pub(crate) fn since(&self, now: Stamp) -> Option<Duration> {
        let at = Some(self.at.load(Relaxed)).filter(|&at| at > 0)?;
        Some(Duration::from_nanos(now.since(Stamp::of_bits(at))))
    }

    /// How long the poll has been running that runs now, if polls are timed.
    pub(crate) fn running(&self, now: Stamp) -> Option<Duration> {
        self.since(now).filter(|_| self.steps() % 2 == 1)
    }

    /// Beginnings and ends of polls so far.
    pub(crate) fn steps(&self) -> u32 {
        self.steps.load(Relaxed)
    }

    /// What wakes it now, if not what did at its first poll: a future that is polled by somebody else may be handed on.
    #[inline]
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.is_wrapped.store(1, Relaxed);
        let before = lock(&self.waker).take();
        let is_known = before
            .as_ref()
            .is_some_and(|before| before.will_wake(waker));
        self.put_back(before.filter(|_| is_known).unwrap_or_else(|| waker.clone()));
    }

    /// Asks, and wakes the task to answer it. False if it was never polled: it will answer when it is.
    pub(crate) fn ask(&self) -> bool {
        self.asked.store(1, Relaxed);
        // Wakers are somebody else's code: none of it under the lock (I9), and it may panic.
        let Some(waker) = lock(&self.waker).take() else {
            return false;
        };
        // The runtime orders a wake before the poll that follows it.
        if let Err(payload) = panics::guarded(|| waker.wake_by_ref()) {
            panics::bury(payload);
        }
        self.put_back(waker);
        true
    }

    /// Unless the poll has set another one meanwhile.
    fn put_back(&self, waker: Waker) {
        let mut kept = lock(&self.waker);
        let is_wanted = kept.is_none() && self.is_over.load(Relaxed) == 0;
        let spare = if is_wanted {
            kept.replace(waker)
        } else {
            Some(waker)
        };
        drop(kept);
        panics::discard(spare);
    }

    /// It has ended. The waker of a wrapped future, or of a hook, is let go of; that of a task goes with its shell.
    #[inline]
    pub(crate) fn finish(&self) {
        if self.is_wrapped.load(Relaxed) > 0 {
            let mut kept = lock(&self.waker);
            self.is_over.store(1, Relaxed);
            let waker = kept.take();
            drop(kept);
            panics::discard(waker);
        }
    }

    /// Whether a wrapped future or a hook has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed) > 0
    }

    /// Somebody aborts it.
    pub(crate) fn note_abort(&self) {
        self.is_aborted.store(1, Relaxed);
    }

    /// Whether somebody has aborted it, or polls it, and may drop it.
    pub(crate) fn is_in_other_hands(&self) -> bool {
        self.is_wrapped.load(Relaxed) + self.is_aborted.load(Relaxed) > 0
    }

    /// A poll is made to answer: it neither counts, nor does it say since when the task is parked.
    fn answering<R>(&self, is_first: bool, poll: impl FnOnce() -> R) -> R {
        if is_first {
            // It would have come anyway.
            return poll();
        }
        let answers = self.answers.load(Relaxed);
        self.answers.store(answers.wrapping_add(1), Relaxed);
        let at = self.at.load(Relaxed);
        let result = poll();
        self.at.store(at, Relaxed);
        result
    }

    /// Polls so far, the one that runs included, without those that were made to answer.
    pub(crate) fn polls(&self) -> u32 {
        let polls = self.steps().div_ceil(2);
        polls.saturating_sub(self.answers.load(Relaxed))
    }

    /// It waits for something of a registry.
    #[inline]
    pub(crate) fn note_wait(&self) {
        self.waits.store(1, Relaxed);
    }

    /// Whether it has ever waited for something of a registry.
    pub(crate) fn has_waited(&self) -> bool {
        self.waits.load(Relaxed) > 0
    }

    /// Whether somebody asked since the last time: a load and a branch if not.
    #[inline]
    fn take(&self) -> bool {
        self.asked.load(Relaxed) > 0 && self.asked.swap(0, Acquire) > 0
    }
}

/// Runs a poll that answers.
#[cold]
fn answered<R>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> R,
    answer: impl FnOnce(&Found),
) -> R {
    let (result, found) = capture::poll(cx.waker(), poll);
    answer(&found);
    result
}
