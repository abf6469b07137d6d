//! A server whose connections and requests are counted. Its clients are in memory, so that time can be paused.

use crate::{
    said::said,
    util::{Counter, in_time, settle},
};
use futures::future::BoxFuture;
use headcount::{
    CloseReport, Context, FailureKind, Registry, Task, TaskError,
    tower::{EndAtClose, Listener, ServeOptions, serve},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    time::sleep,
};
use tower::service_fn;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), 5000);
const CONNECTION: &str = "connection 10.0.0.7:5000";
const LONG: Duration = Duration::from_secs(3_600);

/// Connections, and failures to accept one.
struct InMemory(mpsc::UnboundedReceiver<io::Result<DuplexStream>>);

impl Listener for InMemory {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => accepted.map(|io| (io, FROM)),
            None => pending().await,
        }
    }
}

pub(crate) struct Server {
    pub(crate) ctx: Context,
    connect: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    handle: Task<()>,
}

impl Server {
    pub(crate) fn start(handler: fn(Request<Incoming>) -> Answer) -> Self {
        Self::with(ServeOptions::new(), handler)
    }

    pub(crate) fn with<H>(options: ServeOptions, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> Answer + Clone + Send + 'static,
    {
        let ctx = Registry::new().context("server");
        let (connect, connections) = mpsc::unbounded_channel();
        let handle = options.serve(InMemory(connections), service_fn(handler), &ctx);
        Self {
            ctx,
            connect,
            handle,
        }
    }

    /// A client whose socket has room for so many bytes.
    pub(crate) fn client(&self, room: usize) -> Client {
        let (client, server) = duplex(room);
        self.connect.send(Ok(server)).unwrap();
        Client(client)
    }

    async fn names(&self) -> Vec<String> {
        let live = self.ctx.live().await;
        let tasks = live.tasks();
        let name = |task: &headcount::Resource| format!("{} {}", task.kind(), task.name());
        tasks.iter().map(name).collect()
    }

    /// Whether it lists a task of this kind and name.
    async fn lists(&self, task: &str) -> bool {
        self.names().await.iter().any(|name| name == task)
    }

    pub(crate) async fn until_it_lists(&self, task: &str) {
        in_time(async {
            while !self.lists(task).await {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Closes it. The server has ended then.
    pub(crate) async fn close(self) -> CloseReport {
        let report = in_time(self.ctx.close()).await;
        assert!(matches!(
            in_time(self.handle).await,
            Ok(()) | Err(TaskError::Aborted)
        ));
        report
    }
}

pub(crate) struct Client(DuplexStream);

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until this has come.
    pub(crate) async fn reads(&mut self, text: &str) -> String {
        let mut got = Vec::new();
        in_time(async {
            while !String::from_utf8_lossy(&got).contains(text) {
                let byte = self.0.read_u8().await;
                got.push(byte.unwrap_or_else(|error| {
                    panic!("{error} after {}", String::from_utf8_lossy(&got))
                }));
            }
        })
        .await;
        String::from_utf8(got).unwrap()
    }

    /// What comes until the connection is closed.
    async fn rest(&mut self) -> String {
        let mut got = String::new();
        in_time(self.0.read_to_string(&mut got)).await.unwrap();
        got
    }
}

fn full(text: &'static str) -> Response<Body> {
    Response::new(Full::new(Bytes::from(text)).boxed_unsync())
}

fn hello(_: Request<Incoming>) -> Answer {
    Box::pin(async { Ok(full("hello")) })
}

/// A body that has one part and no end.
fn endless() -> Body {
    let part = Ok(Frame::data(Bytes::from_static(b"a part")));
    let parts =
        futures::StreamExt::chain(futures::stream::iter([part]), futures::stream::pending());
    BodyExt::boxed_unsync(StreamBody::new(parts))
}

#[tokio::test(start_paused = true)]
async fn connections_and_requests_are_listed_and_idle_connections_go_at_the_close() {
    fn handler(request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            assert_eq!(request.extensions().get::<SocketAddr>(), Some(&FROM));
            Ok(full(if request.uri() == "/slow" {
                pending().await
            } else {
                "hello"
            }))
        })
    }
    let server = Server::start(handler);
    let mut idle = server.client(1_024);
    idle.send(GET).await;
    idle.reads("hello").await;
    let mut busy = server.client(1_024);
    busy.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.until_it_lists("request GET /slow").await;
    let live = server.ctx.live().await;
    let tree = live.to_string();
    let mut names = server.names().await;
    names.sort();
    assert_eq!(
        names,
        [
            CONNECTION,
            CONNECTION,
            "request GET /slow",
            "task accept",
            "task serve"
        ],
        "{tree}"
    );
    // The client goes, and its request with it.
    drop(busy);
    settle().await;
    assert!(!server.lists("request GET /slow").await);

    let never_used = server.client(1_024);
    settle().await;
    let close = server.close().await;
    assert!(close.is_clean(), "{close}");
    assert_eq!(idle.rest().await, "");
    drop(never_used);
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_end_and_may_spawn_after_the_close_began() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Server::with(ServeOptions::new(), move |_| {
        let wait = Arc::clone(&wait);
        Box::pin(async move {
            wait.notified().await;
            let spawned = headcount::spawn(async { "hello" });
            Ok(full(spawned.await.unwrap()))
        })
    });
    let mut client = server.client(1_024);
    client.send(GET).await;
    server.until_it_lists("request GET /").await;
    server.ctx.request_close("deploy");
    settle().await;
    assert!(server.lists("request GET /").await);
    go.notify_one();
    let answer = client.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(answer.contains("connection: close"), "{answer}");
    let report = server.close().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_arrived_when_the_close_begins_is_served() {
    let server = Server::start(hello);
    let mut client = server.client(1_024);
    server.until_it_lists(CONNECTION).await;
    client.send(GET).await;
    server.ctx.request_close("deploy");
    let answer = client.rest().await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(server.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_finish_lets_requests_end_and_waits_for_no_idle_connection() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let server = Server::with(ServeOptions::new(), move |request| {
        let wait = Arc::clone(&wait);
        Box::pin(async move {
            if request.uri() == "/events" {
                let response = Response::builder().header("content-type", "text/event-stream");
                return Ok(response.body(endless()).unwrap());
            }
            wait.notified().await;
            let spawned = headcount::spawn(async { "hello" });
            Ok(full(spawned.await.unwrap()))
        })
    });
    let mut events = server.client(1_024);
    events.send("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    events.reads("a part").await;
    let idle = server.client(1_024);
    let mut client = server.client(1_024);
    client.send(GET).await;
    server.until_it_lists("request GET /").await;
    let finish = server.ctx.finish();
    assert!(events.rest().await.ends_with("0\r\n\r\n"));
    // Nothing is ended by force, however long it takes.
    sleep(LONG).await;
    go.notify_one();
    assert!(client.rest().await.ends_with("hello"));
    let report = in_time(finish).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.reason(), &headcount::CloseReason::Finished);
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn event_streams_and_marked_bodies_end_at_the_close_as_if_complete() {
    fn handler(request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            let mut response = Response::new(endless());
            if request.uri() == "/events" {
                let value = "text/event-stream".parse().unwrap();
                response.headers_mut().insert("content-type", value);
            } else {
                response.extensions_mut().insert(EndAtClose);
            }
            Ok(response)
        })
    }
    let server = Server::start(handler);
    let mut clients = [server.client(1_024), server.client(1_024)];
    for (client, path) in clients.iter_mut().zip(["/events", "/watch"]) {
        client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        client.reads("a part").await;
    }
    let report = server.close().await;
    assert!(report.is_clean(), "{report}");
    for client in &mut clients {
        assert!(client.rest().await.ends_with("0\r\n\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_cut_off_after_the_grace_period_and_does_not_look_complete() {
    let server = Server::start(|_| Box::pin(async { Ok(Response::new(endless())) }));
    let mut client = server.client(1_024);
    client.send(GET).await;
    client.reads("a part").await;
    let report = server.close().await;
    assert!(!report.is_clean(), "{report}");
    assert_eq!(client.rest().await, "\r\n");
}

#[tokio::test(start_paused = true)]
async fn clients_that_hang_do_not_hold_up_the_close() {
    fn handler(request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            match request.uri().path() {
                "/upload" => drop(request.into_body().collect().await),
                "/large" => {
                    let parts = std::iter::repeat_n(vec![0; 60_000], 100);
                    let frames = parts.map(|part| Ok(Frame::data(Bytes::from(part))));
                    let body = StreamBody::new(futures::stream::iter(frames));
                    return Ok(Response::new(BodyExt::boxed_unsync(body)));
                }
                _ => pending().await,
            }
            Ok(full("hello"))
        })
    }
    for head in [
        "POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf of it",
        "GET /large HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let server = Server::start(handler);
        let mut client = server.client(1_024);
        client.send(head).await;
        let path = head.split(" HTTP").next().unwrap();
        server.until_it_lists(&format!("request {path}")).await;
        // The response has filled the socket.
        settle().await;
        let report = server.close().await;
        assert!(!report.is_clean(), "{head}: {report}");
        assert!(report.to_string().contains("10.0.0.7"), "{head}: {report}");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_ask_for_nothing_are_left_without_a_mark_on_the_report() {
    static LARGE: [u8; 10_000] = [b'a'; 10_000];
    fn handler(_: Request<Incoming>) -> Answer {
        Box::pin(async {
            Ok(Response::new(
                Full::new(Bytes::from_static(&LARGE)).boxed_unsync(),
            ))
        })
    }
    // Half a head; half of the first line of HTTP/2; a second request that is never complete.
    for (first, half) in [
        ("", "GET / HTTP/1.1\r\nhos"),
        ("", "PRI * HT"),
        (GET, "GET / HTTP/1.1\r\nhos"),
    ] {
        let server = Server::start(handler);
        let mut client = server.client(100_000);
        client.send(first).await;
        if !first.is_empty() {
            client.reads(&"a".repeat(LARGE.len())).await;
        }
        client.send(half).await;
        settle().await;
        let report = server.close().await;
        assert!(report.is_clean(), "{half}: {report}");
    }
    // The whole response is with hyper, and its client does not read it.
    let server = Server::start(handler);
    let mut client = server.client(64);
    client.send(GET).await;
    settle().await;
    assert!(!server.lists("request GET /").await);
    let report = server.close().await;
    assert!(report.is_clean(), "{report}");
    assert!(client.rest().await.len() < LARGE.len());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_its_response_while_the_server_says_goodbye() {
    static LARGE: [u8; 1_000] = [b'a'; 1_000];
    fn handler(_: Request<Incoming>) -> Answer {
        Box::pin(async {
            Ok(Response::new(
                Full::new(Bytes::from_static(&LARGE)).boxed_unsync(),
            ))
        })
    }
    let registry = Registry::builder().grace(LONG).build();
    let ctx = registry.context("server");
    let (connect, connections) = mpsc::unbounded_channel();
    let server = serve(InMemory(connections), service_fn(handler), &ctx);
    let (mut client, io) = duplex(64);
    connect.send(Ok(io)).unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    settle().await;
    ctx.request_close("deploy");
    let mut got = Vec::new();
    loop {
        sleep(Duration::from_millis(900)).await;
        let mut some = [0; 64];
        match client.read(&mut some).await.unwrap() {
            0 => break,
            read => got.extend_from_slice(&some[..read]),
        }
    }
    assert!(got.ends_with(&LARGE));
    assert!(in_time(ctx.closed()).await.is_clean());
    in_time(server).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_closed_after_a_while() {
    let server = Server::start(hello);
    let mut silent = server.client(1_024);
    let mut half = server.client(1_024);
    half.send("GET / HT").await;
    assert_eq!(silent.rest().await, "");
    let answer = half.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    settle().await;
    assert!(!server.lists(CONNECTION).await);
    assert!(server.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_stop_no_server() {
    let server = Server::start(hello);
    let too_many = || io::Error::other("too many open files");
    for _ in 0..20 {
        server.connect.send(Err(too_many())).unwrap();
    }
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    server.connect.send(Err(reset)).unwrap();
    let before = tokio::time::Instant::now();
    let mut client = server.client(1_024);
    client.send(GET).await;
    client.reads("hello").await;
    // 5 ms, twice as long each time, at most a second.
    assert_eq!(before.elapsed().as_secs(), 13);
    assert!(server.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_are_told_the_first_time_and_the_tenth() {
    let (said, _heard) = said();
    let server = Server::start(hello);
    for _ in 0..20 {
        let too_many = io::Error::other("too many open files");
        server.connect.send(Err(too_many)).unwrap();
    }
    let mut client = server.client(1_024);
    client.send(GET).await;
    client.reads("hello").await;
    assert!(server.close().await.is_clean());
    let said = said.text();
    let told: Vec<_> = said
        .lines()
        .filter(|line| line.contains("no connection can be"))
        .collect();
    assert_eq!(told.len(), 2, "{said}");
    assert!(
        told[0].contains("headcount::tower: no connection can be accepted: too many open files; it is tried again in 5ms (server started at ")
            && told[1].contains("10 times so far"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn more_connections_than_the_limit_wait() {
    let server = Server::with(ServeOptions::new().max_connections(1), hello);
    let mut first = server.client(1_024);
    first.send(GET).await;
    first.reads("hello").await;
    let mut second = server.client(1_024);
    second.send(GET).await;
    settle().await;
    let connections = server.names().await;
    let connections = connections.iter().filter(|name| *name == CONNECTION);
    assert_eq!(connections.count(), 1);
    drop(first);
    second.reads("hello").await;
    assert!(server.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_is_one_failure_and_the_server_goes_on() {
    fn handler(request: Request<Incoming>) -> Answer {
        Box::pin(async move {
            assert_eq!(request.uri(), "/", "a bug");
            Ok(full("hello"))
        })
    }
    let server = Server::start(handler);
    let mut client = server.client(1_024);
    client.send("GET /bug HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    let mut other = server.client(1_024);
    other.send(GET).await;
    other.reads("hello").await;
    let report = server.close().await;
    let failures: Vec<_> = report
        .failures()
        .iter()
        .map(|failure| (failure.what(), failure.kind()))
        .collect();
    assert_eq!(
        failures,
        [("GET /bug", FailureKind::TaskPanicked)],
        "{report}"
    );
}

#[tokio::test]
async fn on_a_closed_context_the_server_is_refused() {
    let ctx = Registry::new().context("server");
    in_time(ctx.close()).await;
    let (_connect, connections) = mpsc::unbounded_channel();
    let server = serve(InMemory(connections), service_fn(hello), &ctx);
    assert!(matches!(in_time(server).await, Err(TaskError::Refused)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_context_ends_its_server() {
    let Server {
        ctx,
        connect,
        handle,
    } = Server::start(hello);
    let weak = ctx.downgrade();
    drop(ctx);
    assert!(in_time(weak.closed()).await.failures().is_empty());
    in_time(handle).await.unwrap();
    assert!(connect.is_closed());
}

/// Upgrades, and gives the socket to what the test does with it.
fn upgrading<H, F>(serve: H) -> impl Fn(Request<Incoming>) -> Answer + Clone + Send + 'static
where
    H: Fn(TokioIo<hyper::upgrade::Upgraded>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    move |mut request| {
        let serve = serve.clone();
        let upgrade = hyper::upgrade::on(&mut request);
        // As web frameworks do it.
        tokio::spawn(async move {
            let socket = upgrade.await.unwrap();
            serve(TokioIo::new(socket)).await;
        });
        let response = Response::builder().status(101).header("upgrade", "echo");
        let response = response
            .header("connection", "upgrade")
            .body(Body::default());
        Box::pin(async move { Ok(response.unwrap()) })
    }
}

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_is_counted_until_its_socket_is_dropped() {
    let server = Server::with(
        ServeOptions::new(),
        upgrading(async |mut socket: TokioIo<hyper::upgrade::Upgraded>| {
            let word = socket.read_u8().await.unwrap();
            socket.write_u8(word + 1).await.unwrap();
        }),
    );
    let mut client = server.client(1_024);
    client.send(UPGRADE).await;
    client.reads("\r\n\r\n").await;
    settle().await;
    let mut names = server.names().await;
    names.sort();
    assert_eq!(names, ["task accept", "task serve", "upgraded GET /chat"]);
    client.send("a").await;
    assert_eq!(client.rest().await, "b");
    settle().await;
    assert_eq!(server.names().await.len(), 2);
    let report = server.close().await;
    assert_eq!((report.aborted(), report.is_clean()), (0, true), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_an_upgraded_connection_sees_the_close() {
    fn handler(request: Request<Incoming>) -> Answer {
        let ctx = Context::current().unwrap();
        upgrading(move |mut socket: TokioIo<hyper::upgrade::Upgraded>| {
            let ctx = ctx.clone();
            async move {
                let chat = ctx.task("chat").wrap(async {
                    Context::current().unwrap().cancelled().await;
                    socket.write_all(b"goodbye").await.unwrap();
                });
                chat.await.unwrap();
            }
        })(request)
    }
    let server = Server::start(handler);
    let mut client = server.client(1_024);
    client.send(UPGRADE).await;
    client.reads("\r\n\r\n").await;
    server.until_it_lists("wrapped chat").await;
    let report = server.close().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(client.rest().await, "goodbye");
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_that_goes_silent_is_ended_after_the_grace_period() {
    type Seen = Mutex<Vec<io::ErrorKind>>;
    let errors = Arc::new(Seen::default());
    let seen = Arc::clone(&errors);
    let server = Server::with(
        ServeOptions::new(),
        upgrading(move |socket: TokioIo<hyper::upgrade::Upgraded>| {
            let (mut reader, mut writer) = tokio::io::split(socket);
            let note = |seen: &Seen, error: io::Error| seen.lock().unwrap().push(error.kind());
            // It waits for its client, in two tasks.
            let of_reader = Arc::clone(&seen);
            tokio::spawn(async move { note(&of_reader, reader.read_u8().await.unwrap_err()) });
            let of_writer = Arc::clone(&seen);
            async move {
                note(
                    &of_writer,
                    writer.write_all(&[0; 10_000]).await.unwrap_err(),
                );
            }
        }),
    );
    let mut client = server.client(1_024);
    client.send(UPGRADE).await;
    server.until_it_lists("upgraded GET /chat").await;
    settle().await;
    let report = server.close().await;
    assert!(
        !report.is_clean() && report.to_string().contains("GET /chat"),
        "{report}"
    );
    settle().await;
    let aborted = io::ErrorKind::ConnectionAborted;
    assert_eq!(*errors.lock().unwrap(), [aborted, aborted]);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_whose_socket_is_not_wanted_is_gone_at_once() {
    let dropped = Counter::default();
    let guard = Arc::new(dropped.guard());
    let handler = move |request| {
        upgrading({
            let guard = Arc::clone(&guard);
            move |_socket| {
                let _guard = Arc::clone(&guard);
                async {}
            }
        })(request)
    };
    let server = Server::with(ServeOptions::new(), handler);
    let mut client = server.client(1_024);
    client.send(UPGRADE).await;
    client.reads("\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    settle().await;
    assert_eq!(server.names().await.len(), 2);
    let report = server.close().await;
    assert_eq!((report.aborted(), report.is_clean()), (0, true));
    assert_eq!(dropped.alive(), 0);
}

/// Real sockets: the listener is closed, and the address free for the next server.
#[tokio::test]
async fn the_listener_is_closed_when_the_close_begins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ctx = Registry::new().context("server");
    let server = serve(listener, service_fn(hello), &ctx);
    let mut client = in_time(TcpStream::connect(address)).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    in_time(client.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    assert!(in_time(ctx.close()).await.is_clean());
    in_time(server).await.unwrap();
    let again = TcpListener::bind(address).await;
    assert!(again.is_ok(), "{again:?}");
}

/// Without a token the window answers those on this machine: the server says who asks.
#[cfg(all(feature = "axum", feature = "web"))]
#[tokio::test]
async fn a_window_that_is_nested_in_its_router_knows_its_peer() {
    let registry = Registry::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ctx = registry.context("server");
    let router = axum::Router::new().nest("/debug", registry.window().router());
    let server = serve(listener, router, &ctx);
    let mut client = in_time(TcpStream::connect(address)).await.unwrap();
    let get = b"GET /debug/tree HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    client.write_all(get).await.unwrap();
    let mut answer = String::new();
    in_time(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(in_time(ctx.close()).await.is_clean());
    in_time(server).await.unwrap();
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn requests_of_a_router_are_listed_by_their_routes() {
    use axum::{Extension, Router, routing::get};
    async fn handler(Extension(from): Extension<SocketAddr>) -> String {
        let ctx = Context::current().unwrap().upgrade().unwrap();
        let live = ctx.live().await;
        let names: Vec<_> = live.tasks().iter().map(headcount::Resource::path).collect();
        format!("{from}: {}", names.join(", "))
    }
    let router: Router = Router::new().route("/users/{id}", get(handler));
    let ctx = Registry::new().context("server");
    let (connect, connections) = mpsc::unbounded_channel();
    let server = serve(InMemory(connections), router, &ctx);
    let (client, io) = duplex(1_024);
    connect.send(Ok(io)).unwrap();
    let mut client = Client(client);
    client
        .send("GET /users/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    let answer = client.rest().await;
    assert!(
        answer.ends_with("10.0.0.7:5000: server/requests/GET /users/{id}"),
        "{answer}"
    );
    assert!(in_time(ctx.close()).await.is_clean());
    in_time(server).await.unwrap();
}
