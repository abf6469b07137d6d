//! The paths of the window, and what is checked before each of them.

use crate::window::{
    access::peer_of,
    answer::answer,
    close, closing, dump, events, growth, holders,
    json::response,
    leaks,
    page::{SCRIPTS, page, script, style},
    params::Params,
    problem::Problem,
    resources,
    shared::Shared,
    tree,
};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::Serialize;
use std::sync::Arc;

/// The paths that answer with one JSON.
const QUESTIONS: [&str; 7] = [
    "/resourcez",
    "/tree",
    "/leaks",
    "/dump",
    "/holders",
    "/growth",
    "/closing",
];
/// The paths for probes, which say nothing of what there is.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// The answer to a question, over HTTP or not.
pub(crate) async fn ask(shared: &Arc<Shared>, path: &str, uri: &Uri) -> Result<String, Problem> {
    match path {
        "/resourcez" => resources::resources(shared, uri).await,
        "/tree" => tree::tree(shared, uri).await,
        "/leaks" => leaks::leaks(shared, uri).await,
        "/dump" => dump::dump(shared, uri).await,
        "/holders" => holders::holders(shared, uri).await,
        "/growth" => growth::growth(shared, uri).await,
        "/closing" => closing::closing(shared, uri).await,
        "/livez" | "/readyz" => probe(shared, uri),
        _ => Err(Problem::unknown_path()),
    }
}

#[derive(Serialize)]
struct Nothing {}

fn probe(shared: &Shared, uri: &Uri) -> Result<String, Problem> {
    Params::of(uri, &[])?;
    Ok(answer(shared, Nothing {}))
}

/// Every path, without an answer for others: those are the program's own.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let mut asked = Router::new();
    for path in QUESTIONS {
        asked = asked.route(path, reading(get(question(path))));
    }
    #[cfg(feature = "metrics")]
    let asked = asked.route("/metrics", reading(get(super::metrics::metrics)));
    let asked = asked
        .route("/events", reading(get(stream)))
        .route("/close", post(begin_close).fallback(wrong_method))
        .route_layer(from_fn_with_state(Arc::clone(&shared), check_token));
    let mut shown = Router::new()
        .route("/", reading(get(page)))
        .route("/page.css", reading(get(style)));
    for (path, text) in SCRIPTS {
        shown = shown.route(path, reading(get(move || async move { script(text) })));
    }
    let mut probed = Router::new();
    for path in PROBES {
        probed = probed.route(path, reading(get(question(path))));
    }
    shown
        .merge(asked)
        .route_layer(from_fn_with_state(Arc::clone(&shared), check))
        .merge(probed)
        .route_layer(axum::middleware::from_fn(protect))
        .with_state(shared)
}

/// The router of a server of its own, which has no other paths.
pub(crate) fn whole(shared: Arc<Shared>) -> Router {
    let unknown = Router::new().fallback(async || Problem::unknown_path());
    let unknown = unknown.layer(from_fn_with_state(Arc::clone(&shared), check));
    router(shared).fallback_service(unknown)
}

type Question = std::pin::Pin<Box<dyn Future<Output = Response> + Send>>;

fn question(
    path: &'static str,
) -> impl Fn(State<Arc<Shared>>, Uri) -> Question + Clone + Send + Sync + 'static {
    move |State(shared), uri| {
        Box::pin(async move {
            match ask(&shared, path, &uri).await {
                Ok(body) if path == "/readyz" && !shared.readiness.is_ready() => {
                    (StatusCode::SERVICE_UNAVAILABLE, response(body)).into_response()
                }
                Ok(body) => response(body),
                Err(problem) => problem.into_response(),
            }
        })
    }
}

async fn stream(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    events::events(&shared, &uri).into_response()
}

async fn begin_close(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let peer = peer_of(request.extensions());
    match close::close(&shared, request.uri(), peer) {
        Ok(body) => (StatusCode::ACCEPTED, response(body)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

fn reading(route: MethodRouter<Arc<Shared>>) -> MethodRouter<Arc<Shared>> {
    route.fallback(wrong_method)
}

async fn wrong_method() -> Problem {
    Problem::method_not_allowed()
}

/// Lets a request through that comes from where it may, whatever it asks for.
async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match shared.access.check(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets a request through that has the token.
async fn check_token(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.access.check_token(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What browsers are told of every response: run nothing that is not this window's own, show it nowhere else, keep nothing.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; base-uri 'self'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
