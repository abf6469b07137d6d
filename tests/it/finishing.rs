//! Contexts that finish and have lost the runtime that watches them, and such that others come into meanwhile.

use crate::util::{current_thread, in_time, multi_thread, settle};
use futures::FutureExt;
use headcount::{Context, Registry, State};
use std::{
    future::pending,
    sync::{Arc, Barrier},
    thread,
};

/// A context that cannot run dry, one below it, and one that needs it; all of them are to finish.
fn family(registry: &Registry) -> [Context; 3] {
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let dependent = registry.context_builder("dependent").needs(&ctx).open();
    for ctx in [&ctx, &child, &dependent] {
        ctx.spawn(pending::<()>());
    }
    drop(ctx.finish());
    [ctx, child, dependent]
}

/// I11
#[test]
fn without_a_runtime_that_watches_dropping_handles_closes() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let registry = Registry::new();
        let mut family = current_thread().block_on(async { family(&registry).map(Some) });
        for next in order {
            assert!(!registry.is_empty());
            family[next] = None;
        }
        assert!(registry.is_empty(), "{order:?}: {}", registry.live_now());
    }
}

/// The same, if they were dropped before: they are kept until their runtime ends.
#[test]
fn what_was_dropped_while_it_was_watched_closes_with_the_runtime() {
    for kept in [None, Some(0), Some(1), Some(2)] {
        let registry = Registry::new();
        let last = current_thread().block_on(async {
            let mut family = family(&registry).map(Some);
            let kept = kept.and_then(|kept: usize| family[kept].take());
            drop(family);
            settle().await;
            assert_eq!(registry.live_now().contexts().len(), 3);
            kept
        });
        drop(last);
        assert!(registry.is_empty(), "{kept:?}: {}", registry.live_now());
    }
}

/// I11: there never was one.
#[test]
fn what_finishes_without_a_runtime_closes_with_its_last_handle() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    drop(ctx.finish());
    drop(child);
    drop(ctx);
    assert!(registry.is_empty(), "{}", registry.live_now());
}

/// One that is opened by what is still there.
#[test]
fn a_child_of_what_is_not_watched_closes_with_its_last_handle() {
    let registry = Registry::new();
    let (ctx, opens) = current_thread().block_on(async {
        let ctx = registry.context("ctx");
        let own = ctx.downgrade();
        let opens = ctx.wrap(async move { own.try_child("child").unwrap() });
        drop(ctx.finish());
        (ctx, opens)
    });
    let child = opens.now_or_never().unwrap().unwrap();
    assert_eq!((child.state(), ctx.state()), (State::Open, State::Open));
    drop(child);
    assert_eq!(registry.live_now().contexts().len(), 1);
    drop(ctx);
    assert!(registry.is_empty());
}

/// Whatever is opened while it begins to finish finishes as well, or is refused.
#[test]
fn finishing_against_opening() {
    let runtime = multi_thread(2);
    for _ in 0..60 {
        let registry = Registry::new();
        let (ctx, children) = runtime.block_on(async {
            let ctx = registry.context("ctx");
            ctx.spawn(pending::<()>());
            let children: Vec<_> = (0..200).map(|_| ctx.child("child")).collect();
            (ctx, children)
        });
        let barrier = Arc::new(Barrier::new(2));
        let opens = thread::spawn({
            let (ctx, barrier) = (ctx.clone(), Arc::clone(&barrier));
            move || {
                barrier.wait();
                let late = std::iter::from_fn(|| ctx.try_child("late").ok());
                late.take(2_000).collect::<Vec<_>>()
            }
        });
        barrier.wait();
        let finished = {
            let _entered = runtime.enter();
            ctx.finish()
        };
        let late = opens.join().unwrap();
        for ctx in late.iter().chain(&children) {
            assert!(ctx.try_spawn(async {}).is_err(), "an outsider");
        }
        drop(finished);
        runtime.block_on(in_time(registry.close_now()));
    }
}
