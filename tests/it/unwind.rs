//! I9, I16: what must happen does, whatever panics in between: a subscriber, a waker, what a dead runtime drops.

use crate::{
    events::ONE_MORE,
    util::{OnDrop, current_thread, in_time, multi_thread, paused, settle},
};
use futures::{FutureExt, future::BoxFuture};
use headcount::{CloseStatus, Context, Registry, State, TaskError};
use std::{
    any::Any,
    cell::RefCell,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{self, Wake, Waker},
    time::Duration,
};
use tokio::sync::oneshot;
use tracing::{Event, Metadata, Subscriber, span};

/// Panics at every event of this crate, and counts them.
#[derive(Clone, Default)]
struct Panics(Arc<AtomicUsize>);

impl Panics {
    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Runs a body on one thread whose events all panic.
    fn during<F: Future>(&self, body: impl FnOnce() -> F) -> F::Output {
        LazyLock::force(&ONE_MORE);
        tracing::subscriber::with_default(self.clone(), || current_thread().block_on(body()))
    }
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("headcount")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, SeqCst);
        panic!("on purpose: a subscriber");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// A context that counts in its hook.
fn with_hook(registry: &Registry) -> (Context, Arc<AtomicUsize>) {
    let (ctx, ran) = (registry.context("ctx"), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&ran);
    ctx.on_close(async move || {
        counter.fetch_add(1, SeqCst);
    })
    .unwrap();
    (ctx, ran)
}

/// I11: the warning of a context that is dropped open comes when its close is on its way.
#[test]
fn a_context_that_is_dropped_open_closes_though_its_warning_panics() {
    let panics = Panics::default();
    let ran = panics.during(|| async {
        let registry = Registry::new();
        let (ctx, ran) = with_hook(&registry);
        let weak = ctx.downgrade();
        drop(ctx);
        in_time(weak.closed()).await;
        in_time(registry.close()).await;
        ran
    });
    assert_eq!(ran.load(SeqCst), 1);
    assert!(panics.count() >= 1);
}

/// I14: the end of a close reaches the parent before any event or waker reports it.
#[test]
fn a_parent_is_told_of_its_child_though_the_event_of_that_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let parent = Registry::new().context("parent");
        let child = parent.child("child");
        in_time(child.close()).await;
        assert_eq!(child.state(), State::Closed);
        assert_eq!(in_time(parent.close()).await.children(), 1);
    });
    assert!(panics.count() >= 2);
}

/// I1, I12: a task that panics leaves its context, and is in the report.
#[test]
fn a_task_that_panics_leaves_though_the_event_of_that_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let ctx = Registry::new().context("ctx");
        drop(ctx.spawn(async { panic!("on purpose: a task") }));
        settle().await;
        let report = in_time(ctx.close()).await;
        assert_eq!(report.panicked(), 1, "{report}");
        assert!(
            report.failures()[0]
                .message()
                .contains("on purpose: a task")
        );
    });
    assert!(panics.count() >= 1);
}

/// S14
#[test]
fn a_task_with_a_late_result_leaves_though_the_event_of_that_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let ctx = Registry::new().context("ctx");
        let weak = ctx.downgrade();
        drop(ctx.spawn(async move {
            weak.cancelled().await;
            42
        }));
        settle().await;
        let report = in_time(ctx.close()).await;
        assert_eq!((report.finished(), report.panicked()), (1, 0), "{report}");
    });
    assert!(panics.count() >= 1);
}

/// I16: the failure is in the report before any event or waker reports it.
#[test]
fn an_owned_value_that_panics_is_in_the_report_though_the_event_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let ctx = Registry::new().context("ctx");
        for _ in 0..2 {
            let value = OnDrop::new(|| panic!("on purpose: a value"));
            drop(ctx.own("value", "value", value).unwrap());
        }
        let report = in_time(ctx.close()).await;
        assert_eq!(report.failures().len(), 2, "{report}");
    });
    assert!(panics.count() >= 2);
}

