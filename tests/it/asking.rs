//! What a dump does to the tasks that it asks, and for how long.

use crate::util::{Wakes, current_thread, paused, settle, within};
use futures::task::AtomicWaker;
use headcount::{Context, Registry, dump::Activity};
use std::{
    collections::BTreeMap,
    future::{pending, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{self, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use tokio::{sync::oneshot, time::sleep};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Real time, for what can hang.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(1_000);

type Wrapped = Pin<Box<dyn Future<Output = ()> + Send>>;

fn poll_with(wrapped: &mut Wrapped, waker: &Waker) -> Poll<()> {
    wrapped.as_mut().poll(&mut task::Context::from_waker(waker))
}

/// A future that waited for a task when it was polled, and is not polled any more: it never answers.
pub(crate) fn silent(ctx: &Context) -> Wrapped {
    silent_with(ctx, Waker::noop())
}

fn silent_with(ctx: &Context, waker: &Waker) -> Wrapped {
    let endless = ctx.task("endless").cancellable().spawn(pending::<()>());
    let wrapped = ctx.task("silent").wrap(async move { drop(endless.await) });
    let mut wrapped: Wrapped = Box::pin(async move { drop(wrapped.await) });
    assert!(poll_with(&mut wrapped, waker).is_pending());
    wrapped
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// A task that is parked and free answers, however many callers ask.
#[tokio::test(start_paused = true)]
async fn many_dumps_at_once_all_get_their_answers() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("parked").cancellable().spawn(sleep(LONG));
    settle().await;
    let dumps: Vec<_> = (0..300)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.dump().await })
        })
        .collect();
    for dump in dumps {
        let dump = dump.await.unwrap();
        let stacks = dump.find("parked").unwrap().stacks();
        assert_eq!(stacks.len(), 1, "{dump}");
    }
}

/// The first task of many takes its time, so that all the others are late.
#[tokio::test]
async fn a_dump_polls_each_task_once() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let counts: Vec<_> = (0..63).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    for (n, count) in counts.iter().map(Arc::clone).enumerate() {
        let waker = AtomicWaker::new();
        ctx.task("counts").spawn(poll_fn::<(), _>(move |cx| {
            if count.fetch_add(1, SeqCst) == 1 && n == 0 {
                thread::sleep(15 * MS);
            }
            waker.register(cx.waker());
            Poll::Pending
        }));
    }
    settle().await;
    let polls = || counts.iter().map(|count| count.load(SeqCst));
    assert!(polls().all(|polls| polls == 1));
    let dump = registry.dump_within(LONG).await;
    settle().await;
    assert_eq!(dump.unanswered().count(), 0, "{dump}");
    assert_eq!(polls().collect::<Vec<_>>(), [2; 63]);
}

/// One scan serves all closes whose grace period ends at about the same time.
#[tokio::test(start_paused = true)]
async fn a_thousand_closes_at_the_end_of_their_grace_scan_a_few_times() {
    let registry = Registry::new();
    let (all, other) = (registry.context("all"), registry.context("other"));
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let mut endless = other.task("endless").spawn(pending::<()>());
    other.task("counts").spawn(poll_fn(move |cx| {
        counted.fetch_add(1, SeqCst);
        Pin::new(&mut endless).poll(cx)
    }));
    let contexts: Vec<_> = (0..1_000)
        .map(|n| {
            let ctx = all
                .child_builder(format!("ctx-{n}"))
                .grace(2 * SECOND)
                .open();
            ctx.spawn(pending::<()>());
            ctx
        })
        .collect();
    settle().await;
    all.close().await;
    drop(contexts);
    let polls = polls.load(SeqCst);
    assert!((2..30).contains(&polls), "{polls}");
}

