//! Counts that rise: by the line that made things, by kind, and by what users count themselves.

use crate::{
    clock::Stamp,
    context::state::Core,
    leaks::{counts::unseen, trend},
    plural::plural,
    table::{live::Live, resource::Resource, store::Table},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};

/// How many moments are remembered.
const REMEMBERED: usize = 64;

/// Compares how many things there are, by the line that made them, at several moments: what rises again and again is
/// leaking. Made by [`Registry::growth`](crate::Registry::growth).
///
/// The first moment is when it is made; each [`sample`](Self::sample) is another. Best taken when a cycle of
/// work has ended and things should be as they were.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let mut growth = registry.growth().await;
/// let mut kept = Vec::new();
/// for round in 0..5 {
///     kept.push(registry.register(format!("listener {round}"), "listener"));
///     growth.sample().await;
/// }
/// let rising = growth.rising();
/// assert_eq!((rising.len(), rising[0].rate()), (1, 1.0));
/// assert!(rising[0].to_string().starts_with("listener made at "));
/// # }
/// ```
///
/// # Performance
///
/// A sample lists everything, as [`live`](crate::Registry::live) does, and counts it. The latest 64 are kept:
/// counts, not things, and the registry is not kept: when it has gone there is nothing left to count.
pub struct Growth {
    root: Weak<Core>,
    samples: VecDeque<Sample>,
}

struct Sample {
    counts: BTreeMap<Counted, usize>,
    at: Stamp,
}

/// What is counted: the things of one kind that one line made, or what a probe counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    Made {
        kind: String,
        location: &'static Location<'static>,
    },
    Probe(String),
}

/// A count that rose. Part of a [`Growth`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let registry = headcount::Registry::new();
/// let mut growth = registry.growth().await;
/// let mut kept = Vec::new();
/// for round in 0..4 {
///     kept.push(registry.register(format!("listener {round}"), "listener"));
///     growth.sample().await;
/// }
/// let entry = &growth.rising()[0]; // without the first quarter of the samples
/// assert_eq!((entry.name(), entry.counts()), ("listener", &[1, 2, 3, 4][..]));
/// assert_eq!((entry.more(), entry.site().unwrap().0), (3, file!()));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrowthEntry {
    pub(crate) counted: Counted,
    counts: Vec<usize>,
    took: Duration,
}

impl Growth {
    pub(crate) async fn start(root: &Arc<Core>) -> Self {
        let mut growth = Self {
            root: Arc::downgrade(root),
            samples: VecDeque::new(),
        };
        growth.sample().await;
        growth
    }

    /// Begins with a sample that is taken without yielding.
    #[cfg(feature = "web")]
    pub(crate) fn of(root: &Weak<Core>) -> Self {
        let mut growth = Self {
            root: Weak::clone(root),
            samples: VecDeque::new(),
        };
        growth.sample_now();
        growth
    }

    /// Takes another sample. Lists everything in bounded steps.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped there is no sample.
    pub async fn sample(&mut self) {
        let live = match self.table() {
            Some(table) => Some(table.live().await),
            None => None,
        };
        self.take(live.as_ref());
    }

    /// As [`sample`](Self::sample), without yielding.
    pub fn sample_now(&mut self) {
        let live = self.table().map(|table| table.live_now());
        self.take(live.as_ref());
    }

    fn table(&self) -> Option<Arc<Table>> {
        let root = self.root.upgrade()?;
        Some(Arc::clone(&root.node.table))
    }

    fn take(&mut self, live: Option<&Live>) {
        let mut counts = BTreeMap::new();
        for thing in live.into_iter().flatten() {
            *counts.entry(Counted::of(thing)).or_default() += 1;
        }
        if let (Some(live), Some(root)) = (live, self.root.upgrade()) {
            for ((kind, location), count) in unseen(live, &root) {
                *counts.entry(Counted::Made { kind, location }).or_default() += count;
            }
        }
        let probes = self.table().map(|table| table.tracking.probes.ask());
        for (name, count) in probes.into_iter().flatten() {
            counts.insert(Counted::Probe(name), count);
        }
        if self.samples.len() == REMEMBERED {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            counts,
            at: Stamp::now(),
        });
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// What is more now than at the first moment, most first: a comparison of two moments.
    pub fn changes(&self) -> Vec<GrowthEntry> {
        self.rises(0, |counts| counts.last() > counts.first())
    }

