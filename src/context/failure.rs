//! [`Failure`]: something that went wrong in a task, a hook or a destructor, as a value.

use crate::{
    clock,
    id::ResourceId,
    name::{Label, Printed, Quoted},
    sync::{
        AtomicU8,
        Ordering::{AcqRel, Acquire, Release},
    },
};
use std::{
    fmt,
    panic::Location,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Failures a report lists; the counters go on beyond that.
pub(crate) const LISTED: usize = 32;
/// How long a hook or a destructor has to block its thread to be noted.
const NOTED: Duration = Duration::from_secs(1);

/// What went wrong in a task, a hook or a destructor, and where.
///
/// Reports list them: [`CloseReport::failures`](crate::CloseReport::failures),
/// [`StillClosing::failures`](crate::StillClosing::failures), [`CloseReason::Failed`](crate::CloseReason::Failed). It prints as
/// one line. Clones are cheap; two are equal if they say the same.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::FailureKind;
/// let ctx = headcount::Registry::new().context("db");
/// ctx.on_close(|| async { Err::<(), _>("disk full") }).unwrap();
///
/// let report = ctx.close().await;
/// let failure = &report.failures()[0];
/// assert_eq!(failure.kind(), FailureKind::HookFailed);
/// assert_eq!((failure.path(), failure.message()), ("db", "disk full"));
/// assert!(failure.location().unwrap().file().ends_with(".rs"));
/// assert!(failure.to_string().ends_with("disk full [db]"));
/// # }
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Facts>);

struct Facts {
    kind: FailureKind,
    subject: Subject,
    path: String,
    /// What it did, before the message: `panicked`.
    verb: &'static str,
    message: String,
    stack: OnceLock<Arc<str>>,
    /// Whether it has been seen, one of the constants below.
    fate: AtomicU8,
}

/// A handle may still take the result.
const PENDING: u8 = 0;
/// The result was taken from the handle.
const SEEN: u8 = 1;
/// No handle will ever take it.
const UNSEEN: u8 = 2;

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Task {
        name: Label,
        location: &'static Location<'static>,
    },
    Hook {
        /// The function that registered it.
        name: &'static str,
        location: &'static Location<'static>,
    },
    Value {
        name: Label,
        id: ResourceId,
    },
}

/// In which way something failed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Failure, FailureKind, Registry};
/// let ctx = Registry::new().context("import");
/// ctx.on_close(|| async { panic!("no such table") }).unwrap();
/// ctx.task("rows").fallible().spawn(async { Err::<(), _>("bad row") });
///
/// let report = ctx.close().await;
/// let kinds: Vec<_> = report.failures().iter().map(Failure::kind).collect();
/// assert_eq!(kinds, [FailureKind::TaskFailed, FailureKind::HookPanicked]);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FailureKind {
    /// A task panicked.
    TaskPanicked,
    /// A [fallible](crate::TaskBuilder::fallible) task returned an error.
    TaskFailed,
    /// An [essential](crate::TaskBuilder::essential) task ended while its context was open.
    EssentialEnded,
    /// A [supervised](crate::supervision) task that is always restarted has returned more often than its budget allows.
    ReturnedTooOften,
    /// A hook panicked.
    HookPanicked,
    /// A hook returned an error.
    HookFailed,
    /// A hook was dropped at its time limit, or had blocked its thread beyond that, and for a second at least, when it was done.
    HookTimedOut,
    /// A hook could not run to its end, because no runtime was left for it.
    HookInterrupted,
    /// The destructor of an owned value, or of the output of a task, panicked.
    DestructorPanicked,
    /// The destructor of an owned value took longer than hooks may, and a second at least.
    DestructorTimedOut,
}

/// What a context does about a failure of a task, its own or one below it.
///
/// The nearest context decides, from the task's own upwards, that was opened with
/// [`on_failure`](crate::ContextBuilder::on_failure); then the registry. Failures of hooks and destructors are reported and
/// trigger nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{CloseReason, OnFailure, Registry};
/// let registry = Registry::new();
/// let server = registry.context_builder("server").on_failure(OnFailure::Close).open();
/// let plugin = server.child_builder("plugin").on_failure(OnFailure::Report).open();
///
/// let _ = plugin.spawn(async { panic!("nothing but the plugin") }).await;
/// assert!(!server.is_cancelled());
///
/// let _ = server.child("conn").spawn(async { panic!("the server's business") }).await;
/// let report = server.closed().await;
/// assert!(matches!(report.reason(), CloseReason::Failed(failure) if failure.path() == "server/conn"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// Nothing: the failure reaches the task's handle and the reports.
    Report,
    /// It closes, with the reason [`Failed`](crate::CloseReason::Failed).
    Close,
}

