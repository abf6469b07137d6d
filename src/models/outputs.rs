//! A task's result: delivered against a handle that is dropped.

use super::outcomes::Outcomes;
use crate::task::output::Output;
use loom::thread;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// I6: the result is claimed, or dropped by whoever comes second; once, and never left behind.
#[test]
fn a_result_is_claimed_or_dropped_exactly_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Arc::new(Output::new());
        let task = thread::spawn({
            let (output, drops) = (Arc::clone(&output), Arc::clone(&drops));
            move || {
                output.deliver(Ok(Counted(Arc::clone(&drops))));
                drops.load(SeqCst)
            }
        });
        thread::yield_now();
        let claimed = match output.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.is_some(),
            Poll::Pending => false,
        };
        output.abandon(true);
        let dropped_by_task = task.join().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
        saw.saw((claimed, dropped_by_task == 1));
    });
    // Claimed and dropped here before the task has returned from delivering, too.
    outcomes.assert_all([(false, false), (false, true), (true, false), (true, true)]);
}
