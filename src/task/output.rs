//! How the result of a task reaches its handle, or is dropped where nobody can claim it.

use crate::{
    error::TaskError,
    panics,
    sync::{
        AtomicU32, Mutex,
        Ordering::{AcqRel, Acquire},
        lock,
    },
};
use futures::task::AtomicWaker;
use std::task::{Context, Poll};

/// Set by the task after it put its result in place.
const READY: u32 = 1;
/// Set by the handle when it is dropped, or has taken the result.
const ABANDONED: u32 = 1 << 1;

/// A place for one result between a task and its handle. Whoever of the two comes second, sees the
/// other's flag: the result is claimed, or dropped, exactly once.
#[derive(Debug)]
pub(crate) struct Output<T> {
    state: AtomicU32,
    result: Mutex<Option<Result<T, TaskError>>>,
    waker: AtomicWaker,
}

impl<T> Output<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            result: Mutex::new(None),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.load(Acquire) & ABANDONED != 0
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.load(Acquire) & READY != 0
    }

    /// The task's part, once. Never panics, whatever wakers and destructors do.
    pub(crate) fn deliver(&self, result: Result<T, TaskError>) {
        *lock(&self.result) = Some(result);
        if self.state.fetch_or(READY, AcqRel) & ABANDONED != 0 {
            self.drop_result();
        } else if let Err(payload) = panics::guarded(|| self.waker.wake()) {
            panics::bury(payload);
        }
    }

    /// The handle's part, once.
    pub(crate) fn abandon(&self) {
        if self.state.fetch_or(ABANDONED, AcqRel) & READY != 0 {
            self.drop_result();
        }
        panics::discard(self.waker.take());
    }

    fn drop_result(&self) {
        let result = lock(&self.result).take();
        panics::discard(result);
    }

    /// The result, once it is there. After that there is none.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<T, TaskError>>> {
        if !self.is_ready() {
            self.waker.register(cx.waker());
            if !self.is_ready() {
                return Poll::Pending;
            }
        }
        Poll::Ready(lock(&self.result).take())
    }
}
