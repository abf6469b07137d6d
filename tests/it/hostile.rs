//! What a hostile reviewer tried: destructors, wakers and runtimes that end at the worst moment.

use crate::util::{
    OnDrop, TIME_LIMIT, current_thread, in_time, multi_thread, paused, settle, within,
};
use futures::FutureExt;
use headcount::{Context, Registry, State};
use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    task::{Wake, Waker},
    time::Duration,
};
use tokio::time::Instant;

/// Fails instead of hanging, also where the hang blocks the thread.
#[track_caller]
fn limited(body: impl FnOnce() + Send + 'static) {
    within(TIME_LIMIT, body);
}

/// Its destructor says that it has begun, and takes a while.
fn slow(tell: mpsc::Sender<()>) -> impl Send {
    OnDrop::new(move || {
        tell.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    })
}

/// I1: an abort reaches the tasks of a set on which another thread is spawning, and at the first attempt.
#[test]
fn an_abort_reaches_tasks_while_another_spawn_is_stuck() {
    limited(|| {
        let (rt, dead) = (paused(), multi_thread(1));
        let handle = dead.handle().clone();
        dead.shutdown_background();
        let (grace, begun) = rt.block_on(async { (Duration::from_millis(100), Instant::now()) });
        let ctx = rt.block_on(async { Registry::new().context_builder("ctx").grace(grace).open() });
        let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..10 {
            let ended = ended.clone();
            let task = OnDrop::new(move || ended.send(begun.elapsed()).unwrap());
            ctx.task("task").on(rt.handle()).spawn(async move {
                let _task = task;
                std::future::pending::<()>().await;
            });
        }
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let other = ctx.clone();
        let spawner = std::thread::spawn(move || {
            let stuck = OnDrop::new(move || {
                tell.send(()).unwrap();
                let _ = gone.recv();
            });
            // A dead runtime drops the future inside the spawn.
            let spawning = other.task("stuck").on(&handle);
            drop(spawning.spawn(async move { drop(stuck) }));
        });
        told.recv().unwrap();
        rt.block_on(async {
            ctx.request_close("test");
            for _ in 0..10 {
                assert_eq!(ends.recv().await, Some(grace));
            }
            drop(go);
            in_time(ctx.close()).await;
        });
        spawner.join().unwrap();
    });
}

/// I11: the same where no runtime is left, and no second attempt comes.
#[test]
fn a_context_without_runtime_reaches_tasks_while_another_spawn_is_stuck() {
    limited(|| {
        let (own, other) = (multi_thread(1), multi_thread(2));
        let registry = Registry::new();
        let ctx = own.block_on(async { registry.context("ctx") });
        for _ in 0..5 {
            drop(
                ctx.task("pending")
                    .on(other.handle())
                    .spawn(std::future::pending::<()>()),
            );
        }
        let (tell, told) = mpsc::channel();
        own.shutdown_background();
        drop(ctx.task("spawner").on(other.handle()).spawn(async move {
            let slow = slow(tell);
            drop(headcount::spawn(async move { drop(slow) }));
        }));
        told.recv().unwrap();
        drop(ctx);
        other.block_on(in_time(registry.idle()));
    });
}

/// I1, I14: the close of a registry whose runtime ended is taken over, with all that lies below it.
#[test]
fn the_close_of_a_registry_is_taken_over() {
    limited(|| {
        let registry = Registry::new();
        let first = multi_thread(1);
        let ctx = first.block_on(async { registry.context("ctx") });
        ctx.on_close(|| async { tokio::time::sleep(Duration::from_millis(500)).await })
            .unwrap();
        let still = first
            .block_on(registry.close_within(Duration::from_millis(50)))
            .unwrap_err();
        assert!(
            still.hooks()[0].starts_with("ctx: it::hostile::the_close_of_a_registry"),
            "{still}"
        );
        assert!(
            still
                .to_string()
                .contains("waiting for a hook: ctx: it::hostile"),
            "{still}"
        );
        drop(first);
        current_thread().block_on(in_time(registry.close()));
        assert_eq!(ctx.state(), State::Closed);
    });
}

