//! Tests of the parts of a close that no call reaches by itself.

use super::*;
use crate::Registry;

/// The parent waits for its own task then, which is not the last one inside.
#[test]
fn a_task_that_leaves_after_a_child_was_released_says_so() {
    let parent = Registry::new().context("parent");
    let child = parent.child("child");
    let node = parent.node();
    assert!(node.gate.enter(|| false).is_ok());
    assert!(!Goal::OwnTurn.is_reached(node));
    release(child.core());
    release(child.core());
    assert_eq!(node.released.load(SeqCst), 1);
    assert!(!parent.core().has_open_children());
    assert_eq!(node.gate.leave(), OnLeave::NotifyDrained);
    assert!(Goal::OwnTurn.is_reached(node) && !Goal::Empty.is_reached(node));
}

/// It is not among those inside any more, and so not among those that the close goes on without.
#[test]
fn a_child_that_closes_after_its_release_hides_no_task_of_its_parent() {
    let parent = Registry::new().context("parent");
    let child = parent.child("child");
    let node = parent.node();
    assert!(node.gate.enter(|| false).is_ok());
    release(child.core());
    crate::context::begin::begin(child.core(), CloseReason::from("test"));
    let (left, _) = conclude(child.core());
    assert_eq!((left, node.gate.inside()), (OnLeave::NotifyDrained, 1));
    assert!(!Goal::OwnTurn.is_reached(node));
    assert_eq!(node.gate.leave(), OnLeave::NotifyDrained);
    assert!(Goal::OwnTurn.is_reached(node));
}