/// I7
#[test]
fn a_hook_that_fails_is_counted_and_the_next_one_runs_though_the_event_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let ctx = Registry::new().context("ctx");
        // Each on a line of its own: those of one line are one event.
        ctx.on_close(async || Err::<(), _>("on purpose")).unwrap();
        ctx.on_close(async || Err::<(), _>("on purpose")).unwrap();
        ctx.on_closing(async || Err::<(), _>("on purpose")).unwrap();
        ctx.on_closing(async || Err::<(), _>("on purpose")).unwrap();
        let hooks = in_time(ctx.close()).await.hooks();
        assert_eq!((hooks.ran, hooks.failed), (4, 4));
    });
    assert!(panics.count() >= 4);
}

/// §4: a close goes on to use force though the warning of that panics.
#[test]
fn stragglers_are_aborted_though_their_warning_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let registry = Registry::new();
        let ctx = registry.context_builder("ctx").grace(Duration::ZERO).open();
        drop(ctx.spawn(std::future::pending::<()>()));
        assert_eq!(in_time(ctx.close()).await.aborted(), 1);
    });
    assert!(panics.count() >= 1);
}

/// I2: a refusal is counted and the handle says so.
#[test]
fn a_refused_spawn_is_refused_though_its_warning_panics() {
    let panics = Panics::default();
    panics.during(|| async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        in_time(ctx.close()).await;
        assert!(matches!(ctx.spawn(async {}).await, Err(TaskError::Refused)));
        assert!(matches!(ctx.wrap(async {}).await, Err(TaskError::Refused)));
    });
    assert!(panics.count() >= 2);
}

/// I11: where no runtime is left, the loss of a hook is told, and the next one is dropped as well.
#[test]
fn a_context_is_torn_down_though_each_event_of_that_panics() {
    let panics = Panics::default();
    let registry = Registry::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    LazyLock::force(&ONE_MORE);
    tracing::subscriber::with_default(panics.clone(), || {
        let parent = registry.context("parent");
        let child = parent.child("child");
        for ctx in [&parent, &child] {
            for _ in 0..2 {
                let counter = Arc::clone(&dropped);
                let guard = OnDrop::new(move || {
                    counter.fetch_add(1, SeqCst);
                });
                ctx.on_close(async move || drop(guard)).unwrap();
            }
        }
        let weak = [child.downgrade(), parent.downgrade()];
        drop(child);
        drop(parent);
        assert_eq!(weak.map(|ctx| ctx.state()), [State::Closed; 2]);
    });
    assert_eq!(dropped.load(SeqCst), 4);
    assert!(registry.is_empty());
    assert!(panics.count() >= 4);
}

/// A waker that panics when the last clone of it is dropped.
struct Loud;

impl Wake for Loud {
    fn wake(self: Arc<Self>) {
        std::mem::forget(self);
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        panic!("on purpose: a waker");
    }
}

/// I1: a wrapped future leaves its context, and its panic reaches no other task.
#[test]
fn a_wrapped_future_leaves_though_the_waker_that_it_kept_panics() {
    current_thread().block_on(async {
        let ctx = Registry::new().context("ctx");
        let mut wrapped = Box::pin(ctx.wrap(std::future::pending::<()>()));
        let waker = Waker::from(Arc::new(Loud));
        let polled = wrapped
            .as_mut()
            .poll(&mut task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(wrapped)));
        assert!(dropped.is_ok(), "nothing panics in a drop");
        assert_eq!(in_time(ctx.close()).await.aborted(), 1);
    });
}

