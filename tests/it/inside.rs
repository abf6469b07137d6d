//! I10: a close that is awaited from inside begins, and the await returns at once, whatever began it and wherever; and
//! one that is awaited outside ends, though no runtime takes it.

use crate::util::{
    Counter, OnDrop, current_thread, in_time, multi_thread, paused, poll_once, settle, within,
};
use headcount::{CloseStatus, Context, Registry, State};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::oneshot};

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A blocking closure of the context, on a runtime that is being shut down while it runs.
#[test]
fn a_close_from_inside_returns_though_its_runtime_is_ending() {
    let (status, state) = within(TIME_LIMIT, || {
        let rt = multi_thread(1);
        let registry = Registry::new();
        let ctx = rt.block_on(async { registry.context("ctx") });
        let weak = ctx.downgrade();
        let (started, is_started) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let (give, take) = mpsc::channel();
        let own = ctx.downgrade();
        rt.block_on(async {
            ctx.spawn_blocking(move || {
                started.send(()).unwrap();
                gone.recv().unwrap();
                // Until the runtime takes nothing any more.
                while futures::executor::block_on(Handle::current().spawn(async {})).is_ok() {}
                let ctx = own.upgrade().unwrap();
                let report = Handle::current().block_on(ctx.close());
                give.send(report.status()).unwrap();
            });
        });
        is_started.recv().unwrap();
        rt.shutdown_background();
        let kept = ctx;
        go.send(()).unwrap();
        let status = take.recv().unwrap();
        // No caller is left that could bring a runtime.
        drop(kept);
        while weak.state() != State::Closed {
            std::thread::yield_now();
        }
        (status, weak.state())
    });
    assert_eq!((status, state), (CloseStatus::Begun, State::Closed));
}

/// The same for a task that waits for the close of another to begin it, and for one whose runtime is dropped.
#[test]
fn a_runtime_that_is_dropped_waits_for_no_close_from_inside() {
    within(TIME_LIMIT, || {
        let rt = multi_thread(1);
        let ctx = rt.block_on(async { Registry::new().context("ctx") });
        let (started, is_started) = mpsc::channel();
        let own = ctx.downgrade();
        rt.block_on(async {
            ctx.spawn_blocking(move || {
                started.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                let ctx = own.upgrade().unwrap();
                Handle::current().block_on(ctx.close());
                Handle::current().block_on(ctx.closed());
                Handle::current().block_on(own.closed());
            });
        });
        is_started.recv().unwrap();
        drop(rt);
        drop(ctx);
    });
}

/// A runtime that has ended still polls what is given to its handle: the close runs there.
#[test]
fn a_close_that_is_awaited_on_a_runtime_that_has_ended_ends() {
    let (report, dropped, order) = within(TIME_LIMIT, || {
        let rt = multi_thread(1);
        let dead = rt.handle().clone();
        let registry = Registry::new();
        let parent = rt.block_on(async { registry.context("parent") });
        let child = rt.block_on(async { parent.child("child") });
        let order = Arc::new(Mutex::new(Vec::new()));
        for (ctx, name) in [(&parent, "parent"), (&child, "child")] {
            let order = Arc::clone(&order);
            ctx.on_close(async move || order.lock().unwrap().push(name))
                .unwrap();
        }
        let dropped = Counter::default();
        drop(parent.own("value", "value", dropped.guard()).unwrap());
        let guard = dropped.guard();
        parent.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        drop(rt);
        let report = dead.block_on(parent.close());
        let order = order.lock().unwrap().clone();
        drop(child);
        assert!(registry.count() <= 1);
        (report, dropped.dropped(), order)
    });
    assert_eq!(report.status(), CloseStatus::Closed);
    assert_eq!(
        (report.aborted(), report.children(), report.hooks().ran),
        (1, 1, 2),
        "{report}"
    );
    assert_eq!((dropped, order), (2, vec!["child", "parent"]));
}

/// Two who wait there, one of whom gives up.
#[test]
fn a_close_on_a_runtime_that_has_ended_goes_on_with_another_who_waits() {
    within(TIME_LIMIT, || {
        let rt = multi_thread(1);
        let dead = rt.handle().clone();
        let ctx = rt.block_on(async { Registry::new().context("ctx") });
        let (end, ended) = oneshot::channel::<()>();
        ctx.on_close(async move || drop(ended.await)).unwrap();
        drop(rt);
        let _entered = dead.enter();
        let (mut first, mut second) = (Box::pin(ctx.close()), Box::pin(ctx.close()));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        drop(first);
        let _ = end.send(());
        let report = dead.block_on(second);
        // The hook was dropped with the one that ran it.
        let hooks = report.hooks();
        assert_eq!(
            (report.status(), hooks.ran + hooks.failed),
            (CloseStatus::Closed, 1)
        );
    });
}

/// Asked at each poll: it was begun outside.
#[test]
fn a_close_that_was_begun_outside_and_is_awaited_inside_returns_at_once() {
    paused().block_on(async {
        let started = tokio::time::Instant::now();
        for polls in 0..3 {
            let ctx = Registry::new().context("ctx");
            let (give, take) = oneshot::channel::<BoxedClose>();
            let task = ctx.spawn(async move { take.await.unwrap().await });
            settle().await;
            let own = ctx.clone();
            let mut close: BoxedClose = Box::pin(async move { own.close().await.status() });
            for _ in 0..polls {
                assert!(poll_once(close.as_mut()).is_pending());
            }
            drop(give.send(close));
            assert_eq!(in_time(task).await.unwrap(), CloseStatus::Begun);
            in_time(ctx.close()).await;
        }
        assert_eq!(
            started.elapsed(),
            Duration::ZERO,
            "no close waited for the grace period"
        );
    });
}

