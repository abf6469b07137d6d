//! Sessions: leases, the idle window, restarts and limits. Rows S2 and S9 to S13, and what is easily got wrong in session tables.

use crate::{
    events::{said, said_on},
    session_model::{self as model, Limits},
    util::{Log, OnDrop, current_thread, in_time, poll_once, settle, within},
};
use headcount::{
    CloseReason, Context, FailureKind, Registry, State, WeakContext,
    leaks::LeakPolicy,
    sessions::{
        Arrival, AttachError, Lease, Limit, Loss, Overflow, SessionCounts, SessionState, Sessions,
        SessionsBuilder, WhileClosing,
    },
};
use std::{
    future::{pending, ready},
    hash::{Hash, Hasher},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{advance, sleep},
};

const WINDOW: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const OWNER: &str = "owner";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn server() -> Context {
    Registry::new().context("server")
}

fn table(server: &Context) -> SessionsBuilder<'_, u32> {
    let table = server.sessions::<u32>("table").idle(WINDOW);
    table.label(|key| format!("page-{key}"))
}

async fn attach(sessions: &Sessions<u32>, key: u32) -> Lease<u32> {
    in_time(sessions.attach(key, OWNER)).await.unwrap()
}

async fn fails(sessions: &Sessions<u32>, key: u32) -> AttachError {
    in_time(sessions.attach(key, OWNER)).await.unwrap_err()
}

/// The context of the session itself, which its generation is in.
fn outer(lease: &Lease<u32>) -> WeakContext {
    lease.context().upgrade().unwrap().parent().unwrap()
}

/// Why the context closed, by itself.
async fn why(context: &WeakContext) -> CloseReason {
    in_time(context.closed()).await.reason().clone()
}

fn state(sessions: &Sessions<u32>, key: u32) -> Option<SessionState> {
    sessions.get(&key).map(|session| session.state())
}

// Rows S10 and S11: connect, disconnect, reconnect, page close, cull.

