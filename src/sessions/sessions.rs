//! [`Sessions`]: the handle of a table of sessions.

use crate::{
    context::{close_reason::CloseReason, current, weak::WeakContext},
    sessions::{
        attach::attach,
        build::{Restarted, restart},
        error::AttachError,
        joining::Request,
        key::Key,
        lease::Lease,
        opening::Stage,
        shared::Shared,
        signal::Generation,
        status::{SessionCounts, SessionState},
    },
    tracked::Tracked,
};
use std::{
    fmt, future::poll_fn, hash::Hash, marker::PhantomData, panic::Location, pin::pin, sync::Arc,
    task::Poll,
};

/// A table of sessions: contexts by key, which stay open while clients hold them and for an idle window after that.
///
/// Made by [`Context::sessions`](crate::Context::sessions). Clones are handles to the same table. They hold nothing open: the table
/// belongs to its context, and closes with that and with nothing else.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use headcount::{CloseReason, Registry, sessions::Arrival};
/// use std::time::Duration;
///
/// let registry = Registry::new();
/// let server = registry.context("server");
/// let chats = server
///     .sessions::<String>("chats")
///     .idle(Duration::from_secs(30))
///     .on_open(async |_key, ctx| {
///         ctx.task("room").cancellable().spawn(std::future::pending::<()>());
///         Ok::<_, std::io::Error>(())
///     })
///     .open();
///
/// // A client connects, and its connection breaks.
/// let lease = chats.attach("alice".to_owned(), "token-1").await.unwrap();
/// assert_eq!(lease.arrival(), Arrival::New);
/// drop(lease);
///
/// // It is back in time, and finds its session.
/// tokio::time::sleep(Duration::from_secs(20)).await;
/// let lease = chats.attach("alice".to_owned(), "token-1").await.unwrap();
/// assert_eq!(lease.arrival(), Arrival::Resumed);
///
/// // The next time it is not.
/// let room = lease.context();
/// drop(lease);
/// tokio::time::sleep(Duration::from_secs(31)).await;
/// assert_eq!(room.closed().await.reason().root(), &CloseReason::Culled);
/// assert!(chats.resume(&"alice".to_owned(), "token-1").await.is_err());
/// assert!(server.close().await.is_clean());
/// # }
/// ```
///
/// [`docs::sessions`](crate::docs::sessions) draws the states, and says what is refused when and what is not promised.
///
/// # Keys
///
/// `Hash` of a key runs in the call. `Eq` runs under the lock of the table, of keys whose hashes are the same: it must not use the
/// table. A panic of either goes to the caller, and changes nothing.
///
/// # Performance
///
/// One lock for the table, for the time of a decision; no code of its user runs under it, except `Eq`. One timer for all sessions, whose
/// task exists while something is due. An attach to a session that is there allocates the lease's signal, and copies the owner.
///
/// # Values
///
/// `V` is what the [init](crate::sessions::SessionsBuilder::init) of a session returns, if there is one. [`Lease::value`] and
/// [`Session::value`] return it.
pub struct Sessions<K, V = ()> {
    shared: Arc<Shared<K>>,
    value: PhantomData<fn() -> V>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static, V> Sessions<K, V> {
    pub(crate) fn new(shared: Arc<Shared<K>>) -> Self {
        let value = PhantomData;
        Self { shared, value }
    }

    /// Attaches to the session with this key, and opens it if it is not there. All who attach at once share one init.
    ///
    /// The owner is who may attach to it: a token, or the name of an authenticated user. It is compared in a time that depends on its
    /// length alone. Where there are no owners, it is empty.
    ///
    /// A session that is closing is waited for, unless [`while_closing`](crate::sessions::SessionsBuilder::while_closing) says
    /// otherwise; one that restarts as well.
    ///
    /// # Errors
    ///
    /// [`AttachError`]. A session whose init fails is closed by the time that this returns.
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, dropping the future is losing the lease: an init that has begun goes on, and the idle window runs.
    #[track_caller]
    pub fn attach<O: AsRef<[u8]>>(
        &self,
        key: K,
        owner: O,
    ) -> impl Future<Output = Result<Lease<K, V>, AttachError>> + Send + use<K, V, O> {
        self.request(key, owner.as_ref(), None, true, Location::caller())
    }

    /// Attaches as this device: the browser's page, the phone. A newer lease of the same name takes over from the older one, which is
    /// [told](Lease::lost) so, and whose late drop changes nothing. For clients that come back before the end of their old
    /// connection was noticed.
    ///
    /// # Errors, cancel safety
    ///
    /// As [`attach`](Self::attach).
    #[track_caller]
    pub fn attach_as<O: AsRef<[u8]>, D: Into<String>>(
        &self,
        key: K,
        owner: O,
        device: D,
    ) -> impl Future<Output = Result<Lease<K, V>, AttachError>> + Send + use<K, V, O, D> {
        let device = Arc::from(device.into());
        self.request(key, owner.as_ref(), Some(device), true, Location::caller())
    }

    /// Attaches to a session that is there. One that closes is not.
    ///
    /// # Errors
    ///
    /// [`AttachError::NotFound`], and those of [`attach`](Self::attach).
    ///
    /// # Cancel safety
    ///
    /// As [`attach`](Self::attach).
    #[track_caller]
    pub fn resume<O: AsRef<[u8]>>(
        &self,
        key: &K,
        owner: O,
    ) -> impl Future<Output = Result<Lease<K, V>, AttachError>> + Send + use<K, V, O> {
        self.request(key.clone(), owner.as_ref(), None, false, Location::caller())
    }

    fn request(
        &self,
        key: K,
        owner: &[u8],
        device: Option<Arc<str>>,
        opens: bool,
        location: &'static Location<'static>,
    ) -> impl Future<Output = Result<Lease<K, V>, AttachError>> + Send + use<K, V> {
        let request = Request {
            key: Key::new(self.shared.hash(&key), key),
            owner: Arc::from(owner),
            device,
            opens,
            location,
        };
        attach(Arc::clone(&self.shared), request)
    }

    /// Closes the generation of the session, for the reason [`Restarted`](CloseReason::Restarted), then opens the next one, with its
    /// init. Leases stay. Returns its number.
    ///
    /// It begins in this call. Calls that come meanwhile join it, and attaches wait for it. A close of the session wins over it. What
    /// is registered on the old generation while that closes still runs; what is to be in the next one belongs into its init.
    ///
    /// From inside the session, that is from one of its tasks or hooks, it begins, and returns at once with the number to come.
    ///
    /// # Errors
    ///
    /// [`NotFound`](AttachError::NotFound); [`Closed`](AttachError::Closed) if the session is closing, or closes meanwhile, or if its
    /// context [finishes](crate::Context::finish): then the generation that is there is left to come to its end;
    /// [`Init`](AttachError::Init) and [`Panicked`](AttachError::Panicked) if the init fails, which closes the session.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons nothing.
    ///
    /// # Panics
    ///
    /// If there is no tokio runtime: neither the one that the table remembers nor one on this thread.
    #[track_caller]
    pub fn restart(
        &self,
        key: &K,
    ) -> impl Future<Output = Result<u64, AttachError>> + Send + use<K, V> {
        let begun = restart(&self.shared, key, Location::caller());
        let shared = Arc::clone(&self.shared);
        async move { restarted(&shared, begun?).await }
    }

    /// Closes the session with this key, held or not, for this reason. False if there is none, or if it closes already.
    pub fn evict(&self, key: &K, reason: impl Into<CloseReason>) -> bool {
        let (probe, reason) = (self.shared.probe(key), reason.into());
        self.shared
            .with(|table, _, fx| table.evict(&probe, reason, fx))
    }

    /// Closes up to `most` sessions that are idle, those first that have been for longest, for the reason
    /// [`Evicted`](CloseReason::Evicted): to give memory back under pressure. Returns how many.
    pub fn shed(&self, most: usize) -> usize {
        self.shared.with(|table, _, fx| table.shed(most, fx))
    }

    /// The idle window of the session begins anew. False if there is none that is idle.
    pub fn touch(&self, key: &K) -> bool {
        let probe = self.shared.probe(key);
        self.shared.with(|table, now, _| table.touch(&probe, now))
    }

    /// How the session with this key is doing at this moment, without attaching to it. `None` if there is none, or if it was not
    /// built yet.
    pub fn get(&self, key: &K) -> Option<Session<V>> {
        let probe = self.shared.probe(key);
        let (state, leases, watch) = self.shared.ask(|table| table.get(&probe))?;
        let generation = watch.generation()?;
        Some(Session {
            state,
            leases,
            generation,
            value: PhantomData,
        })
    }

    /// How many sessions there are, by state.
    pub fn counts(&self) -> SessionCounts {
        self.shared.ask(super::table::Table::counts)
    }

    /// The context of the table: closing it closes all sessions.
    pub fn context(&self) -> WeakContext {
        self.shared.root.clone()
    }
}

/// Waits until a generation is opened, or never will be.
async fn restarted<K: Eq + Hash + Clone + Send + Sync + 'static>(
    shared: &Arc<Shared<K>>,
    restarted: Restarted,
) -> Result<u64, AttachError> {
    let Restarted {
        id,
        number,
        watch,
        context,
    } = restarted;
    let is_inside = || {
        let context = context.as_ref();
        context.is_some_and(|context| current::is_inside(context.node()))
    };
    loop {
        let mut changed = pin!(watch.changed.notified());
        changed.as_mut().enable();
        match shared.ask(|table| table.stage(id, number)) {
            Stage::Opened => return Ok(number),
            Stage::ToCome => {}
            Stage::Never => {
                let Some(error) = watch.failed() else {
                    return Err(AttachError::Closed);
                };
                if !is_inside() {
                    shared.gone(id, &watch).await;
                }
                return Err(error);
            }
        }
        // Asked at each poll: it would wait for itself.
        let inside = poll_fn(|cx| {
            if is_inside() {
                return Poll::Ready(true);
            }
            changed.as_mut().poll(cx).map(|()| false)
        });
        if inside.await {
            return Ok(number);
        }
    }
}