/// I6, I10: such a waker is kept by the future of a close that was polled outside. When the future returns from inside, it drops
/// the waker. A panic would lose the report, and leak it too: Rust leaks what a function is about to return if a local variable
/// panics while it is dropped.
#[test]
fn a_close_from_inside_returns_though_the_waker_from_outside_panics() {
    let closes: [fn(&Context) -> BoxFuture<'static, CloseStatus>; 2] = [
        |ctx| ctx.close().map(|report| report.status()).boxed(),
        |ctx| {
            ctx.request_close("the next one waits for it");
            let weak = ctx.downgrade();
            async move { weak.closed().await }
                .map(|report| report.status())
                .boxed()
        },
    ];
    current_thread().block_on(async {
        for close in closes {
            let ctx = Registry::new().context("ctx");
            let (give, take) = oneshot::channel();
            let inside = ctx.spawn(async move {
                let close: BoxFuture<'_, CloseStatus> = take.await.unwrap();
                close.await
            });
            let mut close = close(&ctx);
            let waker = Waker::from(Arc::new(Loud));
            let mut outside = task::Context::from_waker(&waker);
            assert!(close.poll_unpin(&mut outside).is_pending());
            drop(waker);
            give.send(close).ok().unwrap();
            assert_eq!(in_time(inside).await.unwrap(), CloseStatus::Begun);
            assert_eq!(in_time(ctx.close()).await.panicked(), 0);
        }
    });
}

/// I2, I6: what a dead runtime's memory holds is dropped when the place of its task is used again: inside a spawn,
/// between the gate and the entry.
#[test]
fn a_spawn_is_not_spoiled_by_what_a_dead_runtime_drops() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    for _ in 0..20 {
        let loud = OnDrop::new(|| panic!("on purpose: a runtime"));
        let dead = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_park(move || {
                let _kept = &loud;
            })
            .build()
            .unwrap();
        for _ in 0..4 {
            drop(ctx.task("ends elsewhere").on(dead.handle()).spawn(async {}));
        }
        while registry.count() > 1 {
            std::thread::yield_now();
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(dead)));
        drop(ended);
        let living = multi_thread(1);
        for _ in 0..8 {
            let spawned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                ctx.task("spoiled").on(living.handle()).spawn(async {})
            }));
            living
                .block_on(in_time(spawned.expect("a spawn does not panic for others")))
                .unwrap();
        }
    }
    current_thread().block_on(async {
        let report = in_time(ctx.close()).await;
        assert_eq!(report.finished(), 20 * 12, "{report}");
    });
}

/// I11: nothing panics in a drop, though what is dropped with it does: what a dead runtime keeps, and probes.
#[test]
fn a_context_and_its_registry_are_dropped_though_what_they_keep_panics() {
    let loud = || OnDrop::new(|| panic!("on purpose: kept by a registry"));
    let (in_runtime, in_probe) = (loud(), loud());
    let dead = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || {
            let _kept = &in_runtime;
        })
        .build()
        .unwrap();
    let registry = Registry::new();
    registry.probe("probe", move || {
        let _kept = &in_probe;
        0
    });
    let ctx = dead.block_on(async { registry.context("ctx") });
    drop(dead);
    let entry = registry.register("entry", "entry");
    for last in [
        Box::new(ctx) as Box<dyn Any>,
        Box::new(registry),
        Box::new(entry),
    ] {
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(last)));
        assert!(dropped.is_ok());
    }
}

/// Runs when its thread ends, after the thread's other values.
struct AtExit(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

thread_local! {
    static AT_EXIT: AtExit = const { AtExit(RefCell::new(None)) };
}

/// A thread that ends has no runtime any more, and no clock that could be paused.
#[test]
fn everything_works_while_a_thread_ends() {
    // From here on tokio looks for a clock that is paused.
    paused().block_on(async {});
    let registry = Registry::new();
    let (ctx, registered) = (registry.context("ctx"), registry.clone());
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let thread = std::thread::spawn(move || {
        let run = move || {
            let entry = registered.register("entry", "entry");
            let value = registered.own("value", "value", 7);
            let child = ctx.child("child");
            let other = ctx.clone();
            assert_eq!(registered.live_now().len(), 4);
            drop((entry, value, other, child, ctx));
            told.store(registered.is_empty(), SeqCst);
        };
        AT_EXIT.with(|at_exit| at_exit.0.replace(Some(Box::new(run))));
        // Made later, and so dropped before.
        current_thread().block_on(async {});
    });
    thread.join().unwrap();
    assert!(done.load(SeqCst), "it panicked, or something is left");
}