#[tokio::test(start_paused = true)]
async fn s10_a_page_that_connects_has_a_session_of_its_own() {
    let server = server();
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    assert_eq!((lease.arrival(), lease.generation()), (Arrival::New, 1));
    assert_eq!((lease.key(), lease.is_lost()), (&1, false));
    assert_eq!(lease.context().path(), "server/table/page-1/generation 1");
    assert_eq!(state(&sessions, 1), Some(SessionState::Held));
    let second = attach(&sessions, 1).await;
    assert_eq!(second.arrival(), Arrival::Resumed);
    assert_eq!(second.context().id(), lease.context().id());
    let other = attach(&sessions, 2).await;
    assert_ne!(other.context().id(), lease.context().id());
    let counts = sessions.counts();
    assert_eq!((counts.total, counts.held, counts.leases), (2, 2, 3));
    drop((lease, second, other));
    assert_eq!(sessions.counts().idle, 2);
    assert!(in_time(server.close()).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn s11_a_session_is_culled_when_its_window_is_over_and_not_before() {
    let server = server();
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    let (generation, outer) = (lease.context(), outer(&lease));
    sleep(3 * WINDOW).await;
    assert_eq!(generation.state(), State::Open, "it is held");
    drop(lease);
    sleep(WINDOW.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(state(&sessions, 1), Some(SessionState::Idle));
    sleep(Duration::from_millis(2)).await;
    assert_eq!(why(&outer).await, CloseReason::Culled);
    assert_eq!(why(&generation).await.root(), &CloseReason::Culled);
    assert!(sessions.get(&1).is_none());
    assert_eq!(sessions.counts().total, 0);
}

#[tokio::test(start_paused = true)]
async fn s11_a_reconnect_cancels_the_cull() {
    let server = server();
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    let context = lease.context();
    drop(lease);
    sleep(WINDOW.saturating_sub(SECOND)).await;
    let lease = in_time(sessions.resume(&1, OWNER)).await.unwrap();
    assert_eq!(lease.arrival(), Arrival::Resumed);
    assert_eq!(lease.context().id(), context.id());
    sleep(10 * WINDOW).await;
    assert_eq!(context.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn s11_a_second_disconnect_restarts_the_window_in_full() {
    let server = server();
    let sessions = table(&server).open();
    drop(attach(&sessions, 1).await);
    sleep(WINDOW.saturating_sub(SECOND)).await;
    let lease = attach(&sessions, 1).await;
    let context = lease.context();
    drop(lease);
    sleep(WINDOW.saturating_sub(SECOND)).await;
    assert_eq!(context.state(), State::Open);
    sleep(2 * SECOND).await;
    assert_eq!(why(&context).await.root(), &CloseReason::Culled);
}

#[tokio::test(start_paused = true)]
async fn s11_the_window_runs_from_the_last_loss_or_touch() {
    let server = server();
    let sessions = table(&server).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let context = first.context();
    drop(first);
    sleep(2 * WINDOW).await;
    assert_eq!(context.state(), State::Open, "the second lease is in");
    drop(second);
    for _ in 0..5 {
        sleep(WINDOW.saturating_sub(SECOND)).await;
        assert!(sessions.touch(&1));
    }
    assert_eq!(context.state(), State::Open);
    sleep(WINDOW + SECOND).await;
    assert_eq!(context.state(), State::Closed);
    assert!(!sessions.touch(&1) && !sessions.touch(&2));
}

#[tokio::test(start_paused = true)]
async fn s10_closing_the_last_page_ends_the_session_at_once() {
    let server = server();
    let sessions = table(&server).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let outer = outer(&first);
    first.leave();
    assert_eq!(state(&sessions, 1), Some(SessionState::Held), "one is in");
    second.leave();
    assert_eq!(outer.state(), State::Closing);
    assert_eq!(why(&outer).await, CloseReason::Left);
}

#[tokio::test(start_paused = true)]
async fn s10_a_page_that_was_cut_off_keeps_the_session_when_the_others_are_closed() {
    let server = server();
    let sessions = table(&server).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let outer = outer(&first);
    drop(first);
    second.leave();
    assert_eq!(state(&sessions, 1), Some(SessionState::Idle));
    // It comes back, and then goes on purpose: none is left to wait for.
    attach(&sessions, 1).await.leave();
    assert_eq!(why(&outer).await, CloseReason::Left);
}

#[tokio::test(start_paused = true)]
async fn s10_which_device_was_cut_off_is_known_by_its_name() {
    let server = server();
    let sessions = table(&server).open();
    let phone = in_time(sessions.attach_as(1, OWNER, "phone"))
        .await
        .unwrap();
    let outer = outer(&phone);
    drop(phone);
    let laptop = in_time(sessions.attach_as(1, OWNER, "laptop")).await;
    laptop.unwrap().leave();
    assert_eq!(
        state(&sessions, 1),
        Some(SessionState::Idle),
        "the phone may come back"
    );
    let phone = in_time(sessions.attach_as(1, OWNER, "phone")).await;
    phone.unwrap().leave();
    assert_eq!(why(&outer).await, CloseReason::Left);
}

#[tokio::test(start_paused = true)]
async fn s10_a_page_that_was_cut_off_longer_than_the_window_is_not_waited_for() {
    let server = server();
    let sessions = table(&server).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let outer = outer(&first);
    drop(first);
    sleep(WINDOW + SECOND).await;
    second.leave();
    assert_eq!(why(&outer).await, CloseReason::Left);
}

// Row S12: the same key again.

/// A session whose close takes ten seconds.
fn slow_to_close(server: &Context) -> SessionsBuilder<'_, u32> {
    table(server).on_open(async |_key, ctx: WeakContext| {
        let hook = || sleep(secs(4));
        ctx.on_close(hook).map(drop).map_err(|_| "too late")
    })
}

#[tokio::test(start_paused = true)]
async fn s12_a_reconnect_never_reuses_a_session_that_closes() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let lease = attach(&sessions, 1).await;
    let old = outer(&lease);
    lease.leave();
    let mut again = pin!(sessions.attach(1, OWNER));
    assert!(poll_once(again.as_mut()).is_pending());
    assert_eq!(sessions.counts().closing, 1);
    let lease = in_time(again).await.unwrap();
    assert_eq!(
        (lease.arrival(), old.state()),
        (Arrival::New, State::Closed)
    );
    assert_eq!(lease.generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn s12_while_one_closes_the_next_may_be_opened_or_refused() {
    let server = server();
    let overlap = slow_to_close(&server)
        .while_closing(WhileClosing::Overlap)
        .open();
    let lease = attach(&overlap, 1).await;
    let old = outer(&lease);
    lease.leave();
    let lease = attach(&overlap, 1).await;
    let counts = overlap.counts();
    assert_eq!((old.state(), counts.total), (State::Closing, 2));
    assert_eq!((counts.closing, counts.held), (1, 1));
    // The end of the old one takes its own entry out, and not this one.
    in_time(old.closed()).await;
    let resumed = in_time(overlap.resume(&1, OWNER)).await.unwrap();
    assert_eq!(resumed.context().id(), lease.context().id());
    assert_eq!(overlap.counts().total, 1);

    let refuse = slow_to_close(&server)
        .while_closing(WhileClosing::Refuse)
        .open();
    attach(&refuse, 1).await.leave();
    assert!(matches!(fails(&refuse, 1).await, AttachError::Closed));
    sleep(secs(5)).await;
    assert_eq!(attach(&refuse, 1).await.arrival(), Arrival::New);
}

#[tokio::test(start_paused = true)]
async fn s12_a_session_that_is_not_there_cannot_be_resumed() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let resumed = in_time(sessions.resume(&1, OWNER)).await;
    assert!(matches!(resumed, Err(AttachError::NotFound)));
    attach(&sessions, 1).await.leave();
    let resumed = in_time(sessions.resume(&1, OWNER)).await;
    assert!(matches!(resumed, Err(AttachError::NotFound)), "it closes");
}

#[test]
fn s12_a_wrong_owner_is_refused_and_logged_and_changes_nothing() {
    let lines = said(|| async {
        let server = server();
        let sessions = table(&server).open();
        let lease = attach(&sessions, 1).await;
        for _ in 0..20 {
            for wrong in ["", "owne", "ownes", "owner2"] {
                let refused = in_time(sessions.attach(1, wrong)).await;
                assert!(matches!(refused, Err(AttachError::WrongOwner)));
                let refused = in_time(sessions.resume(&1, wrong)).await;
                assert!(matches!(refused, Err(AttachError::WrongOwner)));
                // Nor does it take over.
                let refused = in_time(sessions.attach_as(1, wrong, "phone")).await;
                assert!(matches!(refused, Err(AttachError::WrongOwner)));
            }
        }
        assert_eq!((sessions.counts().leases, lease.is_lost()), (1, false));
        drop(lease);
        let refused = in_time(sessions.attach(1, "wrong")).await;
        assert!(refused.is_err());
        sleep(WINDOW + SECOND).await;
        assert_eq!(
            sessions.counts().total,
            0,
            "a refused one starts no window anew"
        );
        in_time(server.close()).await;
    });
    let warned: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("another owner"))
        .collect();
    assert!(
        (3..=10).contains(&warned.len()),
        "once a line, then a count: {lines:#?}"
    );
    assert!(
        warned.iter().all(|line| !line.contains("page-1")),
        "nothing is revealed"
    );
}

// Row S2: the init.

#[tokio::test(start_paused = true)]
async fn s2_the_init_runs_inside_the_new_context() {
    let (server, log) = (server(), Log::default());
    let noted = log.clone();
    let sessions = table(&server).on_open(move |key, ctx: WeakContext| {
        let log = noted.clone();
        async move {
            let inside = Context::current().unwrap();
            assert_eq!(inside.id(), ctx.id());
            log.note(format!("{} of {key}", inside.path()));
            let close = log.clone();
            let hook = move || async move { close.note("closed") };
            ctx.on_close(hook).map(drop).map_err(|_| "too late")?;
            ctx.spawn(async move { Context::current().unwrap().cancelled().await });
            Ok::<_, &str>(())
        }
    });
    let sessions = sessions.open();
    let lease = attach(&sessions, 7).await;
    let outer = outer(&lease);
    lease.leave();
    in_time(outer.closed()).await;
    assert_eq!(
        log.all(),
        ["server/table/page-7/generation 1 of 7", "closed"]
    );
}

/// Fails as told, after a second, and registers a hook before.
fn failing(
    server: &Context,
    how: Result<&'static str, &'static str>,
    runs: &Arc<AtomicUsize>,
    closed: &Log,
) -> Sessions<u32> {
    let (runs, closed) = (Arc::clone(runs), closed.clone());
    let sessions = table(server).on_open(move |_key, ctx: WeakContext| {
        runs.fetch_add(1, SeqCst);
        let closed = closed.clone();
        let hook = move || async move { closed.note("closed") };
        assert!(ctx.on_close(hook).is_ok());
        async move {
            sleep(SECOND).await;
            match how {
                Ok(message) => panic!("{message}"),
                Err(error) => Err(error),
            }
        }
    });
    sessions.open()
}

#[tokio::test(start_paused = true)]
async fn s2_an_init_that_fails_fails_all_who_wait_and_closes_what_was_built() {
    for how in [Err("the disk is full"), Ok("on purpose")] {
        let (server, runs, log) = (server(), Arc::default(), Log::default());
        let sessions = failing(&server, how, &runs, &log);
        let all = (0..5).map(|_| sessions.attach(1, OWNER));
        for failed in in_time(futures::future::join_all(all)).await {
            match (how, failed.unwrap_err()) {
                (Err(said), AttachError::Init(error)) => assert_eq!(error.to_string(), said),
                (Ok(said), AttachError::Panicked(message)) => assert_eq!(message, said),
                (_, other) => panic!("{other:?}"),
            }
        }
        assert_eq!(
            (runs.load(SeqCst), log.all()),
            (1, vec!["closed".to_owned()])
        );
        assert_eq!(sessions.counts(), SessionCounts::default());
        // The next one tries again.
        assert!(in_time(sessions.attach(1, OWNER)).await.is_err());
        assert_eq!(runs.load(SeqCst), 2);
        let report = in_time(server.close()).await;
        assert_eq!(report.failures().len(), 2, "{report}");
        assert!(report.is_clean(), "those who waited know of it: {report}");
        let failure = &report.failures()[0];
        let kind = if how.is_ok() {
            FailureKind::TaskPanicked
        } else {
            FailureKind::TaskFailed
        };
        assert_eq!((failure.kind(), failure.what()), (kind, "open"));
        assert!(failure.location().unwrap().file().ends_with("sessions.rs"));
    }
}

#[tokio::test(start_paused = true)]
async fn s2_a_session_whose_init_failed_has_closed_for_that_reason() {
    let server = server();
    let seen: Arc<std::sync::Mutex<Option<WeakContext>>> = Arc::default();
    let put = Arc::clone(&seen);
    let sessions = table(&server).on_open(move |_key, ctx| {
        *put.lock().unwrap() = Some(ctx);
        ready(Err::<(), _>("no"))
    });
    let sessions = sessions.open();
    assert!(matches!(fails(&sessions, 1).await, AttachError::Init(_)));
    let generation = seen.lock().unwrap().clone().unwrap();
    let reason = why(&generation).await;
    let CloseReason::Failed(failure) = reason.root() else {
        panic!("{reason}");
    };
    assert_eq!(failure.path(), "server/table/page-1/generation 1");
}

#[tokio::test(start_paused = true)]
async fn an_init_that_panics_before_its_first_wait_is_one_that_panics() {
    let server = server();
    let sessions = table(&server).on_open(|key, _ctx| {
        assert!(key != 1, "on purpose");
        ready(Ok::<_, &str>(()))
    });
    let sessions = sessions.open();
    let failed = fails(&sessions, 1).await;
    assert!(matches!(failed, AttachError::Panicked(message) if message == "on purpose"));
    attach(&sessions, 2).await.leave();
}

#[tokio::test(start_paused = true)]
async fn an_init_goes_on_when_its_caller_does_not_wait_for_it() {
    let (server, runs) = (server(), Arc::new(AtomicUsize::new(0)));
    let counts = Arc::clone(&runs);
    let sessions = table(&server).on_open(move |_key, _ctx| {
        let runs = Arc::clone(&counts);
        async move {
            sleep(secs(10)).await;
            runs.fetch_add(1, SeqCst);
            Ok::<_, &str>(())
        }
    });
    let sessions = sessions.open();
    {
        let mut attach = pin!(sessions.attach(1, OWNER));
        assert!(poll_once(attach.as_mut()).is_pending());
        let counts = sessions.counts();
        assert_eq!((counts.opening, counts.leases), (1, 1));
    }
    // Its lease is lost: the window runs from here.
    assert_eq!(sessions.counts().leases, 0);
    sleep(secs(9)).await;
    assert_eq!((runs.load(SeqCst), sessions.counts().opening), (0, 1));
    sleep(secs(2)).await;
    assert_eq!(
        (runs.load(SeqCst), state(&sessions, 1)),
        (1, Some(SessionState::Idle))
    );
    assert_eq!(attach(&sessions, 1).await.arrival(), Arrival::Resumed);
    sleep(WINDOW + SECOND).await;
    assert_eq!((runs.load(SeqCst), sessions.counts().total), (1, 0));
}

/// With a caller less, the others still have it.
#[tokio::test(start_paused = true)]
async fn one_init_is_shared_by_all_who_attach_at_once() {
    let (server, runs) = (server(), Arc::new(AtomicUsize::new(0)));
    let counts = Arc::clone(&runs);
    let sessions = table(&server).on_open(move |_key, _ctx| {
        counts.fetch_add(1, SeqCst);
        async {
            sleep(SECOND).await;
            Ok::<_, &str>(())
        }
    });
    let sessions = sessions.open();
    let mut first = Box::pin(sessions.attach(1, OWNER));
    assert!(poll_once(first.as_mut()).is_pending());
    let all = futures::future::join_all((0..50).map(|_| sessions.attach(1, OWNER)));
    let mut all = pin!(all);
    assert!(poll_once(all.as_mut()).is_pending());
    drop(first);
    let leases: Vec<_> = in_time(all).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((runs.load(SeqCst), sessions.counts().leases), (1, 50));
    assert!(
        leases
            .iter()
            .all(|lease| lease.context().id() == leases[0].context().id())
    );
}

/// It is of no use to anyone, but nothing is lost.
#[tokio::test(start_paused = true)]
async fn an_init_that_fails_unseen_makes_the_close_unclean() {
    let (server, runs, log) = (server(), Arc::default(), Log::default());
    let sessions = failing(&server, Err("the disk is full"), &runs, &log);
    {
        let mut attach = pin!(sessions.attach(1, OWNER));
        assert!(poll_once(attach.as_mut()).is_pending());
    }
    sleep(secs(2)).await;
    assert_eq!(
        (sessions.counts(), log.all().len()),
        (SessionCounts::default(), 1)
    );
    let report = in_time(server.close()).await;
    assert!(!report.is_clean() && report.failed() == 1, "{report}");
}

// Row S9: restart.

#[tokio::test(start_paused = true)]
async fn s9_a_restart_closes_the_generation_and_keeps_the_leases() {
    let (server, log) = (server(), Log::default());
    let noted = log.clone();
    let sessions = table(&server).on_open(move |_key, ctx: WeakContext| {
        let log = noted.clone();
        log.note(format!("open {}", ctx.name()));
        let context = ctx.clone();
        let hook = move || async move {
            log.note(format!(
                "close {}: {}",
                context.name(),
                context.close_reason().unwrap()
            ));
            // What is registered meanwhile still runs.
            let late = move || async move { log.note("late") };
            assert!(context.on_close(late).is_ok());
        };
        ready(ctx.on_close(hook).map(drop).map_err(|_| "too late"))
    });
    let sessions = sessions.open();
    let (lease, other) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let (first, outer) = (lease.context(), outer(&lease));
    assert_eq!(in_time(sessions.restart(&1)).await.unwrap(), 2);
    assert_eq!(first.state(), State::Closed);
    assert_eq!(first.close_reason(), Some(CloseReason::Restarted));
    assert_eq!((lease.generation(), other.generation()), (2, 2));
    assert_eq!(lease.context().path(), "server/table/page-1/generation 2");
    assert_eq!((outer.state(), sessions.counts().held), (State::Open, 1));
    assert!(!lease.is_lost());
    assert_eq!(in_time(sessions.restart(&1)).await.unwrap(), 3);
    let expected = [
        "open generation 1",
        "close generation 1: restarted",
        "late",
        "open generation 2",
        "close generation 2: restarted",
        "late",
        "open generation 3",
    ];
    assert_eq!(log.all(), expected);
    in_time(server.close()).await;
}

#[tokio::test(start_paused = true)]
async fn s9_only_an_open_session_is_restarted() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let restarted = in_time(sessions.restart(&1)).await;
    assert!(matches!(restarted, Err(AttachError::NotFound)));
    attach(&sessions, 1).await.leave();
    let restarted = in_time(sessions.restart(&1)).await;
    assert!(matches!(restarted, Err(AttachError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn s9_a_close_during_a_restart_wins() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let lease = attach(&sessions, 1).await;
    let outer = outer(&lease);
    let restart = sessions.restart(&1);
    settle().await;
    assert_eq!(state(&sessions, 1), Some(SessionState::Restarting));
    assert_eq!(
        (sessions.counts().restarting, sessions.counts().leases),
        (1, 1)
    );
    assert!(sessions.evict(&1, CloseReason::Evicted));
    assert!(matches!(in_time(restart).await, Err(AttachError::Closed)));
    assert_eq!(why(&outer).await, CloseReason::Evicted);
    assert_eq!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::Evicted)
    );
    assert_eq!(lease.generation(), 1);
    assert_eq!(sessions.counts(), SessionCounts::default());
}

#[tokio::test(start_paused = true)]
async fn restarts_at_once_are_one_and_attaches_wait_for_it() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let lease = attach(&sessions, 1).await;
    let restarts: Vec<_> = (0..3).map(|_| sessions.restart(&1)).collect();
    // None need wait for it.
    drop(sessions.restart(&1));
    let mut attach = pin!(sessions.attach(1, OWNER));
    assert!(poll_once(attach.as_mut()).is_pending());
    let second = in_time(attach).await.unwrap();
    assert_eq!(
        (second.generation(), second.arrival()),
        (2, Arrival::Resumed)
    );
    for restart in restarts {
        assert_eq!(in_time(restart).await.unwrap(), 2);
    }
    assert_eq!(lease.generation(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_whose_init_fails_closes_the_session() {
    let (server, fail) = (server(), Arc::new(AtomicBool::new(false)));
    let fails = Arc::clone(&fail);
    let sessions = table(&server).on_open(move |_key, _ctx| {
        let result = if fails.load(SeqCst) {
            Err("no")
        } else {
            Ok(())
        };
        ready(result)
    });
    let sessions = sessions.open();
    let lease = attach(&sessions, 1).await;
    fail.store(true, SeqCst);
    let failed = in_time(sessions.restart(&1)).await;
    assert!(matches!(failed, Err(AttachError::Init(error)) if error.to_string() == "no"));
    assert!(matches!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::Failed(_))
    ));
    assert_eq!(sessions.counts(), SessionCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_restart_from_inside_begins_and_returns_at_once() {
    let (server, log) = (server(), Log::default());
    let slot: Arc<std::sync::OnceLock<Sessions<u32>>> = Arc::default();
    let (noted, table_of) = (log.clone(), Arc::clone(&slot));
    let sessions = table(&server).on_open(move |_key, ctx: WeakContext| {
        let (log, slot) = (noted.clone(), Arc::clone(&table_of));
        let hook = move || async move {
            // From a hook of the old generation it joins, and does not wait for itself.
            let restarted = slot.get().unwrap().restart(&1).await;
            log.note(format!("hook: {restarted:?}"));
        };
        ready(ctx.on_close(hook).map(drop).map_err(|_| "too late"))
    });
    let sessions = sessions.open();
    slot.set(sessions.clone()).unwrap();
    let lease = attach(&sessions, 1).await;
    let (inside, noted) = (sessions.clone(), log.clone());
    lease.context().task("own").spawn(async move {
        let restarted = inside.restart(&1).await;
        noted.note(format!("task: {restarted:?}"));
    });
    settle().await;
    sleep(SECOND).await;
    assert_eq!(log.all(), ["task: Ok(2)", "hook: Ok(2)"]);
    assert_eq!(lease.generation(), 2);
    lease.leave();
    sleep(SECOND).await;
    let last = log.all().pop().unwrap();
    assert!(last.starts_with("hook: Err(Closed"), "{last}");
    drop(in_time(server.close()).await);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_may_be_restarted_and_is_culled_when_its_time_has_come() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let lease = attach(&sessions, 1).await;
    let outer = outer(&lease);
    drop(lease);
    sleep(WINDOW.saturating_sub(secs(2))).await;
    let restart = sessions.restart(&1);
    sleep(secs(3)).await;
    assert_eq!(
        outer.close_reason(),
        Some(CloseReason::Culled),
        "a restart is no touch"
    );
    assert!(matches!(in_time(restart).await, Err(AttachError::Closed)));
}

// Row S13: limits.

#[tokio::test(start_paused = true)]
async fn s13_beyond_the_limit_it_is_refused_and_what_closes_counts() {
    let server = server();
    let sessions = slow_to_close(&server).max(2).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 2).await);
    let full = fails(&sessions, 3).await;
    assert!(matches!(full, AttachError::Full(Limit::Total)), "{full}");
    assert_eq!(
        attach(&sessions, 1).await.arrival(),
        Arrival::Resumed,
        "that is free"
    );
    let outer = outer(&first);
    first.leave();
    drop(second);
    sleep(SECOND).await;
    // The other lease of the first one was dropped before.
    assert_eq!(sessions.counts().idle, 2);
    assert!(sessions.evict(&1, "room"));
    assert!(
        matches!(fails(&sessions, 3).await, AttachError::Full(_)),
        "it closes"
    );
    in_time(outer.closed()).await;
    assert_eq!(attach(&sessions, 3).await.arrival(), Arrival::New);
}

#[tokio::test(start_paused = true)]
async fn s13_those_that_wait_come_first_come_first_served() {
    let server = server();
    let sessions = table(&server)
        .max(1)
        .overflow(Overflow::Wait(secs(10)))
        .open();
    let lease = attach(&sessions, 1).await;
    let waiting: Vec<_> = (2..6)
        .map(|key| Box::pin(sessions.attach(key, OWNER)))
        .collect();
    let mut waiting: Vec<_> = waiting.into_iter().map(Some).collect();
    for attach in waiting.iter_mut().flatten() {
        assert!(poll_once(attach.as_mut()).is_pending());
    }
    assert_eq!((sessions.counts().waiting, sessions.counts().total), (4, 1));
    // One that does not wait any more is not served.
    waiting[0] = None;
    // Another attach to what waits waits with it.
    let mut joins = Box::pin(sessions.attach(3, OWNER));
    assert!(poll_once(joins.as_mut()).is_pending());
    assert_eq!(sessions.counts().waiting, 3);
    lease.leave();
    let third = in_time(waiting[1].take().unwrap()).await.unwrap();
    assert_eq!(in_time(joins).await.unwrap().arrival(), Arrival::Resumed);
    assert!(poll_once(waiting[2].as_mut().unwrap().as_mut()).is_pending());
    assert!(sessions.evict(third.key(), "room"));
    let fourth = in_time(waiting[2].take().unwrap()).await.unwrap();
    assert_eq!(*fourth.key(), 4);
    let late = in_time(waiting[3].take().unwrap()).await;
    assert!(matches!(late, Err(AttachError::TimedOut)));
    let counts = sessions.counts();
    assert_eq!((counts.waiting, counts.total, counts.leases), (0, 1, 1));
}

/// It is dropped in the moment between.
#[tokio::test(start_paused = true)]
async fn s13_a_place_that_was_given_and_not_taken_goes_to_the_next() {
    let server = server();
    let sessions = table(&server)
        .max(1)
        .overflow(Overflow::Wait(secs(10)))
        .open();
    let lease = attach(&sessions, 1).await;
    let mut second = Box::pin(sessions.attach(2, OWNER));
    let mut third = Box::pin(sessions.attach(3, OWNER));
    assert!(poll_once(second.as_mut()).is_pending() && poll_once(third.as_mut()).is_pending());
    let outer = outer(&lease);
    lease.leave();
    in_time(outer.closed()).await;
    assert_eq!(sessions.counts().total, 1, "the second has it");
    drop(second);
    assert_eq!(*in_time(third).await.unwrap().key(), 3);
}

#[tokio::test(start_paused = true)]
async fn s13_an_owner_may_have_so_many() {
    let server = server();
    let sessions = slow_to_close(&server).max_per_owner(1).open();
    let lease = attach(&sessions, 1).await;
    let full = fails(&sessions, 2).await;
    assert!(matches!(full, AttachError::Full(Limit::PerOwner)), "{full}");
    let other = in_time(sessions.attach(3, "other")).await.unwrap();
    assert_eq!(other.arrival(), Arrival::New);
    lease.leave();
    assert!(
        matches!(fails(&sessions, 2).await, AttachError::Full(_)),
        "the first closes"
    );
    sleep(secs(5)).await;
    drop(attach(&sessions, 2).await);
}

#[tokio::test(start_paused = true)]
async fn s13_one_that_waits_for_its_own_sessions_is_in_nobodys_way() {
    let server = server();
    let sessions = table(&server).max(3).max_per_owner(2);
    let sessions = sessions.overflow(Overflow::Wait(secs(100))).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 2).await);
    let mut third = Box::pin(sessions.attach(3, OWNER));
    assert!(poll_once(third.as_mut()).is_pending());
    let other = in_time(sessions.attach(4, "other")).await.unwrap();
    let mut another = Box::pin(sessions.attach(5, "other"));
    assert!(poll_once(another.as_mut()).is_pending());
    // One place becomes free, of all and of the owner: the first one that came has it.
    first.leave();
    assert_eq!(*in_time(third).await.unwrap().key(), 3);
    assert!(poll_once(another.as_mut()).is_pending());
    second.leave();
    assert_eq!(*in_time(another).await.unwrap().key(), 5);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn s13_the_longest_idle_makes_room_and_one_that_is_held_never() {
    let server = server();
    let sessions = slow_to_close(&server)
        .max(3)
        .overflow(Overflow::EvictIdle)
        .open();
    let held = attach(&sessions, 1).await;
    let (second, third) = (attach(&sessions, 2).await, attach(&sessions, 3).await);
    let (second_context, third_context) = (outer(&second), outer(&third));
    drop(third);
    sleep(SECOND).await;
    drop(second);
    let mut fourth = Box::pin(sessions.attach(4, OWNER));
    assert!(poll_once(fourth.as_mut()).is_pending());
    assert_eq!(third_context.close_reason(), Some(CloseReason::Evicted));
    assert_eq!(second_context.state(), State::Open);
    let fourth = in_time(fourth).await.unwrap();
    assert_eq!(third_context.state(), State::Closed, "its end was awaited");
    let fifth = attach(&sessions, 5).await;
    assert_eq!(second_context.state(), State::Closed);
    let full = fails(&sessions, 6).await;
    assert!(
        matches!(full, AttachError::Full(Limit::Total)),
        "all are held"
    );
    assert!(!held.is_lost() && !fourth.is_lost() && !fifth.is_lost());
    // One that closes by itself is waited for, and nothing is evicted for that.
    drop(held);
    fourth.leave();
    let sixth = attach(&sessions, 6).await;
    assert_eq!(state(&sessions, 1), Some(SessionState::Idle));
    drop((fifth, sixth));
}

#[tokio::test(start_paused = true)]
async fn s13_an_owner_makes_room_among_its_own() {
    let server = server();
    let sessions = table(&server)
        .max_per_owner(1)
        .overflow(Overflow::EvictIdle)
        .open();
    let other = in_time(sessions.attach(1, "other")).await.unwrap();
    let others = outer(&other);
    drop(other);
    sleep(SECOND).await;
    let own = attach(&sessions, 2).await;
    assert!(matches!(
        fails(&sessions, 3).await,
        AttachError::Full(Limit::PerOwner)
    ));
    let owns = outer(&own);
    drop(own);
    assert_eq!(*attach(&sessions, 3).await.key(), 3);
    assert_eq!((owns.state(), others.state()), (State::Closed, State::Open));
}

#[tokio::test(start_paused = true)]
async fn s13_so_many_are_idle_at_most() {
    let server = server();
    let sessions = table(&server).max_idle(2).open();
    let leases: Vec<_> = futures::future::join_all((0..4).map(|key| attach(&sessions, key))).await;
    let contexts: Vec<_> = leases.iter().map(outer).collect();
    for lease in leases {
        drop(lease);
        sleep(SECOND).await;
    }
    let states: Vec<_> = contexts.iter().map(WeakContext::state).collect();
    assert_eq!(
        states,
        [State::Closed, State::Closed, State::Open, State::Open]
    );
    assert_eq!(why(&contexts[0]).await, CloseReason::Evicted);
}

#[tokio::test(start_paused = true)]
async fn evict_closes_any_and_shed_the_longest_idle() {
    let server = server();
    let sessions = table(&server).open();
    let held = attach(&sessions, 0).await;
    for key in 1..5 {
        drop(attach(&sessions, key).await);
        sleep(SECOND).await;
    }
    assert_eq!(sessions.shed(2), 2);
    settle().await;
    assert!(sessions.get(&1).is_none() && sessions.get(&2).is_none());
    assert!(sessions.get(&3).is_some());
    assert_eq!((sessions.shed(usize::MAX), sessions.shed(0)), (2, 0));
    assert!(sessions.evict(&0, "by hand") && !sessions.evict(&0, "again"));
    assert!(!sessions.evict(&9, "not there"));
    let lost = in_time(held.lost()).await;
    assert_eq!(lost, Loss::Closed(CloseReason::from("by hand")));
    settle().await;
    assert_eq!(sessions.counts(), SessionCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_too_old_closes_though_it_is_held() {
    let server = server();
    let sessions = table(&server).max_age(secs(100)).open();
    let lease = attach(&sessions, 1).await;
    sleep(secs(99)).await;
    assert!(!lease.is_lost());
    sleep(secs(2)).await;
    assert_eq!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::Expired)
    );
    assert_eq!(attach(&sessions, 1).await.arrival(), Arrival::New);
}

#[tokio::test(start_paused = true)]
async fn a_busy_session_is_not_culled_if_it_is_to_be_kept() {
    let server = server();
    let sessions = table(&server).keep_busy().open();
    let lease = attach(&sessions, 1).await;
    let context = lease.context();
    let (done, wait) = oneshot::channel::<()>();
    let child = context.try_child("job").unwrap();
    child.spawn(async move { wait.await.is_ok() });
    drop(lease);
    sleep(5 * WINDOW).await;
    assert_eq!(context.state(), State::Open);
    done.send(()).unwrap();
    sleep(WINDOW + SECOND).await;
    assert_eq!(why(&context).await.root(), &CloseReason::Culled);
    // Without that it is.
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    let context = lease.context();
    context.task("job").cancellable().spawn(pending::<()>());
    drop(lease);
    sleep(WINDOW + SECOND).await;
    assert_eq!(context.state(), State::Closed);
}

/// It is looked at once a second at most.
#[tokio::test(start_paused = true)]
async fn a_busy_session_with_no_window_is_culled_when_it_is_done() {
    let server = server();
    let sessions = table(&server).idle(Duration::ZERO).keep_busy().open();
    let lease = attach(&sessions, 1).await;
    let context = lease.context();
    context.task("job").spawn(sleep(secs(10)));
    drop(lease);
    sleep(secs(9)).await;
    assert_eq!(context.state(), State::Open);
    sleep(secs(3)).await;
    assert_eq!(context.state(), State::Closed);
}

// What is easily got wrong.

#[tokio::test(start_paused = true)]
async fn the_late_end_of_an_old_connection_does_not_mark_the_new_one_as_gone() {
    let server = server();
    let sessions = table(&server).open();
    let old = in_time(sessions.attach_as(1, OWNER, "page-7"))
        .await
        .unwrap();
    let context = old.context();
    let told = old.lost();
    // The network changed: the client is back before the server knows that the old socket is dead.
    let new = in_time(sessions.attach_as(1, OWNER, "page-7"))
        .await
        .unwrap();
    assert_eq!(in_time(told).await, Loss::TakenOver);
    assert_eq!(
        (old.is_lost(), new.is_lost(), sessions.counts().leases),
        (true, false, 1)
    );
    drop(old);
    sleep(2 * WINDOW).await;
    assert_eq!((context.state(), sessions.counts().held), (State::Open, 1));
    // Nor is the old one waited for.
    new.leave();
    assert_eq!(context.state(), State::Closing);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_that_leaves_does_not_close_the_new_ones_session() {
    let server = server();
    let sessions = table(&server).open();
    let old = in_time(sessions.attach_as(1, OWNER, "page-7"))
        .await
        .unwrap();
    let new = in_time(sessions.attach_as(1, OWNER, "page-7"))
        .await
        .unwrap();
    old.touch();
    old.heartbeat(Duration::ZERO);
    old.leave();
    assert_eq!((new.is_lost(), sessions.counts().held), (false, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_session_that_is_gone_changes_nothing() {
    let server = server();
    let sessions = table(&server).open();
    let (stays, leaves) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let outer = outer(&stays);
    assert!(sessions.evict(&1, CloseReason::Evicted));
    in_time(outer.closed()).await;
    let new = attach(&sessions, 1).await;
    leaves.touch();
    leaves.heartbeat(Duration::ZERO);
    leaves.leave();
    drop(stays);
    assert_eq!((new.is_lost(), sessions.counts().leases), (false, 1));
    assert_eq!(state(&sessions, 1), Some(SessionState::Held));
}

#[tokio::test(start_paused = true)]
async fn a_second_device_of_the_same_owner_shares_the_session() {
    let server = server();
    let sessions = table(&server).open();
    let phone = in_time(sessions.attach_as(1, OWNER, "phone"))
        .await
        .unwrap();
    let laptop = in_time(sessions.attach_as(1, OWNER, "laptop"))
        .await
        .unwrap();
    assert_eq!(phone.context().id(), laptop.context().id());
    assert!(!phone.is_lost());
    drop(phone);
    sleep(2 * WINDOW).await;
    assert!(!laptop.is_lost());
    assert_eq!(sessions.counts().held, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_while_another_is_lost_closes_the_session_once() {
    let server = server();
    let hooks = Log::default();
    let noted = hooks.clone();
    let sessions = table(&server)
        .idle(Duration::ZERO)
        .on_open(move |_key, ctx: WeakContext| {
            let log = noted.clone();
            let hook = move || async move { log.note("closed") };
            ready(ctx.on_close(hook).map(drop).map_err(|_| "too late"))
        });
    let sessions = sessions.open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let outer = outer(&first);
    drop(first);
    second.leave();
    assert!(!sessions.evict(&1, "again"));
    in_time(outer.closed()).await;
    settle().await;
    assert_eq!(
        (hooks.all().len(), sessions.counts()),
        (1, SessionCounts::default())
    );
}

/// One step: an attach comes before the decision, and cancels it, or after it, and finds a session that closes. The moment between is
/// in the loom model of it.
#[tokio::test(start_paused = true)]
async fn a_reconnect_at_the_moment_of_the_cull_is_before_it_or_after_it() {
    let server = server();
    let sessions = slow_to_close(&server).open();
    let lease = attach(&sessions, 1).await;
    let old = outer(&lease);
    drop(lease);
    settle().await;
    advance(WINDOW.saturating_sub(Duration::from_millis(1))).await;
    let lease = attach(&sessions, 1).await;
    assert_eq!(
        (lease.arrival(), old.state()),
        (Arrival::Resumed, State::Open)
    );
    drop(lease);
    sleep(WINDOW + SECOND).await;
    assert_eq!(
        (old.state(), sessions.counts().closing),
        (State::Closing, 1)
    );
    let lease = attach(&sessions, 1).await;
    assert_eq!(
        (lease.arrival(), old.state()),
        (Arrival::New, State::Closed)
    );
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_keeps_nothing_alive() {
    let kept = crate::util::Counter::default();
    let (guard, given) = (kept.guard(), kept.clone());
    let sessions = headcount::testing::check(async move |registry| {
        let server = registry.context("server");
        let guard = Arc::new(guard);
        let sessions = table(&server).on_open(move |_key, _ctx| {
            let _held = &guard;
            ready(Ok::<_, &str>(()))
        });
        let sessions = sessions.open();
        drop(attach(&sessions, 1).await);
        settle().await;
        // The timer sleeps until the window is over, and what it was to do is cancelled.
        let lease = attach(&sessions, 1).await;
        assert_eq!(given.alive(), 1);
        in_time(server.close()).await;
        drop(lease);
        sessions
    })
    .await;
    // Nor does a handle that is kept.
    assert_eq!(
        (kept.alive(), sessions.counts()),
        (0, SessionCounts::default())
    );
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_session_that_is_mounted_and_unmounted_does_not_grow() {
    let mut live = None;
    let check = headcount::testing::assert_no_growth(10, async |registry| {
        if live.is_none() {
            let server = registry.context("server");
            let sessions = table(&server).open();
            let lease = attach(&sessions, 1).await;
            live = Some((server, sessions, lease));
        }
        let (_, sessions, _) = live.as_ref().unwrap();
        let page = attach(sessions, 1).await;
        let view = page.context().try_child("view").unwrap();
        view.spawn(async { Context::current().unwrap().cancelled().await });
        in_time(view.close()).await;
        drop((view, page));
        in_time(sessions.restart(&1)).await.unwrap();
    });
    in_time(check).await;
    assert_eq!(live.unwrap().2.generation(), 11);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_no_leak() {
    let registry = Registry::new();
    let server = registry.context("server");
    let sessions = table(&server).idle(Duration::MAX).open();
    drop(attach(&sessions, 1).await);
    sleep(secs(1_000_000)).await;
    let report = registry.leaks(&LeakPolicy::new()).await;
    assert!(report.findings().is_empty(), "{report}");
    drop(sessions);
    let report = registry.leaks(&LeakPolicy::new()).await;
    assert!(report.findings().is_empty(), "{report}");
    assert_eq!(
        server.children().len(),
        1,
        "no handle of the table is needed"
    );
    in_time(server.close()).await;
    drop(server);
    assert!(registry.is_empty(), "{}", registry.live_now());
}

#[tokio::test(start_paused = true)]
async fn sessions_in_each_state_end_with_their_server_by_its_deadline() {
    let server = server();
    let sessions = table(&server).max(5).overflow(Overflow::Wait(secs(100)));
    let sessions = sessions.on_open(|key, ctx: WeakContext| async move {
        if key == 2 {
            sleep(secs(1_000)).await;
        }
        ctx.on_close(|| sleep(secs(2)))
            .map(drop)
            .map_err(|_| "too late")
    });
    let sessions = sessions.open();
    let held = attach(&sessions, 1).await;
    let mut opening = Box::pin(sessions.attach(2, OWNER));
    assert!(poll_once(opening.as_mut()).is_pending());
    drop(attach(&sessions, 3).await);
    let restarting = attach(&sessions, 4).await;
    let restart = sessions.restart(&4);
    attach(&sessions, 5).await.leave();
    let mut waiting = Box::pin(sessions.attach(6, OWNER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    settle().await;
    let counts = sessions.counts();
    let all = [
        counts.held,
        counts.opening,
        counts.idle,
        counts.restarting,
        counts.closing,
        counts.waiting,
    ];
    assert_eq!((all, counts.total), ([1; 6], 5));
    let report = in_time(server.close_by(secs(10))).await.unwrap();
    assert!(report.duration() <= secs(10), "{report}");
    assert!(matches!(
        in_time(held.lost()).await,
        Loss::Closed(CloseReason::Parent(_))
    ));
    assert!(matches!(in_time(restarting.lost()).await, Loss::Closed(_)));
    for refused in [in_time(opening).await, in_time(waiting).await] {
        assert!(matches!(refused, Err(AttachError::Closed)), "{refused:?}");
    }
    assert!(matches!(in_time(restart).await, Err(AttachError::Closed)));
    assert_eq!(sessions.counts(), SessionCounts::default());
    assert!(matches!(fails(&sessions, 1).await, AttachError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_other_code_closes_is_one_that_closes() {
    let server = server();
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    let outer = outer(&lease);
    outer.request_close("by hand");
    assert_eq!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::from("by hand"))
    );
    assert_eq!(attach(&sessions, 1).await.arrival(), Arrival::New);
    // The same with its generation: the session closes with it.
    let lease = attach(&sessions, 1).await;
    lease.context().request_close("by hand");
    assert_eq!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::from("by hand"))
    );
    let lease = attach(&sessions, 1).await;
    assert_eq!(lease.arrival(), Arrival::New);
    // And by the policy of a failure.
    let registry = Registry::new();
    let strict = registry
        .context_builder("strict")
        .on_failure(headcount::OnFailure::Close)
        .open();
    let sessions = table(&strict).open();
    let lease = attach(&sessions, 1).await;
    lease
        .context()
        .task("fails")
        .fallible()
        .spawn(ready(Err::<(), _>("no")));
    assert!(matches!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::Parent(_))
    ));
    assert!(matches!(fails(&sessions, 1).await, AttachError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_table_needs_no_handle_and_closes_with_its_context_alone() {
    let server = server();
    let sessions = table(&server).open();
    let (context, lease) = (sessions.context(), attach(&sessions, 1).await);
    drop(sessions.clone());
    drop(sessions);
    settle().await;
    assert_eq!((context.state(), lease.is_lost()), (State::Open, false));
    let session = outer(&lease);
    drop(lease);
    sleep(WINDOW + SECOND).await;
    assert_eq!(
        why(&session).await,
        CloseReason::Culled,
        "its timer goes on"
    );
    drop(server);
    settle().await;
    assert_eq!(context.state(), State::Closed);
}

// Heartbeats, and what a lease says.

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_half_open_is_lost_when_its_heartbeat_is_late() {
    let server = server();
    let sessions = table(&server).open();
    let lease = in_time(sessions.attach_as(1, OWNER, "phone"))
        .await
        .unwrap();
    let outer = outer(&lease);
    lease.heartbeat(secs(10));
    for _ in 0..5 {
        sleep(secs(9)).await;
        lease.heartbeat(secs(10));
        sleep(secs(9)).await;
        lease.touch();
    }
    assert!(!lease.is_lost());
    sleep(secs(11)).await;
    assert_eq!(in_time(lease.lost()).await, Loss::Silent);
    assert_eq!(state(&sessions, 1), Some(SessionState::Idle));
    sleep(WINDOW.saturating_sub(secs(5))).await;
    // It was late and no more than that: its client is still there.
    lease.touch();
    sleep(WINDOW.saturating_sub(secs(5))).await;
    assert_eq!(outer.state(), State::Open);
    drop(lease);
    sleep(secs(6)).await;
    assert_eq!(
        outer.state(),
        State::Closed,
        "the drop of a lost one is no loss"
    );
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_can_be_ended_and_can_be_at_once() {
    let server = server();
    let sessions = table(&server).open();
    let (first, second) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    first.heartbeat(secs(10));
    first.heartbeat(Duration::MAX);
    sleep(secs(1_000)).await;
    assert!(!first.is_lost());
    second.heartbeat(Duration::ZERO);
    assert_eq!((first.is_lost(), second.is_lost()), (false, true));
    // What waits for the loss of a lease that is dropped does not hang.
    let lost = first.lost();
    drop(first);
    assert_eq!(in_time(lost).await, Loss::Dropped);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_as_what_they_are() {
    let registry = Registry::new();
    let server = registry.context("server");
    let sessions = table(&server).on_open(async |key, _ctx| {
        sleep(secs(if key == 1 { 0 } else { 5 })).await;
        Ok::<_, &str>(())
    });
    let sessions = sessions.open();
    let (lease, other) = (attach(&sessions, 1).await, attach(&sessions, 1).await);
    let detail = || {
        let live = registry.live_now();
        assert_eq!(live.kind("sessions").len(), 1);
        live.find("page-1").unwrap().detail()
    };
    let live = registry.live_now();
    let listed = live.find("page-1").unwrap();
    assert_eq!(
        (listed.kind(), listed.path().as_str()),
        ("session", "server/table/page-1")
    );
    assert!(
        listed.location().file().ends_with("sessions.rs"),
        "{}",
        listed.location()
    );
    assert_eq!(live.find("generation 1").unwrap().kind(), "generation");
    assert!(
        live.to_string()
            .contains("page-1  session · open · held by 2 · "),
        "{live}"
    );
    drop((lease, other));
    sleep(secs(3)).await;
    assert_eq!(detail().unwrap(), "idle for 3.0s, culled in 27.0s");
    let mut opening = Box::pin(sessions.attach(2, OWNER));
    assert!(poll_once(opening.as_mut()).is_pending());
    let live = registry.live_now();
    assert_eq!(live.find("page-2").unwrap().detail().unwrap(), "opening");
    assert_eq!(
        live.find("open").unwrap().path(),
        "server/table/page-2/generation 1/open"
    );
    drop(in_time(opening).await);
    drop(sessions.restart(&2));
    settle().await;
    let live = registry.live_now();
    assert_eq!(live.find("page-2").unwrap().detail().unwrap(), "restarting");
    let forever = table(&server)
        .idle(Duration::MAX)
        .label(|_| "forever")
        .open();
    drop(attach(&forever, 1).await);
    let live = registry.live_now();
    assert_eq!(
        live.find("forever").unwrap().detail().unwrap(),
        "idle for 0ms"
    );
    assert_eq!(live.find("server").unwrap().detail(), None);
    in_time(server.close()).await;
}

// Bad input.

#[tokio::test(start_paused = true)]
async fn no_window_culls_at_once_and_an_endless_one_never() {
    let server = server();
    let sessions = table(&server).idle(Duration::ZERO).open();
    let lease = attach(&sessions, 1).await;
    let context = outer(&lease);
    drop(lease);
    assert_eq!(context.close_reason(), Some(CloseReason::Culled));
    let sessions = table(&server)
        .idle(Duration::MAX)
        .max_age(Duration::MAX)
        .open();
    let lease = attach(&sessions, 1).await;
    lease.heartbeat(Duration::MAX);
    drop(lease);
    sleep(secs(60 * 60 * 24 * 365)).await;
    assert_eq!(sessions.counts().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn limits_of_zero_let_nobody_in() {
    let server = server();
    let none = table(&server).max(0).open();
    assert!(matches!(
        fails(&none, 1).await,
        AttachError::Full(Limit::Total)
    ));
    let none = table(&server).max_per_owner(0).open();
    assert!(matches!(
        fails(&none, 1).await,
        AttachError::Full(Limit::PerOwner)
    ));
    let none = table(&server).max(0).overflow(Overflow::EvictIdle).open();
    assert!(matches!(fails(&none, 1).await, AttachError::Full(_)));
    for limit in [Duration::ZERO, SECOND] {
        let waits = table(&server).max(0).overflow(Overflow::Wait(limit)).open();
        assert!(matches!(fails(&waits, 1).await, AttachError::TimedOut));
        assert_eq!(waits.counts(), SessionCounts::default());
    }
    let idle = table(&server).max_idle(0).open();
    let lease = attach(&idle, 1).await;
    let context = outer(&lease);
    drop(lease);
    assert_eq!(why(&context).await, CloseReason::Evicted);
    let old = table(&server).max_age(Duration::ZERO).open();
    let lease = attach(&old, 1).await;
    assert_eq!(
        in_time(lease.lost()).await,
        Loss::Closed(CloseReason::Expired)
    );
    // Where its init takes longer than that, there is an answer.
    let old = slow_to_open(&server).max_age(Duration::ZERO).open();
    assert!(matches!(fails(&old, 1).await, AttachError::Closed));
    let endless = table(&server)
        .max(usize::MAX)
        .overflow(Overflow::Wait(Duration::MAX))
        .open();
    drop(attach(&endless, 1).await);
    in_time(server.close()).await;
}

fn slow_to_open(server: &Context) -> SessionsBuilder<'_, u32> {
    table(server).on_open(async |_key, _ctx| {
        sleep(SECOND).await;
        Ok::<_, &str>(())
    })
}

/// A key whose `Hash` or `Eq` panics when it is told to.
#[derive(Clone)]
struct Bad(u32, Arc<(AtomicBool, AtomicBool)>);

impl Hash for Bad {
    fn hash<H: Hasher>(&self, state: &mut H) {
        assert!(!self.1.0.load(SeqCst), "the hash panics");
        self.0.hash(state);
    }
}

impl PartialEq for Bad {
    fn eq(&self, other: &Self) -> bool {
        assert!(!self.1.1.load(SeqCst), "the comparison panics");
        self.0 == other.0
    }
}

impl Eq for Bad {}

#[tokio::test(start_paused = true)]
async fn a_key_that_panics_changes_nothing() {
    use futures::FutureExt;
    let server = server();
    let sessions = server.sessions::<Bad>("table").idle(WINDOW).open();
    let switch = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    let key = |n| Bad(n, Arc::clone(&switch));
    let leases: Vec<_> = (0..100).map(|n| sessions.attach(key(n), OWNER)).collect();
    let mut leases = in_time(futures::future::try_join_all(leases))
        .await
        .unwrap();
    for (hash, eq) in [(true, false), (false, true)] {
        switch.0.store(hash, SeqCst);
        switch.1.store(eq, SeqCst);
        let attach = std::panic::AssertUnwindSafe(async { sessions.attach(key(1), OWNER).await });
        assert!(attach.catch_unwind().await.is_err());
        let other = key(2);
        let evicts = std::panic::AssertUnwindSafe(|| sessions.evict(&other, "no"));
        assert!(std::panic::catch_unwind(evicts).is_err());
        assert_eq!(
            (sessions.counts().held, sessions.counts().leases),
            (100, 100)
        );
        // What is there can go: neither is asked for that.
        let lease = leases.pop().unwrap();
        drop(leases.pop().unwrap());
        let last = lease.key().0;
        lease.leave();
        sleep(WINDOW + SECOND).await;
        assert_eq!(sessions.counts().total, last as usize - 1);
        switch.0.store(false, SeqCst);
        switch.1.store(false, SeqCst);
        // There are as many as before.
        for n in last - 1..=last {
            leases.push(in_time(sessions.attach(key(n), OWNER)).await.unwrap());
        }
    }
    assert_eq!(sessions.counts().held, 100);
    in_time(server.close()).await;
}

#[tokio::test(start_paused = true)]
async fn labels_may_be_long_and_may_panic() {
    let server = server();
    let long = table(&server).label(|_| "x".repeat(1 << 20)).open();
    let lease = attach(&long, 1).await;
    assert_eq!(
        lease
            .context()
            .upgrade()
            .unwrap()
            .parent()
            .unwrap()
            .name()
            .len(),
        1 << 20
    );
    let panics = server.sessions::<u32>("table").label(|key| {
        assert!(*key != 1, "no label");
        "fine"
    });
    let panics = panics.open();
    let all = futures::future::join_all((0..3).map(|_| panics.attach(1, OWNER)));
    for failed in in_time(all).await {
        assert!(matches!(failed, Err(AttachError::Panicked(message)) if message == "no label"));
    }
    assert_eq!(panics.counts(), SessionCounts::default());
    drop(attach(&panics, 2).await);
}

#[tokio::test(start_paused = true)]
async fn a_table_of_a_closed_context_refuses() {
    let registry = Registry::new();
    let server = registry.context("server");
    let before = table(&server).open();
    let lease = attach(&before, 1).await;
    in_time(registry.close()).await;
    let after = table(&server).open();
    for sessions in [before, after] {
        assert!(matches!(fails(&sessions, 1).await, AttachError::Closed));
        let resumed = in_time(sessions.resume(&1, OWNER)).await;
        assert!(matches!(resumed, Err(AttachError::Closed)));
        let restarted = in_time(sessions.restart(&1)).await;
        assert!(matches!(restarted, Err(AttachError::Closed)));
        assert!(!sessions.evict(&1, "no") && !sessions.touch(&1) && sessions.get(&1).is_none());
        assert_eq!(
            (sessions.shed(9), sessions.counts()),
            (0, SessionCounts::default())
        );
        assert_eq!(sessions.context().state(), State::Closed);
    }
    assert_eq!(lease.context().state(), State::Closed);
    drop(lease);
}

#[test]
fn a_lease_may_outlive_its_runtime_and_its_registry() {
    let (lease, other, weak) = {
        let runtime = current_thread();
        let registry = Registry::new();
        let both = runtime.block_on(async {
            let server = registry.context_builder("server").closes_by_drop().open();
            let sessions = table(&server).open();
            let lease = attach(&sessions, 1).await;
            (
                lease,
                attach(&sessions, 2).await,
                server.downgrade(),
                server,
            )
        });
        drop(runtime);
        let (lease, other, weak, server) = both;
        assert!(!lease.is_lost());
        drop(server);
        drop(registry);
        (lease, other, weak)
    };
    assert_eq!(
        weak.state(),
        State::Closed,
        "without a runtime nothing holds it up"
    );
    lease.touch();
    lease.heartbeat(SECOND);
    assert!(lease.is_lost());
    assert_eq!(lease.context().state(), State::Closed);
    lease.leave();
    drop(other);
}

/// The timer was on the runtime that has ended; the next change brings another one.
#[test]
fn a_timer_that_lost_its_runtime_is_started_again() {
    let (server, first) = (server(), current_thread());
    let (sessions, context) = first.block_on(async {
        let sessions = table(&server).idle(Duration::from_millis(20)).open();
        let lease = attach(&sessions, 1).await;
        (sessions, outer(&lease))
    });
    // The loss on a plain thread starts the timer on the runtime of the table.
    drop(first);
    let second = current_thread();
    second.block_on(async {
        assert_eq!(context.state(), State::Open);
        drop(attach(&sessions, 1).await);
        assert_eq!(why(&context).await, CloseReason::Culled);
        in_time(server.close()).await;
    });
}

#[test]
fn attaching_without_a_runtime_has_an_answer() {
    within(secs(30), || {
        let server = server();
        let sessions = slow_to_open(&server).open();
        let failed = futures::executor::block_on(sessions.attach(1, OWNER));
        assert!(matches!(failed, Err(AttachError::Init(_))), "{failed:?}");
        // Without an init it needs none.
        let plain = table(&server).open();
        let lease = futures::executor::block_on(plain.attach(1, OWNER)).unwrap();
        drop(lease);
        assert_eq!(plain.counts().idle, 1);
    });
}

/// The caller belongs to what it would wait for (I10).
#[tokio::test(start_paused = true)]
async fn attaching_from_inside_to_a_session_that_closes_is_refused() {
    let server = server();
    let sessions = table(&server).open();
    let lease = attach(&sessions, 1).await;
    let (inside, context) = (sessions.clone(), lease.context());
    let task = context.spawn(async move {
        Context::current().unwrap().cancelled().await;
        inside.attach(1, OWNER).await.map(drop)
    });
    settle().await;
    lease.leave();
    assert!(matches!(
        in_time(task).await.unwrap(),
        Err(AttachError::Closed)
    ));
}

/// I9: what a key's or an error's destructor does, it does without the lock.
#[tokio::test(start_paused = true)]
async fn destructors_may_use_the_table() {
    #[derive(Clone)]
    struct Key(
        u32,
        #[expect(dead_code, reason = "it is dropped")] Arc<OnDrop<Box<dyn FnOnce() + Send + Sync>>>,
    );
    impl PartialEq for Key {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Key {}
    impl Hash for Key {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    let (server, dropped) = (server(), Arc::new(AtomicUsize::new(0)));
    let sessions = server.sessions::<Key>("table").idle(Duration::ZERO).open();
    let (uses, counts) = (sessions.clone(), Arc::clone(&dropped));
    let on_drop: Box<dyn FnOnce() + Send + Sync> = Box::new(move || {
        assert_eq!(uses.counts().total, 0);
        counts.fetch_add(1, SeqCst);
        panic!("on purpose");
    });
    let key = Key(1, Arc::new(OnDrop::new(on_drop)));
    let lease = in_time(sessions.attach(key, OWNER)).await.unwrap();
    let context = lease.context();
    drop(lease);
    in_time(context.closed()).await;
    settle().await;
    assert_eq!((sessions.counts().total, dropped.load(SeqCst)), (0, 1));
    in_time(server.close()).await;
}

#[test]
fn nothing_is_said_of_sessions_that_come_and_go() {
    let lines = said_on(&crate::util::paused(), || async {
        let server = server();
        let sessions = slow_to_open(&server).open();
        drop(attach(&sessions, 1).await);
        sleep(WINDOW + SECOND).await;
        let lease = attach(&sessions, 1).await;
        in_time(sessions.restart(&1)).await.unwrap();
        lease.leave();
        drop(attach(&sessions, 2).await);
        assert!(in_time(server.close()).await.is_clean());
    });
    assert!(lines.is_empty(), "{lines:#?}");
}

// Row S11: the environment.

/// Run by the test below, in a process of its own.
#[tokio::test(start_paused = true)]
#[ignore = "needs an environment of its own"]
async fn child_with_an_environment() {
    let server = server();
    match table(&server).from_env() {
        Err(error) => println!("«{}»«{}»«{error}»", error.variable(), error.value()),
        Ok(builder) => println!("«{builder:?}»"),
    }
}

#[test]
fn s11_the_environment_sets_window_and_limit_and_names_a_bad_value() {
    let told = |vars: &[(&str, &str)]| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "sessions::child_with_an_environment";
        child.args(["--exact", name, "--ignored", "--nocapture"]);
        child
            .env_remove("HEADCOUNT_CULL_TIMEOUT")
            .env_remove("HEADCOUNT_MAX_SESSIONS");
        let output = child.envs(vars.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains('«'), "{said}");
        said
    };
    let timeout = "HEADCOUNT_CULL_TIMEOUT";
    for (value, window) in [
        ("24h", "idle: 86400s"),
        ("90s", "idle: 90s"),
        ("90", "idle: 90s"),
        (" 1h 30m ", "idle: 5400s"),
        ("0", "idle: 0ns"),
    ] {
        let said = told(&[(timeout, value)]);
        assert!(said.contains(window), "{value}: {said}");
    }
    let said = told(&[("HEADCOUNT_MAX_SESSIONS", "400")]);
    assert!(
        said.contains("max: 400,") && said.contains("idle: 30s"),
        "{said}"
    );
    for (name, value) in [
        (timeout, "soon"),
        (timeout, ""),
        (timeout, "-1"),
        (timeout, "5 parsecs"),
        ("HEADCOUNT_MAX_SESSIONS", "many"),
        ("HEADCOUNT_MAX_SESSIONS", "-1"),
    ] {
        let said = told(&[(name, value)]);
        assert!(
            said.contains(&format!("«{name}»«{value}»«{name} is \"{value}\": ")),
            "{said}"
        );
    }
}

// The model: see its file.

#[tokio::test(start_paused = true)]
async fn sessions_do_what_the_model_does() {
    model::run(0x5eed, 8_000, Limits::None).await;
    model::run(0xcafe, 4_000, Limits::Reject(20)).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_wait_for_room_keep_what_the_model_promises() {
    model::run(0xbee5, 4_000, Limits::EvictIdle(20)).await;
    model::run(0xf00d, 4_000, Limits::Wait(20)).await;
}
