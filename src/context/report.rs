//! How a close went: why it began, what became of the tasks and hooks, and what went wrong.

use crate::{
    clock,
    context::{
        hooks::{HookEnd, Origin},
        refusal::{Refusal, Refusals},
    },
    id::ResourceId,
    name::{Printed, Quoted},
    sync::{AtomicU64, Ordering::Relaxed},
    table::{
        record::{Outcome, Record},
        resource,
    },
};
use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

/// Failures a report lists; the counters go on beyond that.
const LISTED: usize = 32;

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
    /// Shared with the reports of all ancestors.
    failures: Vec<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "<[_]>::is_empty"))]
    refusals: Box<[Refusal]>,
    /// Where tasks were when the grace period ended, and hooks at their time limit; only with the feature `dump`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    stuck: Vec<Arc<str>>,
    /// Tasks and hooks that waited for each other; only with the feature `dump`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    deadlocks: Vec<Arc<str>>,
}

/// Whether the close has ended.
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

/// What became of the hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HookCounts {
    /// Hooks that ran to their end, those that failed included.
    pub ran: u64,
    /// Hooks that returned an error or panicked, or could not run because no runtime was left.
    pub failed: u64,
    /// Hooks that were dropped at the time limit.
    pub timed_out: u64,
}

/// What went wrong so far: kept while a close is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    hooks: HookCounts,
    failures: Vec<Arc<str>>,
    pub(crate) refusals: Refusals,
    /// Where tasks were when the grace period ended, and hooks at their time limit.
    pub(crate) stuck: Vec<Arc<str>>,
    /// Tasks and hooks that waited for each other, and the words for it.
    deadlocks: Vec<(Vec<ResourceId>, Arc<str>)>,
}

impl Log {
    /// Notes how a hook of this context ended; returns what went wrong, if something did.
    pub(crate) fn hook(
        &mut self,
        context: &dyn Record,
        origin: Origin,
        end: HookEnd,
    ) -> Option<String> {
        let failure = match end {
            HookEnd::Ran => {
                self.hooks.ran += 1;
                return None;
            }
            HookEnd::Failed(error) => {
                self.hooks.ran += 1;
                self.hooks.failed += 1;
                format!("hook {origin}: {error}")
            }
            HookEnd::TimedOut(at) => {
                self.hooks.timed_out += 1;
                if self.stuck.len() < LISTED {
                    self.stuck.extend(at);
                }
                format!("hook {origin}: timed out")
            }
        };
        self.failure(context, &failure);
        Some(failure)
    }

    /// Notes a hook that did not run to its end because its runtime was gone.
    pub(crate) fn interrupted(&mut self, context: &dyn Record, failure: &str) {
        self.hooks.failed += 1;
        self.failure(context, failure);
    }

    /// Notes anything else that went wrong in this context.
    pub(crate) fn failure(&mut self, context: &dyn Record, failure: &str) {
        if self.failures.len() < LISTED {
            let whole = format!("{failure} [{}]", resource::short_path(context));
            self.failures.push(whole.into());
        }
    }

    /// Notes where tasks were when the grace period ended.
    #[cfg(feature = "dump")]
    pub(crate) fn stuck(&mut self, tasks: &[crate::dump::view::TaskDump]) {
        let room = LISTED - self.stuck.len();
        let texts = tasks.iter().take(room).map(ToString::to_string);
        self.stuck.extend(texts.map(Arc::from));
    }

    /// Notes tasks that wait for each other, once: what is known of them now.
    #[cfg(feature = "dump")]
    pub(crate) fn deadlock(&mut self, members: &[ResourceId], text: &Arc<str>) {
        let mut known = self.deadlocks.iter_mut();
        if let Some((_, known)) = known.find(|(known, _)| known == members) {
            *known = Arc::clone(text);
        } else if self.deadlocks.len() < LISTED {
            self.deadlocks.push((members.to_vec(), Arc::clone(text)));
        }
    }

    /// Adds what a closed child noted.
    pub(crate) fn child(&mut self, child: &Self) {
        self.hooks.ran += child.hooks.ran;
        self.hooks.failed += child.hooks.failed;
        self.hooks.timed_out += child.hooks.timed_out;
        let room = LISTED - self.failures.len();
        self.failures
            .extend(child.failures.iter().take(room).cloned());
        self.refusals.child(&child.refusals);
        let room = LISTED - self.stuck.len();
        self.stuck.extend(child.stuck.iter().take(room).cloned());
        #[cfg(feature = "dump")]
        for (members, text) in &child.deadlocks {
            self.deadlock(members, text);
        }
    }
}

