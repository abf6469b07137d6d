//! The end of a round: everything is let go of, closed, and counted.

use super::{
    endings::{Ending, Whole},
    fate::{ACCEPTED, CANCELLED, DROPPED, EARLY, FAILED, Fate, RETURNED, STARTED},
    model::Model,
    panics::failure,
    records::{HookRecord, When},
    world::World,
};
use crate::common::{Dice, TIME_LIMIT, current_thread, lock, multi_thread};
use headcount::{CloseReason, CloseReport, CloseStatus};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

/// Long enough for a close that has nothing to wait for but what was forgotten.
const FORGOTTEN_LIMIT: Duration = Duration::from_millis(40);

/// Ends a round whose threads have ended. What hangs in here is told by the watchdog.
pub(crate) fn end(world: &Arc<World>, dice: &mut Dice) {
    world.end(dice);
    while !world.is_quiet() {
        thread::sleep(Duration::from_micros(20));
    }
    let ends_first = dice.once_in(2);
    if ends_first {
        world.runtimes.end_all(dice);
        check_dropped(world);
    } else {
        world.runtimes.end_idle();
    }
    let fresh = if dice.once_in(2) {
        current_thread()
    } else {
        multi_thread(1)
    };
    let report = fresh.block_on(close(world, dice));
    if let Some(report) = &report {
        check_drained(world, report);
    }
    world.runtimes.end_all(dice);
    drop(fresh);
    if report.is_some() {
        wait_for_threads(world);
        check_counts(world);
    }
}

