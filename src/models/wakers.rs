//! Wakers: a future that is polled by several in turn is woken where it is.

use crate::poll::waker_cell::WakerCell;
use loom::{sync::atomic::AtomicU8, thread};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8 as Noted, Ordering::SeqCst},
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

/// A future that leaves its waker once, and looks at what was requested whenever it is woken.
struct Task {
    requested: AtomicU8,
    seen: Noted,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.seen.fetch_or(self.requested.load(SeqCst), SeqCst);
    }
}

/// Two want something of a task at once, as an abort and a dump do: it is woken after each.
#[test]
fn one_who_wakes_while_another_does_is_not_forgotten() {
    loom::model(|| {
        let (requested, seen) = (AtomicU8::new(0), Noted::new(0));
        let (task, cell) = (
            Arc::new(Task { requested, seen }),
            Arc::new(WakerCell::default()),
        );
        cell.set(&Waker::from(Arc::clone(&task)));
        let request = |what| {
            let (task, cell) = (Arc::clone(&task), Arc::clone(&cell));
            move || {
                task.requested.fetch_or(what, SeqCst);
                assert!(cell.wake());
            }
        };
        let (other, ours) = (thread::spawn(request(1)), request(2));
        ours();
        other.join().unwrap();
        assert_eq!(task.seen.load(SeqCst), 3, "one of them is not seen");
    });
}
