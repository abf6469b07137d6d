//! [`Table`]: what is decided about sessions, each decision one step under one lock.
//!
//! The table runs nothing and calls nothing, except `Eq` of keys whose hashes are the same: what follows from a decision comes back as
//! [`Effects`], which are applied when the lock is free again (I9). So "no lease, and due" and "from here on it closes" are one step:
//! an attach comes before it, and cancels the cull, or after it, and finds a session that closes.
//!
//! A context may begin to close by itself at any time. The table is told of that, and until then sees it when it looks.

use crate::{
    context::close_reason::CloseReason,
    events::{SessionChange, Told},
    sessions::{
        idle::IdleQueue,
        key::{Hashed, Key, PreHashed},
        places::{Place, Places},
        session::{DueKey, Heartbeat, Id, LeaseRecord, Phase, Scope, Session},
        settings::{Overflow, Settings},
        signal::{LeaseSignal, Loss, Watch},
        status::{SessionCounts, SessionState},
    },
};
use slab::Slab;
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

pub(crate) struct Table<K, C: Scope> {
    pub(crate) settings: Settings,
    /// The context of the table, until that closes.
    pub(crate) root: Option<C>,
    pub(crate) is_closed: bool,
    pub(crate) sessions: Slab<Session<K, C>>,
    /// Of each key the latest session.
    pub(crate) by_key: HashMap<Key<K>, usize, PreHashed>,
    pub(crate) places: Places,
    pub(crate) idle: IdleQueue,
    pub(crate) due: BTreeMap<DueKey, Due>,
    pub(crate) counts: SessionCounts,
    pub(crate) timer: Timer,
    pub(crate) next: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Due {
    Expiry(usize),
    Heartbeat(usize, u64),
}

/// What the one timer is doing.
#[derive(Clone, Copy)]
pub(crate) enum Timer {
    Off,
    Sleeping(Instant),
    Looking,
}

/// What the timer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerChange {
    Start,
    Wake,
}

/// What is to be done, in this order, when the lock is free.
pub(crate) struct Effects<K, C> {
    pub(crate) close: Vec<(C, CloseReason)>,
    /// Handles to let go of.
    pub(crate) handles: Vec<C>,
    pub(crate) lost: Vec<Arc<LeaseSignal>>,
    pub(crate) changed: Vec<Arc<Watch>>,
    /// To be dropped.
    pub(crate) keys: Vec<Key<K>>,
    pub(crate) ended: Vec<Session<K, C>>,
    pub(crate) timer: Option<TimerChange>,
    /// Subscribers to events.
    pub(crate) wakes: Told,
}

impl<K, C> Default for Effects<K, C> {
    fn default() -> Self {
        Self {
            close: Vec::new(),
            handles: Vec::new(),
            lost: Vec::new(),
            changed: Vec::new(),
            keys: Vec::new(),
            ended: Vec::new(),
            timer: None,
            wakes: Told::default(),
        }
    }
}

pub(crate) type Fx<K, C> = Effects<K, C>;

