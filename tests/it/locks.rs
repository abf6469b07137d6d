//! Tracked locks: who holds them, and who waits for whom.

use crate::util::settle;
use headcount::{Context, Level, LockHolder, Registry};
use tokio::sync::{Mutex, RwLock, Semaphore, oneshot};

fn registry() -> (Registry, Context) {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let ctx = registry.context("ctx");
    (registry, ctx)
}

/// What the holders are called, and the lines that they are on, as `task a at 12`.
fn said(holders: &[LockHolder]) -> Vec<String> {
    let line = |at: &str| at.rsplit(':').next().unwrap().to_owned();
    let one = |holder: &LockHolder| format!("{} at {}", holder.by(), line(holder.at()));
    holders.iter().map(one).collect()
}

#[tokio::test]
async fn a_mutex_is_held_as_long_as_its_guard_lives() {
    let (registry, ctx) = registry();
    let value = registry.own("db", "mutex", Mutex::new(1));
    assert!(value.lock_holders().is_empty());
    let (go, gone) = oneshot::channel::<()>();
    let other = value.clone();
    let at = line!() + 2;
    let task = ctx.task("import").spawn(async move {
        let mut guard = other.lock().await;
        *guard += 1;
        let _ = gone.await;
        *guard
    });
    settle().await;
    assert_eq!(
        said(&value.lock_holders()),
        [format!("task import at {at}")]
    );
    assert_eq!(value.lock_holders()[0].task(), Some(task.id()));
    assert!(value.try_lock().is_err());
    go.send(()).unwrap();
    assert_eq!(task.await.unwrap(), 2);
    assert!(value.lock_holders().is_empty());
    let guard = value.try_lock().unwrap();
    assert_eq!(value.lock_holders().len(), 1);
    let guard = guard.into_inner();
    assert!(value.lock_holders().is_empty(), "it is not listed any more");
    assert!(value.try_lock().is_err(), "and is still held");
    drop(guard);
}

#[tokio::test]
async fn readers_writers_and_permits_are_listed() {
    let (registry, _ctx) = registry();
    let table = registry.own("table", "lock", RwLock::new(0));
    let (one, two) = (table.read().await, table.try_read().unwrap());
    assert_eq!(table.lock_holders().len(), 2);
    assert!(table.try_write().is_err());
    drop((one, two));
    *table.write().await += 1;
    assert_eq!(*table.try_write().unwrap(), 1);
    assert!(table.lock_holders().is_empty());

    let pool = registry.own("pool", "semaphore", Semaphore::new(5));
    let one = pool.acquire().await.unwrap();
    let more = pool.acquire_many(2).await.unwrap();
    let other = pool.try_acquire().unwrap();
    assert_eq!(pool.lock_holders().len(), 3);
    assert!(pool.try_acquire_many(2).is_err());
    assert_eq!((one.num_permits(), more.num_permits()), (1, 2));
    drop(one);
    more.forget();
    drop(other);
    assert_eq!(
        (pool.available_permits(), pool.lock_holders().len()),
        (3, 0)
    );
    pool.close();
    assert!(pool.acquire().await.is_err() && pool.try_acquire().is_err());
    assert!(pool.lock_holders().is_empty());
}

/// I6: nothing is left of requests that were given up.
#[tokio::test]
async fn a_request_that_is_dropped_is_forgotten() {
    let (registry, _ctx) = registry();
    let value = registry.own("db", "mutex", Mutex::new(()));
    let guard = value.lock().await;
    for _ in 0..10 {
        let mut request = Box::pin(value.lock());
        assert!(futures::poll!(&mut request).is_pending());
    }
    drop(guard);
    assert!(value.lock_holders().is_empty());
    drop(value.try_lock().unwrap());
}

#[tokio::test]
async fn each_level_records_what_it_says() {
    let (registry, _ctx) = registry();
    let value = registry.own("db", "mutex", Mutex::new(()));
    registry.set_level(Level::Off);
    let guard = value.lock().await;
    assert!(value.lock_holders().is_empty());
    registry.set_level(Level::Holders);
    drop(guard);
    registry.set_level(Level::Counts);
    let guard = value.lock().await;
    let holders = value.lock_holders();
    assert_eq!(
        (holders[0].by(), holders[0].task()),
        ("an unknown holder", None)
    );
    registry.set_level(Level::Off);
    drop(guard);
    assert!(value.lock_holders().is_empty());
}

