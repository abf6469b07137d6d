//! What is known from the outside of each thing that a round makes.

use super::panics::failure;
use crate::common::lock;
use headcount::{CloseReport, CloseStatus, Context, ResourceId};
use std::{
    backtrace::Backtrace,
    cell::RefCell,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
};

/// What has happened to something, as bits.
#[derive(Debug, Default)]
pub(crate) struct Flags(AtomicU8);

impl Flags {
    /// Sets a bit, and returns all bits as they were before.
    pub(crate) fn set(&self, flag: u8) -> u8 {
        self.0.fetch_or(flag, SeqCst)
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.0.load(SeqCst) & flag != 0
    }
}

pub(crate) const ACCEPTED: u8 = 1;
pub(crate) const DROPPED: u8 = 1 << 1;
/// The future returned, or the hook did.
pub(crate) const RETURNED: u8 = 1 << 2;
/// It panicked, or its destructor did, or the hook returned an error.
pub(crate) const FAILED: u8 = 1 << 3;
pub(crate) const STARTED: u8 = 1 << 4;
pub(crate) const CANCELLED: u8 = 1 << 5;
/// It was registered before the close of its context began.
pub(crate) const EARLY: u8 = 1 << 6;

/// A context, as far as the operations know it. The registry itself is one, too.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) parent: Option<Arc<Model>>,
    pub(crate) depth: usize,
    pub(crate) id: OnceLock<ResourceId>,
    /// Accepted futures that are not dropped, those of descendants included.
    alive: AtomicIsize,
    /// Futures that were ever accepted, those of descendants included.
    accepted: AtomicU64,
    pub(crate) hooks: Mutex<Vec<Arc<HookRecord>>>,
    /// `on_close` hooks that run just now.
    running: AtomicIsize,
    pub(crate) started: Mutex<Vec<Arc<HookRecord>>>,
    /// How many values it was given.
    pub(crate) owned: Mutex<usize>,
    /// Those of them that were dropped, in that order.
    pub(crate) owned_dropped: Mutex<Vec<Arc<OwnedRecord>>>,
    report: Mutex<Option<CloseReport>>,
    /// Something below it was forgotten that a close waits for.
    never_closes: AtomicBool,
}

impl Model {
    pub(crate) fn new(name: String, parent: Option<Arc<Model>>) -> Arc<Self> {
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        Arc::new(Self {
            name,
            parent,
            depth,
            id: OnceLock::new(),
            alive: AtomicIsize::new(0),
            accepted: AtomicU64::new(0),
            hooks: Mutex::default(),
            running: AtomicIsize::new(0),
            started: Mutex::default(),
            owned: Mutex::default(),
            owned_dropped: Mutex::default(),
            report: Mutex::default(),
            never_closes: AtomicBool::new(false),
        })
    }

    /// It and its ancestors, up to the registry.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |model| model.parent.as_deref())
    }

    pub(crate) fn is_inside(&self, other: &Self) -> bool {
        self.upwards().any(|model| std::ptr::eq(model, other))
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(SeqCst)
    }

    pub(crate) fn never_closes(&self) -> bool {
        self.never_closes.load(SeqCst)
    }

    pub(crate) fn forget_inside(&self) {
        for model in self.upwards() {
            model.never_closes.store(true, SeqCst);
        }
    }

    /// I1: of a closed context, or of one whose `on_close` hooks run, no future is left.
    pub(crate) fn check_drained(&self, when: &str) {
        let alive = self.alive.load(SeqCst);
        if alive > 0 {
            failure(format_args!(
                "{}: {alive} futures are alive {when}",
                self.name
            ));
        }
        if self.never_closes() {
            failure(format_args!(
                "{}: a future was forgotten and is over {when}",
                self.name
            ));
        }
    }

    /// I8: what a close came to is the same for all who waited.
    pub(crate) fn saw(&self, report: &CloseReport) {
        if report.status() == CloseStatus::Begun {
            if !is_running_inside(self) {
                let (name, at) = (&self.name, Backtrace::force_capture());
                failure(format_args!(
                    "{name}: only begun, though asked from outside\n{at}"
                ));
            }
            return;
        }
        self.check_drained("after the close");
        if self.running.load(SeqCst) > 0 {
            failure(format_args!("{}: a hook runs after the close", self.name));
        }
        let mut known = lock(&self.report);
        if let Some(known) = &*known {
            if known.to_string() != report.to_string() {
                failure(format_args!(
                    "{}: two reports: {known}\nand {report}",
                    self.name
                ));
            }
        }
        *known = Some(report.clone());
    }

    pub(crate) fn report(&self) -> Option<CloseReport> {
        lock(&self.report).clone()
    }
}

/// What has happened to one future or closure that was given to a context.
#[derive(Debug)]
pub(crate) struct Fate {
    /// How it was given.
    pub(crate) sort: &'static str,
    pub(crate) flags: Flags,
    pub(crate) model: Arc<Model>,
}

