//! What is known from the outside of each context that a round makes.

use super::{
    fate::{DROPPED, EARLY},
    panics::failure,
    records::{HookRecord, OwnedRecord},
    running::is_running_inside,
};
use crate::common::lock;
use headcount::{CloseReason, CloseReport, CloseStatus, ResourceId, State, WeakContext};
use std::{
    backtrace::Backtrace,
    collections::HashMap,
    ptr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering::SeqCst},
    },
};

/// A context, as far as the operations know it. The registry itself is one, too.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) parent: Option<Arc<Model>>,
    /// What it needs, if it was opened.
    pub(crate) needs: Vec<Arc<Model>>,
    pub(crate) depth: usize,
    pub(crate) id: OnceLock<ResourceId>,
    /// Of a context that was opened, or is closed from the start.
    pub(crate) weak: OnceLock<WeakContext>,
    /// All contexts by their ids; only of the registry.
    all: Mutex<HashMap<ResourceId, Arc<Model>>>,
    /// Accepted futures that are not dropped, those of descendants included.
    alive: AtomicIsize,
    /// The same without those of descendants.
    own: AtomicIsize,
    /// Futures that were ever accepted, those of descendants included.
    accepted: AtomicU64,
    /// For each slot, how many of its futures have begun and are not dropped.
    slots: Mutex<HashMap<&'static str, isize>>,
    pub(crate) hooks: Mutex<Vec<Arc<HookRecord>>>,
    /// `on_close` hooks that run just now.
    pub(crate) running: AtomicIsize,
    pub(crate) started: Mutex<Vec<Arc<HookRecord>>>,
    /// The values it was given.
    pub(crate) owned: Mutex<Vec<Arc<OwnedRecord>>>,
    /// Those of them that were dropped, in that order.
    pub(crate) owned_dropped: Mutex<Vec<Arc<OwnedRecord>>>,
    report: Mutex<Option<CloseReport>>,
    /// It closes when a task fails.
    closes_on_failure: AtomicBool,
    /// Something below it was forgotten that a close waits for.
    never_closes: AtomicBool,
    /// Others were to need it.
    is_needed: AtomicBool,
    /// A close of it was given a deadline, at which it goes on without what cannot be ended.
    is_hurried: AtomicBool,
    /// Something in the round was.
    is_any_hurried: AtomicBool,
    /// It was to finish, or is just being asked to.
    may_finish: AtomicBool,
    /// The call that lets it finish has returned.
    is_finishing: AtomicBool,
}

impl Model {
    pub(crate) fn new(
        name: String,
        parent: Option<Arc<Model>>,
        needs: Vec<Arc<Model>>,
    ) -> Arc<Self> {
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        for need in &needs {
            need.is_needed.store(true, SeqCst);
        }
        Arc::new(Self {
            name,
            parent,
            needs,
            depth,
            id: OnceLock::new(),
            weak: OnceLock::new(),
            all: Mutex::default(),
            alive: AtomicIsize::new(0),
            own: AtomicIsize::new(0),
            accepted: AtomicU64::new(0),
            slots: Mutex::default(),
            hooks: Mutex::default(),
            running: AtomicIsize::new(0),
            started: Mutex::default(),
            owned: Mutex::default(),
            owned_dropped: Mutex::default(),
            report: Mutex::default(),
            closes_on_failure: AtomicBool::new(false),
            never_closes: AtomicBool::new(false),
            is_needed: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
            is_any_hurried: AtomicBool::new(false),
            may_finish: AtomicBool::new(false),
            is_finishing: AtomicBool::new(false),
        })
    }

    /// Notes what it is the model of.
    pub(crate) fn opened(self: &Arc<Self>, weak: WeakContext) {
        let id = weak.id();
        lock(&self.root().all).insert(id, Arc::clone(self));
        let _ = self.id.set(id);
        let _ = self.weak.set(weak);
    }

    /// The model of some context of this registry.
    pub(crate) fn by_id(&self, id: ResourceId) -> Option<Arc<Model>> {
        lock(&self.root().all).get(&id).cloned()
    }

