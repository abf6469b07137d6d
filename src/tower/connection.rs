//! What is known of a connection, and its end.

use super::{BoxError, upgrade::UpgradedPlace};
use crate::{
    panics,
    sync::{Mutex, lock},
};
use futures::future::{Either, FutureExt, select};
use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// A connection without a request is given so long, from the last byte that its client took, to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the requests of a connection, its socket and its task know of each other.
#[derive(Default)]
pub(super) struct Connection {
    in_flight: AtomicUsize,
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

/// In the extensions of a request: the connection that it came on.
#[derive(Clone)]
pub(super) struct OnConnection(pub(super) Arc<Connection>);

/// A request of a connection, until its response has been handed to the server.
pub(super) struct InFlight(Arc<Connection>);

impl InFlight {
    pub(super) fn new(OnConnection(connection): OnConnection) -> Self {
        connection.in_flight.fetch_add(1, SeqCst);
        Self(connection)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    /// Notes it if a panic passes by before this is dropped.
    pub(super) fn watch_panics(&self) -> PanicWatch {
        PanicWatch(Arc::clone(&self.0))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
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
        if has_waited && connection.in_flight.load(SeqCst) == 0 {
            return;
        }
    }
}