/// I14: a child that is held, under a parent that was torn down.
#[test]
fn a_child_of_a_torn_down_parent_is_found() {
    limited(|| {
        let registry = Registry::new();
        let own = multi_thread(1);
        let (parent, child) = own.block_on(async {
            let parent = registry.context("parent");
            let child = parent.child("child");
            (parent, child)
        });
        drop(own);
        drop(parent);
        assert_eq!(child.state(), State::Closing);
        current_thread().block_on(in_time(registry.close()));
        assert_eq!(child.state(), State::Closed);
    });
}

/// I14: the child's runtime ends while the parent is awaited, or closes in the background, on another.
#[test]
fn a_child_that_lost_its_runtime_gets_a_new_driver() {
    for in_background in [false, true] {
        limited(move || {
            let registry = Registry::new();
            let (own, other) = (multi_thread(1), multi_thread(1));
            let parent = own.block_on(async { registry.context("parent") });
            let child = other.block_on(async { parent.child("child") });
            child
                .on_close(|| async { tokio::time::sleep(Duration::from_millis(500)).await })
                .unwrap();
            other.block_on(async {
                child.request_close("first");
                settle().await;
            });
            let awaited = if in_background {
                own.block_on(async move { drop(parent) });
                None
            } else {
                Some(own.spawn(async move { parent.close().await }))
            };
            std::thread::sleep(Duration::from_millis(50));
            drop(other);
            own.block_on(in_time(registry.idle()));
            if let Some(awaited) = awaited {
                assert_eq!(own.block_on(awaited).unwrap().hooks().failed, 1);
            }
            drop(child);
        });
    }
}

/// I11: a leaked `close()` future brings no runtime.
#[test]
fn a_forgotten_close_does_not_keep_the_context_from_ending() {
    limited(|| {
        let registry = Registry::new();
        let own = current_thread();
        let weak = own.block_on(async {
            let ctx = registry.context("ctx");
            ctx.on_close(|| async { tokio::time::sleep(Duration::from_secs(2)).await })
                .unwrap();
            let weak = ctx.downgrade();
            let close = Box::leak(Box::new(ctx.clone())).close();
            let mut close = Box::pin(close);
            assert!((&mut close).now_or_never().is_none());
            std::mem::forget(close);
            drop(ctx);
            weak
        });
        drop(own);
        // The handle is leaked as well, so it stays closing; but a caller that awaits it can end it.
        assert_eq!(weak.state(), State::Closing);
        current_thread().block_on(in_time(registry.close()));
        assert_eq!(weak.state(), State::Closed);
    });
}

/// `idle` against contexts that are being refused.
#[test]
fn idle_is_not_misled_by_refusals() {
    limited(|| {
        let rt = current_thread();
        let registry = Registry::new();
        rt.block_on(registry.close());
        let stop = Arc::new(AtomicBool::new(false));
        let opener = std::thread::spawn({
            let (registry, stop) = (registry.clone(), stop.clone());
            move || {
                while !stop.load(SeqCst) {
                    drop(registry.context("refused"));
                }
            }
        });
        for _ in 0..100_000 {
            rt.block_on(in_time(registry.idle()));
        }
        stop.store(true, SeqCst);
        opener.join().unwrap();
    });
}

/// I10: a destructor that waits for the close of what it is part of is inside.
#[test]
fn destructors_of_values_and_outputs_are_inside() {
    fn closer(ctx: &Context) -> Mutex<impl Send + use<>> {
        let ctx = ctx.clone();
        Mutex::new(OnDrop::new(move || {
            drop(futures::executor::block_on(ctx.close()))
        }))
    }
    limited(|| {
        let rt = multi_thread(1);
        rt.block_on(async {
            let ctx = Registry::new().context("ctx");
            drop(ctx.own("closer", "value", closer(&ctx)).unwrap());
            let output = closer(&ctx);
            drop(ctx.spawn(async move { output }));
            settle().await;
            in_time(ctx.close()).await;
        });
    });
}

/// Panics once, when it is woken.
struct Bomb(AtomicBool);

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        assert!(!self.0.swap(false, SeqCst), "waker");
    }
}

fn bomb() -> Waker {
    Waker::from(Arc::new(Bomb(AtomicBool::new(true))))
}

