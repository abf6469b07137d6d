//! A context that finishes: its mark against those who come in, and the search for a moment without tasks against tasks that
//! start others.
//!
//! The contexts are real ones, without a runtime. The code of a task enters as one that belongs to the context.

use super::{
    outcomes::{Outcomes, bounded_long},
    polled::Polled,
};
use crate::{
    context::{
        close,
        close_reason::CloseReason,
        context::Context,
        driver,
        finish::{Watch, mark, run_dry},
        gate::Gate,
        state::Node,
    },
    registry::registry::Registry,
    sync::lock,
    table::record::{Outcome, Record as _, State},
};
use loom::thread;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// The outsider was before the mark, or is refused; who belongs to the context comes in either way.
#[test]
fn after_the_mark_only_those_come_in_that_belong_to_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let gate = Arc::new(Gate::new());
        let marked = Arc::new(AtomicBool::new(false));
        let enter = |belongs: bool| {
            let (gate, marked) = (Arc::clone(&gate), Arc::clone(&marked));
            thread::spawn(move || {
                let after = marked.load(SeqCst);
                let entered = gate.enter(|| belongs).is_ok();
                assert!(!(after && entered && !belongs), "let in after the mark");
                entered
            })
        };
        let (outsider, insider) = (enter(false), enter(true));
        gate.finish();
        marked.store(true, SeqCst);
        let seen = gate.inside();
        let is_let_in = outsider.join().unwrap();
        assert!(insider.join().unwrap(), "its own code is refused");
        // Who is let in was there when it was marked, so that a search that begins then finds it.
        assert!(!is_let_in || seen > 0);
        assert_eq!(gate.inside(), 1 + u64::from(is_let_in));
        saw.saw(is_let_in);
    });
    outcomes.assert_all([true, false]);
}

/// A child that is opened while its parent is marked is refused, or marked as well: no outsider comes into it.
#[test]
fn a_child_that_is_opened_meanwhile_is_marked() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let marker = thread::spawn({
            let core = Arc::clone(parent.core());
            move || mark(&core)
        });
        let child = parent.try_child("child");
        marker.join().unwrap();
        if let Ok(child) = &child {
            assert!(child.try_child("outsider").is_err(), "an outsider comes in");
        }
        saw.saw(child.is_ok());
    });
    outcomes.assert_all([true, false]);
}

/// The same of a context that comes to need it: what is not refused is marked, so that no outsider comes into it either.
#[test]
fn a_dependent_that_is_opened_meanwhile_is_marked() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let marker = thread::spawn({
            let core = Arc::clone(need.core());
            move || mark(&core)
        });
        let dependent = registry
            .context_builder("dependent")
            .needs(&need)
            .try_open();
        marker.join().unwrap();
        if let Ok(dependent) = &dependent {
            let outsider = dependent.try_child("outsider");
            assert!(outsider.is_err(), "an outsider comes in");
        }
        saw.saw(dependent.is_ok());
    });
    outcomes.assert_all([true, false]);
}

/// How many tasks there are, in all contexts.
#[derive(Clone, Default)]
struct Tasks(Arc<AtomicUsize>);

impl Tasks {
    /// A task is started by code that belongs to the context.
    fn start(&self, node: &Node) {
        assert!(node.enter(|_| true).is_ok());
        self.0.fetch_add(1, SeqCst);
    }

    /// A task ends.
    fn end(&self, node: &Node) {
        self.0.fetch_sub(1, SeqCst);
        node.task_left(Outcome::Finished);
    }

    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// A task starts one in another context and ends, and that one does the same: at no moment is there none, and the search finds
/// none before the last one has ended; then it does.
#[test]
fn it_has_not_run_dry_while_tasks_start_others() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let tasks = Tasks::default();
        tasks.start(child.node());
        mark(parent.core());
        let runner = thread::spawn({
            let (tasks, parent, child) = (
                tasks.clone(),
                Arc::clone(parent.node()),
                Arc::clone(child.node()),
            );
            move || {
                tasks.start(&parent);
                tasks.end(&child);
                tasks.start(&child);
                tasks.end(&parent);
                tasks.end(&child);
            }
        });
        let mut search = Polled::new(run_dry(parent.core()));
        let at_once = search.is_done();
        assert!(!at_once || tasks.count() == 0, "a task is inside");
        runner.join().unwrap();
        assert!(search.is_done(), "it searches for ever");
        saw.saw(at_once);
    });
    outcomes.assert_all([true, false]);
}

