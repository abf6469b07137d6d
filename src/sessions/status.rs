//! How sessions are doing, as facts: what listings show, and counts.

use crate::{
    clock::{self, human},
    sync::{Mutex, lock},
    table::record::Detail,
};
use std::time::Duration;
use tokio::time::Instant;

/// How far along a session is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::SessionState};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let lease = pages.attach(7, "alice").await.unwrap();
/// assert_eq!(pages.get(&7).unwrap().state(), SessionState::Held);
/// drop(lease);
/// assert_eq!(pages.get(&7).unwrap().state(), SessionState::Idle);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// It waits for a place: see [`Overflow`](crate::sessions::Overflow).
    Waiting,
    /// It is opened, and its init runs.
    Opening,
    /// It is open, and there are leases.
    Held,
    /// It is open, and there is no lease.
    Idle,
    /// One generation closes, and the next one is opened. With or without leases.
    Restarting,
    /// It closes. There are no leases any more.
    Closing,
}

/// How many sessions there are, by state. Made by [`Sessions::counts`](crate::sessions::Sessions::counts).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = headcount::Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let _held = pages.attach(1, "alice").await.unwrap();
/// drop(pages.attach(2, "bob").await.unwrap());
/// let counts = pages.counts();
/// assert_eq!((counts.total, counts.held, counts.idle, counts.leases), (2, 1, 1, 1));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCounts {
    /// Those that have a place, the closing ones included: what [`max`](crate::sessions::SessionsBuilder::max) limits.
    pub total: usize,
    /// Those that wait for a place.
    pub waiting: usize,
    /// The attaches that wait with those: what [`queue`](crate::sessions::SessionsBuilder::queue) limits. They count as leases.
    pub waiting_leases: usize,
    /// Those that are opened for the first time.
    pub opening: usize,
    /// Those that are open and held.
    pub held: usize,
    /// Those that are open and not held.
    pub idle: usize,
    /// Those that are restarting, held or not.
    pub restarting: usize,
    /// Those that are closing.
    pub closing: usize,
    /// All leases that are in.
    pub leases: usize,
}

impl SessionCounts {
    pub(crate) fn of(&mut self, state: SessionState) -> &mut usize {
        match state {
            SessionState::Waiting => &mut self.waiting,
            SessionState::Opening => &mut self.opening,
            SessionState::Held => &mut self.held,
            SessionState::Idle => &mut self.idle,
            SessionState::Restarting => &mut self.restarting,
            SessionState::Closing => &mut self.closing,
        }
    }
}

/// The facts of a table, which its node shows in listings. A listing that keeps them keeps nothing else.
pub(crate) struct TableStatus {
    max: usize,
    /// How many sessions have a place, and how many attaches wait for one.
    now: Mutex<(usize, usize)>,
}

impl TableStatus {
    pub(crate) fn new(max: usize) -> Self {
        let now = Mutex::new((0, 0));
        Self { max, now }
    }

    pub(crate) fn set(&self, counts: &SessionCounts) {
        *lock(&self.now) = (counts.total, counts.waiting_leases);
    }
}

/// `400 of 400 sessions, 3 waiting`
impl Detail for TableStatus {
    fn text(&self) -> Option<String> {
        let (total, waiting) = *lock(&self.now);
        let sessions = (self.max < usize::MAX).then(|| format!("{total} of {} sessions", self.max));
        let waiting = (waiting > 0).then(|| format!("{waiting} waiting"));
        let parts: Vec<_> = sessions.into_iter().chain(waiting).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The facts of one session, which its node shows in listings. A listing that keeps them keeps nothing else.
pub(crate) struct Status {
    window: Duration,
    now: Mutex<Facts>,
}

#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) state: SessionState,
    pub(crate) leases: usize,
    /// Since when it is idle: its last loss or touch.
    pub(crate) idle_since: Option<Instant>,
}

impl Status {
    pub(crate) fn new(window: Duration) -> Self {
        let now = Facts {
            state: SessionState::Waiting,
            leases: 0,
            idle_since: None,
        };
        Self {
            window,
            now: Mutex::new(now),
        }
    }

    pub(crate) fn set(&self, facts: Facts) {
        *lock(&self.now) = facts;
    }

    /// `idle for 3.0s, culled in 27.0s`
    fn idle(&self, since: Instant) -> String {
        let now = clock::now();
        let idle = human(now.saturating_duration_since(since));
        match since.checked_add(self.window) {
            Some(due) => {
                let left = human(due.saturating_duration_since(now));
                format!("idle for {idle}, culled in {left}")
            }
            None => format!("idle for {idle}"),
        }
    }
}

impl Detail for Status {
    fn text(&self) -> Option<String> {
        let Facts {
            state,
            leases,
            idle_since,
        } = *lock(&self.now);
        Some(match state {
            SessionState::Held => format!("held by {leases}"),
            SessionState::Idle => self.idle(idle_since?),
            SessionState::Opening => "opening".to_owned(),
            SessionState::Restarting => "restarting".to_owned(),
            // The state of the context says so.
            SessionState::Waiting | SessionState::Closing => return None,
        })
    }
}
