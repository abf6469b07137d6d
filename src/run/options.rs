//! [`StopOptions`]: how long a stop may take.

use std::time::Duration;

/// How a registry is closed when the process gets a signal: for [`Registry::close_on_signals`](crate::Registry::close_on_signals).
/// [`run`](crate::run()) has the same settings, on [`App::builder`](crate::App::builder).
///
/// ```
/// use headcount::StopOptions;
/// use std::time::Duration;
///
/// let options = StopOptions::new()
///     .drain_delay(Duration::from_secs(5))
///     .deadline(Duration::from_secs(20));
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is passed on"]
pub struct StopOptions {
    pub(super) deadline: Duration,
    pub(super) drain_delay: Duration,
    pub(super) exit_after: Duration,
}

impl StopOptions {
    /// A deadline of 25 s, no drain delay, and 2 s more until the process is ended by force.
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(25),
            drain_delay: Duration::ZERO,
            exit_after: Duration::from_secs(2),
        }
    }

    /// How long the close may take, from its beginning: as for [`Registry::close_by`](crate::Registry::close_by). 25 s by
    /// default, which together with [`exit_after`](Self::exit_after) is less than the 30 s that Kubernetes waits.
    /// [`Duration::MAX`] means that there is no limit.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long everything goes on as before after the first signal, except that the [readiness](crate::Readiness) is no: so
    /// long a load balancer needs to notice that, and goes on sending requests. Zero by default. A second signal ends it.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// How long after the deadline the process is ended, if the close is not over and the program has not returned: where a
    /// thread of the runtime is blocked nothing else can end it. 2 s by default.
    pub fn exit_after(mut self, after: Duration) -> Self {
        self.exit_after = after;
        self
    }
}

impl Default for StopOptions {
    fn default() -> Self {
        Self::new()
    }
}
