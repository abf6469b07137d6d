//! The driver of a close: that a lost one is noticed.

use super::outcomes::Outcomes;
use crate::context::drive::Drive;
use loom::thread;
use std::sync::Arc;

/// A driver is spawned and lost on another thread while its launcher ends the search: at least one of
/// the two notices.
#[test]
fn a_lost_driver_is_noticed() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let drive = Arc::new(Drive::new());
        let search = drive.search();
        assert!(drive.take());
        let driver = thread::spawn({
            let drive = Arc::clone(&drive);
            move || drive.lose()
        });
        let launcher_notices = !search.found();
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
        let drive = Arc::new(Drive::new());
        let other = thread::spawn({
            let drive = Arc::clone(&drive);
            move || drive.take()
        });
        let here = drive.take();
        assert!(here != other.join().unwrap() && drive.is_driven());
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}
