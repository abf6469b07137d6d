//! Registering and removing (L1–L4, L6, L7, L9, L11, I5).

use crate::util::{AGES_ARE_PAUSED, Counter, age, in_time, poll_once, settle};
use headcount::{
    CloseReason, Registry, State,
    leaks::{LeakKind, LeakPolicy},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::sleep;

/// L1
#[test]
fn a_tracked_arc_has_name_kind_and_creation_time() {
    let registry = Registry::new();
    let before = std::time::SystemTime::now();
    let conn = Arc::new(7);
    let id = registry.track(&conn, "conn-1", "connection");
    let live = registry.live_now();
    let entry = live.find("conn-1").unwrap();
    assert_eq!(
        (entry.id(), entry.kind(), entry.state()),
        (id, "connection", State::Live)
    );
    assert_eq!(entry.strong_count(), Some(1));
    let created = entry.created_at();
    let slack = Duration::from_secs(5);
    assert!(created + slack > before && created < std::time::SystemTime::now() + slack);
    assert_eq!(entry.location().file(), file!());
}

/// L2: that they are swept as others register is seen from inside, in the table's own tests.
#[test]
fn a_dead_arc_is_neither_listed_nor_counted() {
    let registry = Registry::new();
    let value = Arc::new([0_u8; 1024]);
    registry.track(&value, "value", "value");
    assert_eq!(registry.count(), 1);
    drop(value);
    assert!(registry.live_now().is_empty() && registry.is_empty());
}

/// L2: exact for registrations.
#[test]
fn a_registration_is_gone_when_it_is_dropped() {
    let registry = Registry::new();
    let entry = registry.register("entry", "kind");
    assert_eq!(
        (entry.name(), entry.kind(), registry.count()),
        ("entry", "kind", 1)
    );
    assert_eq!(
        registry.live_now().find("entry").unwrap().strong_count(),
        None
    );
    drop(entry);
    assert!(registry.is_empty() && registry.live_now().is_empty());
}

/// L3
#[test]
fn untrack_forgets_the_entry_and_not_the_thing() {
    let registry = Registry::new();
    let conn = Arc::new("alive");
    let id = registry.track(&conn, "conn", "connection");
    let (entry, owned) = (
        registry.register("entry", "entry"),
        registry.own("owned", "owned", 1),
    );
    assert!(registry.untrack(id) && registry.untrack(entry.id()) && registry.untrack(owned.id()));
    assert!(registry.is_empty());
    assert!(
        !registry.untrack(id) && !registry.untrack(entry.id()),
        "unknown ids do nothing"
    );
    assert_eq!((*conn, *owned), ("alive", 1));
    drop((entry, owned));
    assert!(registry.is_empty());
}

/// L3: a stale id never hits a newer entry, and ids of one registry mean nothing in another.
#[test]
fn stale_and_foreign_ids_hit_nothing() {
    let (registry, other) = (Registry::new(), Registry::new());
    let mut seen = std::collections::HashSet::new();
    let first = registry.register("first", "kind");
    let stale = first.id();
    drop(first);
    for _ in 0..1_000 {
        let newer = registry.register("newer", "kind");
        assert!(
            seen.insert(newer.id()) && newer.id() != stale,
            "ids are not reused"
        );
        assert!(!registry.untrack(stale));
        assert_eq!(registry.count(), 1);
        let foreign = other.register("foreign", "kind");
        assert!(!registry.untrack(foreign.id()) && !other.untrack(newer.id()));
    }
    let value = Arc::new(());
    let id = registry.track(&value, "value", "kind");
    assert!(registry.untrack(id));
    let again = registry.track(&value, "value", "kind");
    assert!(id != again && !registry.untrack(id) && registry.untrack(again));
}

/// L3: tasks and contexts cannot be untracked.
#[tokio::test]
async fn untrack_and_clear_leave_tasks_and_contexts_alone() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let task = ctx.spawn(std::future::pending::<()>());
    assert!(!registry.untrack(ctx.id()) && !registry.untrack(task.id()));
    let _entry = registry.register("entry", "entry");
    assert_eq!(registry.clear(), 1);
    assert_eq!(registry.count(), 2);
    task.abort();
    in_time(ctx.close()).await;
}

