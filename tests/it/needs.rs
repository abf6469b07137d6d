//! Contexts that others need (I17).

use crate::util::{Counter, Log, current_thread, in_time, multi_thread, poll_once, settle, within};
use headcount::{
    CloseReason, CloseStatus, Context, Level, OpenError, Registry, State, WeakContext,
};
use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{self, Wake, Waker},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

fn needing(registry: &Registry, name: &'static str, need: &Context) -> Context {
    registry.context_builder(name).needs(need).open()
}

/// Ends when its context is cancelled, and then works on the other one.
fn saves(ctx: &Context, on: &Context, saved: &Arc<AtomicUsize>) {
    let (own, on, saved) = (ctx.downgrade(), on.downgrade(), Arc::clone(saved));
    ctx.spawn(async move {
        own.cancelled().await;
        let save = on.upgrade().unwrap().spawn(async move {
            tokio::task::yield_now().await;
            saved.fetch_add(1, SeqCst);
        });
        save.await.unwrap();
    });
}

#[tokio::test]
async fn what_is_needed_stays_open_until_the_others_are_closed() {
    let (registry, saved) = (Registry::new(), Arc::default());
    let db = registry.context("db");
    let jobs = needing(&registry, "jobs", &db);
    for _ in 0..100 {
        saves(&jobs, &db, &saved);
    }
    settle().await;
    let closing = registry.close();
    assert!(jobs.is_cancelled() && !db.is_cancelled());
    assert_eq!((jobs.state(), db.state()), (State::Closing, State::Open));
    let report = in_time(closing).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (saved.load(SeqCst), report.refused(), report.finished()),
        (100, 0, 200)
    );
    assert_eq!((jobs.state(), db.state()), (State::Closed, State::Closed));
}

/// Its own close, its parent's, and the drop of the last handle.
#[tokio::test]
async fn whatever_begins_the_close_those_that_need_it_are_closed_first() {
    let (registry, log) = (Registry::new(), Log::default());
    let infra = registry.context("infra");
    let db = infra.child("db");
    let api = needing(&registry, "api", &db);
    for (ctx, name) in [(&db, "db"), (&api, "api"), (&infra, "infra")] {
        let log = log.clone();
        ctx.on_close(move || async move { log.note(name) }).unwrap();
    }
    let report = in_time(infra.close_with("deploy")).await;
    assert_eq!(log.all(), ["api", "db", "infra"]);
    assert_eq!(report.children(), 1);
    assert_eq!(api.close_reason(), Some(CloseReason::Needed));
    let deploy = CloseReason::from("deploy");
    assert_eq!(db.close_reason().unwrap().root(), &deploy);

    let db = registry.context("db");
    let api = needing(&registry, "api", &db);
    let first = needing(&registry, "first", &api);
    let log = Log::default();
    for (ctx, name) in [(&db, "db"), (&api, "api"), (&first, "first")] {
        let log = log.clone();
        ctx.on_close(move || async move { log.note(name) }).unwrap();
    }
    in_time(db.close()).await;
    assert_eq!(log.all(), ["first", "api", "db"]);
}

#[tokio::test]
async fn the_last_handle_of_what_is_needed_is_that_of_the_one_that_needs_it() {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let db = registry.context("db");
    let api = needing(&registry, "api", &db);
    let holders = db.holders();
    assert_eq!(holders.strong_count(), 2);
    assert!(holders.to_string().contains("needed by api"), "{holders}");
    let weak = db.downgrade();
    drop(db);
    settle().await;
    assert_eq!(weak.state(), State::Open);
    drop(api);
    let report = in_time(weak.closed()).await;
    assert_eq!(report.reason(), &CloseReason::Dropped);
    in_time(registry.idle()).await;
    assert!(registry.is_empty());
}

/// Counts the handles of a context when it is woken.
struct CountsHandles(WeakContext, AtomicUsize);

