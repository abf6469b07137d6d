//! When a close does what.

use super::*;

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
