//! Sessions: a million random operations against the model, and clients on many threads that come and go.

#[path = "../it/session_model.rs"]
mod session_model;

use crate::common::{Dice, multi_thread, short_or_full, soon, within};
use headcount::{
    CloseReason, Registry, State, WeakContext,
    sessions::{Arrival, AttachError, Loss, Overflow, SessionCounts},
};
use session_model::{Limits, run};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{task::yield_now, time::sleep};

const LIMIT: Duration = Duration::from_secs(900);
const KEYS: usize = 40;
const CLIENTS: usize = 300;

#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn a_million_operations_are_as_in_the_model() {
    within(LIMIT, |notes| {
        let operations = short_or_full(1_000_000, 10_000_000);
        let seed = Dice::seed();
        println!("HEADCOUNT_SEED={seed}");
        for (n, limits) in (0..).zip([
            Limits::None,
            Limits::Reject(20),
            Limits::EvictIdle(20),
            Limits::Wait(20),
        ]) {
            notes.now(format!("{limits:?}"));
            let paused = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
            paused
                .unwrap()
                .block_on(run(seed + n, operations / 4, limits));
        }
    });
}

/// What one client finds: a session that it holds is open, and has been by itself only once.
async fn client(
    sessions: headcount::sessions::Sessions<usize>,
    mut dice: Dice,
    rounds: usize,
    resumed: Arc<AtomicUsize>,
) {
    for _ in 0..rounds {
        let key = dice.below(KEYS);
        let lease = match sessions.attach(key, "owner").await {
            Ok(lease) => lease,
            Err(AttachError::Full(_) | AttachError::Closed) => {
                yield_now().await;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        resumed.fetch_add(usize::from(lease.arrival() == Arrival::Resumed), SeqCst);
        for _ in 0..dice.below(4) {
            yield_now().await;
        }
        let context = lease.context();
        if context.state() != State::Open || lease.is_lost() {
            let loss = soon("a lease is told of its loss", lease.lost()).await;
            assert_eq!(
                loss,
                Loss::Closed(CloseReason::from("evicted")),
                "{context:?}"
            );
        }
        match dice.below(20) {
            0 => drop(sessions.evict(&key, "evicted")),
            1..8 => lease.leave(),
            _ => drop(lease),
        }
    }
}

/// With a window of next to nothing nearly every attach meets a cull.
#[test]
#[ignore = "stress: takes a while, run by .ci/run"]
fn no_client_is_thrown_out_of_a_session_that_it_holds() {
    within(LIMIT, |notes| {
        for (window, overflow) in [
            (Duration::ZERO, Overflow::Reject),
            (Duration::from_micros(100), Overflow::EvictIdle),
            (Duration::from_millis(1), Overflow::EvictIdle),
        ] {
            notes.now(format!("{window:?}, {overflow:?}"));
            multi_thread(8).block_on(come_and_go(window, overflow));
        }
    });
}

async fn come_and_go(window: Duration, overflow: Overflow) {
    let registry = Registry::new();
    let server = registry.context("server");
    let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opens, closes) = (Arc::clone(&opened), Arc::clone(&closed));
    let alive: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let sessions = server
        .sessions::<usize>("table")
        .idle(window)
        .max(30)
        .overflow(overflow);
    let sessions = sessions.on_open(move |key, ctx: WeakContext| {
        opens.fetch_add(1, SeqCst);
        let before = alive[key].fetch_add(1, SeqCst);
        assert_eq!(before, 0, "two sessions of a key are alive");
        let (closes, alive) = (Arc::clone(&closes), Arc::clone(&alive));
        let hook = move || async move {
            yield_now().await;
            alive[key].fetch_sub(1, SeqCst);
            closes.fetch_add(1, SeqCst);
        };
        let added = ctx.on_close(hook).is_ok();
        async move {
            yield_now().await;
            if added { Ok(()) } else { Err("it closes") }
        }
    });
    let (sessions, resumed) = (sessions.open(), Arc::new(AtomicUsize::new(0)));
    let (dice, rounds) = (Dice::new(), short_or_full(500, 10_000));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let dice = dice.fork(n);
            tokio::spawn(client(sessions.clone(), dice, rounds, Arc::clone(&resumed)))
        })
        .collect();
    for client in clients {
        client.await.expect("a client finds what it is promised");
    }
    let report = server.close().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(sessions.counts(), SessionCounts::default());
    let (opened, closed) = (opened.load(SeqCst), closed.load(SeqCst));
    assert!(
        opened > CLIENTS && opened == closed,
        "{opened} opened, {closed} closed"
    );
    assert!(resumed.load(SeqCst) > CLIENTS, "they hardly met");
    sleep(Duration::from_millis(1)).await;
}
