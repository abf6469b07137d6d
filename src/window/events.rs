//! `/events`: what happens, as server-sent events, until the registry has closed.

#[cfg(feature = "sessions")]
use crate::events::SessionChange;
use crate::{
    context::report::CloseReport,
    events::{Event, Events, Lost, TaskOutcome, What},
    labels::Wording,
    table::record::State,
    window::{
        entry::site,
        json::{SCHEMA, text},
        params::Params,
        problem::Problem,
        shared::Shared,
    },
};
use axum::{
    http::Uri,
    response::{
        IntoResponse, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use futures::stream::unfold;
use serde::Serialize;
use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// How often something is written where nothing happens, so that a connection that is cut is noticed.
const ALIVE: Duration = Duration::from_secs(15);

/// The first message: everything that happens after this number follows.
#[derive(Serialize)]
struct Begin<'a> {
    schema: u32,
    registry: &'a str,
    since: u64,
}

/// In the place of events that the reader was too slow for.
#[derive(Serialize)]
struct LostView {
    schema: u32,
    lost: u64,
}

/// The last message: the registry has closed, or the server stops.
#[derive(Serialize)]
struct End {
    schema: u32,
    state: State,
}

#[derive(Serialize)]
struct EventView {
    schema: u32,
    seq: u64,
    /// In seconds since 1970.
    at: f64,
    id: String,
    parent: Option<String>,
    name: String,
    kind: String,
    location: String,
    what: &'static str,
    /// Of what has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<TaskOutcome>,
    /// Of a session.
    #[cfg(feature = "sessions")]
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<SessionChange>,
    /// Of what closes or has closed: why, in a word. The text has the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Of what has closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ReportView>,
    /// What happened, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// The sums of a close.
#[derive(Serialize)]
struct ReportView {
    is_clean: bool,
    duration_secs: f64,
    finished: u64,
    cancelled: u64,
    aborted: u64,
    panicked: u64,
    failed: u64,
    refused: u64,
    restarted: u64,
    children: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Where a stream is.
struct Streaming {
    shared: Arc<Shared>,
    events: Events,
    stop: CancellationToken,
    step: Step,
    _place: OwnedSemaphorePermit,
}

enum Step {
    Begin,
    Go,
    Over,
}

/// A stream of events. Nothing waits for its reader: one that is too slow loses events, and is told how many.
pub(crate) fn events(shared: &Arc<Shared>, uri: &Uri) -> Result<Response, Problem> {
    Params::of(uri, &[])?;
    let place = Arc::clone(&shared.streams).try_acquire_owned();
    let streaming = Streaming {
        shared: Arc::clone(shared),
        events: Events::of(&shared.table().events),
        stop: shared.stop.clone(),
        step: Step::Begin,
        _place: place.map_err(|_| Problem::too_many_streams())?,
    };
    let messages = unfold(streaming, |mut streaming| async move {
        let message = streaming.next().await?;
        Some((Ok::<_, Infallible>(message), streaming))
    });
    let alive = KeepAlive::new().interval(ALIVE);
    Ok(Sse::new(messages).keep_alive(alive).into_response())
}

impl Streaming {
    async fn next(&mut self) -> Option<Message> {
        match self.step {
            Step::Begin => {
                self.step = Step::Go;
                let begin = Begin {
                    schema: SCHEMA,
                    registry: self.shared.ids.tag(),
                    since: self.events.since(),
                };
                Some(message("begin", &begin))
            }
            Step::Go => {
                let next = self.stop.run_until_cancelled(self.events.next()).await;
                Some(match next.flatten() {
                    Some(Ok(event)) => {
                        let view = |wording: Wording<'_>| EventView::of(&event, wording);
                        let seq = event.seq().to_string();
                        message(event.what().name(), &self.shared.wording(view)).id(seq)
                    }
                    Some(Err(Lost(lost))) => {
                        let schema = SCHEMA;
                        message("lost", &LostView { schema, lost })
                    }
                    None => self.end(),
                })
            }
            Step::Over => None,
        }
    }

    fn end(&mut self) -> Message {
        self.step = Step::Over;
        let end = End {
            schema: SCHEMA,
            state: self.shared.node.gate.state(),
        };
        message("end", &end)
    }
}

fn message(name: &str, data: &impl Serialize) -> Message {
    Message::default().event(name).data(text(data))
}

impl EventView {
    fn of(event: &Event, wording: Wording<'_>) -> Self {
        let labels = wording.labels;
        let (name, kind) = event.labels();
        let at = event.at().duration_since(UNIX_EPOCH);
        Self {
            schema: SCHEMA,
            seq: event.seq(),
            at: at.map_or(0.0, |at| at.as_secs_f64()),
            id: (wording.id)(event.id()),
            parent: event.parent().map(wording.id),
            name: labels.label(name),
            kind: labels.label(kind),
            location: site(event.location()),
            what: event.what().name(),
            outcome: match event.what() {
                What::Ended(outcome) => Some(*outcome),
                _ => None,
            },
            #[cfg(feature = "sessions")]
            change: match event.what() {
                What::Session(change) => Some(*change),
                _ => None,
            },
            reason: match event.what() {
                What::Closing(reason) => Some(reason.word()),
                What::Closed(report) => Some(report.reason().word()),
                _ => None,
            },
            report: match event.what() {
                What::Closed(report) => Some(ReportView::of(report, wording)),
                _ => None,
            },
            text: labels.are_shown().then(|| event.what().to_string()),
        }
    }
}

impl ReportView {
    fn of(report: &CloseReport, wording: Wording<'_>) -> Self {
        let are_shown = wording.labels.are_shown();
        Self {
            is_clean: report.is_clean(),
            duration_secs: report.duration().as_secs_f64(),
            finished: report.finished(),
            cancelled: report.cancelled(),
            aborted: report.aborted(),
            panicked: report.panicked(),
            failed: report.failed(),
            refused: report.refused(),
            restarted: report.restarted(),
            children: report.children(),
            reason: are_shown.then(|| report.reason().to_string()),
            text: are_shown.then(|| report.to_string()),
        }
    }
}