impl Wake for CountsHandles {
    fn wake(self: Arc<Self>) {
        self.1.store(self.0.holders().strong_count(), SeqCst);
    }
}

/// So when that has closed, nothing is listed but what others hold.
#[tokio::test]
async fn the_handle_is_given_back_before_the_close_of_what_was_needed_begins() {
    let registry = Registry::new();
    let db = registry.context("db");
    let api = needing(&registry, "api", &db);
    let counts = Arc::new(CountsHandles(db.downgrade(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counts));
    let mut cancelled = pin!(db.cancelled_owned());
    let polled = cancelled
        .as_mut()
        .poll(&mut task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    in_time(registry.close()).await;
    assert_eq!(counts.1.load(SeqCst), 1);
    drop((db, api));
    assert!(registry.is_empty());
}

/// I11: all of it is torn down where there is no runtime, in order.
#[test]
fn without_a_runtime_it_is_torn_down_as_well() {
    let counter = Counter::default();
    let registry = Registry::new();
    let (db, api) = current_thread().block_on(async {
        let db = registry.context("db");
        let api = needing(&registry, "api", &db);
        drop(db.own("value", "value", counter.guard()).unwrap());
        drop(api.own("value", "value", counter.guard()).unwrap());
        (db, api)
    });
    drop(db);
    assert_eq!(counter.dropped(), 0);
    drop(api);
    assert_eq!((counter.dropped(), registry.count()), (2, 0));
}

/// I10: by need edges as by parents, and by both.
#[tokio::test]
async fn a_close_of_what_one_needs_begins_and_returns() {
    let registry = Registry::new();
    let infra = registry.context("infra");
    let db = infra.child("db");
    let api = needing(&registry, "api", &db);
    let conn = api.child("conn");
    let other = registry.context("other");
    let status = |on: &Context| {
        let on = on.clone();
        async move { on.close().await.status() }
    };
    assert_eq!(
        in_time(conn.spawn(status(&db))).await.unwrap(),
        CloseStatus::Begun
    );
    let closed = in_time(other.spawn(status(&infra))).await.unwrap();
    assert_eq!((closed, conn.state()), (CloseStatus::Closed, State::Closed));
}

/// It stays open for those that need it all the same, whatever they ask for from inside.
#[tokio::test]
async fn a_close_from_inside_starts_no_hook_of_what_is_needed() {
    let (registry, log) = (Registry::new(), Log::default());
    let db = registry.context("db");
    let api = needing(&registry, "api", &db);
    let (closing, closed) = (log.clone(), log.clone());
    db.on_closing(move || async move { closing.note("db closes") })
        .unwrap();
    db.on_close(move || async move { closed.note("db is closed") })
        .unwrap();
    let (own, needed, seen) = (api.downgrade(), db.clone(), log.clone());
    let asks = api.spawn(async move {
        for _ in 0..2 {
            assert_eq!(needed.close().await.status(), CloseStatus::Begun);
            assert_eq!(needed.closed().await.status(), CloseStatus::Begun);
        }
        own.cancelled().await;
        settle().await;
        seen.note("api");
        (needed.state(), needed.spawn(async {}).await.is_ok())
    });
    assert_eq!(in_time(asks).await.unwrap(), (State::Open, true));
    assert!(in_time(db.closed()).await.is_clean());
    assert_eq!(log.all(), ["api", "db closes", "db is closed"]);
}

#[tokio::test]
async fn what_cannot_be_needed_is_refused() {
    let (registry, other) = (Registry::new(), Registry::new());
    let ctx = registry.context("ctx");
    let child = ctx.child("child");
    let refused = |need: &Context| {
        child
            .child_builder("new")
            .needs(need)
            .try_open()
            .unwrap_err()
    };
    let error = refused(&ctx);
    assert_eq!(error, OpenError::NeedsAncestor("ctx".to_owned()));
    assert_eq!(
        refused(&child),
        OpenError::NeedsAncestor("child".to_owned())
    );
    let foreign = other.context("foreign");
    assert_eq!(
        refused(&foreign),
        OpenError::OtherRegistry("foreign".to_owned())
    );
    let closed = registry.context("closed");
    in_time(closed.close()).await;
    assert_eq!(refused(&closed), OpenError::NeedClosed("closed".to_owned()));
    // One that is to close is open, but not for new ones.
    let db = registry.context("db");
    let api = needing(&registry, "api", &db);
    let (go, gone) = oneshot::channel::<()>();
    api.spawn(async move { drop(gone.await) });
    let closing = db.close();
    assert_eq!(db.state(), State::Open);
    assert_eq!(refused(&db), OpenError::NeedClosed("db".to_owned()));
    assert!(db.try_spawn(async {}).is_ok() && db.try_child("child").is_ok());
    drop(go);
    in_time(closing).await;
    // Without an error to return, it is closed from the start.
    let born_closed = child.child_builder("new").needs(&db).open();
    assert_eq!(born_closed.state(), State::Closed);
    drop(born_closed);
    in_time(child.close()).await;
    assert_eq!(child.children().len(), 0);
    assert_eq!(db.holders().strong_count(), 1);
}

/// I13
#[test]
fn a_chain_of_many_closes_in_order() {
    const LONG: usize = 20_000;
    within(Duration::from_secs(120), || {
        let registry = Registry::new();
        current_thread().block_on(async {
            let first = registry.context("0");
            let mut chain = vec![first.clone()];
            for n in 1..LONG {
                let next = registry
                    .context_builder(n.to_string())
                    .needs(&chain[n - 1])
                    .open();
                chain.push(next);
            }
            let report = in_time(first.close()).await;
            assert!(report.is_clean());
            assert!(chain.iter().all(|ctx| ctx.state() == State::Closed));
        });
        assert!(registry.is_empty());
    });
}

/// Each layer needs both of the one before: there are 2⁵⁰ ways through.
#[tokio::test]
async fn many_ways_to_what_is_needed_are_not_walked_one_by_one() {
    let registry = Registry::new();
    let mut layer = [registry.context("left"), registry.context("right")];
    let all = layer.clone();
    for _ in 0..50 {
        let open = |name| {
            let builder = registry.context_builder(name).needs(&layer[0]);
            builder.needs(&layer[1]).open()
        };
        layer = [open("left"), open("right")];
    }
    let [last, _] = &layer;
    let inside = last.spawn({
        let first = all[0].clone();
        async move {
            first
                .close_by(Duration::from_secs(60))
                .await
                .unwrap()
                .status()
        }
    });
    assert_eq!(in_time(inside).await.unwrap(), CloseStatus::Begun);
    in_time(registry.close()).await;
}

/// A context that comes to need one just as that begins to close: either it is refused, or it is closed first.
#[test]
fn needing_against_closing() {
    let runtime = multi_thread(2);
    for _ in 0..300 {
        let registry = Registry::new();
        let db = runtime.block_on(async { registry.context("db") });
        let barrier = Arc::new(Barrier::new(2));
        let opens = thread::spawn({
            let (registry, db, barrier) = (registry.clone(), db.clone(), Arc::clone(&barrier));
            let runtime = runtime.handle().clone();
            move || {
                let _entered = runtime.enter();
                barrier.wait();
                let api = registry.context_builder("api").needs(&db).try_open();
                api.map(|api| {
                    let (own, db) = (api.downgrade(), db.downgrade());
                    let looks = api.try_spawn(async move {
                        own.cancelled().await;
                        db.state()
                    });
                    (api.downgrade(), looks.ok())
                })
            }
        });
        barrier.wait();
        runtime.block_on(in_time(db.close()));
        if let Ok((api, looks)) = opens.join().unwrap() {
            assert_eq!(api.state(), State::Closed);
            // Unless the close had begun before it could be spawned.
            if let Some(looks) = looks {
                assert_eq!(runtime.block_on(looks).unwrap(), State::Open);
            }
        }
    }
}

/// I1: its waker runs as the last one that needed it is gone, and has closed it when it returns.
#[test]
fn the_handle_of_one_that_needs_it_is_gone_before_it_can_be_closed() {
    struct Closes(Context, Mutex<Vec<usize>>);
    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            let db = self.0.clone();
            let closes = thread::spawn(move || {
                current_thread().block_on(in_time(db.close()));
                db.holders().strong_count()
            });
            self.1.lock().unwrap().push(closes.join().unwrap());
        }
    }
    current_thread().block_on(async {
        let registry = Registry::new();
        let db = registry.context("db");
        let api = needing(&registry, "api", &db);
        let waker = Arc::new(Closes(db.clone(), Mutex::default()));
        let mut cancelled = pin!(db.cancelled());
        let polled = cancelled
            .as_mut()
            .poll(&mut task::Context::from_waker(&Waker::from(Arc::clone(
                &waker,
            ))));
        assert!(polled.is_pending());
        in_time(registry.close()).await;
        assert_eq!(
            *waker.1.lock().unwrap(),
            [3],
            "that of the test, of the waker, and of its thread"
        );
        drop(api);
    });
}

