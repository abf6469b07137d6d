//! Counts bytes and allocations, when asked to.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed},
};

/// The system's allocator, which counts between [`start`] and [`stop`]. Outside of that it costs one load more.
pub(crate) struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicIsize = AtomicIsize::new(0);
static ALLOCATIONS: AtomicIsize = AtomicIsize::new(0);

#[expect(clippy::cast_possible_wrap, reason = "no heap has 2^63 bytes")]
fn count(bytes: usize, sign: isize) {
    if ON.load(Relaxed) {
        BYTES.fetch_add(sign * bytes as isize, Relaxed);
        ALLOCATIONS.fetch_add(sign.max(0), Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator is; this one only counts")]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

pub(crate) fn start() {
    BYTES.store(0, Relaxed);
    ALLOCATIONS.store(0, Relaxed);
    ON.store(true, Relaxed);
}

/// Bytes held and allocations made since [`start`].
pub(crate) fn read() -> (isize, isize) {
    (BYTES.load(Relaxed), ALLOCATIONS.load(Relaxed))
}

pub(crate) fn stop() {
    ON.store(false, Relaxed);
}
