//! `/metrics`: the figures of the registry, as Prometheus reads them.

use crate::window::{params::Params, problem::Problem, shared::Shared};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    match page(&shared, &uri).await {
        Ok(page) => {
            let mut response = Body::from(page).into_response();
            let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn page(shared: &Shared, uri: &Uri) -> Result<String, Problem> {
    Params::of(uri, &[])?;
    let page = shared.metrics.render().await;
    page.ok_or_else(Problem::registry_gone)
}
