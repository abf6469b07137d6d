//! Web services: how requests and connections are counted, how a server ends, and how that is set up with axum, hyper and tonic.
//!
//! # With axum
//!
//! `cargo add headcount --features axum,signal`. Where the program said `axum::serve(listener, router)`, it says
//! [`serve`](crate::tower::serve()) and gives the context that the server belongs to:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! # #[cfg(feature = "signal")]
//! use headcount::App;
//! use headcount::tower::serve;
//! use std::{io, process::ExitCode};
//! use tokio::net::TcpListener;
//!
//! # #[cfg(not(feature = "signal"))] fn main() {}
//! # #[cfg(feature = "signal")]
//! fn main() -> ExitCode {
//!     headcount::run("api", async |app: App| {
//!         let router = Router::new().route("/users/{id}", get(async || "alice"));
//!         let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!         serve(listener, router, app.context());
//!         app.ready();
//!         app.stopping().await;
//!         Ok::<(), io::Error>(())
//!     })
//! }
//! ```
//!
//! What is alive is then listed like this:
//!
//! ```text
//! api  context · open
//! ├─ connections  context · open
//! │  ├─ accept  task · running
//! │  ├─ 10.0.0.7:50412  connection · running · handles GET /users/{id}
//! │  └─ 10.0.0.9:41180  connection · running
//! ├─ requests  context · open
//! │  ├─ GET /users/{id}  request · running
//! │  ├─ GET /events  request · running
//! │  └─ GET /chat  upgraded · running
//! └─ serve  task · running
//! ```
//!
//! With the feature `dump`, the dump of a request and that of its connection have the line of the handler; a connection that waits for its
//! client reads `headcount::tower::serve → tokio::net::TcpStream::poll_read`. The frames of hyper, tower and axum in between are in
//! `Dump::in_full`.
//!
//! # Handlers
//!
//! A handler runs in the context `requests`. [`headcount::spawn`](crate::spawn()) starts a task there, which the close awaits:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use axum::{Router, body::Body, http::Request, routing::post};
//! use headcount::{Registry, tower::RequestLayer};
//! use tower::ServiceExt;
//!
//! async fn order() -> &'static str {
//!     headcount::spawn(async { /* sends a mail */ });
//!     "ordered"
//! }
//!
//! // In a test of routes: no socket, and the same names.
//! let ctx = Registry::new().context("server");
//! let router: Router = Router::new().route("/orders", post(order)).layer(RequestLayer::new(&ctx));
//! let request = Request::post("/orders").body(Body::empty()).unwrap();
//! let response = router.oneshot(request).await.unwrap();
//! let answer = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
//! assert_eq!(answer, "ordered");
//! assert_eq!(ctx.close().await.finished(), 2); // the request, and the mail
//! # }
//! ```
//!
//! A bare `tokio::spawn` belongs to no context: nothing awaits it.
//!
//! # What streams
//!
//! | what | at the close |
//! |---|---|
//! | a response with a length, a download | goes on, at most for the grace period; then it is cut off, so that its client sees that it is not complete |
//! | an event stream (`text/event-stream`) | ends at once, as if complete: browsers connect again, to another server |
//! | another body without an end | as a download; with the extension [`EndAtClose`](crate::tower::EndAtClose) as an event stream |
//! | a web socket | its handler is told by [`cancelled`](crate::WeakContext::cancelled), when connections have ended |
//!
//! ```
//! use axum::{Extension, Router, body::Body, response::IntoResponse, routing::get};
//! use futures::stream;
//! use headcount::tower::EndAtClose;
//! use std::{convert::Infallible, time::Duration};
//!
//! /// A line a second, for as long as it is read.
//! async fn clock() -> impl IntoResponse {
//!     let lines = stream::unfold((), async |()| {
//!         tokio::time::sleep(Duration::from_secs(1)).await;
//!         Some((Ok::<_, Infallible>("tick\n"), ()))
//!     });
//!     (Extension(EndAtClose), Body::from_stream(lines))
//! }
//!
//! let router: Router = Router::new().route("/clock", get(clock));
//! # drop(router);
//! ```
//!
//! # Web sockets
//!
//! A framework runs the socket on a task of its own, with a bare `tokio::spawn`. Its connection is counted until the socket is dropped. Wrap what
//! runs there, and it is also named in listings and dumps, has a current context, and is aborted wherever it waits:
//!
//! ```ignore
//! // As the example `examples/web_service` has it, whose tests run it. This is not compiled here: it needs axum's feature `ws`.
//! async fn chat(upgrade: WebSocketUpgrade) -> Response {
//!     let ctx = Context::current().expect("handlers run in the context of requests");
//!     upgrade.on_upgrade(async move |socket| {
//!         let _ = ctx.task("chat").wrap(talk(socket)).await;
//!     })
//! }
//!
//! async fn talk(mut socket: WebSocket) {
//!     let ctx = Context::current().expect("it is wrapped");
//!     loop {
//!         tokio::select! {
//!             message = socket.recv() => { /* ... */ }
//!             _ = ctx.cancelled() => {
//!                 let _ = socket.send(Message::Close(None)).await;
//!                 return;
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! That example of the repository has it with a database, a queue of jobs and its tests.
//!
//! # The order of a stop
//!
//! Give each part a context, and let each need what it uses. The server closes first, then the queue, then the pool, whatever begins
//! the close:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let app = headcount::Registry::new().context("app");
//! let pool = app.child("pool");
//! pool.on_close(async || { /* pool.close().await */ }).unwrap();
//! let jobs = app.child_builder("jobs").needs(&pool).open();
//! let web = app.child_builder("web").needs(&jobs).needs(&pool).open();
//! // headcount::tower::serve(listener, router, &web);
//! # drop(web);
//! assert!(app.close().await.is_clean());
//! # }
//! ```
//!
//! Keep the handles until the service is over, in the body of `run` for example: a context whose last handle is dropped closes, and with it
//! the server.
//!
//! A [deadline](crate::Context::close_by), such as the 25 s of `run`, is shared out among the contexts that close one after the other: a
//! context leaves a second to each that closes after it and has something to do. So with six of them after the requests, these keep their
//! grace period of 5 s. Where requests take longer, set a longer [`grace`](crate::ContextBuilder::grace) and a longer deadline: tasks are
//! aborted after three quarters of what is left to them, here of 19 s.
//!
//! # A handler that panics
//!
//! The client gets no answer, and the server goes on. A warning event of the target `headcount::tower` has method, route and message, the
//! first time, the tenth and so on. The panic is a [failure](crate::Failure) of the request's task: it is in the report of the close, which is not clean then, so `run` exits with 1 however long ago it was. Where that is not wanted, catch panics in a layer below
//! (`tower_http::catch_panic`), or give the exit code of an unclean close another meaning (`AppBuilder::unclean_code`).
//!
//! # Metrics
//!
//! With the feature `metrics` and the crate `metrics-exporter-prometheus`: `PrometheusBuilder::new().install_recorder()` returns a handle,
//! `headcount::metrics::publish(&registry)` a publisher, and a handler of `/metrics` calls `publisher.update().await` and returns
//! `handle.render()`.
//!
//! # Health endpoints
//!
//! `registry.readiness()` or `app.readiness()` in the state of the router: `/readyz` answers 200 or 503 by
//! [`is_ready`](crate::Readiness::is_ready). While `run` drains, before the close begins, the server goes on and the endpoint says 503.
//!
//! # Hyper and tower without axum
//!
//! [`serve`](crate::tower::serve()) takes every `tower::Service` of `http::Request<hyper::body::Incoming>`, with the feature `tower` alone. TLS is a
//! [`Listener`](crate::tower::Listener) of your own.
//!
//! # A server that something else runs
//!
//! [`RequestLayer`](crate::tower::RequestLayer) counts requests, and answers 503 after the close began; connections are up to that server:
//!
//! ```no_run
//! # #[cfg(feature = "web")]
//! # fn start(ctx: headcount::Context, listener: tokio::net::TcpListener, router: axum::Router) {
//! use headcount::tower::RequestLayer;
//!
//! let own = ctx.downgrade();
//! let router = router.layer(RequestLayer::new(&ctx));
//! let server = axum::serve(listener, router).with_graceful_shutdown(async move { own.cancelled().await; });
//! ctx.task("serve").fallible().spawn(server.into_future());
//! # }
//! ```
//!
//! With tonic, which is no dependency of this crate, so that this is not compiled here:
//!
//! ```ignore
//! Server::builder().layer(RequestLayer::new(&ctx)).add_service(greeter).serve_with_shutdown(address, stop).await?;
//! ```
//!
//! # What is not promised
//!
//! * Connections that wait in the system's queue when the listener is dropped are reset. A load balancer needs some seconds to notice a
//!   server that stops: see the drain delay of *Running a service*.
//! * A client of HTTP/1 that sends a request on an idle connection at the moment at which that is closed gets no answer. Nothing of the request
//!   was read, and clients repeat it.
//! * The handler of an upgraded connection that is not wrapped, and waits for something else than its socket, is not ended.
//! * Web sockets over HTTP/2 (extended CONNECT) are not offered.
//! * A response counts as sent when hyper has it. What a client has not read of it then has as long as the client goes on reading, and is cut off
//!   after a second in which it does not, while the server stops.
