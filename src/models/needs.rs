//! What a context needs: the beginning of its close against those that come to need it, and against those that end.
//!
//! The contexts are real ones. There is no runtime: a close goes no further than its beginning, until it is [ended](close::end),
//! or the last handle is dropped.

use super::outcomes::{Outcomes, bounded_long};
use crate::{
    context::{begin, close, close_reason::CloseReason, context::Context, state::Core},
    registry::registry::Registry,
    sync::lock,
    table::record::State,
};
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

fn is_open(context: &Context) -> bool {
    context.node().gate.state() == State::Open
}

/// Begins the close. Returns those whose close begins here.
fn begin(core: &Arc<Core>) -> Vec<Arc<Core>> {
    begin::begin(core, CloseReason::from("model"))
}

/// Whether the close of this context is one of those that began.
fn has(begun: &[Arc<Core>], core: &Arc<Core>) -> bool {
    begun.iter().any(|begun| Arc::ptr_eq(begun, core))
}

/// Does something with the core of a context on a thread of its own.
fn beside<R: 'static>(
    context: &Context,
    run: impl FnOnce(&Arc<Core>) -> R + 'static,
) -> JoinHandle<R> {
    let core = Arc::clone(context.core());
    thread::spawn(move || run(&core))
}

/// I17: one that comes to need a context that is to close is refused, or the close waits for it.
#[test]
fn a_dependent_is_refused_or_awaited() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let closer = beside(&need, |need| has(&begin(need), need));
        let opened = registry
            .context_builder("dependent")
            .needs(&need)
            .try_open();
        let is_opened = opened.is_ok();
        assert!(
            !is_opened || is_open(&need),
            "it is open, and what it needs is not"
        );
        let began = closer.join().unwrap();
        match &opened {
            Ok(dependent) => assert!(is_open(&need) && !began && !is_open(dependent)),
            Err(_) => assert!(!is_open(&need) && began),
        }
        saw.saw(is_opened);
        drop(opened);
        assert!(!is_open(&need), "the close waits for ever");
    });
    outcomes.assert_all([true, false]);
}

/// The same where another one needs it already, so that it is open until that is closed: the new one is refused, or closed with
/// that, and the close waits for both.
#[test]
fn a_dependent_of_what_is_to_close_is_refused_or_closed() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let first = registry.context_builder("first").needs(&need).open();
        let closer = beside(&need, |need| has(&begin(need), need));
        let second = registry.context_builder("second").needs(&need).try_open();
        assert!(!closer.join().unwrap() && is_open(&need) && !is_open(&first));
        if let Ok(second) = &second {
            assert!(!is_open(second), "it is never closed");
        }
        saw.saw(second.is_ok());
        drop(first);
        assert_eq!(is_open(&need), second.is_ok());
        drop(second);
        assert!(!is_open(&need), "the close waits for ever");
    });
    outcomes.assert_all([true, false]);
}

/// A close that was asked for begins once, when the last of those that need the context has ended, in whichever order.
#[test]
fn of_two_that_end_at_once_the_last_begins_the_close() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let [one, other] =
            ["one", "other"].map(|name| registry.context_builder(name).needs(&need).open());
        assert_eq!(begin(need.core()).len(), 2);
        let stop = |dependent: &Context| {
            let id = dependent.id();
            // What they hold they give back later, when they are dropped.
            need.node().handles.add();
            move |need: &Arc<Core>| has(&begin::stop_needing(need, id).0, need)
        };
        let other = beside(&need, stop(&other));
        let here = stop(&one)(need.core());
        assert!(here != other.join().unwrap() && !is_open(&need));
        saw.saw(here);
    });
    outcomes.assert_all([true, false]);
}

