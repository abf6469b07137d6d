//! I2, I1: a spawn that races a close is refused or awaited.

use crate::common::{Dice, lock, multi_thread, short_or_full, wait_for, within};
use headcount::{Context, Registry};
use std::{
    pin::Pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst},
    },
    task::{self, Poll},
    thread,
    time::Duration,
};

const SPAWNERS: usize = 8;
/// Spawns of one thread in one round, unless it is refused before.
const MOST: usize = 40;

/// What happened to one future.
#[derive(Default)]
struct Fate {
    is_polled: AtomicBool,
    dropped: AtomicU8,
}

/// It is there.
const ALIVE: u8 = 0;
/// Dropped before the close returned.
const IN_TIME: u8 = 1;
/// Dropped after the close returned.
const LATE: u8 = 2;

/// A future that waits a few times, or until it is dropped.
struct Traced {
    fate: Arc<Fate>,
    has_closed: Arc<AtomicBool>,
    waits: Option<usize>,
}

impl Future for Traced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.fate.is_polled.store(true, SeqCst);
        match &mut self.waits {
            Some(0) => Poll::Ready(()),
            Some(left) => {
                *left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let is_late = self.has_closed.load(SeqCst);
        let end = if is_late { LATE } else { IN_TIME };
        let before = self.fate.dropped.swap(end, SeqCst);
        assert_eq!(before, ALIVE, "a future was dropped twice");
    }
}

/// One context and those who fight over it.
struct Round {
    ctx: Context,
    has_closed: Arc<AtomicBool>,
    accepted: Mutex<Vec<Arc<Fate>>>,
    refused: AtomicUsize,
    spawned: AtomicUsize,
    /// The spawner that reaches this number begins the close, in the middle of the spawning, however fast that is. In
    /// every other round it is left to the one who closes.
    enough: usize,
    children: AtomicUsize,
    /// Handles that outlive the close: only the parent closes these.
    held: Mutex<Vec<Context>>,
}

impl Round {
    fn new(registry: &Registry, dice: &mut Dice) -> Self {
        let enough = dice.once_in(2).then(|| 1 + dice.below(SPAWNERS * MOST / 2));
        Self {
            spawned: AtomicUsize::new(0),
            enough: enough.unwrap_or(usize::MAX),
            ctx: registry.context("contested"),
            has_closed: Arc::default(),
            accepted: Mutex::default(),
            refused: AtomicUsize::new(0),
            children: AtomicUsize::new(0),
            held: Mutex::default(),
        }
    }

    /// Spawns until the gate refuses.
    fn spawn(&self, dice: &mut Dice) {
        let mut accepted = Vec::new();
        for _ in 0..MOST {
            dice.dawdle(50);
            let child = dice.once_in(4).then(|| self.ctx.try_child("child"));
            let ctx = match &child {
                None => &self.ctx,
                Some(Ok(child)) => {
                    self.children.fetch_add(1, SeqCst);
                    if dice.once_in(2) {
                        lock(&self.held).push(child.clone());
                    }
                    child
                }
                Some(Err(_)) => break,
            };
            let fate = Arc::new(Fate::default());
            let waits = (!dice.once_in(4)).then(|| dice.below(3));
            let future = Traced {
                fate: Arc::clone(&fate),
                has_closed: Arc::clone(&self.has_closed),
                waits,
            };
            let task = ctx.task("contender").cancellable();
            match task.try_spawn(future) {
                Ok(task) => {
                    accepted.push(fate);
                    if self.spawned.fetch_add(1, SeqCst) + 1 == self.enough {
                        self.ctx.request_close("enough");
                    }
                    if dice.once_in(8) {
                        task.abort();
                    }
                }
                Err(refused) => {
                    self.refused.fetch_add(1, SeqCst);
                    let back = refused.into_inner();
                    assert!(Arc::ptr_eq(&back.fate, &fate), "another future came back");
                    assert_eq!(fate.dropped.load(SeqCst), ALIVE, "it came back dead");
                    assert!(!fate.is_polled.load(SeqCst), "it came back used");
                    break;
                }
            }
        }
        lock(&self.accepted).append(&mut accepted);
    }

    fn close(&self, dice: &mut Dice) -> headcount::CloseReport {
        dice.dawdle(20_000);
        wait_for("close", async {
            let report = self.ctx.close().await;
            self.has_closed.store(true, SeqCst);
            report
        })
    }

    fn check(self, report: &headcount::CloseReport) -> usize {
        let accepted = lock(&self.accepted);
        for fate in &*accepted {
            let end = fate.dropped.load(SeqCst);
            assert_eq!(end, IN_TIME, "an accepted future outlived the close");
        }
        let ended = report.finished() + report.cancelled() + report.aborted() + report.panicked();
        assert_eq!(ended, accepted.len() as u64, "{report}");
        assert_eq!(
            report.children(),
            self.children.load(SeqCst) as u64,
            "{report}"
        );
        accepted.len()
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_spawn_is_refused_or_awaited_whatever_8_threads_do() {
    let limit = Duration::from_secs(short_or_full(120, 900));
    within(limit, |notes| {
        let rounds = short_or_full(3_000, 60_000);
        let dice = Dice::new();
        let (registry, runtime) = (Registry::new(), multi_thread(2));
        let current: Mutex<Option<Arc<Round>>> = Mutex::default();
        let (begin, end) = (Barrier::new(SPAWNERS + 1), Barrier::new(SPAWNERS + 1));
        let (mut accepted, mut refused) = (0, 0);
        thread::scope(|scope| {
            for thread in 0..SPAWNERS {
                let mut dice = dice.fork(thread);
                let (current, begin, end) = (&current, &begin, &end);
                scope.spawn(move || {
                    loop {
                        begin.wait();
                        let round = lock(current).clone();
                        let Some(round) = round else { return };
                        round.spawn(&mut dice);
                        drop(round);
                        end.wait();
                    }
                });
            }
            let mut dice = dice.fork(SPAWNERS);
            let _inside = runtime.enter();
            for number in 0..rounds {
                notes.now(format_args!("round {number}"));
                let round = Arc::new(Round::new(&registry, &mut dice));
                *lock(&current) = Some(Arc::clone(&round));
                begin.wait();
                let report = round.close(&mut dice);
                end.wait();
                lock(&current).take();
                let round = Arc::into_inner(round).expect("all others are through");
                refused += round.refused.load(SeqCst);
                accepted += round.check(&report);
                assert_eq!(registry.count(), 0, "after round {number}");
            }
            begin.wait();
        });
        println!("{rounds} rounds: {accepted} accepted, {refused} refused");
        assert!(accepted > rounds && refused > rounds, "the race was none");
        wait_for("idle", registry.idle());
    });
}
