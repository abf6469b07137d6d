//! Polls that take long: they hold a thread of the runtime.

use crate::{
    clock::{self, Stamp},
    context::line_counts::{Event, PROCESS},
    event,
    name::Printed,
    poll::state::PollState,
    table::record::Meta,
};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// In nanoseconds; 0 if polls are not timed. One for the process: it is looked at in each poll.
static THRESHOLD: AtomicU64 = AtomicU64::new(if cfg!(debug_assertions) {
    100_000_000
} else {
    0
});

/// Warns of tasks that run for longer than this without coming to an `.await` that waits, in a warning event: for each line that
/// spawns them the first time, the tenth, the hundredth and so on. Zero times no polls; that is the default of release builds, 100 ms that of debug
/// builds. For the whole process.
///
/// The event comes when the poll ends; of one that does not, a listing and a dump tell while it runs.
///
/// While polls are timed, a [`Dump`](crate::dump::Dump) knows how long a task has been parked, and a listing says which tasks
/// are blocking the runtime just now.
///
/// ```
/// headcount::dump::set_long_poll_threshold(std::time::Duration::from_millis(20));
/// ```
///
/// # Performance
///
/// Two looks at the clock a poll, about 50 ns; a load and a branch while it is off.
#[cfg(feature = "dump")]
pub fn set_long_poll_threshold(threshold: Duration) {
    let nanos = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
    THRESHOLD.store(nanos, Relaxed);
}

/// The threshold, if polls are timed.
#[inline]
pub(crate) fn threshold() -> Option<Duration> {
    // Only with dumps can it be set.
    if !cfg!(feature = "dump") {
        return None;
    }
    match THRESHOLD.load(Relaxed) {
        0 => None,
        nanos => Some(Duration::from_nanos(nanos)),
    }
}

/// Runs one poll with a look at the clock before and after it, and tells of one that took too long.
pub(crate) fn timed<R>(
    (poll_state, task): (&PollState, &Meta),
    threshold: Duration,
    poll: impl FnOnce() -> R,
    told: impl FnOnce(Duration),
) -> R {
    // Stamps are too coarse for a short threshold.
    let began = clock::now();
    poll_state.stamp(Stamp::now());
    let result = poll();
    poll_state.stamp(Stamp::now());
    let took = clock::now().saturating_duration_since(began);
    if took > threshold {
        tell(task, took);
        told(took);
    }
    result
}

#[cold]
fn tell(task: &Meta, took: Duration) {
    let (site, name) = (task.location, &task.name);
    if let Some(so_far) = PROCESS.tell(Event::LongPoll, site) {
        let (file, line) = (site.file(), site.line());
        event::emit!(target: "headcount::task", WARN,
            task = %Printed(name),
            "a task blocked the runtime: it ran for {} without waiting (spawned at {file}:{line}{so_far})",
            clock::human(took)
        );
    }
}
