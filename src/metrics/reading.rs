//! [`Reading`]: the figures of a registry at one moment, and the recorder that gets them.

use crate::{
    context::{state::Core, stats::Stats},
    metrics::series::Series,
    name::Label,
    registry::figures::Counts,
    sync::{Mutex, lock},
};
use metrics::{counter, gauge};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::runtime::Handle;

/// The registry that figures are read of, and the series that there have been so far. It does not keep the registry alive.
pub(super) struct Source {
    root: Weak<Core>,
    series: Mutex<Series>,
}

/// What is to be handed to a recorder.
pub(super) struct Reading {
    entries: Vec<(String, &'static str, u64)>,
    stats: Stats,
    counts: Counts,
}

impl Source {
    pub(super) fn new(root: Weak<Core>) -> Self {
        Self {
            root,
            series: Mutex::default(),
        }
    }

    /// Reads all figures, with kinds that are written like this. `None` if the registry is gone.
    pub(super) async fn read(&self, kind: impl Fn(&Label) -> String) -> Option<Reading> {
        let table = Arc::clone(&self.root.upgrade()?.node.table);
        let counts = table.count_by_label().await;
        let root = self.root.upgrade()?;
        let counts = counts.map(|(label, state, count)| (kind(&label), state, count));
        Some(Reading {
            stats: Stats::of(&root),
            entries: lock(&self.series).update(counts),
            counts: root.registry.figures.counts(),
        })
    }
}

impl Reading {
    /// Hands them to the recorder of this thread.
    pub(super) fn set(&self) {
        for (kind, state, count) in &self.entries {
            gauge!("headcount_entries", "kind" => kind.clone(), "state" => *state)
                .set(float(*count));
        }
        set_stats(&self.stats);
        set_counts(&self.counts);
        set_runtime();
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the facade has floats, which are exact up to 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}

fn set_stats(stats: &Stats) {
    gauge!("headcount_tasks_running").set(float(stats.running));
    gauge!("headcount_contexts_open").set(float(stats.contexts));
    let aborted = stats.aborted - (stats.forced + stats.runtime_ended).min(stats.aborted);
    for (outcome, count) in [
        ("finished", stats.finished),
        ("cancelled", stats.cancelled),
        ("aborted", aborted),
        ("forced", stats.forced),
        ("runtime_ended", stats.runtime_ended),
        ("panicked", stats.panicked),
    ] {
        counter!("headcount_tasks_ended_total", "outcome" => outcome).absolute(count);
    }
    counter!("headcount_tasks_failed_total").absolute(stats.failed);
    counter!("headcount_tasks_restarted_total").absolute(stats.restarted);
}

fn set_counts(counts: &Counts) {
    for (reason, count) in &counts.refused {
        counter!("headcount_tasks_refused_total", "reason" => *reason).absolute(*count);
    }
    for (reason, count) in &counts.closed {
        counter!("headcount_contexts_closed_total", "reason" => *reason).absolute(*count);
    }
    let (all, buckets) = counts.close_buckets();
    for (bound, count) in buckets.into_iter().chain([("+Inf", all)]) {
        counter!("headcount_close_seconds_bucket", "le" => bound).absolute(count);
    }
    counter!("headcount_closes_unclean_total").absolute(counts.unclean);
    counter!("headcount_close_seconds_total").absolute(counts.close_time.as_secs());
    if let Some(leaks) = counts.leaks {
        gauge!("headcount_leaks").set(float(leaks));
    }
}

/// What tokio says of the runtime that this runs on, as far as that is stable.
fn set_runtime() {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let runtime = runtime.metrics();
    let busy: Duration = (0..runtime.num_workers())
        .map(|worker| runtime.worker_total_busy_duration(worker))
        .sum();
    gauge!("headcount_runtime_workers").set(float(runtime.num_workers() as u64));
    gauge!("headcount_runtime_tasks").set(float(runtime.num_alive_tasks() as u64));
    gauge!("headcount_runtime_queue_depth").set(float(runtime.global_queue_depth() as u64));
    counter!("headcount_runtime_busy_seconds_total").absolute(busy.as_secs());
}
