//! I6, measured: memory is O(live), never O(ever spawned), without any call by the user.
//!
//! A binary of its own, because its allocator counts. Run with
//! `cargo test --release --test stress_memory -- --ignored --nocapture`; `HEADCOUNT_STRESS=full` takes
//! longer.
//!
//! What tokio itself grows for as many tasks (run queues, timers) is grown before the first look, by as
//! many tasks of tokio's own.

#[path = "counting/mod.rs"]
mod counting;

use counting::held;
use headcount::{Context, Hook, Level, Registration, Registry};
use std::{
    sync::{
        Arc, Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
    task::{LocalSet, spawn_blocking, yield_now},
    time::sleep,
};

/// Tasks in all.
const TASKS: usize = 1_000_000;
/// Tasks alive at once where they come one after the other.
const TRICKLE: usize = 1_000;
/// Tasks alive at once where they come in bursts.
const BURST: usize = 100_000;
/// How many finished tasks may keep their allocation on a context that is left alone.
const STALE_TASKS: isize = 32;
/// What may remain besides: a few empty collections.
const CONSTANT: isize = 4 * 1024;
/// How long everything may take to come to rest.
const SETTLE: Duration = Duration::from_millis(10);
/// How long memory may take to come back without any call by the user.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// One measurement at a time: they would count each other's memory.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tasks() -> usize {
    match std::env::var("HEADCOUNT_STRESS").as_deref() {
        Ok("full") => 10 * TASKS,
        // A debug build is ten times as slow.
        _ if cfg!(debug_assertions) => TASKS / 5,
        _ => TASKS,
    }
}

/// What counts the tasks that have run.
#[derive(Clone, Default)]
struct Ran(Arc<AtomicUsize>);

impl Ran {
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Waits until fewer than `most` of `spawned` are alive.
    async fn catch_up(&self, spawned: usize, most: usize) {
        let start = Instant::now();
        while spawned - self.get() >= most.max(1) {
            assert!(start.elapsed() < TIME_LIMIT, "tasks do not end");
            yield_now().await;
        }
    }
}

/// A short task: ready at once, or after a wait.
async fn short(number: usize, ran: Ran) {
    if number % 2 == 0 {
        yield_now().await;
    }
    ran.0.fetch_add(1, SeqCst);
}

/// A task that is alive until it is told to end.
async fn gated(gate: Arc<Notify>, waiting: Ran, ran: Ran) {
    let told = gate.notified();
    waiting.0.fetch_add(1, SeqCst);
    told.await;
    ran.0.fetch_add(1, SeqCst);
}

/// A runtime that has grown all it needs for so many tasks at once.
fn warm(workers: usize, alive: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_time()
        .max_blocking_threads(4)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (ran, mut all) = (Ran::default(), Vec::new());
        for _ in 0..2 {
            let gate = Arc::new(Notify::new());
            let waiting = Ran::default();
            for _ in 0..alive {
                let task = gated(Arc::clone(&gate), waiting.clone(), ran.clone());
                all.push(tokio::spawn(task));
            }
            waiting.catch_up(alive, 1).await;
            gate.notify_waiters();
            for task in all.drain(..) {
                task.await.expect("it does not panic");
            }
        }
        for _ in 0..TRICKLE {
            let nap = || thread::sleep(Duration::from_micros(50));
            all.push(spawn_blocking(nap));
        }
        for task in all {
            task.await.expect("it does not panic");
        }
        // And all that this crate makes once per process or thread.
        let ctx = Registry::new().context("warm-up");
        for number in 0..TRICKLE {
            drop(ctx.spawn(short(number, ran.clone())));
        }
        ctx.close().await;
    });
    runtime
}

/// Bytes that one finished task retains, measured with a few, which are below the limit.
fn size_of_a_stale_task(runtime: &Runtime) -> isize {
    const FEW: usize = 8;
    let retained = |tasks: usize| {
        let registry = Registry::new();
        runtime.block_on(async {
            let ctx = registry.context("sample");
            let (gate, waiting, ran) = (Arc::new(Notify::new()), Ran::default(), Ran::default());
            sleep(SETTLE).await;
            let before = held();
            for _ in 0..tasks {
                drop(ctx.spawn(gated(Arc::clone(&gate), waiting.clone(), ran.clone())));
            }
            waiting.catch_up(tasks, 1).await;
            gate.notify_waiters();
            ran.catch_up(tasks, 1).await;
            sleep(SETTLE).await;
            let more = held() - before;
            ctx.close().await;
            more
        })
    };
    let few = isize::try_from(FEW).expect("it is small");
    let mut samples = [0; 3].map(|_: isize| (retained(1 + FEW) - retained(1)) / few);
    samples.sort_unstable();
    samples[1].max(0)
}

