//! [`Session`]: one entry of the table.

use crate::{
    context::close_reason::CloseReason,
    events::{SessionChange, Told},
    sessions::{
        idle::Since,
        key::Key,
        places::{Claim, Place},
        signal::{LeaseSignal, Watch},
        status::{Facts, SessionState, Status},
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    panic::Location,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Lost leases of one session that are remembered. Beyond that the oldest are not waited for.
const AWAY: usize = 256;

/// A strong handle to a context, as far as the table is concerned.
pub(crate) trait Scope {
    /// What holds the context's inner state for a question that is asked without a lock.
    type Inner;
    /// Whether its close was not asked for.
    fn is_open(&self) -> bool;
    /// Whether it takes new work: it is open, and not finishing.
    fn takes_work(&self) -> bool;
    fn inner(&self) -> Self::Inner;
    /// Tells subscribers of its registry what happened to the session; no foreign code runs before what comes back is dropped.
    fn tell(&self, _: SessionChange) -> Told {
        Told::default()
    }
}

/// Where an entry is. It never means a later entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) index: usize,
    pub(crate) serial: u64,
}

/// When something is due, and a number that orders what is due at the same time.
pub(crate) type DueKey = (Instant, u64);

/// How far along a session is. What leases there are is another question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for a place.
    Queued,
    /// It has one, and the next one that waits for it builds it.
    Placed,
    /// It is being built, or its first init runs.
    Opening,
    Open,
    /// One generation closes, or the init of the next one runs.
    Restarting,
    Closing,
}

pub(crate) struct Session<K, C> {
    pub(crate) serial: u64,
    pub(crate) key: Key<K>,
    pub(crate) owner: Arc<[u8]>,
    /// The line that attached first.
    pub(crate) location: &'static Location<'static>,
    pub(crate) phase: Phase,
    pub(crate) place: Place,
    /// The number of the current generation, or while it restarts of the next one. 0 before the first.
    pub(crate) generation: u64,
    /// The handles that keep it open: its context's and that of its generation. `None` before it is built, and once it closes.
    pub(crate) outer: Option<C>,
    pub(crate) inner: Option<C>,
    pub(crate) leases: BTreeMap<u64, LeaseRecord>,
    pub(crate) devices: BTreeMap<Arc<str>, u64>,
    away: Away,
    /// Its key in the queue of idle sessions, if it is in there.
    pub(crate) idle: Option<Since>,
    /// When it is too old.
    pub(crate) expires: Option<DueKey>,
    /// Why it closes, for the one that builds it just now.
    pub(crate) reason: Option<CloseReason>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) status: Arc<Status>,
}

/// A lease that is in.
pub(crate) struct LeaseRecord {
    pub(crate) device: Option<Arc<str>>,
    pub(crate) signal: Arc<LeaseSignal>,
    pub(crate) heartbeat: Option<Heartbeat>,
}

#[derive(Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) limit: Duration,
    /// `None` if that is never.
    pub(crate) due: Option<DueKey>,
}

/// Leases that were lost and have not come back: since when, and which device.
#[derive(Default)]
struct Away(VecDeque<(Instant, Option<Arc<str>>)>);

impl Away {
    fn add(&mut self, now: Instant, device: Option<Arc<str>>) {
        if self.0.len() == AWAY {
            self.0.pop_front();
        }
        self.0.push_back((now, device));
    }

    /// One comes back: this device, or one without a name; the one that was lost last, as an earlier one may be too late already.
    fn back(&mut self, device: Option<&Arc<str>>) {
        let found = self.0.iter().rposition(|(_, away)| away.as_ref() == device);
        if let Some(found) = found {
            self.0.remove(found);
        }
    }

    /// Whether there are any that may still come back. One that was lost longer ago than the idle window is not waited for.
    fn any(&mut self, now: Instant, window: Duration) -> bool {
        let is_late = |since: Instant| since.checked_add(window).is_some_and(|due| due <= now);
        while self.0.front().is_some_and(|(since, _)| is_late(*since)) {
            self.0.pop_front();
        }
        !self.0.is_empty()
    }
}

impl<K, C: Scope> Session<K, C> {
    pub(crate) fn new(
        serial: u64,
        (key, owner): (Key<K>, Arc<[u8]>),
        window: Duration,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            serial,
            key,
            owner,
            location,
            phase: Phase::Queued,
            place: Place::None,
            generation: 0,
            outer: None,
            inner: None,
            leases: BTreeMap::new(),
            devices: BTreeMap::new(),
            away: Away::default(),
            idle: None,
            expires: None,
            reason: None,
            watch: Arc::new(Watch::new()),
            status: Arc::new(Status::new(window)),
        }
    }

    pub(crate) fn id(&self, index: usize) -> Id {
        let serial = self.serial;
        Id { index, serial }
    }

    pub(crate) fn claim(&self, index: usize) -> Claim<'_> {
        let (owner, serial) = (&self.owner, self.serial);
        Claim {
            owner,
            serial,
            index,
        }
    }

    /// Whether it has begun to close, whatever began that.
    pub(crate) fn is_closing(&self) -> bool {
        let is_shut =
            |context: &Option<C>| context.as_ref().is_some_and(|context| !context.is_open());
        match self.phase {
            Phase::Closing => true,
            // The old generation closes then.
            Phase::Restarting => is_shut(&self.outer),
            _ => is_shut(&self.outer) || is_shut(&self.inner),
        }
    }

    pub(crate) fn state(&self) -> SessionState {
        match self.phase {
            Phase::Queued => SessionState::Waiting,
            Phase::Placed | Phase::Opening => SessionState::Opening,
            Phase::Open if self.leases.is_empty() => SessionState::Idle,
            Phase::Open => SessionState::Held,
            Phase::Restarting => SessionState::Restarting,
            Phase::Closing => SessionState::Closing,
        }
    }

    /// The attaches that wait for a place.
    pub(crate) fn waiting_leases(&self) -> usize {
        match self.phase {
            Phase::Queued => self.leases.len(),
            _ => 0,
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            state: self.state(),
            leases: self.leases.len(),
            idle_since: self.idle.map(|(since, _)| since),
        }
    }

    /// A lease comes in. Returns the one of the same device that it takes over from.
    pub(crate) fn insert(&mut self, lease: u64, record: LeaseRecord) -> Option<LeaseRecord> {
        self.away.back(record.device.as_ref());
        let device = record.device.clone();
        let before = device.and_then(|device| self.devices.insert(device, lease));
        self.leases.insert(lease, record);
        self.leases.remove(&before?)
    }

    /// A lease goes out; `lost_at` if it may come back.
    pub(crate) fn remove(&mut self, lease: u64, lost_at: Option<Instant>) -> Option<LeaseRecord> {
        let record = self.leases.remove(&lease)?;
        if let Some(device) = &record.device {
            self.devices.remove(device);
        }
        if let Some(now) = lost_at {
            self.away.add(now, record.device.clone());
        }
        Some(record)
    }

    pub(crate) fn is_anyone_away(&mut self, now: Instant, window: Duration) -> bool {
        self.away.any(now, window)
    }

    /// Takes out all leases, when it closes.
    pub(crate) fn clear(&mut self) -> BTreeMap<u64, LeaseRecord> {
        self.devices.clear();
        self.away = Away::default();
        std::mem::take(&mut self.leases)
    }
}
