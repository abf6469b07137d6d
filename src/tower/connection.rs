//! What is known of a connection, and its end.

use super::{BoxError, upgrade::UpgradedPlace};
use crate::{
    name::{Name, Printed},
    panics,
    sync::{Mutex, lock},
    table::record::Detail,
};
use futures::future::{Either, FutureExt, select};
use slab::Slab;
use std::{
    fmt,
    panic::{AssertUnwindSafe, resume_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// A connection without a request is given so long, from the last byte that its client took, to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the requests of a connection, its socket and its task know of each other.
#[derive(Default)]
pub(super) struct Connection {
    requests: Arc<Requests>,
    /// How many times bytes were read, and written.
    read: AtomicU64,
    written: AtomicU64,
    /// A handler panicked, which is noted as the failure of its request.
    has_panicked: AtomicBool,
    upgraded: Mutex<Option<Upgraded>>,
    is_upgraded: AtomicBool,
}

/// What the socket takes over when the connection is upgraded: its place, or that there is none for it.
pub(super) type Upgraded = Option<UpgradedPlace>;

impl Connection {
    /// What listings and reports say of it: its requests.
    pub(super) fn detail(&self) -> Box<dyn Detail> {
        Box::new(Handled(Arc::clone(&self.requests)))
    }

    pub(super) fn note_read(&self) {
        self.read.fetch_add(1, SeqCst);
    }

    pub(super) fn note_written(&self) {
        self.written.fetch_add(1, SeqCst);
    }

    /// From here on it is counted by this place.
    pub(super) fn upgrade(&self, place: Upgraded) {
        *lock(&self.upgraded) = Some(place);
        self.is_upgraded.store(true, SeqCst);
    }

    /// The place that it is counted by, once.
    pub(super) fn take_upgraded(&self) -> Option<Upgraded> {
        if self.is_upgraded.load(SeqCst) {
            lock(&self.upgraded).take()
        } else {
            None
        }
    }
}

/// The names of the requests in flight of one connection. Listings may keep it, so there is nothing else in it.
#[derive(Default)]
struct Requests(Mutex<Slab<Name>>);

/// How many of them are named.
const NAMED: usize = 3;

impl Requests {
    fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// `handles GET /users/{id}, GET /events`
impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = lock(&self.0);
        for (n, (_, name)) in requests.iter().take(NAMED).enumerate() {
            f.write_str(if n > 0 { ", " } else { "handles " })?;
            write!(f, "{}", Printed(name))?;
        }
        match requests.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What listings and reports say of a connection.
struct Handled(Arc<Requests>);

impl Detail for Handled {
    fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.to_string())
    }

    fn work(&self) -> Option<String> {
        self.text()
    }
}

/// In the extensions of a request: the connection that it came on.
#[derive(Clone)]
pub(super) struct OnConnection(pub(super) Arc<Connection>);

/// A request of a connection, until its response has been handed to the server.
pub(super) struct InFlight {
    connection: Arc<Connection>,
    /// Its place among the names.
    key: usize,
}

impl InFlight {
    pub(super) fn new(OnConnection(connection): OnConnection, name: Name) -> Self {
        let key = lock(&connection.requests.0).insert(name);
        Self { connection, key }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Notes it if a panic passes by before this is dropped.
    pub(super) fn watch_panics(&self) -> PanicWatch {
        PanicWatch(Arc::clone(&self.connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let name = lock(&self.connection.requests.0).remove(self.key);
        drop(name);
    }
}

pub(super) struct PanicWatch(Arc<Connection>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.has_panicked.store(true, SeqCst);
        }
    }
}

impl Connection {
    /// Runs what polls handlers. A panic that is noted as the failure of a request ends it, and is no second failure.
    pub(super) async fn contain<F: Future<Output: Default>>(&self, future: F) -> F::Output {
        match AssertUnwindSafe(future).catch_unwind().await {
            Ok(output) => output,
            Err(payload) if self.has_panicked.load(SeqCst) => {
                panics::bury(payload);
                F::Output::default()
            }
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// What hyper drives a connection with.
pub(super) trait Drive: Future<Output = Result<(), BoxError>> {
    /// Lets the requests that are in flight end, and takes no others.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Drives a connection to its end. When the server stops, idle ones go at once, and the others when their requests have ended.
pub(super) async fn drive(
    driven: impl Drive,
    connection: &Connection,
    stop: impl Future<Output = ()>,
    silence: Duration,
) {
    let mut driven = pin!(driven);
    {
        let silent = pin!(silent(connection, silence));
        let stop = pin!(stop);
        // The connection is polled first: a request that has arrived is served.
        match select(driven.as_mut(), select(stop, silent)).await {
            Either::Right((Either::Left(_), _)) => {}
            _ => return,
        }
    }
    driven.as_mut().graceful_shutdown();
    let goodbye = pin!(goodbye(connection));
    select(driven, goodbye).await;
}

/// Waits for a client that has not sent anything for so long.
async fn silent(connection: &Connection, limit: Duration) {
    tokio::time::sleep(limit).await;
    if connection.read.load(SeqCst) > 0 {
        std::future::pending::<()>().await;
    }
}

/// Waits until no request is left and the client takes nothing more of what was sent.
async fn goodbye(connection: &Connection) {
    loop {
        let written = connection.written.load(SeqCst);
        tokio::time::sleep(FAREWELL).await;
        let has_waited = connection.written.load(SeqCst) == written;
        if has_waited && connection.requests.is_empty() {
            return;
        }
    }
}