/// A registry whose table has the places that a table keeps for good once it needed them.
fn warm_registry() -> Registry {
    const KEPT: usize = 2_000;
    let registry = Registry::new();
    let entries: Vec<_> = (0..KEPT)
        .map(|_| registry.register("warm-up", "stress"))
        .collect();
    drop(entries);
    registry
}

/// Runs tasks on a context, leaves the context alone, and looks at what is held.
fn measure(what: &str, workers: usize, alive: usize, run: &impl AsyncFn(&Context)) {
    let _alone = alone();
    let runtime = warm(workers, alive);
    let stale = size_of_a_stale_task(&runtime);
    let registry = warm_registry();
    let ctx = runtime.block_on(async {
        sleep(SETTLE).await;
        registry.context("left alone")
    });
    let before = held();
    runtime.block_on(run(&ctx));
    let allowed = STALE_TASKS * stale + CONSTANT;
    let start = Instant::now();
    let more = loop {
        runtime.block_on(async { sleep(SETTLE).await });
        let more = held() - before;
        if more <= allowed || start.elapsed() > TIME_LIMIT {
            break more;
        }
    };
    println!(
        "{what}, {workers} workers: {more} more bytes than before, a stale task has {stale}, {allowed} are allowed"
    );
    assert!(
        more <= allowed,
        "{what}, {workers} workers: {more} bytes are retained"
    );
    let report = runtime.block_on(ctx.close());
    assert!(report.is_clean(), "{report}");
    drop(ctx);
    assert_eq!(registry.count(), 0);
}

async fn trickle(ctx: &Context) {
    let (ran, all) = (Ran::default(), tasks());
    for number in 0..all {
        drop(ctx.spawn(short(number, ran.clone())));
        ran.catch_up(number + 1, TRICKLE).await;
    }
    ran.catch_up(all, 1).await;
}

/// The same from several tasks at once, so that several sets are in use at once.
async fn trickle_from_all_sides(ctx: &Context) {
    const SIDES: usize = 4;
    let mut sides = Vec::new();
    for _ in 0..SIDES {
        let weak = ctx.downgrade();
        sides.push(tokio::spawn(async move {
            let (ran, all) = (Ran::default(), tasks() / 4 / SIDES);
            let ctx = weak.upgrade().expect("it is open");
            for number in 0..all {
                drop(ctx.spawn(short(number, ran.clone())));
                ran.catch_up(number + 1, TRICKLE / SIDES).await;
            }
            ran.catch_up(all, 1).await;
        }));
    }
    for side in sides {
        side.await.expect("it does not panic");
    }
}

async fn bursts(ctx: &Context) {
    for _ in 0..tasks() / BURST {
        let gate = Arc::new(Notify::new());
        let (waiting, ran) = (Ran::default(), Ran::default());
        for _ in 0..BURST {
            drop(ctx.spawn(gated(Arc::clone(&gate), waiting.clone(), ran.clone())));
        }
        waiting.catch_up(BURST, 1).await;
        gate.notify_waiters();
        ran.catch_up(BURST, 1).await;
    }
}

