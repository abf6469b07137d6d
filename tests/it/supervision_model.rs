//! Supervised tasks against a model of them: random operations over a few tasks, on paused time, and after each what must hold.
//!
//! The model knows when each attempt ends and when each pause does. The runtime's clock has a resolution of a millisecond, so all
//! times are whole ones, pauses included.

use crate::util::in_time;
use headcount::{
    CloseReport, Context, FailureKind, Registry, Resource, State,
    supervision::{Attempt, Restart, Supervised, SupervisedState, SupervisionEnd},
};
use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::sleep;

/// Random operations of one run.
const OPERATIONS: usize = 120_000;
/// A power of two of a second, and its double twice over: pauses are reckoned in floating point.
const MIN: u64 = 125;
const MAX: u64 = 500;
const PERIOD: u64 = 2_000;
const HEALTHY: u64 = 750;

/// Lets the few tasks that there are have their turns.
async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What an attempt does, after so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Return,
    Err,
    /// An error that is not to be retried.
    Final,
    Panic,
}

type Script = Arc<Mutex<VecDeque<(u64, Does)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The attempt ends then, in this way.
    Running(u64, Does),
    BackingOff(u64),
    Ended,
}

/// What one supervised task is to be like.
struct Model {
    now: u64,
    stage: Stage,
    since: u64,
    attempts: u64,
    always: bool,
    budget: usize,
    made: Vec<u64>,
    pause: u64,
    /// What the handle is to say at the end.
    end: Option<&'static str>,
    restarted: u64,
    failed: u64,
    panicked: u64,
    script: VecDeque<(u64, Does)>,
}

impl Model {
    fn begin(&mut self) {
        let (length, does) = self.script.pop_front().expect("the script is long enough");
        self.attempts += 1;
        self.since = self.now;
        self.stage = Stage::Running(self.now + length, does);
    }

    fn end(&mut self, how: &'static str) {
        self.stage = Stage::Ended;
        self.end = Some(how);
    }

