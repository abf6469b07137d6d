//! What a close does while somebody is in its way, and when.

use std::time::Duration;

/// The shortest time between two warnings about the same stragglers.
const REMIND: Duration = Duration::from_secs(1);
/// How long a close waits before it looks for a deadlock for the first time; then twice as long, and so on.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To look whether tasks wait for each other.
    CheckDeadlock,
    /// To end tasks by force, and to tell of them.
    Abort,
}

/// How long a close still waits.
pub(crate) struct Escalation {
    /// Until the next time it uses force.
    left: Duration,
    /// The time between two times.
    between: Duration,
    /// Until the next look, before it has used force.
    look: Option<Duration>,
}

impl Escalation {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            left: grace,
            between: grace,
            look: cfg!(feature = "dump").then_some(LOOK),
        }
    }

    /// What is next, and after how long.
    pub(crate) fn next(&mut self) -> (Duration, Step) {
        if let Some(look) = self.look.filter(|look| *look < self.left) {
            self.left -= look;
            self.look = Some(look.saturating_mul(2));
            return (look, Step::CheckDeadlock);
        }
        self.look = None;
        self.between = self.between.max(REMIND).saturating_mul(2);
        (std::mem::replace(&mut self.left, self.between), Step::Abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(grace: Duration, count: usize) -> Vec<(u64, Step)> {
        let mut escalation = Escalation::new(grace);
        let mut next = || {
            let (after, step) = escalation.next();
            (after.as_secs(), step)
        };
        std::iter::repeat_with(&mut next).take(count).collect()
    }

    #[test]
    fn force_comes_after_the_grace_period_and_then_ever_more_rarely() {
        let forced = |grace, count| {
            let steps = steps(grace, 20).into_iter();
            let mut at = 0;
            let times = steps.filter_map(move |(after, step)| {
                at = u64::saturating_add(at, after);
                (step == Step::Abort).then_some(at)
            });
            times.take(count).collect::<Vec<_>>()
        };
        assert_eq!(forced(Duration::from_secs(5), 3), [5, 15, 35]);
        assert_eq!(forced(Duration::from_millis(100), 3), [0, 2, 6]);
        assert_eq!(forced(Duration::ZERO, 3), [0, 2, 6]);
    }

    #[cfg(feature = "dump")]
    #[test]
    fn before_that_it_looks_ever_more_rarely() {
        use Step::{Abort, CheckDeadlock};
        let seconds = Duration::from_secs;
        let looks = [
            (1, CheckDeadlock),
            (2, CheckDeadlock),
            (4, CheckDeadlock),
            (8, CheckDeadlock),
        ];
        assert_eq!(steps(Duration::MAX, 4), looks);
        assert_eq!(
            steps(seconds(5), 3),
            [(1, CheckDeadlock), (2, CheckDeadlock), (2, Abort)]
        );
        assert_eq!(steps(seconds(1), 2), [(1, Abort), (2, Abort)]);
    }

    #[cfg(not(feature = "dump"))]
    #[test]
    fn without_dumps_there_is_nothing_to_look_at() {
        let seconds = Duration::from_secs;
        assert_eq!(steps(seconds(5), 2), [(5, Step::Abort), (10, Step::Abort)]);
    }
}
