//! [`RequestLayer`]: each request is a task of a context.

use super::service::RequestService;
use crate::context::{context::Context, state::Node, weak::WeakContext};
use std::{fmt, panic::Location, sync::Arc};

/// A layer under which each request is a task of a context, from its arrival until the body of its response has ended.
///
/// The task has method and route as its name, and the kind `request`. Inside the handler
/// [`Context::current`](crate::Context::current) and [`headcount::spawn`](crate::spawn()) mean that context. When the client goes away the
/// server drops handler and body, and the task ends. The layer keeps the context from nothing: it holds a weak handle.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Context, Registry, tower::RequestLayer};
/// use http::{Request, Response};
/// use std::convert::Infallible;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let server = Registry::new().context("server");
/// let service = RequestLayer::new(&server).layer(service_fn(async |_request: Request<String>| {
///     let own = Context::current().unwrap();
///     assert!(own.upgrade().unwrap().live().await.find("GET /users").is_some());
///     Ok::<_, Infallible>(Response::new(String::from("alice, bob")))
/// }));
///
/// let request = Request::get("/users").body(String::new()).unwrap();
/// let response = service.clone().oneshot(request).await.unwrap();
/// assert_eq!(server.live().await.tasks().len(), 1); // until the body has been sent
/// drop(response);
///
/// server.close().await;
/// let request = Request::get("/users").body(String::new()).unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap().status(), 503);
/// # }
/// ```
///
/// # Names
///
/// With the feature `axum`, below a route of a `Router`: that route, as `GET /users/{id}`. Otherwise the path, without the query and cut after
/// 80 bytes. A method that is not in the standard is `OTHER`.
///
/// # At the close
///
/// Requests that are inside may end within the grace period; then they are aborted. A handler that waits is dropped at its next poll, and the
/// answer is 503; a body that waits ends with an error, so that the client sees that it is not complete. What comes after the
/// close, or [`finish`](crate::Context::finish), began is answered with 503 and `connection: close`, and the service below is not called. Event
/// streams (`text/event-stream`) and bodies of responses with the extension [`EndAtClose`](super::EndAtClose) end when the close begins.
///
/// The layer does not know of connections. Of a server that is not [`serve`](super::serve()) the connections are closed by that server, and an
/// upgraded one is not counted: [wrap](crate::WeakContext::wrap) what serves it.
///
/// A request that passes two of these layers is counted by the outer one.
///
/// # Performance
///
/// A name is allocated for each request, and a task is listed and taken off the list.
#[derive(Clone)]
pub struct RequestLayer {
    pub(super) counted_by: WeakContext,
    /// Whose close, when it begins, ends what streams.
    pub(super) stops_with: Arc<Node>,
    pub(super) location: &'static Location<'static>,
}

impl RequestLayer {
    /// Counts requests as tasks of this context.
    #[track_caller]
    pub fn new(ctx: &Context) -> Self {
        Self::weak(ctx.downgrade())
    }

    /// The same for a weak handle, such as that of the running task.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Context, Registry, tower::RequestLayer};
    /// let server = Registry::new().context("server");
    /// let layer = server.spawn(async { RequestLayer::weak(Context::current().unwrap()) });
    /// assert!(format!("{:?}", layer.await.unwrap()).contains("server"));
    /// # }
    /// ```
    #[track_caller]
    pub fn weak(ctx: WeakContext) -> Self {
        Self {
            stops_with: Arc::clone(ctx.node()),
            counted_by: ctx,
            location: Location::caller(),
        }
    }

    /// What streams ends when this other context begins to close.
    pub(super) fn stops_with(
        mut self,
        ctx: &Context,
        location: &'static Location<'static>,
    ) -> Self {
        self.stops_with = Arc::clone(ctx.downgrade().node());
        self.location = location;
        self
    }
}

impl<S> tower_layer::Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService::new(inner, Some(self.clone()))
    }
}

impl fmt::Debug for RequestLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLayer")
            .field("context", &self.counted_by)
            .finish_non_exhaustive()
    }
}
