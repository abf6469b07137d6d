//! [`serve()`]: a server whose connections are tasks of a context, in the order in which it runs.

use super::{
    BoxError, RequestLayer, RequestService,
    connection::{Connection, Drive, OnConnection, drive},
    executor::Streams,
    io::Socket,
    listener::Listener,
    options::ServeOptions,
    stopping::stopping,
};
use crate::{
    context::{
        context::Context,
        line_counts::{Event, PROCESS},
        state::Node,
        weak::WeakContext,
    },
    event,
    name::Printed,
    task::{handle::Task, spawn::TaskOrigin},
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::future::select;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::{Builder, HttpServerConnExec, UpgradeableConnection},
    service::TowerToHyperService,
};
use std::{io, panic::Location, pin::Pin, pin::pin, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tower_service::Service;

/// Serves HTTP/1 and HTTP/2 on a listener until the context closes, and then ends as its close does. Returns at once: the server is a
/// task of the context, and the handle is done when its last connection has ended.
///
/// The service is an `axum::Router` (with the feature `axum` its requests are named by its routes), or any other service of tower.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use headcount::{Registry, tower::serve};
/// use std::convert::Infallible;
/// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
/// use tower::service_fn;
///
/// let ctx = Registry::new().context("server");
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let hello = service_fn(async |_| Ok::<_, Infallible>(http::Response::new(String::from("hello"))));
/// let server = serve(listener, hello, &ctx);
///
/// let mut client = TcpStream::connect(address).await?;
/// client.write_all(b"GET / HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n").await?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer).await?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"));
///
/// assert!(ctx.close().await.is_clean());
/// server.await.unwrap();
/// assert!(TcpStream::connect(address).await.is_err());
/// # Ok(())
/// # }
/// ```
///
/// # What is listed
///
/// Below the context, two others:
///
/// * `connections`, with a task for each connection, by its address, of the kind `connection`; and the task that accepts them;
/// * `requests`, with a task for each request, as [`RequestLayer`] has them; what handlers spawn; and upgraded connections, such as web
///   sockets, of the kind `upgraded`, until their socket is dropped. Each stream of HTTP/2 is a task of its own besides.
///
/// Requests have the address of their client, an [`Addr`](Listener::Addr), in their extensions. A handler of axum gets it as
/// `ConnectInfo<SocketAddr>` (with the feature `axum`) or `Extension<SocketAddr>`: a router is given to this as it is, without
/// `into_make_service_with_connect_info`. Of a Unix socket it is an `Arc<tokio::net::unix::SocketAddr>`.
///
/// # The close
///
/// | step | what happens |
/// |---|---|
/// | the close, or [`finish`](Context::finish), of the context begins | nothing is accepted any more, and the listener is dropped; idle connections are closed; event streams and bodies with [`EndAtClose`](super::EndAtClose) end |
/// | while connections end | requests that are in flight go on, and may spawn: `requests` is still open, because `connections` [needs](crate::ContextBuilder::needs) it. What still comes on an open connection is served as well |
/// | the grace period is over | what is left of the connections is aborted, and so are their requests: the report says so |
/// | `connections` is closed | `requests` closes: tasks that handlers have spawned, and web sockets, see it by [`cancelled`](WeakContext::cancelled), and have their own grace period |
///
/// A finish cancels nothing: it waits for requests, web sockets and spawned tasks however long they take, if nothing escalates it.
///
/// A client that asks for nothing keeps nothing up: a connection without a request is dropped when its client has taken nothing for a
/// second. One that never reads its response, or never ends its request, is aborted after the grace period. An upgraded connection that
/// waits for its client then gets the error [`ConnectionAborted`](io::ErrorKind::ConnectionAborted); its handler should be
/// [wrapped](WeakContext::wrap), because it runs where the web framework has spawned it, and may wait for something else.
///
/// Connections that the system has accepted, and the server not yet, are reset: let the load balancer notice first, see
/// `headcount::run`'s drain delay.
///
/// # Errors
///
/// A failure to accept stops no server. It is tried again, at once if the connection has failed, and otherwise, as where the process has
/// too many files open, after a pause that grows from 5 ms to a second, with a warning event.
///
/// On a context that closes already the handle ends with [`TaskError::Refused`](crate::TaskError::Refused).
///
/// # Panics
///
/// If there is no tokio runtime. A handler that panics ends its connection (HTTP/1) or stream (HTTP/2), and is a failure of its request,
/// with a warning event that has its method and route.
#[track_caller]
pub fn serve<L, S, B>(listener: L, service: S, ctx: &Context) -> Task<()>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    ServeOptions::new().serve(listener, service, ctx)
}

impl ServeOptions {
    /// Serves with these options; see [`serve`](super::serve()).
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    #[track_caller]
    pub fn serve<L, S, B>(self, listener: L, service: S, ctx: &Context) -> Task<()>
    where
        L: Listener,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let location = Location::caller();
        let requests = ctx.child("requests");
        let connections = ctx.child_builder("connections").needs(&requests).open();
        let layer = RequestLayer::new(&requests).stops_with(ctx, location);
        let server = Server {
            service: counted(service, layer),
            requests: requests.downgrade(),
            connections: connections.downgrade(),
            stops_with: Arc::clone(ctx.downgrade().node()),
            options: self,
            location,
        };
        // Its own task: the one below holds both contexts open, and is to end however this one does.
        let accept = connections.task("accept").essential();
        drop(accept.spawn(server.accept(listener)));
        let stop = stopping(Arc::clone(ctx.downgrade().node()));
        ctx.task("serve").spawn(async move {
            stop.await;
            connections.idle().await;
            requests.idle().await;
        })
    }
}

