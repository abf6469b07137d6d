//! Sessions that have values, and the bounded queue of attaches that wait for a place.

use crate::util::{in_time, poll_once, settle};
use headcount::{
    CloseReason, Context, Registry,
    sessions::{AttachError, Limit, Overflow, SessionCounts, Sessions},
};
use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::oneshot;

const OWNER: &str = "owner";
const LONG: Duration = Duration::from_secs(1_000);

fn server() -> Context {
    Registry::new().context("server")
}

/// Each generation's value is the next number.
fn numbered(server: &Context) -> Sessions<u32, u32> {
    let last = AtomicU32::new(0);
    let sessions = server.sessions("numbered").init(move |_: u32, _| {
        let number = last.fetch_add(1, SeqCst) + 1;
        async move { Ok::<_, Infallible>(number) }
    });
    sessions.open()
}

/// One that is full, with room for so many that wait.
fn full(server: &Context, queue: usize) -> Sessions<u32> {
    let sessions = server.sessions("table").max(0);
    sessions.overflow(Overflow::Wait(LONG)).queue(queue).open()
}

#[tokio::test(start_paused = true)]
async fn all_leases_of_a_session_have_the_value_of_its_init() {
    let server = server();
    let sessions = numbered(&server);
    let one = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let two = in_time(sessions.attach(2, OWNER)).await.unwrap();
    let again = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let values = [&one, &two, &again].map(|lease| *lease.value().unwrap());
    assert_eq!(values, [1, 2, 1]);
    assert_eq!(*sessions.get(&2).unwrap().value().unwrap(), 2);
    assert_eq!(server.live().await.kind("value").len(), 2);
    assert!(server.close().await.is_clean());
    assert!(one.value().is_none(), "it is dropped with the generation");
}

/// The handle that the generation keeps counts as taken on the line of the init, not on one of this crate.
#[tokio::test(start_paused = true)]
async fn the_handle_of_the_generation_was_taken_where_the_init_is() {
    let server = server();
    let sessions = numbered(&server);
    let lease = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let value = lease.value().unwrap();
    let holders = value.holders();
    let files = holders.iter().map(|holder| holder.location().file());
    assert!(files.clone().all(|file| file == file!()), "{holders}");
    assert_eq!(files.count(), 2);
    drop((value, lease));
    assert!(server.close().await.is_clean());
}

/// The value of a generation is dropped with it, and what looked at that one does not find the next one's.
#[tokio::test(start_paused = true)]
async fn a_restart_makes_another_value() {
    let server = server();
    let sessions = numbered(&server);
    let lease = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let before = sessions.get(&1).unwrap();
    assert_eq!(*before.value().unwrap(), 1);
    assert_eq!(in_time(sessions.restart(&1)).await.unwrap(), 2);
    assert_eq!(*lease.value().unwrap(), 2);
    assert!(before.value().is_none());
    assert!(server.close().await.is_clean());
}

/// While the next generation is opened there is no value: neither the old one nor the new one.
#[tokio::test(start_paused = true)]
async fn there_is_no_value_before_the_init_is_done() {
    let server = server();
    let (go, gone) = oneshot::channel::<()>();
    let gone = Mutex::new(Some(gone));
    let sessions = server.sessions("slow").init(move |_: u32, _| {
        let gone = gone.lock().unwrap().take().unwrap();
        async move { gone.await.map(|()| 7) }
    });
    let sessions = sessions.open();
    let mut attaching = pin!(sessions.attach(1, OWNER));
    assert!(poll_once(attaching.as_mut()).is_pending());
    assert!(sessions.get(&1).unwrap().value().is_none());
    go.send(()).unwrap();
    let lease = in_time(attaching).await.unwrap();
    assert_eq!(*lease.value().unwrap(), 7);
    server.close().await;
}

/// Hooks that were registered when the session was open still find it, and those of the init come after it.
#[tokio::test(start_paused = true)]
async fn a_value_is_dropped_between_the_hooks_of_the_close() {
    let server = server();
    let found = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&found);
    let sessions = server.sessions("table").init(move |_: u32, ctx| {
        let (noted, value) = (Arc::clone(&noted), Arc::new(()));
        let weak = Arc::downgrade(&value);
        let hook = move || async move {
            noted
                .lock()
                .unwrap()
                .push(("init", weak.upgrade().is_some()));
        };
        let hook = ctx.on_close(hook).map(drop).map_err(|_| "too late");
        async move { hook.map(|()| value) }
    });
    let sessions = sessions.open();
    let lease = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let weak = Arc::downgrade(&lease.value().unwrap());
    let noted = Arc::clone(&found);
    let hook = move || async move {
        noted
            .lock()
            .unwrap()
            .push(("later", weak.upgrade().is_some()));
    };
    drop(lease.context().on_close(hook).unwrap());
    lease.leave();
    settle().await;
    assert_eq!(*found.lock().unwrap(), [("later", true), ("init", false)]);
    server.close().await;
}

