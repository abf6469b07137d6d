//! [`Lease`]: a client's hold on a session.

use crate::{
    context::weak::WeakContext,
    panics,
    sessions::{
        leaving::Going,
        session::Id,
        signal::{LeaseSignal, Loss, Watch},
    },
    tracked::Tracked,
};
use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

/// What a lease asks of its table.
pub(crate) trait Leases: Send + Sync {
    fn go(self: Arc<Self>, id: Id, lease: u64, going: Going);
    fn heartbeat(self: Arc<Self>, id: Id, lease: u64, limit: Duration);
    fn touch(self: Arc<Self>, id: Id, lease: u64);
}

/// Whether a session was there.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::Arrival};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let first = pages.attach(7, "alice").await.unwrap();
/// drop(first); // the connection broke
/// let second = pages.attach(7, "alice").await.unwrap();
/// assert_eq!(second.arrival(), Arrival::Resumed);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arrival {
    /// This attach opened the session.
    New,
    /// It was there, or other attaches were opening it.
    Resumed,
}

/// A client's hold on a session: while there is one, the session is not culled. Made by
/// [`Sessions::attach`](crate::sessions::Sessions::attach).
///
/// Dropping it is *losing* it: the connection broke, and the client may come back. When the last lease of a session is lost, its idle
/// window begins. [`leave`](Self::leave) says that the client is gone for good.
///
/// A lease does not hold the session open against a close: where that begins, the lease is [lost](Self::lost). It holds no context,
/// so it may outlive its session, its registry and its runtime; then it means nothing any more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::Loss};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let lease = pages.attach(7, "alice").await.unwrap();
/// lease.context().spawn(async { /* work for this client */ });
///
/// server.request_close("shutdown");
/// assert!(matches!(lease.lost().await, Loss::Closed(_)));
/// # }
/// ```
#[must_use = "dropping a lease is losing it: the session is culled when its idle window is over"]
pub struct Lease<K, V = ()> {
    key: Arc<K>,
    leases: Arc<dyn Leases>,
    id: Id,
    number: u64,
    arrival: Arrival,
    signal: Arc<LeaseSignal>,
    watch: Arc<Watch>,
    value: PhantomData<fn() -> V>,
}

impl<K, V> Lease<K, V> {
    pub(crate) fn new(
        (key, leases): (Arc<K>, Arc<dyn Leases>),
        (id, number): (Id, u64),
        arrival: Arrival,
        (signal, watch): (Arc<LeaseSignal>, Arc<Watch>),
    ) -> Self {
        Self {
            key,
            leases,
            id,
            number,
            arrival,
            signal,
            watch,
            value: PhantomData,
        }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The key of the session.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The context of the session's current generation, for the work of this client. After a
    /// [restart](crate::sessions::Sessions::restart) it is another one.
    ///
    /// # Panics
    ///
    /// Never: there is one from the attach on.
    pub fn context(&self) -> WeakContext {
        let generation = self.watch.generation();
        generation
            .expect("an attach ends when there is one")
            .context
    }

    /// What the [init](crate::sessions::SessionsBuilder::init) of the current generation returned. `None` once that is closed, while
    /// the init of the next one runs, and for a table that was opened without such an init.
    ///
    /// The handle is one of a value that the generation owns: it is listed with its holders, and one that is kept keeps the value alive
    /// after the close. So ask again, rather than keep it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::{convert::Infallible, sync::Mutex};
    /// let server = headcount::Registry::new().context("server");
    /// let carts = server
    ///     .sessions::<u64>("carts")
    ///     .init(async |_id, _ctx| Ok::<_, Infallible>(Mutex::new(Vec::new())))
    ///     .open();
    /// let lease = carts.attach(7, "alice").await.unwrap();
    /// lease.value().unwrap().lock().unwrap().push("a pear");
    ///
    /// // Another lease of the session has the same one, and so have those who only look.
    /// let other = carts.attach(7, "alice").await.unwrap();
    /// assert_eq!(*other.value().unwrap().lock().unwrap(), ["a pear"]);
    /// let session = carts.get(&7).unwrap();
    /// assert_eq!(session.value().unwrap().lock().unwrap().len(), 1);
    ///
    /// assert!(server.close().await.is_clean());
    /// assert!(lease.value().is_none());
    /// # }
    /// ```
    #[track_caller]
    pub fn value(&self) -> Option<Tracked<V>>
    where
        V: 'static,
    {
        self.watch.generation()?.value()
    }

    /// The number of the current generation: 1, and one more with each restart.
    pub fn generation(&self) -> u64 {
        self.watch
            .generation()
            .map_or(0, |generation| generation.number)
    }

    /// Whether this attach opened the session, or found it.
    pub fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// Waits until the lease is none any more, and says why: a newer one of the same device took over, its heartbeat was late, or the
    /// session closes. The future borrows nothing.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when it is dropped.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + use<K, V> {
        let signal = Arc::clone(&self.signal);
        async move { signal.lost().await }
    }

    /// Whether it is none any more.
    pub fn is_lost(&self) -> bool {
        self.signal.loss().is_some()
    }

    /// Says that the client is there: as the [heartbeat](Self::heartbeat) again, with the same limit. If the lease is lost and the
    /// session is idle, its idle window begins anew.
    pub fn touch(&self) {
        Arc::clone(&self.leases).touch(self.id, self.number);
    }

    /// From now on this, or [`touch`](Self::touch), must be called again within the limit; otherwise the lease is lost, as if it had
    /// been dropped. For connections whose end is not noticed: one that is half open says nothing.
    ///
    /// [`Duration::MAX`] ends that, [`Duration::ZERO`] loses it at once. Does nothing if the lease is lost.
    pub fn heartbeat(&self, limit: Duration) {
        Arc::clone(&self.leases).heartbeat(self.id, self.number, limit);
    }

    /// The client goes on purpose: its page was closed, or it has logged out. The session closes at once, for the reason
    /// [`Left`](crate::CloseReason::Left), if there is no other lease, and none was lost within the last idle window and has not come
    /// back. Otherwise it goes on without this one; if there is no other lease, its idle window begins.
    ///
    /// Does nothing if the lease is lost.
    pub fn leave(self) {
        Arc::clone(&self.leases).go(self.id, self.number, Going::Left);
    }
}

impl<K, V> Drop for Lease<K, V> {
    fn drop(&mut self) {
        // Most are in. One that is not has nothing to lose.
        if self.signal.loss().is_none() {
            panics::contain(|| Arc::clone(&self.leases).go(self.id, self.number, Going::Lost));
        }
    }
}

impl<K, V> fmt::Debug for Lease<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("arrival", &self.arrival)
            .field("loss", &self.signal.loss())
            .finish_non_exhaustive()
    }
}
