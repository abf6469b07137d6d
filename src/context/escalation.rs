//! When a close does what while it waits for what is inside: checks, force, and going on without the rest.

use crate::{
    clock,
    context::{
        haste::{Haste, earlier},
        state::Node,
    },
    sync::Ordering::SeqCst,
};
use futures::future::{Either, select};
use std::{pin::pin, time::Duration};
use tokio::time::Instant;

/// The shortest time between two warnings about the same stragglers.
const REMIND: Duration = Duration::from_secs(1);
/// The time that tasks have after the last child is closed, to tidy up after it; less if the grace period is shorter.
const TIDY: Duration = Duration::from_secs(1);
/// How long a close waits before it checks for a deadlock for the first time; then twice as long, and so on.
pub(crate) const CHECK: Duration = Duration::from_secs(1);

/// Ends at the moment that `until` says, which is asked again when there is more haste.
pub(crate) async fn wait_until(node: &Node, until: impl Fn(&Haste) -> Option<Instant>) {
    loop {
        let mut hurried = pin!(node.changed.notified());
        hurried.as_mut().enable();
        let haste = node.haste();
        let Some(until) = until(&haste) else {
            hurried.await;
            continue;
        };
        let timer = clock::sleep(until.saturating_duration_since(clock::now()));
        if let Either::Left(_) = select(pin!(timer), hurried).await {
            return;
        }
    }
}

/// What a drain waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// That it is the turn of the hooks: own tasks have left, or cannot be ended and the time is up; children are closed, or
    /// released.
    OwnTurn,
    /// That nothing is inside.
    Empty,
}

impl Goal {
    pub(crate) fn is_reached(self, node: &Node) -> bool {
        let inside = node.gate.inside();
        match self {
            Self::OwnTurn => inside <= u64::from(node.released.load(SeqCst)),
            Self::Empty => inside == 0,
        }
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To check whether tasks wait for each other.
    CheckDeadlock,
    /// To end tasks by force, and to warn of them.
    Abort,
    /// To go on without what could not be ended.
    Release,
}

/// How long a close still waits for what is inside, and what it does then.
pub(crate) struct Escalation {
    /// When it began to wait.
    began: Instant,
    grace: Duration,
    /// When it was seen first that no child is open.
    children_gone: Option<Instant>,
    /// The next check, before it has used force, and the time until the one after that.
    check: Option<(Instant, Duration)>,
    /// Once it has used force: the next time, and the time until the one after that.
    again: Option<(Instant, Duration)>,
}

impl Escalation {
    pub(crate) fn new(began: Instant, grace: Duration) -> Self {
        Self {
            began,
            grace,
            children_gone: None,
            check: cfg!(feature = "dump").then_some((began + CHECK, CHECK)),
            again: None,
        }
    }

    /// Notes whether children are open.
    pub(crate) fn look(&mut self, now: Instant, has_open_children: bool) {
        if has_open_children {
            self.children_gone = None;
        } else {
            self.children_gone.get_or_insert(now);
        }
    }

    /// When own tasks are aborted: after the grace period. A task that waits for the task of a child must have time to tidy up
    /// after it, so they have some time after the last child; but no longer than twice the grace period.
    fn abort_at(&self, haste: &Haste) -> Option<Instant> {
        let after_grace = self.began.checked_add(self.grace);
        let latest = self.began.checked_add(self.grace.saturating_mul(2));
        let by_grace = match self.children_gone {
            Some(at) => {
                let tidied = at.checked_add(self.grace.min(TIDY));
                after_grace.and_then(|grace| tidied.map(|tidied| grace.max(tidied)))
            }
            None => latest,
        };
        earlier(earlier(by_grace, latest), haste.abort_at())
    }

    /// What is next, and when; `None` if nothing is before something changes.
    pub(crate) fn next(&self, now: Instant, haste: &Haste, goal: Goal) -> Option<(Instant, Step)> {
        let force = match self.again {
            Some((at, _)) => Some(at),
            None => self.abort_at(haste),
        };
        let check = self.check.filter(|_| self.again.is_none());
        let release = haste
            .release_at()
            .filter(|_| goal == Goal::OwnTurn && self.again.is_some());
        let steps = [
            (force, Step::Abort),
            (check.map(|(at, _)| at), Step::CheckDeadlock),
            (release, Step::Release),
        ];
        let steps = steps
            .into_iter()
            .filter_map(|(at, step)| Some((at?.max(now), step)));
        steps.min_by_key(|(at, _)| *at)
    }

