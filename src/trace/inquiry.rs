//! What a task's slot has for those who ask where it is, and a running hook.

use crate::{
    clock::Stamp,
    sync::{
        AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, SeqCst},
        order,
    },
    trace::capture::{self, Found},
};
use std::{task::Context, time::Duration};

/// Somebody asks.
const ASKED: u8 = 1;
/// It has waited for something of a registry.
const WAITS: u8 = 1 << 1;
/// Others poll it, and may drop it.
const WRAPPED: u8 = 1 << 2;
/// Somebody aborted it.
const ABORTED: u8 = 1 << 3;

/// How a task stands, and who wants to know where.
///
/// All of it is a moment's sight to others.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    /// When the last step was, as the bits of a [`Stamp`]; 0 if nobody looked at the clock.
    at: AtomicU64,
    /// Beginnings and ends of polls: odd while one runs. Only the poll writes it.
    steps: AtomicU32,
    marks: AtomicU8,
}

/// How many steps there are when a poll has ended.
struct End<'a>(&'a AtomicU32, u32);

impl Drop for End<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(self.1, Relaxed);
    }
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
        let steps = self.steps();
        self.steps.store(steps.wrapping_add(1), Relaxed);
        let mut end = End(&self.steps, steps.wrapping_add(2));
        if self.take() {
            if steps > 0 {
                end.1 = steps;
            }
            return self.answered(steps, cx, poll, answer);
        }
        // The last thing that is done here: what it returns is not moved.
        poll(cx)
    }

    /// Runs a poll that answers. It neither counts, nor does it say since when the task is parked; but the first one,
    /// which would have come anyway.
    #[cold]
    fn answered<R>(
        &self,
        steps: u32,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
        answer: impl FnOnce(&Found),
    ) -> R {
        let at = self.at.load(Relaxed);
        let (result, found) = capture::poll(cx.waker(), poll);
        answer(&found);
        if steps > 0 {
            self.at.store(at, Relaxed);
        }
        result
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

    /// Beginnings and ends of polls so far, without those that were made to answer.
    #[inline]
    pub(crate) fn steps(&self) -> u32 {
        self.steps.load(Relaxed)
    }

    /// Polls so far, the one that runs included.
    pub(crate) fn polls(&self) -> u32 {
        self.steps().div_ceil(2)
    }

    /// Somebody asks: it answers in its next poll. `SeqCst`, as with an [`abort`](Self::abort).
    pub(crate) fn ask(&self) {
        self.marks.fetch_or(ASKED, SeqCst);
        order();
    }

    /// Whether somebody asked since the last time: a load and a branch if not.
    #[inline]
    fn take(&self) -> bool {
        self.has(ASKED) && self.marks.fetch_and(!ASKED, Acquire) & ASKED > 0
    }

    /// Somebody aborts it. `SeqCst`: who then does not find it within reach is found by it, once it is.
    pub(crate) fn abort(&self) {
        self.marks.fetch_or(ABORTED, SeqCst);
        order();
    }

    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.marks.load(SeqCst) & ABORTED > 0
    }

    /// Others poll it.
    pub(crate) fn note_wrapped(&self) {
        self.note(WRAPPED);
    }

    #[inline]
    pub(crate) fn is_wrapped(&self) -> bool {
        self.has(WRAPPED)
    }

    /// Whether somebody has aborted it, or polls it, and may drop it.
    pub(crate) fn is_in_other_hands(&self) -> bool {
        self.has(WRAPPED | ABORTED)
    }

    /// It waits for something of a registry.
    #[inline]
    pub(crate) fn note_wait(&self) {
        self.note(WAITS);
    }

    /// Whether it has ever waited for something of a registry.
    pub(crate) fn has_waited(&self) -> bool {
        self.has(WAITS)
    }

    #[inline]
    fn note(&self, mark: u8) {
        if !self.has(mark) {
            self.marks.fetch_or(mark, Relaxed);
        }
    }

    #[inline]
    fn has(&self, any: u8) -> bool {
        self.marks.load(Relaxed) & any > 0
    }
}
