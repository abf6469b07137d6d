//! `Registry::events`: what happens, in order, without a gap, and held up by none who listens.

use crate::util::{TIME_LIMIT, in_time, multi_thread, paused};
use headcount::{
    AbortHandle, CloseReason, Registry, ResourceId,
    events::{Events, Lost, TaskOutcome, What},
};
use std::{
    collections::HashSet,
    future::pending,
    panic::panic_any,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

/// What is there by now, in words.
fn said(events: &mut Events) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(event) = events.try_next() {
        let event = event.expect("it keeps up");
        said.push(format!("{}: {}", event.name(), event.what().name()));
    }
    said
}

#[tokio::test]
async fn a_life_is_told_in_order() {
    let registry = Registry::new();
    let mut events = registry.events();
    let parent = registry.context("parent");
    let child = parent.child("child");
    drop(child.on_close(|| async { Err::<(), _>("disk full") }));
    child.task("work").spawn(async {}).await.unwrap();
    drop(child);
    in_time(parent.close()).await;
    drop(parent);
    in_time(registry.close()).await;

    let mut all = Vec::new();
    while let Some(event) = in_time(events.next()).await {
        all.push(event.expect("it keeps up"));
    }
    let numbers: Vec<_> = all.iter().map(|event| event.seq()).collect();
    let first = events.since() + 1;
    assert_eq!(
        numbers,
        (first..first + all.len() as u64).collect::<Vec<_>>()
    );
    let said: Vec<_> = all
        .iter()
        .map(|event| format!("{}: {}", event.name(), event.what()))
        .collect();
    let reasons = ["child: closing (its last handle was dropped)"];
    assert!(
        said.iter().any(|said| reasons.contains(&said.as_str())),
        "{said:#?}"
    );
    let words: Vec<_> = all
        .iter()
        .map(|event| format!("{}: {}", event.name(), event.what().name()))
        .collect();
    assert_eq!(
        words,
        [
            "parent: opened",
            "child: opened",
            "work: spawned",
            "work: ended",
            "child: closing",
            "parent: closing",
            "child: failed",
            "child: hook_ended",
            "child: closed",
            "child: gone",
            "parent: closed",
            "parent: gone",
            "registry: closing",
            "registry: closed",
        ]
    );
    assert!(events.try_next().is_none() && events.next().await.is_none());
}

#[tokio::test]
async fn each_outcome_is_told() {
    let registry = Registry::new();
    let mut events = registry.events();
    let ctx = registry.context_builder("ctx").grace(Duration::ZERO).open();
    let finished = ctx.spawn(async {});
    let panicked = ctx.spawn(async { panic!("on purpose") });
    let aborted = ctx.spawn(pending::<()>());
    let cancelled = ctx.task("cancelled").cancellable().spawn(pending::<()>());
    let forced = ctx.spawn(pending::<()>());
    let ids = [
        &finished.id(),
        &panicked.id(),
        &aborted.id(),
        &cancelled.id(),
        &forced.id(),
    ]
    .map(|id| *id);
    tokio::task::yield_now().await;
    aborted.abort();
    in_time(ctx.close()).await;
    let mut outcomes = [None; 5];
    while let Some(Ok(event)) = events.try_next() {
        if let What::Ended(outcome) = event.what() {
            let which = ids.iter().position(|id| *id == event.id()).unwrap();
            assert_eq!(event.parent(), Some(ctx.id()));
            assert!(outcomes[which].replace(*outcome).is_none());
        }
    }
    use TaskOutcome::{Aborted, Cancelled, Finished, Forced, Panicked};
    assert_eq!(
        outcomes,
        [Finished, Panicked, Aborted, Cancelled, Forced].map(Some)
    );
}

#[tokio::test]
async fn a_refused_task_is_told() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    in_time(ctx.close()).await;
    let mut events = registry.events();
    drop(ctx.task("late").spawn(async {}));
    drop(ctx.try_spawn(async {}));
    let event = events.try_next().unwrap().unwrap();
    assert!(matches!(event.what(), What::Refused(_)), "{event:?}");
    assert_eq!((event.name(), event.parent()), ("late", Some(ctx.id())));
    assert_eq!(event.id().to_string(), "#refused");
    assert!(event.location().file().ends_with("event_stream.rs"));
    assert!(
        events.try_next().is_none(),
        "what is handed back is not refused"
    );
}