    /// Lets go of all the others.
    pub(crate) fn forget_others(&self) {
        drop(std::mem::take(&mut *lock(&self.root().all)));
    }

    /// It and its ancestors, up to the registry.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |model| model.parent.as_deref())
    }

    fn root(&self) -> &Self {
        self.upwards().last().expect("it is among them")
    }

    pub(crate) fn is_inside(&self, other: &Self) -> bool {
        self.upwards().any(|model| ptr::eq(model, other))
    }

    /// Whatever closes after it, and it: what it is in, what it needs, and so on.
    fn onwards(&self) -> Vec<&Self> {
        let (mut all, mut next) = (vec![self], 0);
        while let Some(model) = all.get(next).copied() {
            for after in model.parent.iter().chain(&model.needs) {
                if !all.iter().any(|known| ptr::eq(*known, Arc::as_ptr(after))) {
                    all.push(after);
                }
            }
            next += 1;
        }
        all
    }

    /// Whether the close of the other one waits for it.
    pub(crate) fn is_awaited_by(&self, other: &Self) -> bool {
        self.onwards().iter().any(|model| ptr::eq(*model, other))
    }

    /// Those that need it, as far as they were opened.
    pub(crate) fn dependents(&self) -> Vec<Arc<Model>> {
        if !self.is_needed.load(SeqCst) {
            return Vec::new();
        }
        let needs_this = |other: &&Arc<Model>| {
            other
                .needs
                .iter()
                .any(|need| ptr::eq(Arc::as_ptr(need), self))
        };
        let all = lock(&self.root().all);
        all.values().filter(needs_this).cloned().collect()
    }

    /// It is to close when a task fails.
    pub(crate) fn close_on_failure(&self) {
        self.closes_on_failure.store(true, SeqCst);
    }

    /// I12: only a context that was told so closes because of a failure.
    pub(crate) fn check_policy(&self) {
        let reason = self.weak.get().and_then(WeakContext::close_reason);
        let has_failed = matches!(reason, Some(CloseReason::Failed(_)));
        if has_failed && !self.closes_on_failure.load(SeqCst) {
            failure(format_args!("{} closed because of a failure", self.name));
        }
    }

    /// Whether others were to need it.
    pub(crate) fn is_needed(&self) -> bool {
        self.is_needed.load(SeqCst)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(SeqCst)
    }

    /// A future was accepted.
    pub(crate) fn accept(&self) {
        for model in self.upwards() {
            model.accepted.fetch_add(1, SeqCst);
        }
    }

    /// So many futures more are alive.
    pub(crate) fn count(&self, change: isize) {
        self.own.fetch_add(change, SeqCst);
        for model in self.upwards() {
            model.alive.fetch_add(change, SeqCst);
        }
    }

    /// One in this slot begins, or is gone.
    pub(crate) fn count_in_slot(&self, slot: &'static str, change: isize) {
        let mut slots = lock(&self.slots);
        let count = slots.entry(slot).or_default();
        *count += change;
        if !(0..=1).contains(count) {
            failure(format_args!(
                "{}: {count} futures run in the slot {slot}",
                self.name
            ));
        }
    }

    pub(crate) fn never_closes(&self) -> bool {
        self.never_closes.load(SeqCst)
    }

    pub(crate) fn forget_inside(&self) {
        for model in self.upwards() {
            model.never_closes.store(true, SeqCst);
        }
    }

    /// It is about to be closed with a deadline.
    pub(crate) fn hurry(&self) {
        self.is_hurried.store(true, SeqCst);
        self.root().is_any_hurried.store(true, SeqCst);
    }

    /// Whether what closes after it may go on without what is left in it.
    pub(crate) fn is_hurried(&self) -> bool {
        let is_marked = |model: &&Self| model.is_hurried.load(SeqCst);
        self.root().is_any_hurried.load(SeqCst) && self.onwards().iter().any(is_marked)
    }

    /// Whether a deadline may have left something behind in it, or in what it waits for.
    fn may_have_left_behind(&self) -> bool {
        let is_hurried = |model: &Arc<Self>| model.is_awaited_by(self) && model.is_hurried();
        self.root().is_any_hurried.load(SeqCst) && lock(&self.root().all).values().any(is_hurried)
    }

    /// It is about to be asked to finish.
    pub(crate) fn begin_to_finish(&self) {
        self.may_finish.store(true, SeqCst);
    }

    /// It was asked to finish.
    pub(crate) fn finishes(&self) {
        self.is_finishing.store(true, SeqCst);
    }

    /// Whether it may refuse work though it is open.
    pub(crate) fn may_finish(&self) -> bool {
        let is_marked = |model: &&Self| model.may_finish.load(SeqCst);
        self.onwards().iter().any(is_marked)
    }

    /// Whether it refuses work of the code that is running, because it is finishing.
    pub(crate) fn refuses(&self) -> bool {
        let is_finishing = |model: &&Self| model.is_finishing.load(SeqCst);
        let mut finishing = self.upwards().filter(is_finishing).peekable();
        finishing.peek().is_some() && finishing.all(|model| !is_running_inside(model))
    }

    /// I1: of a closed context no future is left.
    fn check_drained(&self) {
        let alive = self.alive.load(SeqCst);
        if alive > 0 {
            failure(format_args!(
                "{}: {alive} futures are alive after the close",
                self.name
            ));
        }
        if self.never_closes() {
            failure(format_args!(
                "{}: a future was forgotten and is over after the close",
                self.name
            ));
        }
    }

    /// I1: when `on_close` hooks run no future is left, but for those that a close with a deadline has left behind.
    pub(crate) fn check_turn(&self) {
        let alive = if self.root().is_any_hurried.load(SeqCst) {
            let all = lock(&self.root().all);
            let models = all.values().map(|model| &**model);
            let inside = models.filter(|model| model.is_inside(self) && !model.is_hurried());
            inside.map(|model| model.own.load(SeqCst)).sum()
        } else {
            self.alive.load(SeqCst)
        };
        let is_forgotten = self.never_closes() && !self.root().is_any_hurried.load(SeqCst);
        if alive > 0 || is_forgotten {
            failure(format_args!(
                "{}: {alive} futures are alive when a hook begins",
                self.name
            ));
        }
    }

    /// I17: what needs this context has closed before that, or has left behind what could not be ended in time.
    pub(crate) fn check_order(&self, when: &str) {
        for one in self.dependents() {
            let Some(weak) = one.weak.get() else { continue };
            let state = weak.state();
            let is_left_behind = state == State::Closing && one.may_have_left_behind();
            if state != State::Closed && !is_left_behind {
                let (name, other) = (&self.name, &one.name);
                let now = self.weak.get().map(WeakContext::state);
                failure(format_args!(
                    "{other}, which needs {name}, is {state} {when}; that is {now:?}"
                ));
            }
        }
    }

    /// I1: values that it alone had are gone.
    fn check_owned(&self) {
        let owned = lock(&self.owned);
        let is_left =
            |value: &&Arc<OwnedRecord>| value.flags.has(EARLY) && !value.flags.has(DROPPED);
        let left = owned.iter().filter(is_left).count();
        if left > 0 {
            failure(format_args!(
                "{}: {left} owned values are there after the close",
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
        self.check_drained();
        self.check_order("after its close");
        self.check_owned();
        if self.running.load(SeqCst) > 0 {
            failure(format_args!("{}: a hook runs after the close", self.name));
        }
        self.check_reason(report.reason());
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

    /// The report has the reason that every handle has.
    fn check_reason(&self, said: &CloseReason) {
        let known = self.weak.get().map(WeakContext::close_reason);
        if known
            .as_ref()
            .is_some_and(|known| known.as_ref() != Some(said))
        {
            failure(format_args!(
                "{}: closed for {said}, and for {known:?}",
                self.name
            ));
        }
    }

    pub(crate) fn report(&self) -> Option<CloseReport> {
        lock(&self.report).clone()
    }
}
