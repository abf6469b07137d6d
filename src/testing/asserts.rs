//! [`assert_released`] waits until one thing is gone, and [`assert_no_growth`] repeats a scenario, and fails if something
//! grows.

use crate::{
    clock,
    context::weak::WeakContext,
    leaks::{growth::Growth, policy::LeakPolicy},
    ledger::level::Level,
    registry::registry::Registry,
    testing::check,
    tracked::WeakTracked,
};
use futures::future::select;
use std::{panic::Location, pin::pin, rc, sync, time::Duration};

/// How long to wait until a thing is released.
const RELEASED_WITHIN: Duration = Duration::from_secs(2);
/// How many times to look at its count with only a yield in between.
const YIELDS: u32 = 32;
/// The first and the longest pause between two later looks.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// How long to wait after a cycle that has left more than there was before it.
const CYCLE_SETTLES_WITHIN: Duration = Duration::from_millis(200);

/// A weak handle, which knows how many strong handles there are.
///
/// Implemented for [`WeakContext`], [`WeakTracked`], and the `Weak`s of `Arc` and `Rc`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::testing::{WeakHandle, assert_released};
/// use std::sync::{Arc, Weak};
///
/// struct WeakPool(Weak<Vec<String>>); // a program's own handle
///
/// impl WeakHandle for WeakPool {
///     fn strong_count(&self) -> usize {
///         self.0.strong_count()
///     }
/// }
///
/// let pool = Arc::new(vec!["conn-1".to_owned()]);
/// let weak = WeakPool(Arc::downgrade(&pool));
/// assert_eq!((&weak).strong_count(), 1);
/// drop(pool);
/// assert_released(weak).await;
/// # }
/// ```
pub trait WeakHandle {
    /// How many strong handles there are.
    fn strong_count(&self) -> usize;

    /// Describes who has them; `None` if that is not recorded.
    fn describe_holders(&self) -> Option<String> {
        None
    }
}

impl<T: ?Sized> WeakHandle for sync::Weak<T> {
    fn strong_count(&self) -> usize {
        sync::Weak::strong_count(self)
    }
}

impl<T: ?Sized> WeakHandle for rc::Weak<T> {
    fn strong_count(&self) -> usize {
        rc::Weak::strong_count(self)
    }
}

impl<T> WeakHandle for WeakTracked<T> {
    fn strong_count(&self) -> usize {
        WeakTracked::strong_count(self)
    }

    fn describe_holders(&self) -> Option<String> {
        self.holders().map(|holders| holders.to_string())
    }
}

impl WeakHandle for WeakContext {
    fn strong_count(&self) -> usize {
        self.holders().strong_count()
    }

    fn describe_holders(&self) -> Option<String> {
        Some(self.holders().to_string())
    }
}

impl<W: WeakHandle + ?Sized> WeakHandle for &W {
    fn strong_count(&self) -> usize {
        W::strong_count(self)
    }

    fn describe_holders(&self) -> Option<String> {
        W::describe_holders(self)
    }
}

/// Waits until the last strong handle is gone, for up to 2 s.
///
/// It never upgrades, so it keeps nothing alive, not even for a moment (I5). Make the things in a function that returns
/// weak handles only, because a thing that is still in a variable is not gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, WeakContext, testing};
///
/// async fn scenario(registry: &Registry) -> WeakContext {
///     let ctx = registry.context("session");
///     ctx.close().await;
///     ctx.downgrade()
/// }
///
/// let registry = Registry::new();
/// testing::assert_released(scenario(&registry).await).await;
/// # }
/// ```
///
/// # Panics
///
/// If a strong handle is left, with the line that called it, and with the holders if they are recorded.
#[track_caller]
pub fn assert_released(weak: impl WeakHandle) -> impl Future<Output = ()> {
    let location = Location::caller();
    async move {
        let started = clock::now();
        let mut rest = INTERVALS.0;
        let mut looks = 0;
        while weak.strong_count() > 0 {
            looks += 1;
            if looks < YIELDS {
                tokio::task::yield_now().await;
                continue;
            }
            let took = clock::now().saturating_duration_since(started);
            assert!(
                took < RELEASED_WITHIN,
                "not released by {location}, after {}: {}",
                clock::human(took),
                described(&weak)
            );
            clock::sleep(rest).await;
            rest = (rest * 2).min(INTERVALS.1);
        }
    }
}

fn described(weak: &impl WeakHandle) -> String {
    let count = weak.strong_count();
    let unknown = || format!("{count} strong; the holders of a plain `Arc` are not recorded");
    weak.describe_holders().unwrap_or_else(unknown)
}

/// Repeats a scenario in one registry, and fails if the count of something keeps rising.
///
/// It counts what was made on each line, and each [probe](Registry::probe). Something that is made once, on first use, is
/// no growth, and neither is a pool that has reached its ceiling; [`Growth::rising`] has the rule. Ten cycles are a good
/// number, more than a pool takes to fill a better one; with fewer than four a first use looks like a leak. Cycles run one
/// after the other. What a cycle leaves has up to 200 ms to end, so a scenario may close in the
/// background.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::testing;
///
/// testing::assert_no_growth(10, async |registry| {
///     let session = registry.context("session");
///     session.spawn(async {}).await.unwrap();
///     session.close().await;
/// })
/// .await;
/// # }
/// ```
///
/// # Panics
///
/// If something grows, with the counts, the report, and the line that called it. If the scenario panics, with that panic.
#[track_caller]
pub fn assert_no_growth(
    cycles: usize,
    mut scenario: impl AsyncFnMut(Registry),
) -> impl Future<Output = ()> {
    let location = Location::caller();
    async move {
        let registry = Registry::new();
        registry.set_level(registry.level().max(Level::Holders));
        let mut growth = Growth::start(registry.root()).await;
        for _ in 0..cycles {
            let before = registry.count();
            let given = registry.clone();
            registry.scope(async { scenario(given).await }).await;
            wait_until_gone(&registry, before).await;
            growth.sample().await;
        }
        if growth.rising().is_empty() {
            return;
        }
        let policy = LeakPolicy::new().settle(Duration::ZERO).growth(&growth);
        let report = registry.leaks(&policy).await;
        let what = format!("grew over {cycles} cycles of the scenario");
        panic!("{}", check::message(&what, &report, location));
    }
}

/// Waits until no more is alive than `before`, or until the limit.
async fn wait_until_gone(registry: &Registry, before: usize) {
    let listening = registry.root().node.table.tracking.listen();
    let started = clock::now();
    loop {
        let mut gone = pin!(listening.changed().notified());
        gone.as_mut().enable();
        let took = clock::now().saturating_duration_since(started);
        if registry.count() <= before || took >= CYCLE_SETTLES_WITHIN {
            return;
        }
        let rest = Duration::from_millis(5).min(CYCLE_SETTLES_WITHIN.saturating_sub(took));
        select(gone, pin!(clock::sleep(rest))).await;
    }
}
