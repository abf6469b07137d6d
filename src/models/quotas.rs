//! A quota: two that come at once for one place.

use super::outcomes::Outcomes;
use crate::context::quota::Quota;
use loom::thread;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Never both are inside. One of them is refused only if the other one is inside, or was when it looked.
#[test]
fn one_place_is_taken_by_one_at_a_time() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let (quota, inside) = (Quota::new(1), Arc::new(AtomicUsize::new(0)));
        let come_and_go = {
            let (quota, inside) = (Arc::clone(&quota), Arc::clone(&inside));
            move || {
                let permit = quota.try_take();
                if permit.is_some() {
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "both are inside");
                    thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                }
                permit.is_some()
            }
        };
        let other = thread::spawn(come_and_go.clone());
        let came = [come_and_go(), other.join().unwrap()];
        assert!(came.contains(&true), "a free place was refused to both");
        assert!(quota.try_take().is_some(), "a place was not given back");
        saw.saw(came);
    });
    outcomes.assert_all([[true, true], [true, false], [false, true]]);
}
