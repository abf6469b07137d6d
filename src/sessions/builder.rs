//! Opening a table of sessions.

use crate::{
    context::{builder::ContextBuilder, context::Context, state::Core, weak::WeakContext},
    name::{Label, Name, label},
    sessions::{
        error::EnvError,
        sessions::Sessions,
        settings::{Overflow, Settings, WhileClosing},
        shared::{Code, Init, InitFailed, InitFn, LabelFn, Shared},
    },
};
use futures::FutureExt;
use std::{env, ffi::OsString, fmt, hash::Hash, panic::Location, sync::Arc, time::Duration};

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
pub struct SessionsBuilder<'a, K> {
    parent: &'a Arc<Core>,
    name: Label,
    location: &'static Location<'static>,
    settings: Settings,
    label: Box<LabelFn<K>>,
    on_open: Option<Init<K>>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> SessionsBuilder<'_, K> {
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
    pub fn on_open<F, Fut, E>(mut self, init: F) -> Self
    where
        F: Fn(K, WeakContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<InitFailed>,
    {
        let run: Box<InitFn<K>> = Box::new(move |key, context| {
            let init = init(key, context);
            async move { init.await.map_err(Into::into) }.boxed()
        });
        let location = Location::caller();
        self.on_open = Some(Init { run, location });
        self
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
    pub fn open(self) -> Sessions<K> {
        let Self {
            parent,
            name,
            location,
            settings,
            label,
            on_open,
        } = self;
        let context = ContextBuilder::new(parent, name, location).kind("sessions");
        let code = Code { label, on_open };
        Sessions::new(Shared::new(context.open(), settings, code))
    }
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

impl<K> fmt::Debug for SessionsBuilder<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
