//! Which part of the table this thread works on, so that threads keep out of each other's way.

use std::{cell::Cell, sync::OnceLock};

thread_local! {
    /// This thread's number + 1, or 0 before it is asked for.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
    /// How many entries this thread has made.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// How many stripes a table has: a power of two, about twice the cores.
pub(crate) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        (2 * cores).next_power_of_two().clamp(4, 32)
    })
}

/// This thread's number.
#[inline]
pub(crate) fn current() -> u32 {
    NUMBER.with(|number| match number.get() {
        0 => number_this_thread(number),
        number => number - 1,
    })
}

#[cold]
fn number_this_thread(place: &Cell<u32>) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static THREADS: AtomicU32 = AtomicU32::new(0);
    let number = THREADS.fetch_add(1, Ordering::Relaxed);
    place.set(number.wrapping_add(1));
    number
}

/// A number that grows with every call on this thread: it orders entries that the clock cannot tell
/// apart, as under paused time.
#[inline]
pub(crate) fn next_made() -> u32 {
    MADE.with(|made| made.replace(made.get().wrapping_add(1)))
}

/// What this thread makes from here on has numbers after this one, which may be another thread's.
pub(crate) fn make_after(other: u32) {
    MADE.with(|made| {
        let after = other.wrapping_add(1);
        // The numbers wrap, so later is what is less than half of them ahead.
        if after.wrapping_sub(made.get()) < u32::MAX / 2 {
            made.set(after);
        }
    });
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_makes_comes_after_what_it_was_told_of() {
        let first = next_made();
        make_after(first + 10);
        assert_eq!(next_made(), first + 11);
        make_after(first);
        assert_eq!(next_made(), first + 12);
    }
}
