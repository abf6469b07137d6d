//! Values that belong to a registry or a context (S16).

use crate::util::{Counter, Log, Notes, OnDrop, in_time, multi_thread};
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
    let failure = report.failures()[0].to_string();
    assert!(
        failure.starts_with("bomb #") && failure.ends_with("boom [ctx]"),
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

/// A value that is given back early goes with the last handle of the user.
#[tokio::test]
async fn a_released_value_is_dropped_with_its_last_handle() {
    let registry = Registry::new();
    let (counter, ctx) = (Counter::default(), registry.context("ctx"));
    let value = ctx.own("value", "kind", counter.guard()).unwrap();
    let other = value.clone();
    assert_eq!(value.strong_count(), 3);
    assert!(value.release());
    assert_eq!((value.strong_count(), counter.alive()), (2, 1));
    assert!(!value.release() && !other.release(), "once");
    drop(value);
    assert_eq!(counter.alive(), 1);
    drop(other);
    assert_eq!((counter.alive(), registry.live().await.len()), (0, 1));
    assert!(in_time(ctx.close()).await.is_clean());
}

#[tokio::test]
async fn nothing_is_released_after_the_close_or_where_no_context_owns_it() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let value = ctx.own("value", "kind", ()).unwrap();
    in_time(ctx.close()).await;
    assert!(!value.release(), "the close has dropped its handle");
    drop(ctx);
    assert!(!value.release(), "nothing is left of the context");
    assert!(!registry.own("own", "kind", ()).release());
}

/// It is released or dropped by the close, and not both.
#[test]
fn a_value_released_while_its_context_closes_goes_once() {
    let runtime = multi_thread(2);
    let registry = Registry::new();
    for _ in 0..200 {
        let counter = Counter::default();
        let ctx = registry.context("ctx");
        let value = ctx.own("value", "kind", counter.guard()).unwrap();
        let other = value.clone();
        let releasing = std::thread::spawn(move || [value.release(), value.release()]);
        let report = runtime.block_on(in_time(ctx.close()));
        let [first, second] = releasing.join().unwrap();
        assert!(!second && report.is_clean());
        assert!(!other.release());
        assert_eq!((other.strong_count(), counter.alive()), (1, 1), "{first}");
        drop(other);
        assert_eq!((counter.alive(), counter.dropped()), (0, 1));
    }
}

/// I5: a leak report does not say that the context still holds what it has released.
#[tokio::test]
async fn a_released_value_is_not_owned_any_more() {
    let registry = Registry::new();
    registry.set_level(headcount::Level::Holders);
    let ctx = registry.context("ctx");
    let value = ctx.own("value", "kind", ()).unwrap();
    assert!(
        value.holders().to_string().contains("context ctx"),
        "{}",
        value.holders()
    );
    assert!(value.release());
    assert!(
        !value.holders().to_string().contains("context ctx"),
        "{}",
        value.holders()
    );
    in_time(ctx.close()).await;
}
