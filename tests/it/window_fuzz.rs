//! The window gets random requests: nothing panics, nothing is said that is no JSON, and nothing stays.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "tests unwrap; this file is part of two of them, and one allows it"
)]

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, Response, StatusCode},
};
use headcount::Registry;
use serde_json::Value;
use std::{future::pending, net::SocketAddr};
use tower::ServiceExt as _;

const PATHS: [&str; 18] = [
    "/",
    "/tree",
    "/resourcez",
    "/leaks",
    "/dump",
    "/holders",
    "/growth",
    "/closing",
    "/events",
    "/close",
    "/livez",
    "/readyz",
    "/nope",
    "/tree/..",
    "/page.js",
    "//",
    "/%00",
    "/tree%2f",
];
const NAMES: [&str; 14] = [
    "", "id", "parent", "all", "kind", "name", "state", "older", "after", "limit", "under",
    "settle", "verbose", "x",
];
const VALUES: [&str; 23] = [
    "",
    "c0",
    "t0",
    "%23c0",
    "c0@",
    "c0.1",
    "a0",
    "h0",
    "-1",
    "0",
    "1",
    "1e308",
    "NaN",
    "%ff",
    "%00",
    "open",
    "task",
    "0-0-0",
    "ffffffffffffffff-ffffffff-ffffffff",
    "500",
    "18446744073709551616",
    "%E2%80%AE",
    "+",
];
const HOSTS: [&str; 7] = [
    "localhost",
    "127.0.0.1:1",
    "example.org",
    "",
    "[::1]",
    "localhost:99999",
    "a@localhost",
];
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW",
];
const TOKENS: [&str; 2] = ["Bearer secret", "Bearer x"];
const PEERS: [&str; 2] = ["127.0.0.1:1", "10.0.0.1:1"];

/// Random numbers that can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn uri(&mut self) -> String {
        let mut uri = self.one(&PATHS).to_owned();
        for n in 0..self.below(4) {
            uri += if n == 0 { "?" } else { "&" };
            uri += self.one(&NAMES);
            uri += "=";
            uri += self.one(&VALUES);
        }
        uri
    }

    /// `None` if it is no request at all.
    fn request(&mut self, uri: &str) -> Option<Request<Body>> {
        let method = self.below(METHODS.len()).saturating_sub(self.below(8));
        let request = Request::builder().method(METHODS[method]).uri(uri);
        let mut request = request.body(Body::empty()).ok()?;
        let headers = request.headers_mut();
        headers.insert("host", self.one(&HOSTS).parse().unwrap());
        if self.below(2) == 0 {
            headers.insert("authorization", self.one(&TOKENS).parse().unwrap());
        }
        if self.below(2) == 0 {
            let peer: SocketAddr = self.one(&PEERS).parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        Some(request)
    }
}

async fn check(uri: &str, response: Response<Body>) {
    let status = response.status();
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{uri}");
    // A stream ends when the registry has closed.
    if uri.starts_with("/events") && status.is_success() {
        return;
    }
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body = String::from_utf8(bytes.to_vec()).unwrap();
    if !body.is_empty() && !status.is_success() {
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{uri}: {body}"));
        assert!(body["schema"] == 1, "{uri}: {body}");
    }
}

async fn fuzz(requests: u32, seed: u64) {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("reader").cancellable().spawn(pending::<()>());
    let guarded = registry.window().token("secret").allow_close();
    let routers: [Router; 2] = [registry.window().router(), guarded.max_streams(1).router()];
    let mut random = Random(seed);
    let mut answered = 0;
    for _ in 0..requests {
        let uri = random.uri();
        // A search for leaks waits: only some of them are to.
        if uri.starts_with("/leaks") && random.below(50) > 0 {
            continue;
        }
        if let Some(request) = random.request(&uri) {
            let router = routers[random.below(2)].clone();
            let response = router.oneshot(request).await.unwrap();
            answered += u32::from(response.status().is_success());
            check(&uri, response).await;
        }
    }
    assert!(answered > requests / 100, "only {answered} were answered");
    // The context and its task, or the context alone if a request has closed it: nothing of the window.
    let live = registry.live().await;
    assert!(live.len() <= 2, "{live}");
    registry.close_now().await;
}

#[tokio::test]
async fn random_requests_break_nothing() {
    fuzz(3_000, 0x2545_f491_4f6c_dd1d).await;
}

#[tokio::test]
#[ignore = "stress"]
async fn a_hundred_thousand_random_requests_break_nothing() {
    fuzz(100_000, 0x9e37_79b9_7f4a_7c15).await;
}
