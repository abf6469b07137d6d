//! Where tasks wait.

use crate::util::{current_thread, multi_thread, settle};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use headcount::{
    Registry,
    dump::{Activity, Awaited, Dump, TaskDump},
};
use std::{
    future::pending,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::{Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};

pub(crate) const LONG: Duration = Duration::from_secs(1_000);

/// A future that waits on this line, for something whose name has this in it.
pub(crate) struct Case {
    line: u32,
    leaf: &'static str,
    waits: BoxFuture<'static, ()>,
    /// What must not be dropped.
    kept: Box<dyn std::any::Any>,
}

/// Takes anything, in a line.
pub(crate) fn ignore<T>(_: T) {}

pub(crate) fn case<K: 'static>(
    line: u32,
    leaf: &'static str,
    kept: K,
    waits: impl Future<Output = ()> + Send + 'static,
) -> Case {
    Case {
        line,
        leaf,
        waits: waits.boxed(),
        kept: Box::new(kept),
    }
}

/// Whether one of the stacks ends in a file of cases on this line, and waits for this.
fn waits_at(task: &TaskDump, line: u32, leaf: &str) -> bool {
    task.stacks().iter().any(|stack| {
        let last = stack.own_frames().next_back();
        let is_here = |frame: &headcount::dump::StackFrame| {
            ["dump", "leaves"]
                .iter()
                .any(|test| frame.file().ends_with(&format!("tests/it/{test}.rs")))
                && frame.line() == line
        };
        last.is_some_and(is_here) && stack.leaf().unwrap_or_default().contains(leaf)
    })
}

/// Spawns it, asks it, and looks.
pub(crate) async fn check(case: Case) {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("task").cancellable().spawn(case.waits);
    settle().await;
    let mut dump = registry.dump().await;
    // On another thread it may not have come to its first poll.
    for _ in 0..1_000 {
        if matches!(dump.find("task").unwrap().activity(), Activity::Parked(_)) {
            break;
        }
        dump = registry.dump().await;
    }
    let task = dump.find("task").unwrap();
    assert!(
        waits_at(task, case.line, case.leaf),
        "line {} {}: {dump}\n\n{}",
        case.line,
        case.leaf,
        dump.in_full()
    );
    drop(case.kept);
    ctx.close().await;
}

#[rustfmt::skip]
async fn sync_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (lock, other) = (Arc::new(Mutex::new(())), Arc::new(RwLock::new(())));
    let held = (lock.clone().lock_owned().await, other.clone().write_owned().await);
    cases.push(case(line!(), "tokio::sync::Mutex::lock", held.0, async move { ignore(lock.lock().await) }));
    cases.push(case(line!(), "tokio::sync::RwLock::read", held.1, async move { ignore(other.read().await) }));
    let writer = Arc::new(RwLock::new(()));
    let held = writer.clone().read_owned().await;
    cases.push(case(line!(), "tokio::sync::RwLock::write", held, async move { ignore(writer.write().await) }));
    let semaphore = Arc::new(Semaphore::new(0));
    cases.push(case(line!(), "tokio::sync::Semaphore::acquire", (), async move { ignore(semaphore.acquire().await) }));
    let notify = Arc::new(Notify::new());
    cases.push(case(line!(), "tokio::sync::", (), async move { notify.notified().await }));
    let (kept, taken) = oneshot::channel::<()>();
    cases.push(case(line!(), "tokio::sync::oneshot::Receiver", kept, async move { ignore(taken.await) }));
    let (kept, mut taken) = mpsc::channel::<()>(1);
    cases.push(case(line!(), "tokio::sync::mpsc::Receiver::recv", kept, async move { ignore(taken.recv().await) }));
    let (full, kept) = mpsc::channel::<()>(1);
    full.send(()).await.unwrap();
    cases.push(case(line!(), "tokio::sync::mpsc::Sender::send", kept, async move { ignore(full.send(()).await) }));
    let (kept, mut taken) = mpsc::unbounded_channel::<()>();
    cases.push(case(line!(), "tokio::sync::mpsc::UnboundedReceiver::recv", kept, async move { ignore(taken.recv().await) }));
    let (kept, mut taken) = broadcast::channel::<()>(1);
    cases.push(case(line!(), "tokio::sync::broadcast::", kept, async move { ignore(taken.recv().await) }));
    let (kept, mut taken) = watch::channel(());
    cases.push(case(line!(), "tokio::sync::watch::", kept, async move { ignore(taken.changed().await) }));
    cases
}