/// What follows from a failure of a task: decided when its context is opened, so that a failure costs the same at every depth.
pub(crate) enum FailurePolicy<C> {
    Report,
    /// The context itself closes.
    CloseThis,
    /// A context further up closes.
    Close(Arc<C>),
}

impl<C> FailurePolicy<C> {
    /// The policy of a context with this setting, below this one.
    pub(crate) fn of(set: Option<OnFailure>, above: Option<(&Arc<C>, &Self)>) -> Self {
        match (set, above) {
            (Some(OnFailure::Close), _) => Self::CloseThis,
            (Some(OnFailure::Report), _) | (None, None | Some((_, Self::Report))) => Self::Report,
            (None, Some((parent, Self::CloseThis))) => Self::Close(Arc::clone(parent)),
            (None, Some((_, Self::Close(context)))) => Self::Close(Arc::clone(context)),
        }
    }
}

impl Failure {
    /// A failure of something in the context with this path.
    pub(crate) fn new(
        kind: FailureKind,
        subject: Subject,
        path: String,
        (verb, message): (&'static str, String),
    ) -> Self {
        Self(Arc::new(Facts {
            kind,
            subject,
            path,
            verb,
            message,
            stack: OnceLock::new(),
            fate: AtomicU8::new(UNSEEN),
        }))
    }

    /// Notes the stack that it was in.
    pub(crate) fn note_stack(&self, stack: &Arc<str>) {
        let _ = self.0.stack.set(Arc::clone(stack));
    }

    /// The same, whose result a handle may take.
    pub(crate) fn pending(mut self) -> Self {
        if let Some(facts) = Arc::get_mut(&mut self.0) {
            facts.fate = AtomicU8::new(PENDING);
        }
        self
    }

    /// The name of the task or of the value; of a hook, the function that registered it.
    pub fn what(&self) -> &str {
        match &self.0.subject {
            Subject::Task { name, .. } | Subject::Value { name, .. } => name,
            Subject::Hook { name, .. } => name,
        }
    }

    /// The context that it happened in: names from the outermost one down, joined by `/`; of a deep one the last six.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The line that spawned the task or registered the hook; `None` for a value.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.0.subject {
            Subject::Task { location, .. } | Subject::Hook { location, .. } => Some(location),
            Subject::Value { .. } => None,
        }
    }

    /// In which way it failed.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// What it said: the message of a panic, the error, or what else happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where a hook waited at its time limit: its chain of `.await`s, if it answered.
    #[cfg(feature = "dump")]
    pub fn stack(&self) -> Option<&str> {
        self.0.stack.get().map(|stack| &**stack)
    }

    /// The result was taken from the task's handle.
    pub(crate) fn note_seen(&self) {
        self.0.fate.store(SEEN, Release);
    }

    /// The task's handle is gone, and has not taken the result.
    pub(crate) fn note_unseen(&self) {
        let fate = &self.0.fate;
        let _ = fate.compare_exchange(PENDING, UNSEEN, AcqRel, Acquire);
    }

    pub(crate) fn is_seen(&self) -> bool {
        self.0.fate.load(Acquire) == SEEN
    }

    /// Whether a handle may still take the result.
    pub(crate) fn is_pending(&self) -> bool {
        self.0.fate.load(Acquire) == PENDING
    }

    /// All of the line but the path.
    pub(crate) fn sentence(&self) -> String {
        let (verb, message) = (self.0.verb, &self.0.message);
        match &self.0.subject {
            Subject::Task { name, location } => format!(
                "task {} (spawned at {}:{}) {verb}{message}",
                Printed(name),
                location.file(),
                location.line()
            ),
            Subject::Hook { name, location } => format!(
                "hook {name} at {}:{}: {verb}{message}",
                location.file(),
                location.line()
            ),
            Subject::Value { name, id } => format!("{} {id} {verb}{message}", Printed(name)),
        }
    }
}

/// `hook db::open at src/db.rs:12: disk full [db]`
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = self.sentence();
        write!(f, "{} [{}]", Quoted(&sentence), Quoted(&self.0.path))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("what", &self.what())
            .field("path", &self.path())
            .field("location", &self.location().map(ToString::to_string))
            .field("message", &self.message())
            .field("has_stack", &self.0.stack.get().is_some())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let said = |of: &Self| (of.0.kind, of.0.verb);
        Arc::ptr_eq(&self.0, &other.0)
            || said(self) == said(other)
                && self.0.subject == other.0.subject
                && self.0.path == other.0.path
                && self.0.message == other.0.message
    }
}

impl Eq for Failure {}