/// What was closed from the start is told like any other.
#[tokio::test]
async fn a_child_of_a_closed_context_is_told() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    in_time(ctx.close()).await;
    let mut events = registry.events();
    drop(ctx.child("late"));
    assert_eq!(
        said(&mut events),
        [
            "late: opened",
            "late: closing",
            "late: closed",
            "late: gone"
        ]
    );
}

#[tokio::test]
async fn a_subscriber_that_is_too_far_behind_is_told_how_many_it_lost() {
    let registry = Registry::new();
    let (mut slow, mut fast) = (registry.events(), registry.events());
    let mut seen = 0;
    for n in 0..10_000 {
        let door = registry.context(format!("{n}"));
        in_time(door.close()).await;
        drop(door);
        while let Some(event) = fast.try_next() {
            assert!(event.is_ok());
            seen += 1;
        }
    }
    assert_eq!(seen, 40_000);
    let lost = slow.try_next().unwrap().unwrap_err();
    assert_eq!(lost, Lost(40_000 - 4_096));
    let next = slow.try_next().unwrap().unwrap();
    assert_eq!(next.seq(), slow.since() + lost.0 + 1);
    let mut rest = 1;
    while let Some(event) = slow.try_next() {
        assert!(event.is_ok());
        rest += 1;
    }
    assert_eq!(rest, 4_096);
}

/// I5: neither the registry, nor a context, nor what they own.
#[tokio::test]
async fn a_subscriber_keeps_nothing_alive() {
    let registry = Registry::new();
    let mut events = registry.events();
    let value = Arc::new(());
    let ctx = registry.context("ctx");
    let held = ctx.own("value", "value", Arc::clone(&value)).unwrap();
    drop(held);
    let weak = ctx.downgrade();
    drop((ctx, registry));
    in_time(weak.closed()).await;
    drop(weak);
    assert_eq!(Arc::strong_count(&value), 1);
    let mut last = None;
    while let Some(event) = in_time(events.next()).await {
        last = Some(event.unwrap());
    }
    assert_eq!(last.unwrap().what().name(), "gone");
}

#[tokio::test]
async fn a_stream_of_a_registry_that_has_closed_is_over() {
    let registry = Registry::new();
    in_time(registry.close()).await;
    assert!(in_time(registry.events().next()).await.is_none());
}

/// A waker that panics.
struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        panic_any("a waker");
    }
}

struct Notes(AtomicBool);

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// I9: neither what happens, nor the other subscribers.
#[tokio::test]
async fn a_waker_that_panics_concerns_nothing_else() {
    let registry = Registry::new();
    let panics = Arc::new(Panics(AtomicUsize::new(0)));
    let notes = Arc::new(Notes(AtomicBool::new(false)));
    let (mut first, mut second) = (registry.events(), registry.events());
    let poll = |events: &mut Events, waker: &Waker| {
        let next = futures::Stream::poll_next(Pin::new(events), &mut Context::from_waker(waker));
        assert!(next.is_pending());
    };
    let ctx = registry.context("ctx");
    for round in 1..=3 {
        said(&mut first);
        said(&mut second);
        poll(&mut first, &Arc::clone(&panics).into());
        poll(&mut second, &Arc::clone(&notes).into());
        match round {
            1 => drop(ctx.spawn(async {})),
            2 => drop(ctx.child("child")),
            _ => drop(in_time(ctx.close()).await),
        }
        assert_eq!(panics.0.load(SeqCst), round);
        assert!(notes.0.swap(false, SeqCst), "{round}");
    }
    assert!(in_time(ctx.close()).await.is_clean());
}

/// A waker that does what it must not be able to spoil.
struct Closes(Registry);

impl Wake for Closes {
    fn wake(self: Arc<Self>) {
        drop(self.0.live_now());
        drop(self.0.context("of a waker"));
        drop(self.0.events());
        self.0.request_close("a waker");
    }
}

