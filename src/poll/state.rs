//! How a task or a running hook is doing: its polls, and what was requested of it.

use crate::{
    clock::Stamp,
    poll::capture::{self, Captured},
    sync::{
        AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};
use std::{task::Context, time::Duration};

/// Its closure has started. A poll needs no flag: it is counted.
const STARTED: u8 = 1;
/// It is asked where it waits.
const ASKED: u8 = 1 << 1;
/// It has waited for something of a registry.
const WAITED: u8 = 1 << 2;
/// It is to end at its next poll.
const ABORTING: u8 = 1 << 3;
/// It is to end because a close ends it by force: set together with `ABORTING`, by the first one to ask for that.
const FORCED: u8 = 1 << 5;
/// Its future is being dropped: it does not answer any more.
const DROPPING: u8 = 1 << 6;
/// It has no code of its own: it stands for something that others hold.
#[cfg(any(feature = "dump", feature = "tower"))]
const PLACE: u8 = 1 << 7;
/// Its waker is in place: from the first poll on that did not finish it.
const HAS_WAKER: u8 = 1 << 4;

/// Counters of polls, and flags. To others than the task itself all of it is a snapshot.
#[derive(Debug, Default)]
pub(crate) struct PollState {
    /// When the last step was, as the bits of a [`Stamp`]; 0 if polls are not timed.
    at: AtomicU64,
    /// Beginnings and ends of polls: odd while one runs. Only the poll writes it.
    steps: AtomicU32,
    flags: AtomicU8,
}

/// How many steps there are when a poll has ended.
struct End<'a>(&'a AtomicU32, u32);

impl Drop for End<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(self.1, Relaxed);
    }
}

impl PollState {
    /// Runs one poll; if the task is asked where it waits, so that the answer is captured.
    #[inline]
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
        answer: impl FnOnce(&Captured),
    ) -> R {
        let steps = self.steps();
        self.steps.store(steps.wrapping_add(1), Relaxed);
        let mut end = End(&self.steps, steps.wrapping_add(2));
        if self.take_question() {
            if steps > 0 {
                end.1 = steps;
            }
            return self.answered(steps, cx, poll, answer);
        }
        // The last thing that is done here: what it returns is not moved.
        poll(cx)
    }

    /// Counts as a poll what is none: the destructor of a future.
    #[inline]
    pub(crate) fn step<R>(&self, body: impl FnOnce() -> R) -> R {
        self.flags.fetch_or(DROPPING, AcqRel);
        let steps = self.steps();
        self.steps.store(steps.wrapping_add(1), Relaxed);
        let _end = End(&self.steps, steps.wrapping_add(2));
        body()
    }

    /// Runs a poll that answers. It neither counts, nor does it say since when the task is parked; except for the first one,
    /// which would have come anyway.
    #[cold]
    fn answered<R>(
        &self,
        steps: u32,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
        answer: impl FnOnce(&Captured),
    ) -> R {
        let at = self.at.load(Relaxed);
        let (result, captured) = capture::poll(cx.waker(), poll);
        answer(&captured);
        if steps > 0 {
            self.at.store(at, Relaxed);
        }
        result
    }

    /// Notes when the last step was.
    pub(crate) fn stamp(&self, at: Stamp) {
        self.at.store(at.to_bits(), Relaxed);
    }

    /// How long ago the last step was, if polls are timed.
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

    /// Its closure starts. True if an abort was requested before: then it is not to.
    pub(crate) fn start(&self) -> bool {
        self.flags.fetch_or(STARTED, AcqRel) & ABORTING != 0
    }

    /// Whether it was polled, or its closure has started.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.steps() > 0 || self.has(STARTED)
    }

    /// Whether its future is being dropped.
    #[cfg(feature = "dump")]
    pub(crate) fn is_dropping(&self) -> bool {
        self.has(DROPPING)
    }

    /// Its waker is in place from now on. True if there was something to wake it for before: who asks for an abort or an answer
    /// from now on finds the waker, because both are noted in this word.
    #[inline]
    pub(crate) fn note_waker(&self) -> bool {
        self.flags.fetch_or(HAS_WAKER, AcqRel) & (ABORTING | ASKED) != 0
    }

    #[inline]
    pub(crate) fn has_waker(&self) -> bool {
        self.has(HAS_WAKER)
    }

    /// It is to end at its next poll. Pairs with [`note_waker`](Self::note_waker) and [`start`](Self::start).
    pub(crate) fn request_abort(&self) {
        self.flags.fetch_or(ABORTING, AcqRel);
    }

    /// As [`request_abort`](Self::request_abort), on behalf of a close. What was aborted by hand before stays so.
    pub(crate) fn force_abort(&self) {
        let more = if self.is_aborting() { 0 } else { FORCED };
        self.flags.fetch_or(ABORTING | more, AcqRel);
    }

    /// Whether the first one to ask for an abort was a close.
    pub(crate) fn is_forced(&self) -> bool {
        self.flags.load(Acquire) & FORCED != 0
    }

    #[inline]
    pub(crate) fn is_aborting(&self) -> bool {
        self.flags.load(Acquire) & ABORTING != 0
    }

    /// It is to answer in its next poll. Pairs with [`note_waker`](Self::note_waker), as an abort does.
    pub(crate) fn ask(&self) {
        self.flags.fetch_or(ASKED, AcqRel);
    }

    /// Whether it was asked since the last time: a load and a branch if not.
    #[inline]
    fn take_question(&self) -> bool {
        self.has(ASKED) && self.flags.fetch_and(!ASKED, Acquire) & ASKED != 0
    }

    /// It waits for something of a registry.
    #[inline]
    pub(crate) fn note_wait(&self) {
        if !self.has(WAITED) {
            self.flags.fetch_or(WAITED, Relaxed);
        }
    }

    /// Whether it has ever waited for something of a registry.
    pub(crate) fn has_waited(&self) -> bool {
        self.has(WAITED)
    }

    /// It has no code of its own, which could say where it waits.
    #[cfg(feature = "tower")]
    pub(crate) fn note_place(&self) {
        self.flags.fetch_or(PLACE, Relaxed);
    }

    /// Whether it stands for something that others hold.
    #[cfg(feature = "dump")]
    pub(crate) fn is_place(&self) -> bool {
        self.has(PLACE)
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }
}