/// A context needs one that closes just then, and perhaps another that is closed: it is refused, or closed, and goes out once.
#[test]
fn needing_what_closes_while_that_is_looked_at() {
    let runtime = multi_thread(2);
    for round in 0..60 {
        let registry = Registry::new();
        let (db, closed, parent, many) = runtime.block_on(async {
            let closed = registry.context("closed");
            in_time(closed.close()).await;
            let many: Vec<_> = (0..1_000).map(|_| registry.context("one")).collect();
            let closed = (round % 2 == 0).then_some(closed);
            (
                registry.context("db"),
                closed,
                registry.context("parent"),
                many,
            )
        });
        let barrier = Arc::new(Barrier::new(2));
        let opens = thread::spawn({
            let (barrier, parent, db) = (Arc::clone(&barrier), parent.clone(), db.clone());
            move || {
                let mut builder = parent.child_builder("new").needs(&db);
                for one in many.iter().chain(&closed) {
                    builder = builder.needs(one);
                }
                barrier.wait();
                builder.try_open()
            }
        });
        barrier.wait();
        thread::sleep(Duration::from_micros(100));
        runtime.block_on(in_time(db.close()));
        if let Ok(ctx) = opens.join().unwrap() {
            assert_eq!(ctx.state(), State::Closed);
        }
        runtime.block_on(in_time(counts_its_task(&parent)));
        runtime.block_on(in_time(registry.close_now()));
    }
}

/// What went out twice would hide the task, and so would one that went out and is still listed.
async fn counts_its_task(parent: &Context) {
    let task = parent.wrap(pending::<()>());
    let mut finished = pin!(parent.finish());
    assert!(poll_once(finished.as_mut()).is_pending());
    assert_eq!(parent.state(), State::Open);
    drop(task);
    let report = finished.await;
    assert_eq!((report.aborted(), parent.children().len()), (1, 0));
}

/// A hook that needs what a task outside holds: with `needs` it just works.
#[tokio::test(start_paused = true)]
async fn a_pool_is_closed_after_those_that_hold_its_connections() {
    let registry = Registry::new();
    let db = registry.context("db");
    let pool = Arc::new(tokio::sync::Semaphore::new(4));
    let all = Arc::clone(&pool);
    db.on_close(|| async move { drop(all.acquire_many(4).await) })
        .unwrap();
    let jobs = needing(&registry, "jobs", &db);
    for _ in 0..4 {
        let (connection, own) = (Arc::clone(&pool).acquire_owned().await, jobs.downgrade());
        jobs.spawn(async move {
            own.cancelled().await;
            drop(connection);
        });
    }
    let report = in_time(registry.close()).await;
    assert!(report.is_clean(), "{report}");
}