/// I9: it is called under no lock, so it may come back in.
#[test]
fn a_waker_may_do_anything() {
    paused().block_on(async {
        let registry = Registry::new();
        let mut events = registry.events();
        let waker = Arc::new(Closes(registry.clone())).into();
        let next =
            futures::Stream::poll_next(Pin::new(&mut events), &mut Context::from_waker(&waker));
        assert!(next.is_pending());
        let _ctx = registry.context("ctx");
        let report = in_time(registry.closed()).await;
        assert_eq!(report.reason(), &CloseReason::from("a waker"));
    });
}

/// What is alive, by a listing and the events after it.
struct Followed {
    events: Events,
    alive: HashSet<ResourceId>,
    /// The number of the listing.
    seq: u64,
}

impl Followed {
    async fn new(registry: &Registry) -> Self {
        let events = registry.events();
        let live = registry.live().await;
        assert!(live.seq() >= events.since());
        let alive = live.iter().map(|thing| thing.id()).collect();
        let seq = live.seq();
        Self { events, alive, seq }
    }

    /// Applies what has happened. False if something was lost.
    fn catch_up(&mut self) -> bool {
        while let Some(event) = self.events.try_next() {
            let Ok(event) = event else { return false };
            if event.seq() <= self.seq {
                continue;
            }
            match event.what() {
                What::Opened | What::Spawned | What::BackingOff => {
                    self.alive.insert(event.id());
                }
                What::Ended(_) | What::Gone => {
                    self.alive.remove(&event.id());
                }
                _ => {}
            }
        }
        true
    }
}

/// Opens contexts and starts tasks, and ends most of them. Returns what is left.
async fn busy(registry: Registry, turns: usize) -> (headcount::Context, Vec<AbortHandle>) {
    let ctx = registry.context("busy");
    let mut kept = Vec::new();
    for turn in 0..turns {
        let child = ctx.child("child");
        drop(child.spawn(async {}));
        drop(child.spawn(tokio::task::yield_now()));
        kept.push(ctx.spawn(pending::<()>()).abort_handle());
        if kept.len() > 5 {
            kept.swap_remove(turn % 5).abort();
        }
        drop(child);
        tokio::task::yield_now().await;
    }
    (ctx, kept)
}

/// No gap, whatever threads do meanwhile, and whenever the first subscriber comes.
#[test]
fn a_listing_and_the_events_after_it_leave_no_gap() {
    let rounds = 200;
    multi_thread(3).block_on(async {
        for round in 0..rounds {
            let registry = Registry::new();
            let others: Vec<_> = (0..3)
                .map(|_| tokio::spawn(busy(registry.clone(), 40)))
                .collect();
            for _ in 0..round % 10 {
                tokio::task::yield_now().await;
            }
            // The first one, and one that comes to it.
            let mut first = Followed::new(&registry).await;
            tokio::task::yield_now().await;
            let mut second = Followed::new(&registry).await;
            let mut left = Vec::new();
            for other in others {
                left.push(in_time(other).await.unwrap());
            }
            let expected = left.iter().map(|(_, kept)| 1 + kept.len()).sum::<usize>();
            in_time(async {
                while registry.count() != expected {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let live = registry.live().await;
            let live: HashSet<_> = live.iter().map(|thing| thing.id()).collect();
            // What went last is off the list a moment before it is told.
            for followed in [&mut first, &mut second] {
                let until = std::time::Instant::now() + TIME_LIMIT;
                while followed.alive != live {
                    assert!(followed.catch_up());
                    let is_late = std::time::Instant::now() > until;
                    assert!(!is_late, "round {round}: {:?}, {live:?}", followed.alive);
                    tokio::task::yield_now().await;
                }
            }
            in_time(registry.close_now()).await;
            drop(left);
        }
    });
}

/// The wait for an event is woken by it, from whatever thread.
#[test]
fn each_event_wakes_those_that_wait() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let mut readers = Vec::new();
        for _ in 0..3 {
            let mut events = registry.events();
            readers.push(tokio::spawn(async move {
                let mut seen = 0_u64;
                while let Some(event) = events.next().await {
                    seen += event.map_or_else(|lost| lost.0, |_| 1);
                }
                seen
            }));
        }
        for _ in 0..1_000 {
            let ctx = registry.context("ctx");
            ctx.spawn(async {}).await.unwrap();
            tokio::task::yield_now().await;
            in_time(ctx.close()).await;
        }
        in_time(registry.close()).await;
        for reader in readers {
            assert_eq!(in_time(reader).await.unwrap(), 6_002);
        }
    });
}

