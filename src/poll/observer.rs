//! Tells a test of each poll of a task or a hook before it comes, on a thread that has an [`Observer`].
//!
//! The test may do something at that moment: begin a close, abort the task. Only with the feature `testing`; where no test of the
//! process observes, a poll costs a relaxed load and a branch more.

use crate::{
    poll::running_hooks::RunningHook,
    table::{record::Record, task_entry::TaskEntry},
};
use std::{
    cell::RefCell,
    panic::resume_unwind,
    rc::Rc,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// What is about to be polled.
#[derive(Clone, Copy)]
pub(crate) enum Polled<'a> {
    Task(&'a TaskEntry),
    Hook(&'a RunningHook),
}

/// What becomes of the poll.
#[derive(Debug)]
pub(crate) enum Decision {
    Poll,
    /// Nothing is polled.
    Skip,
    /// A hook panics with this message instead.
    Panic(&'static str),
}

/// Is told of what happens on its thread, in all registries.
pub(crate) trait Observer {
    /// Something is about to be polled. No lock is held, and the scope of the task is not entered.
    fn before(&self, polled: Polled<'_>) -> Decision;

    /// An `on_close` hook of this registry and context begins, or is dropped because it cannot run. Those that were registered
    /// later have greater numbers.
    fn hook_starts(&self, table: u32, context: &dyn Record, number: u64);
}

/// How many threads have one.
static OBSERVERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OBSERVER: RefCell<Option<Rc<dyn Observer>>> = const { RefCell::new(None) };
}

/// Removes the observer of this thread when dropped.
pub(crate) struct Observing(());

/// Observes this thread, which has no observer yet.
pub(crate) fn observe(observer: Rc<dyn Observer>) -> Observing {
    OBSERVER.set(Some(observer));
    OBSERVERS.fetch_add(1, Relaxed);
    Observing(())
}

impl Drop for Observing {
    fn drop(&mut self) {
        OBSERVERS.fetch_sub(1, Relaxed);
        drop(OBSERVER.take());
    }
}

/// Whether some thread has an observer.
#[inline]
pub(crate) fn is_there() -> bool {
    OBSERVERS.load(Relaxed) > 0
}

/// The observer of this thread.
fn current() -> Option<Rc<dyn Observer>> {
    // Destructors of the thread's other values may poll when this one is gone.
    let current = OBSERVER.try_with(|observer| observer.borrow().clone());
    current.ok().flatten()
}

/// Whether this task is to be polled.
#[cold]
pub(crate) fn may_poll(task: &TaskEntry) -> bool {
    let decision = current().map(|observer| observer.before(Polled::Task(task)));
    !matches!(decision, Some(Decision::Skip))
}

/// Whether this hook is to be polled.
///
/// # Panics
///
/// If it is to panic instead.
pub(crate) fn may_poll_hook(hook: &RunningHook) -> bool {
    if !is_there() {
        return true;
    }
    match current().map(|observer| observer.before(Polled::Hook(hook))) {
        None | Some(Decision::Poll) => true,
        Some(Decision::Skip) => false,
        // Nothing is printed: it is no panic of the user's.
        Some(Decision::Panic(message)) => resume_unwind(Box::new(message)),
    }
}

/// As [`Observer::hook_starts`].
pub(crate) fn hook_starts(table: u32, context: &dyn Record, number: u64) {
    if let Some(observer) = is_there().then(current).flatten() {
        observer.hook_starts(table, context, number);
    }
}

/// The number of the next hook that is registered.
pub(crate) fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    NUMBERS.fetch_add(1, Relaxed)
}

impl Polled<'_> {
    /// The number of its registry's table.
    pub(crate) fn table(&self) -> u32 {
        match self {
            Self::Task(task) => task.meta().id.table,
            Self::Hook(hook) => hook.registry(),
        }
    }
}
