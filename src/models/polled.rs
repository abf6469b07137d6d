//! A future that a model polls by hand, whenever it was woken.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
};

pub(super) struct Polled<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Whether it was woken, or not polled yet.
    is_woken: Arc<Woken>,
    is_done: bool,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl<'a> Polled<'a> {
    pub(super) fn new(future: impl Future<Output = ()> + 'a) -> Self {
        Self {
            future: Box::pin(future),
            is_woken: Arc::new(Woken(AtomicBool::new(true))),
            is_done: false,
        }
    }

    /// Polls as often as it was woken; true once it is done.
    pub(super) fn is_done(&mut self) -> bool {
        while !self.is_done && self.is_woken.0.swap(false, SeqCst) {
            let waker = Waker::from(Arc::clone(&self.is_woken));
            let mut cx = Context::from_waker(&waker);
            self.is_done = self.future.as_mut().poll(&mut cx).is_ready();
        }
        self.is_done
    }
}
