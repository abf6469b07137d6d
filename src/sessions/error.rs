//! [`AttachError`] and [`EnvError`].

use crate::name::Printed;
use std::{error::Error, fmt, sync::Arc};

/// Why an attach, a resume or a restart failed. Nothing was changed by it, except where an init failed: that closes the session.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::AttachError};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").max(1).open();
/// let _alice = pages.attach(1, "alice").await.unwrap();
/// assert!(matches!(pages.attach(1, "bob").await, Err(AttachError::WrongOwner)));
/// assert!(matches!(pages.attach(2, "bob").await, Err(AttachError::Full(_))));
/// assert!(matches!(pages.resume(&2, "bob").await, Err(AttachError::NotFound)));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// The table is closed, or closing; or the session is closing, and attaches are to be
    /// [refused](crate::sessions::WhileClosing::Refuse) then, or it was called from inside the session.
    Closed,
    /// There is no session with this key.
    NotFound,
    /// The session belongs to another owner.
    WrongOwner,
    /// There are as many sessions as there may be; or, where attaches [wait](crate::sessions::Overflow::Wait) then, as many of those.
    Full(Limit),
    /// No place became free in the time of [`Overflow::Wait`](crate::sessions::Overflow::Wait).
    TimedOut,
    /// The hook [`on_open`](crate::sessions::SessionsBuilder::on_open) returned this error, which all that waited for it share, or
    /// could not run to its end.
    Init(Arc<dyn Error + Send + Sync>),
    /// That hook panicked, with this message, or the function that makes labels did.
    Panicked(String),
}

/// The limit that was reached.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::{AttachError, Limit}};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").max(100).max_per_owner(1).open();
/// let _first = pages.attach(1, "alice").await.unwrap();
/// assert!(matches!(pages.attach(2, "alice").await, Err(AttachError::Full(Limit::PerOwner))));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// That of all sessions: [`max`](crate::sessions::SessionsBuilder::max).
    Total,
    /// That of the owner: [`max_per_owner`](crate::sessions::SessionsBuilder::max_per_owner).
    PerOwner,
    /// That of the attaches that wait for a place: [`queue`](crate::sessions::SessionsBuilder::queue).
    Queue,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => {
                f.write_str("the table of sessions, or the session, is closing or closed")
            }
            Self::NotFound => f.write_str("there is no such session"),
            Self::WrongOwner => f.write_str("the session belongs to another owner"),
            Self::Full(Limit::Total) => f.write_str("there are as many sessions as there may be"),
            Self::Full(Limit::PerOwner) => {
                f.write_str("the owner has as many sessions as one owner may have")
            }
            Self::Full(Limit::Queue) => {
                f.write_str("there are as many sessions as there may be, and as many attaches wait for a place as may")
            }
            Self::TimedOut => f.write_str("no place for the session became free in time"),
            Self::Init(_) => f.write_str("the session could not be opened"),
            Self::Panicked(message) => {
                write!(
                    f,
                    "the session could not be opened: a panic: {}",
                    Printed(message)
                )
            }
        }
    }
}

impl Error for AttachError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Init(error) => Some(&**error),
            _ => None,
        }
    }
}

/// A variable of the environment has a value that means nothing.
///
/// ```
/// let server = headcount::Registry::new().context("server");
/// match server.sessions::<u64>("pages").from_env() {
///     Ok(pages) => drop(pages.open()),
///     // With `HEADCOUNT_CULL_TIMEOUT=soon` in the environment, for example.
///     Err(error) => eprintln!("{}: what is {:?}?", error.variable(), error.value()),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvError {
    variable: &'static str,
    value: String,
    problem: String,
}

impl EnvError {
    pub(crate) fn new(variable: &'static str, value: &str, problem: impl fmt::Display) -> Self {
        Self {
            variable,
            value: value.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// The name of the variable.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            variable,
            value,
            problem,
        } = self;
        write!(
            f,
            "{variable} is \"{}\": {}",
            Printed(value),
            Printed(problem)
        )
    }
}

impl Error for EnvError {}