/// There is one of this crate's own, however many callers in this process ask, and for a moment another that ends.
#[cfg(target_os = "linux")]
#[test]
fn a_thousand_closes_at_the_end_of_their_grace_do_not_start_a_thousand_threads() {
    let own_threads = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        // One that ends has no name any more.
        let name = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
        };
        let names = threads.filter_map(name);
        names.filter(|name| name.trim() == "headcount").count()
    };
    let closing = async {
        let registry = Registry::new();
        let all = registry.context("all");
        let contexts: Vec<_> = (0..1_000)
            .map(|n| {
                let ctx = all
                    .child_builder(format!("ctx-{n}"))
                    .grace(Duration::ZERO)
                    .open();
                ctx.spawn(pending::<()>());
                ctx
            })
            .collect();
        settle().await;
        all.close().await;
        drop(contexts);
    };
    let closing = thread::spawn(|| paused().block_on(closing));
    let mut most = 0;
    while !closing.is_finished() {
        most = most.max(own_threads());
        thread::sleep(MS);
    }
    closing.join().unwrap();
    assert!((1..10).contains(&most), "{most}");
}

#[test]
fn a_dump_without_a_runtime_ends_at_its_limit() {
    let silent = within(TIME_LIMIT, || {
        let registry = Registry::new();
        let runtime = current_thread();
        let _ctx = runtime.block_on(async {
            let ctx = registry.context("ctx");
            ctx.task("parked").spawn(async { sleep(LONG).await });
            settle().await;
            ctx
        });
        // The runtime is not run now.
        let dump = futures::executor::block_on(registry.dump_within(100 * MS));
        dump.unanswered().count()
    });
    assert_eq!(silent, 1);
}

#[test]
fn a_dump_on_a_runtime_without_timers_ends_at_its_limit() {
    let silent = within(TIME_LIMIT, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(async {
            let registry = Registry::new();
            let ctx = registry.context("ctx");
            let _silent = silent(&ctx);
            settle().await;
            let dump = registry.dump_within(100 * MS).await;
            dump.unanswered().count()
        })
    });
    assert_eq!(silent, 1);
}

#[test]
fn a_panicking_waker_of_who_asks_does_not_end_the_task() {
    let runtime = current_thread();
    let registry = Registry::new();
    let (go, gone) = oneshot::channel::<()>();
    let (_ctx, task) = runtime.block_on(async {
        let ctx = registry.context("ctx");
        let task = ctx.spawn(async { gone.await.is_ok() });
        settle().await;
        (ctx, task)
    });
    // The task is not run before the dump waits for its answer.
    let mut dump = Box::pin(registry.dump_within(LONG));
    let mut poll = |waker| dump.as_mut().poll(&mut task::Context::from_waker(waker));
    for _ in 0..20 {
        assert!(poll(Waker::noop()).is_pending());
    }
    assert!(poll(&Waker::from(Arc::new(Panics))).is_pending());
    let ended = runtime.block_on(async {
        settle().await;
        go.send(()).unwrap();
        task.await
    });
    assert!(matches!(ended, Ok(true)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_waker_of_who_is_asked_does_not_end_the_dump() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let _silent = silent_with(&ctx, &Waker::from(Arc::new(Panics)));
    let dump = registry.dump_within(50 * MS).await;
    assert_eq!(dump.tasks().len(), 2, "{dump}");
    let activity = dump.find("silent").unwrap().activity();
    assert_eq!(activity, Activity::NotAnswered, "{dump}");
}

/// The look of a close asks it, while a hook runs.
#[test]
fn a_panicking_waker_of_a_stranger_does_not_interrupt_the_hooks_of_a_close() {
    let report = within(TIME_LIMIT, || {
        paused().block_on(async {
            let registry = Registry::new();
            let other = registry.context("other");
            let _silent = silent_with(&other, &Waker::from(Arc::new(Panics)));
            let ctx = registry
                .context_builder("ctx")
                .grace(10 * SECOND)
                .hook_timeout(10 * SECOND)
                .open();
            ctx.on_closing(|| sleep(2 * SECOND)).unwrap();
            ctx.spawn(sleep(3 * SECOND));
            settle().await;
            ctx.close().await
        })
    });
    assert!(report.is_clean(), "{report}");
}

/// A poll may lend its waker to other threads, for as long as it lasts.
#[tokio::test(start_paused = true)]
async fn a_waker_can_be_cloned_by_several_threads_within_a_poll() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("lends").spawn(poll_fn::<(), _>(|cx| {
        let waker = cx.waker();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        drop(waker.clone());
                    }
                });
            }
        });
        Poll::Pending
    }));
    settle().await;
    for _ in 0..20 {
        let dump = registry.dump().await;
        assert_eq!(dump.find("lends").unwrap().stacks().len(), 20, "{dump}");
    }
}

