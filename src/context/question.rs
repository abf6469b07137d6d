//! [`Question`]: whether a runtime runs an empty task.

use crate::panics;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// A runtime is asked whether it runs an empty task.
pub(crate) struct Question {
    asked: Instant,
    is_answered: Arc<AtomicBool>,
}

impl Question {
    pub(crate) fn put_to(runtime: &Handle, now: Instant) -> Self {
        let is_answered = Arc::new(AtomicBool::new(false));
        // Also answered by a runtime that has ended: it drops this.
        let answer = Answer(Arc::clone(&is_answered));
        panics::contain(|| drop(runtime.spawn(async move { drop(answer) })));
        Self {
            asked: now,
            is_answered,
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(SeqCst)
    }

    /// For how long it was asked.
    pub(crate) fn waits(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.asked)
    }
}

struct Answer(Arc<AtomicBool>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