impl CloseReport {
    pub(crate) fn new(
        name: &str,
        status: CloseStatus,
        (reason, duration): (CloseReason, Duration),
        counts: Counts,
        log: Log,
    ) -> Self {
        Self(Arc::new(ReportData {
            name: name.to_owned(),
            reason,
            status,
            duration,
            counts,
            hooks: log.hooks,
            failures: log.failures,
            refusals: log.refusals.as_slice().into(),
            stuck: log.stuck,
            deadlocks: log.deadlocks.into_iter().map(|(_, text)| text).collect(),
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

    /// Tasks that panicked.
    pub fn panicked(&self) -> u64 {
        self.0.counts.panicked
    }

    /// Spawns and wraps that came after the close had begun, and were dropped. Those handed back by a
    /// `try_` method do not count.
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

    /// What went wrong in tasks, hooks and destructors, one line each: panics, errors, timeouts, and
    /// in which context. At most 32; the counters have them all.
    pub fn failures(&self) -> Vec<String> {
        self.0.failures.iter().map(ToString::to_string).collect()
    }

    /// Where the tasks were that still ran when the grace period ended, each with its chain of `.await`s, before they
    /// were aborted, and the hooks at their time limit. Of tasks at most 10 of a context; 32 in all.
    #[cfg(feature = "dump")]
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

    /// Whether everything ended by itself: nothing aborted, nothing panicked, every hook ran to its
    /// end without an error. Refusals do not count: in a shutdown they are the rule.
    pub fn is_clean(&self) -> bool {
        let facts = &self.0;
        facts.status == CloseStatus::Closed
            && facts.counts.aborted == 0
            && facts.counts.panicked == 0
            && facts.hooks.failed == 0
            && facts.hooks.timed_out == 0
            && facts.failures.is_empty()
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
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
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
            write!(f, "\n  ! {}", Quoted(failure))?;
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
        for stack in &facts.stuck {
            write!(
                f,
                "\n  ! did not end in time: {}",
                stack.replace('\n', "\n  ")
            )?;
        }
        Ok(())
    }
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

/// Why a context was closed. The first reason given wins (I8).
///
/// Text becomes [`Requested`](Self::Requested):
///
/// ```
/// use headcount::CloseReason;
/// assert_eq!(CloseReason::from("deploy").to_string(), "requested: deploy");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum CloseReason {
    /// The program asked for it, with these words.
    Requested(Cow<'static, str>),
    /// Its parent closed, or the registry it belongs to, for this reason, which is never `Parent` itself.
    Parent(#[cfg_attr(feature = "serde", serde(serialize_with = "root"))] Arc<CloseReason>),
    /// Something that it needs was to close ([`needs`](crate::ContextBuilder::needs)).
    Needed,
    /// It had run dry after [`finish`](crate::Context::finish).
    Finished,
    /// The last strong handle was dropped while it was open (I11).
    Dropped,
    /// It was idle for too long, in the judgement of the code that closed it.
    Culled,
    /// The service is shutting down.
    Shutdown,
    /// A task panicked, and the context was opened with
    /// [`close_on_panic`](crate::ContextBuilder::close_on_panic).
    Panic,
    /// Something newer took its place, in the judgement of the code that closed it.
    Superseded,
}

impl CloseReason {
    /// Where it began: the reason of the outermost context that closed, or this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{CloseReason, Registry};
    /// let app = Registry::new().context("app");
    /// let conn = app.child("conn");
    /// app.close_with("deploy").await;
    /// let reason = conn.close_reason().unwrap();
    /// assert!(matches!(reason, CloseReason::Parent(_)));
    /// assert_eq!(reason.root(), &CloseReason::from("deploy"));
    /// # }
    /// ```
    pub fn root(&self) -> &Self {
        match self {
            Self::Parent(root) => root,
            other => other,
        }
    }

    /// The reason for what lies below.
    pub(crate) fn of_parent(&self) -> Self {
        Self::Parent(match self {
            Self::Parent(root) => Arc::clone(root),
            other => Arc::new(other.clone()),
        })
    }
}

#[cfg(feature = "serde")]
fn root<S: serde::Serializer>(root: &CloseReason, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(root, serializer)
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested(text) => {
                return write!(f, "requested: {}", Printed(text));
            }
            Self::Parent(root) => return write!(f, "its parent closed, {root}"),
            Self::Needed => "what it needs closed",
            Self::Finished => "finished",
            Self::Dropped => "its last handle was dropped",
            Self::Culled => "culled",
            Self::Shutdown => "shutdown",
            Self::Panic => "a task panicked",
            Self::Superseded => "superseded",
        })
    }
}

impl From<&'static str> for CloseReason {
    fn from(text: &'static str) -> Self {
        Self::Requested(Cow::Borrowed(text))
    }
}

impl From<String> for CloseReason {
    fn from(text: String) -> Self {
        Self::Requested(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for CloseReason {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Requested(text)
    }
}

/// What became of the tasks of a context and of its descendants. Own tasks that finished are not counted here: the gate does,
/// in the step in which they leave.
///
/// Counters that only grow. Exact once the context is closed.
#[derive(Debug)]
pub(crate) struct Tally {
    finished: AtomicU64,
    cancelled: AtomicU64,
    aborted: AtomicU64,
    panicked: AtomicU64,
    refused: AtomicU64,
    children: AtomicU64,
}

/// A tally read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Counts {
    pub(crate) finished: u64,
    pub(crate) cancelled: u64,
    pub(crate) aborted: u64,
    pub(crate) panicked: u64,
    pub(crate) refused: u64,
    pub(crate) children: u64,
}

impl Counts {
    /// Tasks that have ended.
    pub(crate) fn tasks(&self) -> u64 {
        self.finished + self.cancelled + self.aborted + self.panicked
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            finished: zero(),
            cancelled: zero(),
            aborted: zero(),
            panicked: zero(),
            refused: zero(),
            children: zero(),
        }
    }

    #[inline]
    pub(crate) fn task(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Finished => &self.finished,
            Outcome::Cancelled => &self.cancelled,
            Outcome::Aborted => &self.aborted,
            Outcome::Panicked => &self.panicked,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Adds a closed child and everything that it counted.
    pub(crate) fn child(&self, counts: Counts) {
        self.finished.fetch_add(counts.finished, Relaxed);
        self.cancelled.fetch_add(counts.cancelled, Relaxed);
        self.aborted.fetch_add(counts.aborted, Relaxed);
        self.panicked.fetch_add(counts.panicked, Relaxed);
        self.refused.fetch_add(counts.refused, Relaxed);
        self.children.fetch_add(counts.children + 1, Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            finished: self.finished.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            refused: self.refused.load(Relaxed),
            children: self.children.load(Relaxed),
        }
    }
}
