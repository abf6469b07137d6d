//! How a client comes in: to a session that is there, or one that is to be opened.

use crate::{
    context::close_reason::CloseReason,
    events::SessionChange,
    sessions::{
        error::{AttachError, Limit},
        key::Key,
        session::{Id, LeaseRecord, Phase, Scope, Session},
        settings::{Overflow, WhileClosing},
        signal::{LeaseSignal, Loss, Watch},
        status::SessionState,
        table::{Fx, Table},
    },
};
use std::{panic::Location, sync::Arc};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Who wants to attach to what.
pub(crate) struct Request<K> {
    pub(crate) key: Key<K>,
    pub(crate) owner: Arc<[u8]>,
    pub(crate) device: Option<Arc<str>>,
    /// Whether a session that is not there is opened.
    pub(crate) opens: bool,
    pub(crate) location: &'static Location<'static>,
}

pub(crate) enum Attach {
    In(Ticket),
    /// It closes, and its end is to be awaited.
    Closing(Id, Arc<Watch>),
    Refused(AttachError),
}

/// A lease that came in.
pub(crate) struct Ticket {
    pub(crate) id: Id,
    pub(crate) lease: u64,
    pub(crate) is_new: bool,
    pub(crate) signal: Arc<LeaseSignal>,
    pub(crate) watch: Arc<Watch>,
}

/// How far a session is, for one who waits for it.
pub(crate) enum Progress<K> {
    Open,
    /// It has a place, and the one who asks is to build it.
    Build(Key<K>, &'static Location<'static>),
    Queued,
    Wait,
    Ended,
}

impl<K: Eq + 'static, C: Scope> Table<K, C> {
    pub(crate) fn attach(
        &mut self,
        request: &Request<K>,
        now: Instant,
        fx: &mut Fx<K, C>,
    ) -> Attach {
        if self.is_closed {
            return Attach::Refused(AttachError::Closed);
        }
        let Some(index) = self.of_key(&request.key) else {
            return self.open(request, now, fx);
        };
        let session = &self.sessions[index];
        if session.is_closing() {
            if !request.opens {
                return Attach::Refused(AttachError::NotFound);
            }
            return match self.settings.while_closing {
                WhileClosing::Wait => {
                    Attach::Closing(session.id(index), Arc::clone(&session.watch))
                }
                WhileClosing::Overlap => self.open(request, now, fx),
                WhileClosing::Refuse => Attach::Refused(AttachError::Closed),
            };
        }
        // In a time that depends on the lengths alone.
        if !bool::from(session.owner.ct_eq(&request.owner)) {
            return Attach::Refused(AttachError::WrongOwner);
        }
        if self.is_too_many(index, request.device.as_ref()) {
            return Attach::Refused(AttachError::Full(Limit::Queue));
        }
        Attach::In(self.let_in(index, request.device.clone(), false, fx))
    }

    /// Whether one that joins a session which waits for a place would be one too many in the queue. One that takes over from another
    /// lease has the place of that.
    fn is_too_many(&self, index: usize, device: Option<&Arc<str>>) -> bool {
        let session = &self.sessions[index];
        let takes_over = device.is_some_and(|device| session.devices.contains_key(device));
        session.phase == Phase::Queued && !takes_over && self.is_queue_full()
    }

    fn is_queue_full(&self) -> bool {
        let waits = matches!(self.settings.overflow, Overflow::Wait(_));
        waits && self.counts.waiting_leases >= self.settings.queue
    }

    /// A new session, or one that waits for a place.
    fn open(&mut self, request: &Request<K>, now: Instant, fx: &mut Fx<K, C>) -> Attach {
        if !request.opens {
            return Attach::Refused(AttachError::NotFound);
        }
        if let Err(limit) = self.make_room(&request.owner, fx) {
            return Attach::Refused(AttachError::Full(limit));
        }
        // First, because `Eq` may panic; the map keeps the key that it has of a session that closes.
        let index = self.sessions.vacant_key();
        let stale = self.by_key.remove_entry(&request.key);
        fx.keys.extend(stale.map(|(key, _)| key));
        self.by_key.insert(request.key.clone(), index);
        let serial = self.next();
        let named = (request.key.clone(), Arc::clone(&request.owner));
        let session = Session::new(serial, named, self.settings.idle, request.location);
        self.sessions.insert(session);
        *self.counts.of(SessionState::Waiting) += 1;
        let place = self.places.take(self.sessions[index].claim(index));
        self.set_place(index, place, now);
        Attach::In(self.let_in(index, request.device.clone(), true, fx))
    }

    /// Whether a new session may be opened, or may wait for a place.
    fn make_room(&mut self, owner: &[u8], fx: &mut Fx<K, C>) -> Result<(), Limit> {
        let Some(limit) = self.places.full(owner) else {
            return Ok(());
        };
        match self.settings.overflow {
            Overflow::Reject => Err(limit),
            Overflow::Wait(_) if self.is_queue_full() => Err(Limit::Queue),
            Overflow::Wait(_) => Ok(()),
            Overflow::EvictIdle if self.places.has_spare(limit, owner) => Ok(()),
            Overflow::EvictIdle => {
                let victim = if limit == Limit::PerOwner {
                    self.idle.first_of(owner)
                } else {
                    self.idle.first().map(|(_, index)| index)
                };
                self.begin_close(victim.ok_or(limit)?, CloseReason::Evicted, fx);
                Ok(())
            }
        }
    }

    /// A lease comes in, and takes over from the one of the same device.
    fn let_in(
        &mut self,
        index: usize,
        device: Option<Arc<str>>,
        is_new: bool,
        fx: &mut Fx<K, C>,
    ) -> Ticket {
        let (lease, signal) = (self.next(), Arc::new(LeaseSignal::new()));
        let record = LeaseRecord {
            device,
            signal: Arc::clone(&signal),
            heartbeat: None,
        };
        self.stop_idling(index);
        let before = self.change(index, |session| session.insert(lease, record));
        if let Some(before) = before {
            self.forget_heartbeat(&before);
            before.signal.set(Loss::TakenOver);
            fx.lost.push(before.signal);
            self.tell(index, SessionChange::TakenOver, fx);
        }
        if !is_new {
            self.tell(index, SessionChange::Resumed, fx);
        }
        let session = &self.sessions[index];
        Ticket {
            id: session.id(index),
            lease,
            is_new,
            signal,
            watch: Arc::clone(&session.watch),
        }
    }

    pub(crate) fn progress(&mut self, id: Id) -> Progress<K> {
        let Some(index) = self.find(id) else {
            return Progress::Ended;
        };
        match self.sessions[index].phase {
            Phase::Queued => Progress::Queued,
            Phase::Placed => {
                self.change(index, |session| session.phase = Phase::Opening);
                let session = &self.sessions[index];
                Progress::Build(session.key.clone(), session.location)
            }
            Phase::Opening | Phase::Restarting => Progress::Wait,
            Phase::Open => Progress::Open,
            Phase::Closing => Progress::Ended,
        }
    }
}
