//! [`Shared`]: what all requests to one window have in common.

#[cfg(feature = "metrics")]
use crate::metrics::page::MetricsPage;
use crate::{
    context::state::{Core, Node},
    id::ResourceId,
    labels::{Labels, Wording},
    leaks::{growth::Growth, policy::LeakPolicy},
    registry::readiness::Readiness,
    sync::Mutex,
    table::{resource::Resource, store::Table},
    window::{access::Access, ids::Ids, problem::Problem},
};
use std::{
    panic::Location,
    sync::{Arc, Weak},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What requests need to answer. It keeps no registry alive, and what is known of it stays readable when it is gone.
pub(crate) struct Shared {
    pub(crate) root: Weak<Core>,
    pub(crate) node: Arc<Node>,
    pub(crate) readiness: Readiness,
    pub(crate) ids: Ids,
    pub(crate) labels: Labels,
    pub(crate) access: Access,
    /// The line that allowed closing, if one did.
    pub(crate) allows_close: Option<&'static Location<'static>>,
    pub(crate) leak_policy: LeakPolicy,
    /// One dump at a time: each wakes every task.
    pub(crate) dumps: Semaphore,
    /// One search for leaks at a time.
    pub(crate) searches: Semaphore,
    /// How many streams of events there may be.
    pub(crate) streams: Arc<Semaphore>,
    /// The turn to take a sample of how much there is.
    pub(crate) samples: Arc<Semaphore>,
    pub(crate) growth: Mutex<Option<Sampled>>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: MetricsPage,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
}

/// The samples that were taken so far, and when the latest was.
pub(crate) type Sampled = (Growth, Instant);

impl Shared {
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.node.table
    }

    /// What has this id, as a request writes it.
    pub(crate) fn find(&self, text: &str) -> Result<Resource, Problem> {
        let id = self.ids.read(text)?;
        self.table().find(id).ok_or_else(Problem::gone)
    }

    /// Calls this with the way in which names and ids are written.
    pub(crate) fn wording<R>(&self, write: impl FnOnce(Wording<'_>) -> R) -> R {
        let id = |id: ResourceId| self.ids.write(id);
        write(Wording {
            labels: self.labels,
            id: &id,
        })
    }
}

/// The turn of a request that is not to run beside another one of its kind.
pub(crate) fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, Problem> {
    turns.try_acquire().map_err(|_| Problem::busy())
}
