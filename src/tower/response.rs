//! [`ResponseFuture`]: what handles a request, until its response begins.

use super::{
    BoxError,
    body::{Frames, RequestBody},
    connection::InFlight,
    upgrade::Upgrade,
};
use crate::{context::state::Node, task::wrapped::Wrapped};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// What a response needs to know of its request.
pub(super) struct Answering {
    /// It was a `HEAD`: the server sends no body, whatever there is.
    pub(super) has_no_body: bool,
    /// The context whose close ends what streams.
    pub(super) stops_with: Arc<Node>,
    /// The connection of the request, if it is one of `serve`.
    pub(super) in_flight: Option<InFlight>,
    /// Where a connection is counted that the request asks to upgrade.
    pub(super) upgrade: Option<Upgrade>,
}

pin_project_lite::pin_project! {
    /// The future of a counted request. Made by [`RequestService`](super::RequestService).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, tower::RequestLayer};
    /// use tower::{Layer, Service, service_fn};
    /// let server = Registry::new().context("server");
    /// let mut service = RequestLayer::new(&server).layer(service_fn(async |_| {
    ///     Ok::<_, std::io::Error>(http::Response::new(String::new()))
    /// }));
    /// let response = service.call(http::Request::new(())); // counted from here on
    /// assert!(server.live().await.find("GET /").is_some());
    /// assert_eq!(response.await.unwrap().status(), 200);
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProj]
    enum State<F> {
        Counted {
            #[pin]
            handling: Wrapped<F>,
            // Taken when the response begins.
            answering: Option<Answering>,
        },
        // By an outer layer.
        Uncounted {
            #[pin]
            handling: F,
        },
        Refused,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn counted(handling: Wrapped<F>, answering: Answering) -> Self {
        let answering = Some(answering);
        Self {
            state: State::Counted {
                handling,
                answering,
            },
        }
    }

    pub(super) fn uncounted(handling: F) -> Self {
        Self {
            state: State::Uncounted { handling },
        }
    }

    pub(super) fn refused() -> Self {
        Self {
            state: State::Refused,
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<RequestBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (handling, answering) = match self.project().state.project() {
            StateProj::Counted {
                handling,
                answering,
            } => (handling, answering),
            StateProj::Uncounted { handling } => {
                return handling
                    .poll(cx)
                    .map_ok(|response| response.map(RequestBody::uncounted));
            }
            StateProj::Refused => return Poll::Ready(Ok(unavailable())),
        };
        let panics = answering.as_ref().and_then(|of| of.in_flight.as_ref());
        let panics = panics.map(InFlight::watch_panics);
        let answered = ready!(handling.poll_then(cx, |output| split(output, answering)));
        drop(panics);
        Poll::Ready(match answered {
            Ok((Ok((head, in_flight)), body)) => Ok(Response::from_parts(
                head,
                RequestBody::counted(body, in_flight),
            )),
            // The task ends here, by itself.
            Ok((Err(error), body)) => {
                drop(RequestBody::counted(body, None));
                Err(error)
            }
            // Ended by force, or polled again after its end.
            Err(_) => Ok(unavailable()),
        })
    }
}

type Head<E> = Result<(http::response::Parts, Option<InFlight>), E>;

/// The head of a response, and the frames of its body, which the task goes on with.
fn split<R: Body, E>(
    output: Result<Response<R>, E>,
    answering: &mut Option<Answering>,
) -> (Head<E>, Frames<R>) {
    let response = match output {
        Ok(response) => response,
        Err(error) => return (Err(error), Frames::none()),
    };
    let (head, body) = response.into_parts();
    let Some(of) = answering.take() else {
        return (Ok((head, None)), Frames::none());
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade), Some(in_flight)) =
        (head.status, of.upgrade, &of.in_flight)
    {
        in_flight.connection().upgrade(upgrade.counted());
    }
    let frames = Frames::new(&head, body, of.has_no_body, of.stops_with);
    (Ok((head, of.in_flight)), frames)
}

/// The answer to a request that is refused or was aborted: the client is to ask another server.
fn unavailable<R>() -> Response<RequestBody<R>> {
    let mut response = Response::new(RequestBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
