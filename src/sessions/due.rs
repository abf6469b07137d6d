//! What is due, and what the one timer is told.

use crate::{
    context::close_reason::CloseReason,
    sessions::{
        idle::Since,
        leaving::Going,
        session::{Id, Phase, Scope},
        table::{Due, Fx, Table, Timer, TimerChange},
    },
};
use std::time::Duration;
use tokio::time::Instant;

/// How many due things are seen to in one step.
const STEP: usize = 64;
/// When a busy session is looked at again, at the earliest.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A session whose time has come, if it is not busy.
pub(crate) struct Suspect<I> {
    pub(crate) id: Id,
    pub(crate) since: Since,
    pub(crate) context: I,
}

impl<K: Eq + 'static, C: Scope> Table<K, C> {
    /// Sees to what is due, in part if that is much. Returns idle sessions whose time has come if they are not busy.
    pub(crate) fn run_due(&mut self, now: Instant, fx: &mut Fx<K, C>) -> Vec<Suspect<C::Inner>> {
        self.timer = Timer::Looking;
        for _ in 0..STEP {
            let Some(first) = self.due.first_entry() else {
                break;
            };
            if first.key().0 > now {
                break;
            }
            match first.remove() {
                Due::Expiry(index) => {
                    self.sessions[index].expires = None;
                    match self.sessions[index].phase {
                        // There is nothing to close.
                        Phase::Placed => self.remove(index, now, fx),
                        _ => self.begin_close(index, CloseReason::Expired, fx),
                    }
                }
                Due::Heartbeat(index, lease) => {
                    let id = self.sessions[index].id(index);
                    self.go(id, lease, Going::Silent, now, fx);
                }
            }
        }
        let due = self
            .idle
            .iter()
            .take_while(|(since, _)| self.is_over(*since, now));
        let due: Vec<_> = due.take(STEP).collect();
        let mut suspects = Vec::new();
        for (since, index) in due {
            let session = &self.sessions[index];
            let context = session.outer.as_ref().filter(|_| self.settings.keeps_busy);
            match context.map(Scope::inner) {
                Some(context) => suspects.push(Suspect {
                    id: session.id(index),
                    since,
                    context,
                }),
                None => self.begin_close(index, CloseReason::Culled, fx),
            }
        }
        suspects
    }

    fn is_over(&self, since: Since, now: Instant) -> bool {
        let due = since.0.checked_add(self.settings.idle);
        due.is_some_and(|due| due <= now)
    }

    /// A session was asked whether it is busy. If it was touched or attached to meanwhile the answer is of no use.
    pub(crate) fn judge(
        &mut self,
        (id, since): (Id, Since),
        is_busy: bool,
        now: Instant,
        fx: &mut Fx<K, C>,
    ) {
        let index = self.find(id);
        let Some(index) = index.filter(|index| self.sessions[*index].idle == Some(since)) else {
            return;
        };
        if is_busy {
            let shortest = LOOK_AGAIN.saturating_sub(self.settings.idle);
            self.restart_window(index, now + shortest);
        } else {
            self.begin_close(index, CloseReason::Culled, fx);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let idle = self.idle.first();
        let idle = idle.and_then(|((since, _), _)| since.checked_add(self.settings.idle));
        let due = self.due.first_key_value().map(|((due, _), _)| *due);
        idle.into_iter().chain(due).min()
    }

    /// What the timer is to be told of the changes.
    pub(crate) fn timer(&mut self) -> Option<TimerChange> {
        let next = self.next_due()?;
        let change = match self.timer {
            Timer::Off => TimerChange::Start,
            Timer::Sleeping(until) if next < until => TimerChange::Wake,
            Timer::Sleeping(_) | Timer::Looking => return None,
        };
        self.timer = Timer::Sleeping(next);
        Some(change)
    }

    /// The timer has looked, and sleeps until then; with `None` it ends.
    pub(crate) fn rest(&mut self) -> Option<Instant> {
        let next = self.next_due();
        self.timer = next.map_or(Timer::Off, Timer::Sleeping);
        next
    }

    /// The timer was lost, with its runtime.
    pub(crate) fn timer_lost(&mut self) {
        self.timer = Timer::Off;
    }
}
