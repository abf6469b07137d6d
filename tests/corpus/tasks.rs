//! Tasks, threads and futures that keep a handle, or that do not end.

use crate::world::{World, culprit, lock};
use futures::future::join;
use headcount::{Context, Task, TaskError, WeakContext, Wrapped, leaks::LeakPolicy};
use std::{
    cell::Cell,
    future::{Future, Pending, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, unbounded_channel},
        oneshot,
    },
    task::{JoinHandle, JoinSet, LocalSet, yield_now},
    time::{interval, sleep},
};

const NO_TIME: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

/// A task of the server waits for ever, with the handle of a connection that has ended.
pub(crate) async fn task_of_another(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = culprit!(world, conn.clone());
    let task = server.task("statistics").cancellable();
    task.spawn(async move { (pending::<()>().await, drop(handle)) });
    conn.close().await;
    server
}

pub(crate) async fn task_of_another_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = conn.downgrade();
    let task = server.task("statistics").cancellable();
    task.spawn(async move { (pending::<()>().await, drop(handle)) });
    conn.close().await;
    server
}

/// A task takes a handle of the context it runs on, and so the last one can never be dropped (I3).
pub(crate) async fn upgrades_its_own(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let (weak, end) = (conn.downgrade(), conn.downgrade());
    let inside = world.clone();
    conn.task("reader").spawn(async move {
        let conn = culprit!(inside, weak.upgrade());
        pending::<()>().await;
        drop(conn);
    });
    world.leaked().await;
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn upgrades_its_own_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let weak = conn.downgrade();
    conn.task("reader").spawn(async move {
        drop(weak.upgrade());
        weak.cancelled().await;
    });
    conn.close().await;
}

/// The same policy as in production: what pins itself is a leak there as well.
pub(crate) async fn upgrades_its_own_in_production(world: World) {
    world.judge_by(LeakPolicy::new());
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let (weak, end) = (conn.downgrade(), conn.downgrade());
    let inside = world.clone();
    conn.task("reader").spawn(async move {
        let conn = culprit!(inside, weak.upgrade()).unwrap();
        conn.cancelled().await;
    });
    world.leaked().await;
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn upgrades_its_own_in_production_fixed(world: World) {
    world.judge_by(LeakPolicy::new());
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let weak = conn.downgrade();
    conn.task("reader").spawn(async move {
        let conn = weak.upgrade().unwrap();
        conn.run_until_cancelled(async {}).await;
    });
    conn.close().await;
}

/// A task was given a clone of the handle of its own context.
pub(crate) async fn clone_of_its_own(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = culprit!(world, conn.clone());
    let end = conn.downgrade();
    conn.task("reader").spawn(async move {
        pending::<()>().await;
        drop(handle);
    });
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn clone_of_its_own_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = conn.downgrade();
    conn.task("reader").spawn(async move {
        handle.cancelled().await;
    });
    conn.close().await;
}

/// The same, and the task waits through the handle: it is seen to be the one that uses it.
pub(crate) async fn waits_through_its_own(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = culprit!(world, conn.clone());
    let end = conn.downgrade();
    conn.task("reader").spawn(async move {
        handle.cancelled().await;
    });
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn waits_through_its_own_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = conn.downgrade();
    conn.task("reader").spawn(async move {
        handle.cancelled().await;
    });
    conn.close().await;
}

/// The same, and the task spawns through the handle, while the program runs on.
pub(crate) async fn spawns_through_its_own(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = culprit!(world, conn.clone());
    let end = conn.downgrade();
    conn.task("reader").spawn(async move {
        drop(handle.spawn(async {}).await);
        pending::<()>().await;
        drop(handle);
    });
    world.leaked().await;
    world.afterwards(move || end.request_close("it was reported"));
}

pub(crate) async fn spawns_through_its_own_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let handle = conn.downgrade();
    conn.task("reader").spawn(async move {
        drop(handle.spawn(async {}).await);
        handle.cancelled().await;
    });
    conn.close().await;
}

/// A task has ended, and its output, a handle, lies in a `Task` that is never awaited.
pub(crate) async fn output_not_awaited(world: World) -> (Context, Task<Context>) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = culprit!(world, conn.clone());
    let task = server.spawn(async move { handle });
    conn.close().await;
    (server, task)
}