/// L4
#[test]
fn registries_are_independent_and_list_in_insertion_order() {
    let (one, two) = (Registry::new(), Registry::new());
    let mut entries: Vec<_> = (0..100)
        .map(|n| one.register(format!("{n:03}"), "kind"))
        .collect();
    let _other = two.register("other", "kind");
    // Reused places do not upset the order.
    for n in [10, 20, 30] {
        entries[n] = one.register(format!("{}", 1000 + n), "kind");
    }
    let live = one.live_now();
    let names: Vec<_> = live.iter().map(headcount::Resource::name).collect();
    let mut expected: Vec<_> = (0..100)
        .filter(|n| ![10, 20, 30].contains(n))
        .map(|n| format!("{n:03}"))
        .collect();
    expected.extend(["1010", "1020", "1030"].map(String::from));
    assert_eq!(names, expected);
    assert_eq!(two.count(), 1);
    // L4: a listing is a copy.
    drop(entries);
    assert_eq!(
        (live.len(), live.iter().count(), one.count()),
        (100, 100, 0)
    );
}

/// L4: also when the clock stands still.
#[tokio::test(start_paused = true)]
async fn insertion_order_holds_under_paused_time() {
    let registry = Registry::new();
    let first: Vec<_> = (0..50).map(|_| registry.register("gone", "kind")).collect();
    drop(first);
    let _entries: Vec<_> = (0..50)
        .map(|n| registry.register(format!("{n}"), "kind"))
        .collect();
    let live = registry.live().await;
    let names: Vec<_> = live.iter().map(|entry| entry.name().to_owned()).collect();
    assert_eq!(names, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// L9
#[test]
fn clear_forgets_everything_and_the_things_live_on() {
    let registry = Registry::new();
    let values: Vec<_> = (0..10).map(Arc::new).collect();
    for (n, value) in values.iter().enumerate() {
        registry.track(value, format!("value-{n}"), "value");
    }
    let entry = registry.register("entry", "entry");
    assert_eq!(registry.clear(), 11);
    assert!(registry.is_empty() && registry.live_now().is_empty());
    assert_eq!(registry.clear(), 0);
    assert_eq!(*values[3], 3);
    // What is cleared can be tracked again, and an old registration does not disturb that.
    registry.track(&values[0], "again", "value");
    drop(entry);
    assert_eq!(registry.count(), 1);
}

/// L6
#[tokio::test]
async fn the_free_functions_use_the_current_registry() {
    let registry = Registry::new();
    registry
        .scope(async {
            let value = Arc::new(());
            let id = headcount::track(&value, "value", "value");
            let entry = headcount::register("entry", "entry");
            let ctx = headcount::context("ctx");
            let task = headcount::spawn(async { 42 });
            let live = headcount::live().await;
            assert_eq!((live.len(), live.find("value").unwrap().id()), (4, id));
            assert_eq!(in_time(task).await.unwrap(), 42);
            assert!(Registry::current().untrack(id));
            drop(entry);
            in_time(ctx.close()).await;
        })
        .await;
    assert!(registry.is_empty());
}

/// L6: the global registry is the current one by default.
#[test]
fn the_global_registry_is_current_outside_of_any_scope() {
    let entry = headcount::register("global entry of this test", "entry");
    assert!(
        Registry::global()
            .live_now()
            .find("global entry of this test")
            .is_some()
    );
    assert!(Registry::current().untrack(entry.id()));
}

/// L11: nothing phantom is left by a registration whose arguments panic.
#[test]
fn a_failed_registration_leaves_nothing() {
    struct Bomb;
    impl From<Bomb> for std::borrow::Cow<'static, str> {
        fn from(_: Bomb) -> Self {
            panic!("no name")
        }
    }
    let registry = Registry::new();
    let value = Arc::new(());
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        registry.track(&value, Bomb, "kind")
    }));
    assert!(failed.is_err());
    assert_eq!((registry.count(), registry.live_now().len()), (0, 0));
    assert_eq!(Arc::weak_count(&value), 0);
}

/// L11: an entry does not keep its registry, and outlives it harmlessly.
#[test]
fn an_entry_outlives_its_registry() {
    let registry = Registry::new();
    let (entry, owned) = (
        registry.register("entry", "kind"),
        registry.own("owned", "kind", 5),
    );
    drop(registry);
    assert_eq!((entry.name(), *owned), ("entry", 5));
    drop((entry, owned));
}

/// L11: registering and removing from inside a destructor of a registered value does not deadlock.
#[test]
fn destructors_may_use_the_registry() {
    struct Reenters(Registry);
    impl Drop for Reenters {
        fn drop(&mut self) {
            let entry = self.0.register("from a destructor", "kind");
            assert!(self.0.live_now().find("from a destructor").is_some());
            self.0.clear();
            drop(entry);
        }
    }
    let registry = Registry::new();
    let owned = registry.own("reenters", "kind", Reenters(registry.clone()));
    let tracked = Arc::new(Reenters(registry.clone()));
    registry.track(&tracked, "tracked", "kind");
    drop((owned, tracked));
    assert!(registry.is_empty());
}