#[rustfmt::skip]
async fn time_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(case(line!(), "tokio::time::Sleep", (), async { sleep(LONG).await }));
    let mut ticks = interval(LONG);
    ticks.tick().await;
    cases.push(case(line!(), "tokio::time::Interval::tick", (), async move { ignore(ticks.tick().await) }));
    cases.push(case(line!(), "tokio::time::Timeout", (), async move { ignore(timeout(LONG, sleep(LONG * 2)).await) }));
    cases
}

#[rustfmt::skip]
async fn net_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    cases.push(case(line!(), "tokio::net::TcpListener::accept", (), async move { ignore(listener.accept().await) }));
    let mut buffer = [0; 16];
    let idle = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut reader = TcpStream::connect(idle.local_addr().unwrap()).await.unwrap();
    cases.push(case(line!(), "tokio::io::", idle, async move { ignore(reader.read(&mut buffer).await) }));
    let flood = vec![0_u8; 64 << 20];
    cases.push(case(line!(), "tokio::io::", server, async move { ignore(client.write_all(&flood).await) }));
    let (full, address, kept) = full_backlog().await;
    cases.push(case(line!(), "tokio::net::", (full, kept), async move { ignore(TcpStream::connect(address).await) }));
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    cases.push(case(line!(), "tokio::net::UdpSocket::recv_from", (), async move { ignore(udp.recv_from(&mut [0; 16]).await) }));
    let mut child = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
    cases.push(case(line!(), "tokio::process::Child::wait", (), async move { ignore(child.wait().await) }));
    cases
}

/// A listener that accepts nothing, with as many connections as it takes.
async fn full_backlog() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connected = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        connected.push(stream.unwrap());
    }
    (listener, address, connected)
}

#[rustfmt::skip]
fn stream_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let (kept, mut stream) = futures::channel::mpsc::channel::<()>(1);
    cases.push(case(line!(), "futures_channel::mpsc", kept, async move { ignore(stream.next().await) }));
    let mut stream = Box::pin(futures::stream::pending::<()>().take_until(sleep(LONG)));
    cases.push(case(line!(), "tokio::time::Sleep", (), async move { ignore(stream.next().await) }));
    let mut set: FuturesUnordered<_> = (0..3).map(|_| sleeps()).collect();
    cases.push(case(line!(), "futures::stream::FuturesUnordered", (), async move { ignore(set.next().await) }));
    cases
}

#[rustfmt::skip]
fn task_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let join = tokio::spawn(pending::<()>());
    let abort = join.abort_handle();
    cases.push(case(line!(), "tokio::task::JoinHandle", (), async move { ignore(join.await) }));
    let mut set = JoinSet::new();
    set.spawn(pending::<()>());
    cases.push(case(line!(), "tokio::task::", abort, async move { ignore(set.join_next().await) }));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || stopped.recv());
    cases.push(case(line!(), "JoinHandle", stop, async move { ignore(blocking.await) }));
    cases
}

pub(crate) async fn sleeps() {
    sleep(LONG).await;
}
pub(crate) const SLEEPS: u32 = line!() - 2;

async fn listens() {
    Notify::new().notified().await;
}
const LISTENS: u32 = line!() - 2;

/// Twenty deep, boxed.
fn nested(depth: u32) -> BoxFuture<'static, ()> {
    let waits = async move {
        match depth {
            0 => sleeps().await,
            _ => nested(depth - 1).await,
        }
    };
    waits.boxed()
}

macro_rules! each_awaits_the_next {
    ($($outer:ident $inner:ident)*) => {
        $(async fn $outer() { $inner().await; })*
    };
}

each_awaits_the_next! {
    f20 f19 f19 f18 f18 f17 f17 f16 f16 f15 f15 f14 f14 f13 f13 f12 f12 f11 f11 f10
    f10 f9 f9 f8 f8 f7 f7 f6 f6 f5 f5 f4 f4 f3 f3 f2 f2 f1 f1 sleeps
}