/// I14: a waker that panics does not keep the parent from closing.
#[test]
fn a_waker_that_panics_does_not_reach_the_parent() {
    limited(|| {
        let rt = multi_thread(1);
        rt.block_on(async {
            let parent = Registry::new().context("parent");
            let child = parent.child("child");
            child
                .on_close(|| async { tokio::time::sleep(Duration::from_millis(100)).await })
                .unwrap();
            let waker = bomb();
            child.request_close("now");
            settle().await;
            let mut closed = pin!(child.closed());
            assert!(
                closed
                    .as_mut()
                    .poll(&mut std::task::Context::from_waker(&waker))
                    .is_pending()
            );
            in_time(parent.close()).await;
        });
    });
}

/// I11: nor does it make a drop panic.
#[test]
fn a_waker_that_panics_does_not_reach_a_drop() {
    limited(|| {
        let registry = Registry::new();
        let ctx = registry.context("no runtime");
        let waker = bomb();
        let mut idle = pin!(registry.idle());
        assert!(
            idle.as_mut()
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
        drop(ctx);
        assert!(registry.is_empty());
    });
}

/// I16: an output whose destructor panics is no clean close.
#[tokio::test]
async fn an_output_that_panics_is_reported() {
    let ctx = Registry::new().context("ctx");
    let output = OnDrop::new(|| panic!("output"));
    drop(ctx.spawn(async move { output }));
    let report = in_time(ctx.close()).await;
    assert_eq!((report.finished(), report.is_clean()), (1, false));
    assert!(
        report.failures()[0]
            .to_string()
            .ends_with("panicked: output [ctx]"),
        "{report}"
    );
}

/// I13: a failure deep in the tree is told by every ancestor, and costs each of them little.
#[tokio::test]
async fn a_failure_at_the_bottom_of_a_deep_chain_is_short() {
    let mut chain = vec![Registry::new().context("context")];
    for n in 1..3_000 {
        chain.push(chain[n - 1].child("context"));
    }
    for _ in 0..40 {
        chain[2_999]
            .on_close(|| async { Err::<(), _>("disk full") })
            .unwrap();
    }
    let report = in_time(chain[0].close()).await;
    assert_eq!((report.hooks().failed, report.failures().len()), (40, 32));
    let failure = report.failures()[0].to_string();
    assert!(
        failure.ends_with("disk full […/context/context/context/context/context/context]"),
        "{failure}"
    );
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics");
    }
}

fn poll_with_a_waker_that_panics<F: Future + Unpin>(mut future: F) {
    let waker = Waker::from(Arc::new(Panics));
    let polled = future.poll_unpin(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
}

/// I11: where no runtime is, the drop of the last handle ends everything by force.
#[test]
fn the_drop_of_the_last_handle_does_not_panic_though_wakers_do() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let mut wrapped = Box::pin(ctx.wrap(std::future::pending::<()>()));
    poll_with_a_waker_that_panics(&mut wrapped);
    drop(ctx);
    drop(wrapped);
    assert!(registry.live_now().contexts().is_empty());

    let ctx = registry.context("ctx");
    let mut set = tokio::task::LocalSet::new();
    let entered = set.enter();
    drop(ctx.spawn_local(std::future::pending::<()>()));
    drop(entered);
    for _ in 0..2 {
        poll_with_a_waker_that_panics(&mut set);
    }
    std::thread::spawn(move || drop(ctx)).join().unwrap();
    drop(set);
    assert!(registry.live_now().contexts().is_empty());
}

/// With the feature `dump`, which knows what wakes each of them; without, the panic takes their wakes along.
#[cfg(feature = "dump")]
#[test]
fn a_waker_that_panics_at_the_force_does_not_stop_others() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry
            .context_builder("ctx")
            .grace(Duration::from_millis(30))
            .open();
        let mut first = Box::pin(ctx.wrap(std::future::pending::<()>()));
        poll_with_a_waker_that_panics(&mut first);
        for _ in 0..5 {
            tokio::spawn(ctx.wrap(std::future::pending::<()>()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        ctx.request_close("test");
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(first);
        assert_eq!(in_time(ctx.close()).await.aborted(), 6);
    });
}
