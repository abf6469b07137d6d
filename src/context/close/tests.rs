//! When a close does what.

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
fn before_that_it_checks_ever_more_rarely() {
    use Step::{Abort, CheckDeadlock};
    let seconds = Duration::from_secs;
    let checks = [
        (1, CheckDeadlock),
        (2, CheckDeadlock),
        (4, CheckDeadlock),
        (8, CheckDeadlock),
    ];
    assert_eq!(steps(Duration::MAX, 4), checks);
    assert_eq!(
        steps(seconds(5), 3),
        [(1, CheckDeadlock), (2, CheckDeadlock), (2, Abort)]
    );
    assert_eq!(steps(seconds(1), 2), [(1, Abort), (2, Abort)]);
}

#[cfg(not(feature = "dump"))]
#[test]
fn without_dumps_there_is_nothing_to_check() {
    let seconds = Duration::from_secs;
    assert_eq!(steps(seconds(5), 2), [(5, Step::Abort), (10, Step::Abort)]);
}