/// A chain for each of several things at once.
#[rustfmt::skip]
fn several_cases() -> Vec<(Vec<u32>, BoxFuture<'static, ()>)> {
    vec![
        (vec![SLEEPS, LISTENS], async { tokio::select! { () = sleeps() => {} () = listens() => {} } }.boxed()),
        (vec![SLEEPS, LISTENS], async { tokio::join!(sleeps(), listens()); }.boxed()),
        (vec![SLEEPS], async { join_all((0..3).map(|_| sleeps())).await; }.boxed()),
        // Above its threshold the children of `join_all` are woken one by one, and not polled: its own line is known.
        (vec![line!()], async { join_all((0..100).map(|_| sleeps())).await; }.boxed()),
        (vec![line!()], async { futures::stream::iter(0..3).map(|_| sleeps()).buffer_unordered(3).next().await; }.boxed()),
        (vec![SLEEPS], async { let boxed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(sleeps()); boxed.await; }.boxed()),
        (vec![SLEEPS], nested(20)),
    ]
}

#[tokio::test]
async fn every_leaf_names_the_line_of_its_await() {
    for cases in [
        sync_cases().await,
        time_cases().await,
        net_cases().await,
        stream_cases(),
        task_cases(),
    ] {
        for case in cases {
            check(case).await;
        }
    }
}

#[test]
fn on_several_threads_as_well() {
    multi_thread(2).block_on(async {
        for case in sync_cases().await {
            check(case).await;
        }
    });
}

#[tokio::test]
async fn of_several_things_each_is_a_stack() {
    for (n, (lines, waits)) in several_cases().into_iter().enumerate() {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        ctx.task("task").cancellable().spawn(waits);
        settle().await;
        let dump = registry.dump().await;
        let task = dump.find("task").unwrap();
        for line in lines {
            let is_there = task
                .stacks()
                .iter()
                .any(|stack| stack.own_frames().any(|frame| frame.line() == line));
            assert!(is_there, "case {n} line {line}: {dump}\n{}", dump.in_full());
        }
        ctx.close().await;
    }
}

/// The names of what a task waits for, sorted.
async fn leaves(
    ctx: &headcount::Context,
    waits: impl Future<Output = ()> + Send + 'static,
) -> Vec<String> {
    let task = ctx.task("task").cancellable().spawn(waits);
    settle().await;
    let trace = task.trace().await.unwrap();
    let leaves = trace
        .stacks()
        .iter()
        .map(|stack| stack.leaf().unwrap_or_default().to_owned());
    let mut leaves: Vec<_> = leaves.collect();
    leaves.sort_unstable();
    task.abort();
    leaves
}

#[tokio::test]
async fn what_is_awaited_is_named_through_what_is_round_it() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let lock = Arc::new(Mutex::new(()));
    let held = lock.clone().lock_owned().await;
    let (one, other, third) = (lock.clone(), lock.clone(), lock);
    let limited = leaves(&ctx, async move { ignore(timeout(LONG, one.lock()).await) });
    assert_eq!(
        limited.await,
        ["tokio::sync::Mutex::lock", "tokio::time::Timeout"]
    );
    let joined = leaves(&ctx, async move {
        ignore(tokio::join!(timeout(LONG, other.lock()), sleep(LONG)))
    });
    let expected = [
        "tokio::sync::Mutex::lock",
        "tokio::time::Sleep",
        "tokio::time::Timeout",
    ];
    assert_eq!(joined.await, expected);
    let weak = ctx.downgrade();
    let until = leaves(&ctx, async move {
        ignore(weak.run_until_cancelled(third.lock()).await)
    });
    let expected = [
        "headcount::WeakContext::run_until_cancelled",
        "tokio::sync::Mutex::lock",
    ];
    assert_eq!(until.await, expected);
    drop(held);
    ctx.close().await;
}

/// A caller that asks often sees for how long it has been parked, and no polls but its own.
#[tokio::test(start_paused = true)]
async fn being_asked_neither_counts_as_a_poll_nor_ends_a_wait() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let task = ctx.task("task").cancellable().spawn(sleeps());
    settle().await;
    for seconds in 1..=5 {
        sleep(Duration::from_secs(1)).await;
        let trace = task.trace().await.unwrap();
        let parked = Activity::Parked(Some(Duration::from_secs(seconds)));
        assert_eq!((trace.activity(), trace.polls()), (parked, 1));
    }
    ctx.close().await;
}