/// I11: without handles, and without a runtime, contexts come to an end by themselves.
fn check_dropped(world: &World) {
    let has_forgotten = world.counts.has_forgotten.load(SeqCst);
    if !world.is_acyclic || has_forgotten {
        return;
    }
    let deadline = Instant::now() + TIME_LIMIT;
    while world.registry.count() > 0 {
        if Instant::now() > deadline {
            return failure(format_args!("not closed:\n{}", world.registry.live_now()));
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// Closes the registry; gives up where something was forgotten that it waits for.
async fn close(world: &World, dice: &mut Dice) -> Option<CloseReport> {
    if !world.root.never_closes() {
        let ending = match dice.below(4) {
            0 => Ending::CloseNow,
            1 => Ending::CloseBy(Duration::MAX),
            _ => Ending::Close,
        };
        let call = Whole::of_registry(world).call(ending);
        return call.wait(&world.root).await;
    }
    match world.registry.close_within(FORGOTTEN_LIMIT).await {
        Ok(report) => failure(format_args!("something was forgotten, and yet: {report}")),
        Err(still) => drop(still.to_string()),
    }
    None
}

/// I1, I7, I12: what holds as soon as the close has returned.
fn check_drained(world: &World, report: &CloseReport) {
    world.check(
        report.status() == CloseStatus::Closed,
        "the registry's close only began",
    );
    let fates = lock(&world.fates).clone();
    for fate in fates.iter().filter(|fate| fate.flags.has(ACCEPTED)) {
        if !fate.flags.has(DROPPED) {
            failure(format_args!(
                "a future of {} ({}) is alive after the close",
                fate.model.name, fate.sort
            ));
        }
    }
    check_sums(&world.root, &fates, report);
    check_hook_sums(world, report);
    for model in &*lock(&world.models) {
        check_context(model, &fates);
    }
    check_children(world, report);
}

/// Each accepted future is counted once, as what happened to it.
fn check_sums(model: &Model, fates: &[Arc<Fate>], report: &CloseReport) {
    let (mut finished, mut panicked, mut rest) = (0, 0, 0);
    for fate in fates {
        let flags = &fate.flags;
        if !flags.has(ACCEPTED) || !fate.model.is_inside(model) {
            continue;
        }
        match (flags.has(FAILED), flags.has(RETURNED)) {
            (true, _) => panicked += 1,
            (false, true) => finished += 1,
            (false, false) => rest += 1,
        }
    }
    let is_lossless = report.forced() == 0
        && report.hooks().failed + report.hooks().timed_out == 0
        && !matches!(report.reason(), CloseReason::Failed(_));
    if report.is_clean() && !is_lossless || report.forced() > report.aborted() {
        failure(format_args!("something was lost, and yet: {report:?}"));
    }
    // What ended with its runtime is among the aborted, and work of its own that was lost among the refused.
    let is_smooth = is_lossless && report.aborted() + report.refused() == 0;
    if !report.is_clean() && is_smooth && report.failures().is_empty() {
        failure(format_args!("nothing was lost, and yet: {report:?}"));
    }
    let counted = (
        report.finished(),
        report.panicked(),
        report.cancelled() + report.aborted(),
    );
    if counted != (finished, panicked, rest) || finished + panicked + rest != model.accepted() {
        let name = &model.name;
        failure(format_args!(
            "{name}: {finished} finished, {panicked} panicked, {rest} others of {}; {report}",
            model.accepted()
        ));
    }
}

/// I14: each context that was accepted closed once.
fn check_children(world: &World, report: &CloseReport) {
    let certain = world.counts.contexts.load(SeqCst);
    let perhaps = world.counts.contexts_perhaps.load(SeqCst);
    if !(certain..=certain + perhaps).contains(&report.children()) {
        failure(format_args!(
            "{certain} contexts, or {perhaps} more, were opened: {report}"
        ));
    }
    let spawns = world.counts.spawns.load(SeqCst);
    world.check(
        report.refused() <= spawns,
        "more were refused than were given",
    );
}

fn check_hook_sums(world: &World, report: &CloseReport) {
    let models = lock(&world.models);
    let hooks: Vec<_> = models
        .iter()
        .flat_map(|model| lock(&model.hooks).clone())
        .collect();
    drop(models);
    let count =
        |is: &dyn Fn(&HookRecord) -> bool| hooks.iter().filter(|hook| is(hook)).count() as u64;
    let ran = count(&|hook| hook.flags.has(RETURNED));
    let failed = count(&|hook| hook.flags.has(RETURNED) && hook.flags.has(FAILED));
    let cut = count(&|hook| !hook.flags.has(RETURNED) && !hook.flags.has(CANCELLED));
    let said = report.hooks();
    let is_right = said.ran == ran && said.failed + said.timed_out == failed + cut;
    if !is_right {
        failure(format_args!(
            "{ran} hooks ran, {failed} of them failed, {cut} were cut off: {report}"
        ));
    }
}

fn check_context(model: &Arc<Model>, fates: &[Arc<Fate>]) {
    if let Some(report) = model.report() {
        check_sums(model, fates, &report);
    }
    model.check_policy();
    for hook in &*lock(&model.hooks) {
        let flags = &hook.flags;
        if !flags.has(DROPPED) {
            failure(format_args!(
                "a hook of {} is alive after the close",
                model.name
            ));
        }
        if flags.has(STARTED) && flags.has(CANCELLED) {
            failure(format_args!(
                "a hook of {} ran and was cancelled",
                model.name
            ));
        }
    }
    for when in [When::Closing, When::Close] {
        let started = lock(&model.started);
        let early = started
            .iter()
            .filter(|hook| hook.when == when && hook.flags.has(EARLY));
        let numbers: Vec<_> = early.map(|hook| hook.number).collect();
        check_latest_first(model, &format!("hooks ({when:?})"), &numbers);
    }
    let dropped = lock(&model.owned_dropped);
    let early = dropped.iter().filter(|value| value.flags.has(EARLY));
    let numbers: Vec<_> = early.map(|value| value.number).collect();
    check_latest_first(model, "owned values", &numbers);
}

/// I7.
fn check_latest_first(model: &Model, what: &str, numbers: &[usize]) {
    if !numbers.is_sorted_by(|earlier, later| earlier > later) {
        failure(format_args!(
            "{what} of {} went in this order: {numbers:?}",
            model.name
        ));
    }
}

/// Threads of runtimes that were ended in the background may need another moment to drop their tasks.
fn wait_for_threads(world: &Arc<World>) {
    let is_left = || Arc::strong_count(world) > 1 || world.registry.count() > 0;
    let deadline = Instant::now() + TIME_LIMIT;
    while !world.counts.has_forgotten.load(SeqCst) && is_left() {
        if Instant::now() > deadline {
            let references = Arc::strong_count(world) - 1;
            return failure(format_args!(
                "{references} references to the round are left"
            ));
        }
        thread::sleep(Duration::from_micros(50));
    }
}

/// I6: nothing is left of anything.
fn check_counts(world: &World) {
    let counts = &world.counts;
    if counts.has_forgotten.load(SeqCst) {
        return check_forgotten(world);
    }
    if world.registry.count() > 0 {
        failure(format_args!(
            "entries are left:\n{}",
            world.registry.live_now()
        ));
    }
    for (what, made, dropped) in [
        ("outputs", &counts.outputs, &counts.outputs_dropped),
        ("values", &counts.values, &counts.values_dropped),
    ] {
        let (made, dropped) = (made.load(SeqCst), dropped.load(SeqCst));
        if made != dropped {
            failure(format_args!(
                "{made} {what} were made, and {dropped} dropped"
            ));
        }
    }
    for fate in &*lock(&world.fates) {
        world.check(
            fate.flags.has(DROPPED),
            "a future that was refused is there",
        );
    }
}

/// What was forgotten stays listed, and may keep anything else.
fn check_forgotten(world: &World) {
    let live = world.registry.live_now();
    let listed: HashSet<_> = live.iter().map(headcount::Resource::id).collect();
    for id in &*lock(&world.counts.forgotten) {
        world.check(listed.contains(id), "what was forgotten is not listed");
    }
}