pub(crate) async fn output_not_awaited_fixed(world: World) -> (Context, String) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = conn.clone();
    let task = server.spawn(async move { handle });
    conn.close().await;
    (server, task.await.unwrap().path())
}

/// The same with bare `tokio::spawn`.
pub(crate) async fn join_handle(world: World) -> JoinHandle<Context> {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let join = tokio::spawn(async move { handle });
    conn.close().await;
    join
}

pub(crate) async fn join_handle_fixed(world: World) -> String {
    let conn = world.context("conn");
    let handle = conn.clone();
    let join = tokio::spawn(async move { handle });
    conn.close().await;
    join.await.unwrap().path()
}

/// Wrapped, stored and never polled: its context waits for it.
pub(crate) async fn wrapped_not_polled(world: World) -> Wrapped<Pending<()>> {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let wrapped = culprit!(world, conn.wrap(pending()));
    conn.close_within(Duration::from_millis(2)).await.ok();
    wrapped
}

pub(crate) async fn wrapped_not_polled_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let wrapped = conn.wrap(pending::<()>());
    drop(wrapped);
    conn.close().await;
}

/// A blocking closure does not look at `is_cancelled()`.
pub(crate) async fn ignores_cancellation(world: World) {
    let (release, wait) = mpsc::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let work = move || (begin.send(()), wait.recv());
    culprit!(world, conn.spawn_blocking(work));
    world.afterwards(move || drop(release));
    begun.await.unwrap();
    conn.close_within(Duration::from_millis(2)).await.ok();
}

pub(crate) async fn ignores_cancellation_fixed(world: World) {
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let weak = conn.downgrade();
    conn.spawn_blocking(move || {
        while !weak.is_cancelled() {
            thread::yield_now();
        }
    });
    conn.close().await;
}

/// A blocking closure of the server never returns, and has the handle of a connection.
pub(crate) async fn blocking_closure(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let (release, wait) = mpsc::channel::<()>();
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = culprit!(world, conn.clone());
    server.spawn_blocking(move || (wait.recv(), drop(handle)));
    world.afterwards(move || drop(release));
    conn.close().await;
    server
}

pub(crate) async fn blocking_closure_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let (release, wait) = mpsc::channel::<()>();
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = conn.downgrade();
    server.spawn_blocking(move || (wait.recv(), drop(handle)));
    world.afterwards(move || drop(release));
    conn.close().await;
    server
}

/// A thread of the program's own.
pub(crate) async fn std_thread(world: World) {
    let (release, wait) = mpsc::channel::<()>();
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    thread::spawn(move || (wait.recv(), drop(handle)));
    world.afterwards(move || drop(release));
    conn.close().await;
}

pub(crate) async fn std_thread_fixed(world: World) {
    let (release, wait) = mpsc::channel::<()>();
    let conn = world.context("conn");
    let handle = conn.downgrade();
    thread::spawn(move || (wait.recv(), drop(handle)));
    world.afterwards(move || drop(release));
    conn.close().await;
}

/// Spawned on the registry itself, and never stopped.
pub(crate) async fn root_task(world: World) {
    let task = culprit!(world, headcount::spawn(pending::<()>()));
    world.afterwards(move || task.abort());
}

pub(crate) async fn root_task_fixed(_world: World) {
    let task = headcount::spawn(pending::<()>());
    task.abort();
    assert!(matches!(task.await, Err(TaskError::Aborted)));
}

/// An interval that goes on when its reason has gone.
pub(crate) async fn interval_not_stopped(world: World) {
    let task = culprit!(world, headcount::spawn(tick(Duration::from_millis(1))));
    world.afterwards(move || task.abort());
}

pub(crate) async fn interval_not_stopped_fixed(world: World) {
    let poller = world.context("poller");
    let task = poller.task("tick").cancellable();
    task.spawn(tick(Duration::from_millis(1)));
    poller.close().await;
}

async fn tick(period: Duration) {
    let mut ticks = interval(period);
    loop {
        ticks.tick().await;
    }
}

/// A local task that is not driven any more: its set is kept, and not polled.
pub(crate) async fn local_task(world: World) -> LocalSet {
    let set = LocalSet::new();
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let start = || culprit!(world, conn.spawn_local(pending::<()>()));
    set.run_until(async { drop(start()) }).await;
    conn.close_within(Duration::from_millis(2)).await.ok();
    set
}