impl<K: Eq + 'static, C: Scope> Table<K, C> {
    pub(crate) fn new(settings: Settings, root: Option<C>) -> Self {
        let by_owner =
            settings.overflow == Overflow::EvictIdle && settings.max_per_owner != usize::MAX;
        Self {
            places: Places::new(settings.max, settings.max_per_owner),
            idle: IdleQueue::new(by_owner),
            is_closed: root.is_none(),
            root,
            settings,
            sessions: Slab::new(),
            by_key: HashMap::default(),
            due: BTreeMap::new(),
            counts: SessionCounts::default(),
            timer: Timer::Off,
            next: 0,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn find(&self, id: Id) -> Option<usize> {
        let session = self.sessions.get(id.index)?;
        (session.serial == id.serial).then_some(id.index)
    }

    pub(crate) fn of_key(&self, key: &dyn Hashed<K>) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Changes an entry, and keeps the counts right.
    pub(crate) fn change<R>(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut Session<K, C>) -> R,
    ) -> R {
        let session = &mut self.sessions[index];
        *self.counts.of(session.state()) -= 1;
        self.counts.leases -= session.leases.len();
        self.counts.waiting_leases -= session.waiting_leases();
        let changed = change(session);
        *self.counts.of(session.state()) += 1;
        self.counts.leases += session.leases.len();
        self.counts.waiting_leases += session.waiting_leases();
        session.status.set(session.facts());
        changed
    }

    /// Tells subscribers what happened to a session, once it has a context.
    pub(crate) fn tell(&self, index: usize, change: SessionChange, fx: &mut Fx<K, C>) {
        if let Some(outer) = &self.sessions[index].outer {
            fx.wakes = mem::take(&mut fx.wakes).and(outer.tell(change));
        }
    }

    pub(crate) fn has(&self, id: Id) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn due_in(&mut self, limit: Duration, now: Instant) -> Option<DueKey> {
        let due = now.checked_add(limit).filter(|_| !self.is_closed)?;
        Some((due, self.next()))
    }

    /// The last lease was lost.
    pub(crate) fn start_idling(&mut self, index: usize, now: Instant, fx: &mut Fx<K, C>) {
        if self.settings.idle.is_zero() && !self.settings.keeps_busy {
            return self.begin_close(index, CloseReason::Culled, fx);
        }
        self.idle_from(index, now);
        self.tell(index, SessionChange::Idle, fx);
        if self.idle.len() > self.settings.max_idle {
            let longest = self.idle.first().map(|(_, index)| index);
            if let Some(longest) = longest {
                self.begin_close(longest, CloseReason::Evicted, fx);
            }
        }
    }

    pub(crate) fn idle_from(&mut self, index: usize, from: Instant) {
        let since = (from, self.next());
        if !self.is_closed {
            self.idle.insert(since, &self.sessions[index].owner, index);
        }
        self.change(index, |session| session.idle = Some(since));
    }

    pub(crate) fn stop_idling(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if let Some(since) = session.idle.take() {
            self.idle.remove(since, &session.owner);
        }
    }

    pub(crate) fn restart_window(&mut self, index: usize, from: Instant) -> bool {
        let is_idle = self.sessions[index].idle.is_some();
        if is_idle {
            self.stop_idling(index);
            self.idle_from(index, from);
        }
        is_idle
    }

    pub(crate) fn forget_heartbeat(&mut self, record: &LeaseRecord) {
        if let Some(Heartbeat { due: Some(due), .. }) = record.heartbeat {
            self.due.remove(&due);
        }
    }

    /// From here on it closes; the rest follows when the lock is free.
    pub(crate) fn begin_close(&mut self, index: usize, reason: CloseReason, fx: &mut Fx<K, C>) {
        if self.sessions[index].phase == Phase::Closing {
            return;
        }
        self.stop_idling(index);
        if let Some(expires) = self.sessions[index].expires.take() {
            self.due.remove(&expires);
        }
        let leases = self.change(index, |session| {
            session.phase = Phase::Closing;
            session.clear()
        });
        for record in leases.into_values() {
            self.forget_heartbeat(&record);
            record.signal.set(Loss::Closed(reason.clone()));
            fx.lost.push(record.signal);
        }
        let session = &mut self.sessions[index];
        self.places.closing(&session.owner);
        fx.changed.push(Arc::clone(&session.watch));
        fx.handles.extend(session.inner.take());
        match session.outer.take() {
            Some(outer) => fx.close.push((outer, reason)),
            None => session.reason = Some(reason),
        }
    }

    /// Takes an entry out. The one of its key stays, if that is a newer session.
    pub(crate) fn remove(&mut self, index: usize, now: Instant, fx: &mut Fx<K, C>) {
        self.stop_idling(index);
        if let Some(expires) = self.sessions[index].expires.take() {
            self.due.remove(&expires);
        }
        let leases = self.change(index, Session::clear);
        for record in leases.into_values() {
            self.forget_heartbeat(&record);
            record.signal.set(Loss::Closed(CloseReason::Evicted));
            fx.lost.push(record.signal);
        }
        let session = self.sessions.remove(index);
        *self.counts.of(session.state()) -= 1;
        if self.by_key.get(&session.key) == Some(&index) {
            let entry = self.by_key.remove_entry(&session.key);
            fx.keys.extend(entry.map(|(key, _)| key));
        }
        let was_closing = session.phase == Phase::Closing;
        let granted = self
            .places
            .free(session.claim(index), session.place, was_closing);
        for (index, place) in granted {
            self.set_place(index, place, now);
            fx.changed.push(Arc::clone(&self.sessions[index].watch));
        }
        fx.changed.push(Arc::clone(&session.watch));
        fx.ended.push(session);
        self.shrink();
    }

    /// Gives memory back after a burst (I6).
    fn shrink(&mut self) {
        if self.by_key.capacity() > 64 && self.by_key.len() * 8 < self.by_key.capacity() {
            self.by_key.shrink_to(self.by_key.len() * 2);
            self.sessions.shrink_to_fit();
        }
    }

    /// The context of a session closes: from here on it does so here as well.
    pub(crate) fn closing(&mut self, id: Id, reason: &CloseReason, fx: &mut Fx<K, C>) {
        if let Some(index) = self.find(id) {
            self.begin_close(index, reason.clone(), fx);
        }
    }

    /// A generation closes, and not because it is restarted: its session closes with it.
    pub(crate) fn generation_closing(
        &mut self,
        id: Id,
        generation: u64,
        reason: &CloseReason,
        fx: &mut Fx<K, C>,
    ) {
        let index = self.find(id);
        let Some(index) = index.filter(|index| self.sessions[*index].generation == generation)
        else {
            return;
        };
        self.begin_close(index, reason.clone(), fx);
    }

    /// Nothing is left of a session, which closed for this reason.
    pub(crate) fn ended(&mut self, id: Id, reason: &CloseReason, now: Instant, fx: &mut Fx<K, C>) {
        if let Some(index) = self.find(id) {
            // If it was not told of the beginning.
            self.begin_close(index, reason.clone(), fx);
            self.remove(index, now, fx);
        }
    }

    /// The table closes, and with it all that is in it.
    pub(crate) fn close(&mut self, now: Instant, fx: &mut Fx<K, C>) {
        self.is_closed = true;
        self.idle.clear();
        self.due.clear();
        fx.handles.extend(self.root.take());
        let mut waiting = Vec::new();
        for (index, session) in &self.sessions {
            if matches!(session.phase, Phase::Queued | Phase::Placed) {
                waiting.push(session.id(index));
            }
        }
        for id in waiting {
            // One that has left gives its place to the next one.
            if let Some(index) = self.find(id) {
                self.remove(index, now, fx);
            }
        }
        if matches!(self.timer, Timer::Sleeping(_)) {
            fx.timer = Some(TimerChange::Wake);
        }
    }

    pub(crate) fn evict(
        &mut self,
        key: &dyn Hashed<K>,
        reason: CloseReason,
        fx: &mut Fx<K, C>,
    ) -> bool {
        let index = self.of_key(key);
        let can_close = |index: &usize| {
            let session = &self.sessions[*index];
            !session.is_closing() && !matches!(session.phase, Phase::Queued | Phase::Placed)
        };
        let Some(index) = index.filter(can_close) else {
            return false;
        };
        self.begin_close(index, reason, fx);
        true
    }

    pub(crate) fn shed(&mut self, most: usize, fx: &mut Fx<K, C>) -> usize {
        let mut shed = 0;
        while shed < most {
            let Some((_, index)) = self.idle.first() else {
                break;
            };
            self.begin_close(index, CloseReason::Evicted, fx);
            shed += 1;
        }
        shed
    }

    pub(crate) fn set_place(&mut self, index: usize, place: Place, now: Instant) {
        self.sessions[index].place = place;
        if place != Place::Whole {
            return;
        }
        self.change(index, |session| session.phase = Phase::Placed);
        let due = self.due_in(self.settings.max_age, now);
        if let Some(due) = due {
            self.due.insert(due, Due::Expiry(index));
        }
        self.sessions[index].expires = due;
    }

    pub(crate) fn counts(&self) -> SessionCounts {
        let total = self.places.taken();
        SessionCounts {
            total,
            ..self.counts
        }
    }

    /// State, leases and signals of the session with this key.
    pub(crate) fn get(&self, key: &dyn Hashed<K>) -> Option<(SessionState, usize, Arc<Watch>)> {
        let session = &self.sessions[self.of_key(key)?];
        let state = if session.is_closing() {
            SessionState::Closing
        } else {
            session.state()
        };
        Some((state, session.leases.len(), Arc::clone(&session.watch)))
    }
}
