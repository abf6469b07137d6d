//! How a client goes, and how it shows that it has not.

use crate::{
    context::close_reason::CloseReason,
    events::SessionChange,
    sessions::{
        key::Hashed,
        session::{Heartbeat, Id, Phase, Scope},
        signal::Loss,
        table::{Due, Fx, Table},
    },
};
use std::time::Duration;
use tokio::time::Instant;

/// Why a lease goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    Lost,
    Silent,
    Left,
}

impl<K: Eq + 'static, C: Scope> Table<K, C> {
    pub(crate) fn go(&mut self, id: Id, lease: u64, going: Going, now: Instant, fx: &mut Fx<K, C>) {
        let Some(index) = self.find(id) else {
            return;
        };
        let lost_at = (going != Going::Left).then_some(now);
        let Some(record) = self.change(index, |session| session.remove(lease, lost_at)) else {
            return;
        };
        self.forget_heartbeat(&record);
        record.signal.set(match going {
            Going::Silent => Loss::Silent,
            Going::Lost | Going::Left => Loss::Dropped,
        });
        fx.lost.push(record.signal);
        let change = match going {
            Going::Silent => SessionChange::Silent,
            Going::Lost => SessionChange::Lost,
            Going::Left => SessionChange::Left,
        };
        self.tell(index, change, fx);
        let session = &mut self.sessions[index];
        if !session.leases.is_empty() || session.phase == Phase::Closing {
            return;
        }
        if matches!(session.phase, Phase::Queued | Phase::Placed) {
            // No lease is left that it could be there for.
            return self.remove(index, now, fx);
        }
        if going == Going::Left && !session.is_anyone_away(now, self.settings.idle) {
            self.begin_close(index, CloseReason::Left, fx);
        } else {
            self.start_idling(index, now, fx);
        }
    }

    /// From here on the lease is to say again and again that it is there.
    pub(crate) fn heartbeat(
        &mut self,
        id: Id,
        lease: u64,
        limit: Duration,
        now: Instant,
        fx: &mut Fx<K, C>,
    ) {
        let Some(index) = self.find(id) else {
            return;
        };
        let Some(record) = self.sessions[index].leases.get(&lease) else {
            return;
        };
        if let Some(Heartbeat { due: Some(due), .. }) = record.heartbeat {
            self.due.remove(&due);
        }
        if limit.is_zero() {
            return self.go(id, lease, Going::Silent, now, fx);
        }
        let due = self.due_in(limit, now);
        if let Some(due) = due {
            self.due.insert(due, Due::Heartbeat(index, lease));
        }
        let record = self.sessions[index].leases.get_mut(&lease);
        if let Some(record) = record {
            record.heartbeat = Some(Heartbeat { limit, due });
        }
    }

    /// The client of this lease is there: a heartbeat, or once the lease is lost a reason to wait for it again.
    pub(crate) fn touch_lease(&mut self, id: Id, lease: u64, now: Instant, fx: &mut Fx<K, C>) {
        let Some(index) = self.find(id) else {
            return;
        };
        let record = self.sessions[index].leases.get(&lease);
        match record.map(|record| record.heartbeat) {
            Some(Some(Heartbeat { limit, .. })) => self.heartbeat(id, lease, limit, now, fx),
            Some(None) => {}
            None => {
                self.restart_window(index, now);
            }
        }
    }

    /// The idle window of a session begins anew. False if it is not idle.
    pub(crate) fn touch(&mut self, key: &dyn Hashed<K>, now: Instant) -> bool {
        let index = self.of_key(key);
        index.is_some_and(|index| self.restart_window(index, now))
    }
}
