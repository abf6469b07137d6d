//! Requests counted by a layer, with no server about them.

use crate::util::{Counter, in_time, poll_once, settle};
use futures::{StreamExt, stream};
use headcount::{
    Context, Registry,
    tower::{EndAtClose, RequestBody, RequestLayer},
};
use http::{Request, Response, header};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use std::{convert::Infallible, future::pending, io, pin::pin, time::Duration};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = BoxBody<Bytes, Infallible>;

fn hasty() -> Context {
    let grace = Duration::from_millis(5);
    Registry::new()
        .context_builder("server")
        .grace(grace)
        .open()
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

/// A body whose parts are sent by the test.
fn channel() -> (UnboundedSender<&'static str>, Body) {
    let (send, mut parts) = unbounded_channel();
    let parts = stream::poll_fn(move |cx| parts.poll_recv(cx));
    let frames = parts.map(|part: &str| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
    (send, BodyExt::boxed(StreamBody::new(SyncStream(frames))))
}

/// `BoxBody` wants it; it is polled by one task.
struct SyncStream<S>(S);

impl<S: stream::Stream + Unpin> stream::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// Answers each request with this response, once.
async fn answered<R>(ctx: &Context, response: Response<R>) -> Response<RequestBody<R>>
where
    R: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    answered_to(ctx, get("/"), response).await
}

async fn answered_to<R>(
    ctx: &Context,
    request: Request<()>,
    response: Response<R>,
) -> Response<RequestBody<R>>
where
    R: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let mut response = Some(response);
    let service = service_fn(move |_| {
        let response = response.take().unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let service = RequestLayer::new(ctx).layer(service);
    in_time(service.oneshot(request)).await.unwrap()
}

async fn tasks(ctx: &Context) -> usize {
    ctx.live().await.tasks().len()
}

#[tokio::test]
async fn a_request_is_a_task_until_its_body_has_ended_and_the_close_waits_for_that() {
    let ctx = Registry::new().context("server");
    let (send, body) = channel();
    let response = answered_to(&ctx, get("/users/7?page=2"), Response::new(body)).await;
    let live = ctx.live().await;
    let listed = live.find("GET /users/7").unwrap();
    assert_eq!(listed.kind(), "request");
    assert!(
        listed.location().file().ends_with("layer.rs"),
        "{}",
        listed.location()
    );
    let mut close = pin!(ctx.close());
    settle().await;
    assert!(poll_once(close.as_mut()).is_pending());
    send.send("the end").unwrap();
    drop(send);
    let body = in_time(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "the end");
    let report = in_time(close).await;
    assert_eq!((report.finished(), report.is_clean()), (1, true));
}

#[tokio::test]
async fn a_body_that_a_server_takes_no_more_of_has_ended() {
    let ctx = Registry::new().context("server");
    // Nothing asks for the end of this one, whose only frame has come.
    let mut whole = answered(&ctx, Response::new(String::from("all"))).await;
    in_time(whole.frame()).await.unwrap().unwrap();
    assert_eq!(tasks(&ctx).await, 0);

    let (send, body) = channel();
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, "3".parse().unwrap());
    let mut by_length = answered(&ctx, response).await;
    send.send("all").unwrap();
    in_time(by_length.frame()).await.unwrap().unwrap();
    drop(by_length);

    let head = Request::head("/").body(()).unwrap();
    drop(answered_to(&ctx, head, Response::new(channel().1)).await);
    for status in [204, 304] {
        let response = Response::builder().status(status).body(channel().1);
        drop(answered(&ctx, response.unwrap()).await);
    }
    drop(answered(&ctx, Response::new(String::new())).await);
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (6, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request() {
    let ctx = Registry::new().context("server");
    let counter = Counter::default();
    let made = counter.clone();
    let mut service = RequestLayer::new(&ctx).layer(service_fn(move |_: Request<()>| {
        let held = made.guard();
        async move {
            let _held = held;
            pending::<Result<Response<String>, Infallible>>().await
        }
    }));
    let mut request = Box::pin(service.call(get("/slow")));
    assert!(poll_once(request.as_mut()).is_pending());
    assert_eq!(tasks(&ctx).await, 1);
    drop(request);
    assert_eq!((tasks(&ctx).await, counter.alive()), (0, 0));

    let (send, body) = channel();
    let mut response = answered(&ctx, Response::new(body)).await;
    send.send("a part").unwrap();
    in_time(response.frame()).await.unwrap().unwrap();
    assert_eq!(tasks(&ctx).await, 1);
    drop(response);
    assert!(send.is_closed());
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.aborted()), (0, 2));
    // Not by the close.
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn what_a_handler_spawns_belongs_to_the_context() {
    let registry = Registry::new();
    let ctx = registry.context("server");
    let service = RequestLayer::new(&ctx).layer(service_fn(async |_: Request<()>| {
        let current = Context::current().unwrap().path();
        let spawned = headcount::spawn(async { Context::current().unwrap().path() });
        let paths = [current, spawned.await.unwrap()].join(" ");
        Ok::<_, Infallible>(Response::new(paths))
    }));
    let response = in_time(service.oneshot(get("/"))).await.unwrap();
    let body = in_time(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "server server");
    assert_eq!(in_time(ctx.close()).await.finished(), 2);
}

#[tokio::test]
async fn a_request_after_the_close_is_answered_with_503_and_reaches_no_handler() {
    for begins in [
        |ctx: &Context| ctx.request_close("over"),
        |ctx: &Context| drop(ctx.finish()),
    ] {
        let ctx = Registry::new().context("server");
        let busy = ctx.wrap(pending::<()>());
        let called = Counter::default();
        let guard = called.guard();
        let service = service_fn(move |_: Request<()>| {
            let _called = &guard;
            async { unreachable!("it is called") as Result<Response<String>, Infallible> }
        });
        let service = RequestLayer::new(&ctx).layer(service);
        begins(&ctx);
        let response = in_time(service.oneshot(get("/"))).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::CONNECTION], "close");
        assert!(http_body::Body::is_end_stream(response.body()));
        drop(busy);
        assert!(in_time(ctx.closed()).await.is_clean());
    }
}

