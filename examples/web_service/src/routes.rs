//! What the service answers.

use crate::State;
use axum::{
    Router,
    extract::{
        Path, State as Of,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::StatusCode,
    response::{
        Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use futures::Stream;
use headcount::Context;
use std::{convert::Infallible, time::Duration};
use tokio::time::sleep;

pub(crate) fn router(state: State) -> Router {
    Router::new()
        .route("/notes", post(add))
        .route("/notes/{id}", get(note))
        .route("/events", get(events))
        .route("/chat", any(chat))
        .route("/slow", get(slow))
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(readyz))
        .with_state(state)
}

/// Whether the service takes requests: not any more once it drains.
async fn readyz(Of(state): Of<State>) -> (StatusCode, &'static str) {
    if state.readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

type Failed = (StatusCode, String);

fn failed(error: &impl ToString) -> Failed {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Keeps a note, has its words counted behind the request, and tells the news to those who listen.
async fn add(Of(state): Of<State>, text: String) -> Result<(StatusCode, String), Failed> {
    let insert = sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(&text);
    let added = insert
        .execute(&state.pool)
        .await
        .map_err(|error| failed(&error))?;
    let id = added.last_insert_rowid();
    if !state.jobs.count(id).await {
        return Err(failed(&"the queue is closed"));
    }
    // A task of the server, also while that drains. There may be no listener.
    headcount::spawn(async move { state.news.send(text).is_ok() });
    Ok((StatusCode::CREATED, id.to_string()))
}

async fn note(Of(state): Of<State>, Path(id): Path<i64>) -> Result<String, Failed> {
    let select = sqlx::query_as("SELECT text FROM notes WHERE id = ?").bind(id);
    let found: Option<(String,)> = select
        .fetch_optional(&state.pool)
        .await
        .map_err(|error| failed(&error))?;
    let missing = || (StatusCode::NOT_FOUND, format!("there is no note {id}"));
    found.map(|(text,)| text).ok_or_else(missing)
}

/// The news as server-sent events, without an end of their own: the close ends them.
async fn events(Of(state): Of<State>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut news = state.news.subscribe();
    Sse::new(async_stream::stream! {
        yield Ok(Event::default().comment("listening"));
        while let Ok(text) = news.recv().await {
            yield Ok(Event::default().data(text));
        }
    })
}

/// Returns each message. axum runs the socket on a task of its own, so that is wrapped: the close awaits it, and tells it to end.
async fn chat(upgrade: WebSocketUpgrade) -> Response {
    let ctx = Context::current().expect("handlers run in the context of requests");
    upgrade.on_upgrade(async move |socket| {
        // An error is that of a close by force.
        let _ = ctx.task("chat").wrap(echo(socket)).await;
    })
}

async fn echo(mut socket: WebSocket) {
    let ctx = Context::current().expect("it is wrapped");
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ Message::Text(_))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                // Other kinds are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return,
            },
            _ = ctx.cancelled() => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
        }
    }
}

/// Answers after a day: for clients that lose patience.
async fn slow() -> &'static str {
    sleep(Duration::from_secs(24 * 3_600)).await;
    "good morning"
}
