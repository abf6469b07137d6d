//! What do sessions cost, and tasks that are restarted?
//!
//! The peers of a table of sessions are what people write: a `Mutex<HashMap>` with a timer task for each entry that is idle, and a
//! `moka` cache with a time to idle, which has values and neither leases, closes nor tasks. The peer of a supervised task is a loop
//! that spawns, joins and spawns again. Read the ratio in the last column: 0.5 means that `headcount` costs half of that peer.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "nothing here fails, and no count is that large"
)]

use crate::common::{Bar, Contest, Form, Outcome, current_thread, heap, per};
use headcount::{
    Registry,
    sessions::Sessions,
    supervision::{Restart, SupervisionEnd},
};
use moka::future::Cache;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{task::AbortHandle, time::sleep};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let attached = attach(form);
    // The others have no limit, and take minutes.
    if form != Form::Short {
        open_and_cull(form);
        among_many(form);
        bytes(form);
        restarts(form);
    }
    let ratio = attached.ratio_to("moka, a get");
    vec![Bar::new("session_attach", ratio, 3.0, 1.5)]
}

/// A hand-written table: how many hold each entry, and its timer while that is none.
#[derive(Clone, Default)]
struct HandRolled(Arc<Mutex<HashMap<u64, Entry>>>);

#[derive(Default)]
struct Entry {
    held: usize,
    timer: Option<AbortHandle>,
}

impl HandRolled {
    fn attach(&self, key: u64) {
        let mut all = self.0.lock().unwrap();
        let entry = all.entry(key).or_default();
        entry.held += 1;
        if let Some(timer) = entry.timer.take() {
            timer.abort();
        }
    }

    fn lose(&self, key: u64, window: Duration) {
        let mut all = self.0.lock().unwrap();
        let entry = all.entry(key).or_default();
        entry.held -= 1;
        if entry.held == 0 {
            let table = self.clone();
            let cull = async move {
                sleep(window).await;
                let mut all = table.0.lock().unwrap();
                if all.get(&key).is_some_and(|entry| entry.held == 0) {
                    all.remove(&key);
                }
            };
            entry.timer = Some(tokio::spawn(cull).abort_handle());
        }
    }
}

async fn touch_all(sessions: &Sessions<u64>, count: u64) {
    for key in 0..count {
        drop(sessions.attach(key, "owner").await.unwrap());
    }
}

/// A client comes to a session that is there, and its connection breaks.
fn attach(form: Form) -> Outcome {
    let (runtime, count) = (current_thread(), form.size(10_000) as u64);
    let registry = Registry::new();
    let server = registry.context("server");
    let sessions = server.sessions("table").idle(LONG).open();
    let (by_hand, cache) = (
        HandRolled::default(),
        Cache::builder().time_to_idle(LONG).build(),
    );
    runtime.block_on(async {
        touch_all(&sessions, count).await;
        for key in 0..count {
            by_hand.attach(key);
            by_hand.lose(key, LONG);
            cache.insert(key, ()).await;
        }
    });
    let mine = || {
        runtime.block_on(async {
            let start = Instant::now();
            touch_all(&sessions, count).await;
            per(start, count as usize)
        })
    };
    let hand = || {
        runtime.block_on(async {
            let start = Instant::now();
            for key in 0..count {
                by_hand.attach(key);
                by_hand.lose(key, LONG);
                tokio::task::yield_now().await;
            }
            per(start, count as usize)
        })
    };
    let moka = || {
        runtime.block_on(async {
            let start = Instant::now();
            for key in 0..count {
                assert!(cache.get(&key).await.is_some());
            }
            per(start, count as usize)
        })
    };
    Contest::new(
        format!("attach to one of {count} sessions, and lose it"),
        "ns",
    )
    .side("headcount", mine)
    .side("mutex and a timer each", hand)
    .side("moka, a get", moka)
    .run(form.rounds(5))
}

