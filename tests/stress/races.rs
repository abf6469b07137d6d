//! I8, I11, I14, I3: closing, dropping, upgrading and the end of the runtime, all at once, in any order.

use crate::common::{Dice, lock, multi_thread, short_or_full, wait_for, within};
use headcount::{CloseReport, CloseStatus, Context, Registry, State, WeakContext};
use std::{
    pin::pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task, thread,
    time::Duration,
};
use tokio::runtime::{Handle, Runtime};

const ACTORS: usize = 4;
const TASKS: usize = 3;

/// What one of those does who race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Close,
    /// Polls a close once and drops it.
    BeginClose,
    RequestClose,
    /// Awaits a close that another thread begins.
    AwaitClosed,
    Drop,
    Upgrade,
    /// Upgrades and closes if that worked.
    UpgradeAndClose,
    /// Opens a child, spawns on it and drops it.
    Child,
    Spawn,
    RegisterHook,
    EndRuntime,
}

const ACTS: [Act; 11] = [
    Act::Close,
    Act::BeginClose,
    Act::RequestClose,
    Act::AwaitClosed,
    Act::Drop,
    Act::Upgrade,
    Act::UpgradeAndClose,
    Act::Child,
    Act::Spawn,
    Act::RegisterHook,
    Act::EndRuntime,
];

/// What one round counts.
#[derive(Default)]
struct Counts {
    /// Futures that were made, and that were dropped.
    futures: AtomicUsize,
    futures_dropped: AtomicUsize,
    /// Hooks that were accepted, that were refused, and that were dropped, run or not.
    hooks: AtomicUsize,
    hooks_refused: AtomicUsize,
    hooks_dropped: AtomicUsize,
    owned_dropped: AtomicUsize,
    reports: Mutex<Vec<CloseReport>>,
}

/// Adds one to a count when it is dropped.
struct Guard(Arc<Counts>, fn(&Counts) -> &AtomicUsize);

impl Drop for Guard {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_add(1, SeqCst);
    }
}

/// Everything the actors of one round share, handles aside.
#[derive(Clone)]
struct Scene {
    counts: Arc<Counts>,
    weak: WeakContext,
    /// The runtime of the context, while it is there.
    runtime: Arc<Mutex<Option<Runtime>>>,
    elsewhere: Handle,
}

impl Scene {
    /// A future that ends when the token is cancelled, or only by force.
    fn spawn(&self, ctx: &Context, dice: &mut Dice) {
        let guard = Guard(Arc::clone(&self.counts), |counts| &counts.futures_dropped);
        let weak = ctx.downgrade();
        let is_stubborn = dice.once_in(4);
        let task = ctx.task("task").try_spawn(async move {
            let _guard = guard;
            if is_stubborn {
                std::future::pending::<()>().await;
            }
            weak.cancelled().await;
        });
        // One that was refused is dropped here, and counts as well.
        drop(task);
        self.counts.futures.fetch_add(1, SeqCst);
    }

    fn hook(&self, ctx: &Context) {
        let guard = Guard(Arc::clone(&self.counts), |counts| &counts.hooks_dropped);
        let hook = ctx.on_close(move || async move {
            let _guard = guard;
            tokio::task::yield_now().await;
        });
        let count = match hook {
            Ok(_) => &self.counts.hooks,
            Err(_) => &self.counts.hooks_refused,
        };
        count.fetch_add(1, SeqCst);
    }