/// By a task that is asked itself, by hooks, and by a task that is cancelled.
#[test]
fn a_dump_can_be_made_from_inside() {
    let seen = within(TIME_LIMIT, || {
        paused().block_on(async {
            let registry = Registry::new();
            let ctx = registry
                .context_builder("ctx")
                .hook_timeout(20 * SECOND)
                .open();
            let own = registry.clone();
            let asks = ctx.task("self").spawn(async move { own.dump().await });
            let dump = asks.await.unwrap();
            assert!(dump.find("self").is_none(), "{dump}");
            let (give, take) = mpsc::channel();
            let asks = |who| {
                let (registry, give) = (registry.clone(), give.clone());
                move || async move {
                    let dump = registry.dump().await;
                    assert!(dump.deadlocks().is_empty(), "{dump}");
                    give.send((who, dump.tasks().len())).unwrap();
                }
            };
            ctx.on_closing(asks("closing")).unwrap();
            ctx.on_close(asks("closed")).unwrap();
            ctx.task("parked").cancellable().spawn(pending::<()>());
            let (weak, asks) = (ctx.downgrade(), asks("cancelled"));
            ctx.task("cancelled").spawn(async move {
                weak.cancelled().await;
                asks().await;
            });
            settle().await;
            let report = registry.close().await;
            assert!(report.is_clean(), "{report}");
            drop(give);
            take.iter().collect::<BTreeMap<_, _>>()
        })
    });
    let who: Vec<_> = seen.keys().copied().collect();
    assert_eq!(who, ["cancelled", "closed", "closing"]);
    assert_eq!(seen["cancelled"], 0, "it is not there itself: {seen:?}");
    assert_eq!(seen["closed"], 0, "hooks run after all tasks: {seen:?}");
}

/// Neither what a task held, nor its output, nor the waker with which it was polled, though the dump is still there.
#[tokio::test(start_paused = true)]
async fn a_dump_and_a_report_keep_nothing_alive() {
    let registry = Registry::new();
    let ctx = registry.context_builder("ctx").grace(2 * SECOND).open();
    let own = registry.clone();
    ctx.task("own").spawn(async move { own.idle().await });
    let (value, wakes) = (Arc::new(()), Arc::new(Wakes::default()));
    let (held, output) = (Arc::clone(&value), Arc::clone(&value));
    let (go, gone) = oneshot::channel::<()>();
    let task = ctx.task("task").spawn(async move {
        gone.await.unwrap();
        drop(held);
        output
    });
    let held = Arc::clone(&value);
    let mut wrapped = Box::pin(ctx.wrap(async move {
        pending::<()>().await;
        drop(held);
    }));
    let waker = Waker::from(Arc::clone(&wakes));
    let polled = wrapped
        .as_mut()
        .poll(&mut task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop(waker);
    settle().await;
    let dump = registry.dump_within(50 * MS).await;
    assert_eq!(dump.deadlocks().len(), 1, "{dump}");
    assert!(wakes.count() > 0, "{dump}");
    assert_eq!(Arc::strong_count(&value), 4);
    go.send(()).unwrap();
    drop((wrapped, task.await));
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(Arc::strong_count(&wakes), 1);
    let report = ctx.close().await;
    assert_eq!(report.deadlocks().len(), 1, "{report}");
    drop(ctx);
    assert!(registry.is_empty());
    drop((dump, report));
}

/// The waker with which a wrapped future was polled goes with it (I5).
#[tokio::test(start_paused = true)]
async fn a_dump_keeps_no_waker_of_what_is_gone() {
    for is_dumped in [false, true] {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut wrapped = Box::pin(ctx.wrap(pending::<()>()));
        let polled = wrapped
            .as_mut()
            .poll(&mut task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        assert!(Arc::strong_count(&wakes) > 1);
        let listing = registry.live_now();
        let mut dump = None;
        if is_dumped {
            dump = Some(registry.dump_within(20 * MS).await);
        }
        drop(wrapped);
        assert_eq!(Arc::strong_count(&wakes), 1, "dumped: {is_dumped}");
        ctx.close().await;
        drop((listing, dump));
    }
}
