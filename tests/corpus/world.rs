//! What a program of the corpus lives in.

use headcount::{Registry, leaks::LeakPolicy};
use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::task::yield_now;

/// A registry of the program's own, and what the program says about itself. Clones are the same world.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    registry: Registry,
    /// The suspect line.
    culprit: OnceLock<Line>,
    /// `nothing_left`, unless the program says otherwise.
    policy: Mutex<Option<LeakPolicy>>,
    /// Undoes the leak once it was reported.
    undo: Mutex<Vec<Undo>>,
}

type Undo = Box<dyn FnOnce() + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

/// Evaluates the expression, and says that its own line is the suspect.
macro_rules! culprit {
    ($world:expr, $taken:expr) => {{
        let taken = $taken;
        $world.suspect($crate::world::Line {
            file: file!(),
            line: line!(),
        });
        taken
    }};
}
pub(crate) use culprit;

impl World {
    pub(crate) fn new(registry: Registry) -> Self {
        Self(Arc::new(Inner {
            registry,
            culprit: OnceLock::new(),
            policy: Mutex::new(None),
            undo: Mutex::new(Vec::new()),
        }))
    }

    /// Waits until everything is older than nothing: ages are as coarse as the clock.
    pub(crate) async fn has_aged(&self) {
        let is_new = |resource: &headcount::Resource| resource.age().is_zero();
        while self.0.registry.live_now().iter().any(is_new) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Says which line is the suspect: the same one, however often.
    pub(crate) fn suspect(&self, line: Line) {
        let before = *self.0.culprit.get_or_init(|| line);
        assert_eq!(before, line, "a program has one culprit");
    }

    pub(crate) fn culprit(&self) -> Option<Line> {
        self.0.culprit.get().copied()
    }

    /// Waits until the culprit has been at work.
    pub(crate) async fn leaked(&self) {
        while self.0.culprit.get().is_none() {
            yield_now().await;
        }
    }

    /// For what is no leak but by another policy.
    pub(crate) fn judge_by(&self, policy: LeakPolicy) {
        *lock(&self.0.policy) = Some(policy);
    }

    pub(crate) fn policy(&self) -> LeakPolicy {
        let policy = lock(&self.0.policy).clone();
        policy.unwrap_or_else(LeakPolicy::nothing_left)
    }

    /// Lets go of what was leaked, once it was reported.
    pub(crate) fn afterwards(&self, undo: impl FnOnce() + Send + 'static) {
        lock(&self.0.undo).push(Box::new(undo));
    }

    pub(crate) fn undo(&self) {
        let all = std::mem::take(&mut *lock(&self.0.undo));
        for undo in all {
            undo();
        }
    }
}

impl Deref for World {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0.registry
    }
}

/// Whatever a thread panicked over, the data is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
