//! [`Restarts`]: how many restarts there were, whether there may be another one, and after what pause.

use super::restart::Rules;
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The longest pause: tokio's timers reach a little further.
const LONGEST: Duration = Duration::from_secs(2 * 365 * 86_400);

/// The budget of a supervised task, and its next pause.
pub(super) struct Restarts {
    pauses: ExponentialBuilder,
    /// From the last healthy attempt on.
    next: <ExponentialBuilder as BackoffBuilder>::Backoff,
    budget: u32,
    per: Duration,
    healthy_after: Duration,
    /// When there were restarts in the last period, oldest first.
    made: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(rules: &Rules) -> Self {
        let min = rules.min.min(LONGEST);
        let factor = if rules.factor >= 1.0 {
            rules.factor
        } else {
            1.0
        };
        let pauses = ExponentialBuilder::new()
            .with_min_delay(min)
            .with_max_delay(rules.max.clamp(min, LONGEST))
            .with_factor(factor)
            // How often is a matter of the budget.
            .without_max_times();
        let pauses = if rules.jitter {
            pauses.with_jitter()
        } else {
            pauses
        };
        Self {
            pauses,
            next: pauses.build(),
            budget: rules.budget,
            per: rules.per,
            healthy_after: rules.healthy_after,
            made: VecDeque::new(),
        }
    }

    /// The pause before the restart of an attempt that ends now and has run so long; `None` if there may be no other.
    pub(super) fn next(&mut self, lived: Duration, now: Instant) -> Option<Duration> {
        if lived >= self.healthy_after {
            self.made.clear();
            self.next = self.pauses.build();
        }
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= self.per;
        while self.made.front().is_some_and(is_over) {
            self.made.pop_front();
        }
        if self.budget < u32::MAX {
            if self.made.len() >= self.budget as usize {
                return None;
            }
            self.made.push_back(now);
        }
        Some(self.next.next().map_or(LONGEST, |pause| pause.min(LONGEST)))
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::supervision::Restart;

    const SECOND: Duration = Duration::from_secs(1);

    fn restarts(restart: Restart) -> Restarts {
        Restarts::new(&restart.jitter(false).rules)
    }

    fn pauses(restarts: &mut Restarts, times: usize) -> Vec<u64> {
        let now = Instant::now();
        let next = || restarts.next(Duration::ZERO, now);
        let pauses = std::iter::repeat_with(next).take(times);
        pauses
            .map(|pause| pause.expect("there is a budget").as_secs())
            .collect()
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let restart = Restart::on_failure().budget(u32::MAX, SECOND);
        let mut restarts = restarts(restart.backoff(SECOND, 10 * SECOND).factor(3.0));
        assert_eq!(pauses(&mut restarts, 5), [1, 3, 9, 10, 10]);
    }

    #[test]
    fn a_healthy_attempt_finds_a_full_budget_and_the_first_pause() {
        let restart = Restart::on_failure().budget(2, 100 * SECOND);
        let restart = restart.healthy_after(50 * SECOND);
        let mut restarts = restarts(restart.backoff(SECOND, 10 * SECOND));
        assert_eq!(pauses(&mut restarts, 2), [1, 2]);
        let now = Instant::now();
        assert_eq!(restarts.next(49 * SECOND, now), None);
        assert_eq!(restarts.next(50 * SECOND, now), Some(SECOND));
        assert_eq!(pauses(&mut restarts, 1), [2]);
        assert_eq!(restarts.next(49 * SECOND, now), None);
    }

    #[test]
    fn a_restart_leaves_the_window_when_the_period_is_over() {
        let restart = Restart::on_failure().budget(2, 10 * SECOND);
        let mut restarts = restarts(restart);
        let start = Instant::now();
        let mut at = |seconds| restarts.next(Duration::ZERO, start + seconds * SECOND);
        let made = [0, 5, 9, 10, 14, 15].map(|seconds| at(seconds).is_some());
        assert_eq!(made, [true, true, false, true, false, true]);
        assert_eq!(restarts.made.len(), 2);
    }

    /// Nothing panics, and no timer gets what it cannot represent.
    #[test]
    fn pauses_that_no_timer_has_are_cut() {
        for factor in [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e30] {
            for (min, max) in [
                (Duration::ZERO, Duration::MAX),
                (Duration::MAX, Duration::ZERO),
                (SECOND, Duration::MAX),
            ] {
                let restart = Restart::on_failure().budget(u32::MAX, Duration::MAX);
                let rules = restart.backoff(min, max).factor(factor).rules;
                let mut restarts = Restarts::new(&rules);
                for _ in 0..100 {
                    let pause = restarts.next(Duration::ZERO, Instant::now());
                    assert!(pause.is_some_and(|pause| pause <= LONGEST));
                }
                assert!(restarts.made.is_empty());
            }
        }
    }

    #[test]
    fn jitter_lengthens_a_pause_by_at_most_as_much_again() {
        let restart = Restart::on_failure().budget(u32::MAX, SECOND);
        let mut restarts = Restarts::new(&restart.backoff(SECOND, SECOND).rules);
        for _ in 0..1_000 {
            let pause = restarts.next(Duration::ZERO, Instant::now());
            assert!((SECOND..=2 * SECOND).contains(&pause.expect("there is a budget")));
        }
    }
}
