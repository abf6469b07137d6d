//! What a dump says of a server, its connections and its requests.

use crate::util::in_time;
use axum::{
    Router,
    body::Body,
    http::{Request, Response},
    routing::{any, get, post},
};
use futures::stream;
use headcount::{
    Context, Registry,
    dump::{Activity, Awaited, Dump, TaskDump},
    tower::serve,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, future::pending, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const LONG: Duration = Duration::from_secs(1_000);

struct Server {
    registry: Registry,
    ctx: Context,
    address: std::net::SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let router: Router = Router::new()
            .route("/slow", get(slow))
            .route("/notes", post(async |text: String| text))
            .route("/events", get(events))
            .route("/chat", any(chat));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Registry::new();
        let ctx = registry.context("server");
        drop(serve(listener, router, &ctx));
        Self {
            registry,
            ctx,
            address,
        }
    }

    /// A client that sends this.
    async fn client(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// A dump, once a task of this name is in it that waits.
    async fn dump(&self, name: &str) -> Dump {
        let is_parked = |task: &TaskDump| matches!(task.activity(), Activity::Parked(_));
        in_time(async {
            loop {
                let dump = self.registry.dump().await;
                if dump.find(name).is_some_and(is_parked) {
                    return dump;
                }
            }
        })
        .await
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(LONG).await;
    "good morning"
}
const SLOW: u32 = line!() - 3;

async fn events() -> Response<Body> {
    let events = stream::unfold((), async |()| {
        tokio::time::sleep(LONG).await;
        Some((Ok::<_, Infallible>("data: 1\n\n"), ()))
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(events)).unwrap()
}
const EVENTS: u32 = line!() - 6;

/// Upgrades to a protocol in which the server never reads.
async fn chat(mut request: Request<Body>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    // As web frameworks do it.
    tokio::spawn(async move {
        let _socket = TokioIo::new(upgrade.await.unwrap());
        pending::<()>().await;
    });
    let response = Response::builder().status(101).header("upgrade", "chat");
    let response = response.header("connection", "upgrade");
    response.body(Body::empty()).unwrap()
}

fn said(dump: &Dump, name: &str) -> String {
    let said = dump.find(name).unwrap().to_string();
    let (_head, stacks) = said.split_once('\n').unwrap();
    let lines: Vec<_> = stacks.lines().map(str::trim).collect();
    lines.join("\n")
}

/// The task of the only connection.
fn of_connection(dump: &Dump) -> String {
    let is_connection = |task: &&TaskDump| task.resource().kind() == "connection";
    let connection = dump.tasks().iter().find(is_connection).unwrap();
    said(dump, connection.resource().name())
}

#[tokio::test]
async fn a_server_and_its_idle_connections_wait_in_serve_for_the_network() {
    let server = Server::start().await;
    let mut client = server.client("GET /none HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_u8().await.unwrap();
    let dump = server.dump("accept").await;
    assert_eq!(
        said(&dump, "accept"),
        "headcount::tower::serve → tokio::net::TcpListener::accept"
    );
    assert_eq!(said(&dump, "serve"), "headcount::tower::serve");
    assert_eq!(
        of_connection(&dump),
        "headcount::tower::serve → tokio::net::TcpStream::poll_read"
    );
    server.ctx.close_now().await;
}

#[tokio::test]
async fn a_request_waits_on_its_handlers_line_and_its_connection_as_well() {
    let server = Server::start().await;
    let _client = server.client("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let dump = server.dump("GET /slow").await;
    let waits = format!("web::dumps::slow at tests/web/dumps.rs:{SLOW}\n→ tokio::time::Sleep");
    assert_eq!(said(&dump, "GET /slow"), waits);
    assert_eq!(
        of_connection(&dump),
        format!("either headcount::tower::serve → tokio::net::TcpStream::poll_read\nor {waits}")
    );
    server.ctx.close_now().await;
}

#[tokio::test]
async fn a_request_whose_body_has_not_come_waits_for_that() {
    let server = Server::start().await;
    let head = "POST /notes HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
    let _client = server.client(head).await;
    let dump = server.dump("POST /notes").await;
    assert_eq!(said(&dump, "POST /notes"), "hyper::body::Incoming");
    server.ctx.close_now().await;
}

#[tokio::test]
async fn an_event_stream_waits_on_the_line_of_its_stream_once() {
    let server = Server::start().await;
    let mut client = server
        .client("GET /events HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.read_u8().await.unwrap();
    let dump = server.dump("GET /events").await;
    let waits = format!("web::dumps::events at tests/web/dumps.rs:{EVENTS}\n→ tokio::time::Sleep");
    assert_eq!(said(&dump, "GET /events"), waits);
    let connection = of_connection(&dump);
    assert_eq!(connection.matches(&waits).count(), 1, "{connection}");
    assert!(!connection.contains(" × "), "{connection}");
    server.ctx.close_now().await;
}

/// It has no code of its own to ask, and the code that has its socket need not poll it.
#[tokio::test]
async fn an_upgraded_connection_waits_for_the_code_that_has_its_socket() {
    let server = Server::start().await;
    let upgrade = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    let mut client = server.client(upgrade).await;
    client.read_u8().await.unwrap();
    let live = async || server.registry.live().await;
    in_time(async {
        while live()
            .await
            .find("GET /chat")
            .is_none_or(|it| it.kind() != "upgraded")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let dump = server.registry.dump().await;
    assert_eq!(dump.unanswered().count(), 0, "{dump}");
    assert_eq!(
        said(&dump, "GET /chat"),
        "waits for the code that has its socket"
    );
    let chat = dump.find("GET /chat").unwrap();
    assert_eq!(chat.activity(), Activity::Parked(None));
    assert_eq!(chat.stacks()[0].awaited(), Some(&Awaited::Socket));
}
