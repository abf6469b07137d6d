//! How a close went: why it began, what became of the tasks and hooks, and what went wrong.

use crate::{
    clock,
    context::{
        close_reason::CloseReason,
        failure::Failure,
        log::Notes,
        refusal::Refusal,
        tally::{Counts, HookCounts},
    },
    name::Printed,
};
use std::{fmt, sync::Arc, time::Duration};

/// How a close went: why, how long, and what became of every task and hook.
///
/// Counts cover the whole life of the context and of its descendants. Clones are cheap; every
/// caller of [`close`](crate::Context::close) gets the same report (I8).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = headcount::Registry::new().context("job");
/// ctx.spawn(async {}).await.unwrap();
/// let report = ctx.close().await;
/// assert!(report.is_clean());
/// assert_eq!(report.finished(), 1);
/// assert!(report.to_string().starts_with("closed job (requested: close) in "));
/// # }
/// ```
#[derive(Clone)]
pub struct CloseReport(Arc<ReportData>);

#[cfg_attr(feature = "serde", derive(serde::Serialize))]
struct ReportData {
    name: String,
    reason: CloseReason,
    status: CloseStatus,
    duration: Duration,
    counts: Counts,
    hooks: HookCounts,
    is_clean: bool,
    has_lost_work: bool,
    /// Shared with the reports of all ancestors.
    failures: Vec<Failure>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "<[_]>::is_empty"))]
    refusals: Box<[Refusal]>,
    /// Tasks that were ended by force, and hooks at their time limit.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    stuck: Vec<Arc<str>>,
    /// Tasks and hooks that waited for each other; only with the feature `dump`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    deadlocks: Vec<Arc<str>>,
}

/// Whether the close has ended.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{CloseStatus, Registry};
/// let ctx = Registry::new().context("job");
/// let own = ctx.downgrade();
/// let inside = ctx.spawn(async move { own.upgrade().unwrap().close().await.status() });
///
/// assert_eq!(inside.await.unwrap(), CloseStatus::Begun); // it does not wait for itself
/// assert_eq!(ctx.closed().await.status(), CloseStatus::Closed);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum CloseStatus {
    /// Nothing of the context is left.
    Closed,
    /// The close was asked for from inside and goes on in the background (I10). The counts are those
    /// so far.
    Begun,
}

impl CloseReport {
    pub(crate) fn new(
        name: &str,
        status: CloseStatus,
        (reason, duration): (CloseReason, Duration),
        counts: Counts,
        notes: &mut Notes,
    ) -> Self {
        let has_failed = matches!(reason, CloseReason::Failed(_));
        let was_forced = counts.forced > 0 || counts.runtime_ended > 0;
        let is_clean = status == CloseStatus::Closed
            && !has_failed
            && !was_forced
            && !notes.has_lost_work
            && !notes.seen.any_unseen();
        let deadlocks = notes.deadlocks.iter();
        Self(Arc::new(ReportData {
            name: name.to_owned(),
            reason,
            status,
            duration,
            counts,
            hooks: notes.hooks,
            is_clean,
            has_lost_work: notes.has_lost_work,
            failures: notes.failures.clone(),
            refusals: notes.refusals.as_slice().into(),
            stuck: notes.stuck.clone(),
            deadlocks: deadlocks.map(|(_, text)| Arc::clone(text)).collect(),
        }))
    }

    /// Why the context closed: the first reason given.
    pub fn reason(&self) -> &CloseReason {
        &self.0.reason
    }

    /// Whether the close has ended; `Begun` only when it was asked for from inside.
    pub fn status(&self) -> CloseStatus {
        self.0.status
    }

    /// From the beginning of the close to its end.
    pub fn duration(&self) -> Duration {
        self.0.duration
    }

    /// Tasks whose future returned.
    pub fn finished(&self) -> u64 {
        self.0.counts.finished
    }

    /// Tasks that ended before they returned as their spawner had planned: cancellable ones that were dropped because the
    /// token was cancelled, and those that took longer than their [deadline](crate::TaskBuilder::deadline).
    pub fn cancelled(&self) -> u64 {
        self.0.counts.cancelled
    }

    /// Tasks that were dropped before they returned: aborted by hand, after the grace period, or by
    /// the end of their runtime.
    pub fn aborted(&self) -> u64 {
        self.0.counts.aborted
    }

