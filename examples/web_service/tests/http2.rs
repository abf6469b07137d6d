//! HTTP/2: its streams are tasks, and end with their connection.

#![expect(clippy::unwrap_used, reason = "tests unwrap")]

use axum::{Router, routing::get};
use headcount::{Context, Registry, Task, tower::serve};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, yield_now},
    time::timeout,
};

type Client = http2::SendRequest<Empty<Bytes>>;

struct Server {
    ctx: Context,
    client: Client,
    connection: AbortHandle,
    handle: Task<()>,
}

async fn start(router: Router, grace: Duration) -> Server {
    let registry = Registry::builder().grace(grace).build();
    let ctx = registry.context("server");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handle = serve(listener, router, &ctx);
    let socket = TcpStream::connect(address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .unwrap();
    let connection = tokio::spawn(async move { connection.await.is_ok() }).abort_handle();
    Server {
        ctx,
        client,
        connection,
        handle,
    }
}

async fn ask(mut client: Client, path: &'static str) -> Result<String, hyper::Error> {
    let request = Request::get(format!("http://a{path}"))
        .body(Empty::new())
        .unwrap();
    let response = client.send_request(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

async fn names(ctx: &Context) -> Vec<String> {
    let live = ctx.live().await;
    live.tasks()
        .iter()
        .map(|task| task.name().to_owned())
        .collect()
}

async fn until(condition: impl AsyncFn() -> bool) {
    let reached = async {
        while !condition().await {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), reached)
        .await
        .expect("it never comes");
}

#[tokio::test]
async fn streams_in_flight_end_after_the_close_began() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let handler = async move || {
        wait.notified().await;
        headcount::spawn(async { "hello" }).await.unwrap()
    };
    let router = Router::new().route("/users/{id}", get(handler));
    let server = start(router, Duration::from_secs(60)).await;
    let asked = [1, 2].map(|_| tokio::spawn(ask(server.client.clone(), "/users/7")));
    until(async || {
        let names = names(&server.ctx).await;
        names
            .iter()
            .filter(|name| *name == "GET /users/{id}")
            .count()
            == 2
    })
    .await;
    let close = server.ctx.close();
    go.notify_waiters();
    go.notify_one();
    for asked in asked {
        assert_eq!(asked.await.unwrap().unwrap(), "hello");
    }
    let report = close.await;
    assert!(report.is_clean(), "{report}");
    server.handle.await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_streams() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let handler = async move || {
        struct Held(Arc<AtomicUsize>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let _held = Held(count);
        pending::<&str>().await
    };
    let router = Router::new().route("/slow", get(handler));
    let server = start(router, Duration::from_secs(60)).await;
    let asked = tokio::spawn(ask(server.client.clone(), "/slow"));
    until(async || names(&server.ctx).await.contains(&"GET /slow".to_owned())).await;
    server.connection.abort();
    asked.abort();
    until(async || names(&server.ctx).await.len() == 2).await;
    assert_eq!(dropped.load(SeqCst), 1);
    assert!(server.ctx.close().await.is_clean());
}

#[tokio::test]
async fn a_stream_that_hangs_is_aborted_after_the_grace_period() {
    let router = Router::new().route("/slow", get(async || pending::<&str>().await));
    let server = start(router, Duration::from_millis(20)).await;
    let asked = tokio::spawn(ask(server.client.clone(), "/slow"));
    until(async || names(&server.ctx).await.contains(&"GET /slow".to_owned())).await;
    let report = server.ctx.close().await;
    assert!(!report.is_clean(), "{report}");
    assert!(asked.await.unwrap().is_err());
    assert!(names(&server.ctx).await.is_empty());
}

#[tokio::test]
async fn a_handler_that_panics_is_one_failure_and_resets_its_stream_alone() {
    let router = Router::new()
        .route("/bug", get(async || panic!("a bug") as &str))
        .route("/", get(async || "hello"));
    let server = start(router, Duration::from_secs(60)).await;
    assert!(ask(server.client.clone(), "/bug").await.is_err());
    assert_eq!(ask(server.client.clone(), "/").await.unwrap(), "hello");
    let report = server.ctx.close().await;
    let failed: Vec<_> = report
        .failures()
        .iter()
        .map(|failure| failure.what().to_owned())
        .collect();
    assert_eq!(failed, ["GET /bug"], "{report}");
}