    fn act(&self, act: Act, ctx: Context, dice: &mut Dice) {
        // A caller that awaits may have a runtime, or none.
        let awaits = matches!(act, Act::Close | Act::AwaitClosed | Act::UpgradeAndClose);
        let inside =
            (awaits || act == Act::BeginClose || dice.once_in(2)).then(|| self.elsewhere.enter());
        dice.dawdle(2_000);
        match act {
            Act::Close => self.close(&ctx),
            Act::BeginClose => {
                let mut close = Box::pin(ctx.close());
                let mut cx = task::Context::from_waker(task::Waker::noop());
                let _ = close.as_mut().poll(&mut cx);
            }
            Act::RequestClose => ctx.request_close("requested"),
            Act::AwaitClosed => {
                let weak = ctx.downgrade();
                ctx.request_close("so that it ends");
                let report = wait_for("closed", ctx.closed());
                assert_eq!(weak.state(), State::Closed);
                lock(&self.counts.reports).push(report);
            }
            Act::Drop => {}
            Act::Upgrade => {
                drop(ctx);
                dice.dawdle(500);
                let _ = self.upgrade();
            }
            Act::UpgradeAndClose => {
                drop(ctx);
                dice.dawdle(500);
                if let Some(ctx) = self.upgrade() {
                    self.close(&ctx);
                }
            }
            Act::Child => {
                let child = ctx.child("child");
                self.spawn(&child, dice);
                dice.dawdle(500);
                drop(child);
            }
            Act::Spawn => self.spawn(&ctx, dice),
            Act::RegisterHook => self.hook(&ctx),
            Act::EndRuntime => {
                let runtime = lock(&self.runtime).take();
                if dice.once_in(2) {
                    drop(runtime);
                } else if let Some(runtime) = runtime {
                    runtime.shutdown_background();
                }
            }
        }
        drop(inside);
    }

    fn close(&self, ctx: &Context) {
        let report = wait_for("close", ctx.close());
        assert_eq!(ctx.state(), State::Closed);
        lock(&self.counts.reports).push(report);
    }

    /// Once it does not work, it never works again.
    fn upgrade(&self) -> Option<Context> {
        let ctx = self.weak.upgrade();
        if ctx.is_none() {
            assert!(self.weak.is_cancelled(), "it is not held, and it is open");
            assert!(self.weak.upgrade().is_none(), "it came back");
        }
        ctx
    }

