//! Which things are leaks: facts, and the limits of the policy.

use crate::{
    clock::RESOLUTION,
    id::ResourceId,
    leaks::{
        allow::Suspect,
        policy::LeakPolicy,
        snapshot::{Closing, LeakSnapshot, Thing},
    },
    ledger::{acquirer::Acquirer, handle_log::How},
    table::record::{Class, State},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    time::Duration,
};

/// Why something is a leak.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::{LeakKind, LeakPolicy}};
/// use std::time::Duration;
/// let registry = Registry::new();
/// let conns = [registry.context("conn-1"), registry.context("conn-2")];
/// let policy = LeakPolicy::new().settle(Duration::ZERO).max_count("context", 1);
/// let report = registry.leaks(&policy).await;
/// assert_eq!(report.of_kind(LeakKind::TooMany).count(), 1);
/// assert_eq!(report.of_kind(LeakKind::ClosedButHeld).count(), 0);
/// # drop(conns);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum LeakKind {
    /// A context is closed, or was closed round a value that it owned, and a handle is still held.
    ClosedButHeld,
    /// A task was cancelled, and runs on after its grace period.
    StillRunning,
    /// The last handle of a context was dropped while it was open.
    DroppedOpen,
    /// A context is open, and as far as is known only its own tasks have handles: then nothing else can ever close it.
    /// A task has a handle that it took, or that it used while it was one of its variables. One that it put elsewhere should say
    /// so, with [`held_by`](crate::Context::held_by).
    PinsItself,
    /// It is older than is allowed for its kind.
    TooOld,
    /// There are more than are allowed of the kind.
    TooMany,
    /// Its count rises again and again: see [`Growth::rising`](crate::leaks::Growth::rising).
    Growing,
    /// It is alive where nothing should be.
    StillThere,
    /// The runtime has more tasks than before, and they belong to no context: spawned with bare `tokio::spawn`.
    BareSpawn,
}

impl fmt::Display for LeakKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClosedButHeld => "closed but still held",
            Self::StillRunning => "cancelled but still running",
            Self::DroppedOpen => "dropped while open",
            Self::PinsItself => "held only by its own task",
            Self::TooOld => "older than allowed",
            Self::TooMany => "more than allowed",
            Self::Growing => "growing",
            Self::StillThere => "still there",
            Self::BareSpawn => "belongs to no context",
        })
    }
}

/// What is said of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Leak(LeakKind),
    /// The policy leaves it out, and what it keeps alive.
    Ignored,
}

/// The verdicts, and whether something is about to end by itself.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) flagged: BTreeMap<usize, Verdict>,
    /// A close is within its grace period.
    pub(crate) pending: bool,
    /// Contexts that their own tasks alone hold, but not for long enough to be sure.
    pub(crate) unsure: Vec<usize>,
}

impl Verdicts {
    /// Leaves out what was no leak at the look before: it has not had its time to settle yet. Returns what is left
    /// for the look after.
    pub(crate) fn narrow(
        &mut self,
        snapshot: &LeakSnapshot,
        before: Option<&HashSet<ResourceId>>,
    ) -> HashSet<ResourceId> {
        let id = |at: usize| snapshot.things[at].id();
        let is_leak = |verdict: &Verdict| matches!(verdict, Verdict::Leak(_));
        if let Some(before) = before {
            self.flagged
                .retain(|&at, verdict| !is_leak(verdict) || before.contains(&id(at)));
            self.unsure.retain(|&at| before.contains(&id(at)));
        }
        let leaks = self.flagged.iter().filter(|(_, verdict)| is_leak(verdict));
        let suspects = leaks.map(|(&at, _)| at).chain(self.unsure.iter().copied());
        suspects.map(id).collect()
    }
}

/// The longest time limit, of a grace period or a hook, that is waited for.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(60);

pub(crate) fn judge(snapshot: &LeakSnapshot, policy: &LeakPolicy) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for (at, thing) in snapshot.things.iter().enumerate() {
        if policy.ignored.contains(&thing.id()) || snapshot.is_asking(at) {
            continue;
        }
        if is_ignored(policy, thing) {
            verdicts.flagged.insert(at, Verdict::Ignored);
            continue;
        }
        match say(snapshot, policy, at) {
            Said::Fine => {}
            Said::Pending => verdicts.pending = true,
            Said::Unsure => verdicts.unsure.push(at),
            Said::Leak(kind) => {
                verdicts.flagged.insert(at, Verdict::Leak(kind));
            }
        }
    }
    verdicts
}

