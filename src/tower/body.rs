//! [`RequestBody`]: the body of a response, which counts as part of its request.

use super::{BoxError, connection::InFlight, stopping::stopping};
use crate::{
    context::state::Node,
    task::{wrapped::Wrapped, wrapped_stream::WrappedStream},
};
use futures::{FutureExt, Stream, future::BoxFuture};
use http::{HeaderMap, StatusCode, header, response::Parts};
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// In the extensions of a response: its body ends when the close begins, as an event stream does, instead of at the end of the
/// grace period with an error.
///
/// It is for bodies without an end of their own. The client takes the body for complete.
///
/// ```
/// use headcount::tower::EndAtClose;
/// # fn watch() -> String { String::new() }
/// fn handler() -> http::Response<String> {
///     let mut response = http::Response::new(watch());
///     response.extensions_mut().insert(EndAtClose);
///     response
/// }
/// assert!(handler().extensions().get::<EndAtClose>().is_some());
/// ```
///
/// A handler of axum returns `(Extension(EndAtClose), body)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndAtClose;

pin_project_lite::pin_project! {
    /// The body of a counted response. Made by [`RequestService`](super::RequestService).
    ///
    /// The request has ended when the body has ended or is dropped. If the request is aborted meanwhile the body ends with an error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, tower::RequestLayer};
    /// use http_body_util::BodyExt;
    /// use tower::{Layer, ServiceExt, service_fn};
    /// let server = Registry::new().context("server");
    /// let service = RequestLayer::new(&server).layer(service_fn(async |_| {
    ///     Ok::<_, std::io::Error>(http::Response::new(String::from("hello")))
    /// }));
    /// let response = service.oneshot(http::Request::new(())).await.unwrap();
    /// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    /// assert_eq!(server.close().await.finished(), 1);
    /// # }
    /// ```
    pub struct RequestBody<R> {
        #[pin]
        content: Content<R>,
        // Given back after the body.
        in_flight: Option<InFlight>,
    }

    impl<R> PinnedDrop for RequestBody<R> {
        fn drop(this: Pin<&mut Self>) {
            if let ContentProj::Counted { frames } = this.project().content.project()
                && frames.stream().is_some_and(Frames::is_complete)
            {
                // The server takes no more than the length says, and nothing where it sends no body.
                frames.finish();
            }
        }
    }
}

pin_project_lite::pin_project! {
    #[project = ContentProj]
    enum Content<R> {
        Counted {
            #[pin]
            frames: WrappedStream<Frames<R>>,
        },
        // By an outer layer.
        Uncounted {
            #[pin]
            body: R,
        },
        Empty,
    }
}

impl<R> RequestBody<R> {
    pub(super) fn counted(frames: Wrapped<Frames<R>>, in_flight: Option<InFlight>) -> Self {
        let frames = WrappedStream::counted(frames);
        Self {
            content: Content::Counted { frames },
            in_flight,
        }
    }

    pub(super) fn uncounted(body: R) -> Self {
        Self {
            content: Content::Uncounted { body },
            in_flight: None,
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            content: Content::Empty,
            in_flight: None,
        }
    }

    /// The body, unless it has ended.
    fn body(&self) -> Option<&R> {
        match &self.content {
            Content::Counted { frames } => frames.stream()?.body.as_ref(),
            Content::Uncounted { body } => Some(body),
            Content::Empty => None,
        }
    }
}

impl<R: Body<Error: Into<BoxError>>> Body for RequestBody<R> {
    type Data = R::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, BoxError>>> {
        let this = self.project();
        let mut frames = match this.content.project() {
            ContentProj::Counted { frames } => frames,
            ContentProj::Uncounted { body } => {
                return body.poll_frame(cx).map_err(Into::into);
            }
            ContentProj::Empty => return Poll::Ready(None),
        };
        let panics = this.in_flight.as_ref().map(InFlight::watch_panics);
        let next = ready!(frames.as_mut().poll_next(cx));
        drop(panics);
        let has_ended = frames
            .stream()
            .and_then(|of| of.body.as_ref())
            .is_none_or(Body::is_end_stream);
        // Servers do not ask a body for more that says that this was all.
        if has_ended {
            frames.finish();
            *this.in_flight = None;
        }
        Poll::Ready(next.map(|frame| match frame {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(error)) => Err(error.into()),
            Err(aborted) => Err(aborted.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<R> fmt::Debug for RequestBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("has_ended", &self.body().is_none())
            .finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    /// The frames of a body, which end when the server stops if they stream.
    pub(super) struct Frames<R> {
        // `None` if there is none, or the handler failed.
        #[pin]
        body: Option<R>,
        // Whether a server takes nothing more of it.
        sends_nothing: bool,
        // What is still to come, where the head says how long it is.
        left: Option<u64>,
        stop: Option<BoxFuture<'static, ()>>,
    }
}

impl<R: Body> Frames<R> {
    pub(super) fn new(head: &Parts, body: R, has_no_body: bool, stops_with: Arc<Node>) -> Self {
        let (headers, status) = (&head.headers, head.status);
        let left = length(headers).or_else(|| body.size_hint().exact());
        let streams = is_event_stream(headers) || head.extensions.get::<EndAtClose>().is_some();
        Self {
            sends_nothing: has_no_body || is_bodiless(status) || body.is_end_stream(),
            body: Some(body),
            left,
            stop: streams.then(|| stopping(stops_with).boxed()),
        }
    }
}

impl<R> Frames<R> {
    pub(super) fn none() -> Self {
        Self {
            body: None,
            sends_nothing: true,
            left: None,
            stop: None,
        }
    }

    /// Whether a server that drops it now has sent all of it.
    fn is_complete(&self) -> bool {
        self.sends_nothing || self.left == Some(0)
    }
}

impl<R: Body> Stream for Frames<R> {
    type Item = Result<Frame<R::Data>, R::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        // Asked first: a stream that is always ready would not end otherwise.
        if let Some(stop) = this.stop
            && stop.poll_unpin(cx).is_ready()
        {
            *this.stop = None;
            *this.sends_nothing = true;
            return Poll::Ready(None);
        }
        let Some(body) = this.body.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.poll_frame(cx));
        if let (Some(Ok(frame)), Some(left)) = (&frame, this.left)
            && let Some(data) = frame.data_ref()
        {
            let sent = bytes::Buf::remaining(data) as u64;
            *left = left.saturating_sub(sent);
        }
        Poll::Ready(frame)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    let content = content.and_then(|content| content.as_bytes().split(|byte| *byte == b';').next());
    content.is_some_and(|content| {
        content
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Whether a response with this status has no body.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
