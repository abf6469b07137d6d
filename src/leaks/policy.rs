//! What counts as a leak, and how long things may take to settle.

use crate::{
    id::ResourceId,
    leaks::{
        allow::{Allow, Suspect},
        growth::{Growth, GrowthEntry},
    },
    name::Name,
    table::live::Live,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// What a [leak report](crate::Registry::leaks) looks for.
///
/// Some things are leaks whatever the policy: a context that is closed but still held; a task that was
/// cancelled but still runs past its grace period; a context that was dropped while open; a context that
/// only its own tasks hold. A policy adds limits, and says what to leave out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::LeakPolicy};
/// use std::time::Duration;
///
/// let registry = Registry::new();
/// let policy = LeakPolicy::new()
///     .settle(Duration::from_millis(100))
///     .max_age("request", Duration::from_secs(60))
///     .max_count("connection", 10_000);
/// let report = registry.leaks(&policy).await;
/// assert!(report.is_clean(), "{report}");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LeakPolicy {
    pub(crate) settle: Duration,
    /// Whether whatever is alive is a leak.
    pub(crate) nothing_left: bool,
    /// Whether a close within its grace period is waited for.
    pub(crate) is_patient: bool,
    pub(crate) asks_for: AsksFor,
    pub(crate) max_age: HashMap<Name, Duration>,
    pub(crate) max_count: Vec<(Name, usize)>,
    /// What is left out, by kind and by site.
    pub(crate) ignored_makes: Vec<Allow>,
    pub(crate) ignored: Arc<HashSet<ResourceId>>,
    /// How many contexts had been dropped open before that is counted.
    pub(crate) dropped_before: u64,
    pub(crate) allowed: Vec<Allow>,
    pub(crate) rises: Vec<GrowthEntry>,
}

/// What can be left out as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsksFor {
    /// Contexts that were dropped while open.
    pub(crate) dropped_open: bool,
    /// Tasks of bare `tokio::spawn`; the test kit's business.
    pub(crate) foreign: bool,
}

impl LeakPolicy {
    /// For a program that runs: reports only definite leaks. Settles for up to 1 s.
    pub fn new() -> Self {
        Self {
            settle: Duration::from_secs(1),
            nothing_left: false,
            is_patient: true,
            asks_for: AsksFor {
                dropped_open: true,
                foreign: true,
            },
            max_age: HashMap::new(),
            max_count: Vec::new(),
            ignored_makes: Vec::new(),
            ignored: Arc::default(),
            dropped_before: 0,
            allowed: Vec::new(),
            rises: Vec::new(),
        }
    }

    /// For the end of a test or a program: whatever is still alive is a leak. Settles for up to 2 s.
    pub fn nothing_left() -> Self {
        Self {
            settle: Duration::from_secs(2),
            nothing_left: true,
            ..Self::new()
        }
    }

    /// How long to wait for what looks like a leak to go away by itself; the wait ends as soon as
    /// nothing looks like one. Zero looks once. A close within its grace period is waited for in any case, if
    /// `nothing_left` is asked for.
    #[must_use]
    pub fn settle(mut self, limit: Duration) -> Self {
        self.settle = limit;
        self
    }

    /// Things of this kind that are older are leaks.
    #[must_use]
    pub fn max_age(mut self, kind: impl Into<Name>, age: Duration) -> Self {
        let limit = self.max_age.entry(kind.into()).or_insert(age);
        *limit = age.min(*limit);
        self
    }

    /// More things of this kind are a leak: one finding for the kind. Hooks and handles have [kinds](crate::docs::leaks) as well.
    #[must_use]
    pub fn max_count(mut self, kind: impl Into<Name>, count: usize) -> Self {
        self.max_count.push((kind.into(), count));
        self
    }

    /// What [rises](Growth::rising), in this comparison, is a leak: one finding for each count. What another finding lists
    /// already is not listed again; a note says that it grows.
    #[must_use]
    pub fn growth(mut self, growth: &Growth) -> Self {
        self.rises.extend(growth.rising());
        self
    }

    /// Contexts that were dropped while open are no leaks: they closed in the background.
    #[must_use]
    pub fn ignore_dropped(mut self) -> Self {
        self.asks_for.dropped_open = false;
        self
    }

    /// Leaves out tasks of bare `tokio::spawn`, which `testing::check` otherwise counts: for a library that has some of
    /// its own in the background.
    #[must_use]
    pub fn ignore_bare_spawns(mut self) -> Self {
        self.asks_for.foreign = false;
        self
    }

    /// Leaves out things of this kind, and what only they keep alive.
    #[must_use]
    pub fn ignore_kind(mut self, kind: impl AsRef<str>) -> Self {
        self.ignored_makes.push(Allow::kind(kind));
        self
    }

    /// Leaves out things that were made in this file, or on this line: `conn.rs`, `src/net/conn.rs`,
    /// `conn.rs:41`. Whole components count, from the end. And what only they keep alive.
    #[must_use]
    pub fn ignore_site(mut self, site: impl AsRef<str>) -> Self {
        self.ignored_makes.push(Allow::site(site));
        self
    }

    /// Leaves out what was alive already.
    #[must_use]
    pub fn ignore(mut self, live: &Live) -> Self {
        let ignored = Arc::make_mut(&mut self.ignored);
        ignored.extend(live.iter().map(crate::table::resource::Resource::id));
        self
    }

    /// Lists known leaks apart, each with the reason why it is accepted, and until when. Takes one [`Allow`], or several.
    #[must_use]
    pub fn allow(mut self, known: impl IntoIterator<Item = Allow>) -> Self {
        self.allowed.extend(known);
        self
    }
}

impl LeakPolicy {
    /// The same with a short wait, for a test that has failed already.
    #[cfg(feature = "testing")]
    pub(crate) fn impatient(&self) -> Self {
        let mut policy = self.clone();
        policy.settle = policy.settle.min(Duration::from_millis(200));
        policy.is_patient = false;
        policy
    }

    /// Whether something becomes a leak by age or number, without a close.
    pub(crate) fn has_limits(&self) -> bool {
        self.nothing_left || !self.max_age.is_empty() || !self.max_count.is_empty()
    }

    /// Whether things of this make are left out.
    pub(crate) fn leaves_out(&self, suspect: &Suspect<'_>) -> bool {
        let mut ignored = self.ignored_makes.iter();
        ignored.any(|make| make.covers(suspect))
    }
}

impl Default for LeakPolicy {
    fn default() -> Self {
        Self::new()
    }
}
