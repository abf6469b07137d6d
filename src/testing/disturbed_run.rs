//! One run of a scenario, disturbed before one of its polls, and everything that must hold at its end.

use crate::{
    clock::{self, human},
    context::{report::CloseReport, state::Core},
    leaks::policy::LeakPolicy,
    ledger::level::Level,
    panics,
    poll::observer,
    registry::registry::Registry,
    testing::{
        bare_spawns::BareSpawns,
        check,
        disturbance::Disturbance,
        stage::{Body, BodyFuture, Plan, Stage},
        verdict::{self, Settings},
    },
    timer::Timer,
};
use futures::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// How long a close and a scenario may take at least, on the paused clock.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a run may take in real time: something stops the paused clock.
const STALLED: Duration = Duration::from_secs(60);
/// What runs, the value it runs with, and what must hold of that afterwards.
pub(super) struct Scenario<'a, S> {
    pub(super) start: &'a dyn Fn(Registry, S) -> Body,
    pub(super) fresh: &'a dyn Fn() -> S,
    pub(super) check: &'a dyn Fn(S),
}

/// Something that went wrong.
pub(super) struct Fault {
    pub(super) what: String,
    /// What was about to be polled when the disturbance came; `None` if it did not come.
    pub(super) before: Option<String>,
}

/// Runs the scenario; returns how many polls there were.
pub(super) fn run<S: Clone>(
    plan: Plan,
    scenario: &Scenario<'_, S>,
    settings: Settings,
) -> Result<usize, Fault> {
    let state = (scenario.fresh)();
    let registry = Registry::new();
    registry.set_level(registry.level().max(Level::Holders));
    let body = {
        let (given, state, start) = (registry.clone(), state.clone(), scenario.start);
        // The scope also covers what the closure does before it returns its future.
        let body = start(given, state);
        registry.scope(body).boxed_local()
    };
    let stage = Rc::new(Stage::new(registry, plan, body));
    let observing = observer::observe(Rc::<Stage>::clone(&stage));
    let played = play(&stage, settings);
    drop(observing);
    let checked = played.and_then(|report| {
        verdict::of(&stage, &report, settings)?;
        panics::guarded(|| (scenario.check)(state)).map_err(|payload| {
            let said = panics::message(&*payload);
            panics::bury(payload);
            format!("the check at the end panicked: {said}")
        })
    });
    let before = stage.before.take();
    match checked {
        Ok(()) => Ok(stage.polls.get()),
        Err(what) => Err(Fault { what, before }),
    }
}

/// A runtime on this thread, whose clock goes on when there is nothing to do.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let built = builder.enable_all().start_paused(true).build();
    built.unwrap_or_else(|error| panic!("no runtime could be made: {error}"))
}

/// Runs the scenario on a runtime, and if that ends before it on another one that closes what is left. Returns the report of the
/// registry's close.
fn play(stage: &Rc<Stage>, settings: Settings) -> Result<CloseReport, String> {
    let first = runtime();
    let ended = unless_stalled(&first, stage, act(stage, settings));
    if !stage.is_halted.get() {
        match &ended {
            // It may wait for a closure that does not end.
            Err(_) => first.shutdown_background(),
            Ok(_) => drop(first),
        }
        return ended.map(|report| report.expect("only a runtime that ends has none"));
    }
    stage.drop_body();
    drop(first);
    stage.is_halted.set(false);
    let second = runtime();
    unless_stalled(&second, stage, async {
        let bare_spawns = BareSpawns::watch();
        let mut bodies = Bodies::new();
        finish(stage, &mut bodies, &bare_spawns, settings).await
    })
}

/// Runs a part of a run, for so long in real time.
fn unless_stalled<R>(
    runtime: &Runtime,
    stage: &Stage,
    part: impl Future<Output = Result<R, String>>,
) -> Result<R, String> {
    runtime.block_on(async {
        match select(pin!(part), Timer::new(STALLED)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => {
                let live = stage.registry.live_now();
                Err(format!(
                    "it did not end within {} of real time: the paused clock stands still while a blocking closure runs\n\n{live}",
                    human(STALLED)
                ))
            }
        }
    })
}

/// The scenario's own future, which is woken only for itself.
type Bodies = FuturesUnordered<BodyFuture>;

/// Plays the whole run. Returns nothing if the runtime is to end before that.
async fn act(stage: &Rc<Stage>, settings: Settings) -> Result<Option<CloseReport>, String> {
    let halted = pin!(stage.halted.notified());
    match select(pin!(act_to_the_end(stage, settings)), halted).await {
        Either::Left((ended, _)) => ended.map(Some),
        Either::Right(_) => Ok(None),
    }
}