impl Fate {
    pub(crate) fn new(model: &Arc<Model>, sort: &'static str) -> Arc<Self> {
        Arc::new(Self {
            sort,
            flags: Flags::default(),
            model: Arc::clone(model),
        })
    }

    /// It was accepted, as its spawn said; it may have ended meanwhile.
    pub(crate) fn accept(&self) {
        for model in self.model.upwards() {
            model.accepted.fetch_add(1, SeqCst);
        }
        if self.flags.set(ACCEPTED) & DROPPED == 0 {
            self.count(1);
        }
    }

    /// May be counted down before it is counted up: the sum is never too high.
    fn dropped(&self) {
        let before = self.flags.set(DROPPED);
        if before & DROPPED != 0 {
            failure(format_args!(
                "a future of {} was dropped twice",
                self.model.name
            ));
        }
        if before & ACCEPTED != 0 {
            self.count(-1);
        }
    }

    fn count(&self, change: isize) {
        for model in self.model.upwards() {
            model.alive.fetch_add(change, SeqCst);
        }
    }
}

/// Lives in a future, as the last of it to be dropped.
pub(crate) struct FutureGuard(pub(crate) Arc<Fate>);

impl Drop for FutureGuard {
    fn drop(&mut self) {
        if self.0.flags.has(STARTED) {
            check_scope(&self.0.model, "the destructor of a future");
        }
        self.0.dropped();
    }
}

/// One value that a context owns.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) number: usize,
    pub(crate) flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Closing,
    Close,
}

/// One hook: whether it was accepted, ran, and how it ended.
#[derive(Debug)]
pub(crate) struct HookRecord {
    pub(crate) flags: Flags,
    pub(crate) number: usize,
    pub(crate) when: When,
    pub(crate) model: Arc<Model>,
}

impl HookRecord {
    pub(crate) fn start(self: &Arc<Self>) {
        if self.flags.set(STARTED) & STARTED != 0 {
            failure(format_args!("a hook of {} ran twice", self.model.name));
        }
        if self.flags.has(CANCELLED) {
            failure(format_args!(
                "a hook of {} ran, though it was cancelled",
                self.model.name
            ));
        }
        check_scope(&self.model, "a hook");
        lock(&self.model.started).push(Arc::clone(self));
        if self.when == When::Close {
            self.model.check_drained("when a hook begins");
            if self.model.running.fetch_add(1, SeqCst) > 0 {
                failure(format_args!("two hooks of {} run at once", self.model.name));
            }
        }
    }
}

/// Lives in a hook, as the last of it to be dropped.
pub(crate) struct HookGuard(pub(crate) Arc<HookRecord>);

impl Drop for HookGuard {
    fn drop(&mut self) {
        let hook = &self.0;
        if hook.flags.set(DROPPED) & DROPPED != 0 {
            failure(format_args!(
                "a hook of {} was dropped twice",
                hook.model.name
            ));
        }
        if hook.flags.has(STARTED) && hook.when == When::Close {
            hook.model.running.fetch_sub(1, SeqCst);
        }
    }
}

thread_local! {
    /// Whose code this thread runs, innermost last.
    static RUNNING: RefCell<Vec<Arc<Model>>> = const { RefCell::new(Vec::new()) };
}

/// Says whose code is running, until it is dropped.
pub(crate) struct Running;

impl Running {
    pub(crate) fn new(model: &Arc<Model>) -> Self {
        RUNNING.with_borrow_mut(|running| running.push(Arc::clone(model)));
        Self
    }
}

/// Says whose code a destructor is, if it is dropped in its scope. Nothing tells that of an unstarted task of the
/// registry itself.
pub(crate) fn in_destructor(model: &Arc<Model>, flags: &Flags) -> Option<Running> {
    let current = Context::current().map(|current| current.id());
    let is_current = current.is_some() && current.as_ref() == model.id.get();
    let is_inside = flags.has(STARTED) || model.parent.is_none() || is_current;
    is_inside.then(|| Running::new(model))
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

/// Whether the running code is awaited by the close of this context.
pub(crate) fn is_running_inside(model: &Model) -> bool {
    RUNNING.with_borrow(|running| running.iter().any(|one| one.is_inside(model)))
        || is_current(model)
}

/// Whether the current context is this one or lies below it. Names are unique in a round.
pub(crate) fn is_current(model: &Model) -> bool {
    let Some(current) = Context::current() else {
        return false;
    };
    model.parent.is_none() || current.path().split('/').any(|name| name == model.name)
}

/// The code of a task or hook runs in the scope of its context.
pub(crate) fn check_scope(model: &Model, what: &str) {
    let current = Context::current().map(|current| current.id());
    if current.as_ref() != model.id.get() {
        failure(format_args!(
            "{what} of {} ran in the scope of {current:?}\n{}",
            model.name,
            Backtrace::force_capture()
        ));
    }
}
