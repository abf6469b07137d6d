//! What exists once a registry, and not in each of its contexts.

#[cfg(feature = "testing")]
use crate::context::report::CloseReport;
use crate::{
    clock::Stamp,
    context::{alike::Alike, line_counts::LineCounts},
    id::ResourceId,
    ledger::handle_log::Acquisition,
    name::Label,
    panics,
    registry::{coalesced_scan::CoalescedScan, readiness::ServiceState},
    sync::{AtomicUsize, Mutex, Notify, Ordering::SeqCst, lock},
    table::{
        record::Record,
        resource::{self, Resource},
    },
};
#[cfg(feature = "dump")]
use futures::future::{BoxFuture, Shared};
#[cfg(feature = "dump")]
use std::collections::HashSet;
#[cfg(any(feature = "dump", feature = "testing"))]
use std::sync::Arc;
use std::{collections::VecDeque, panic::Location, time::Duration};

/// How many contexts that were dropped while open are remembered.
const REMEMBERED: usize = 64;
/// For how long: a program that runs for months does not want to hear of each for ever.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);

/// Shared by all contexts of a registry.
#[derive(Default)]
pub(crate) struct RegistryState {
    /// Contexts whose last handle was dropped while they were open.
    pub(crate) dropped: DroppedContexts,
    /// Whether the service that the registry belongs to is ready.
    pub(crate) service: ServiceState,
    /// How often each line did what is not told each time.
    pub(crate) repeats: LineCounts,
    /// Closes that were not clean, for the check at the end of a test.
    #[cfg(feature = "testing")]
    pub(crate) unclean: UncleanCloses,
    /// Hooks that were registered, less those that were cancelled, to be compared with those that ran.
    #[cfg(feature = "testing")]
    pub(crate) hooks: Arc<AtomicUsize>,
    /// What metrics are made of, beside the sums of contexts.
    #[cfg(feature = "metrics")]
    pub(crate) figures: crate::registry::figures::Figures,
    /// Closes that no runtime was at hand for.
    pub(crate) undriven: UndrivenCloses,
    /// 1 while a look for the tasks of contexts that abort theirs is to come.
    pub(crate) abort_scan: AtomicUsize,
    /// The scan for the tasks of contexts that outlived their grace period.
    pub(crate) stragglers: CoalescedScan<ResourceId, Stragglers>,
    /// The scan for tasks that a hook at its time limit may have waited for.
    pub(crate) running: CoalescedScan<(), Vec<Resource>>,
    /// The search for tasks and hooks that wait for each other.
    #[cfg(feature = "dump")]
    pub(crate) deadlocks: Deadlocks,
}

/// How many reports of unclean closes are kept.
#[cfg(feature = "testing")]
const KEPT: usize = 16;

/// The reports of closes that were not clean.
#[cfg(feature = "testing")]
#[derive(Default)]
pub(crate) struct UncleanCloses(Mutex<(usize, Vec<CloseReport>)>);

#[cfg(feature = "testing")]
impl UncleanCloses {
    pub(crate) fn add(&self, report: &CloseReport) {
        let (count, first) = &mut *lock(&self.0);
        *count += 1;
        if first.len() < KEPT {
            first.push(report.clone());
        }
    }

    /// How many there were, and the first of them.
    pub(crate) fn all(&self) -> (usize, Vec<CloseReport>) {
        lock(&self.0).clone()
    }
}

/// Whether closes somewhere in the registry need a runtime.
#[derive(Default)]
pub(crate) struct UndrivenCloses {
    /// 1 once a close found no runtime.
    noted: AtomicUsize,
    /// Notified when another close needs a runtime.
    pub(crate) changed: Notify,
}

impl UndrivenCloses {
    /// Notes that a close found no runtime, and wakes those that await or drive closes: some of them may have to bring one.
    /// It is for ancestors only, but waking all is cheaper than finding those. It stays noted: from here on those that await
    /// closes look for such ones below them.
    pub(crate) fn note(&self) {
        self.noted.store(1, SeqCst);
        panics::notify_all(&self.changed);
    }

