//! How a table of sessions is to behave.

use std::time::Duration;

/// What becomes of an attach that opens a session where there are as many as there may be. A session that is held is never closed
/// for it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::Overflow};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").max(1).overflow(Overflow::EvictIdle).open();
/// drop(pages.attach(1, "alice").await.unwrap()); // idle from here on
/// pages.attach(2, "bob").await.unwrap();
/// assert!(pages.get(&1).is_none());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It fails with [`AttachError::Full`](crate::sessions::AttachError::Full).
    #[default]
    Reject,
    /// It waits for so long, first come, first served; then it fails with
    /// [`AttachError::TimedOut`](crate::sessions::AttachError::TimedOut). How many may wait is said by
    /// [`queue`](crate::sessions::SessionsBuilder::queue).
    Wait(Duration),
    /// The session that has been idle for longest is closed, for the reason [`Evicted`](crate::CloseReason::Evicted), and the
    /// attach waits for its end. Where all are held it fails as with `Reject`.
    EvictIdle,
}

/// What becomes of an attach to a session that is closing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::{AttachError, WhileClosing}};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").while_closing(WhileClosing::Refuse).open();
/// let lease = pages.attach(7, "alice").await.unwrap();
/// lease.context().on_close(async || tokio::task::yield_now().await).unwrap();
/// lease.leave(); // the session closes
/// assert!(matches!(pages.attach(7, "alice").await, Err(AttachError::Closed)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhileClosing {
    /// It waits until nothing is left of that one, then opens the next: two sessions of one key are never alive together.
    #[default]
    Wait,
    /// It opens the next one at once. The one that closes counts until its end.
    Overlap,
    /// It fails with [`AttachError::Closed`](crate::sessions::AttachError::Closed).
    Refuse,
}

/// The settings that decisions depend on.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) idle: Duration,
    pub(crate) max_age: Duration,
    pub(crate) max: usize,
    pub(crate) max_idle: usize,
    pub(crate) max_per_owner: usize,
    pub(crate) overflow: Overflow,
    /// How many attaches may wait for a place, with [`Overflow::Wait`].
    pub(crate) queue: usize,
    pub(crate) while_closing: WhileClosing,
    /// Whether an idle session that has tasks is kept.
    pub(crate) keeps_busy: bool,
}

/// For how long a client may be cut off, unless told.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many attaches may wait for a place, unless told.
const QUEUE: usize = 1_024;

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: DAY,
            max_age: Duration::MAX,
            max: usize::MAX,
            max_idle: usize::MAX,
            max_per_owner: usize::MAX,
            overflow: Overflow::default(),
            queue: QUEUE,
            while_closing: WhileClosing::default(),
            keeps_busy: false,
        }
    }
}
