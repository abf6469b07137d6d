//! What a close does while somebody is in its way, and when.

use std::time::Duration;

/// The shortest time between two warnings about the same stragglers.
const REMIND: Duration = Duration::from_secs(1);
/// How long a close waits before it looks for a deadlock for the first time; then twice as long, and so on.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// To look whether tasks wait for each other.
    Look,
    /// To end tasks by force, and to tell of them.
    Force,
}

/// How long a close still waits.
pub(crate) struct Patience {
    /// Until the next time it uses force.
    left: Duration,
    /// The time between two times.
    between: Duration,
    /// Until the next look, before it has used force.
    look: Option<Duration>,
}

impl Patience {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            left: grace,
            between: grace,
            look: cfg!(feature = "dump").then_some(LOOK),
        }
    }

    /// What is next, and after how long.
    pub(crate) fn next(&mut self) -> (Duration, Rung) {
        if let Some(look) = self.look.filter(|look| *look < self.left) {
            self.left -= look;
            self.look = Some(look.saturating_mul(2));
            return (look, Rung::Look);
        }
        self.look = None;
        self.between = self.between.max(REMIND).saturating_mul(2);
        (std::mem::replace(&mut self.left, self.between), Rung::Force)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(grace: Duration, count: usize) -> Vec<(u64, Rung)> {
        let mut patience = Patience::new(grace);
        let mut next = || {
            let (after, rung) = patience.next();
            (after.as_secs(), rung)
        };
        std::iter::repeat_with(&mut next).take(count).collect()
    }

    #[test]
    fn force_comes_after_the_grace_period_and_then_ever_more_rarely() {
        let forced = |grace, count| {
            let rungs = rungs(grace, 20).into_iter();
            let mut at = 0;
            let times = rungs.filter_map(move |(after, rung)| {
                at = u64::saturating_add(at, after);
                (rung == Rung::Force).then_some(at)
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
        use Rung::{Force, Look};
        let seconds = Duration::from_secs;
        let looks = [(1, Look), (2, Look), (4, Look), (8, Look)];
        assert_eq!(rungs(Duration::MAX, 4), looks);
        assert_eq!(rungs(seconds(5), 3), [(1, Look), (2, Look), (2, Force)]);
        assert_eq!(rungs(seconds(1), 2), [(1, Force), (2, Force)]);
    }

    #[cfg(not(feature = "dump"))]
    #[test]
    fn without_dumps_there_is_nothing_to_look_at() {
        let seconds = Duration::from_secs;
        assert_eq!(rungs(seconds(5), 2), [(5, Rung::Force), (10, Rung::Force)]);
    }
}