pub(crate) async fn local_task_fixed(world: World) -> LocalSet {
    let set = LocalSet::new();
    let conn = world.context_builder("conn").grace(NO_TIME).open();
    let start = || conn.spawn_local(pending::<()>());
    set.run_until(async { drop(start()) }).await;
    set.run_until(conn.close()).await;
    set
}

pub(crate) type Stored = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future does nothing unless polled, but keeps what it captured.
pub(crate) async fn future_not_polled(world: World) -> Vec<Stored> {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let later: Vec<Stored> = vec![Box::pin(async move { drop(handle) })];
    conn.close().await;
    later
}

pub(crate) async fn future_not_polled_fixed(world: World) -> Vec<Stored> {
    let conn = world.context("conn");
    let handle = conn.downgrade();
    let later: Vec<Stored> = vec![Box::pin(async move { drop(handle) })];
    conn.close().await;
    later
}

tokio::task_local! {
    static REQUEST: Context;
}

/// A handle that tokio keeps for a task of its own.
pub(crate) async fn in_task_local(world: World) {
    let conn = world.context("request");
    let handle = culprit!(world, conn.clone());
    let task = tokio::spawn(REQUEST.scope(handle, pending::<()>()));
    world.afterwards(move || task.abort());
    conn.close().await;
}

pub(crate) async fn in_task_local_fixed(world: World) {
    let conn = world.context("request");
    let named = REQUEST.scope(conn.clone(), async { REQUEST.with(Context::path) });
    tokio::spawn(named).await.unwrap();
    conn.close().await;
}

/// A timeout that is not cancelled when it is not needed any more.
pub(crate) async fn timer(world: World) {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let task = tokio::spawn(async move {
        sleep(HOUR).await;
        handle.request_close("it is idle");
    });
    world.afterwards(move || task.abort());
    conn.close().await;
}

pub(crate) async fn timer_fixed(world: World) {
    let conn = world.context("conn");
    let handle = conn.downgrade();
    let task = tokio::spawn(async move {
        sleep(HOUR).await;
        handle.request_close("it is idle");
    });
    world.afterwards(move || task.abort());
    conn.close().await;
}

/// It waits for a `Notify` that is never notified.
pub(crate) async fn notify_waiter(world: World) {
    let (conn, never) = (world.context("conn"), Arc::new(Notify::new()));
    let handle = culprit!(world, conn.clone());
    let waiter = Arc::clone(&never);
    tokio::spawn(async move { (waiter.notified().await, drop(handle)) });
    world.afterwards(move || never.notify_one());
    conn.close().await;
}

pub(crate) async fn notify_waiter_fixed(world: World) {
    let (conn, never) = (world.context("conn"), Arc::new(Notify::new()));
    let (handle, waiter) = (conn.clone(), Arc::clone(&never));
    tokio::spawn(async move { (waiter.notified().await, drop(handle)) });
    conn.close().await;
    never.notify_one();
}

/// A panic carries the handle, and its payload is kept for the report.
pub(crate) async fn panic_payload(world: World) -> (Context, TaskError) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = culprit!(world, conn.clone());
    let task = server.spawn(async move { resume_unwind(Box::new(handle)) });
    let error: Result<(), _> = task.await;
    conn.close().await;
    (server, error.unwrap_err())
}

pub(crate) async fn panic_payload_fixed(world: World) -> (Context, String) {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = conn.clone();
    let task = server.spawn(async move { resume_unwind(Box::new(handle)) });
    let error: Result<(), _> = task.await;
    conn.close().await;
    (server, error.unwrap_err().to_string())
}

/// Two wait for each other, each with what the other one needs.
pub(crate) async fn deadlock(world: World) {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let (left, right) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let one = tokio::spawn(async move { (left.1.await.ok(), drop(right.0)) });
    let other = tokio::spawn(async move { (right.1.await.ok(), drop((left.0, handle))) });
    world.afterwards(move || (one.abort(), other.abort()).0);
    conn.close().await;
}

pub(crate) async fn deadlock_fixed(world: World) {
    let conn = world.context("conn");
    let handle = conn.clone();
    let (left, right) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let one = tokio::spawn(async move { (drop(right.0), left.1.await.ok()) });
    let other = tokio::spawn(async move { (right.1.await.ok(), drop((left.0, handle))) });
    conn.close().await;
    assert!(one.await.is_ok() && other.await.is_ok());
}