/// I5: listing neither keeps a value alive nor runs its destructor.
#[tokio::test]
async fn a_listing_holds_no_value() {
    let registry = Registry::new();
    let counter = Counter::default();
    let owned = registry.own("owned", "kind", counter.guard());
    let arc = Arc::new(counter.guard());
    registry.track(&arc, "arc", "kind");
    let ctx = registry.context("ctx");
    let (guard, output) = (counter.guard(), counter.guard());
    let task = ctx.task("job").spawn(async move {
        drop(guard);
        output
    });
    settle().await;
    let live = registry.live().await;
    assert_eq!(live.find("owned").unwrap().strong_count(), Some(1));
    assert_eq!(live.find("arc").unwrap().strong_count(), Some(1));
    assert_eq!(live.find("ctx").unwrap().strong_count(), Some(1));
    assert_eq!((owned.strong_count(), Arc::strong_count(&arc)), (1, 1));
    drop((owned, arc));
    assert_eq!(
        counter.dropped(),
        3,
        "the listing was not the last to hold them"
    );
    drop(task);
    assert_eq!(counter.dropped(), 4, "nor the task's output");
    let weak = ctx.downgrade();
    in_time(ctx.close()).await;
    drop(ctx);
    assert!(weak.upgrade().is_none(), "nor the context");
    assert_eq!(live.len(), 3);
}

/// S18: all contexts at once, and nothing afterwards.
#[tokio::test(start_paused = true)]
async fn closing_a_registry_closes_every_context_at_once() {
    let registry = Registry::new();
    let contexts: Vec<_> = (0..10)
        .map(|n| registry.context(format!("ctx-{n}")))
        .collect();
    for ctx in &contexts {
        ctx.spawn(std::future::pending::<()>());
    }
    let free = registry
        .scope(async { headcount::spawn(std::future::pending::<()>()) })
        .await;
    let start = tokio::time::Instant::now();
    let report = in_time(registry.close()).await;
    // One grace period for all contexts; what belongs to none has a second after the last of them.
    assert_eq!(start.elapsed().as_secs(), 6);
    assert_eq!(
        (report.reason(), report.aborted(), report.children()),
        (&CloseReason::Shutdown, 11, 10)
    );
    assert!(free.is_finished());
    for ctx in &contexts {
        assert!(matches!(
            in_time(ctx.closed()).await.reason(),
            CloseReason::Parent(_)
        ));
    }
    let late = registry.context("late");
    assert_eq!(late.state(), State::Closed);
    assert!(late.try_spawn(async {}).is_err());
    drop((contexts, late));
    let _entry = registry.register("still possible", "entry");
    assert_eq!(registry.count(), 1);
}

/// S18
#[tokio::test(start_paused = true)]
async fn closing_a_registry_within_a_limit_names_who_is_in_the_way() {
    let registry = Registry::new();
    let ctx = registry
        .context_builder("ctx")
        .grace(Duration::from_secs(60))
        .open();
    ctx.task("slow").spawn(std::future::pending::<()>());
    let still = in_time(registry.close_within(Duration::from_secs(1)))
        .await
        .unwrap_err();
    assert!(still.remaining().find("slow").is_some());
    assert_eq!(
        in_time(registry.close_within(Duration::from_secs(100)))
            .await
            .unwrap()
            .aborted(),
        1
    );
}

#[tokio::test]
async fn idle_resolves_when_no_task_and_no_open_context_is_left() {
    let registry = Registry::new();
    in_time(registry.idle()).await;
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let mut idle = pin!(registry.idle());
    assert!(poll_once(idle.as_mut()).is_pending());
    in_time(ctx.close()).await;
    in_time(idle).await;
    drop(child);
    let task = registry
        .scope(async { headcount::spawn(std::future::pending::<()>()) })
        .await;
    let mut idle = pin!(registry.idle());
    assert!(poll_once(idle.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(idle.as_mut()).is_pending());
    task.abort();
    in_time(idle).await;
    // Resources are not in the way.
    let _entry = registry.register("entry", "kind");
    in_time(registry.idle()).await;
}

/// Several waiters, and a second time.
#[tokio::test]
async fn idle_wakes_everybody_every_time() {
    let registry = Registry::new();
    for _ in 0..3 {
        let ctx = registry.context("ctx");
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let registry = registry.clone();
                tokio::spawn(async move { registry.idle().await })
            })
            .collect();
        settle().await;
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        drop(ctx);
        for waiter in waiters {
            in_time(waiter).await.unwrap();
        }
    }
}