#[tokio::test]
async fn a_layer_keeps_no_context_open_and_answers_when_it_is_gone() {
    let ctx = Registry::new().context("server");
    let layer = RequestLayer::new(&ctx);
    let weak = ctx.downgrade();
    drop(ctx);
    in_time(weak.closed()).await;
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    assert_eq!(
        in_time(service.oneshot(get("/"))).await.unwrap().status(),
        503
    );
}

#[tokio::test]
async fn a_full_context_answers_with_503() {
    let registry = Registry::new();
    let ctx = registry.context_builder("server").max_tasks(1).open();
    let first = answered(&ctx, Response::new(channel().1)).await;
    let second = answered(&ctx, Response::new(String::new())).await;
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 503)
    );
    drop(first);
    let third = answered(&ctx, Response::new(String::new())).await;
    assert_eq!(third.status(), 200);
}

#[tokio::test]
async fn a_handler_that_hangs_is_aborted_after_the_grace_period_and_the_answer_is_503() {
    let ctx = hasty();
    let service = RequestLayer::new(&ctx).layer(service_fn(async |_: Request<()>| {
        pending::<Result<Response<String>, Infallible>>().await
    }));
    let request = tokio::spawn(service.oneshot(get("/stuck")));
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.aborted(), report.is_clean()), (1, false));
    assert!(report.to_string().contains("GET /stuck"), "{report}");
    assert_eq!(in_time(request).await.unwrap().unwrap().status(), 503);
}

#[tokio::test]
async fn a_body_that_hangs_ends_with_an_error_after_the_grace_period() {
    let ctx = hasty();
    let (_send, body) = channel();
    let mut response = answered(&ctx, Response::new(body)).await;
    let frame = tokio::spawn(async move { response.frame().await });
    settle().await;
    let report = in_time(ctx.close()).await;
    assert_eq!((report.aborted(), report.is_clean()), (1, false));
    let error = in_time(frame).await.unwrap().unwrap().unwrap_err();
    assert!(error.is::<headcount::TaskError>(), "{error}");
}

fn event_stream(body: Body) -> Response<Body> {
    let response = Response::builder().header("content-type", "Text/Event-Stream; charset=utf-8");
    response.body(body).unwrap()
}

#[tokio::test]
async fn event_streams_end_when_the_close_or_the_finish_begins() {
    for begins in [
        |ctx: &Context| ctx.request_close("over"),
        |ctx: &Context| drop(ctx.finish()),
    ] {
        let marked = |body| {
            let mut response = Response::new(body);
            response.extensions_mut().insert(EndAtClose);
            response
        };
        for make in [event_stream, marked] {
            let ctx = Registry::new().context("server");
            let (send, body) = channel();
            let response = answered(&ctx, make(body)).await;
            send.send("data: 1\n\n").unwrap();
            let body = tokio::spawn(response.into_body().collect());
            settle().await;
            assert!(!body.is_finished());
            begins(&ctx);
            let body = in_time(body).await.unwrap().unwrap();
            assert_eq!(body.to_bytes(), "data: 1\n\n");
            let report = in_time(ctx.closed()).await;
            assert_eq!((report.finished(), report.is_clean()), (1, true));
        }
    }
}

