//! How answers are written: nothing in them that a terminal obeys.

use crate::leaks::graph::json::legible_json;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The version of all answers. Fields may be added to it; a change of what is there makes a new one.
pub(crate) const SCHEMA: u32 = 1;

/// The JSON of a value of this crate: strings, numbers, lists and maps with strings as keys.
pub(crate) fn text(value: &impl Serialize) -> String {
    legible_json(value)
}

/// A response with this JSON.
pub(crate) fn response(body: String) -> Response {
    let mut response = Body::from(body).into_response();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