    /// Those of the [aborted](Self::aborted) tasks that the close ended by force, after the grace period.
    pub fn forced(&self) -> u64 {
        self.0.counts.forced
    }

    /// Tasks that returned an error and were [fallible](crate::TaskBuilder::fallible), and tasks that ended too early and were
    /// [essential](crate::TaskBuilder::essential). They are also counted as finished, cancelled or aborted.
    pub fn failed(&self) -> u64 {
        self.0.counts.failed
    }

    /// Attempts of [supervised](crate::supervision) tasks after which another attempt was to follow. Each is also counted as
    /// finished, panicked, aborted or cancelled, and as [failed](Self::failed) if it returned an error. They are none of the
    /// [failures](Self::failures): only giving up is one.
    pub fn restarted(&self) -> u64 {
        self.0.counts.restarted
    }

    /// Tasks that panicked.
    pub fn panicked(&self) -> u64 {
        self.0.counts.panicked
    }

    /// Spawns and wraps that were dropped because they came after the close had begun, or because the context had as many tasks
    /// as it [may](crate::ContextBuilder::max_tasks). Those handed back by a `try_` method do not count.
    ///
    /// What comes after the end of the close is counted by the nearest context above that has not closed, else by the
    /// registry.
    pub fn refused(&self) -> u64 {
        self.0.counts.refused
    }

    /// Where those were refused, and by which task: at most 32 lines.
    pub fn refusals(&self) -> &[Refusal] {
        &self.0.refusals
    }

    /// Descendants that closed, over the whole life of the context.
    pub fn children(&self) -> u64 {
        self.0.counts.children
    }

    /// What became of the hooks.
    pub fn hooks(&self) -> HookCounts {
        self.0.hooks
    }

    /// What went wrong in tasks, hooks and destructors, in this context and below it. At most 32; the counters have them all.
    pub fn failures(&self) -> &[Failure] {
        &self.0.failures
    }

    /// The tasks that the close ended by force, or could not end; at most 10 of a context, 32 in all. With the feature `dump` each
    /// with its chain of `.await`s just before, and also the hooks at their time limit. Where a deadline leaves no time to look
    /// up the lines, a task is named without them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let ctx = headcount::Registry::new().context("server");
    /// ctx.task("handler").spawn(std::future::pending::<()>());
    /// let report = ctx.close().await;
    /// assert_eq!(report.forced(), 1);
    /// assert!(report.stuck()[0].contains("server/handler"));
    /// # }
    /// ```
    pub fn stuck(&self) -> Vec<String> {
        self.0.stuck.iter().map(ToString::to_string).collect()
    }

    /// Tasks and hooks that waited for each other while it closed, in this context or below it, each with its line: see
    /// [`Dump::deadlocks`](crate::dump::Dump::deadlocks). At most 32.
    ///
    /// A close looks for them 1 s, 3 s, 7 s … after it began, and after a hook did, and before it aborts tasks; a warning
    /// event tells of each.
    #[cfg(feature = "dump")]
    pub fn deadlocks(&self) -> Vec<String> {
        self.0.deadlocks.iter().map(ToString::to_string).collect()
    }

    /// Whether nothing was lost (I16). That is:
    ///
    /// * no task was ended by force: by the close after the grace period, or by the end of its runtime;
    /// * no failure went unseen. The failure of a task is seen if its result was taken from its [`Task`](crate::Task) handle
    ///   before this report was made; those of hooks, destructors and wrapped futures cannot be;
    /// * no spawn or wrap of a task or hook of this context or below it was dropped because the context was closing. One that a
    ///   `try_` method hands back is not lost, and neither is one from outside: that comes too late in every shutdown;
    /// * the reason is not [`Failed`](CloseReason::Failed), and the close has ended.
    ///
    /// So a close is clean in spite of tasks that were aborted by hand or superseded, and of wrapped futures that their owner
    /// dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let registry = headcount::Registry::new();
    /// let seen = registry.context("seen");
    /// assert!(seen.spawn(async { panic!("on purpose") }).await.is_err());
    /// let report = seen.close().await;
    /// assert_eq!((report.panicked(), report.is_clean()), (1, true));
    ///
    /// let unseen = registry.context("unseen");
    /// drop(unseen.spawn(async { panic!("on purpose") }));
    /// assert!(!unseen.close().await.is_clean());
    /// # }
    /// ```
    pub fn is_clean(&self) -> bool {
        self.0.is_clean
    }
}

