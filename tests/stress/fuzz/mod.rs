//! Random operations over the whole interface, against a model.
//!
//! A round has a registry of its own. A few threads, and the tasks, hooks and destructors that they make, do
//! random operations on it: [`ops`] has the list. Each future, output, hook and value counts itself ([`model`]).
//! Then everything is let go of, the registry is closed on a fresh runtime, and [`check`] compares what was
//! counted. A panic that is not on purpose is a failure ([`panics`]), and so is a round that does not end, or
//! memory that does not come back.
//!
//! `HEADCOUNT_SEED=<n>` repeats a run, `HEADCOUNT_ROUND=<n>` one round of it, as far as threads keep to the
//! same order. `HEADCOUNT_FUZZ_OPS=<n>` does so many operations in each test, or with that one round. Kinds of operations can be
//! switched off ([`kinds`]).

mod check;
mod closes;
mod contexts;
mod destructor;
mod endings;
mod fate;
mod handles;
mod hooks;
mod kinds;
mod listings;
mod model;
mod needs;
mod ops;
mod panics;
mod records;
mod running;
mod runtimes;
mod script;
mod sets;
mod target;
mod tasks;
mod values;
mod watchdog;
mod world;
mod wrapped;

use crate::{
    common::{Dice, alone, short_or_full},
    counting::held,
};
use kinds::{Kind, Kinds};
use runtimes::Shape;
use std::{
    panic::resume_unwind,
    str::FromStr,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};
