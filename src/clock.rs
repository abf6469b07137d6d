//! When something was created: monotonic for ages, wall-clock for people.
//!
//! Ages follow tokio's clock, so a test with paused time can make things old with
//! `tokio::time::advance`. Wall-clock times are reckoned from one anchor per process; they do not
//! follow later corrections of the system clock.

use crate::panics;
use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Taken from the real clocks: whoever comes first may be a test whose time is paused and advanced.
static ANCHOR: OnceLock<(std::time::Instant, SystemTime)> = OnceLock::new();

#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn anchor() -> (std::time::Instant, SystemTime) {
    *ANCHOR.get_or_init(|| (std::time::Instant::now(), SystemTime::now()))
}

/// A moment, in nanoseconds after the anchor, or before it: half the size of an [`Instant`], and quickly
/// subtracted. It lasts for 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(i64);

impl Stamp {
    /// Not inlined: whoever fills a slot should find room for the rest of what it does.
    #[inline(never)]
    pub(crate) fn now() -> Self {
        Self::of(now())
    }

    #[inline]
    fn of(instant: Instant) -> Self {
        let (instant, (anchor, _)) = (instant.into_std(), anchor());
        match instant.checked_duration_since(anchor) {
            Some(later) => Self(nanos(later)),
            None => Self(-nanos(anchor.duration_since(instant))),
        }
    }

    /// As a number that an atomic can hold; 0 is the anchor itself.
    #[cfg(feature = "dump")]
    pub(crate) fn to_bits(self) -> u64 {
        u64::from_ne_bytes(self.0.to_ne_bytes())
    }

    #[cfg(feature = "dump")]
    pub(crate) fn of_bits(bits: u64) -> Self {
        Self(i64::from_ne_bytes(bits.to_ne_bytes()))
    }

    /// Nanoseconds since an earlier moment; 0 if it was later.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The wall-clock time.
    pub(crate) fn wall(self) -> SystemTime {
        let (_, wall) = anchor();
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        let shifted = if self.0 < 0 {
            wall.checked_sub(distance)
        } else {
            wall.checked_add(distance)
        };
        shifted.unwrap_or(wall)
    }
}

#[inline]
fn nanos(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let nanos = i64::from(duration.subsec_nanos());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Whether there is a runtime here, and it has timers.
pub(crate) fn has_timers() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
        && match panics::guarded(|| drop(tokio::time::sleep(Duration::ZERO))) {
            Ok(()) => true,
            Err(payload) => {
                panics::bury(payload);
                false
            }
        }
}

/// Waits that long. On a runtime without timers it never ends: what cannot be timed is not cut short.
pub(crate) async fn sleep(duration: Duration) {
    // tokio panics when a timer is made on a runtime that was built without `enable_time`.
    match panics::guarded(|| tokio::time::sleep(duration)) {
        Ok(sleep) => sleep.await,
        Err(payload) => {
            panics::bury(payload);
            tracing::warn!(
                "this tokio runtime has no timers (`enable_time`): close cannot enforce time limits"
            );
            std::future::pending::<()>().await;
        }
    }
}

/// A duration as a person would say it: `340µs`, `12ms`, `1.2s`, `3m 05s`, `2h 14m`, `9d 3h`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_micros() < 1 => format!("{}ns", duration.as_nanos()),
        0 if duration.as_millis() < 1 => format!("{}µs", duration.as_micros()),
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_a_person_says_them() {
        let cases = [
            (Duration::from_nanos(999), "999ns"),
            (Duration::from_micros(1), "1µs"),
            (Duration::from_micros(999), "999µs"),
            (Duration::from_millis(1), "1ms"),
            (Duration::from_millis(999), "999ms"),
            (Duration::from_secs(1), "1.0s"),
            (Duration::from_millis(1_290), "1.2s"),
            (Duration::from_secs(59), "59.0s"),
            (Duration::from_secs(60), "1m 00s"),
            (Duration::from_secs(185), "3m 05s"),
            (Duration::from_secs(3_599), "59m 59s"),
            (Duration::from_secs(8_070), "2h 14m"),
            (Duration::from_secs(86_399), "23h 59m"),
            (Duration::from_secs(788_400), "9d 3h"),
        ];
        for (duration, said) in cases {
            assert_eq!(human(duration), said);
        }
    }

    /// A test that pauses and advances its time does not change what others see.
    #[test]
    fn a_paused_clock_does_not_move_the_anchor() {
        let paused = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let hour = Duration::from_secs(3_600);
        let (then, shown) = paused.block_on(async {
            tokio::time::advance(hour).await;
            (SystemTime::now(), Stamp::now().wall())
        });
        let ahead = shown.duration_since(then).unwrap();
        assert_eq!(ahead.as_secs().div_ceil(60), 60, "{ahead:?}");
        let now = SystemTime::now();
        let shown = Stamp::now().wall();
        assert!(shown > now - Duration::from_secs(5) && shown < now + Duration::from_secs(5));
    }

    #[test]
    fn wall_clock_runs_with_the_monotonic_clock_before_and_after_the_anchor() {
        let later = Instant::now() + Duration::from_secs(100);
        let anchored = Stamp::now().wall();
        let ahead = Stamp::of(later).wall().duration_since(anchored).unwrap();
        assert!((99..=100).contains(&ahead.as_secs()), "{ahead:?}");
        let Some(earlier) = Instant::now().checked_sub(Duration::from_secs(1)) else {
            return;
        };
        assert!(Stamp::of(earlier).wall() < anchored);
    }
}
