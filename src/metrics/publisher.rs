//! [`Publisher`]: reads figures and hands them to the recorder.

use crate::{
    clock,
    context::{state::Core, stats::Stats},
    metrics::series::Series,
    offload::offload,
    registry::{figures::Figures, registry::Registry},
    sync::{Mutex, lock},
};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_process::Collector;
use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{runtime::Handle, task::AbortHandle};

/// Describes the figures of a registry to the recorder that is installed. See [`metrics`](crate::metrics) for a table of them.
///
/// It publishes nothing by itself: call [`update`](Publisher::update), or [`every`](Publisher::every) once. It does not keep the
/// registry alive.
pub fn publish(registry: &Registry) -> Publisher {
    describe();
    let process = Collector::default();
    process.describe();
    Publisher(Arc::new(Shared {
        root: Arc::downgrade(registry.root()),
        series: Mutex::default(),
        process,
    }))
}

/// Publishes the figures of a registry. Made by [`publish`]. Clones publish the same.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    root: Weak<Core>,
    series: Mutex<Series>,
    process: Collector,
}

/// Stops publishing when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use std::time::Duration;
/// let registry = headcount::Registry::new();
/// let publishing = headcount::metrics::publish(&registry).every(Duration::from_secs(5));
/// // … as long as this is held.
/// drop(publishing);
/// # }
/// ```
#[must_use = "publishing stops when the guard is dropped"]
pub struct PublishGuard(AbortHandle);

/// Figures are read no more often than this.
const SHORTEST: Duration = Duration::from_millis(10);

impl Publisher {
    /// Reads the figures, and hands them to the recorder. False if the registry is gone.
    ///
    /// Call it before a scrape, where the program serves that itself:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    /// let handle = recorder.handle();
    /// metrics::set_global_recorder(recorder).unwrap();
    ///
    /// let registry = headcount::Registry::new();
    /// let figures = headcount::metrics::publish(&registry);
    /// registry.spawn(async {}).await.unwrap();
    ///
    /// assert!(figures.update().await);
    /// let page = handle.render();
    /// assert!(page.contains("headcount_tasks_ended_total{outcome=\"finished\"} 1"), "{page}");
    /// assert!(page.contains("process_resident_memory_bytes "), "{page}");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves some of the figures as they were.
    ///
    /// # Performance
    ///
    /// It looks at each entry of the registry once, some hundred of them between two yields: 20 to 60 ns an entry.
    pub async fn update(&self) -> bool {
        let table = self
            .0
            .root
            .upgrade()
            .map(|root| Arc::clone(&root.node.table));
        let Some(table) = table else {
            return false;
        };
        let counts = table.count_by_kind().await;
        let Some(root) = self.0.root.upgrade() else {
            return false;
        };
        // A recorder is foreign code, and may do anything: no lock is held while it runs.
        let stats = Stats::of(&root);
        let series = lock(&self.0.series).update(&counts);
        for (kind, state, count) in series {
            gauge!("headcount_entries", "kind" => kind, "state" => state).set(float(count));
        }
        set_stats(&stats);
        set_figures(&root.registry.figures);
        drop(root);
        set_runtime();
        let process = self.0.process.clone();
        // It reads files of the system.
        offload(move || process.collect()).await;
        true
    }

    /// Updates the figures this often, from now on, in a task of the current runtime; until the guard is dropped, or the registry
    /// is gone. The task belongs to no context: a close does not wait for it.
    ///
    /// Less than 10 ms is taken for that.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn every(&self, period: Duration) -> PublishGuard {
        let (publisher, period) = (self.clone(), period.max(SHORTEST));
        let publishing = tokio::spawn(async move {
            while publisher.update().await {
                clock::sleep(period).await;
            }
        });
        PublishGuard(publishing.abort_handle())
    }
}

impl PublishGuard {
    /// Goes on publishing until the registry is gone.
    pub fn detach(self) {
        std::mem::forget(self);
    }
}

impl Drop for PublishGuard {
    fn drop(&mut self) {
        self.0.abort();
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

fn set_figures(figures: &Figures) {
    for (reason, count) in figures.refused() {
        counter!("headcount_tasks_refused_total", "reason" => reason).absolute(count);
    }
    for (reason, count) in figures.closed() {
        counter!("headcount_contexts_closed_total", "reason" => reason).absolute(count);
    }
    counter!("headcount_closes_unclean_total").absolute(figures.unclean());
    counter!("headcount_close_seconds_total").absolute(figures.close_time().as_secs());
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

fn describe() {
    let gauges = [
        ("headcount_entries", "What is alive, by kind and state."),
        (
            "headcount_tasks_running",
            "Tasks that were accepted and have not ended.",
        ),
        (
            "headcount_contexts_open",
            "Contexts that are open or closing.",
        ),
        (
            "headcount_runtime_workers",
            "Worker threads of the tokio runtime.",
        ),
        ("headcount_runtime_tasks", "Tasks of the tokio runtime."),
        (
            "headcount_runtime_queue_depth",
            "Tasks in the global queue of the tokio runtime.",
        ),
    ];
    for (name, what) in gauges {
        describe_gauge!(name, Unit::Count, what);
    }
    let counters = [
        (
            "headcount_tasks_ended_total",
            "Tasks that have ended, by outcome.",
        ),
        (
            "headcount_tasks_failed_total",
            "Tasks that failed otherwise than by a panic.",
        ),
        (
            "headcount_tasks_restarted_total",
            "Attempts of supervised tasks that another one followed.",
        ),
        (
            "headcount_tasks_refused_total",
            "Tasks that were refused and dropped, by reason.",
        ),
        (
            "headcount_contexts_closed_total",
            "Contexts that have closed, by reason.",
        ),
        (
            "headcount_closes_unclean_total",
            "Closes that were not clean.",
        ),
    ];
    for (name, what) in counters {
        describe_counter!(name, Unit::Count, what);
    }
    let seconds = [
        (
            "headcount_close_seconds_total",
            "How long all closes took together.",
        ),
        (
            "headcount_runtime_busy_seconds_total",
            "How long the workers of the tokio runtime were busy.",
        ),
    ];
    for (name, what) in seconds {
        describe_counter!(name, Unit::Seconds, what);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl fmt::Debug for PublishGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ended = self.0.is_finished();
        f.debug_struct("PublishGuard")
            .field("has_ended", &has_ended)
            .finish()
    }
}
