//! The frames of web servers, which stand between what is spawned and what a person looks for: those of [`serve`] and the layer, of
//! hyper, axum and tower. A stack without a line of the program's own code is named by what lies beyond them.
//!
//! [`serve`]: ../../tower/fn.serve.html

use crate::dump::{fold::named, view::StackFrame};

/// What functions are like that pass a poll on between a server and a handler, or what that waits for.
const PASSING: [&str; 18] = [
    "headcount::tower::",
    "hyper::proto::",
    "hyper::server::",
    "hyper::service::",
    "hyper_util::",
    "h2::",
    "http_body::",
    "http_body_util::",
    "tower::",
    "tower_http::",
    "axum::routing::",
    "axum::handler::",
    "axum::middleware::",
    "axum::response::",
    "axum::serve::",
    "axum::util::",
    "axum_core::",
    "async_stream::",
];

/// What frames are like of a request, which the task of its connection polls.
const REQUEST: [&str; 3] = [
    "headcount::tower::ResponseFuture",
    "headcount::tower::RequestBody",
    "headcount::tower::body::Frames",
];

/// What frames are like of what a server waits for on its own account: its stop, a time limit, room in what a handler reads.
const BESIDE: [&str; 5] = [
    "headcount::tower::stopping::",
    "headcount::tower::connection::silent",
    "headcount::tower::connection::goodbye",
    "hyper_util::rt::TokioSleep",
    "hyper::body::chan::Sender",
];

/// Whether it is the stack of something that a server waits for beside its connections and its requests.
pub(super) fn is_of_server(frames: &[StackFrame]) -> bool {
    let any_of = |names: &[&str]| frames.iter().any(|frame| begins_with(frame, names));
    any_of(&["headcount::tower::"]) && any_of(&BESIDE)
}

/// What is awaited, and on whose behalf, where the stack has no line of the program's own code. `None` if no web server is in it.
pub(super) fn leaf(frames: &[StackFrame]) -> Option<(String, Vec<String>)> {
    frames.iter().find(|frame| begins_with(frame, &PASSING))?;
    let request = frames
        .iter()
        .rposition(|frame| begins_with(frame, &REQUEST));
    let of_server = frames
        .iter()
        .any(|frame| begins_with(frame, &["headcount::tower::"]));
    if is_of_server(frames) {
        return Some((called(request.is_some()), Vec::new()));
    }
    let inside = &frames[request.map_or(0, |request| request + 1)..];
    let awaited = inside.iter().find(|frame| is_waited_for(frame)).map(named);
    match (awaited, request) {
        (awaited, None) if of_server => Some((called(false), awaited.into_iter().collect())),
        (Some(awaited), _) => Some((awaited, Vec::new())),
        (None, Some(_)) => Some((called(true), Vec::new())),
        (None, None) => None,
    }
}

/// The function of this crate that a user called.
fn called(is_request: bool) -> String {
    let function = if is_request { "RequestLayer" } else { "serve" };
    format!("headcount::tower::{function}")
}

fn is_waited_for(frame: &StackFrame) -> bool {
    let is_extractor = frame.function.ends_with("::from_request");
    frame.is_awaited() && !is_extractor && !begins_with(frame, &PASSING)
}

fn begins_with(frame: &StackFrame, names: &[&str]) -> bool {
    names.iter().any(|name| frame.function.starts_with(name))
}