#[cfg(feature = "serde")]
impl serde::Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Failure", 6)?;
        out.serialize_field("kind", &self.0.kind)?;
        out.serialize_field("what", self.what())?;
        out.serialize_field("path", self.path())?;
        out.serialize_field("location", &self.location().map(ToString::to_string))?;
        out.serialize_field("message", self.message())?;
        match self.0.stack.get() {
            Some(stack) => out.serialize_field("stack", &**stack)?,
            None => out.skip_field("stack")?,
        }
        out.end()
    }
}

/// Whether a hook or a destructor has blocked its thread for too long. What is below a second may be the system's doing.
pub(crate) fn is_overrun(took: Duration, limit: Duration) -> bool {
    took > limit && took >= NOTED
}

/// What is said of a hook or a destructor that has blocked its thread.
pub(crate) fn overrun(took: Duration, limit: Duration) -> (&'static str, String) {
    let (took, limit) = (clock::human(took), clock::human(limit));
    (
        "blocked its thread for ",
        format!("{took}; its time limit is {limit}"),
    )
}

/// Whether failures are seen: of a context, and of those below it that have closed.
///
/// Only those are kept whose handles are still there, so it is as large as the number of such handles, however many failures
/// there were.
#[derive(Debug, Default)]
pub(crate) struct SeenFailures {
    /// Those that were pending when they were added.
    pending: Vec<Failure>,
    /// Whether one of the others is unseen, for good.
    is_unseen: bool,
    /// How many are kept before those that are not pending any more are forgotten.
    most: usize,
}

impl SeenFailures {
    const LEAST: usize = 64;

    pub(crate) fn add(&mut self, failure: Failure) {
        if self.is_unseen || !failure.is_pending() {
            self.is_unseen |= !failure.is_seen();
            return;
        }
        if self.pending.len() >= self.most {
            self.forget();
        }
        self.pending.push(failure);
    }

    /// Forgets those whose fate is known.
    fn forget(&mut self) {
        self.pending.retain(|failure| {
            let is_pending = failure.is_pending();
            self.is_unseen |= !is_pending && !failure.is_seen();
            is_pending
        });
        self.most = (2 * self.pending.len()).max(Self::LEAST);
    }

    /// Adds those of a child. The smaller one goes into the larger one, so that a chain of contexts does not move them at each
    /// level (I13).
    pub(crate) fn child(&mut self, mut child: Self) {
        if self.pending.len() < child.pending.len() {
            std::mem::swap(self, &mut child);
        }
        self.is_unseen |= child.is_unseen;
        for failure in child.pending {
            self.add(failure);
        }
    }

    /// Whether one of them is unseen at this moment.
    pub(crate) fn any_unseen(&mut self) -> bool {
        while self.pending.last().is_some_and(Failure::is_seen) {
            self.pending.pop();
        }
        self.is_unseen || !self.pending.is_empty()
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_failures_with_handles_are_kept() {
        let mut all = SeenFailures::default();
        for n in 0..10_000 {
            let one = failure(&n.to_string()).pending();
            all.add(one.clone());
            one.note_seen();
            assert!(all.pending.len() <= SeenFailures::LEAST + 1);
        }
        assert!(!all.any_unseen() && all.pending.is_empty());
        let late = failure("late").pending();
        let mut parent = SeenFailures::default();
        all.add(late.clone());
        assert!(all.any_unseen());
        parent.child(all);
        assert!(parent.any_unseen());
        late.note_seen();
        assert!(!parent.any_unseen());
        parent.add(failure("without a handle"));
        assert!(parent.any_unseen());
    }

    fn failure(message: &str) -> Failure {
        let subject = Subject::Task {
            name: Label::borrowed("worker"),
            location: Location::caller(),
        };
        let said = ("panicked: ", message.to_owned());
        Failure::new(FailureKind::TaskPanicked, subject, "a/b".to_owned(), said)
    }

    #[test]
    fn it_is_one_line_however_many_its_message_has() {
        let line = failure("one\ntwo").to_string();
        assert!(line.ends_with("panicked: one\\ntwo [a/b]"), "{line}");
        let long = failure(&"x".repeat(10_000)).to_string();
        assert!(long.len() < 1_200 && long.ends_with(" [a/b]"), "{long}");
    }

    #[test]
    fn what_a_handle_has_taken_is_seen_also_after_the_handle_is_gone() {
        let (seen, unseen) = (failure("seen").pending(), failure("unseen").pending());
        assert!(seen.is_pending() && !seen.is_seen());
        seen.note_seen();
        seen.note_unseen();
        unseen.note_unseen();
        assert!(seen.is_seen() && !unseen.is_seen() && !unseen.is_pending());
    }
}