/// A session is opened, and culled at once, with all that a close does.
fn open_and_cull(form: Form) {
    let (runtime, count) = (current_thread(), form.size(10_000) as u64);
    let registry = Registry::new();
    let mine = || {
        runtime.block_on(async {
            let server = registry.context("server");
            let sessions = server.sessions("table").idle(Duration::ZERO).open();
            let start = Instant::now();
            touch_all(&sessions, count).await;
            while sessions.counts().total > 0 {
                tokio::task::yield_now().await;
            }
            let each = per(start, count as usize);
            server.close().await;
            each
        })
    };
    let context = || {
        runtime.block_on(async {
            let server = registry.context("server");
            let start = Instant::now();
            for _ in 0..count {
                let session = server.child("session");
                drop(session.child("generation"));
                session.close().await;
            }
            per(start, count as usize)
        })
    };
    let hand = || {
        runtime.block_on(async {
            let by_hand = HandRolled::default();
            let start = Instant::now();
            for key in 0..count {
                by_hand.attach(key);
                by_hand.lose(key, Duration::ZERO);
            }
            while !by_hand.0.lock().unwrap().is_empty() {
                sleep(Duration::ZERO).await;
            }
            per(start, count as usize)
        })
    };
    Contest::new("open a session and cull it", "ns")
        .side("headcount", mine)
        .side("two contexts of its own", context)
        .side("mutex and a timer each", hand)
        .run(form.rounds(3));
}

/// The timer's cost: a client that comes and goes among many idle sessions, against few.
fn among_many(form: Form) {
    let (runtime, many) = (current_thread(), form.size(100_000) as u64);
    let registry = Registry::new();
    let few = many / 100;
    let (large, small) = (registry.context("large"), registry.context("small"));
    let tables = [large, small].map(|server| {
        let sessions = server.sessions("table").idle(LONG).open();
        (server, sessions)
    });
    runtime.block_on(async {
        touch_all(&tables[0].1, many).await;
        touch_all(&tables[1].1, few).await;
    });
    let turn = |sessions: &Sessions<u64>| {
        runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..10 {
                touch_all(sessions, few).await;
            }
            per(start, 10 * few as usize)
        })
    };
    Contest::new(format!("attach and lose among {many} idle sessions"), "ns")
        .side("headcount", || turn(&tables[0].1))
        .side("among a hundredth of them", || turn(&tables[1].1))
        .run(form.rounds(5));
}

/// What an idle session takes.
fn bytes(form: Form) {
    let (runtime, count) = (current_thread(), form.size(20_000) as u64);
    let registry = Registry::new();
    let of_each = || {
        let bytes = heap::read().0;
        heap::stop();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let each = bytes as f64 / count as f64;
        each
    };
    let mine = || {
        runtime.block_on(async {
            let server = registry.context("server");
            let sessions = server.sessions("table").idle(LONG).open();
            heap::start();
            touch_all(&sessions, count).await;
            let each = of_each();
            server.close().await;
            each
        })
    };
    let hand = || {
        runtime.block_on(async {
            let by_hand = HandRolled::default();
            heap::start();
            for key in 0..count {
                by_hand.attach(key);
                by_hand.lose(key, LONG);
            }
            let each = of_each();
            for (_, entry) in by_hand.0.lock().unwrap().drain() {
                if let Some(timer) = entry.timer {
                    timer.abort();
                }
            }
            tokio::task::yield_now().await;
            each
        })
    };
    let moka = || {
        runtime.block_on(async {
            let cache = Cache::builder().time_to_idle(LONG).build();
            heap::start();
            for key in 0..count {
                cache.insert(key, ()).await;
            }
            cache.run_pending_tasks().await;
            of_each()
        })
    };
    Contest::new("an idle session, which has two contexts", "bytes")
        .side("headcount", mine)
        .side("mutex and a timer each", hand)
        .side("moka, an entry", moka)
        .run(1);
}

/// A task that fails at once, and is started again without a pause.
fn restarts(form: Form) {
    let (runtime, count) = (current_thread(), form.size(20_000));
    let registry = Registry::new();
    let attempts = count as u64;
    let mine = || {
        runtime.block_on(async {
            let ctx = registry.context("server");
            let rules = Restart::on_failure()
                .backoff(Duration::ZERO, Duration::ZERO)
                .budget(u32::MAX, LONG);
            let start = Instant::now();
            let worker = ctx
                .task("worker")
                .restart(rules)
                .run(move |attempt| async move {
                    if attempt.number() < attempts {
                        Err("no route")
                    } else {
                        Ok(())
                    }
                });
            assert_eq!(worker.ended().await, SupervisionEnd::Finished);
            let each = per(start, count);
            ctx.close().await;
            each
        })
    };
    let hand = || {
        runtime.block_on(async {
            let start = Instant::now();
            for attempt in 1..=attempts {
                let task = tokio::spawn(async move {
                    if attempt < attempts {
                        Err("no route")
                    } else {
                        Ok(())
                    }
                });
                assert_eq!(task.await.unwrap().is_ok(), attempt == attempts);
            }
            per(start, count)
        })
    };
    Contest::new("an attempt of a task that fails, and the restart", "ns")
        .side("headcount", mine)
        .side("spawn, join, and again", hand)
        .run(form.rounds(5));
}