/// The same of a task that is each time where the search has just been: it is found out by the number of those that have ended.
#[test]
fn it_has_not_run_dry_while_a_task_is_always_elsewhere() {
    bounded_long(3).check(|| {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let tasks = Tasks::default();
        tasks.start(child.node());
        mark(parent.core());
        let runner = thread::spawn({
            let tasks = tasks.clone();
            let [parent, child] = [&parent, &child].map(|context| Arc::clone(context.node()));
            move || {
                for (to, from) in [(&parent, &child), (&child, &parent), (&parent, &child)] {
                    tasks.start(to);
                    tasks.end(from);
                    // The search goes on here, which is not counted as a preemption.
                    thread::yield_now();
                }
                tasks.end(&parent);
            }
        });
        let mut search = Polled::new(run_dry(parent.core()));
        let at_once = search.is_done();
        assert!(!at_once || tasks.count() == 0, "a task is inside");
        runner.join().unwrap();
        assert!(search.is_done(), "it searches for ever");
    });
}

/// A child that came in before the mark, and becomes known only after it, is not taken for a task for ever.
#[test]
fn it_runs_dry_though_a_child_was_just_being_opened() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let opener = thread::spawn({
            let parent = parent.downgrade();
            move || parent.try_child("child").ok()
        });
        mark(parent.core());
        let mut search = Polled::new(run_dry(parent.core()));
        let at_once = search.is_done();
        let child = opener.join().unwrap();
        assert!(search.is_done(), "it searches for ever");
        saw.saw((at_once, child.is_some()));
    });
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}

/// A child that ends is not taken for one that is there, with a task in its place.
#[test]
fn a_child_that_ends_hides_no_task() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let parent = registry.context("parent");
        let child = parent.child("child");
        let tasks = Tasks::default();
        tasks.start(child.node());
        mark(parent.core());
        let runner = thread::spawn({
            let (tasks, parent) = (tasks.clone(), Arc::clone(parent.node()));
            move || {
                tasks.start(&parent);
                tasks.end(child.node());
                // Without a runtime it is closed by this.
                drop(child);
                tasks.end(&parent);
            }
        });
        let mut search = Polled::new(run_dry(parent.core()));
        let at_once = search.is_done();
        assert!(!at_once || tasks.count() == 0, "a task is inside");
        runner.join().unwrap();
        assert!(search.is_done(), "it searches for ever");
        saw.saw(at_once);
    });
    outcomes.assert_all([true, false]);
}

/// The last handle is dropped while the context closes because it has run dry: it closes, and nothing keeps it.
#[test]
fn a_finished_context_that_loses_its_last_handle_keeps_nothing() {
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        mark(ctx.core());
        let (weak, node) = (ctx.downgrade(), Arc::clone(ctx.node()));
        let closer = thread::spawn({
            let core = Arc::clone(ctx.core());
            move || driver::request(&core, CloseReason::Finished)
        });
        drop(ctx);
        closer.join().unwrap();
        assert!(lock(&node.kept).is_none(), "it keeps itself");
        assert_eq!(weak.state(), State::Closed);
    });
}

/// The last handle is dropped while the task that watches ends with its runtime: one of the two closes the context.
#[test]
fn a_context_without_watch_and_handles_closes() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        mark(ctx.core());
        let (weak, node) = (ctx.downgrade(), Arc::clone(ctx.node()));
        let watch = Watch::new(ctx.core());
        let watcher = thread::spawn(move || drop(watch));
        drop(ctx);
        let at_once = weak.state() == State::Closed;
        watcher.join().unwrap();
        assert!(lock(&node.kept).is_none(), "it keeps itself");
        assert_eq!(weak.state(), State::Closed, "it stays open for ever");
        saw.saw(at_once);
    });
    outcomes.assert_all([true, false]);
}

/// An outsider that comes in while the context is marked is refused, or the search waits for it.
#[test]
fn a_close_by_dryness_refuses_or_awaits_a_task() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let ctx: Context = registry.context("ctx");
        let outsider = thread::spawn({
            let node = Arc::clone(ctx.node());
            move || match node.enter(|_| false) {
                Ok(()) => {
                    let is_open = node.gate.state() == State::Open;
                    node.task_left(Outcome::Finished);
                    Some(is_open)
                }
                Err(left) => {
                    close::on_leave(&node, left);
                    None
                }
            }
        });
        mark(ctx.core());
        let mut search = Polled::new(run_dry(ctx.core()));
        let at_once = search.is_done();
        if at_once {
            driver::request(ctx.core(), CloseReason::Finished);
        }
        let came_in = outsider.join().unwrap();
        assert!(search.is_done(), "it searches for ever");
        assert!(came_in != Some(false), "it closes with a task inside");
        saw.saw((at_once, came_in.is_some()));
    });
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}