/// The same with contexts that end, and give back their handles: one of those was the last.
#[test]
fn what_is_not_needed_any_more_is_closed_by_those_that_end() {
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let [one, other] =
            ["one", "other"].map(|name| registry.context_builder(name).needs(&need).open());
        let weak = need.downgrade();
        drop(need);
        assert_eq!(weak.state(), State::Open);
        let other = thread::spawn(move || drop(other));
        drop(one);
        other.join().unwrap();
        assert_eq!(weak.state(), State::Closed);
        assert!(registry.is_empty());
    });
}

/// A context is asked to close, twice, while the last one ends that needs it: the close begins once.
#[test]
fn a_close_that_is_asked_for_while_the_last_dependent_ends_begins_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let dependent = registry.context_builder("dependent").needs(&need).open();
        assert_eq!(begin(dependent.core()).len(), 1);
        let closers = [(); 2].map(|()| beside(&need, |need| has(&begin(need), need)));
        let by_end = has(
            &begin::stop_needing(need.core(), dependent.id()).0,
            need.core(),
        );
        let by_closers = closers.map(|closer| closer.join().unwrap());
        let began = [by_end, by_closers[0], by_closers[1]];
        assert_eq!(began.iter().filter(|began| **began).count(), 1);
        assert!(!is_open(&need));
        saw.saw(began);
    });
    outcomes.assert_all([
        [true, false, false],
        [false, true, false],
        [false, false, true],
    ]);
}

/// The closes of a context and of what it needs are asked for at the same time: that of the first begins once, and that of the
/// other one follows.
#[test]
fn two_closes_that_meet_begin_once_each() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let need = registry.context("need");
        let dependent = registry.context_builder("dependent").needs(&need).open();
        let close = |core: &Arc<Core>| {
            let begun = begin(core);
            begun.iter().for_each(close::end);
            begun
        };
        let closer = beside(&need, close);
        let here = close(dependent.core());
        let there = closer.join().unwrap();
        let began = [here, there].map(|begun| has(&begun, dependent.core()));
        assert!(began[0] != began[1]);
        assert_eq!(dependent.state(), State::Closed);
        assert!(!is_open(&need), "the close is lost");
        saw.saw(began[0]);
    });
    outcomes.assert_all([true, false]);
}

/// A context that has closed before it was opened, because what it needs was to close, leaves nothing with its parent and with
/// what it needs.
#[test]
fn a_dependent_that_ends_while_it_is_opened_leaves_all_that_it_entered() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let [need, other, parent] = ["need", "other", "parent"].map(|name| registry.context(name));
        let closer = beside(&need, |need| begin(need).iter().for_each(close::end));
        let builder = parent.child_builder("dependent");
        let opened = builder.needs(&need).needs(&other).try_open();
        closer.join().unwrap();
        saw.saw(opened.is_ok());
        // Where its close began at the end of its opening, nothing else drives that here.
        drop(opened);
        assert!(!is_open(&need), "the close waits for ever");
        assert!(
            has(&begin(other.core()), other.core()),
            "it is needed for ever"
        );
        let parent = parent.core();
        let listed = lock(&parent.children).len();
        assert_eq!((listed, parent.node.gate.inside()), (0, 0));
    });
    outcomes.assert_all([true, false]);
}

/// A context that is refused, because one of its needs is closed, while its close begins because of the other: it goes out of
/// its parent once.
#[test]
fn a_dependent_that_is_refused_and_closed_leaves_its_parent_once() {
    bounded_long(3).check(move || {
        let registry = Registry::new();
        let [need, closed, parent] =
            ["need", "closed", "parent"].map(|name| registry.context(name));
        begin(closed.core());
        let closer = beside(&need, |need| begin(need).iter().for_each(close::end));
        let builder = parent.child_builder("dependent");
        let opened = builder.needs(&need).needs(&closed).try_open();
        assert!(opened.is_err());
        closer.join().unwrap();
        assert!(!is_open(&need), "the close waits for ever");
        let parent = parent.core();
        let listed = lock(&parent.children).len();
        assert_eq!((listed, parent.node.gate.inside()), (0, 0));
    });
}
