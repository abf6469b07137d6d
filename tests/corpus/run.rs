//! Running programs: once with the leak, many times without.

use crate::{
    program::{Body, Program},
    world::{Line, World, lock},
};
use headcount::{
    Level, Registry,
    leaks::{LeakPolicy, LeakReport},
};
use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// How long a planted leak may take to look like one.
const SHORT: Duration = Duration::from_millis(50);
/// How long what is no leak may take to go: it is waited for only while it is there.
const LONG: Duration = Duration::from_secs(60);

/// When so many programs have failed, each perhaps after a long wait, the rest is left out.
const ENOUGH: usize = 10;

/// How often each twin runs on each runtime.
pub(crate) const RUNS: usize = 200;
/// Programs at a time.
const AT_ONCE: usize = 2;

/// How a program did.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Whether a finding of the right kind was there on each runtime.
    pub(crate) is_caught: bool,
    /// What the last one of them printed.
    pub(crate) report: Option<LeakReport>,
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    fn left_out() -> Self {
        Self {
            failures: vec!["was left out: enough others failed".to_owned()],
            ..Self::default()
        }
    }

    pub(crate) fn is_right(&self) -> bool {
        self.failures.is_empty()
    }
}

/// With the leak: the report must name it, and be clean when it is undone.
pub(crate) fn planted(program: &Program) -> Outcome {
    let mut outcome = Outcome {
        is_caught: true,
        ..Outcome::default()
    };
    for (flavor, runtime) in runtimes() {
        // What is there for good is not waited for twice.
        let is_for_good = program.expected.is_for_good;
        let rest = if is_for_good { SHORT } else { LONG };
        let played = guarded(|| runtime.block_on(play(program.planted, SHORT, rest)));
        let checked = played.and_then(|played| {
            let Played {
                culprit,
                report,
                rest,
            } = played;
            outcome.is_caught &= program.expected.is_caught(&report);
            outcome.report = Some(report.clone());
            let checked = program.expected.check(culprit, &report);
            checked.map_err(|wrong| format!("{wrong}\n{report}"))?;
            if is_for_good || rest.is_clean() {
                return Ok(());
            }
            Err(format!("undone, and still not clean\n{rest}"))
        });
        if let Err(wrong) = checked {
            outcome.failures.push(format!("on {flavor}: {wrong}"));
        }
        runtime.shutdown_timeout(LONG);
    }
    outcome
}

/// Without the leak, again and again: any finding is a false alarm.
pub(crate) fn twin(program: &Program) -> Outcome {
    let mut outcome = Outcome::default();
    for (flavor, runtime) in runtimes() {
        let alarm = (0..RUNS).find_map(|run| {
            let played = guarded(|| runtime.block_on(play(program.fixed, LONG, LONG)));
            let wrong = match played {
                Ok(played) if played.culprit.is_some() => "a twin has no culprit".to_owned(),
                Ok(played) if !played.report.is_clean() => played.report.to_string(),
                Ok(played) if !played.rest.is_clean() => format!("at its end: {}", played.rest),
                Ok(_) => return None,
                Err(wrong) => wrong,
            };
            Some(format!("on {flavor}, in run {run}: {wrong}"))
        });
        outcome.failures.extend(alarm);
        runtime.shutdown_timeout(LONG);
    }
    outcome
}

struct Played {
    culprit: Option<Line>,
    report: LeakReport,
    /// What is left when the leak is undone.
    rest: LeakReport,
}

/// The report of what is kept, and of what is left when that is undone, each after so long at the most.
async fn play(body: fn(World) -> Body, settle: Duration, rest: Duration) -> Played {
    let registry = Registry::new();
    registry.set_level(Level::Holders);
    let world = World::new(registry.clone());
    let program = registry.scope(body(world.clone()));
    let kept = timeout(LONG, program).await.expect("it hangs");
    let report = registry.leaks(&world.policy().settle(settle)).await;
    drop(kept);
    world.undo();
    let nothing = LeakPolicy::nothing_left().ignore_dropped().settle(rest);
    Played {
        culprit: world.culprit(),
        rest: registry.leaks(&nothing).await,
        report,
    }
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let multi_thread = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let current_thread = Builder::new_current_thread().enable_all().build();
    [
        ("current_thread", current_thread.unwrap()),
        ("multi_thread", multi_thread.unwrap()),
    ]
}

/// Panics, in whatever task or thread: no program means one.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes panics down from now on.
pub(crate) fn listen_to_panics() {
    set_hook(Box::new(|info| lock(&PANICS).push(info.to_string())));
}

pub(crate) fn panics() -> Vec<String> {
    mem::take(&mut *lock(&PANICS))
}

/// Says what it panicked with.
fn guarded<T>(play: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(play)).map_err(|payload| {
        let said = payload.downcast_ref::<String>().cloned();
        let said = said.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        format!("panicked: {}", said.unwrap_or_default())
    })
}

/// Runs each program, a few at a time; the outcomes are in the order of the programs.
pub(crate) fn each(programs: &[Program], run: fn(&Program) -> Outcome) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::<(usize, Outcome)>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, SeqCst);
                    let Some(program) = programs.get(at) else {
                        return;
                    };
                    let failed = lock(&outcomes)
                        .iter()
                        .filter(|(_, outcome)| !outcome.is_right())
                        .count();
                    let outcome = if failed < ENOUGH {
                        run(program)
                    } else {
                        Outcome::left_out()
                    };
                    lock(&outcomes).push((at, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