#[cfg(feature = "testing")]
impl CloseReport {
    /// Tasks that have ended.
    pub(crate) fn tasks(&self) -> u64 {
        self.0.counts.tasks()
    }

    /// Whether work of its own was refused, and dropped.
    pub(crate) fn has_lost_work(&self) -> bool {
        self.0.has_lost_work
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.0;
        match facts.status {
            CloseStatus::Closed => write!(f, "closed {} ({})", Printed(&facts.name), facts.reason)?,
            CloseStatus::Begun => write!(f, "closing {} ({})", Printed(&facts.name), facts.reason)?,
        }
        write!(f, " in {}", clock::human(facts.duration))?;
        let counts = facts.counts;
        write!(f, "\n  tasks: {} finished", counts.finished)?;
        for (count, what) in [
            (counts.cancelled, "cancelled"),
            (counts.aborted, "aborted"),
            (counts.panicked, "panicked"),
            (counts.refused, "refused"),
            (counts.failed, "failed"),
            (counts.restarted, "restarted"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if facts.has_lost_work {
            write!(
                f,
                "\n  ! work spawned from inside the context was refused and lost"
            )?;
        }
        if counts.runtime_ended > 0 {
            let tasks = match counts.runtime_ended {
                1 => "1 task ended because its".to_owned(),
                ended => format!("{ended} tasks ended because their"),
            };
            write!(f, "\n  ! {tasks} runtime ended")?;
        }
        if counts.children > 0 {
            write!(f, "\n  descendants: {} closed", counts.children)?;
        }
        let hooks = facts.hooks;
        if hooks != HookCounts::default() {
            write!(
                f,
                "\n  hooks: {} ran, {} failed, {} timed out",
                hooks.ran, hooks.failed, hooks.timed_out
            )?;
        }
        for failure in &facts.failures {
            write!(f, "\n  ! {failure}")?;
        }
        let repeated = facts
            .refusals
            .iter()
            .filter(|refusal| refusal.is_repeated());
        for refusal in repeated {
            write!(f, "\n  ! {refusal}")?;
        }
        for deadlock in &facts.deadlocks {
            write!(f, "\n  ! {}", deadlock.replace('\n', "\n  "))?;
        }
        write_stuck(f, &facts.stuck)
    }
}

/// What did not end in time: equal stacks once, of what has the same name but for its numbers.
fn write_stuck(f: &mut fmt::Formatter<'_>, stuck: &[Arc<str>]) -> fmt::Result {
    let mut groups: Vec<(&str, &str, usize)> = Vec::new();
    for text in stuck {
        let (head, stack) = text.split_once('\n').unwrap_or((text, ""));
        // By the line that spawned it: names and numbers of polls differ.
        let is_like = |group: &&mut (&str, &str, usize)| {
            !stack.is_empty() && group.1 == stack && origin(group.0) == origin(head)
        };
        match groups.iter_mut().find(is_like) {
            Some((_, _, more)) => *more += 1,
            None => groups.push((head, stack, 0)),
        }
    }
    for (head, stack, more) in groups {
        write!(f, "\n  ! did not end in time: {head}")?;
        if more > 0 {
            write!(f, "\n    and {more} more, at the same place")?;
        }
        for line in stack.lines() {
            write!(f, "\n  {line}")?;
        }
    }
    Ok(())
}

/// The last part of what is said of a task: where it was spawned.
fn origin(head: &str) -> &str {
    head.rsplit_once(", ").map_or(head, |(_, origin)| origin)
}

impl fmt::Debug for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.0;
        f.debug_struct("CloseReport")
            .field("name", &facts.name)
            .field("reason", &facts.reason)
            .field("status", &facts.status)
            .field("duration", &facts.duration)
            .field("counts", &facts.counts)
            .field("hooks", &facts.hooks)
            .field("is_clean", &facts.is_clean)
            .field("failures", &facts.failures)
            .field("deadlocks", &facts.deadlocks)
            .finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for CloseReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