#[tokio::test]
async fn a_guard_outlives_the_registry() {
    let (registry, ctx) = registry();
    let value = registry.own("db", "mutex", Mutex::new(1));
    let guard = value.lock().await;
    ctx.close().await;
    drop((registry, ctx));
    assert_eq!(*guard, 1);
    drop(guard);
    assert_eq!(*value.lock().await, 1);
}

#[cfg(feature = "dump")]
mod dumps {
    use super::*;
    use headcount::{
        Task, Tracked,
        dump::{Awaited, LockKind},
    };
    use std::{future::pending, sync::Arc};
    use tokio::sync::Notify;

    /// Locks the first, and then the second.
    fn locks_both(
        ctx: &Context,
        name: &str,
        first: &Tracked<Mutex<()>>,
        second: &Tracked<Mutex<()>>,
        go: &Arc<Notify>,
    ) -> Task<()> {
        let (first, second, go) = (first.clone(), second.clone(), Arc::clone(go));
        ctx.task(name.to_owned()).spawn(async move {
            let _one = first.lock().await;
            go.notified().await;
            let _two = second.lock().await;
        })
    }

    #[tokio::test]
    async fn a_dump_says_who_holds_what_a_task_waits_for() {
        let (registry, ctx) = registry();
        let value = registry.own("db", "mutex", Mutex::new(()));
        let held = value.clone();
        ctx.task("has").spawn(async move {
            let _guard = held.lock().await;
            pending::<()>().await;
        });
        settle().await;
        for _ in 0..3 {
            let value = value.clone();
            ctx.task("waits")
                .spawn(async move { drop(value.lock().await) });
        }
        settle().await;
        let dump = registry.dump().await;
        let task = dump.find("waits").unwrap();
        let stack = &task.stacks()[0];
        assert_eq!(stack.leaf(), Some("tokio::sync::Mutex::lock"));
        let holder = value.lock_holders().remove(0);
        let awaited = Awaited::Lock {
            id: value.id(),
            kind: LockKind::Mutex,
            name: "db".to_owned(),
            held_by: vec![holder.clone()],
            more: 0,
            given_to: None,
        };
        assert_eq!(stack.awaited(), Some(&awaited));
        let said = dump.to_string();
        let line = format!("→ the mutex db, held by task has at {}", holder.at());
        assert_eq!(said.matches(&line).count(), 1, "{said}");
        assert!(said.contains("3 tasks:"), "{said}");
        assert!(dump.deadlocks().is_empty(), "{said}");
        ctx.close_now().await;
    }

    /// A request that was given up is not among those that the mutex may have been given to.
    #[tokio::test]
    async fn a_mutex_is_given_to_the_oldest_request_that_is_left() {
        let (registry, ctx) = registry();
        let value = registry.own("db", "mutex", Mutex::new(()));
        let guard = value.try_lock().unwrap();
        let mut given_up = Box::pin(value.lock());
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        let (mut next, line) = (Box::pin(value.lock()), line!());
        assert!(futures::poll!(&mut next).is_pending());
        let waits = value.clone();
        ctx.task("waits")
            .spawn(async move { drop(waits.lock().await) });
        settle().await;
        drop(guard);
        let said = registry.dump().await.to_string();
        let given =
            |line: u32| said.contains(&format!("locks.rs:{line}, which has not been polled"));
        assert!(
            said.contains("→ the mutex db, given to the request of "),
            "{said}"
        );
        assert!(given(line), "{said}");
        drop(next);
        ctx.close_now().await;
    }

    #[tokio::test]
    async fn many_holders_are_cut() {
        let (registry, ctx) = registry();
        let pool = registry.own("pool", "semaphore", Semaphore::new(20));
        for _ in 0..21 {
            let pool = pool.clone();
            ctx.task("job").spawn(async move {
                let _permit = pool.acquire().await.unwrap();
                pending::<()>().await;
            });
        }
        settle().await;
        let said = registry.dump().await.to_string();
        assert!(
            said.contains("→ the semaphore pool, held by task job at "),
            "{said}"
        );
        assert!(said.contains(" and 17 more"), "{said}");
        ctx.close_now().await;
    }

