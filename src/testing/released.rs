//! [`assert_released`]: waits until one thing is gone.

use crate::{clock, context::weak::WeakContext, tracked::WeakTracked};
use std::{panic::Location, rc, sync, time::Duration};

/// How long to wait.
const LIMIT: Duration = Duration::from_secs(2);
/// How many times to look at the count with only a yield in between.
const YIELDS: u32 = 32;
/// The first and the longest pause between two later looks.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A weak handle, which knows how many strong handles there are.
///
/// Implemented for [`WeakContext`], [`WeakTracked`], and the `Weak`s of `Arc` and `Rc`.
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
                took < LIMIT,
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
