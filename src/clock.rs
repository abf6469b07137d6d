//! When something was created: monotonic for ages, wall-clock for people.
//!
//! In a program, stamps are read off the system's coarse clock: a few milliseconds are enough for an age, and it costs
//! 3 ns where a precise one costs 21, of the 50 that a registration takes. With the feature `testing` they are read off
//! tokio's clock, so that `tokio::time::advance` makes things old. Waiting is by tokio's clock in every build. Wall-clock
//! times are reckoned from one anchor per process; they do not follow later corrections of the system clock.

use crate::{panics, timer::Timer};
use std::{
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tokio::{
    runtime::{self, Handle},
    time::Instant,
};

/// One moment on all clocks.
struct Anchor {
    stamp: Stamp,
    precise: std::time::Instant,
    wall: SystemTime,
}

/// Taken from the real clocks, because the first to ask may be a test whose time is paused and advanced.
fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor {
        stamp: Stamp::coarse(),
        precise: std::time::Instant::now(),
        wall: SystemTime::now(),
    })
}

/// By tokio's clock, as [`sleep`] is.
#[inline]
pub(crate) fn now() -> Instant {
    if is_thread_ending() {
        // tokio would look for a clock that is paused, and panic.
        return std::time::Instant::now().into();
    }
    Instant::now()
}

/// Whether what this thread has of tokio is gone: destructors of its other values may still run.
fn is_thread_ending() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}

/// Whether stamps are read off tokio's clock, which tests can pause and advance.
const FOLLOWS_TOKIO: bool = cfg!(any(test, feature = "testing"));

/// By how much a [`Stamp`] may be behind: a tick of the coarse clock, which is 16 ms at most on systems that people use.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(if FOLLOWS_TOKIO { 0 } else { 16 });

/// A moment, in nanoseconds since the coarse clock began: half the size of an [`Instant`], and quickly subtracted.
/// It lasts for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// When the clock began.
    pub(crate) const ZERO: Self = Self(0);

    #[inline]
    pub(crate) fn now() -> Self {
        if FOLLOWS_TOKIO {
            Self::of(now())
        } else {
            Self::coarse()
        }
    }

    #[inline]
    fn coarse() -> Self {
        let ticks = coarsetime::Instant::now_without_cache_update().as_ticks();
        Self(coarsetime::Duration::from_ticks(ticks).as_nanos())
    }

    /// Not inlined, so that the way into the table stays small.
    #[inline(never)]
    fn of(instant: Instant) -> Self {
        let (instant, anchor) = (instant.into_std(), anchor());
        match instant.checked_duration_since(anchor.precise) {
            Some(elapsed) => anchor.stamp.plus(elapsed),
            None => anchor.stamp.minus(anchor.precise.duration_since(instant)),
        }
    }

    pub(crate) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// A nanosecond later.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As a number that an atomic can hold; 0 is when the clock began.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Nanoseconds since an earlier moment; 0 if it was later.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The wall-clock time.
    pub(crate) fn wall(self) -> SystemTime {
        let Anchor { stamp, wall, .. } = *anchor();
        let shifted = if self < stamp {
            wall.checked_sub(Duration::from_nanos(stamp.since(self)))
        } else {
            wall.checked_add(Duration::from_nanos(self.since(stamp)))
        };
        shifted.unwrap_or(wall)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits that long: by tokio's clock where that is paused, else by a [`Timer`] of the crate's own, which needs no
/// runtime. The time begins with the first poll. A clock that is paused later does not hold it up.
pub(crate) struct Sleep(State);

enum State {
    Unarmed(Duration),
    Own(Timer),
    Paused(Paused),
}

/// A timer of tokio's, and the runtime whose clock is paused.
struct Paused {
    sleep: Pin<Box<tokio::time::Sleep>>,
    runtime: runtime::Id,
    duration: Duration,
}

pub(crate) fn sleep(duration: Duration) -> Sleep {
    Sleep(State::Unarmed(duration))
}

#[cfg(feature = "supervision")]
impl Sleep {
    /// Another one that waits as long, if this has not begun to.
    pub(crate) fn again(&self) -> Option<Self> {
        match self.0 {
            State::Unarmed(duration) => Some(sleep(duration)),
            _ => None,
        }
    }
}

impl State {
    fn armed(duration: Duration) -> Self {
        let paused = Handle::try_current().ok().filter(|_| is_paused());
        let paused = paused.and_then(|runtime| Paused::new(&runtime, duration));
        paused.map_or_else(|| Self::Own(Timer::new(duration)), Self::Paused)
    }
}

impl Paused {
    /// None on a runtime that has no timers.
    fn new(runtime: &Handle, duration: Duration) -> Option<Self> {
        let sleep = panics::guarded(|| Box::pin(tokio::time::sleep(duration)));
        Some(Self {
            sleep: sleep.map_err(panics::bury).ok()?,
            runtime: runtime.id(),
            duration,
        })
    }

    /// None if its runtime has ended, or is not the one that polls.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let is_here = |runtime: &Handle| runtime.id() == self.runtime;
        Handle::try_current().ok().filter(is_here)?;
        // The handle of a runtime that has ended may still be entered, and its timers panic.
        let polled = panics::guarded(|| self.sleep.as_mut().poll(cx));
        polled.map_err(panics::bury).ok()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.0 = match &mut self.0 {
                State::Unarmed(duration) => State::armed(*duration),
                State::Own(timer) => return Pin::new(timer).poll(cx),
                State::Paused(paused) => match paused.poll(cx) {
                    Some(polled) => return polled,
                    None => State::Own(Timer::new(paused.duration)),
                },
            };
        }
    }
}

/// Whether tokio's clock stands still: it does not move while the system's does. Only tests can pause it.
fn is_paused() -> bool {
    let (shown, real) = (now(), std::time::Instant::now());
    while std::time::Instant::now() == real {
        std::hint::spin_loop();
    }
    now() == shown
}

/// A duration as a person would say it: `340µs`, `12ms`, `1.2s`, `3m 05s`, `2h 14m`, `9d 3h`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        // What a coarse clock cannot tell from now.
        0 if duration.is_zero() => "0ms".to_owned(),
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
            (Duration::ZERO, "0ms"),
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

    #[test]
    fn the_coarse_clock_says_the_same_as_the_precise_one() {
        let tick = Duration::from_millis(50);
        for wait in [0, 100] {
            std::thread::sleep(Duration::from_millis(wait));
            let (coarse, precise) = (Stamp::coarse(), Stamp::of(now()));
            let apart = coarse.since(precise) + precise.since(coarse);
            assert!(Duration::from_nanos(apart) < tick, "{apart} ns apart");
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
