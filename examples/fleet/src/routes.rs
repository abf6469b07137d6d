//! What the server answers.

use crate::server::Server;
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post, put},
};
use headcount::{TaskError, metrics::Publisher, sessions::AttachError};
use metrics_exporter_prometheus::PrometheusHandle;
use std::time::Duration;

pub(crate) fn router(server: Server, figures: Publisher, page: PrometheusHandle) -> Router {
    let metrics = async move || {
        figures.update().await;
        page.render()
    };
    Router::new()
        .route("/sessions/{key}", put(enter).delete(leave))
        .route("/jobs/{milliseconds}", post(work))
        .route("/faults/{what}", post(fault))
        .route("/metrics", get(metrics))
        .with_state(server)
}

async fn enter(State(server): State<Server>, Path(key): Path<String>) -> StatusCode {
    match server.enter(key).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(AttachError::Full(_) | AttachError::Closed) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn leave(State(server): State<Server>, Path(key): Path<String>) -> StatusCode {
    if server.leave(&key) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn work(State(server): State<Server>, Path(milliseconds): Path<u64>) -> StatusCode {
    match server.work(Duration::from_millis(milliseconds)).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(TaskError::Refused) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Goes wrong, if it may.
async fn fault(State(server): State<Server>, Path(what): Path<String>) -> StatusCode {
    match what.as_str() {
        _ if !server.has_faults() => StatusCode::FORBIDDEN,
        "feed" => {
            server.fail_feed();
            StatusCode::NO_CONTENT
        }
        "hold" if server.hold().await => StatusCode::NO_CONTENT,
        "hold" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    }
}