/// Runs the scenario until it ends or is disturbed, and closes the registry.
async fn act_to_the_end(stage: &Rc<Stage>, settings: Settings) -> Result<CloseReport, String> {
    let bare_spawns = BareSpawns::watch();
    let mut bodies: Bodies = [BodyFuture(Rc::clone(stage))].into_iter().collect();
    let limit = settings.limit.unwrap_or(LIMIT);
    let (disturbed, time) = (pin!(stage.disturbed.notified()), pin!(clock::sleep(limit)));
    select(bodies.next(), select(disturbed, time)).await;
    if stage.disturbed_by() == Some(Disturbance::Drop) {
        check_that_nothing_holds_itself(stage, limit).await?;
    }
    finish(stage, &mut bodies, &bare_spawns, settings).await
}

/// The scenario's handles were dropped: the contexts that only it had close now, unless their own tasks hold them.
async fn check_that_nothing_holds_itself(stage: &Stage, limit: Duration) -> Result<(), String> {
    let (idle, time) = (pin!(stage.registry.idle()), pin!(clock::sleep(limit)));
    if matches!(select(idle, time).await, Either::Left(_)) {
        return Ok(());
    }
    let report = stage
        .registry
        .leaks(&LeakPolicy::new().ignore_dropped())
        .await;
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!(
            "left behind by the scenario when it was dropped\n\n{report}"
        ))
    }
}

/// Closes the registry, unless that has begun, and waits until nothing is left.
async fn finish(
    stage: &Rc<Stage>,
    bodies: &mut Bodies,
    bare_spawns: &BareSpawns,
    settings: Settings,
) -> Result<CloseReport, String> {
    let by_deadline = stage.deadline.take();
    if let Some(by_deadline) = by_deadline {
        beside(bodies, by_deadline)
            .await
            .map_err(|still| format!("the registry was not closed by the deadline\n\n{still}"))?;
    }
    let limit = settings
        .limit
        .unwrap_or_else(|| longest(&stage.registry).max(LIMIT));
    let report = beside(bodies, stage.registry.close_within(limit)).await;
    let report = report.map_err(|still| {
        format!(
            "the close of the registry has not ended after {}\n\n{still}",
            human(limit)
        )
    })?;
    stage.is_closed.set(true);
    if !has_ended(bodies, limit).await {
        let body = pin!(BodyFuture(Rc::clone(stage)));
        if let Err(at) = check::whereabouts(&stage.registry, body).await {
            let limit = human(limit);
            return Err(format!(
                "the scenario itself has not ended {limit} after the end of its registry's close: it waits for something that will not come\n\n{at}"
            ));
        }
    }
    let policy = LeakPolicy::nothing_left().ignore_dropped();
    let leaks = check::find_leaks(&stage.registry, &policy, bare_spawns).await;
    if leaks.is_clean() {
        Ok(report)
    } else {
        Err(format!("left behind when everything was closed\n\n{leaks}"))
    }
}

/// Whether the scenario ends within the limit.
async fn has_ended(bodies: &mut Bodies, limit: Duration) -> bool {
    let (ended, time) = (pin!(wait_for(bodies)), pin!(clock::sleep(limit)));
    matches!(select(ended, time).await, Either::Left(_))
}

async fn wait_for(bodies: &mut Bodies) {
    while bodies.next().await.is_some() {}
}

/// Waits for something, and runs the scenario meanwhile.
async fn beside<F: Future>(bodies: &mut Bodies, other: F) -> F::Output {
    match select(pin!(wait_for(bodies)), pin!(other)).await {
        Either::Left(((), other)) => other.await,
        Either::Right((output, _)) => output,
    }
}

/// How long the close of a registry may take by what its contexts allow: their grace periods, which double where children close
/// first, and their hooks, one after the other.
fn longest(registry: &Registry) -> Duration {
    let (mut sum, mut stack) = (Duration::ZERO, vec![Arc::clone(registry.root())]);
    while let Some(core) = stack.pop() {
        sum = sum.saturating_add(longest_of(&core));
        stack.extend(core.children());
    }
    sum
}

fn longest_of(core: &Core) -> Duration {
    let kept = core.hooks.on_close.count_latest(usize::MAX, |_| true);
    let hooks = u32::try_from(kept + 1).unwrap_or(u32::MAX);
    let (grace, hook) = (core.limits.grace, core.limits.hook);
    grace
        .saturating_mul(2)
        .saturating_add(hook.saturating_mul(hooks))
}