    #[tokio::test]
    async fn two_tasks_that_lock_the_other_way_round_are_a_deadlock() {
        let (registry, ctx) = registry();
        let one = registry.own("one", "mutex", Mutex::new(()));
        let two = registry.own("two", "mutex", Mutex::new(()));
        let go = Arc::new(Notify::new());
        let first = locks_both(&ctx, "first", &one, &two, &go);
        let second = locks_both(&ctx, "second", &two, &one, &go);
        settle().await;
        assert!(registry.dump().await.deadlocks().is_empty());
        go.notify_waiters();
        settle().await;
        let behind = locks_both(&ctx, "behind", &one, &two, &go);
        settle().await;
        let dump = registry.dump().await;
        let [deadlock] = dump.deadlocks() else {
            panic!("{dump}");
        };
        let ids: Vec<_> = deadlock
            .waiters()
            .iter()
            .map(headcount::dump::Waiter::id)
            .collect();
        assert_eq!((ids, deadlock.others()), (vec![first.id(), second.id()], 1));
        let said = deadlock.to_string();
        assert!(
            said.contains("ctx/first waits for the mutex two, held by task second at "),
            "{said}"
        );
        first.abort();
        settle().await;
        let said = registry.dump().await;
        assert!(said.deadlocks().is_empty(), "{said}");
        behind.abort();
        ctx.close_now().await;
    }

    #[tokio::test]
    async fn a_task_that_locks_twice_waits_for_itself() {
        let (registry, ctx) = registry();
        let value = registry.own("db", "mutex", Mutex::new(()));
        ctx.task("twice").spawn(async move {
            let _one = value.lock().await;
            let _two = value.lock().await;
        });
        settle().await;
        let dump = registry.dump().await;
        let said = dump.deadlocks()[0].to_string();
        assert!(
            said.starts_with("deadlock: a task waits for itself"),
            "{said}"
        );
        ctx.close_now().await;
    }

    /// A task that waits for one whose lock it has.
    #[tokio::test]
    async fn locks_and_tasks_make_a_circle() {
        let (registry, ctx) = registry();
        let value = registry.own("db", "mutex", Mutex::new(()));
        let (own, inner) = (ctx.downgrade(), value.clone());
        ctx.task("outer").spawn(async move {
            let _guard = value.lock().await;
            let inner = own
                .task("inner")
                .spawn(async move { drop(inner.lock().await) });
            let _ = inner.await;
        });
        settle().await;
        let dump = registry.dump().await;
        assert_eq!(dump.deadlocks().len(), 1, "{dump}");
        assert_eq!(dump.deadlocks()[0].waiters().len(), 2, "{dump}");
        ctx.close_now().await;
    }

    /// The holder waits for something else as well, or nothing is known of it: it may go on.
    #[tokio::test]
    async fn a_holder_that_may_go_on_is_in_no_deadlock() {
        let (registry, ctx) = registry();
        let one = registry.own("one", "mutex", Mutex::new(()));
        let two = registry.own("two", "mutex", Mutex::new(()));
        let go = Arc::new(Notify::new());
        locks_both(&ctx, "first", &one, &two, &go);
        let (first, second) = (two.clone(), one.clone());
        ctx.task("patient").spawn(async move {
            let _two = first.lock().await;
            tokio::select! {
                _one = second.lock() => {}
                () = pending() => {}
                () = tokio::time::sleep(std::time::Duration::from_secs(3_600)) => {}
            }
        });
        settle().await;
        go.notify_waiters();
        settle().await;
        let dump = registry.dump().await;
        assert!(dump.deadlocks().is_empty(), "{dump}");
        ctx.close_now().await;
    }

    /// The lock was given to a future of the task that it does not poll any more: nothing ever gives it back.
    #[tokio::test]
    async fn a_lock_that_was_given_to_a_future_which_nothing_polls_is_named() {
        let (registry, ctx) = registry();
        let value = registry.own("db", "mutex", Mutex::new(()));
        let guard = value.lock().await;
        let (given, at) = (value.clone(), line!() + 2);
        ctx.task("futurelock").spawn(async move {
            let mut asks = Box::pin(given.lock());
            tokio::select! {
                biased;
                _ = &mut asks => {}
                () = tokio::task::yield_now() => {}
            }
            drop(given.lock().await);
        });
        settle().await;
        drop(guard);
        settle().await;
        let said = registry.dump().await.to_string();
        let line = "→ the mutex db, given to the request of task futurelock at ";
        assert!(said.contains(line), "{said}");
        assert!(
            said.contains(&format!(
                "{}:{at}, which has not been polled since",
                file!()
            )),
            "{said}"
        );
        ctx.close_now().await;
    }
}
