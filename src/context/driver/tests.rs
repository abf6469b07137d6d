//! Tests of the parts of a driver that no call reaches by itself.

use super::*;
use crate::Registry;

/// The last handle is dropped while a respawn holds the lease, and relies on it; then the respawn fails. The close has
/// lost its driver between being noticed and being respawned, and no handle is left to notice.
#[test]
fn a_close_that_was_lost_in_a_respawn_is_torn_down_by_the_next() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let parent = Registry::new().context("parent");
    let child = {
        let _entered = runtime.enter();
        parent.child("child")
    };
    drop(runtime);
    let (core, weak) = (Arc::clone(child.core()), child.downgrade());
    child.request_close("no runtime takes it");
    assert!(core.registry.undriven.is_noted() && !core.lease.is_taken());
    // As `spawn_driver` does it.
    let attempt = core.lease.attempt();
    let lease = DriverLease::take(&core);
    assert!(lease.is_some());
    drop(child);
    assert_eq!(
        (weak.state(), core.lease.is_taken()),
        (State::Closing, true)
    );
    drop(lease);
    assert!(!attempt.has_succeeded());
    assert_eq!(
        (weak.state(), core.lease.is_taken()),
        (State::Closing, false)
    );
    respawn_drivers(parent.core());
    assert_eq!(weak.state(), State::Closed);
}