    /// Whether there was any.
    pub(crate) fn is_noted(&self) -> bool {
        self.noted.load(SeqCst) == 1
    }
}

/// The tasks of one context that are still there when its grace period is over.
#[derive(Clone, Default)]
pub(crate) struct Stragglers {
    pub(crate) tasks: Alike,
    /// The oldest of the first few that were found.
    pub(crate) named: Vec<Resource>,
}

/// The deadlocks of a registry.
#[cfg(feature = "dump")]
#[derive(Default)]
pub(crate) struct Deadlocks {
    pub(crate) scan: CoalescedScan<(), Option<DeadlockCheck>>,
    /// The members of those that a warning has reported, as long as they are there.
    pub(crate) reported: Mutex<HashSet<Vec<ResourceId>>>,
}

/// The answers of a search, which are looked up once for all that wait for it.
#[cfg(feature = "dump")]
pub(crate) type DeadlockCheck = Shared<BoxFuture<'static, Arc<[KnownDeadlock]>>>;

/// A deadlock that was found.
#[cfg(feature = "dump")]
#[derive(Clone)]
pub(crate) struct KnownDeadlock {
    /// Its tasks and hooks, sorted.
    pub(crate) members: Vec<ResourceId>,
    pub(crate) text: Arc<str>,
}

/// Contexts whose last handle was dropped while they were open: remembered, because they are gone when a leak report asks.
#[derive(Default)]
pub(crate) struct DroppedContexts(Mutex<Dropped>);

/// The dropped contexts at one moment.
#[derive(Clone, Default)]
pub(crate) struct Dropped {
    /// How many there were.
    pub(crate) count: u64,
    /// The latest last.
    pub(crate) latest: VecDeque<DroppedWhileOpen>,
    /// When the latest of those was dropped that there was no room for.
    pushed_out: Option<Stamp>,
    /// How many were forgotten because it was long ago.
    expired: u64,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct DroppedWhileOpen {
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) path: String,
    pub(crate) location: &'static Location<'static>,
    pub(crate) at: Stamp,
    /// How many tasks and children it had.
    pub(crate) inside: u64,
    /// How the last handle had been taken, where that was recorded.
    pub(crate) last: Option<Acquisition>,
}

impl DroppedWhileOpen {
    pub(crate) fn of(context: &dyn Record, inside: u64, last: Option<Acquisition>) -> Self {
        let meta = context.meta();
        Self {
            name: meta.name.clone(),
            kind: meta.kind.clone(),
            path: resource::short_path(context),
            location: meta.location,
            at: Stamp::now(),
            inside,
            last,
        }
    }
}

impl Dropped {
    /// How many there were since the first so many, and are not remembered for lack of room.
    pub(crate) fn forgotten(&self, before: u64) -> u64 {
        let not_here = self.count - self.latest.len() as u64;
        not_here.saturating_sub(before.max(self.expired))
    }

    fn add(&mut self, context: DroppedWhileOpen) -> Option<DroppedWhileOpen> {
        self.count += 1;
        let is_full = self.latest.len() == REMEMBERED;
        let oldest = is_full.then(|| self.latest.pop_front()).flatten();
        if let Some(oldest) = &oldest {
            self.pushed_out = Some(oldest.at);
        }
        self.latest.push_back(context);
        oldest
    }

    /// Forgets those that were dropped long ago.
    fn expire(&mut self, now: Stamp) {
        let is_old = |at| Duration::from_nanos(now.since(at)) > REMEMBERED_FOR;
        let old = self.latest.partition_point(|context| is_old(context.at));
        self.latest.drain(..old);
        if old > 0 || self.pushed_out.is_some_and(is_old) {
            self.expired = self.count - self.latest.len() as u64;
        }
    }
}

impl DroppedContexts {
    pub(crate) fn add(&self, context: DroppedWhileOpen) {
        let oldest = lock(&self.0).add(context);
        drop(oldest);
    }

    /// Those that are remembered now.
    pub(crate) fn snapshot(&self) -> Dropped {
        let mut dropped = lock(&self.0);
        dropped.expire(Stamp::now());
        dropped.clone()
    }
}