    pub(crate) fn done(&mut self, now: Instant, step: Step) {
        match step {
            Step::CheckDeadlock => {
                self.check = self.check.map(|(_, between)| {
                    let between = between.saturating_mul(2);
                    (now + between, between)
                });
            }
            Step::Abort => {
                let waited = now.saturating_duration_since(self.began);
                let between = self.again.map_or(waited, |(_, between)| between);
                let between = between.max(REMIND).saturating_mul(2);
                self.again = now.checked_add(between).map(|at| (at, between));
            }
            Step::Release => {}
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;
    use crate::context::haste::Hurry;

    /// The first steps of a close with this grace period and no haste, in seconds since it began, if nothing changes meanwhile.
    fn steps(grace: Duration, has_open_children: bool, count: usize) -> Vec<(u64, Step)> {
        hurried_steps(grace, has_open_children, &Haste::default(), count)
    }

    fn hurried_steps(
        grace: Duration,
        has_open_children: bool,
        haste: &Haste,
        count: usize,
    ) -> Vec<(u64, Step)> {
        let began = began();
        let mut escalation = Escalation::new(began, grace);
        let mut now = began;
        let mut next = || {
            escalation.look(now, has_open_children);
            let (at, step) = escalation.next(now, haste, Goal::OwnTurn)?;
            now = at;
            escalation.done(now, step);
            Some(((at - began).as_secs(), step))
        };
        std::iter::from_fn(&mut next).take(count).collect()
    }

    fn began() -> Instant {
        static BEGAN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGAN.get_or_init(Instant::now)
    }

    fn forced(grace: Duration, has_open_children: bool) -> Vec<u64> {
        let steps = steps(grace, has_open_children, 12).into_iter();
        let forced = steps.filter(|(_, step)| *step == Step::Abort);
        forced.map(|(at, _)| at).take(3).collect()
    }

    #[test]
    fn force_comes_after_the_grace_period_and_then_ever_more_rarely() {
        assert_eq!(forced(Duration::from_secs(5), false), [5, 15, 35]);
        assert_eq!(forced(Duration::from_millis(100), false), [0, 2, 6]);
        assert_eq!(forced(Duration::ZERO, false), [0, 2, 6]);
        assert_eq!(forced(Duration::MAX, false), [0; 0]);
    }

    #[test]
    fn while_children_are_open_force_comes_after_twice_the_grace_period() {
        assert_eq!(forced(Duration::from_secs(5), true), [10, 30, 70]);
        assert_eq!(forced(Duration::ZERO, true), [0, 2, 6]);
    }

    #[test]
    fn own_tasks_have_a_while_after_the_last_child() {
        let (began, seconds) = (began(), Duration::from_secs);
        let abort_after = |grace, children_gone| {
            let mut escalation = Escalation::new(began, grace);
            escalation.look(began, true);
            escalation.look(began + children_gone, false);
            escalation.abort_at(&Haste::default()).unwrap() - began
        };
        assert_eq!(abort_after(seconds(5), seconds(2)), seconds(5));
        assert_eq!(abort_after(seconds(5), seconds(5)), seconds(6));
        assert_eq!(abort_after(seconds(5), seconds(20)), seconds(10));
        let short = Duration::from_millis(200);
        assert_eq!(abort_after(short, short), short * 2);
    }

    #[test]
    fn with_haste_it_aborts_sooner_and_then_goes_on_without_the_rest() {
        let mut haste = Haste::default();
        haste.hurry(Hurry::By(began() + Duration::from_secs(8)), 0, began());
        let steps: Vec<_> = hurried_steps(Duration::MAX, true, &haste, 5)
            .into_iter()
            .collect();
        let steps = steps
            .into_iter()
            .filter(|(_, step)| *step != Step::CheckDeadlock);
        assert_eq!(
            steps.take(2).collect::<Vec<_>>(),
            [(6, Step::Abort), (7, Step::Release)]
        );
    }

    #[cfg(feature = "dump")]
    #[test]
    fn before_that_it_checks_ever_more_rarely() {
        use Step::{Abort, CheckDeadlock};
        let seconds = Duration::from_secs;
        let checks = [
            (1, CheckDeadlock),
            (3, CheckDeadlock),
            (7, CheckDeadlock),
            (15, CheckDeadlock),
        ];
        assert_eq!(steps(Duration::MAX, false, 4), checks);
        assert_eq!(
            steps(seconds(5), false, 3),
            [(1, CheckDeadlock), (3, CheckDeadlock), (5, Abort)]
        );
        assert_eq!(steps(seconds(1), false, 2), [(1, Abort), (3, Abort)]);
    }

    #[cfg(not(feature = "dump"))]
    #[test]
    fn without_dumps_there_is_nothing_to_check() {
        let seconds = Duration::from_secs;
        assert_eq!(
            steps(seconds(5), false, 2),
            [(5, Step::Abort), (15, Step::Abort)]
        );
    }
}
