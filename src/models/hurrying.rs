//! Haste: a close that is hurried against contexts that are opened, or begin to close, meanwhile.
//!
//! The contexts are real ones, without a runtime: a close goes no further than its beginning.

use super::outcomes::{Outcomes, bounded_long};
use crate::{
    clock,
    context::{
        close_reason::CloseReason,
        context::Context,
        driver::Begun,
        haste::Hurry,
        state::{Core, Node},
    },
    registry::registry::Registry,
};
use futures::FutureExt;
use loom::thread::{self, JoinHandle};
use std::{pin::pin, sync::Arc, time::Duration};

/// As each call that closes with a deadline, or at once.
fn close(core: &Arc<Core>, hurry: Option<Hurry>) {
    drop(Begun::new(core, CloseReason::from("model"), hurry));
}

fn close_beside(context: &Context, hurry: Option<Hurry>) -> JoinHandle<()> {
    let core = Arc::clone(context.core());
    thread::spawn(move || close(&core, hurry))
}

fn is_hurried(node: &Node) -> bool {
    node.haste().abort_at().is_some()
}

/// I18: a child that is opened while its parent closes in haste is refused, or closes in haste as well.
#[test]
fn a_child_that_is_opened_meanwhile_is_hurried() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let closer = close_beside(&parent, Some(Hurry::Now));
        let child = parent.try_child("child");
        closer.join().unwrap();
        if let Ok(child) = &child {
            assert!(child.is_cancelled() && is_hurried(child.node()));
        }
        saw.saw(child.is_ok());
    });
    outcomes.assert_all([true, false]);
}

/// The same of a child of a child.
#[test]
fn a_grandchild_that_is_opened_meanwhile_is_hurried() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(2).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let closer = close_beside(&parent, Some(Hurry::Now));
        let child = parent.try_child("child");
        let grandchild = child.as_ref().map(|child| child.try_child("grandchild"));
        closer.join().unwrap();
        if let Ok(Ok(grandchild)) = &grandchild {
            assert!(grandchild.is_cancelled() && is_hurried(grandchild.node()));
        }
        saw.saw(grandchild.is_ok_and(|grandchild| grandchild.is_ok()));
    });
    outcomes.assert_all([true, false]);
}

/// The same of a context that comes to need one that closes in haste.
#[test]
fn a_dependent_that_is_opened_meanwhile_is_hurried() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let closer = close_beside(&need, Some(Hurry::Now));
        let dependent = registry
            .context_builder("dependent")
            .needs(&need)
            .try_open();
        closer.join().unwrap();
        if let Ok(dependent) = &dependent {
            assert!(dependent.is_cancelled() && is_hurried(dependent.node()));
        }
        saw.saw(dependent.is_ok());
    });
    outcomes.assert_all([true, false]);
}

/// The same of a child of what others still need, which is open until those are closed: when its own close begins, or that of
/// its parent, it is hurried.
#[test]
fn a_child_of_what_is_still_needed_is_hurried() {
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let dependent = registry.context_builder("dependent").needs(&need).open();
        let closer = close_beside(&need, Some(Hurry::Now));
        let child = need.try_child("child").unwrap();
        closer.join().unwrap();
        assert!(!child.is_cancelled() && is_hurried(child.node()));
        drop(dependent);
        assert!(child.is_cancelled());
    });
}

/// A child that is asked to close while its parent is closed in haste: it closes in haste, and its drain hears of it, whichever
/// comes first.
#[test]
fn a_drain_hears_of_haste() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let closer = close_beside(&parent, Some(Hurry::Now));
        close(child.core(), None);
        // As the drain does it.
        let mut hurried = pin!(child.node().changed.notified());
        hurried.as_mut().enable();
        let sees = is_hurried(child.node());
        closer.join().unwrap();
        let hears = hurried.now_or_never().is_some();
        assert!(sees || hears, "it closes patiently");
        assert!(is_hurried(child.node()));
        saw.saw((sees, hears));
    });
    outcomes.assert_all([(true, false), (true, true), (false, true)]);
}

/// Of two who hurry a close the one in more haste wins, for all that closes with it.
#[test]
fn the_earlier_of_two_deadlines_wins() {
    bounded_long(2).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let [soon, late] = [10, 1_000].map(|secs| clock::now() + Duration::from_secs(secs));
        let closer = close_beside(&parent, Some(Hurry::By(late)));
        close(parent.core(), Some(Hurry::By(soon)));
        let is_soon = |context: &Context| {
            let abort_at = context.node().haste().abort_at();
            abort_at.is_some_and(|at| at < soon)
        };
        assert!([&parent, &child].into_iter().all(is_soon));
        closer.join().unwrap();
        assert!([&parent, &child].into_iter().all(is_soon), "less haste won");
    });
}