/// A hook waits for what comes when the close is over: its context never closes.
pub(crate) async fn hook_without_end(world: World) {
    let open = world.context_builder("conn").grace(NO_TIME);
    let conn = open.hook_timeout(Duration::MAX).open();
    let (release, wait) = oneshot::channel::<()>();
    culprit!(world, conn.on_close(|| async { drop(wait.await) })).unwrap();
    world.afterwards(move || drop(release));
    conn.close_within(Duration::from_millis(2)).await.ok();
}

pub(crate) async fn hook_without_end_fixed(world: World) {
    let open = world.context_builder("conn").grace(NO_TIME);
    let conn = open.hook_timeout(Duration::MAX).open();
    let (release, wait) = oneshot::channel::<()>();
    conn.on_close(|| async { drop(wait.await) }).unwrap();
    drop(release);
    conn.close().await;
}

static LAST_LOCAL: Mutex<Option<Task<Context>>> = Mutex::new(None);

/// The task of the latest request is remembered, and with it what it returned.
pub(crate) async fn latest_task(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let ctx = server.downgrade();
    let inside = world.clone();
    let task = server.spawn(async move {
        let conn = ctx.upgrade().unwrap().child("conn");
        conn.close().await;
        culprit!(inside, conn.clone())
    });
    *lock(&LAST_LOCAL) = Some(task);
    world.afterwards(|| *lock(&LAST_LOCAL) = None);
    world.leaked().await;
    server
}

pub(crate) async fn latest_task_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let ctx = server.downgrade();
    let task = server.spawn(async move {
        let conn = ctx.upgrade().unwrap().child("conn");
        conn.close().await;
        conn.clone()
    });
    *lock(&LAST_LOCAL) = Some(task);
    let last = lock(&LAST_LOCAL).take();
    drop(last.unwrap().await);
    server
}

thread_local! {
    static DEPTH: Cell<Option<Context>> = const { Cell::new(None) };
}

/// A handle in the thread-local of a worker, put there by a task that has ended.
pub(crate) async fn left_on_a_worker(world: World) {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let put = world.context("put");
    put.spawn(async move { DEPTH.set(Some(handle)) })
        .await
        .unwrap();
    put.close().await;
    conn.close().await;
}

pub(crate) async fn left_on_a_worker_fixed(world: World) {
    let conn = world.context("conn");
    let handle = conn.clone();
    let put = world.context("put");
    let task = put.spawn(async move {
        DEPTH.set(Some(handle));
        DEPTH.take().map(|handle| handle.path())
    });
    task.await.unwrap();
    put.close().await;
    conn.close().await;
}

/// A set of tasks that is never joined keeps what they returned.
pub(crate) async fn join_set(world: World) -> JoinSet<Context> {
    let conn = world.context("conn");
    let handle = culprit!(world, conn.clone());
    let mut set = JoinSet::new();
    set.spawn(async move { handle });
    conn.close().await;
    set
}

pub(crate) async fn join_set_fixed(world: World) -> JoinSet<Context> {
    let conn = world.context("conn");
    let handle = conn.clone();
    let mut set = JoinSet::new();
    set.spawn(async move { handle });
    conn.close().await;
    while let Some(handle) = set.join_next().await {
        drop(handle.unwrap());
    }
    set
}

/// Of several futures in one task, one has ended, and its output waits for the others.
pub(crate) async fn join_all(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = culprit!(world, conn.clone());
    let both = join(async move { handle }, pending::<()>());
    server.task("both").cancellable().spawn(both);
    conn.close().await;
    server
}

pub(crate) async fn join_all_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let server = world.context("server");
    let conn = server.child("conn");
    let handle = conn.clone();
    let both = join(async move { drop(handle) }, pending::<()>());
    server.task("both").cancellable().spawn(both);
    conn.close().await;
    server
}

/// Taken by a task that has ended, and handed to an unknown holder.
pub(crate) async fn taken_by_who_ended(world: World) -> UnboundedReceiver<Context> {
    world.judge_by(LeakPolicy::new());
    let (tx, rx) = unbounded_channel();
    let (conn, maker) = (world.context("conn"), world.context("maker"));
    let (weak, inside) = (conn.downgrade(), world.clone());
    let task = maker.spawn(async move {
        let handle = culprit!(inside, weak.upgrade()).unwrap();
        tx.send(handle).unwrap();
    });
    task.await.unwrap();
    maker.close().await;
    conn.close().await;
    rx
}

