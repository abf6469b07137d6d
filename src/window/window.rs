//! [`Window`]: the settings of the page, and the ways to serve it.

#[cfg(feature = "metrics")]
use crate::metrics::page::MetricsPage;
use crate::{
    context::state::Core,
    labels::Labels,
    leaks::policy::LeakPolicy,
    registry::readiness::Readiness,
    window::{
        access::Access,
        error::WindowError,
        ids::Ids,
        problem::Problem,
        routes::{ask, router},
        server::WindowServer,
        shared::Shared,
    },
};
use axum::{Router, http::Uri};
use std::{
    fmt,
    net::SocketAddr,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    net::{TcpListener, ToSocketAddrs, lookup_host},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

/// How many streams of events there may be, unless the program says otherwise.
const STREAMS: usize = 16;
/// How long a search for leaks waits for things to go, unless the program or the request says otherwise.
const SETTLE: Duration = Duration::from_millis(200);

/// A page in the browser that shows a registry, and the same as JSON: its settings, and the ways to serve it.
///
/// Made by [`Registry::window`](crate::Registry::window). It shows the live tree, where tasks wait, what leaks, who holds what, what grows,
/// and closes under way. It costs nothing while nothing is asked, keeps nothing alive, and shows what is known when the registry is closed.
///
/// # Safe by default
///
/// * Without a token it answers on loopback alone, and names that the program made at run time, which may contain what clients sent, are
///   hashed. [`token`](Self::token) lifts both, [`show_labels`](Self::show_labels) the second.
/// * Requests with the `Host` or `Origin` of others are refused, so that no page of another site can read it, whatever its name points to.
/// * `GET` changes nothing. Closing a context takes a `POST`, which is refused unless the program [allows](Self::allow_close) it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let server = registry.context("server");
/// server.task("accept").spawn(std::future::pending::<()>());
///
/// let window = registry.window();
/// let tree = window.json("/tree?kind=task").await.unwrap();
/// assert!(tree.contains("server/accept"), "{tree}");
/// # server.close_now().await;
/// # }
/// ```
///
/// To have it in a server of the program's own, under a path of its own:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let registry = headcount::Registry::new();
/// let window = registry.window().token("what-only-operators-know").host("ops.example.org");
/// let app: axum::Router = axum::Router::new().nest("/debug", window.router());
/// # }
/// ```
#[must_use = "a window is seen when it is served"]
#[derive(Clone)]
pub struct Window {
    root: Weak<Core>,
    node: Arc<crate::context::state::Node>,
    readiness: Readiness,
    access: Access,
    shows_labels: bool,
    allows_close: Option<&'static Location<'static>>,
    leak_policy: LeakPolicy,
    max_streams: usize,
}

impl Window {
    pub(crate) fn of(root: &Arc<Core>) -> Self {
        Self {
            root: Arc::downgrade(root),
            node: Arc::clone(&root.node),
            readiness: Readiness::of(root),
            access: Access::default(),
            shows_labels: false,
            allows_close: None,
            leak_policy: LeakPolicy::new().settle(SETTLE),
            max_streams: STREAMS,
        }
    }

    /// Requires this token of every request but those of the page itself, `/livez` and `/readyz`: in a header
    /// `Authorization: Bearer <token>`. The page asks for it, and finds it behind `#token=` in its address, which browsers send nowhere.
    ///
    /// With a token the window may be served on other addresses than loopback, and names are shown as they are. It takes the same time to
    /// compare it, wherever the two differ. An empty token opens nothing: [`serve`](Self::serve) refuses it, and the
    /// [router](Self::router) every request.
    ///
    /// The token is as secret as the connection: over a network that others can listen to, put a proxy with TLS before it.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access.token = Some(token.into());
        self
    }

    /// Answers requests to this host as well: `ops.example.org`, without a port. `localhost` and addresses of loopback are always
    /// answered, and with a token every address that is a number.
    pub fn host(mut self, name: impl AsRef<str>) -> Self {
        self.access.hosts.push(name.as_ref().to_ascii_lowercase());
        self
    }

    /// Shows all names as they are, also without a token. Programs on the same machine can then read them, whatever user they run as.
    pub fn show_labels(mut self) -> Self {
        self.shows_labels = true;
        self
    }

    /// Lets requests that have the token close contexts, with `POST /close?id=<id>`. Without a [token](Self::token) it has no effect.
    ///
    /// Each close is a warning event, which says where it was asked for, and has the reason `window`.
    #[track_caller]
    pub fn allow_close(mut self) -> Self {
        self.allows_close = Some(Location::caller());
        self
    }

    /// Looks for leaks by this policy. The default is [`LeakPolicy::new`], with 200 ms to settle.
    pub fn leak_policy(mut self, policy: LeakPolicy) -> Self {
        self.leak_policy = policy;
        self
    }

    /// Has so many streams of events at most, and answers the next one with 503. The default is 16.
    pub fn max_streams(mut self, most: usize) -> Self {
        self.max_streams = most.min(Semaphore::MAX_PERMITS);
        self
    }

    /// A router with the paths of [`docs::window`](crate::docs::window), to be nested into the program's own.
    ///
    /// Without a token, requests are answered whose peer is known to be on this machine: serve with
    /// `into_make_service_with_connect_info::<SocketAddr>()`, or set a [token](Self::token). It has no answer for other paths, and its
    /// checks do not touch other routes.
    pub fn router(self) -> Router {
        router(self.into_shared())
    }

    /// Serves on this address until the returned guard is dropped.
    ///
    /// The server's tasks are tokio's own: no context counts them, and no close waits for them.
    ///
    /// # Errors
    ///
    /// [`WindowError::NeedsToken`] if other machines could reach the address and there is no token, [`WindowError::EmptyToken`], or
    /// the error of the system.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime with I/O.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<WindowServer, WindowError> {
        let addresses = lookup_host(address).await.map_err(WindowError::Io)?;
        let addresses: Vec<_> = addresses.collect();
        for address in &addresses {
            self.check(*address)?;
        }
        let listener = TcpListener::bind(&*addresses).await;
        self.serve_on(listener.map_err(WindowError::Io)?)
    }

    /// As [`serve`](Self::serve), on a listener that is there already.
    ///
    /// # Errors
    ///
    /// As those of [`serve`](Self::serve).
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime.
    pub fn serve_on(self, listener: TcpListener) -> Result<WindowServer, WindowError> {
        self.check(listener.local_addr().map_err(WindowError::Io)?)?;
        WindowServer::start(listener, self.into_shared())
    }

    fn check(&self, address: SocketAddr) -> Result<(), WindowError> {
        match &self.access.token {
            Some(token) if token.is_empty() => Err(WindowError::EmptyToken),
            None if !address.ip().to_canonical().is_loopback() => {
                Err(WindowError::NeedsToken(address))
            }
            _ => Ok(()),
        }
    }

    /// The JSON that this path and query answer over HTTP, without HTTP and without a token: `/tree?state=closing`.
    ///
    /// Each call is a window of its own: limits such as one dump at a time hold for a served window.
    ///
    /// # Errors
    ///
    /// A [`Problem`], for a path, a parameter or an id that means nothing here.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    ///
    /// # Performance
    ///
    /// Lists everything in bounded steps; sorting and writing is done beside the runtime's threads.
    pub async fn json(&self, query: &str) -> Result<String, Problem> {
        let uri: Uri = query.parse().map_err(|_| Problem::bad_query())?;
        let shared = self.clone().into_shared();
        ask(&shared, uri.path(), &uri).await
    }

    fn into_shared(self) -> Arc<Shared> {
        let is_shown = self.shows_labels || self.access.token.is_some();
        let labels = if is_shown {
            Labels::Shown
        } else {
            Labels::Hashed
        };
        Arc::new(Shared {
            ids: Ids::of(self.node.table.number()),
            labels,
            #[cfg(feature = "metrics")]
            metrics: MetricsPage::new(self.root.clone(), labels),
            root: self.root,
            node: self.node,
            readiness: self.readiness,
            access: self.access,
            allows_close: self.allows_close,
            leak_policy: self.leak_policy,
            dumps: Semaphore::new(1),
            searches: Semaphore::new(1),
            streams: Arc::new(Semaphore::new(self.max_streams)),
            samples: Arc::new(Semaphore::new(1)),
            growth: crate::sync::Mutex::default(),
            stop: CancellationToken::new(),
        })
    }
}

/// Without the token.
impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("has_token", &self.access.token.is_some())
            .field("hosts", &self.access.hosts)
            .field("shows_labels", &self.shows_labels)
            .field("allows_close", &self.allows_close.is_some())
            .finish_non_exhaustive()
    }
}
