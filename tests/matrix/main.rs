//! The matrix: every runtime × every kind and shape of task × every moment × every ending × both fates
//! of its handle, one generic body for all of them.
//!
//! After each case (I1, I4, I6, I8, I11, I12): the registry is empty and idle, the future and the output
//! were dropped exactly once and not after the end was announced, the reports count one task, and they,
//! the task's handle and [`outcome::expected`] agree on what became of it. The close has the reason that goes with its ending,
//! and is clean if nothing was lost (I16). A context that needs another one closes before that, which takes work until then (I17).
//!
//! `HEADCOUNT_MATRIX=<text>` runs only the cases whose name contains the text, one after the other.

mod axes;
mod closing;
mod limits;
mod needed;
mod outcome;
mod play;
mod runtime;
mod stage;
mod start;

use axes::{Case, all};
use stage::MARKER;
use std::{
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

/// Cases at a time: most of them wait for a grace period most of the time.
const AT_ONCE: usize = 8;
/// When so many cases have failed, each perhaps after a long wait, the rest is left out.
const ENOUGH: usize = 40;
/// Failures printed in full.
const PRINTED: usize = 40;

/// Panics that were not intended.
static SURPRISES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn every_task_ends_once_and_leaves_nothing_whatever_ends_it() {
    listen_to_panics();
    let only = std::env::var("HEADCOUNT_MATRIX").ok();
    let cases: Vec<Case> = all()
        .into_iter()
        .filter(|case| {
            only.as_ref()
                .is_none_or(|text| case.to_string().contains(text))
        })
        .collect();
    assert!(!cases.is_empty(), "HEADCOUNT_MATRIX names no case");
    let at_once = if only.is_some() { 1 } else { AT_ONCE };
    let start = Instant::now();
    let (done, failures) = run(&cases, at_once);
    println!("{done} of {} cases in {:.1?}", cases.len(), start.elapsed());
    let surprises = std::mem::take(&mut *lock(&SURPRISES));
    for failure in failures.iter().take(PRINTED) {
        println!("FAILED {failure}");
    }
    for surprise in surprises.iter().take(PRINTED) {
        println!("UNMEANT {surprise}");
    }
    assert!(
        failures.is_empty() && surprises.is_empty() && done == cases.len(),
        "{} failures and {} panics that were not intended in {done} of {} cases",
        failures.len(),
        surprises.len(),
        cases.len()
    );
}

/// Runs the cases, a few at a time; returns how many were run, and what failed.
fn run(cases: &[Case], at_once: usize) -> (usize, Vec<String>) {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, SeqCst)) {
                    if lock(&failures).len() >= ENOUGH {
                        return;
                    }
                    if let Err(failure) = attempt(*case) {
                        let failure = format!("{case}\n    {failure}");
                        lock(&failures).push(failure);
                    }
                    done.fetch_add(1, SeqCst);
                }
            });
        }
    });
    let failures = std::mem::take(&mut *lock(&failures));
    (done.into_inner(), failures)
}

fn attempt(case: Case) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| play::play(case))).unwrap_or_else(|payload| {
        let said = payload.downcast_ref::<String>().cloned();
        Err(format!("panicked: {}", said.unwrap_or_default()))
    })
}

/// Keeps the panics that are meant to oneself, and remembers all others, wherever they happen.
fn listen_to_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let said = info.to_string();
        if !said.contains(MARKER) {
            lock(&SURPRISES).push(said);
        }
    }));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