/// I6: a table that grew gives its memory back; here seen by ids, which start over from low places.
#[test]
fn places_are_reused() {
    let registry = Registry::new();
    for _ in 0..3 {
        let entries: Vec<_> = (0..10_000)
            .map(|_| registry.register("entry", "kind"))
            .collect();
        assert_eq!(
            (registry.count(), registry.live_now().len()),
            (10_000, 10_000)
        );
        drop(entries);
        assert_eq!((registry.count(), registry.live_now().len()), (0, 0));
    }
}

/// L10: a pool lists itself and its connections, and is gone from the list when it is closed.
#[test]
fn a_pool_that_lists_itself_is_gone_when_it_is_dropped() {
    struct Pool {
        connections: Vec<headcount::Tracked<usize>>,
        _listed: headcount::Registration,
    }
    let registry = Registry::new();
    let pool = Pool {
        connections: (0..5)
            .map(|n| registry.own(format!("conn-{n}"), "connection", n))
            .collect(),
        _listed: registry.register("api-pool", "pool"),
    };
    let lent = pool.connections[3].clone();
    assert_eq!(
        (
            registry.live_now().kind("pool").len(),
            registry.live_now().kind("connection").len()
        ),
        (1, 5)
    );
    drop(pool);
    let left = registry.live_now();
    assert_eq!(
        (
            left.len(),
            left.find("conn-3").unwrap().strong_count(),
            *lent
        ),
        (1, Some(1), 3)
    );
    drop(lent);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn ids_of_one_registry_are_printed_differently() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let task = ctx
        .task("task")
        .cancellable()
        .spawn(std::future::pending::<()>());
    let door = registry.register("door", "door");
    let owned = registry.own("value", "value", 7);
    let tracked = registry.track(&std::sync::Arc::new(7), "arc", "arc");
    let ids = [ctx.id(), task.id(), door.id(), owned.id(), tracked];
    let printed: std::collections::BTreeSet<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(printed.len(), ids.len(), "{printed:?}");
    ctx.close().await;
}

#[test]
fn a_value_without_a_size_is_tracked() {
    let registry = Registry::new();
    let words: std::sync::Arc<[u8]> = std::sync::Arc::from(*b"words");
    registry.track(&words, "words", "bytes");
    assert_eq!(
        registry.live_now().find("words").unwrap().strong_count(),
        Some(1)
    );
    drop(words);
    assert!(registry.is_empty());
}

/// L7: after the work nothing is expected; what is there all the same is named, with its age, and where it was made.
#[tokio::test(start_paused = true)]
async fn what_is_left_after_the_work_is_printed_with_its_name_and_age() {
    let registry = Registry::new();
    let nothing_left = LeakPolicy::nothing_left().settle(Duration::ZERO);
    let work = async |keep: bool| {
        let flows = ["first", "second"].map(Arc::new);
        for flow in &flows {
            registry.track(flow, *flow.as_ref(), "flow");
        }
        sleep(Duration::from_secs(90)).await;
        keep.then(|| Arc::clone(&flows[1]))
    };
    assert!(work(false).await.is_none());
    let report = registry.leaks(&nothing_left).await;
    assert!(report.is_clean(), "{report}");

    let kept = work(true).await;
    let report = registry.leaks(&nothing_left).await;
    let [leak] = report.findings() else {
        panic!("{report}");
    };
    let resource = leak.resource().unwrap();
    assert_eq!(
        (leak.kind(), resource.kind()),
        (LeakKind::StillThere, "flow")
    );
    if AGES_ARE_PAUSED {
        assert_eq!(resource.age(), Duration::from_secs(90));
    }
    let said = report.to_string();
    assert!(said.contains("flow second: still there"), "{said}");
    assert!(
        said.contains(age("1m 30s")) && said.contains(file!()),
        "{said}"
    );
    drop(kept);
    assert!(registry.leaks(&nothing_left).await.is_clean());
}

/// L2: it is gone, whether its entry was swept or not.
#[test]
fn an_arc_that_has_gone_cannot_be_untracked() {
    let registry = Registry::new();
    let (gone, kept) = (Arc::new(1), Arc::new(2));
    let gone_id = registry.track(&gone, "gone", "arc");
    let kept_id = registry.track(&kept, "kept", "arc");
    drop(gone);
    assert!(!registry.untrack(gone_id));
    assert!(registry.untrack(kept_id) && !registry.untrack(kept_id));
    assert!(registry.is_empty());
}