pub(crate) async fn taken_by_who_ended_fixed(world: World) -> UnboundedReceiver<WeakContext> {
    world.judge_by(LeakPolicy::new());
    let (tx, rx) = unbounded_channel();
    let (conn, maker) = (world.context("conn"), world.context("maker"));
    let weak = conn.downgrade();
    let task = maker.spawn(async move {
        drop(weak.upgrade().unwrap());
        tx.send(weak).unwrap();
    });
    task.await.unwrap();
    maker.close().await;
    conn.close().await;
    rx
}

/// Takes a handle again and again, and drops it.
async fn churn(conn: WeakContext) {
    while let Some(conn) = conn.upgrade() {
        drop((conn.clone(), conn));
        yield_now().await;
    }
}

/// Among handles that come and go all the time, one stays.
pub(crate) async fn one_of_many(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    for weak in [server.downgrade(), conn.downgrade()] {
        server.task("churn").cancellable().spawn(churn(weak));
    }
    let stays = culprit!(world, conn.clone());
    conn.close().await;
    (server, stays)
}

pub(crate) async fn one_of_many_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    for weak in [server.downgrade(), conn.downgrade()] {
        server.task("churn").cancellable().spawn(churn(weak));
    }
    conn.close().await;
    server
}

/// A task that still runs has a handle as well, a later one: a holder outside of all tasks is the first suspect.
pub(crate) async fn outside_and_in_task(world: World) -> (Context, Context) {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    let outside = culprit!(world, conn.clone());
    let (taken, is_taken) = oneshot::channel();
    let weak = conn.downgrade();
    let task = server.task("task").cancellable();
    task.spawn(async move { (weak.upgrade(), taken.send(()), pending::<()>().await) });
    is_taken.await.unwrap();
    conn.close().await;
    (server, outside)
}

pub(crate) async fn outside_and_in_task_fixed(world: World) -> Context {
    world.judge_by(LeakPolicy::new());
    let (server, conn) = (world.context("server"), world.context("conn"));
    let (taken, is_taken) = oneshot::channel();
    let weak = conn.downgrade();
    let task = server.task("task").cancellable();
    task.spawn(async move {
        drop(weak.upgrade());
        (taken.send(()), pending::<()>().await)
    });
    is_taken.await.unwrap();
    conn.close().await;
    server
}

/// The server's task has the only handle of a connection, and is dropped with it in the middle of the close.
pub(crate) async fn holder_survives(world: World) -> Context {
    let server = world.context_builder("server").grace(NO_TIME).open();
    let conn = culprit!(world, server.child("conn"));
    let kept = conn.clone();
    let holder = server.task("holder").cancellable();
    holder.spawn(async move { (pending::<()>().await, drop(kept)) });
    server.close().await;
    conn
}

pub(crate) async fn holder_survives_fixed(world: World) {
    let server = world.context_builder("server").grace(NO_TIME).open();
    for _ in 0..4 {
        let conn = server.child("conn");
        let holder = server.task("holder").cancellable();
        holder.spawn(async move { (pending::<()>().await, drop(conn)) });
    }
    yield_now().await;
    server.close().await;
}

/// A grace period without end, for a task that needs one.
pub(crate) async fn grace_without_end(world: World) {
    let conn = world.context_builder("conn").grace(Duration::MAX).open();
    let task = culprit!(world, conn.spawn(pending::<()>()));
    world.afterwards(move || task.abort());
    conn.request_close("it is over");
}

/// What cleans up within its grace period is waited for, also by a report that has no time.
pub(crate) async fn grace_without_end_fixed(world: World) {
    let conn = world.context("conn");
    let weak = conn.downgrade();
    conn.spawn(async move {
        (
            weak.cancelled().await,
            sleep(Duration::from_millis(2)).await,
        )
    });
    conn.request_close("it is over");
    drop(conn);
    let at_once = LeakPolicy::nothing_left().settle(NO_TIME);
    let report = world.leaks(&at_once).await;
    assert!(report.is_clean(), "{report}");
}
