//! Whether a run of a scenario went as it must, by the report of its registry's close.

use crate::{
    context::{
        failure::{Failure, FailureKind, LISTED},
        report::CloseReport,
    },
    registry::registry::Registry,
    sync::Ordering::Relaxed,
    testing::{
        disturbance::Disturbance,
        stage::{PLANTED, Stage},
    },
};
use std::time::Duration;

/// What is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    pub(super) limit: Option<Duration>,
    pub(super) allows_panics: bool,
    pub(super) allows_unclean: bool,
}

/// What went wrong, in words.
pub(super) fn of(stage: &Stage, report: &CloseReport, settings: Settings) -> Result<(), String> {
    let disturbance = stage.disturbed_by();
    if let Some(fault) = stage.faults.take().into_iter().next() {
        return Err(fault);
    }
    if let Some(said) = stage.panicked.take() {
        if !(settings.allows_panics && disturbance.is_some()) {
            return Err(format!(
                "the scenario itself panicked: {said}\n(`CloseAnywhere::allow_panics` allows that)"
            ));
        }
    }
    sums(stage, report)?;
    if settings.allows_unclean {
        return Ok(());
    }
    nothing_lost(report, disturbance, settings)
}

/// Each task that was accepted has ended in one way, and each hook that was registered.
fn sums(stage: &Stage, report: &CloseReport) -> Result<(), String> {
    let (tasks, hooks) = accepted(&stage.registry);
    let ended = report.tasks();
    if ended != tasks as u64 {
        return Err(format!(
            "accepted tasks: {tasks}, tasks that have ended: {ended} (I2)\n\n{report}"
        ));
    }
    let failures = report.failures();
    // The rest is not listed.
    if failures.len() >= LISTED {
        return Ok(());
    }
    let count =
        |is_one: fn(&Failure) -> bool| failures.iter().filter(|one| is_one(one)).count() as u64;
    let interrupted = count(|one| one.kind() == FailureKind::HookInterrupted);
    // They are counted twice, because they were done in the end.
    let overran =
        count(|one| one.kind() == FailureKind::HookTimedOut && one.message() != "timed out");
    let counts = report.hooks();
    let ended = counts.ran + counts.timed_out + interrupted - overran;
    if ended != hooks as u64 {
        return Err(format!(
            "registered hooks: {hooks}, hooks that have ended: {ended} (I7)\n\n{report}"
        ));
    }
    Ok(())
}

/// Nothing was lost except by the disturbance itself.
fn nothing_lost(
    report: &CloseReport,
    disturbance: Option<Disturbance>,
    settings: Settings,
) -> Result<(), String> {
    let is_forceful = disturbance.is_some_and(Disturbance::is_forceful);
    if report.forced() > 0 && !is_forceful {
        let forced = report.forced();
        return Err(format!(
            "{forced} of the tasks did not end when their context closed, and had to be aborted after the grace period\n\n{report}"
        ));
    }
    if report.has_lost_work() && disturbance != Some(Disturbance::EndRuntime) {
        return Err(format!(
            "work of the scenario's own was refused and lost\n\n{report}"
        ));
    }
    let is_allowed = |failure: &&Failure| !is_allowed(failure, disturbance, settings);
    match report.failures().iter().find(is_allowed) {
        Some(failure) => Err(format!("{failure}\n\n{report}")),
        None => Ok(()),
    }
}

/// Whether the disturbance itself may bring this about.
fn is_allowed(failure: &Failure, disturbance: Option<Disturbance>, settings: Settings) -> bool {
    let Some(disturbance) = disturbance else {
        return failure.is_seen();
    };
    failure.is_seen()
        || failure.message() == PLANTED
        || match failure.kind() {
            FailureKind::TaskPanicked => settings.allows_panics,
            // They say by themselves that they could not go on.
            FailureKind::TaskFailed | FailureKind::EssentialEnded => true,
            FailureKind::HookTimedOut => disturbance.is_forceful(),
            FailureKind::HookInterrupted => disturbance == Disturbance::EndRuntime,
            _ => false,
        }
}

/// How many tasks a registry has accepted, and how many hooks it has, those that were cancelled left out.
fn accepted(registry: &Registry) -> (usize, usize) {
    let root = registry.root();
    let tasks = root.node.table.accepted.load(Relaxed);
    (tasks, root.registry.hooks.load(Relaxed))
}
