//! [`Readiness`]: whether a registry takes new work.

use crate::{
    context::state::{Core, Node},
    registry::state::RegistryState,
    table::record::State,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// No service has said otherwise.
const READY: usize = 0;
#[cfg(feature = "signal")]
const STARTING: usize = 1;
#[cfg(feature = "signal")]
const STOPPING: usize = 2;

/// Whether the service that a registry belongs to is ready. One without a main function of ours is.
#[derive(Debug, Default)]
pub(crate) struct ServiceState(AtomicUsize);

/// Whether a registry takes new work. Made by [`Registry::readiness`](crate::Registry::readiness), and by `App::readiness` under
/// `headcount::run`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let readiness = registry.readiness();
/// let probe = move || if readiness.is_ready() { 200 } else { 503 };
/// assert_eq!(probe(), 200);
/// registry.request_close("deploy");
/// assert_eq!(probe(), 503);
/// # }
/// ```
#[derive(Clone)]
pub struct Readiness {
    node: Arc<Node>,
    registry: Arc<RegistryState>,
}

impl Readiness {
    pub(crate) fn of(root: &Core) -> Self {
        Self {
            node: Arc::clone(&root.node),
            registry: Arc::clone(&root.registry),
        }
    }

    /// Whether the registry is open: neither its close nor a [`finish`](crate::Registry::finish) has begun. Under `headcount::run`
    /// also whether `App::ready` was called, and no stop was asked for. Two atomic loads.
    pub fn is_ready(&self) -> bool {
        let gate = &self.node.gate;
        self.registry.service.0.load(SeqCst) == READY
            && gate.state() == State::Open
            && !gate.is_finishing()
    }
}

#[cfg(feature = "signal")]
impl Readiness {
    /// The service is not ready before it says so.
    pub(crate) fn start(&self) {
        self.registry.service.0.store(STARTING, SeqCst);
    }

    /// The service is ready, unless it was told to stop. Whether it is ready now, and was not before.
    pub(crate) fn set_ready(&self) -> bool {
        let state = &self.registry.service.0;
        state
            .compare_exchange(STARTING, READY, SeqCst, SeqCst)
            .is_ok()
    }

    /// The service was told to stop.
    pub(crate) fn stop(&self) {
        self.registry.service.0.store(STOPPING, SeqCst);
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("is_ready", &self.is_ready())
            .finish()
    }
}