enum Said {
    Fine,
    /// It should be gone soon.
    Pending,
    /// It may be a leak if it stays.
    Unsure,
    Leak(LeakKind),
}

fn say(snapshot: &LeakSnapshot, policy: &LeakPolicy, at: usize) -> Said {
    let thing = &snapshot.things[at];
    if is_closed_but_held(thing) {
        return Said::Leak(LeakKind::ClosedButHeld);
    }
    if let Some(close) = close_over(snapshot, at) {
        return say_of_closing(policy, thing, close);
    }
    let pinned = pinned_for(snapshot, at);
    // The clock is no more exact than that.
    let tick = RESOLUTION.min(policy.settle / 2);
    if pinned.is_some_and(|time| time.saturating_add(tick) >= policy.settle) {
        return Said::Leak(LeakKind::PinsItself);
    }
    if is_too_old(policy, thing) {
        return Said::Leak(LeakKind::TooOld);
    }
    if policy.nothing_left {
        return Said::Leak(LeakKind::StillThere);
    }
    match pinned {
        Some(_) => Said::Unsure,
        None => Said::Fine,
    }
}

fn is_closed_but_held(thing: &Thing) -> bool {
    match thing.class() {
        Class::Context => thing.state() == State::Closed && thing.holders.strong_count() > 0,
        Class::Task => false,
        Class::Resource => thing.is_left,
    }
}

/// The close that a task or a context is in the middle of.
fn close_over(snapshot: &LeakSnapshot, at: usize) -> Option<&Closing> {
    let thing = &snapshot.things[at];
    match (thing.class(), snapshot.parent(at)) {
        (Class::Resource, _) => None,
        (Class::Context, _) => thing.close.as_ref(),
        (Class::Task, Some(context)) => snapshot.things[context].close.as_ref(),
        (Class::Task, None) => snapshot.root_close.as_ref(),
    }
}

fn say_of_closing(policy: &LeakPolicy, thing: &Thing, close: &Closing) -> Said {
    let hook = if close.hooks.is_empty() {
        Duration::ZERO
    } else {
        close.hook
    };
    let is_over = close.since > close.grace.saturating_add(hook);
    let ends_soon = close.grace <= LONGEST_GRACE && (thing.is_task() || hook <= LONGEST_GRACE);
    match (thing.is_task(), is_over) {
        (true, true) => Said::Leak(LeakKind::StillRunning),
        (_, false) if policy.nothing_left && ends_soon => Said::Pending,
        (true, _) if policy.nothing_left => Said::Leak(LeakKind::StillRunning),
        (false, _) if policy.nothing_left => Said::Leak(LeakKind::StillThere),
        _ => Said::Fine,
    }
}

/// How long an open context has been held by its own tasks alone: they may hold it for a moment.
///
/// A handle is a task's own if that took it and no other code is known to have used it, and if it was a variable of the task
/// when it was last used. One that a task uses through a reference may lie anywhere, such as in a struct that others share.
fn pinned_for(snapshot: &LeakSnapshot, at: usize) -> Option<Duration> {
    let thing = &snapshot.things[at];
    let holders = &thing.holders;
    if !thing.is_context() || holders.untracked() > 0 {
        return None;
    }
    let is_below = |id: ResourceId| {
        let index = snapshot.index_of(id);
        index.is_some_and(|index| snapshot.is_below(index, at) && !snapshot.is_asking(index))
    };
    let is_own = |by: &Acquirer| by.as_task().is_some_and(|task| is_below(task.id));
    let mut youngest = None;
    for holder in holders {
        let was_taken_here = is_own(&holder.entry.taken.by);
        // It may have been passed on: to the task that used it last, or into the declared container.
        let is_theirs = match &holder.entry.used {
            Some(used) => is_own(&used.by) && (was_taken_here || used.how == How::Owned),
            None => was_taken_here,
        };
        let lies_here = holder.inside().is_none_or(is_below);
        if !is_theirs || !lies_here {
            return None;
        }
        let age = holder.age()?;
        youngest = Some(youngest.map_or(age, |youngest: Duration| youngest.min(age)));
    }
    youngest
}

fn is_too_old(policy: &LeakPolicy, thing: &Thing) -> bool {
    let limit = policy.max_age.get(thing.resource.kind());
    limit.is_some_and(|limit| thing.resource.age() > *limit)
}

fn is_ignored(policy: &LeakPolicy, thing: &Thing) -> bool {
    let resource = &thing.resource;
    let suspect = Suspect::new(resource.kind(), resource.name(), resource.location());
    policy.leaves_out(&suspect)
}
