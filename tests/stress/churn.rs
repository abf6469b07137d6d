//! I4, I6, I12: tasks and contexts come, end, panic and are aborted while another thread lists them.

use crate::common::{
    Dice, TIME_LIMIT, current_thread, lock, multi_thread, short_or_full, soon, within,
};
use headcount::{Context, Registry, ResourceId, Task};
use std::{
    collections::{HashSet, VecDeque},
    panic::PanicHookInfo,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;

const SPAWNERS: usize = 4;
/// Tasks that live from the first listing to the last.
const ANCHORS: usize = 100;
/// Tasks of one spawner that it knows of at a time.
const HELD: usize = 200;
/// Ended tasks that listings are searched for.
const REMEMBERED: usize = 2_000;
/// Listings at the least, on however slow a machine.
const ENOUGH: usize = 10;
const MARKER: &str = "a panic of the churn";

/// What the spawners and the lister share.
struct Churn {
    registry: Registry,
    ctx: Context,
    is_over: AtomicBool,
    spawned: AtomicUsize,
    ended: Mutex<VecDeque<ResourceId>>,
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn listings_are_right_while_tasks_come_and_go() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if !info.to_string().contains(MARKER) {
            default(info);
        }
    }));
    within(Duration::from_secs(300), |notes| {
        let time = short_or_full(Duration::from_secs(1), Duration::from_secs(30));
        for (what, runtime) in [
            ("current_thread", current_thread()),
            ("2 workers", multi_thread(2)),
            ("4 workers", multi_thread(4)),
        ] {
            notes.now(what);
            runtime.block_on(churn(what, time));
        }
    });
}

async fn churn(what: &str, time: Duration) {
    let registry = Registry::new();
    let ctx = registry.context_builder("churn").grace(TIME_LIMIT).open();
    let churn = Arc::new(Churn {
        registry,
        ctx,
        is_over: AtomicBool::new(false),
        spawned: AtomicUsize::new(0),
        ended: Mutex::default(),
    });
    for _ in 0..ANCHORS {
        let anchor = churn.ctx.task("anchor").cancellable();
        drop(anchor.spawn(std::future::pending::<()>()));
    }
    let dice = Dice::new();
    let spawners: Vec<_> = (0..SPAWNERS)
        .map(|number| tokio::spawn(spawner(Arc::clone(&churn), dice.fork(number))))
        .collect();
    let (start, mut listings) = (Instant::now(), 0_usize);
    while start.elapsed() < time || listings <= ENOUGH {
        churn.list(listings % 2 == 0).await;
        listings += 1;
        tokio::task::yield_now().await;
    }
    churn.is_over.store(true, SeqCst);
    for spawner in spawners {
        soon("a spawner", spawner).await.expect("it does not panic");
    }
    let report = soon("close", churn.ctx.close()).await;
    let ended = report.finished() + report.cancelled() + report.aborted() + report.panicked();
    let spawned = ANCHORS + churn.spawned.load(SeqCst);
    assert_eq!(ended, spawned as u64, "{report}");
    soon("idle", churn.registry.idle()).await;
    let Churn { registry, ctx, .. } = Arc::into_inner(churn).expect("all others are through");
    drop(ctx);
    assert_eq!(registry.count(), 0);
    println!("{what}: {spawned} tasks, {listings} listings");
}

impl Churn {
    async fn list(&self, at_once: bool) {
        let ended: HashSet<ResourceId> = lock(&self.ended).iter().copied().collect();
        let live = if at_once {
            self.registry.live_now()
        } else {
            self.registry.live().await
        };
        let mut ids = HashSet::new();
        let mut anchors = 0;
        for entry in &live {
            assert!(ids.insert(entry.id()), "{entry:?} is listed twice");
            assert!(!ended.contains(&entry.id()), "{entry:?} had ended before");
            anchors += usize::from(entry.name() == "anchor");
        }
        assert_eq!(anchors, ANCHORS);
    }

    fn spawn(&self, ctx: &Context, dice: &mut Dice) -> Task<()> {
        self.spawned.fetch_add(1, Relaxed);
        let task = ctx.task("short").cancellable();
        match dice.below(6) {
            0 => task.spawn(async {}),
            1 => task.spawn(tokio::task::yield_now()),
            2 => task.spawn(sleep(Duration::from_micros(200))),
            3 => task.spawn(std::future::pending()),
            4 => task.spawn_blocking(|| {}),
            _ => task.spawn(async {
                tokio::task::yield_now().await;
                panic!("{MARKER}");
            }),
        }
    }

    async fn await_end(&self, task: Task<()>) {
        let id = task.id();
        let _ = task.await;
        let mut ended = lock(&self.ended);
        ended.push_back(id);
        if ended.len() > REMEMBERED {
            ended.pop_front();
        }
    }
}

async fn spawner(churn: Arc<Churn>, mut dice: Dice) {
    let mut held = VecDeque::new();
    while !churn.is_over.load(SeqCst) {
        if dice.once_in(50) {
            let child = churn.ctx.child("child");
            for _ in 0..dice.below(10) {
                held.push_back(churn.spawn(&child, &mut dice));
            }
            if dice.once_in(2) {
                child.close().await;
            }
        } else {
            held.push_back(churn.spawn(&churn.ctx, &mut dice));
        }
        if dice.once_in(3) && !held.is_empty() {
            held[dice.below(held.len())].abort();
        }
        while held.len() > HELD {
            let Some(task) = held.pop_front() else { break };
            task.abort();
            if dice.once_in(4) {
                drop(task);
            } else {
                churn.await_end(task).await;
            }
        }
        if dice.once_in(20) {
            tokio::task::yield_now().await;
        }
    }
    for task in held {
        task.abort();
        churn.await_end(task).await;
    }
}
