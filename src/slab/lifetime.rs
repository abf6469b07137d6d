//! Whether what is reached by its address is still there, for loom to check.
//!
//! loom does not know when memory is freed. So in its models each look at a block is a read of a cell, and the end of
//! the block a write: if they are not in order, loom says so. Otherwise there is nothing of this left.

#[cfg(headcount_loom)]
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// What everybody has who knows the address.
#[derive(Clone, Copy)]
pub(crate) struct Lifetime {
    #[cfg(headcount_loom)]
    state: &'static State,
}

#[cfg(headcount_loom)]
struct State {
    cell: loom::cell::UnsafeCell<()>,
    /// Above 0 when it has ended: of loom, which therefore runs this before and after the end.
    end: loom::sync::atomic::AtomicUsize,
    /// In the order in which the model runs.
    is_over: AtomicBool,
}

#[cfg(headcount_loom)]
#[expect(unsafe_code, reason = "a cell of loom's is not shared by itself")]
// SAFETY: nobody looks into the cell: loom checks who would, and when.
unsafe impl Sync for State {}

impl Lifetime {
    /// Looks at what must be there.
    #[cfg(headcount_loom)]
    pub(crate) fn assert_alive(self) {
        assert!(
            !self.state.is_over.load(SeqCst),
            "it is reached after its end"
        );
        self.state.cell.with(|_| ());
    }

    #[cfg(not(headcount_loom))]
    #[expect(clippy::unused_self, reason = "only loom has something to look at")]
    #[inline]
    pub(crate) fn assert_alive(self) {}

    /// Before a look at what must be there: gives others the chance to end it, and checks nothing else. So what is kept by an `Arc`,
    /// whose order loom does not know, passes.
    #[cfg(headcount_loom)]
    pub(crate) fn assert_not_over(self) {
        let is_over = self.state.end.load(SeqCst) > 0;
        assert!(!is_over, "it is reached after its end");
    }

    #[cfg(not(headcount_loom))]
    #[expect(clippy::unused_self, reason = "only loom has something to look at")]
    #[inline]
    pub(crate) fn assert_not_over(self) {}
}

/// What has the lifetime: it ends when this is dropped.
pub(crate) struct Lives(Lifetime);

impl Lives {
    pub(crate) fn new() -> Self {
        Self(Lifetime {
            // Leaked, to be there when the other is not. A model has few of them.
            #[cfg(headcount_loom)]
            state: Box::leak(Box::new(State {
                cell: loom::cell::UnsafeCell::new(()),
                end: loom::sync::atomic::AtomicUsize::new(0),
                is_over: AtomicBool::new(false),
            })),
        })
    }

    #[inline]
    pub(crate) fn lifetime(&self) -> Lifetime {
        self.0
    }
}

#[cfg(headcount_loom)]
impl Drop for Lives {
    fn drop(&mut self) {
        self.0.state.cell.with_mut(|_| ());
        self.0.state.is_over.store(true, SeqCst);
        self.0.state.end.store(1, SeqCst);
    }
}
