//! Tells what hangs.

use super::{Run, fate::ACCEPTED, model::Model, runtimes::Shape, world::World};
use crate::common::{Dice, lock};
use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, Weak,
        atomic::Ordering::Relaxed,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

/// No round takes so long, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(40);
/// A few seconds longer than the grace period of a registry's own tasks.
const SLOW: Duration = Duration::from_secs(10);
/// For the dump of a round that hangs.
#[cfg(feature = "dump")]
const DUMP_LIMIT: Duration = Duration::from_secs(2);

/// The round that runs just now.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Option<Round>>>);

struct Round {
    number: usize,
    world: Weak<World>,
    since: Instant,
    is_slow: bool,
}

impl Progress {
    pub(crate) fn begins(&self, number: usize, world: &Arc<World>) {
        let round = Round {
            number,
            world: Arc::downgrade(world),
            since: Instant::now(),
            is_slow: false,
        };
        let slow = lock(&self.0).replace(round);
        if let Some(slow) = slow.filter(|slow| slow.since.elapsed() > Duration::from_secs(2)) {
            println!("round {} took {:?}", slow.number, slow.since.elapsed());
        }
    }

    fn hangs(&self) -> Option<Round> {
        let mut round = lock(&self.0);
        let slow = round.as_mut().filter(|round| round.since.elapsed() > SLOW);
        if let Some(slow) = slow.filter(|slow| !slow.is_slow) {
            slow.is_slow = true;
            println!(
                "round {} is slow: now is the time for a debugger",
                slow.number
            );
        }
        round.take_if(|round| round.since.elapsed() > LIMIT)
    }
}

/// Runs rounds on a thread of their own, and fails if one of them does not end.
pub(crate) fn run(shape: Shape, rounds: impl FnOnce(&Progress) -> Run + Send + 'static) -> Run {
    let progress = Progress::default();
    let (done, is_done) = mpsc::channel::<()>();
    let told = progress.clone();
    let body = move || {
        let _done = done;
        rounds(&told)
    };
    let builder = thread::Builder::new().name("fuzz rounds".to_owned());
    let running = builder.stack_size(2 << 20).spawn(body).expect("a thread");
    while is_done.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        if let Some(round) = progress.hangs() {
            panic!("{shape:?}: {}", describe(&round));
        }
    }
    running
        .join()
        .unwrap_or_else(|payload| resume_unwind(payload))
}

fn describe(round: &Round) -> String {
    let Round { number, world, .. } = round;
    let seed = Dice::seed();
    let begin = format!("HEADCOUNT_SEED={seed} HEADCOUNT_ROUND={number} hangs");
    let Some(world) = world.upgrade() else {
        return format!("{begin}, and all of it is gone");
    };
    let failures = super::panics::take_failures();
    format!(
        "{begin} after {} operations, {}over; {} references\nfailures: {failures:#?}\nlatest: {:?}\n{}\n{}\n{}",
        world.counts.operations.load(Relaxed),
        if world.is_over() { "" } else { "not " },
        Arc::strong_count(&world),
        world.latest(),
        world.registry.live_now(),
        futures(&world),
        dump(&world),
    )
}

/// What is known of the futures that contexts accepted which have not closed.
fn futures(world: &World) -> String {
    let live = world.registry.live_now();
    let is_live = |model: &Model| model.parent.is_none() || live.find(&model.name).is_some();
    let fates = lock(&world.fates);
    let fates = fates
        .iter()
        .filter(|fate| fate.flags.has(ACCEPTED) && is_live(&fate.model));
    let lines = fates.map(|fate| format!("{}: {} {:?}\n", fate.model.name, fate.sort, fate.flags));
    lines.collect()
}

#[cfg(feature = "dump")]
fn dump(world: &World) -> String {
    let runtime = crate::common::current_thread();
    let dump = runtime.block_on(world.registry.dump_within(DUMP_LIMIT));
    runtime.shutdown_background();
    dump.to_string()
}

#[cfg(not(feature = "dump"))]
fn dump(_: &World) -> &'static str {
    "no dump without the feature"
}
