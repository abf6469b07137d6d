//! Opening a table of sessions.

use crate::{
    context::{
        builder::ContextBuilder,
        context::Context,
        state::Core,
        weak::{WeakContext, own},
    },
    name::{Label, Name, label},
    sessions::{
        error::EnvError,
        sessions::Sessions,
        settings::{Overflow, Settings, WhileClosing},
        shared::{Code, Init, InitFailed, InitFn, LabelFn, Shared},
        signal::Value,
    },
    table::record::Facts,
};
use futures::FutureExt;
use std::{
    env, ffi::OsString, fmt, hash::Hash, marker::PhantomData, panic::Location, sync::Arc,
    time::Duration,
};

/// The variable with the idle window.
const CULL_TIMEOUT: &str = "HEADCOUNT_CULL_TIMEOUT";
/// The variable with the greatest number of sessions.
const MAX_SESSIONS: &str = "HEADCOUNT_MAX_SESSIONS";

impl Context {
    /// A table of sessions under this context: see [`Sessions`].
    #[track_caller]
    pub fn sessions<K>(&self, name: impl Into<Name>) -> SessionsBuilder<'_, K>
    where
        K: Eq + Hash + Clone + Send + Sync + 'static,
    {
        SessionsBuilder {
            parent: self.core(),
            name: label(name.into()),
            location: Location::caller(),
            settings: Settings::default(),
            label: Box::new(|_| Name::Borrowed("session")),
            on_open: None,
            value: PhantomData,
        }
    }
}

/// Opens a table of sessions. Made by [`Context::sessions`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::Overflow};
/// use std::time::Duration;
/// let server = Registry::new().context("server");
/// let pages = server
///     .sessions::<u64>("pages")
///     .idle(Duration::from_secs(60))
///     .max(1_000)
///     .max_per_owner(5)
///     .overflow(Overflow::EvictIdle)
///     .label(|id| format!("page-{id}"))
///     .open();
/// let lease = pages.attach(7, "alice").await.unwrap();
/// assert_eq!(lease.context().path(), "server/pages/page-7/generation 1");
/// # server.close().await;
/// # }
/// ```
#[must_use = "a builder opens nothing until `open`"]
pub struct SessionsBuilder<'a, K, V = ()> {
    parent: &'a Arc<Core>,
    name: Label,
    location: &'static Location<'static>,
    settings: Settings,
    label: Box<LabelFn<K>>,
    on_open: Option<Init<K>>,
    value: PhantomData<fn() -> V>,
}