    fn check(&self, registry: &Registry) {
        let counts = &self.counts;
        assert_eq!(registry.count(), 0);
        assert_eq!(self.weak.state(), State::Closed);
        assert!(self.weak.upgrade().is_none());
        let get = |count: &AtomicUsize| count.load(SeqCst);
        assert_eq!(
            get(&counts.futures),
            get(&counts.futures_dropped),
            "futures"
        );
        let hooks = get(&counts.hooks) + get(&counts.hooks_refused);
        assert_eq!(hooks, get(&counts.hooks_dropped), "hooks");
        assert_eq!(get(&counts.owned_dropped), 1, "the owned value");
        let reports = lock(&counts.reports);
        for report in &*reports {
            assert_eq!(report.status(), CloseStatus::Closed);
            assert_eq!(report.to_string(), reports[0].to_string(), "two reports");
        }
        if let Some(report) = reports.first() {
            let run = report.hooks().ran;
            let not_run = report.hooks().failed + report.hooks().timed_out;
            assert_eq!(run + not_run, get(&counts.hooks) as u64, "{report}");
        }
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_context_closes_once_whoever_closes_drops_or_upgrades_it() {
    let limit = Duration::from_secs(short_or_full(120, 900));
    within(limit, |notes| {
        let rounds = short_or_full(3_000, 60_000);
        let dice = Dice::new();
        let elsewhere = multi_thread(1);
        let mut stage = Stage::new();
        for number in 0..rounds {
            let mut dice = dice.fork(number);
            let acts: Vec<Act> = (0..ACTORS).map(|_| ACTS[dice.below(ACTS.len())]).collect();
            notes.now(format_args!("round {number}: {acts:?}"));
            round(&mut stage, elsewhere.handle(), &acts, &mut dice);
        }
        println!("{rounds} rounds, {} runtimes", stage.built);
    });
}

/// Runtimes to open contexts on: one after the other, because rounds end them.
struct Stage {
    runtime: Option<Runtime>,
    built: usize,
}

impl Stage {
    fn new() -> Self {
        Self {
            runtime: None,
            built: 0,
        }
    }

    fn runtime(&mut self, dice: &mut Dice) -> Runtime {
        self.runtime.take().unwrap_or_else(|| {
            self.built += 1;
            multi_thread(1 + dice.below(2))
        })
    }
}

fn round(stage: &mut Stage, elsewhere: &Handle, acts: &[Act], dice: &mut Dice) {
    let registry = Registry::new();
    let runtime = stage.runtime(dice);
    let (scene, ctx) = open(&registry, runtime, elsewhere, dice);
    let begin = Barrier::new(acts.len());
    thread::scope(|scope| {
        for (number, act) in acts.iter().enumerate() {
            let (ctx, scene, begin) = (ctx.clone(), scene.clone(), &begin);
            let mut dice = dice.fork(number);
            scope.spawn(move || {
                begin.wait();
                scene.act(*act, ctx, &mut dice);
            });
        }
        drop(ctx);
    });
    wait_for("idle", registry.idle());
    scene.check(&registry);
    stage.runtime = lock(&scene.runtime).take();
}

fn open(
    registry: &Registry,
    runtime: Runtime,
    elsewhere: &Handle,
    dice: &mut Dice,
) -> (Scene, Context) {
    let inside = runtime.enter();
    let ctx = registry
        .context_builder("contested")
        .grace(Duration::from_millis(1))
        .open();
    drop(inside);
    let scene = Scene {
        counts: Arc::default(),
        weak: ctx.downgrade(),
        runtime: Arc::new(Mutex::new(Some(runtime))),
        elsewhere: elsewhere.clone(),
    };
    for _ in 0..TASKS {
        scene.spawn(&ctx, dice);
    }
    scene.hook(&ctx);
    let guard = Guard(Arc::clone(&scene.counts), |counts| &counts.owned_dropped);
    drop(ctx.own("guard", "guard", guard).expect("it is open"));
    (scene, ctx)
}

/// I8: a close whose runtime ends goes on on the runtime of a caller that awaits it, at whatever moment the one
/// loses it and the other comes.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_close_moves_to_the_runtime_of_whoever_awaits_it() {
    let limit = Duration::from_secs(short_or_full(120, 900));
    within(limit, |notes| {
        let rounds = short_or_full(2_000, 100_000);
        let dice = Dice::new();
        let elsewhere = multi_thread(1);
        for number in 0..rounds {
            notes.now(format_args!("round {number}"));
            let registry = Registry::new();
            let runtime = multi_thread(1);
            let inside = runtime.enter();
            let ctx = registry.context("moving");
            let gate = Arc::new(tokio::sync::Notify::new());
            let opened = Arc::clone(&gate);
            // The driver waits for this one, which is on the runtime that stays.
            let held = ctx.task("held").on(elsewhere.handle());
            drop(held.spawn(async move { opened.notified().await }));
            ctx.request_close("moving");
            drop(inside);
            let begin = Barrier::new(2);
            thread::scope(|scope| {
                let (begin, mut dice) = (&begin, dice.fork(number));
                let ending = scope.spawn(move || {
                    begin.wait();
                    dice.dawdle(1_000);
                    runtime.shutdown_background();
                });
                let _inside = elsewhere.enter();
                begin.wait();
                // Comes back again and again, to be there when it happens.
                while !ending.is_finished() {
                    let closed = pin!(ctx.closed());
                    let mut cx = task::Context::from_waker(task::Waker::noop());
                    assert!(closed.poll(&mut cx).is_pending());
                }
                gate.notify_one();
                let report = wait_for("closed", ctx.closed());
                assert_eq!(report.finished(), 1, "{report}");
            });
            drop(ctx);
            assert_eq!(registry.count(), 0, "after round {number}");
        }
        println!("{rounds} rounds");
    });
}
