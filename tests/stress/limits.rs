//! Limits: a million random operations against the model, and many threads that come and go while the limit changes and closes.

#[path = "../it/limit_model.rs"]
mod limit_model;

use crate::common::{Dice, current_thread, lock, multi_thread, short_or_full, soon, within};
use headcount::{Context, Limit, RefusedReason, Registry};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::task::{unconstrained, yield_now};

const LIMIT: Duration = Duration::from_secs(900);
const CLIENTS: usize = 200;
const MOST: usize = 6;

#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn a_million_operations_on_a_limit_are_as_in_the_model() {
    within(LIMIT, |notes| {
        let seed = Dice::seed();
        println!("HEADCOUNT_SEED={seed}");
        notes.now("the model");
        let operations = short_or_full(1_000_000, 10_000_000);
        current_thread().block_on(unconstrained(limit_model::run(seed, operations)));
    });
}

/// What became of all that came.
#[derive(Default)]
struct Came {
    spawned: AtomicUsize,
    full: AtomicUsize,
    closed: AtomicUsize,
    cancelled: AtomicUsize,
    inside: AtomicUsize,
    most: AtomicUsize,
}

struct Inside(Arc<Came>);

impl Inside {
    fn new(came: &Arc<Came>) -> Self {
        let inside = came.inside.fetch_add(1, SeqCst) + 1;
        came.most.fetch_max(inside, SeqCst);
        Self(Arc::clone(came))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

async fn client(limit: Limit, mut dice: Dice, rounds: usize, came: Arc<Came>) {
    for _ in 0..rounds {
        let (own, yields, panics) = (Arc::clone(&came), dice.below(4), dice.once_in(50));
        let job = async move {
            let _inside = Inside::new(&own);
            for _ in 0..yields {
                yield_now().await;
            }
            assert!(!panics, "on purpose");
        };
        let counted = if dice.once_in(3) {
            limit.try_spawn(job)
        } else {
            let waiting = limit.spawn(job);
            if dice.once_in(5) {
                // Goes away while it waits, or when it was given a place.
                tokio::select! {
                    biased;
                    spawned = waiting => spawned,
                    () = yield_now() => {
                        came.cancelled.fetch_add(1, SeqCst);
                        continue;
                    }
                }
            } else {
                soon("it comes in, or is refused", waiting).await
            }
        };
        match counted {
            Ok(task) => {
                came.spawned.fetch_add(1, SeqCst);
                if dice.once_in(4) {
                    task.abort();
                }
                if dice.once_in(2) {
                    drop(soon("the task ends", task).await);
                }
            }
            Err(refused) if refused.reason() == RefusedReason::Full => {
                came.full.fetch_add(1, SeqCst);
                yield_now().await;
            }
            Err(refused) => {
                assert_eq!(refused.reason(), RefusedReason::Closed);
                came.closed.fetch_add(1, SeqCst);
                return;
            }
        }
    }
}

/// Sets the limit to and fro, and looks whether the numbers are of one moment.
fn change(limit: &Limit, dice: &mut Dice) {
    limit.set(dice.below(MOST + 1));
    let usage = limit.usage();
    assert!(usage.used <= MOST, "{usage:?}");
    assert!(usage.waiting == 0 || usage.used >= usage.max, "{usage:?}");
    assert!(usage.waiting <= usage.queue, "{usage:?}");
}

async fn come_and_go(ctx: Context, mut dice: Dice, came: Arc<Came>) {
    let limit = ctx.limit("jobs", MOST).queue(CLIENTS / 2);
    let rounds = short_or_full(200, 4_000);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let client = client(limit.clone(), dice.fork(n), rounds, Arc::clone(&came));
            tokio::spawn(client)
        })
        .collect();
    // Until most of them have done their part: then some wait, some are inside, and some come.
    while came.spawned.load(SeqCst) + came.full.load(SeqCst) < CLIENTS * rounds / 2 {
        change(&limit, &mut dice);
        yield_now().await;
    }
    limit.set(1 + dice.below(MOST));
    let report = soon("the close", ctx.close()).await;
    assert_eq!(came.inside.load(SeqCst), 0, "inside after the close");
    for client in clients {
        soon("a client ends", client)
            .await
            .expect("it finds what it is promised");
    }
    let ended = report.finished() + report.aborted() + report.panicked();
    assert_eq!(ended, came.spawned.load(SeqCst) as u64, "{report}");
    assert_eq!((limit.usage().used, limit.usage().waiting), (0, 0));
}

#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn places_are_never_too_many_and_none_is_lost_whatever_threads_do() {
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&all);
    within(LIMIT, move |notes| {
        let dice = Dice::new();
        for round in 0..short_or_full(4, 20) {
            notes.now(format!("round {round}"));
            let ctx = Registry::new().context("ctx");
            let came = Arc::new(Came::default());
            multi_thread(8).block_on(come_and_go(ctx, dice.fork(round), Arc::clone(&came)));
            lock(&seen).push(came);
        }
    });
    let all = lock(&all);
    let sum = |of: fn(&Came) -> &AtomicUsize| all.iter().map(|came| of(came).load(SeqCst)).sum();
    let most = all.iter().map(|came| came.most.load(SeqCst)).max();
    assert!((2..=MOST).contains(&most.unwrap_or(0)), "{most:?}");
    let (spawned, full): (usize, usize) = (sum(|came| &came.spawned), sum(|came| &came.full));
    let cancelled: usize = sum(|came| &came.cancelled);
    println!("{spawned} spawned, {full} refused, {cancelled} went away");
    assert!(spawned > CLIENTS && full > 0 && cancelled > 0);
}

/// The context itself is full: eight threads spawn what they can.
#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn a_context_never_has_more_tasks_than_it_may() {
    within(LIMIT, |notes| {
        notes.now("eight threads");
        let runtime = multi_thread(8);
        let registry = Registry::new();
        let ctx = registry.context_builder("ctx").max_tasks(MOST).open();
        let (came, rounds) = (Arc::new(Came::default()), short_or_full(50_000, 1_000_000));
        let spawn_some = || {
            let _inside = runtime.enter();
            for _ in 0..rounds {
                let own = Arc::clone(&came);
                let job = async move {
                    let _inside = Inside::new(&own);
                    yield_now().await;
                };
                match ctx.try_spawn(job) {
                    Ok(_) => came.spawned.fetch_add(1, SeqCst),
                    Err(_) => came.full.fetch_add(1, SeqCst),
                };
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(spawn_some);
            }
        });
        let report = runtime.block_on(soon("the close", ctx.close()));
        assert_eq!(report.finished(), came.spawned.load(SeqCst) as u64);
        let most = came.most.load(SeqCst);
        assert!((2..=MOST).contains(&most), "{most}");
        assert!(came.full.load(SeqCst) > 0);
    });
}
