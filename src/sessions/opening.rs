//! How a session is opened, and opened again.

use crate::{
    context::close_reason::CloseReason,
    events::SessionChange,
    sessions::{
        error::AttachError,
        key::{Hashed, Key},
        session::{Id, Phase, Scope},
        signal::{InitError, Watch},
        status::Status,
        table::{Fx, Table},
    },
};
use std::sync::Arc;
use tokio::time::Instant;

/// How far a generation is, for one who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    ToCome,
    Opened,
    /// The session closes, or is gone.
    Never,
}

/// What becomes of a restart.
pub(crate) enum Restart<C: Scope> {
    Refused(AttachError),
    /// One is under way that opens this generation.
    Join(Id, u64, Arc<Watch>, Option<C::Inner>),
    /// This generation is to be closed, and that one opened.
    Begin {
        id: Id,
        old: Option<C>,
        next: u64,
        outer: C::Inner,
        watch: Arc<Watch>,
    },
}

impl<K: Eq + 'static, C: Scope> Table<K, C> {
    /// What is needed to build it.
    pub(crate) fn parts(&self, id: Id) -> Option<(Arc<Watch>, Arc<Status>)> {
        let session = &self.sessions[self.find(id)?];
        Some((Arc::clone(&session.watch), Arc::clone(&session.status)))
    }

    /// It was built, with its first generation. If it is to close by now, hands back what is to be closed, and why.
    pub(crate) fn built(
        &mut self,
        id: Id,
        (outer, inner): (C, C),
        fx: &mut Fx<K, C>,
    ) -> Result<(), (C, C, CloseReason)> {
        let Some(index) = self.find(id) else {
            return Err((outer, inner, CloseReason::Evicted));
        };
        let session = &mut self.sessions[index];
        if session.phase != Phase::Opening {
            let reason = session.reason.clone();
            return Err((outer, inner, reason.unwrap_or(CloseReason::Evicted)));
        }
        session.outer = Some(outer);
        session.inner = Some(inner);
        session.generation = 1;
        self.tell(index, SessionChange::Attached, fx);
        Ok(())
    }

    /// It could not be built.
    pub(crate) fn not_built(
        &mut self,
        id: Id,
        why: Option<InitError>,
        now: Instant,
        fx: &mut Fx<K, C>,
    ) {
        let Some(index) = self.find(id) else {
            return;
        };
        if let Some(why) = why {
            self.sessions[index].watch.fail(why);
        }
        self.remove(index, now, fx);
    }

    /// The init of this generation is done.
    pub(crate) fn ready(&mut self, id: Id, generation: u64, fx: &mut Fx<K, C>) {
        let Some(index) = self.find_opening(id, generation) else {
            return;
        };
        self.change(index, |session| session.phase = Phase::Open);
        fx.changed.push(Arc::clone(&self.sessions[index].watch));
        if generation > 1 {
            self.tell(index, SessionChange::Restarted, fx);
        }
    }

    /// The session, if this generation of it is being opened.
    fn find_opening(&self, id: Id, generation: u64) -> Option<usize> {
        let index = self.find(id)?;
        let session = &self.sessions[index];
        let is_opening = matches!(session.phase, Phase::Opening | Phase::Restarting);
        (is_opening && session.generation == generation).then_some(index)
    }

    /// This generation could not be opened, and with that the session closes. Says before whether there are leases to be told;
    /// `None` if it closes for another reason.
    pub(crate) fn failed(
        &mut self,
        id: Id,
        generation: u64,
        error: InitError,
        reason: impl FnOnce(bool) -> CloseReason,
        fx: &mut Fx<K, C>,
    ) {
        let index = self.find_opening(id, generation);
        let Some(index) = index.filter(|index| !self.sessions[*index].is_closing()) else {
            return;
        };
        let session = &self.sessions[index];
        session.watch.fail(error);
        let reason = reason(!session.leases.is_empty());
        self.begin_close(index, reason, fx);
    }

    // Restarting.

    pub(crate) fn restart(&mut self, key: &dyn Hashed<K>) -> Restart<C> {
        if self.is_closed {
            return Restart::Refused(AttachError::Closed);
        }
        let Some(index) = self.of_key(key) else {
            return Restart::Refused(AttachError::NotFound);
        };
        let session = &self.sessions[index];
        if session.is_closing() {
            return Restart::Refused(AttachError::Closed);
        }
        let takes_work = session.outer.as_ref().is_none_or(Scope::takes_work);
        if session.phase == Phase::Open && !takes_work {
            return Restart::Refused(AttachError::Closed);
        }
        let (id, watch) = (session.id(index), Arc::clone(&session.watch));
        let outer = session.outer.as_ref().map(Scope::inner);
        match (session.phase, outer) {
            (Phase::Open, Some(outer)) => {
                let (old, next) = self.change(index, |session| {
                    session.phase = Phase::Restarting;
                    session.generation += 1;
                    (session.inner.take(), session.generation)
                });
                Restart::Begin {
                    id,
                    old,
                    next,
                    outer,
                    watch,
                }
            }
            (_, outer) => Restart::Join(id, session.generation.max(1), watch, outer),
        }
    }

    pub(crate) fn stage(&self, id: Id, generation: u64) -> Stage {
        let Some(session) = self.find(id).map(|index| &self.sessions[index]) else {
            return Stage::Never;
        };
        match session.phase {
            Phase::Closing => Stage::Never,
            Phase::Open => Stage::Opened,
            _ if session.generation > generation => Stage::Opened,
            _ => Stage::ToCome,
        }
    }

    /// The old generation is closed. The context in which the next one is opened, unless the session closes.
    pub(crate) fn restarting(
        &self,
        id: Id,
        generation: u64,
    ) -> Option<(Key<K>, C::Inner, Arc<Watch>)> {
        let session = &self.sessions[self.find_opening(id, generation)?];
        let outer = session.outer.as_ref()?.inner();
        Some((session.key.clone(), outer, Arc::clone(&session.watch)))
    }

    /// The next generation is there. Hands it back if the session closes.
    pub(crate) fn restarted(&mut self, id: Id, generation: u64, inner: C) -> Result<(), C> {
        match self.find_opening(id, generation) {
            Some(index) => {
                self.sessions[index].inner = Some(inner);
                Ok(())
            }
            None => Err(inner),
        }
    }
}
