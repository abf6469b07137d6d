//! [`SessionChange`]: what happened to a session.

use std::fmt;

/// What happened to a session. That it closes, and why, is said by the event [`Closing`](crate::events::What::Closing) of its context:
/// culled, evicted, expired, left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, events::{SessionChange, What}};
/// let registry = Registry::new();
/// let server = registry.context("server");
/// let sessions = server.sessions::<u32>("sessions").open();
/// let mut events = registry.events();
/// drop(sessions.attach(7, b"ann").await.unwrap());
///
/// let mut changes = Vec::new();
/// while let Some(Ok(event)) = events.try_next() {
///     if let What::Session(change) = event.what() {
///         changes.push(*change);
///     }
/// }
/// use SessionChange::{Attached, Idle, Lost};
/// assert_eq!(changes, [Attached, Lost, Idle]);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SessionChange {
    /// A client came in, as the first of the session.
    Attached,
    /// A client came in to a session that was there.
    Resumed,
    /// A client was lost.
    Lost,
    /// A client was silent for longer than its heartbeat allows.
    Silent,
    /// A client has left on purpose.
    Left,
    /// A newer client of the same name took over.
    TakenOver,
    /// No client is in any more: the idle window runs.
    Idle,
    /// One generation closes, and the next one is opened.
    Restarting,
    /// The next generation is open.
    Restarted,
}

impl SessionChange {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Resumed => "resumed",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Left => "left",
            Self::TakenOver => "taken_over",
            Self::Idle => "idle",
            Self::Restarting => "restarting",
            Self::Restarted => "restarted",
        }
    }
}

impl fmt::Display for SessionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TakenOver => "taken over",
            other => other.name(),
        })
    }
}
