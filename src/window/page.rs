//! `/`: the page, which is in the program.

use axum::{
    extract::OriginalUri,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// The modules of the page, by the name under which it loads them.
pub(crate) const SCRIPTS: [(&str, &str); 5] = [
    ("/page.js", include_str!("page/page.js")),
    ("/server.js", include_str!("page/server.js")),
    ("/events.js", include_str!("page/events.js")),
    ("/tree.js", include_str!("page/tree.js")),
    ("/panels.js", include_str!("page/panels.js")),
];

/// The page. It asks for everything relative to where it was found, which is with or without a slash at its end.
pub(crate) async fn page(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let base = match last {
        "" => "./".to_owned(),
        last if last.bytes().all(is_plain) => format!("./{last}/"),
        _ => "./".to_owned(),
    };
    of_type(
        PAGE.replacen("{base}", &base, 1),
        "text/html; charset=utf-8",
    )
}

pub(crate) async fn style() -> Response {
    of_type(STYLE, "text/css; charset=utf-8")
}

pub(crate) fn script(text: &'static str) -> Response {
    of_type(text, "text/javascript; charset=utf-8")
}

fn of_type(body: impl IntoResponse, of: &'static str) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(of));
    response
}
