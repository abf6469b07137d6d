//! The driver of a close: that a lost one is noticed.

use super::outcomes::Outcomes;
use crate::{
    context::{handles::Handles, lease::Lease},
    sync::order,
};
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
        let driver = thread::spawn({
            let lease = Arc::clone(&lease);
            move || lease.give_back()
        });
        let launcher_notices = !attempt.has_succeeded();
        let loser_notices = driver.join().unwrap();
        assert!(
            launcher_notices || loser_notices,
            "the close is not driven, and neither knows"
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

/// The last handle is dropped while a driver is respawned; the runtime at hand takes neither driver. One of the two tears the
/// close down: the drop, or the respawn that it relied on.
#[test]
fn a_close_that_is_respawned_in_vain_is_torn_down_once() {
    /// As the driver does it, on a runtime that drops what it is given. True if it tears the close down.
    fn respawn(lease: &Lease, handles: &Handles) -> bool {
        if lease.is_taken() {
            return false;
        }
        let attempt = lease.attempt();
        if lease.take() {
            lease.give_back();
        }
        let has_failed = !attempt.has_succeeded();
        order();
        has_failed && handles.count() == 0 && lease.take()
    }

    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let both = Arc::new((Lease::new(), Handles::one()));
        let dropper = thread::spawn({
            let both = Arc::clone(&both);
            move || {
                let is_last = both.1.remove();
                order();
                is_last && respawn(&both.0, &both.1)
            }
        });
        let here = respawn(&both.0, &both.1);
        let there = dropper.join().unwrap();
        assert!(here != there, "it is torn down once");
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}
