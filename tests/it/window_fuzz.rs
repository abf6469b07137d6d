//! The window gets random requests: nothing panics, nothing is said that is no JSON, and nothing stays.

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

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Random requests, by a generator of its own, so that a failure can be had again.
async fn fuzz(requests: u32, seed: u64) {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("reader").cancellable().spawn(pending::<()>());
    let mut seed = seed;
    let mut random = |most: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % most as u64).unwrap()
    };
    let paths = [
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
    let names = [
        "", "id", "parent", "all", "kind", "name", "state", "older", "after", "limit", "under",
        "settle", "verbose", "x",
    ];
    let values = [
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
    let hosts = [
        "localhost",
        "127.0.0.1:1",
        "example.org",
        "",
        "[::1]",
        "localhost:99999",
        "a@localhost",
    ];
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW",
    ];
    let routers = [
        registry.window().router(),
        registry
            .window()
            .token("secret")
            .allow_close()
            .max_streams(1)
            .router(),
    ];
    for _ in 0..requests {
        let mut uri = paths[random(paths.len())].to_owned();
        for n in 0..random(4) {
            uri += if n == 0 { "?" } else { "&" };
            uri += names[random(names.len())];
            uri += "=";
            uri += values[random(values.len())];
        }
        // A search for leaks waits: only some of them are to.
        if uri.starts_with("/leaks") && !uri.contains("settle=0") && random(50) > 0 {
            continue;
        }
        let method = methods[random(methods.len()).saturating_sub(random(8))];
        let request = Request::builder().method(method).uri(&uri);
        let Ok(mut request) = request.body(Body::empty()) else {
            continue;
        };
        let headers = request.headers_mut();
        headers.insert("host", hosts[random(hosts.len())].parse().unwrap());
        if random(2) == 0 {
            headers.insert(
                "authorization",
                ["Bearer secret", "Bearer x"][random(2)].parse().unwrap(),
            );
        }
        if random(2) == 0 {
            let peer: SocketAddr = ["127.0.0.1:1", "10.0.0.1:1"][random(2)].parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let response = send(&routers[random(2)], request).await;
        let (status, is_stream) = (response.status(), uri.starts_with("/events"));
        assert!(
            status != StatusCode::INTERNAL_SERVER_ERROR,
            "{method} {uri}"
        );
        if !is_stream || !status.is_success() {
            let body = text(response).await;
            if !body.is_empty() && (status.is_client_error() || status.is_server_error()) {
                let body: Value = serde_json::from_str(&body)
                    .unwrap_or_else(|_| panic!("{method} {uri}: {body}"));
                assert!(body["schema"] == 1, "{method} {uri}: {body}");
            }
        }
    }
    // One context and its task, or neither if a request has closed it: nothing of the window.
    assert!(
        registry.live().await.len() <= 2,
        "{}",
        registry.live().await
    );
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