use watchdog::Progress;
use world::{At, World};

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn anything_goes_on_a_current_thread_runtime() {
    fuzz(Shape::CurrentThread);
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn anything_goes_on_one_worker() {
    fuzz(Shape::OneWorker);
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn anything_goes_on_two_workers() {
    fuzz(Shape::TwoWorkers);
}

#[test]
#[ignore = "stress: takes seconds, run by .ci/run"]
fn anything_goes_on_several_runtimes_that_end() {
    fuzz(Shape::SeveralThatEnd);
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    let Ok(number) = text.parse() else {
        panic!("{variable} is a number, not {text:?}")
    };
    Some(number)
}

fn fuzz(shape: Shape) {
    let _alone = alone();
    let _watch = panics::Watch::new();
    // Those of a test that failed before.
    drop(panics::take_failures());
    let started = Instant::now();
    let run = watchdog::run(shape, move |progress| rounds(shape, progress));
    println!(
        "{shape:?}: {} operations in {} rounds, {:.1} s; {} events",
        run.operations,
        run.rounds,
        started.elapsed().as_secs_f32(),
        panics::events(),
    );
    if std::env::var("HEADCOUNT_FUZZ_LIST").is_ok() {
        for (name, count) in ops::done() {
            println!("{count:>10} {name}");
        }
    }
}

/// How much was done.
#[derive(Default)]
pub(crate) struct Run {
    operations: usize,
    rounds: usize,
    memory: Memory,
}

fn rounds(shape: Shape, progress: &Progress) -> Run {
    let dice = Dice::new();
    let kinds = Kinds::from_env();
    look_up_symbols();
    let most = number("HEADCOUNT_FUZZ_OPS").unwrap_or(short_or_full(250_000, 5_000_000));
    let mut run = Run::default();
    if let Some(only) = number("HEADCOUNT_ROUND") {
        // Once, or again and again: threads do not always keep to the same order.
        let most = number("HEADCOUNT_FUZZ_OPS").unwrap_or(1);
        while run.operations < most {
            run.operations += round(shape, kinds, only, &dice, progress);
            run.rounds += 1;
        }
        return run;
    }
    while run.operations < most {
        run.operations += round(shape, kinds, run.rounds, &dice, progress);
        run.memory.note(run.rounds);
        run.rounds += 1;
    }
    run.memory.check();
    run
}

/// The tables of symbols that a backtrace needs stay in memory once they were read: 30 MB.
fn look_up_symbols() {
    let backtrace = std::backtrace::Backtrace::force_capture().to_string();
    assert!(!backtrace.is_empty());
    #[cfg(feature = "dump")]
    crate::common::current_thread().block_on(async {
        let ctx = headcount::Registry::new().context("ctx");
        let task = ctx.spawn(std::future::pending::<()>());
        tokio::task::yield_now().await;
        drop(task.trace().await);
        ctx.request_close("that was all");
        task.abort();
    });
}

/// Does one round; returns how many operations that were.
fn round(shape: Shape, kinds: Kinds, number: usize, dice: &Dice, progress: &Progress) -> usize {
    let kinds = if number % STRETCH < FORGETFUL {
        kinds
    } else {
        kinds.without(Kind::Forget)
    };
    let mut dice = dice.fork(number + 1).fork(shape as usize);
    let (actors, most) = (1 + dice.below(4), 50 + dice.below(450));
    if kinds.has(Kind::Subscriber) && dice.once_in(4) {
        panics::arm_subscriber(5 + dice.below(40));
    }
    let world = World::new(kinds, shape, most, &mut dice);
    progress.begins(number, &world);
    thread::scope(|scope| {
        let threads = (0..actors).map(|actor| {
            let (world, mut dice) = (&world, dice.fork(actor));
            let builder = thread::Builder::new().name("fuzz actor".to_owned());
            let run = move || {
                while !world.is_spent() {
                    ops::act(world, &mut dice, At::Thread);
                    dice.dawdle(200);
                }
            };
            builder.spawn_scoped(scope, run).expect("a thread")
        });
        // The scope waits for what they run, not until they have ended, and the leak sanitizer takes what a thread has left for
        // leaked if the process ends meanwhile.
        for thread in threads.collect::<Vec<_>>() {
            thread
                .join()
                .unwrap_or_else(|payload| resume_unwind(payload));
        }
    });
    check::end(&world, &mut dice);
    panics::arm_subscriber(0);
    let failures = panics::take_failures();
    assert!(
        failures.is_empty(),
        "{shape:?}, HEADCOUNT_SEED={} HEADCOUNT_ROUND={number}: {} failures, the first: {}",
        Dice::seed(),
        failures.len(),
        failures[0]
    );
    world.counts.operations.load(SeqCst)
}

/// Whether memory comes back.
///
/// Rounds come in stretches. In the first few of each things may be forgotten; what is allocated before the others
/// and after them is compared. Some memory is kept for good, but allocated once: callsites of events, and the line tables
/// that whatever looks up symbols has read, some megabytes of them. With dumps that comes in
/// half of the stretches. What leaks comes in nearly all of them, so the quarter that grew least is judged.
#[derive(Default)]
struct Memory {
    before: Option<isize>,
    /// By how much each stretch grew.
    grown: Vec<isize>,
}

/// Rounds of a stretch, and those of them in which things may be forgotten.
const STRETCH: usize = 64;
const FORGETFUL: usize = 8;
/// By how many bytes a stretch may grow. With dumps, what is kept of the symbols that are looked up grows for a long time.
const MOST: isize = if cfg!(feature = "dump") {
    16 << 10
} else {
    1 << 10
};
/// Fewer stretches say nothing.
const ENOUGH: usize = 5;

impl Memory {
    fn note(&mut self, round: usize) {
        match round % STRETCH + 1 {
            FORGETFUL => self.before = Some(settled()),
            STRETCH => {
                let before = self.before.take().expect("the stretch had a beginning");
                self.grown.push(settled() - before);
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let all = format!("{:?}", self.grown);
        self.grown.sort_unstable();
        let Some(&least) = self.grown.get(self.grown.len() / 4) else {
            return;
        };
        println!("{least} bytes more in a quarter of the stretches, or less: {all}");
        let is_flat = self.grown.len() < ENOUGH || least <= MOST;
        assert!(is_flat, "each {STRETCH} rounds leave {least} bytes: {all}");
    }
}

/// The bytes that are allocated when threads that end have had a moment for that.
fn settled() -> isize {
    let samples = (0..20).map(|_| {
        thread::sleep(Duration::from_millis(1));
        held()
    });
    samples.min().expect("there are some")
}