/// An event may hold up its reader's runtime no longer than others do.
#[tokio::test]
async fn a_reader_of_many_lets_others_run() {
    let registry = Registry::new();
    let mut events = registry.events();
    let contexts: Vec<_> = (0..4_096).map(|_| registry.context("ctx")).collect();
    let others = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let others = Arc::clone(&others);
        async move {
            loop {
                others.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..4_096 {
        events.next().await.unwrap().unwrap();
    }
    assert!(others.load(SeqCst) > 10);
    other.abort();
    drop(contexts);
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn an_event_is_one_flat_object() {
    let registry = Registry::new();
    let mut events = registry.events();
    let task = registry.task("work").spawn(async {});
    let id = task.id().to_string();
    task.await.unwrap();
    let mut json = Vec::new();
    while let Some(Ok(event)) = events.try_next() {
        json.push(serde_json::to_value(&event).unwrap());
    }
    assert_eq!(json.len(), 2);
    assert_eq!(
        (&json[0]["what"], &json[0]["id"]),
        (&"spawned".into(), &id.clone().into())
    );
    assert_eq!(
        (&json[1]["what"], &json[1]["outcome"]),
        (&"ended".into(), &"finished".into())
    );
    assert_eq!(json[1]["parent"], serde_json::Value::Null);
}

#[cfg(feature = "sessions")]
#[tokio::test(start_paused = true)]
async fn what_happens_to_a_session_is_told() {
    let registry = Registry::new();
    let mut events = registry.events();
    let server = registry.context("server");
    let sessions = server
        .sessions::<&str>("sessions")
        .idle(Duration::from_secs(5))
        .open();
    let (phone, laptop) = (Some("phone"), Some("laptop"));
    let attach = async |device: Option<&str>| match device {
        Some(device) => in_time(sessions.attach_as("ann", b"ann", device)).await,
        None => in_time(sessions.attach("ann", b"ann")).await,
    };
    let first = attach(phone).await.unwrap();
    let second = attach(phone).await.unwrap();
    let third = attach(laptop).await.unwrap();
    in_time(sessions.restart(&"ann")).await.unwrap();
    third.heartbeat(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop((first, third));
    second.leave();
    let last = attach(None).await.unwrap();
    drop(last);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut changes = Vec::new();
    while let Some(Ok(event)) = events.try_next() {
        match event.what() {
            What::Session(change) => changes.push(change.to_string()),
            What::Closing(reason) if event.kind() == "session" => changes.push(reason.to_string()),
            _ => {}
        }
    }
    assert_eq!(
        changes,
        [
            "attached",
            "taken over",
            "resumed",
            "resumed",
            "restarting",
            "restarted",
            "silent",
            "left",
            "idle",
            "resumed",
            "lost",
            "idle",
            "culled"
        ]
    );
}

#[cfg(feature = "supervision")]
#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_supervised_task_is_told() {
    use headcount::supervision::Restart;
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let mut events = registry.events();
    let supervised = ctx
        .task("poller")
        .restart(Restart::on_failure())
        .run(async |attempt| assert!(attempt.number() > 1, "the first one fails"));
    in_time(supervised.ended()).await;
    let all = said(&mut events);
    let expected = [
        "spawned",
        "restarting",
        "ended",
        "backing_off",
        "ended",
        "spawned",
        "ended",
    ];
    let words: Vec<_> = all
        .iter()
        .map(|said| said.trim_start_matches("poller: "))
        .collect();
    assert_eq!(words, expected);
}
