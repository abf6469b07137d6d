//! The driver of a close: that a lost one is noticed.

use super::outcomes::Outcomes;
use crate::context::lease::Lease;
use loom::thread;
use std::sync::Arc;

/// A driver is spawned and lost on another thread while its launcher ends the attempt: at least one of
/// the two notices.
#[test]
fn a_lost_driver_is_noticed() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let lease = Arc::new(Lease::new());
        let attempt = lease.attempt();
        assert!(lease.take());
        let leaser = thread::spawn({
            let lease = Arc::clone(&lease);
            move || lease.give_back()
        });
        let launcher_notices = !attempt.has_succeeded();
        let loser_notices = driver.join().unwrap();
        assert!(
            launcher_notices || loser_notices,
            "nobody drives, and nobody knows"
        );
        saw.saw((launcher_notices, loser_notices));
    });
    outcomes.assert_all([(true, false), (false, true), (true, true)]);
}

/// At most one drives.
#[test]
fn two_who_want_to_drive_do_not_both() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let lease = Arc::new(Lease::new());
        let other = thread::spawn({
            let lease = Arc::clone(&lease);
            move || lease.take()
        });
        let here = lease.take();
        assert!(here != other.join().unwrap() && lease.is_taken());
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}