/// The service, with its requests counted.
fn counted<S: 'static>(service: S, layer: RequestLayer) -> RequestService<S> {
    #[cfg(feature = "axum")]
    let service = match inside_of_router(service, &layer) {
        Ok(router) => return RequestService::new(router, None),
        Err(service) => service,
    };
    RequestService::new(service, Some(layer))
}

/// Puts the layer into a router, if the service is one: only in there the route of a request is known.
#[cfg(feature = "axum")]
fn inside_of_router<S: 'static>(service: S, layer: &RequestLayer) -> Result<S, S> {
    let mut service = Some(service);
    let as_any: &mut dyn std::any::Any = &mut service;
    let is_router = match as_any.downcast_mut::<Option<axum::Router>>() {
        Some(router) => {
            *router = router.take().map(|router| router.layer(layer.clone()));
            true
        }
        None => false,
    };
    let service = service.expect("it was put back");
    if is_router { Ok(service) } else { Err(service) }
}

/// What the task that accepts connections has.
struct Server<S> {
    service: RequestService<S>,
    requests: WeakContext,
    connections: WeakContext,
    /// The context whose close, or finish, stops the server.
    stops_with: Arc<Node>,
    options: ServeOptions,
    /// Where the server was started.
    location: &'static Location<'static>,
}

impl<S, B> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Accepts connections until the server stops.
    async fn accept<L: Listener>(self, mut listener: L) {
        let most = self.options.max_connections;
        let most = most.map_or(Semaphore::MAX_PERMITS, |max| {
            max.min(Semaphore::MAX_PERMITS)
        });
        let places = Arc::new(Semaphore::new(most));
        let stop = pin!(stopping(Arc::clone(&self.stops_with)));
        let (node, location) = (Arc::clone(&self.stops_with), self.location);
        let told = move |error: &io::Error, pause| tell_of_failure(&node, location, error, pause);
        // A service need not be `Sync`, so it is moved: no reference to it is kept while this waits.
        let accepting = pin!(async move {
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                let (io, from) = accepted(&mut listener, &told).await;
                self.start(io, from, place.ok());
            }
        });
        select(stop, accepting).await;
    }

    /// Starts the task of a connection. If the close has begun it is dropped, which the client sees.
    fn start<I, A>(&self, io: I, from: A, place: impl Send + 'static)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        A: Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let connection = Arc::new(Connection::default());
        let streams = Streams {
            ctx: self.requests.clone(),
            connection: Arc::clone(&connection),
            location: self.location,
        };
        let service = OnConnectionService {
            inner: self.service.clone(),
            on: OnConnection(Arc::clone(&connection)),
            from: from.clone(),
        };
        let detail = connection.detail();
        let stop = stopping(Arc::clone(&self.stops_with));
        let silence = self.options.header_read_timeout;
        let run = async move {
            let _place = place;
            let io = TokioIo::new(Socket::new(io, Arc::clone(&connection)));
            let builder = builder(streams, silence);
            let service = TowerToHyperService::new(service);
            let driven = builder.serve_connection_with_upgrades(io, service);
            connection
                .contain(drive(driven, &connection, stop, silence))
                .await;
        };
        let task = self.connections.task(format!("{from:?}"));
        let origin = TaskOrigin::of::<()>("connection").at(self.location);
        drop(
            task.kind("connection")
                .try_spawn_with_detail(origin, detail, run),
        );
    }
}

fn builder(streams: Streams, header_read_timeout: Duration) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_read_timeout);
    builder.http2().timer(TokioTimer::new());
    builder
}

impl<I, S, E, B> Drive for UpgradeableConnection<'_, I, S, E>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: Body<Error: Into<BoxError>> + 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    E: HttpServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// A service that says on which connection a request came, and from where.
#[derive(Clone)]
struct OnConnectionService<S, A> {
    inner: S,
    on: OnConnection,
    from: A,
}

impl<S, A> Service<Request<Incoming>> for OnConnectionService<S, A>
where
    S: Service<Request<Incoming>>,
    A: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.on.clone());
        let extensions = request.extensions_mut();
        #[cfg(feature = "axum")]
        extensions.insert(axum::extract::ConnectInfo(self.from.clone()));
        extensions.insert(self.from.clone());
        self.inner.call(request)
    }
}

/// The next connection, whatever fails before it comes.
async fn accepted<L: Listener>(
    listener: &mut L,
    tell: impl Fn(&io::Error, Duration),
) -> (L::Io, L::Addr) {
    let mut pauses = pauses();
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_connection(&error) => tokio::task::yield_now().await,
            Err(error) => {
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                tell(&error, pause);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Says that no connection can be accepted, which is counted for each server and error.
fn tell_of_failure(
    node: &Node,
    location: &'static Location<'static>,
    error: &io::Error,
    pause: Duration,
) {
    let text = error.to_string();
    let core = node.core.upgrade();
    let repeats = core
        .as_ref()
        .map_or(&*PROCESS, |core| &core.registry.repeats);
    if let Some(so_far) = repeats.tell_text(Event::AcceptFailed, location, &text) {
        let (file, line) = (location.file(), location.line());
        event::emit!(target: "headcount::tower", WARN,
            context = %Printed(&node.meta.name),
            "no connection can be accepted: {text}; it is tried again in {pause:?} (server started at {file}:{line}{so_far})"
        );
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(5))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .build()
}

/// Whether the connection has failed, and the next one need not.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