/// A context that is closed takes no value, and one that is gone does not either.
#[tokio::test]
async fn a_weak_context_owns_values_as_long_as_it_is_open() {
    let ctx = server();
    let weak = ctx.downgrade();
    let value = weak.own("log", "file", 7).unwrap();
    assert_eq!(ctx.live().await.find("log").unwrap().kind(), "file");
    drop(value);
    ctx.close().await;
    assert_eq!(weak.own("late", "file", 7).unwrap_err().into_inner(), 7);
    drop(ctx);
    assert_eq!(weak.own("later", "file", 7).unwrap_err().into_inner(), 7);
}

#[tokio::test(start_paused = true)]
async fn no_more_attaches_wait_than_the_queue_has_room_for() {
    let server = server();
    let sessions = full(&server, 2);
    let mut waiting = [1, 2].map(|key| Box::pin(sessions.attach(key, OWNER)));
    for attach in &mut waiting {
        assert!(poll_once(attach.as_mut()).is_pending());
    }
    let counts = sessions.counts();
    assert_eq!((counts.waiting, counts.waiting_leases), (2, 2));
    let refused = in_time(sessions.attach(3, OWNER)).await.unwrap_err();
    assert!(
        matches!(refused, AttachError::Full(Limit::Queue)),
        "{refused}"
    );
    let said =
        "there are as many sessions as there may be, and as many attaches wait for a place as may";
    assert_eq!(refused.to_string(), said);
    let table = server.live().await.find("table").unwrap().detail();
    assert_eq!(table.unwrap(), "0 of 0 sessions, 2 waiting");
    // One that gives up makes room for the next one.
    drop(waiting);
    assert_eq!(sessions.counts(), SessionCounts::default());
    let mut third = pin!(sessions.attach(3, OWNER));
    assert!(poll_once(third.as_mut()).is_pending());
    server.close().await;
    let closed = in_time(third).await.unwrap_err();
    assert!(matches!(closed, AttachError::Closed), "{closed}");
}

/// Who waits for a session that waits counts as well; a device that takes over from itself has the place of that.
#[tokio::test(start_paused = true)]
async fn attaches_to_one_session_that_waits_are_bounded_too() {
    let server = server();
    let sessions = full(&server, 2);
    let mut first = pin!(sessions.attach_as(1, OWNER, "phone"));
    let mut second = pin!(sessions.attach_as(1, OWNER, "page"));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    let refused = in_time(sessions.attach(1, OWNER)).await.unwrap_err();
    assert!(
        matches!(refused, AttachError::Full(Limit::Queue)),
        "{refused}"
    );
    let mut newer = pin!(sessions.attach_as(1, OWNER, "page"));
    assert!(poll_once(newer.as_mut()).is_pending());
    assert_eq!(sessions.counts().waiting_leases, 2);
    server.close().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_nothing_waits_and_by_default_1_024_do() {
    let server = server();
    let none = full(&server, 0);
    let refused = in_time(none.attach(1, OWNER)).await.unwrap_err();
    assert!(
        matches!(refused, AttachError::Full(Limit::Queue)),
        "{refused}"
    );
    let sessions = server.sessions("others").max(0);
    let sessions = sessions.overflow(Overflow::Wait(LONG)).open();
    let mut waiting: Vec<_> = (0..1_025)
        .map(|key| Box::pin(sessions.attach(key, OWNER)))
        .collect();
    let mut polled = waiting.iter_mut().map(|attach| poll_once(attach.as_mut()));
    assert_eq!(
        polled.by_ref().take(1_024).filter(Poll::is_pending).count(),
        1_024
    );
    assert!(polled.next().unwrap().is_ready());
    server.close().await;
}

/// A restart is new work: where the context finishes, what is there is left to come to its end.
#[tokio::test(start_paused = true)]
async fn a_restart_is_refused_while_the_server_finishes() {
    let server = server();
    let sessions = numbered(&server);
    let lease = in_time(sessions.attach(1, OWNER)).await.unwrap();
    let (go, gone) = oneshot::channel::<()>();
    let work = lease.context().task("work").spawn(gone);
    let finishing = server.finish();
    let refused = in_time(sessions.restart(&1)).await.unwrap_err();
    assert!(matches!(refused, AttachError::Closed), "{refused}");
    settle().await;
    assert!(!work.is_finished(), "its task goes on");
    assert_eq!((lease.generation(), lease.is_lost()), (1, false));
    go.send(()).unwrap();
    let report = in_time(finishing).await;
    assert!(report.is_clean(), "{report}");
    assert_ne!(report.reason().root(), &CloseReason::Restarted);
    assert!(work.await.unwrap().is_ok());
}