#[tokio::test]
async fn an_event_stream_that_is_always_ready_ends_as_well() {
    let ctx = Registry::new().context("server");
    let events = stream::repeat_with(|| {
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data: 1\n\n")))
    });
    let mut response = answered(&ctx, event_stream(BodyExt::boxed(StreamBody::new(events)))).await;
    in_time(response.frame()).await.unwrap().unwrap();
    ctx.request_close("over");
    assert!(in_time(response.frame()).await.is_none());
    assert!(in_time(ctx.closed()).await.is_clean());
}

#[tokio::test]
async fn two_layers_count_a_request_once() {
    let ctx = Registry::new().context("server");
    let inner = Registry::new().context("inner");
    let service = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::from("hello")))
    });
    let service = RequestLayer::new(&inner).layer(service);
    let response = RequestLayer::new(&ctx).layer(service).oneshot(get("/"));
    let response = in_time(response).await.unwrap();
    let body = in_time(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "hello");
    let finished = [in_time(ctx.close()).await, in_time(inner.close()).await];
    assert_eq!(finished.map(|report| report.finished()), [1, 0]);
}

#[tokio::test]
async fn an_error_passes_through_and_ends_the_request() {
    let ctx = Registry::new().context("server");
    let service = RequestLayer::new(&ctx).layer(service_fn(async |_: Request<()>| {
        Err::<Response<String>, _>(io::Error::other("no route to host"))
    }));
    let error = in_time(service.oneshot(get("/"))).await.unwrap_err();
    assert_eq!(error.to_string(), "no route to host");
    assert_eq!(in_time(ctx.close()).await.finished(), 1);
}

#[tokio::test]
async fn a_panic_passes_through_and_is_a_failure_of_the_request() {
    for panics_late in [false, true] {
        let ctx = Registry::new().context("server");
        let service = service_fn(move |_: Request<()>| {
            assert!(panics_late, "at once");
            async {
                settle().await;
                panic!("later") as Result<Response<String>, Infallible>
            }
        });
        let mut service = RequestLayer::new(&ctx).layer(service);
        let request = tokio::spawn(async move { service.call(get("/bug")).await.is_ok() });
        assert!(in_time(request).await.unwrap_err().is_panic());
        let report = in_time(ctx.close()).await;
        let failures: Vec<_> = report.failures().iter().map(ToString::to_string).collect();
        assert_eq!(failures.len(), 1, "{report}");
        assert!(failures[0].contains("GET /bug"), "{report}");
    }
}

#[tokio::test]
async fn hints_and_trailers_of_a_body_pass_through() {
    let ctx = Registry::new().context("server");
    let response = answered(&ctx, Response::new(String::from("four"))).await;
    let hint = http_body::Body::size_hint(response.body());
    assert_eq!(hint.exact(), Some(4));

    let trailers = http::HeaderMap::from_iter([(header::ETAG, "7".parse().unwrap())]);
    let frames = stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data"))),
        Ok(Frame::trailers(trailers)),
    ]);
    let response = answered(&ctx, Response::new(StreamBody::new(frames))).await;
    let body = in_time(response.into_body().collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()[header::ETAG], "7");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn below_a_route_of_axum_the_name_is_the_route() {
    use axum::{Router, routing::get as on_get};
    async fn name() -> String {
        let ctx = Context::current().unwrap().upgrade().unwrap();
        let names: Vec<_> = ctx
            .live()
            .await
            .tasks()
            .iter()
            .map(|task| task.name().to_owned())
            .collect();
        names.join(", ")
    }

    let ctx = Registry::new().context("server");
    let users = Router::new().route("/{id}", on_get(name));
    let router: Router = Router::new()
        .nest("/users", users)
        .fallback(name)
        .layer(RequestLayer::new(&ctx));
    for (path, name) in [
        ("/users/7", "GET /users/{id}"),
        ("/favicon.ico", "GET /favicon.ico"),
    ] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = in_time(router.clone().oneshot(request)).await.unwrap();
        let body = in_time(response.into_body().collect()).await.unwrap();
        assert_eq!(body.to_bytes(), name);
    }
    assert_eq!(in_time(ctx.close()).await.finished(), 2);
}
