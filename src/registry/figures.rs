//! [`Figures`]: what a registry counts for metrics, beside the sums of its contexts.

use crate::{
    context::{close_reason::CloseReason, report::CloseReport},
    error::RefusedReason,
    sync::{Mutex, lock},
};
use std::{collections::BTreeMap, time::Duration};

/// Noted once a close, once a refusal and once a search for leaks: tasks do not come here.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Counts>);

/// Up to so many milliseconds a close takes that is counted there, and how that is written in seconds.
pub(crate) const BOUNDS: [(u64, &str); 9] = [
    (1, "0.001"),
    (10, "0.01"),
    (100, "0.1"),
    (500, "0.5"),
    (1_000, "1"),
    (5_000, "5"),
    (10_000, "10"),
    (30_000, "30"),
    (60_000, "60"),
];

#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// By reason. All reasons are there from the start: what is counted from its second occurrence on has no first one.
    pub(crate) closed: BTreeMap<&'static str, u64>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) unclean: u64,
    pub(crate) close_time: Duration,
    /// How many closes took as long as each bound at most, and longer than the one before it.
    closed_within: [u64; BOUNDS.len()],
    /// What the latest look of a leak watch has found, if there was one.
    pub(crate) leaks: Option<u64>,
}

impl Default for Counts {
    fn default() -> Self {
        let zero = |word| (word, 0);
        Self {
            closed: CloseReason::WORDS.map(zero).into(),
            refused: ["closed", "full"].map(zero).into(),
            unclean: 0,
            close_time: Duration::ZERO,
            closed_within: [0; BOUNDS.len()],
            leaks: None,
        }
    }
}

impl Counts {
    /// How many closes there were, and for each bound how many of them took no longer.
    pub(crate) fn close_buckets(&self) -> (u64, [(&'static str, u64); BOUNDS.len()]) {
        let mut sum = 0;
        let mut next = self.closed_within.iter();
        let buckets = BOUNDS.map(|(_, bound)| {
            sum += next.next().unwrap_or(&0);
            (bound, sum)
        });
        (self.closed.values().sum(), buckets)
    }
}

impl Figures {
    pub(crate) fn note_closed(&self, report: &CloseReport) {
        let (reason, is_clean): (&CloseReason, _) = (report.reason(), report.is_clean());
        let took = report.duration();
        let mut counts = lock(&self.0);
        *counts.closed.entry(reason.word()).or_default() += 1;
        counts.unclean += u64::from(!is_clean);
        counts.close_time = counts.close_time.saturating_add(took);
        let bucket = BOUNDS
            .iter()
            .position(|(ms, _)| took <= Duration::from_millis(*ms));
        if let Some(bucket) = bucket {
            counts.closed_within[bucket] += 1;
        }
    }

    pub(crate) fn note_refused(&self, reason: RefusedReason) {
        let word = match reason {
            RefusedReason::Full => "full",
            _ => "closed",
        };
        *lock(&self.0).refused.entry(word).or_default() += 1;
    }

    pub(crate) fn note_leaks(&self, found: usize) {
        lock(&self.0).leaks = Some(found as u64);
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.0).clone()
    }
}