    /// Lets everything happen until then, in order.
    fn advance(&mut self, until: u64) {
        loop {
            match self.stage {
                Stage::Running(at, does) if at <= until => {
                    self.now = at;
                    self.attempt_ends(does);
                }
                Stage::BackingOff(at) if at <= until => {
                    self.now = at;
                    self.begin();
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn attempt_ends(&mut self, does: Does) {
        match does {
            Does::Return if !self.always => return self.end("finished"),
            Does::Final => {
                self.failed += 1;
                return self.end("gave up");
            }
            Does::Err => self.failed += 1,
            Does::Panic => self.panicked += 1,
            Does::Return => {}
        }
        if self.now - self.since >= HEALTHY {
            self.made.clear();
            self.pause = MIN;
        }
        let now = self.now;
        self.made.retain(|at| now - at < PERIOD);
        if self.made.len() >= self.budget {
            // That it returned too often is a failure of its own.
            self.failed += u64::from(does == Does::Return);
            return self.end("gave up");
        }
        self.made.push(now);
        self.restarted += 1;
        self.stage = Stage::BackingOff(now + self.pause);
        self.pause = (2 * self.pause).min(MAX);
    }

    fn restart_now(&mut self) {
        if let Stage::Running(..) = self.stage {
            self.restarted += 1;
        }
        if self.stage != Stage::Ended {
            self.begin();
        }
    }

    fn stop(&mut self) {
        if self.stage != Stage::Ended {
            self.end("stopped");
        }
    }
}

/// One attempt that must be alone.
struct Alone(Arc<AtomicUsize>);

impl Alone {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        assert_eq!(alive.fetch_add(1, SeqCst), 0, "attempts overlap");
        Self(Arc::clone(alive))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A context with one supervised task, and its model.
struct Pair {
    ctx: Context,
    feed: Supervised,
    model: Model,
    alive: Arc<AtomicUsize>,
}

fn script(random: &mut Random) -> VecDeque<(u64, Does)> {
    let mut step = || {
        let length = match random.below(8) {
            0 => HEALTHY + random.below(250),
            n => 1 + n * random.below(60),
        };
        let does = match random.below(20) {
            0 => Does::Final,
            1 | 2 => Does::Return,
            3..8 => Does::Panic,
            _ => Does::Err,
        };
        (length, does)
    };
    (0..600).map(|_| step()).collect()
}

fn attempt(
    steps: &Script,
    alive: &Arc<AtomicUsize>,
) -> impl Future<Output = Result<(), bool>> + use<> {
    let (length, does) = steps
        .lock()
        .unwrap()
        .pop_front()
        .expect("it is long enough");
    let alone = Alone::new(alive);
    async move {
        let _alone = alone;
        sleep(millis(length)).await;
        match does {
            Does::Return => Ok(()),
            Does::Err => Err(false),
            Does::Final => Err(true),
            // As a panic, without a message on the console.
            Does::Panic => resume_unwind(Box::new("on purpose")),
        }
    }
}

impl Pair {
    async fn new(registry: &Registry, random: &mut Random) -> Self {
        let ctx = registry.context("pair");
        let (script, always) = (script(random), random.below(2) == 0);
        let budget = u32::try_from(random.below(8)).unwrap();
        let rules = if always {
            Restart::always()
        } else {
            Restart::on_failure()
        };
        let rules = rules
            .jitter(false)
            .backoff(millis(MIN), millis(MAX))
            .budget(budget, millis(PERIOD))
            .healthy_after(millis(HEALTHY))
            .unless(|is_final: &bool| *is_final);
        let alive = Arc::new(AtomicUsize::new(0));
        let (steps, counted) = (Arc::new(Mutex::new(script.clone())), Arc::clone(&alive));
        let task = ctx.task("feed").cancellable();
        let feed = task
            .restart(rules)
            .run(move |_: Attempt| attempt(&steps, &counted));
        let mut model = Model {
            now: 0,
            stage: Stage::Ended,
            since: 0,
            attempts: 0,
            always,
            budget: budget as usize,
            made: Vec::new(),
            pause: MIN,
            end: None,
            restarted: 0,
            failed: 0,
            panicked: 0,
            script,
        };
        model.begin();
        settle().await;
        Self {
            ctx,
            feed,
            model,
            alive,
        }
    }

    /// What is so after each operation.
    async fn check(&self) {
        let (model, feed) = (&self.model, &self.feed);
        assert_eq!(feed.attempts(), model.attempts);
        let live = self.ctx.live().await;
        let entry = live.find("feed");
        let state = entry.map(Resource::state);
        match model.stage {
            Stage::Running(..) => {
                assert_eq!(feed.state(), SupervisedState::Running);
                assert_eq!(state, Some(State::Running));
            }
            Stage::BackingOff(until) => {
                assert_eq!(
                    feed.state(),
                    SupervisedState::BackingOff(millis(until - model.now))
                );
                assert_eq!(state, Some(State::BackingOff));
            }
            Stage::Ended => {
                assert_eq!((feed.state(), state), (SupervisedState::Ended, None));
            }
        }
        let is_running = matches!(model.stage, Stage::Running(..));
        assert_eq!(self.alive.load(SeqCst), usize::from(is_running));
        assert!(live.tasks().len() <= 1);
    }

    fn check_end(&self, end: &SupervisionEnd) {
        let how = match end {
            SupervisionEnd::Finished => "finished",
            SupervisionEnd::Stopped => "stopped",
            SupervisionEnd::Closed => "closed",
            SupervisionEnd::GaveUp(failure) => {
                assert_ne!(failure.kind(), FailureKind::EssentialEnded);
                "gave up"
            }
            other => panic!("{other}"),
        };
        assert_eq!(how, self.model.end.unwrap_or("closed"));
    }

    fn check_report(&self, report: &CloseReport, was_seen: bool) {
        let model = &self.model;
        assert_eq!(report.restarted(), model.restarted, "{report}");
        assert_eq!(
            (report.failed(), report.panicked()),
            (model.failed, model.panicked),
            "{report}"
        );
        let is_clean = was_seen || model.end != Some("gave up");
        assert_eq!(report.is_clean(), is_clean, "{report}");
        let ended = report.finished() + report.cancelled() + report.aborted() + report.panicked();
        assert_eq!(ended, model.attempts, "pauses are not counted: {report}");
    }

    /// Closes it, or finishes it, and begins anew.
    async fn close(self, random: &mut Random) {
        let was_seen = self.model.end.is_some() && random.below(2) == 0;
        if was_seen {
            self.check_end(&in_time(self.feed.ended()).await);
        }
        let is_running = matches!(self.model.stage, Stage::Running(..));
        // A finish waits for the attempt, which may fail then.
        let report = if is_running || random.below(2) == 0 {
            in_time(self.ctx.close()).await
        } else {
            in_time(self.ctx.finish()).await
        };
        self.check_report(&report, was_seen);
        self.check_end(&in_time(self.feed.ended()).await);
        assert_eq!(self.alive.load(SeqCst), 0);
    }
}

async fn run(seed: u64) {
    let mut random = Random(seed);
    let registry = Registry::new();
    let mut pair = Pair::new(&registry, &mut random).await;
    let mut operations = 0;
    while operations < OPERATIONS {
        operations += 1;
        match random.below(40) {
            0 => {
                pair.close(&mut random).await;
                pair = Pair::new(&registry, &mut random).await;
            }
            1 => {
                assert_eq!(pair.feed.stop(), pair.model.end.is_none());
                pair.model.stop();
            }
            2..6 => {
                assert_eq!(pair.feed.restart_now(), pair.model.end.is_none());
                pair.model.restart_now();
            }
            6 => drop(pair.feed.clone()),
            _ => {
                let length = 1 + random.below(300);
                sleep(millis(length)).await;
                let now = pair.model.now + length;
                pair.model.advance(now);
            }
        }
        settle().await;
        pair.check().await;
    }
    pair.close(&mut random).await;
    assert_eq!(registry.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn supervised_tasks_behave_as_the_model_says() {
    let seed = std::env::var("HEADCOUNT_SUPERVISION_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(since.subsec_nanos()) << 16 | 1
    });
    println!("HEADCOUNT_SUPERVISION_SEED={seed}");
    run(seed).await;
}
