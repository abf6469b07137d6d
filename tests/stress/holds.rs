//! I20: memory that is given up is not touched, and counts do not run over. Run under the address sanitizer as well.

#![expect(
    clippy::async_yields_async,
    reason = "the handle of a task is what the tests are about"
)]

use crate::common::{Dice, lock, multi_thread, short_or_full, within};
use headcount::{Registry, Task};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// A handle is dropped at the moment at which its task ends, and the task is all that keeps the registry.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_handle_that_is_dropped_as_its_task_takes_the_table_along_touches_nothing() {
    let limit = Duration::from_secs(short_or_full(120, 900));
    within(limit, |_| {
        let rt = multi_thread(2);
        let mut dice = Dice::new();
        for _ in 0..short_or_full(50_000, 2_000_000) {
            let gate = Arc::new(AtomicUsize::new(0));
            let registry = Registry::new();
            let opens = Arc::clone(&gate);
            let task = rt.block_on(registry.scope(async {
                headcount::spawn(async move {
                    opens.fetch_add(1, SeqCst);
                    while opens.load(SeqCst) < 2 {
                        std::hint::spin_loop();
                    }
                })
            }));
            while gate.load(SeqCst) < 1 {
                std::hint::spin_loop();
            }
            drop(registry);
            gate.fetch_add(1, SeqCst);
            if dice.once_in(4) {
                dice.dawdle(30);
            }
            drop(task);
        }
    });
}

/// The same for all who can be the last: a handle that was polled, a listing, a clone of one of its lines.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn whoever_is_the_last_to_hold_a_task_takes_the_table_along() {
    let limit = Duration::from_secs(short_or_full(120, 900));
    within(limit, |_| {
        let rt = multi_thread(1);
        let dice = Dice::new();
        for round in 0..short_or_full(20_000, 500_000) {
            let mut dice = dice.fork(round);
            let registry = Registry::new();
            let (go, gone) = tokio::sync::oneshot::channel::<()>();
            let task = rt.block_on(
                registry.scope(async { headcount::spawn(async move { drop(gone.await) }) }),
            );
            let live = registry.live_now();
            let line = live.iter().next().cloned();
            let kept: [Box<dyn Send>; 4] = [
                Box::new(registry),
                Box::new(task),
                Box::new(live),
                Box::new(line),
            ];
            let kept = kept.map(|kept| Mutex::new(Some(kept)));
            let start = Barrier::new(2);
            thread::scope(|threads| {
                for half in 0..2 {
                    let (kept, start, mut dice) = (&kept, &start, dice.fork(half));
                    threads.spawn(move || {
                        start.wait();
                        for kept in kept.iter().skip(half).step_by(2) {
                            dice.dawdle(50);
                            drop(lock(kept).take());
                        }
                    });
                }
                start_later(go, &mut dice);
            });
        }
    });
}

fn start_later(go: tokio::sync::oneshot::Sender<()>, dice: &mut Dice) {
    dice.dawdle(200);
    drop(go);
}

/// Clones that are forgotten count for ever. Those that are refused do not.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn clones_that_are_forgotten_are_refused_before_they_run_over() {
    let registry = Registry::new();
    let _others: Vec<_> = (0..3).map(|_| registry.register("other", "kind")).collect();
    let _entry = registry.register("entry", "kind");
    let live = registry.live_now();
    let entry = live.find("entry").expect("it is listed").clone();
    let mut clones = 0_u64;
    let clone = |clones: &mut u64| {
        let cloned = catch_unwind(AssertUnwindSafe(|| std::mem::forget(entry.clone())));
        *clones += u64::from(cloned.is_ok());
        cloned.is_ok()
    };
    while clone(&mut clones) {}
    assert!(clones > 1 << 24, "{clones}");
    for _ in 0..1_000 {
        assert!(!clone(&mut clones), "once too many, for ever too many");
        assert_eq!((entry.name(), entry.kind()), ("entry", "kind"));
    }
    assert_eq!(registry.count(), 4);
    drop(live);
}

/// A handle to a task that is never awaited is the last for all I know.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_result_outlives_its_registry_with_its_handle() {
    let rt = multi_thread(2);
    for _ in 0..short_or_full(20_000, 500_000) {
        let registry = Registry::new();
        let task: Task<String> = rt
            .block_on(registry.scope(async { headcount::spawn(async { "a result".to_owned() }) }));
        drop(registry);
        // Ended by force with its registry, or before.
        if let Ok(result) = rt.block_on(task) {
            assert_eq!(result, "a result");
        }
    }
}
