//! The system's allocator, with a counter: for test binaries that measure memory.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{
        AtomicIsize,
        Ordering::{Relaxed, SeqCst},
    },
};

/// Bytes that are allocated just now.
static HELD: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, with a counter.
struct Counting;

fn count(layout: Layout, sign: isize) {
    let size = isize::try_from(layout.size()).expect("a layout fits");
    HELD.fetch_add(sign * size, Relaxed);
}

#[expect(
    unsafe_code,
    reason = "an allocator cannot be written without; this one only counts"
)]
// SAFETY: every call is handed to `System` as it came, and so is its answer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(layout, -1);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

pub(crate) fn held() -> isize {
    HELD.load(SeqCst)
}