    /// Every count that there is now, those first that rose most.
    #[cfg(feature = "web")]
    pub(crate) fn all(&self) -> Vec<GrowthEntry> {
        self.rises(0, |_| true)
    }

    /// What is leaking, most first: counts whose low water rises from early to late samples, and has not come to a stand.
    ///
    /// The first quarter of the samples is left out, because much is made once, on first use (of fewer than four samples,
    /// none is). A pool that has reached its ceiling, a cache that is cleared now and then and a single step are no growth,
    /// and a dip does not hide one; ten samples are a good number. What is still filling when the last sample is taken
    /// cannot be told from a leak: take more than it takes to fill.
    pub fn rising(&self) -> Vec<GrowthEntry> {
        self.rises(trend::warm_up(self.samples.len()), trend::is_growing)
    }

    fn rises(&self, from: usize, is_one: impl Fn(&[usize]) -> bool) -> Vec<GrowthEntry> {
        let samples: Vec<_> = self.samples.iter().skip(from).collect();
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return Vec::new();
        };
        let took = Duration::from_nanos(last.at.since(first.at));
        let mut rises: Vec<_> = last
            .counts
            .keys()
            .map(|counted| GrowthEntry {
                counted: counted.clone(),
                counts: samples.iter().map(|sample| sample.count(counted)).collect(),
                took,
            })
            .filter(|rise| is_one(&rise.counts))
            .collect();
        rises.sort_by_key(|rise| std::cmp::Reverse(rise.more()));
        rises
    }
}

impl Sample {
    fn count(&self, counted: &Counted) -> usize {
        self.counts.get(counted).copied().unwrap_or(0)
    }
}

impl Counted {
    pub(crate) fn of(thing: &Resource) -> Self {
        Self::Made {
            kind: thing.kind().to_owned(),
            location: thing.location(),
        }
    }
}

impl GrowthEntry {
    /// What is counted: a kind, or the name of a probe.
    pub fn name(&self) -> &str {
        match &self.counted {
            Counted::Made { kind, .. } => kind,
            Counted::Probe(name) => name,
        }
    }

    /// Whether it is the count of a [probe](crate::Registry::probe).
    pub fn is_probe(&self) -> bool {
        matches!(self.counted, Counted::Probe(_))
    }

    /// The file and line that made the things.
    pub fn site(&self) -> Option<(&'static str, u32)> {
        let location = self.location()?;
        Some((location.file(), location.line()))
    }

    pub(crate) fn location(&self) -> Option<&'static Location<'static>> {
        match &self.counted {
            Counted::Made { location, .. } => Some(location),
            Counted::Probe(_) => None,
        }
    }

    /// How many there were at each moment that was compared: of all samples in [`changes`](Growth::changes), without the first quarter of
    /// them, in which a program warms up, in [`rising`](Growth::rising).
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// How many more there are at the last of these moments than at the first one.
    pub fn more(&self) -> usize {
        let (first, last) = (self.counts.first(), self.counts.last());
        last.zip(first)
            .map_or(0, |(last, first)| last.saturating_sub(*first))
    }

    /// How many more from one sample to the next, on average.
    #[expect(clippy::cast_precision_loss, reason = "no count comes near 2^52")]
    pub fn rate(&self) -> f64 {
        self.more() as f64 / self.counts.len().saturating_sub(1).max(1) as f64
    }

    /// How long that took.
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// `listener made at src/ui.rs:12: 3, 4, 5, 6 (1 a sample)`
impl fmt::Display for GrowthEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::name::Printed(self.name());
        match self.site() {
            Some((file, line)) => write!(f, "{name} made at {file}:{line}: ")?,
            None => write!(f, "probe {name}: ")?,
        }
        let hidden = self.counts.len().saturating_sub(SHOWN);
        if hidden > 0 {
            f.write_str("…, ")?;
        }
        let shown: Vec<_> = self.counts[hidden..].iter().map(usize::to_string).collect();
        write!(f, "{} ({:.1} a sample)", shown.join(", "), self.rate())
    }
}

/// How many counts are printed.
const SHOWN: usize = 10;

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growth")
            .field("samples", &self.samples.len())
            .field("rising", &self.rising())
            .finish_non_exhaustive()
    }
}

/// What is rising, or that nothing is.
impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rising = self.rising();
        if rising.is_empty() {
            return write!(
                f,
                "nothing rises over {}",
                plural(self.samples.len(), "sample")
            );
        }
        let lines: Vec<_> = rising.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
