//! [`Figures`]: what a registry counts for metrics, beside the sums of its contexts.

use crate::{
    context::{close_reason::CloseReason, report::CloseReport},
    error::RefusedReason,
    sync::{Mutex, lock},
};
use std::{collections::BTreeMap, time::Duration};

/// Noted once a close and once a refusal: tasks do not come here.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By reason.
    closed: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    unclean: u64,
    close_time: Duration,
}

impl Figures {
    pub(crate) fn note_closed(&self, report: &CloseReport) {
        let (reason, is_clean): (&CloseReason, _) = (report.reason(), report.is_clean());
        let mut counts = lock(&self.0);
        *counts.closed.entry(reason.word()).or_default() += 1;
        counts.unclean += u64::from(!is_clean);
        counts.close_time = counts.close_time.saturating_add(report.duration());
    }

    pub(crate) fn note_refused(&self, reason: RefusedReason) {
        let word = match reason {
            RefusedReason::Full => "full",
            _ => "closed",
        };
        *lock(&self.0).refused.entry(word).or_default() += 1;
    }

    pub(crate) fn closed(&self) -> Vec<(&'static str, u64)> {
        let counts = lock(&self.0);
        counts
            .closed
            .iter()
            .map(|(reason, n)| (*reason, *n))
            .collect()
    }

    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        let counts = lock(&self.0);
        counts
            .refused
            .iter()
            .map(|(reason, n)| (*reason, *n))
            .collect()
    }

    pub(crate) fn unclean(&self) -> u64 {
        lock(&self.0).unclean
    }

    pub(crate) fn close_time(&self) -> Duration {
        lock(&self.0).close_time
    }
}
