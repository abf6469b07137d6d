//! [`App`]: what the body of a service is given.

use crate::{
    context::{close_reason::CloseReason, context::Context},
    name::Name,
    registry::{readiness::Readiness, registry::Registry},
    run::{
        builder::AppBuilder,
        stop::{Stage, Stop},
    },
};
use futures::future::select;
use std::{fmt, pin::pin, sync::Arc};

/// A running service, as its body sees it: made by [`run`](crate::run()).
///
/// Clones are cheap, and refer to the same service. It may go into tasks: [`run`](crate::run()) closes the registry whether
/// handles are left or not.
///
/// ```no_run
/// use headcount::App;
/// use std::{io, process::ExitCode};
///
/// fn main() -> ExitCode {
///     headcount::run("api", async |app: App| {
///         let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///         app.context().task("accept").cancellable().spawn(accept(listener));
///         app.ready();
///         app.stopping().await;
///         Ok::<(), io::Error>(())
///     })
/// }
/// # async fn accept(_: tokio::net::TcpListener) {}
/// ```
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    registry: Registry,
    stop: Arc<Stop>,
}

impl App {
    /// A service with settings of its own.
    ///
    /// ```no_run
    /// use headcount::App;
    /// use std::{convert::Infallible, process::ExitCode, time::Duration};
    ///
    /// fn main() -> ExitCode {
    ///     App::builder("api")
    ///         .drain_delay(Duration::from_secs(5))
    ///         .deadline(Duration::from_secs(20))
    ///         .run(async |app: App| {
    ///             app.ready();
    ///             app.stopping().await;
    ///             Ok::<(), Infallible>(())
    ///         })
    /// }
    /// ```
    pub fn builder(name: impl Into<Name>) -> AppBuilder {
        AppBuilder::new(name.into())
    }

    pub(super) fn new(context: Context, registry: Registry, stop: Arc<Stop>) -> Self {
        Self {
            inner: Arc::new(Inner {
                context,
                registry,
                stop,
            }),
        }
    }

    /// The context of the service, with its name. What is spawned on it, or below it, is closed by the stop.
    ///
    /// The body itself does not belong to it, so the body may await its [`idle`](Context::idle), its
    /// [`finish`](Context::finish) and its [`close`](Context::close).
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// The registry of the service: all of it is closed by the stop.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Says that the service is ready: [`readiness`](Self::readiness) is yes from now on, and systemd is told. Does nothing the second
    /// time, and after a stop was asked for.
    pub fn ready(&self) {
        let stop = &self.inner.stop;
        if stop.readiness().set_ready() {
            stop.set_ready();
        }
    }

    /// Whether the service is ready, for a readiness probe: from [`ready`](Self::ready) until a stop is asked for, which is before the
    /// drain delay. The same as [`Registry::readiness`] of its registry.
    pub fn readiness(&self) -> Readiness {
        self.inner.stop.readiness().clone()
    }

    /// Stops the service as the first signal does: not ready, then the drain delay, then the close. Returns at once. If a stop was
    /// asked for before, that one's reason stays.
    pub fn request_stop(&self, reason: impl Into<CloseReason>) {
        self.inner.stop.request(reason.into());
    }

    /// Waits until the service stops, and says why. That is after the drain delay: until then the service is to serve. When it returns,
    /// the close of the registry has begun. A body that waits for this and returns does what is usual.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub fn stopping(&self) -> impl Future<Output = CloseReason> + use<> {
        let (stop, closing) = (Arc::clone(&self.inner.stop), self.closing());
        async move {
            // Not by way of the watch thread alone: a clock that is paused does not wait for that.
            select(pin!(stop.reached(Stage::Closing)), pin!(closing)).await;
            // Nor for its close: the body may drop its contexts now, as those of a close.
            stop.begin_close_here();
            stop.reason()
        }
    }

    /// Waits until the context or the registry closes, for whatever reason, and then stops the service. It holds no handle.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + use<> {
        let stop = Arc::clone(&self.inner.stop);
        let root = Arc::clone(&self.inner.registry.root().node);
        let context = Arc::clone(self.inner.context.node());
        async move {
            let (root, context) = (pin!(root.cancelled()), pin!(context.cancelled()));
            let reason = select(root, context).await.factor_first().0;
            stop.request_now(reason.root().clone());
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("context", &self.inner.context)
            .field("stage", &self.inner.stop.stage())
            .finish_non_exhaustive()
    }
}
