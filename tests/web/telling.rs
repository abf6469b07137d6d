//! What is said of requests that panic, and of connections that hang.

use crate::{
    said::said,
    serve::{Answer, Server},
    util::{in_time, settle},
};
use headcount::{
    Registry,
    tower::{RequestLayer, ServeOptions},
};
use http::{Request, Response};
use hyper::body::Incoming;
use std::{convert::Infallible, future::pending};
use tower::{Layer, Service, service_fn};

#[tokio::test]
async fn a_request_that_panics_is_told_with_its_method_and_route() {
    let (said, _heard) = said();
    let ctx = Registry::new().context("server");
    let mut service = RequestLayer::new(&ctx).layer(service_fn(async |_: Request<()>| {
        settle().await;
        panic!("no such user") as Result<Response<String>, Infallible>
    }));
    for path in ["/bug", "/bug", "/other"] {
        let request = service.call(Request::get(path).body(()).unwrap());
        assert!(in_time(tokio::spawn(request)).await.is_err());
    }
    let said = said.text();
    let told: Vec<_> = said
        .lines()
        .filter(|line| line.contains("panicked"))
        .collect();
    assert_eq!(told.len(), 2, "{said}");
    for (line, path) in told.iter().zip(["/bug", "/other"]) {
        assert!(
            line.contains(&format!(
                "WARN headcount::tower: task GET {path} (spawned at "
            )) && line.contains("panicked: no such user")
                && line.ends_with(&format!("context=server request=GET {path}")),
            "{line}"
        );
    }
    assert_eq!(in_time(ctx.close()).await.failures().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_told_with_its_request() {
    fn handler(_: Request<Incoming>) -> Answer {
        Box::pin(pending())
    }
    let (said, _heard) = said();
    let server = Server::with(ServeOptions::new(), handler);
    let mut client = server.client(1_024);
    client.send("GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.until_it_lists("request GET /stuck").await;
    let live = server.ctx.live().await;
    let connection = live.find("10.0.0.7:5000").unwrap();
    assert_eq!(connection.detail().as_deref(), Some("handles GET /stuck"));
    let report = server.close().await.to_string();
    let named = report.lines().filter(|line| line.contains("10.0.0.7:5000"));
    let named: Vec<_> = named.collect();
    assert!(
        !named.is_empty() && named.iter().all(|line| line.contains("handles GET /stuck")),
        "{report}"
    );
    let said = said.text();
    assert!(said.contains(", handles GET /stuck, spawned at "), "{said}");
    assert_eq!(connection.detail(), None);
}