impl<K, V> Clone for Sessions<K, V> {
    fn clone(&self) -> Self {
        let (shared, value) = (Arc::clone(&self.shared), PhantomData);
        Self { shared, value }
    }
}

impl<K, V> fmt::Debug for Sessions<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("context", &self.shared.root)
            .finish_non_exhaustive()
    }
}

/// How a session was doing. Made by [`Sessions::get`]; holds nothing open.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::SessionState};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let _lease = pages.attach(7, "alice").await.unwrap();
/// let page = pages.get(&7).unwrap();
/// assert_eq!((page.state(), page.leases(), page.generation()), (SessionState::Held, 1, 1));
/// assert!(pages.get(&8).is_none());
/// # }
/// ```
pub struct Session<V = ()> {
    state: SessionState,
    leases: usize,
    generation: Generation,
    value: PhantomData<fn() -> V>,
}

impl<V> Session<V> {
    /// How far along it was.
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// How many leases were in.
    pub fn leases(&self) -> usize {
        self.leases
    }

    /// The number of its generation.
    pub fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The context of its generation.
    pub fn context(&self) -> WeakContext {
        self.generation.context.clone()
    }

    /// What the init of that generation returned, as [`Lease::value`] does; `None` if it was not done then, or if the generation is
    /// closed by now.
    #[track_caller]
    pub fn value(&self) -> Option<Tracked<V>>
    where
        V: 'static,
    {
        self.generation.value()
    }
}

impl<V> Clone for Session<V> {
    fn clone(&self) -> Self {
        Self {
            generation: self.generation.clone(),
            ..*self
        }
    }
}

impl<V> fmt::Debug for Session<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("leases", &self.leases)
            .field("generation", &self.generation())
            .field("context", &self.generation.context)
            .finish()
    }
}