type BoxedClose = std::pin::Pin<Box<dyn Future<Output = CloseStatus> + Send>>;

/// As the handle is dropped while the task ends: the destructor of its output belongs to the task, on whatever side of
/// its end that is.
#[test]
fn an_output_that_is_dropped_in_the_last_moment_is_dropped_inside() {
    let ended = within(TIME_LIMIT, || {
        let rt = multi_thread(2);
        let ended = Arc::new(AtomicUsize::new(0));
        for round in 0..2_000_usize {
            let ctx = rt.block_on(async { Registry::new().context("ctx") });
            let (own, counter) = (ctx.downgrade(), Arc::clone(&ended));
            let task = ctx.spawn(async move {
                OnDrop::new(move || {
                    if let Some(ctx) = own.upgrade() {
                        futures::executor::block_on(ctx.close());
                    }
                    counter.fetch_add(1, SeqCst);
                })
            });
            for _ in 0..round % 200 * 20 {
                std::hint::spin_loop();
            }
            drop(task);
            rt.block_on(in_time(ctx.close()));
        }
        ended.load(SeqCst)
    });
    assert_eq!(ended, 2_000);
}

/// The same at a moment that is certain: the close that a panic begins drops the handle, before the panic is delivered.
#[test]
fn a_panic_whose_handle_is_dropped_in_the_last_moment_is_dropped_inside() {
    struct Drops(Mutex<Option<headcount::Task<()>>>);

    impl std::task::Wake for Drops {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }

    let ended = within(TIME_LIMIT, || {
        current_thread().block_on(async {
            let ctx = Registry::new()
                .context_builder("ctx")
                .on_failure(headcount::OnFailure::Close)
                .open();
            let ended = Arc::new(AtomicUsize::new(0));
            let (own, counter) = (ctx.downgrade(), Arc::clone(&ended));
            let payload = OnDrop::new(move || {
                let ctx = own.upgrade().unwrap();
                let report = futures::executor::block_on(ctx.close());
                assert_eq!(report.status(), CloseStatus::Begun);
                counter.fetch_add(1, SeqCst);
            });
            let task = ctx.spawn(async move { std::panic::panic_any(payload) });
            let waker = Arc::new(Drops(Mutex::new(Some(task)))).into();
            let mut closed = Box::pin(ctx.closed());
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(closed.as_mut().poll(&mut cx).is_pending());
            settle().await;
            drop(closed);
            in_time(ctx.close()).await;
            ended.load(SeqCst)
        })
    });
    assert_eq!(ended, 1);
}

/// A waker belongs to the task whose handle it waits for, as long as that task has not left.
#[test]
fn a_waker_that_closes_the_context_of_the_task_it_waits_for_is_inside() {
    struct Closes(Context);

    impl std::task::Wake for Closes {
        fn wake(self: Arc<Self>) {
            futures::executor::block_on(self.0.close());
        }
    }

    within(TIME_LIMIT, || {
        current_thread().block_on(async {
            let ctx = Registry::new().context("ctx");
            let mut task = Box::pin(ctx.spawn(tokio::task::yield_now()));
            let waker = Arc::new(Closes(ctx.clone())).into();
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(task.as_mut().poll(&mut cx).is_pending());
            settle().await;
            drop((task, waker));
            in_time(ctx.close()).await;
        });
    });
}

/// The output of a wrapped future whose destructor panics is no task's: it belongs to that future.
#[test]
fn the_output_of_a_wrapped_future_that_panics_when_dropped_is_dropped_inside() {
    struct Panics(Option<OnDropBox>);

    type OnDropBox = Box<dyn Send>;

    impl Future for Panics {
        type Output = OnDropBox;

        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<OnDropBox> {
            std::task::Poll::Ready(self.0.take().unwrap())
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose: a future");
        }
    }

    within(TIME_LIMIT, || {
        current_thread().block_on(async {
            let ctx = Registry::new().context("ctx");
            let own = ctx.clone();
            let output = OnDrop::new(move || {
                let report = futures::executor::block_on(own.close());
                assert_eq!(report.status(), CloseStatus::Begun);
            });
            let mut wrapped = Box::pin(ctx.wrap(Panics(Some(Box::new(output)))));
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                poll_once(wrapped.as_mut()).is_ready()
            }));
            assert!(polled.is_err());
            assert_eq!(in_time(ctx.close()).await.panicked(), 1);
        });
    });
}

/// A close that is driven by the future that waits for it: its hooks have a runtime wherever that is polled.
#[test]
fn hooks_of_a_close_on_a_runtime_that_has_ended_find_that_runtime() {
    let found = within(TIME_LIMIT, || {
        let rt = multi_thread(1);
        let dead = rt.handle().clone();
        let ctx = rt.block_on(async { Registry::new().context("ctx") });
        let (give, found) = mpsc::channel();
        ctx.on_close(async move || {
            for _ in 0..3 {
                give.send(Handle::try_current().map(|found| found.id()))
                    .unwrap();
                tokio::task::yield_now().await;
            }
        })
        .unwrap();
        drop(rt);
        let mut close = Box::pin(ctx.close());
        let entered = dead.enter();
        assert!(poll_once(close.as_mut()).is_pending());
        drop(entered);
        futures::executor::block_on(close);
        found
            .iter()
            .all(|found| found.is_ok_and(|id| id == dead.id()))
    });
    assert!(found);
}