#[tokio::test]
async fn the_frames_lead_from_the_tasks_function_down() {
    async fn outer() {
        inner().await;
    }
    async fn inner() {
        sleep(LONG).await;
    }
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("task").cancellable().spawn(outer());
    settle().await;
    let dump = registry.dump().await;
    let stack = &dump.find("task").unwrap().stacks()[0];
    let names: Vec<_> = stack
        .own_frames()
        .map(|frame| frame.function().rsplit("::").next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["outer", "inner"], "{dump}");
    ctx.close().await;
}

/// The names of one's own functions, outermost first.
async fn named(waits: impl Future<Output = ()> + Send + 'static) -> Vec<String> {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("task").cancellable().spawn(waits);
    settle().await;
    let dump = registry.dump().await;
    let [stack] = dump.find("task").unwrap().stacks() else {
        panic!("{dump}");
    };
    let last = stack.own_frames().next_back().unwrap();
    assert_eq!(last.line(), SLEEPS, "{dump}");
    let names = stack.own_frames().map(|frame| frame.function().to_owned());
    let names = names.map(|name| name.trim_start_matches("it::dump::").to_owned());
    let names = names.collect();
    ctx.close().await;
    names
}

#[tokio::test]
async fn functions_and_recursive_ones_are_named_twenty_deep() {
    let functions: Vec<_> = (1..=20).rev().map(|n| format!("f{n}")).collect();
    let mut found = named(f20()).await;
    assert_eq!(found.pop().as_deref(), Some("sleeps"));
    assert_eq!(found, functions);
    let mut found = named(nested(20)).await;
    assert_eq!(found.pop().as_deref(), Some("sleeps"));
    assert_eq!(found, vec!["nested"; 21]);
}

#[tokio::test]
async fn a_future_that_nothing_will_wake_is_said_to_be_so() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let task = ctx.task("task").spawn(pending::<()>());
    settle().await;
    let said = ctx.dump().await.to_string();
    assert!(
        said.contains("waits for nothing that could wake it"),
        "{said}"
    );
    task.abort();
    ctx.close().await;
}

#[tokio::test]
async fn a_task_can_be_asked_alone() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let line = line!() + 2;
    let asked = ctx.task("asked").cancellable().spawn(async {
        sleep(LONG).await;
    });
    ctx.task("other").cancellable().spawn(pending::<()>());
    settle().await;
    let trace = asked.trace().await.unwrap();
    assert!(waits_at(&trace, line, "Sleep"), "{trace}");
    ctx.close().await;
    assert!(asked.trace().await.is_none());
}

#[test]
fn who_cannot_answer_is_told_apart() {
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        ctx.task("blocking").spawn_blocking(move || stopped.recv());
        let unpolled = ctx.task("unpolled").wrap(pending::<()>());
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (on, started) = oneshot::channel();
        ctx.task("spinning").spawn(async move {
            on.send(()).unwrap();
            ignore(gone.recv());
        });
        started.await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let dump = registry.dump_within(Duration::from_millis(100)).await;
        let activity = |name| dump.find(name).unwrap().activity();
        assert!(
            matches!(activity("blocking"), Activity::Blocking(_)),
            "{dump}"
        );
        assert_eq!(activity("unpolled"), Activity::NeverPolled, "{dump}");
        assert!(
            matches!(activity("spinning"), Activity::Polling(_)),
            "{dump}"
        );
        let said = dump.to_string();
        assert!(said.contains("1 did not answer within 100ms"), "{said}");
        drop((stop, go, unpolled));
        ctx.close().await;
    });
}

#[tokio::test]
async fn a_local_task_answers_while_its_set_is_run() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let registry = Registry::new();
            let ctx = registry.context("ctx");
            let line = line!() + 2;
            ctx.task("local").spawn_local(async move {
                sleep(LONG).await;
            });
            settle().await;
            let dump = registry.dump().await;
            assert!(
                waits_at(dump.find("local").unwrap(), line, "Sleep"),
                "{dump}"
            );
            registry.context("other").close().await;
            ctx.close_within(Duration::ZERO).await.unwrap_err();
        })
        .await;
}

#[tokio::test]
async fn a_wrapped_future_answers_wherever_it_runs() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let line = line!() + 2;
    let wrapped = ctx.task("wrapped").wrap(async move {
        sleep(LONG).await;
    });
    let elsewhere = tokio::spawn(wrapped);
    settle().await;
    let dump = registry.dump().await;
    assert!(
        waits_at(dump.find("wrapped").unwrap(), line, "Sleep"),
        "{dump}"
    );
    elsewhere.abort();
    ctx.close().await;
}