impl<'a, K: Eq + Hash + Clone + Send + Sync + 'static, V> SessionsBuilder<'a, K, V> {
    /// For how long a session is kept when no lease is left; 24 hours otherwise. The window begins anew with each loss.
    /// [`Duration::ZERO`] culls at once, [`Duration::MAX`] never.
    pub fn idle(mut self, window: Duration) -> Self {
        self.settings.idle = window;
        self
    }

    /// How old a session becomes at most, held or not; it is closed for the reason [`Expired`](crate::CloseReason::Expired).
    pub fn max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = age;
        self
    }

    /// How many sessions there are at most, those that close included. Attaching to one that is there is always possible.
    pub fn max(mut self, sessions: usize) -> Self {
        self.settings.max = sessions;
        self
    }

    /// How many sessions are idle at most. Beyond that the one that has been for longest is closed, for the reason
    /// [`Evicted`](crate::CloseReason::Evicted).
    pub fn max_idle(mut self, sessions: usize) -> Self {
        self.settings.max_idle = sessions;
        self
    }

    /// How many sessions of one owner there are at most, those that close included.
    pub fn max_per_owner(mut self, sessions: usize) -> Self {
        self.settings.max_per_owner = sessions;
        self
    }

    /// What becomes of an attach that would exceed a limit; it is rejected otherwise.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.overflow = overflow;
        self
    }

    /// How many attaches may wait for a place with [`Overflow::Wait`], in all; 1,024 otherwise. Beyond that they fail at once with
    /// [`Full`](crate::sessions::AttachError::Full) of [`Limit::Queue`](crate::sessions::Limit::Queue). With 0 none waits.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// use headcount::{Registry, sessions::{AttachError, Limit, Overflow}};
    /// use std::time::Duration;
    /// let server = Registry::new().context("server");
    /// let overflow = Overflow::Wait(Duration::from_secs(10));
    /// let pages = server.sessions::<u64>("pages").max(1).overflow(overflow).queue(1).open();
    /// let first = pages.attach(1, "alice").await.unwrap();
    /// let second = tokio::spawn(pages.attach(2, "bob"));
    /// tokio::task::yield_now().await;
    /// assert_eq!(pages.counts().waiting_leases, 1);
    /// let third = pages.attach(3, "carol").await;
    /// assert!(matches!(third, Err(AttachError::Full(Limit::Queue))));
    /// first.leave();
    /// assert_eq!(second.await.unwrap().unwrap().key(), &2);
    /// # }
    /// ```
    pub fn queue(mut self, attaches: usize) -> Self {
        self.settings.queue = attaches;
        self
    }

    /// What becomes of an attach to a session that is closing; it waits otherwise.
    pub fn while_closing(mut self, while_closing: WhileClosing) -> Self {
        self.settings.while_closing = while_closing;
        self
    }

    /// Does not cull an idle session while it has tasks: it is looked at again when the next idle window is over, and after a second at
    /// least. It may still have to make room.
    pub fn keep_busy(mut self) -> Self {
        self.settings.keeps_busy = true;
        self
    }

    /// How a session is listed, by its key; `session` otherwise. Keys are secrets in many programs, and are listed nowhere.
    ///
    /// A panic in it fails the attach, with [`AttachError::Panicked`](crate::sessions::AttachError::Panicked).
    pub fn label<N: Into<Name>>(mut self, label: impl Fn(&K) -> N + Send + Sync + 'static) -> Self {
        self.label = Box::new(move |key| label(key).into());
        self
    }

    /// The init of a session: runs once for each generation, as a task of it with the name `open`, and attaches wait for it. It may
    /// register hooks and start tasks on the context, which is the generation's.
    ///
    /// An error or a panic reaches all that wait, and closes the session, for the reason
    /// [`Failed`](crate::CloseReason::Failed). Where nothing waits any more, it makes the close unclean. It is no failure that
    /// [`on_failure`](crate::ContextBuilder::on_failure) sees.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, sessions::AttachError};
    /// let server = Registry::new().context("server");
    /// let pages = server.sessions::<u64>("pages").on_open(async |_id, ctx| {
    ///     let bye = || async { println!("saved") };
    ///     ctx.on_close(bye).map_err(|_| "too late")?;
    ///     Err("the disk is full")
    /// });
    /// let pages = pages.open();
    /// let Err(AttachError::Init(error)) = pages.attach(7, "alice").await else { panic!() };
    /// assert_eq!(error.to_string(), "the disk is full");
    /// assert_eq!(pages.counts().total, 0);
    /// # }
    /// ```
    #[track_caller]
    pub fn on_open<F, Fut, E>(self, init: F) -> SessionsBuilder<'a, K>
    where
        F: Fn(K, WeakContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<InitFailed>,
    {
        let run: Box<InitFn<K>> = Box::new(move |key, context| {
            let init = init(key, context);
            async move { init.await.map(|()| None).map_err(Into::into) }.boxed()
        });
        let location = Location::caller();
        self.opened_by(Init { run, location })
    }

    /// As [`on_open`](Self::on_open), with a value: what the init returns is that of the session, until its generation closes.
    /// [`Lease::value`](crate::sessions::Lease::value) returns it. So a table that is kept beside this one, under the same keys, is not
    /// needed.
    ///
    /// The generation [owns](crate::Context::own) the value, and it is listed as such, with the name and the kind `value`. It is dropped
    /// in the close, with the hooks, latest first: before those that the init has registered, and after those that were registered
    /// when the session was open. After a [restart](crate::sessions::Sessions::restart) there is another one.
    ///
    /// Either this or `on_open` is the init of the table: the one that is called last.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, sessions::Sessions};
    /// use std::{io, sync::atomic::{AtomicUsize, Ordering}};
    ///
    /// #[derive(Default)]
    /// struct Room { said: AtomicUsize }
    ///
    /// let server = Registry::new().context("server");
    /// let rooms: Sessions<String, Room> = server
    ///     .sessions("rooms")
    ///     .init(async |_key: String, _ctx| Ok::<_, io::Error>(Room::default()))
    ///     .open();
    /// let lease = rooms.attach("lobby".to_owned(), "").await.unwrap();
    /// lease.value().unwrap().said.fetch_add(1, Ordering::Relaxed);
    /// # server.close().await;
    /// # }
    /// ```
    #[track_caller]
    pub fn init<F, Fut, W, E>(self, init: F) -> SessionsBuilder<'a, K, W>
    where
        F: Fn(K, WeakContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: Send + Sync + 'static,
        E: Into<InitFailed>,
    {
        let location = Location::caller();
        let run: Box<InitFn<K>> = Box::new(move |key, context: WeakContext| {
            let own = context.clone();
            let init = init(key, context);
            async move { keep(&own, init.await.map_err(Into::into)?, location) }.boxed()
        });
        self.opened_by(Init { run, location })
    }

    fn opened_by<W>(self, init: Init<K>) -> SessionsBuilder<'a, K, W> {
        SessionsBuilder {
            parent: self.parent,
            name: self.name,
            location: self.location,
            settings: self.settings,
            label: self.label,
            on_open: Some(init),
            value: PhantomData,
        }
    }

    /// Takes the idle window from `HEADCOUNT_CULL_TIMEOUT`, and the greatest number of sessions from `HEADCOUNT_MAX_SESSIONS`, where
    /// they are set: `24h`, `90s`, `1h 30m`; a bare number is seconds.
    ///
    /// # Errors
    ///
    /// [`EnvError`] if one has a value that means nothing.
    pub fn from_env(self) -> Result<Self, EnvError> {
        self.read_vars(|name| env::var_os(name))
    }

    /// The same from elsewhere.
    fn read_vars(mut self, var: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvError> {
        let text = |name| var(name).map(|value| unicode(name, value)).transpose();
        if let Some(value) = text(CULL_TIMEOUT)? {
            self.settings.idle =
                duration(&value).map_err(|problem| EnvError::new(CULL_TIMEOUT, &value, problem))?;
        }
        if let Some(value) = text(MAX_SESSIONS)? {
            let max = value.trim().parse();
            self.settings.max =
                max.map_err(|problem| EnvError::new(MAX_SESSIONS, &value, problem))?;
        }
        Ok(self)
    }

    /// Opens the table, as a context under its parent, of the kind `sessions`. If the parent is closing or closed, it is closed from
    /// the start.
    pub fn open(self) -> Sessions<K, V> {
        let Self {
            parent,
            name,
            location,
            settings,
            label,
            on_open,
            ..
        } = self;
        let context = ContextBuilder::new(parent, name, location).kind("sessions");
        let code = Code { label, on_open };
        Sessions::new(Shared::new(context.open(), settings, code))
    }
}

/// Gives the value of a generation to its context. A weak handle to it, for those who ask for the value.
fn keep<V: Send + Sync + 'static>(
    context: &WeakContext,
    value: V,
    location: &'static Location<'static>,
) -> Result<Option<Value>, InitFailed> {
    let (name, kind) = (Name::Borrowed("value"), Name::Borrowed("value"));
    let core = context.node().core.upgrade();
    let core = core.ok_or("the session is closed")?;
    let owned = own(&core, Facts::new(name, kind, location), value);
    let owned = owned.map_err(|_| "the session is closed")?;
    Ok(Some(Arc::new(owned.downgrade())))
}

fn unicode(name: &'static str, value: OsString) -> Result<String, EnvError> {
    let value = value.into_string();
    value.map_err(|value| EnvError::new(name, &value.to_string_lossy(), "it is not valid UTF-8"))
}

/// Seconds, or what a person writes.
fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    let text = text.trim();
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

impl<K, V> fmt::Debug for SessionsBuilder<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
