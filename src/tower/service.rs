//! [`RequestService`]: the service that a [`RequestLayer`] makes of another.

use super::{
    body::RequestBody,
    connection::{InFlight, OnConnection},
    layer::RequestLayer,
    name,
    response::{Answering, ResponseFuture},
    upgrade::Upgrade,
};
use crate::task::spawn::TaskOrigin;
use http::{Request, Response, header};
use std::{
    fmt,
    task::{Context, Poll},
};

/// A service whose requests are counted. Made by [`RequestLayer`].
///
/// ```
/// use headcount::{Registry, tower::RequestLayer};
/// use tower::Layer;
/// let server = Registry::new().context("server");
/// let service = RequestLayer::new(&server).layer("a service");
/// assert_eq!(format!("{service:?}"), r#"RequestService { inner: "a service", .. }"#);
/// ```
#[derive(Clone)]
pub struct RequestService<S> {
    inner: S,
    /// Where requests are counted, unless the service does that itself.
    layer: Option<RequestLayer>,
}

impl<S> RequestService<S> {
    pub(super) fn new(inner: S, layer: Option<RequestLayer>) -> Self {
        Self { inner, layer }
    }
}

/// In the extensions of a request: it is counted.
#[derive(Clone)]
struct IsCounted;

impl<S, B, R> tower_service::Service<Request<B>> for RequestService<S>
where
    S: tower_service::Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Error: Into<super::BoxError>>,
{
    type Response = Response<RequestBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layer = self.layer.as_ref();
        let Some(layer) = layer.filter(|_| request.extensions().get::<IsCounted>().is_none())
        else {
            return ResponseFuture::uncounted(self.inner.call(request));
        };
        let connection = request.extensions_mut().remove::<OnConnection>();
        request.extensions_mut().insert(IsCounted);
        let name = name::of(&request);
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let answering = Answering {
            has_no_body: request.method() == http::Method::HEAD,
            stops_with: layer.stops_with.clone(),
            in_flight: connection.map(|on| InFlight::new(on, name.clone())),
            upgrade: is_upgrade.then(|| Upgrade {
                ctx: layer.counted_by.clone(),
                name: name.clone(),
                location: layer.location,
            }),
        };
        let task = layer.counted_by.task(name).kind("request");
        let origin = TaskOrigin::of::<S::Future>("request").at(layer.location);
        // A request that is refused does not reach the service.
        match task.try_wrap_with(origin, || self.inner.call(request)) {
            Some(handling) => ResponseFuture::counted(handling, answering),
            None => ResponseFuture::refused(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequestService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