/// The handles are awaited, so each task ends while another task waits for it.
async fn awaited(ctx: &Context) {
    let ran = Ran::default();
    let mut handles = Vec::with_capacity(TRICKLE);
    for _ in 0..tasks() / 4 / TRICKLE {
        for number in 0..TRICKLE {
            handles.push(ctx.spawn(short(number, ran.clone())));
        }
        for handle in handles.drain(..) {
            handle.await.expect("it does not panic");
        }
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_million_short_tasks_leave_nothing_behind() {
    for workers in [0, 2, 4] {
        measure("short tasks", workers, TRICKLE, &trickle);
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn short_tasks_from_all_sides_leave_nothing_behind() {
    for workers in [0, 2, 4] {
        measure(
            "short tasks from all sides",
            workers,
            TRICKLE,
            &trickle_from_all_sides,
        );
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn a_million_tasks_in_bursts_leave_nothing_behind() {
    for workers in [0, 2, 4] {
        measure("bursts", workers, BURST, &bursts);
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn awaited_tasks_leave_nothing_behind() {
    for workers in [0, 2, 4] {
        measure("awaited tasks", workers, TRICKLE, &awaited);
    }
}

/// Blocking closures.
async fn blocking(ctx: &Context) {
    let (ran, all) = (Ran::default(), tasks() / 10);
    for number in 0..all {
        let ran_too = ran.clone();
        drop(ctx.spawn_blocking(move || ran_too.0.fetch_add(1, SeqCst)));
        ran.catch_up(number + 1, TRICKLE).await;
    }
    ran.catch_up(all, 1).await;
}

/// Local tasks.
async fn local(ctx: &Context) {
    let spawn = async {
        let (ran, all) = (Ran::default(), tasks() / 10);
        for number in 0..all {
            drop(ctx.spawn_local(short(number, ran.clone())));
            ran.catch_up(number + 1, TRICKLE).await;
        }
        ran.catch_up(all, 1).await;
        // What its own queue has grown to goes with the `LocalSet`.
        sleep(SETTLE).await;
    };
    LocalSet::new().run_until(spawn).await;
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn many_blocking_closures_leave_nothing_behind() {
    for workers in [0, 2] {
        measure("blocking closures", workers, TRICKLE, &blocking);
    }
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn many_local_tasks_leave_nothing_behind() {
    for workers in [0, 2] {
        measure("local tasks", workers, TRICKLE, &local);
    }
}

/// L8: 640,000 entries at once, of 64 threads, and the table is as small as before.
#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn the_table_gives_its_memory_back_after_64_threads() {
    const THREADS: usize = 64;
    const EACH: usize = 10_000;
    let _alone = alone();
    let registry = Registry::new();
    // The first round makes what arc-swap keeps for threads to come.
    for round in 0..3 {
        let before = held();
        let full = Barrier::new(THREADS + 1);
        let mut peak = 0;
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut entries = Vec::with_capacity(EACH);
                    entries.extend((0..EACH).map(|_| registry.register("entry", "stress")));
                    full.wait();
                    full.wait();
                });
            }
            full.wait();
            assert_eq!(registry.count(), THREADS * EACH);
            peak = held() - before;
            full.wait();
        });
        assert_eq!(registry.count(), 0);
        let more = held() - before;
        println!("round {round}: {peak} bytes at the peak, {more} afterwards");
        assert!(
            round == 0 || more <= CONSTANT,
            "{more} bytes of {peak} are kept"
        );
    }
}

/// The one entry that goes last goes on a thread that dropped no other.
#[test]
#[ignore = "stress: measures memory, run by .ci/run"]
fn the_table_gives_its_memory_back_whoever_drops_the_last_entry() {
    const ENTRIES: usize = 100_000;
    let _alone = alone();
    let registry = warm_registry();
    let before = held();
    // Several threads, because one of them may share a free list with this one.
    for round in 0..4 {
        let mut entries: Vec<_> = (0..ENTRIES)
            .map(|_| registry.register("entry", "stress"))
            .collect();
        let peak = held() - before;
        let last = entries.pop();
        drop(entries);
        thread::spawn(move || drop(last)).join().expect("it drops");
        assert_eq!(registry.count(), 0);
        let more = held() - before;
        println!("round {round}: {peak} bytes at the peak, {more} afterwards");
        assert!(more <= CONSTANT, "{more} bytes of {peak} are kept");
    }
}

/// I6: a name or a kind of one's own goes with its entry, be it a registration's or a task's.
#[test]
#[ignore = "stress: measures memory, run by .ci/run"]
fn names_go_with_their_entries() {
    const ENTRIES: usize = 1_000;
    let _alone = alone();
    let registry = warm_registry();
    let runtime = warm(0, 1);
    let long = || "n".repeat(10_000);
    let round = || {
        for _ in 0..ENTRIES {
            drop(registry.register(long(), "stress"));
            drop(registry.register("entry", long()));
        }
        runtime.block_on(async {
            let ctx = registry.context("names");
            for _ in 0..ENTRIES {
                drop(ctx.task(long()).spawn(async {}));
            }
            ctx.close().await;
        });
    };
    round();
    let before = held();
    round();
    let more = held() - before;
    assert!(more <= CONSTANT, "{more} bytes of names are kept");
}

/// The last two entries go at the same moment, on two threads, from different ends of a block.
#[test]
#[ignore = "stress: measures memory, run by .ci/run"]
fn the_table_gives_its_memory_back_when_the_last_entries_go_at_once() {
    const ENTRIES: usize = 190;
    const ROUNDS: usize = 10_000;
    let _alone = alone();
    let registry = Registry::new();
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let other: Mutex<Option<Registration>> = Mutex::default();
    let mut after = Vec::with_capacity(ROUNDS);
    let wait_for = |round: usize, count: &AtomicUsize| {
        while count.load(SeqCst) < round {
            std::hint::spin_loop();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                let mut mine = None;
                while mine.is_none() {
                    mine = other.lock().expect("the lock is not poisoned").take();
                }
                wait_for(round, &begun);
                drop(mine);
                ended.store(round, SeqCst);
            }
        });
        for round in 1..=ROUNDS {
            let mut entries: Vec<_> = (0..ENTRIES)
                .map(|_| registry.register("entry", "stress"))
                .collect();
            let (mine, others) = (entries.pop(), entries.swap_remove(ENTRIES / 2));
            drop(entries);
            *other.lock().expect("the lock is not poisoned") = Some(others);
            while other.lock().expect("the lock is not poisoned").is_some() {
                std::hint::spin_loop();
            }
            begun.store(round, SeqCst);
            for _ in 0..round % 64 {
                std::hint::spin_loop();
            }
            drop(mine);
            wait_for(round, &ended);
            after.push(held());
        }
    });
    assert_eq!(registry.count(), 0);
    let (best, worst) = (after.iter().min(), after.iter().max());
    let more = worst.expect("a round") - best.expect("a round");
    println!("{more} bytes more in the worst of {ROUNDS} rounds than in the best");
    assert!(more <= CONSTANT, "{more} bytes are kept");
}

/// I6: a ledger is as large as the handles that exist, whichever of them are left.
#[test]
#[ignore = "stress: measures memory, run by .ci/run"]
fn handles_that_came_and_went_leave_nothing_behind() {
    const HANDLES: usize = 100_000;
    let _alone = alone();
    let registry = warm_registry();
    registry.set_level(Level::Holders);
    let value = registry.own("value", "stress", ());
    let before = held();
    for survivor in [0, HANDLES / 2, HANDLES - 1] {
        let mut handles: Vec<_> = (0..HANDLES).map(|_| value.clone()).collect();
        let peak = held() - before;
        let survivor = handles.swap_remove(survivor);
        drop(handles);
        let more = held() - before;
        println!("{peak} bytes at the peak, {more} afterwards");
        assert!(more <= 4 * CONSTANT, "{more} bytes of {peak} are kept");
        drop(survivor);
    }
}

/// I6: of hooks that were cancelled, or have run, nothing is left.
#[test]
#[ignore = "stress: measures memory, run by .ci/run"]
fn hooks_that_are_gone_leave_nothing_behind() {
    const HOOKS: usize = 30_000;
    let _alone = alone();
    let registry = warm_registry();
    let runtime = warm(0, 1);
    let closing: fn(&Context) -> Hook = |ctx| ctx.on_closing(yield_now).expect("it is open");
    let close: fn(&Context) -> Hook = |ctx| ctx.on_close(yield_now).expect("it is open");
    for add in [closing, close] {
        let measure = |hooks: usize| {
            let ctx = registry.context("hooks");
            let before = held();
            let mut added: Vec<_> = (0..hooks).map(|_| add(&ctx)).collect();
            assert!(added.drain(..).all(|hook| hook.cancel()));
            drop(added);
            let cancelled = held() - before;
            (0..hooks).for_each(|_| drop(add(&ctx)));
            drop(runtime.block_on(ctx.close()));
            // Closed, and held.
            let more = held() - before;
            drop(ctx);
            println!(
                "{hooks} hooks: {cancelled} bytes after the last was cancelled, {more} after they ran"
            );
            (cancelled, more)
        };
        measure(HOOKS);
        let (few, many) = (measure(1), measure(HOOKS));
        let most = [few.0.max(0), few.1.max(0)].map(|few| few + 4 * CONSTANT);
        assert!(many.0 <= most[0] && many.1 <= most[1], "{many:?}, {few:?}");
    }
}
