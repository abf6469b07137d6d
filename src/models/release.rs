//! Children that are released: a close that goes on without them waits for its own tasks, and for no others.
//!
//! The contexts are real ones, without a runtime.

use super::{
    outcomes::{Outcomes, bounded_long},
    polled::Polled,
};
use crate::{
    context::{
        begin, close, close_reason::CloseReason, context::Context, escalation::Goal, state::Core,
    },
    registry::registry::Registry,
    sync::Ordering::SeqCst,
    table::record::{Outcome, Record as _},
};
use loom::thread::{self, JoinHandle};
use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
};

/// A close that has begun, of a context with a task of its own and children with one each.
struct Closing<const N: usize> {
    _registry: Registry,
    parent: Context,
    children: [Context; N],
    /// Whether the parent's own task is there.
    is_there: Arc<AtomicBool>,
}

impl<const N: usize> Closing<N> {
    fn new(names: [&'static str; N]) -> Self {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let children = names.map(|name| parent.child(name));
        for node in children.iter().chain([&parent]).map(Context::node) {
            assert!(node.enter(|_| false).is_ok());
        }
        begin::begin(parent.core(), CloseReason::from("model"));
        Self {
            _registry: registry,
            parent,
            children,
            is_there: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The parent's own task ends, on a thread of its own.
    fn end_task(&self) -> JoinHandle<()> {
        let (node, is_there) = (Arc::clone(self.parent.node()), Arc::clone(&self.is_there));
        thread::spawn(move || {
            is_there.store(false, SeqCst);
            node.task_left(Outcome::Finished);
        })
    }

    /// The close of a child goes on, on a thread of its own.
    fn child(&self, n: usize, run: fn(&Arc<Core>)) -> JoinHandle<()> {
        let core = Arc::clone(self.children[n].core());
        thread::spawn(move || run(&core))
    }

    /// As the drain does it: waits until it is the turn of the hooks.
    async fn drain(&self) {
        let node = self.parent.node();
        loop {
            let mut drained = pin!(node.drained.notified());
            drained.as_mut().enable();
            if Goal::OwnTurn.is_reached(node) {
                break;
            }
            drained.await;
        }
        let is_there = self.is_there.load(SeqCst);
        assert!(!is_there, "its own task is there");
    }

    /// Waits until it is the turn of the hooks, which is so at the latest when these threads are done. True if it is so at once.
    fn drains_beside<const M: usize>(&self, threads: [JoinHandle<()>; M]) -> bool {
        let mut drain = Polled::new(self.drain());
        let at_once = drain.is_done();
        for thread in threads {
            thread.join().unwrap();
            drain.is_done();
        }
        assert!(drain.is_done(), "it waits for ever");
        at_once
    }
}

/// The work of a child cannot be ended.
fn release(child: &Arc<Core>) {
    close::release(child);
}

/// The work of a child ends in the end.
fn end(child: &Arc<Core>) {
    child.node.task_left(Outcome::Finished);
    close::end(child);
}

/// A child is released, and does not end: its parent waits for its own task, and not for the child.
#[test]
fn a_parent_waits_for_its_own_task_and_not_for_a_released_child() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let closing = Closing::new(["child"]);
        let (task, child) = (closing.end_task(), closing.child(0, release));
        let at_once = closing.drains_beside([task, child]);
        assert!(Goal::OwnTurn.is_reached(closing.parent.node()));
        saw.saw(at_once);
        end(closing.children[0].core());
    });
    outcomes.assert_all([true, false]);
}

/// A child is released and ends, while another one has been released and the parent's own task goes on: that is not
/// overlooked, and the count is right afterwards.
#[test]
fn a_child_that_ends_after_its_release_hides_no_task() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let closing = Closing::new(["child"]);
        let task = closing.end_task();
        let child = closing.child(0, |child| {
            release(child);
            end(child);
        });
        let at_once = closing.drains_beside([task, child]);
        let node = closing.parent.node();
        assert_eq!((node.gate.inside(), node.released.load(SeqCst)), (0, 0));
        saw.saw(at_once);
    });
    outcomes.assert_all([true, false]);
}

/// Of two children one is released, and the other one ends; both are what the parent waits for.
#[test]
fn a_parent_waits_for_each_child() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(2).check(move || {
        let closing = Closing::new(["released", "ended"]);
        closing.end_task().join().unwrap();
        let (released, ended) = (closing.child(0, release), closing.child(1, end));
        let at_once = closing.drains_beside([released, ended]);
        let node = closing.parent.node();
        assert!(Goal::OwnTurn.is_reached(node));
        assert_eq!((node.gate.inside(), node.released.load(SeqCst)), (1, 1));
        saw.saw(at_once);
        end(closing.children[0].core());
        assert!(Goal::Empty.is_reached(node));
    });
    outcomes.assert_all([true, false]);
}
