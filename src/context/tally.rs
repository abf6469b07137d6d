//! [`Tally`]: what became of the tasks of a context.

use crate::{
    sync::{AtomicU64, Ordering::Relaxed},
    table::record::Outcome,
};
use std::sync::OnceLock;

/// What became of the tasks of a context and of its descendants. Own tasks that finished are not counted here: the gate does,
/// in the step in which they leave.
///
/// Counters that only grow. Exact once the context is closed.
#[derive(Debug)]
pub(crate) struct Tally {
    finished: AtomicU64,
    /// What most contexts have none of.
    others: OnceLock<Box<Others>>,
}

#[derive(Debug)]
struct Others {
    cancelled: AtomicU64,
    aborted: AtomicU64,
    panicked: AtomicU64,
    children: AtomicU64,
    forced: AtomicU64,
    runtime_ended: AtomicU64,
}

/// A tally read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Counts {
    pub(crate) finished: u64,
    pub(crate) cancelled: u64,
    pub(crate) aborted: u64,
    pub(crate) panicked: u64,
    /// From the log, as the number of the failed ones.
    pub(crate) refused: u64,
    /// They are in one of the others as well.
    pub(crate) failed: u64,
    /// Attempts of supervised tasks after which another one was to follow; they are in one of the others as well.
    pub(crate) restarted: u64,
    pub(crate) children: u64,
    /// Those of the aborted ones that a close ended by force.
    pub(crate) forced: u64,
    /// Those of the aborted ones that ended with their runtime.
    pub(crate) runtime_ended: u64,
}

impl Counts {
    /// Tasks that have ended.
    pub(crate) fn tasks(&self) -> u64 {
        self.finished + self.cancelled + self.aborted + self.panicked
    }
}

impl Others {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            cancelled: zero(),
            aborted: zero(),
            panicked: zero(),
            children: zero(),
            forced: zero(),
            runtime_ended: zero(),
        }
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            finished: AtomicU64::new(0),
            others: OnceLock::new(),
        }
    }

    fn others(&self) -> &Others {
        self.others.get_or_init(|| Box::new(Others::new()))
    }

    #[inline]
    pub(crate) fn task(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Finished => &self.finished,
            Outcome::Cancelled => &self.others().cancelled,
            Outcome::Panicked => &self.others().panicked,
            Outcome::Aborted => &self.others().aborted,
            Outcome::Forced => {
                self.others().forced.fetch_add(1, Relaxed);
                &self.others().aborted
            }
            Outcome::RuntimeEnded => {
                self.others().runtime_ended.fetch_add(1, Relaxed);
                &self.others().aborted
            }
            #[cfg(feature = "supervision")]
            Outcome::Paused => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Adds a closed child and everything that it counted.
    pub(crate) fn child(&self, counts: Counts) {
        let others = self.others();
        self.finished.fetch_add(counts.finished, Relaxed);
        others.cancelled.fetch_add(counts.cancelled, Relaxed);
        others.aborted.fetch_add(counts.aborted, Relaxed);
        others.panicked.fetch_add(counts.panicked, Relaxed);
        others.forced.fetch_add(counts.forced, Relaxed);
        others
            .runtime_ended
            .fetch_add(counts.runtime_ended, Relaxed);
        others.children.fetch_add(counts.children + 1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let finished = self.finished.load(Relaxed);
        let Some(others) = self.others.get() else {
            return Counts {
                finished,
                ..Counts::default()
            };
        };
        Counts {
            finished,
            cancelled: others.cancelled.load(Relaxed),
            aborted: others.aborted.load(Relaxed),
            panicked: others.panicked.load(Relaxed),
            children: others.children.load(Relaxed),
            forced: others.forced.load(Relaxed),
            runtime_ended: others.runtime_ended.load(Relaxed),
            ..Counts::default()
        }
    }
}

impl Counts {
    /// Those of two contexts.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            finished: self.finished + other.finished,
            cancelled: self.cancelled + other.cancelled,
            aborted: self.aborted + other.aborted,
            panicked: self.panicked + other.panicked,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
            restarted: self.restarted + other.restarted,
            children: self.children + other.children,
            forced: self.forced + other.forced,
            runtime_ended: self.runtime_ended + other.runtime_ended,
        }
    }
}

/// What became of the hooks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let ctx = headcount::Registry::new().context("db");
/// ctx.on_close(|| async { println!("flushed") }).unwrap();
/// ctx.on_close(|| async { Err::<(), _>("disk full") }).unwrap();
/// ctx.on_close(std::future::pending::<()>).unwrap(); // dropped at the time limit
///
/// let hooks = ctx.close().await.hooks();
/// assert_eq!((hooks.ran, hooks.failed, hooks.timed_out), (2, 1, 1));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HookCounts {
    /// Hooks that ran to their end, those that failed included.
    pub ran: u64,
    /// Hooks that returned an error or panicked, or could not run because no runtime was left.
    pub failed: u64,
    /// Hooks that were dropped at the time limit, and those that had blocked their thread beyond that, and for a second at least,
    /// when they were done.
    pub timed_out: u64,
}
