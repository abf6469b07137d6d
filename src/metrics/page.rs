//! [`MetricsPage`]: the figures of one registry as Prometheus reads them, beside whatever recorder the program has.

use crate::{
    context::state::Core,
    labels::Labels,
    metrics::{describe::describe, reading::Source},
    name::Label,
    offload::offload,
};
use metrics::with_local_recorder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use metrics_process::Collector;
use std::sync::{Arc, Weak};

/// It has a recorder of its own, so that it needs none of the program, and nothing of the program is in it.
pub(crate) struct MetricsPage {
    source: Source,
    labels: Labels,
    recorder: Arc<PrometheusRecorder>,
    process: Collector,
}

impl MetricsPage {
    pub(crate) fn new(root: Weak<Core>, labels: Labels) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let process = Collector::default();
        with_local_recorder(&recorder, || {
            describe();
            process.describe();
        });
        Self {
            source: Source::new(root),
            labels,
            recorder: Arc::new(recorder),
            process,
        }
    }

    /// Reads and writes it; `None` if the registry is gone.
    pub(crate) async fn render(&self) -> Option<String> {
        let labels = self.labels;
        let kind = |kind: &Label| labels.label(kind);
        let reading = self.source.read(kind).await?;
        with_local_recorder(&*self.recorder, || reading.set());
        let (recorder, process) = (Arc::clone(&self.recorder), self.process.clone());
        // It reads files of the system, and may write much.
        let render = move || {
            with_local_recorder(&*recorder, || process.collect());
            recorder.handle().render()
        };
        Some(offload(render).await)
    }
}
