//! Values that belong to a registry or a context (S16).

use crate::util::{Counter, Log, Notes, OnDrop, in_time};
use headcount::Registry;
use std::sync::Mutex;

/// S16: a value dies with its last owner.
#[tokio::test]
async fn an_owned_value_lives_until_the_close_or_its_last_handle() {
    let registry = Registry::new();
    let counter = Counter::default();
    let ctx = registry.context("ctx");
    drop(ctx.own("dropped", "value", counter.guard()).unwrap());
    let held = ctx.own("held", "value", counter.guard()).unwrap();
    assert_eq!((counter.alive(), held.strong_count()), (2, 2));
    let listed = registry.live().await.find("held").cloned().unwrap();
    assert_eq!(
        (listed.parent(), listed.kind(), listed.id()),
        (Some(ctx.id()), "value", held.id())
    );
    in_time(ctx.close()).await;
    assert_eq!((counter.alive(), held.strong_count()), (1, 1));
    assert_eq!(
        registry.live().await.resources().len(),
        1,
        "still held, still listed"
    );
    let weak = held.downgrade();
    assert_eq!(weak.strong_count(), 1);
    drop(held);
    assert_eq!((counter.alive(), weak.strong_count()), (0, 0));
    assert!(weak.upgrade().is_none() && registry.live().await.resources().is_empty());
}

#[tokio::test]
async fn owned_values_are_dropped_lifo_and_one_that_panics_does_not_stop_the_next() {
    let log = Log::default();
    let ctx = Registry::new().context("ctx");
    drop(
        ctx.own("first", "value", Notes(log.clone(), "first"))
            .unwrap(),
    );
    drop(
        ctx.own("bomb", "value", Mutex::new(OnDrop::new(|| panic!("boom"))))
            .unwrap(),
    );
    drop(
        ctx.own("last", "value", Notes(log.clone(), "last"))
            .unwrap(),
    );
    let report = in_time(ctx.close()).await;
    assert_eq!(log.all(), ["last", "first"]);
    assert!(
        report.failures()[0].starts_with("bomb #") && report.failures()[0].ends_with("boom [ctx]"),
        "{report}"
    );
    assert!(!report.is_clean());
}

#[tokio::test]
async fn a_value_given_to_a_closed_context_is_handed_back() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    in_time(ctx.close()).await;
    let counter = Counter::default();
    let refused = ctx.own("late", "value", counter.guard()).unwrap_err();
    assert_eq!(
        (counter.alive(), registry.live().await.resources().len()),
        (1, 0)
    );
    drop(refused.into_inner());
    assert_eq!(counter.dropped(), 1);
}

/// What is alive is listed: also while its destructor runs.
#[test]
fn a_tracked_value_is_listed_while_it_is_dropped() {
    let registry = Registry::new();
    let log = Log::default();
    let value = registry.own("value", "value", {
        let (registry, log) = (registry.clone(), log.clone());
        Mutex::new(OnDrop::new(move || {
            log.note(format!("{}", registry.live_now().find("value").is_some()))
        }))
    });
    drop(value);
    assert_eq!(log.all(), ["true"]);
    assert!(registry.is_empty());
}

#[test]
fn handles_share_one_value() {
    let registry = Registry::new();
    let one = registry.own("value", "kind", Mutex::new(1));
    let two = one.clone();
    *two.lock().unwrap() += 1;
    assert_eq!(
        (*one.lock().unwrap(), one.strong_count(), one.name()),
        (2, 2, "value")
    );
    let weak = one.downgrade().clone();
    assert_eq!(weak.upgrade().unwrap().id(), two.id());
    assert_eq!(
        registry.live_now().find("value").unwrap().strong_count(),
        Some(2)
    );
    assert!(!format!("{one:?} {weak:?}").contains('1') || !format!("{one:?}").contains("Mutex"));
}
