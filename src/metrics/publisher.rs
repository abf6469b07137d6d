//! [`Publisher`]: reads figures and hands them to the recorder.

use crate::{
    clock,
    metrics::{describe::describe, reading::Source},
    name::Label,
    offload::offload,
    registry::registry::Registry,
};
use metrics_process::Collector;
use std::{fmt, sync::Arc, time::Duration};
use tokio::task::AbortHandle;

/// Describes the figures of a registry to the recorder that is installed. See [`metrics`](crate::metrics) for a table of them.
///
/// It publishes nothing by itself: call [`update`](Publisher::update), or [`every`](Publisher::every) once. It does not keep the
/// registry alive.
pub fn publish(registry: &Registry) -> Publisher {
    describe();
    let process = Collector::default();
    process.describe();
    Publisher(Arc::new(Shared {
        source: Source::new(Arc::downgrade(registry.root())),
        process,
    }))
}

/// Publishes the figures of a registry. Made by [`publish`]. Clones publish the same.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    source: Source,
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
        let kind = |kind: &Label| kind.to_string();
        let Some(reading) = self.0.source.read(kind).await else {
            return false;
        };
        // A recorder is foreign code, and may do anything: no lock is held while it runs.
        reading.set();
        drop(reading);
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
