//! Wakers: a future that is polled by several in turn is woken where it is.

use crate::poll::waker_cell::WakerCell;
use loom::thread;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A future that was polled with a new waker while it was woken by the old one is woken by the new one from then on.
#[test]
fn a_future_that_moved_while_it_was_woken_is_woken_where_it_is() {
    loom::model(|| {
        let woken = [(); 2].map(|()| Arc::new(Woken(AtomicBool::new(false))));
        let [old, new] = woken.clone().map(Waker::from);
        let cell = Arc::new(WakerCell::default());
        cell.set(&old);
        let asker = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.wake()
        });
        cell.set(&new);
        asker.join().unwrap();
        woken[1].0.store(false, SeqCst);
        // As an abort does.
        assert!(cell.wake());
        assert!(woken[1].0.load(SeqCst), "only the old one is left");
    });
}