/// Dumping neither changes what a program does nor leaves anything behind.
#[tokio::test]
async fn a_busy_program_that_is_dumped_a_thousand_times_does_the_same() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let (give, mut take) = mpsc::channel(4);
    let producer = ctx.spawn(async move {
        for n in 0..20_000_u64 {
            give.send(n).await.unwrap();
        }
    });
    let consumer = ctx.spawn(async move {
        let mut sum = 0;
        while let Some(n) = take.recv().await {
            sum += n;
        }
        sum
    });
    for _ in 0..1_000 {
        let limit = Duration::from_millis(5);
        let dump = registry.dump_within(limit).await;
        if dump.tasks().is_empty() {
            break;
        }
    }
    producer.await.unwrap();
    assert_eq!(consumer.await.unwrap(), 19_999 * 20_000 / 2);
    ctx.close().await;
}

/// Counts how often it is polled, and how often while it is ready.
struct Touchy {
    ready: oneshot::Receiver<()>,
    is_done: bool,
}

impl Future for Touchy {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        assert!(!self.is_done, "polled after it was ready");
        let polled = self.ready.poll_unpin(cx);
        self.is_done = polled.is_ready();
        polled.map(drop)
    }
}

#[tokio::test]
async fn a_future_is_not_polled_again_after_it_was_ready() {
    for _ in 0..200 {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (give, ready) = oneshot::channel();
        let task = ctx.spawn(Touchy {
            ready,
            is_done: false,
        });
        tokio::task::yield_now().await;
        let (dump, ()) = tokio::join!(registry.dump(), async {
            tokio::task::yield_now().await;
            ignore(give.send(()));
        });
        task.await.unwrap();
        assert!(dump.tasks().len() <= 1);
        ctx.close().await;
    }
}

#[tokio::test]
async fn equal_stacks_are_printed_once_and_counted() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    for n in 0..100 {
        ctx.task(format!("reader-{n}"))
            .cancellable()
            .spawn(async { sleep(LONG).await });
    }
    ctx.task("other")
        .cancellable()
        .spawn(async { Notify::new().notified().await });
    settle().await;
    let dump = registry.dump().await;
    let said = dump.to_string();
    assert!(
        said.contains("101 tasks") && said.contains("100 tasks:\n  ctx/reader-0: parked"),
        "{said}"
    );
    assert!(said.lines().count() < 20, "{said}");
    assert!(dump.in_full().to_string().lines().count() > 500);
    ctx.close().await;
}

#[test]
fn a_dump_is_made_where_there_is_no_runtime_as_well() {
    let runtime = current_thread();
    let registry = Registry::new();
    let ctx = runtime.block_on(async {
        let ctx = registry.context("ctx");
        ctx.task("task")
            .cancellable()
            .spawn(async { sleep(LONG).await });
        settle().await;
        ctx
    });
    let dump: Dump = futures::executor::block_on(registry.dump_within(Duration::ZERO));
    assert_eq!(dump.find("task").unwrap().activity(), Activity::NotAnswered);
    runtime.block_on(ctx.close());
}

