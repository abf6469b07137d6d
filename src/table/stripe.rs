//! Which part of the table this thread works on, so that threads keep out of each other's way.

use std::{cell::Cell, sync::OnceLock};

/// A thread's place in every table, and how many entries it has made.
struct Local {
    number: usize,
    made: Cell<u32>,
}

thread_local! {
    static LOCAL: Local = Local { number: number_this_thread(), made: const { Cell::new(0) } };
}

fn number_this_thread() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    THREADS.fetch_add(1, Ordering::Relaxed)
}

/// How many stripes a table has: a power of two, about twice the cores.
pub(crate) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        (2 * cores).next_power_of_two().clamp(4, 32)
    })
}

/// This thread's number; while the thread is being torn down, 0.
pub(crate) fn current() -> usize {
    LOCAL.try_with(|local| local.number).unwrap_or(0)
}

/// A number that grows with every call on this thread: it orders entries that the clock cannot tell
/// apart, as under paused time.
pub(crate) fn next_made() -> u32 {
    LOCAL
        .try_with(|local| local.made.replace(local.made.get().wrapping_add(1)))
        .unwrap_or(u32::MAX)
}
