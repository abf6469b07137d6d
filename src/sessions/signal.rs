//! What waits, waits for these: a [`Watch`] for each session, a [`LeaseSignal`] for each lease.

use crate::{
    context::{close_reason::CloseReason, weak::WeakContext},
    sessions::error::AttachError,
    sync::{Mutex, Notify, SetOnce, lock},
    tracked::{Tracked, WeakTracked},
};
use std::{any::Any, error::Error, pin::pin, sync::Arc};

/// What those who wait for a session look at. It stays readable after the session has left the table.
pub(crate) struct Watch {
    /// Notified when the session has a place, is open, closes, and is gone.
    pub(crate) changed: Notify,
    /// Why it was not opened, or not opened again.
    failed: SetOnce<InitError>,
    generation: Mutex<Option<Generation>>,
}

/// One life of a session, between restarts.
#[derive(Clone)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) context: WeakContext,
    /// What its init returned, once that is done.
    pub(crate) value: Option<Value>,
}

/// A weak handle to what the init of a generation returned, of the type that the handles of the table know.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

impl Generation {
    pub(crate) fn new(number: u64, context: WeakContext) -> Self {
        Self {
            number,
            context,
            value: None,
        }
    }

    /// The value, unless it is gone.
    #[track_caller]
    pub(crate) fn value<V: 'static>(&self) -> Option<Tracked<V>> {
        self.value
            .as_ref()?
            .downcast_ref::<WeakTracked<V>>()?
            .upgrade()
    }
}

/// Why an init failed.
#[derive(Clone)]
pub(crate) enum InitError {
    Error(Arc<dyn Error + Send + Sync>),
    Panicked(String),
}

impl From<InitError> for AttachError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::Error(error) => Self::Init(error),
            InitError::Panicked(message) => Self::Panicked(message),
        }
    }
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            changed: Notify::new(),
            failed: SetOnce::new(),
            generation: Mutex::new(None),
        }
    }

    /// The generation that was opened last.
    pub(crate) fn generation(&self) -> Option<Generation> {
        lock(&self.generation).clone()
    }

    pub(crate) fn set_generation(&self, generation: Generation) {
        let before = lock(&self.generation).replace(generation);
        drop(before);
    }

    /// The init of the generation returned this. There is no next one before that.
    pub(crate) fn set_value(&self, value: Value) {
        if let Some(generation) = &mut *lock(&self.generation) {
            generation.value = Some(value);
        }
    }

    pub(crate) fn fail(&self, error: InitError) {
        let _ = self.failed.set(error);
    }

    pub(crate) fn failed(&self) -> Option<AttachError> {
        self.failed.get().cloned().map(AttachError::from)
    }
}

/// Why a lease is none any more. Returned by [`Lease::lost`](crate::sessions::Lease::lost).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, sessions::Loss};
/// let server = Registry::new().context("server");
/// let pages = server.sessions::<u64>("pages").open();
/// let old = pages.attach_as(7, "alice", "phone").await.unwrap();
/// let _new = pages.attach_as(7, "alice", "phone").await.unwrap();
/// assert_eq!(old.lost().await, Loss::TakenOver);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// A newer lease for the same device took over.
    TakenOver,
    /// Its [heartbeat](crate::sessions::Lease::heartbeat) was late.
    Silent,
    /// The session is closing, for this reason.
    Closed(CloseReason),
    /// It was dropped, or has left.
    Dropped,
}

/// Says of one lease that it was lost.
pub(crate) struct LeaseSignal {
    loss: SetOnce<Loss>,
    changed: Notify,
}

impl LeaseSignal {
    pub(crate) fn new() -> Self {
        Self {
            loss: SetOnce::new(),
            changed: Notify::new(),
        }
    }

    /// The first loss counts. Those that wait are [told](Self::tell) when the table is not locked any more.
    pub(crate) fn set(&self, loss: Loss) {
        let _ = self.loss.set(loss);
    }

    pub(crate) fn tell(&self) {
        crate::panics::notify_all(&self.changed);
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get().cloned()
    }

    pub(crate) async fn lost(&self) -> Loss {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(loss) = self.loss() {
                return loss;
            }
            changed.await;
        }
    }
}