/// In a process of its own: the threshold is the process's.
#[test]
fn a_long_poll_is_told_once_for_each_line_and_listed() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dump::poll_for_long", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let told = |task| {
        let is_told = |line: &&str| line.contains("blocked the runtime") && line.contains(task);
        said.lines().filter(is_told).count()
    };
    assert_eq!((told("task=slow"), told("task=spinning")), (1, 1), "{said}");
    assert!(said.contains("blocking the runtime for"), "{said}");
    assert!(said.contains("parked for"), "{said}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn poll_for_long() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stdout)
        .with_ansi(false);
    subscriber.init();
    headcount::dump::set_long_poll_threshold(Duration::from_millis(5));
    multi_thread(2).block_on(async {
        let registry = Registry::new();
        let ctx = registry.context("ctx");
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (on, started) = oneshot::channel();
        ctx.task("spinning").spawn(async move {
            on.send(()).unwrap();
            ignore(gone.recv());
        });
        started.await.unwrap();
        ctx.task("parked").cancellable().spawn(sleeps());
        for _ in 0..3 {
            ctx.task("slow")
                .spawn(async { std::thread::sleep(Duration::from_millis(10)) });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        println!("{}", registry.live().await);
        println!("{}", registry.dump_within(Duration::from_millis(50)).await);
        drop(go);
        ctx.close().await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_straggler_is_named_with_its_stack_before_it_is_aborted() {
    let registry = Registry::new();
    let ctx = registry
        .context_builder("ctx")
        .grace(Duration::from_secs(1))
        .open();
    ctx.task("deaf").spawn(sleeps());
    settle().await;
    let still = ctx.close_within(Duration::ZERO).await.unwrap_err();
    let report = ctx.closed().await;
    let here = format!("tests/it/dump.rs:{SLEEPS}");
    for said in [&still.stuck(), &report.stuck()] {
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("ctx/deaf: parked") && said[0].contains(&here),
            "{said:?}"
        );
    }
    assert!(still.to_string().contains(&here), "{still}");
    assert!(report.to_string().contains(&here), "{report}");
    assert_eq!(report.aborted(), 1);
}

/// The close asks those who are still there before it aborts them, and one of them does not answer: meanwhile they are
/// leaks.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_a_leak_is_reported_with_its_stack() {
    let registry = Registry::new();
    let second = Duration::from_secs(1);
    let ctx = registry.context_builder("ctx").grace(second).open();
    ctx.task("deaf").spawn(sleeps());
    let mut silent = Box::pin(ctx.task("silent").wrap(sleeps()));
    assert!((&mut silent).now_or_never().is_none());
    settle().await;
    ctx.request_close("enough");
    sleep(second + Duration::from_millis(20)).await;
    let policy = headcount::leaks::LeakPolicy::new().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await;
    let deaf = report.findings().iter().find(|leak| leak.name() == "deaf");
    let said = deaf.unwrap().to_string();
    let stuck = format!("tests/it/dump.rs:{SLEEPS}");
    assert!(
        said.contains("stuck at") && said.contains(&stuck),
        "{report}"
    );
    drop(silent);
    ctx.close().await;
}

#[tokio::test]
async fn a_task_that_holds_a_leak_is_reported_with_its_stack() {
    let registry = Registry::new();
    let server = registry.context("server");
    let conn = registry.context("conn");
    let weak = conn.downgrade();
    server.task("reader").cancellable().spawn(async move {
        let _held = weak.upgrade().unwrap();
        sleeps().await;
    });
    settle().await;
    conn.close().await;
    drop(conn);
    let policy = headcount::leaks::LeakPolicy::new().settle(Duration::ZERO);
    let report = registry.leaks(&policy).await;
    let said = report.to_string();
    let here = format!("it::dump::sleeps at tests/it/dump.rs:{SLEEPS} → tokio::time::Sleep");
    let line = said
        .lines()
        .find(|line| line.trim().starts_with("holder at"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(
        line.contains("task reader: ") && line.ends_with(&here),
        "{said}"
    );
    server.close().await;
}

#[tokio::test]
async fn a_wrapped_future_that_is_handed_on_answers_from_where_it_is() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let mut wrapped = Box::pin(ctx.task("wrapped").wrap(sleeps()));
    assert!((&mut wrapped).now_or_never().is_none());
    let elsewhere = tokio::spawn(wrapped);
    settle().await;
    let dump = registry.dump().await;
    assert!(
        waits_at(dump.find("wrapped").unwrap(), SLEEPS, "Sleep"),
        "{dump}"
    );
    elsewhere.abort();
    ctx.close().await;
}

/// Nothing of a question stays behind: no waker, and no memory of the task.
#[tokio::test]
async fn the_wakers_are_gone_afterwards() {
    let wakes = Arc::new(crate::util::Wakes::default());
    let waker = std::task::Waker::from(Arc::clone(&wakes));
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    let mut wrapped = Box::pin(ctx.task("wrapped").wrap(sleeps()));
    let poll = |wrapped: &mut Pin<Box<_>>| {
        let wrapped: &mut Pin<Box<headcount::Wrapped<_>>> = wrapped;
        wrapped
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    };
    assert!(poll(&mut wrapped));
    let before = Arc::strong_count(&wakes);
    for _ in 0..10 {
        let woken = wakes.count();
        let answering = async {
            while wakes.count() == woken {
                tokio::task::yield_now().await;
            }
            assert!(poll(&mut wrapped));
        };
        let (dump, ()) = tokio::join!(registry.dump(), answering);
        assert_eq!(dump.find("wrapped").unwrap().stacks().len(), 1, "{dump}");
    }
    assert_eq!(Arc::strong_count(&wakes), before);
    assert!(wakes.count() >= 10);
    drop(wrapped);
    ctx.close().await;
    assert_eq!(Arc::strong_count(&wakes), 2);
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn a_dump_is_json() {
    let registry = Registry::new();
    let ctx = registry.context("ctx");
    ctx.task("task").cancellable().spawn(sleeps());
    settle().await;
    let json = serde_json::to_value(registry.dump().await).unwrap();
    let task = &json["tasks"][0];
    assert_eq!(
        (task["name"].as_str(), task["polls"].as_u64()),
        (Some("task"), Some(1))
    );
    let frames = task["stacks"][0]["frames"].as_array().unwrap();
    assert!(frames.iter().any(|frame| frame["line"] == SLEEPS), "{json}");
    ctx.close().await;
}

/// In a process of its own, which gets the signal from itself.
#[cfg(all(feature = "signal", unix))]
#[test]
fn a_signal_prints_a_dump() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dump::signal_oneself",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(
        said.contains("dump asked for by a signal (see tests/it/dump.rs:"),
        "{said}"
    );
    assert!(
        said.contains("ctx/task: parked") && said.contains(&format!("dump.rs:{SLEEPS}")),
        "{said}"
    );
}

#[cfg(all(feature = "signal", unix))]
#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn signal_oneself() {
    let registry = Registry::new();
    registry
        .dump_on(tokio::signal::unix::SignalKind::user_defined1())
        .unwrap();
    let ctx = registry.context("ctx");
    ctx.task("task").cancellable().spawn(sleeps());
    settle().await;
    // The first look at the debug information takes long.
    ignore(registry.dump().await);
    let me = std::process::id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-USR1", &me])
        .status();
    assert!(sent.unwrap().success());
    sleep(Duration::from_secs(3)).await;
    ctx.close().await;
}

/// What a task waits for, as it is printed, and the name of the future.
pub(crate) fn awaited(dump: &Dump, name: &str) -> (String, String) {
    let stacks = dump.find(name).unwrap().stacks();
    assert_eq!(stacks.len(), 1, "{dump}");
    let awaited = stacks[0].awaited().unwrap();
    let leaf = stacks[0].leaf().unwrap_or_default();
    (awaited.to_string(), leaf.to_owned())
}

#[tokio::test]
async fn what_of_a_registry_is_awaited_is_named() {
    let registry = Registry::new();
    let (ctx, other) = (registry.context("ctx"), registry.context("other"));
    let (open, closing) = (other.clone(), other.child("child"));
    let id = closing.id();
    ctx.task("closed").cancellable().spawn(async move {
        ignore(open.closed().await);
    });
    closing.task("deaf").spawn(sleeps());
    ctx.task("closer").cancellable().spawn(async move {
        ignore(closing.close().await);
    });
    let joined = ctx.task("joined").cancellable().spawn(sleeps());
    ctx.task("joiner").cancellable().spawn(async move {
        ignore(joined.await);
    });
    ctx.task("parked").cancellable().spawn(pending::<()>());
    settle().await;
    let dump = registry.dump().await;
    for (name, said, leaf) in [
        (
            "closed",
            "a close of other, which has not begun",
            "headcount::Context::closed",
        ),
        (
            "closer",
            "the close of other/child",
            "headcount::Context::closed",
        ),
        (
            "joiner",
            "the end of the task ctx/joined",
            "headcount::Task",
        ),
    ] {
        let named = awaited(&dump, name);
        assert_eq!((&*named.0, &*named.1), (said, leaf), "{dump}");
    }
    let (said, _) = awaited(&dump, "parked");
    assert_eq!(said, "nothing but its cancellation");
    let closer = dump.find("closer").unwrap().stacks()[0].awaited();
    assert!(
        matches!(closer, Some(Awaited::Close { id: of, has_begun: true, .. }) if *of == id),
        "{closer:?}"
    );
    assert!(dump.deadlocks().is_empty(), "{dump}");
    registry.close().await;
}
