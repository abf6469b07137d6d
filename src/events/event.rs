//! [`Event`]: something that happened, as facts.

#[cfg(feature = "sessions")]
use crate::events::session::SessionChange;
use crate::{
    clock::{self, Stamp},
    context::{close_reason::CloseReason, failure::Failure, report::CloseReport},
    error::RefusedReason,
    id::ResourceId,
    name::{Label, Printed, Quoted},
    plural::plural,
    table::record::{Meta, Outcome, Record},
};
use std::{
    fmt,
    panic::Location,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Something that happened in a registry.
///
/// It is a copy of facts: it keeps neither a task, nor a context, nor a value of the program alive (I5).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, events::{TaskOutcome, What}};
/// let registry = Registry::new();
/// let ctx = registry.context("job");
/// let mut events = registry.events();
/// let id = ctx.task("work").spawn(async {}).id();
/// ctx.idle().await;
///
/// let spawned = events.next().await.unwrap().unwrap();
/// assert!(matches!(spawned.what(), What::Spawned));
/// assert_eq!((spawned.id(), spawned.name()), (id, "work"));
/// assert_eq!((spawned.parent(), spawned.kind()), (Some(ctx.id()), "task"));
///
/// let ended = events.next().await.unwrap().unwrap();
/// assert!(matches!(ended.what(), What::Ended(TaskOutcome::Finished)));
/// assert_eq!(ended.seq(), spawned.seq() + 1);
/// # }
/// ```
#[derive(Clone)]
pub struct Event {
    /// Set when it is handed out.
    pub(super) seq: u64,
    at: Stamp,
    id: ResourceId,
    parent: Option<ResourceId>,
    name: Label,
    kind: Label,
    location: &'static Location<'static>,
    what: Kept,
}

/// What happened, as it is kept: an event is copied a few times on its way, and most of them are of tasks.
#[derive(Clone)]
enum Kept {
    OfTask(&'static What),
    Other(Arc<What>),
}

impl Kept {
    #[inline]
    fn of(what: What) -> Self {
        use TaskOutcome::{Aborted, Cancelled, Finished, Forced, Panicked, Paused, RuntimeEnded};
        Self::OfTask(match what {
            What::Spawned => &What::Spawned,
            What::Ended(outcome) => match outcome {
                Finished => &What::Ended(Finished),
                Cancelled => &What::Ended(Cancelled),
                Aborted => &What::Ended(Aborted),
                Forced => &What::Ended(Forced),
                RuntimeEnded => &What::Ended(RuntimeEnded),
                Panicked => &What::Ended(Panicked),
                Paused => &What::Ended(Paused),
            },
            other => return Self::Other(Arc::new(other)),
        })
    }
}

/// What happened.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{CloseReason, Registry, events::What};
/// let registry = Registry::new();
/// let mut events = registry.events();
/// let ctx = registry.context("job");
/// ctx.close_with(CloseReason::from("deploy")).await;
/// drop(ctx);
///
/// let mut said = Vec::new();
/// while let Some(Ok(event)) = events.try_next() {
///     said.push(event.what().name());
/// }
/// assert_eq!(said, ["opened", "closing", "closed", "gone"]);
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// A context was opened. It is listed from here on.
    Opened,
    /// The close of a context, or of the registry, has begun, for this reason.
    Closing(CloseReason),
    /// Its close has ended. The sums of the report are those of its whole life.
    Closed(CloseReport),
    /// A context was closed, and its last handle was dropped: it is not listed any more.
    Gone,
    /// A task was accepted. It is listed from here on.
    Spawned,
    /// A task has ended: its future is dropped, and it is not listed any more.
    Ended(TaskOutcome),
    /// Something went wrong in a task, in a hook or in a destructor: what reports call a failure. The event names the task, or the
    /// context of the hook or of the value.
    Failed(Failure),
    /// A task or a wrapped future was refused and dropped. It has no [id](Event::id) but that of refused tasks.
    Refused(RefusedReason),
    /// A hook of this context has ended. A failure of it comes just before, as [`Failed`](Self::Failed).
    HookEnded {
        /// `on_closing` or `on_close`.
        hook: &'static str,
        /// The line that registered it.
        location: &'static Location<'static>,
    },
    /// A [supervised](crate::Context::task) task pauses before its next attempt: this is the pause, which is listed as a task that
    /// is backing off.
    BackingOff,
    /// A supervised task begins another attempt, or the pause before it.
    Restarting {
        /// The number of the next attempt; the first one is 1.
        attempt: u64,
        /// How long the pause before it is.
        pause: Duration,
    },
    /// Something changed about the session that this context belongs to.
    #[cfg(feature = "sessions")]
    Session(SessionChange),
    /// [`watch_leaks`](crate::Registry::watch_leaks) has found leaks that it had not found before. The event names the registry.
    Leak {
        /// The same for all that are alike, and for the same leak in another run of the program.
        fingerprint: Arc<str>,
        /// How many there are of them.
        count: usize,
        /// The text that the warning event has.
        text: Arc<str>,
    },
    /// Tasks and hooks wait for each other; only with the feature `dump`. The event names the registry.
    Deadlock {
        /// Which.
        members: Arc<[ResourceId]>,
        /// The text that the warning event has.
        text: Arc<str>,
    },
    /// A task held its thread for so long without waiting; only with the feature `dump`.
    LongPoll(Duration),
}

/// How a task ended. These are the sums of [`CloseReport`].
///
/// ```
/// use headcount::events::TaskOutcome;
/// assert_eq!(TaskOutcome::RuntimeEnded.to_string(), "runtime ended");
/// assert!(TaskOutcome::Forced.is_aborted() && TaskOutcome::RuntimeEnded.is_aborted());
/// assert!(!TaskOutcome::Cancelled.is_aborted());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// Its future returned.
    Finished,
    /// It was cancellable, and its context's token was cancelled; or it took longer than its deadline.
    Cancelled,
    /// Its future was dropped before it returned: it was aborted by hand, or its owner dropped it.
    Aborted,
    /// The same, because a close ended it by force.
    Forced,
    /// The same, because its runtime ended.
    RuntimeEnded,
    /// It panicked.
    Panicked,
    /// It was the pause between two attempts of a supervised task, which no sum counts.
    Paused,
}

impl TaskOutcome {
    /// Whether reports count it as [aborted](CloseReport::aborted).
    pub fn is_aborted(self) -> bool {
        matches!(self, Self::Aborted | Self::Forced | Self::RuntimeEnded)
    }

    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Aborted => Self::Aborted,
            Outcome::Forced => Self::Forced,
            Outcome::RuntimeEnded => Self::RuntimeEnded,
            Outcome::Panicked => Self::Panicked,
            #[cfg(feature = "supervision")]
            Outcome::Paused => Self::Paused,
        }
    }

    /// In one word, as metrics and `tracing` events have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Aborted => "aborted",
            Self::Forced => "forced",
            Self::RuntimeEnded => "runtime_ended",
            Self::Panicked => "panicked",
            Self::Paused => "paused",
        }
    }
}

impl fmt::Display for TaskOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RuntimeEnded => "runtime ended",
            other => other.name(),
        })
    }
}

impl Event {
    /// The name and the kind, as they are kept.
    #[cfg(feature = "web")]
    pub(crate) fn labels(&self) -> (&Label, &Label) {
        (&self.name, &self.kind)
    }

    /// Of a thing that is in a table.
    #[inline]
    pub(crate) fn of(thing: &dyn Record, what: What) -> Self {
        let parent = thing.parent().map(|parent| parent.meta().id);
        Self::about(thing.meta(), parent, what)
    }

    #[inline]
    fn about(meta: &Meta, parent: Option<ResourceId>, what: What) -> Self {
        let at = match what {
            What::Spawned | What::Opened => meta.created,
            _ => Stamp::now(),
        };
        Self {
            seq: 0,
            at,
            id: meta.id,
            parent,
            name: meta.name.clone(),
            kind: meta.kind.clone(),
            location: meta.location,
            what: Kept::of(what),
        }
    }

    /// Of the registry itself.
    #[cfg(feature = "dump")]
    #[track_caller]
    pub(crate) fn of_registry(what: What) -> Self {
        let registry = || Label::borrowed("registry");
        Self {
            seq: 0,
            at: Stamp::now(),
            id: ResourceId::REGISTRY,
            parent: None,
            name: registry(),
            kind: registry(),
            location: Location::caller(),
            what: Kept::of(what),
        }
    }

    /// Of a task of this context, or of the registry, that was refused.
    pub(crate) fn refused(
        context: &dyn Record,
        name: &str,
        (location, reason): (&'static Location<'static>, RefusedReason),
    ) -> Self {
        Self {
            seq: 0,
            at: Stamp::now(),
            id: ResourceId::REFUSED,
            parent: (!context.is_root()).then(|| context.meta().id),
            name: crate::name::label(name.to_owned().into()),
            kind: Label::borrowed("task"),
            location,
            what: Kept::of(What::Refused(reason)),
        }
    }

    /// Its number: each event of a registry has the next one. There is a gap where [`Lost`](crate::events::Lost) says so, and one
    /// number is left out whenever there had been no subscriber at all.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When it happened, to a few milliseconds.
    pub fn at(&self) -> SystemTime {
        self.at.wall()
    }

    /// The task, or the context, that it happened to. `#registry` if that is the registry, and `#refused` if it is a task that was
    /// refused.
    pub fn id(&self) -> ResourceId {
        self.id
    }

    /// The context that this belongs to. `None` if that is the registry.
    pub fn parent(&self) -> Option<ResourceId> {
        self.parent
    }

    /// The name of the task or of the context.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Where it was spawned or opened.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// What happened.
    pub fn what(&self) -> &What {
        match &self.what {
            Kept::OfTask(what) => what,
            Kept::Other(what) => what,
        }
    }
}

impl What {
    /// In one word: the field `what` of its JSON, and the message of its `tracing` event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closing(_) => "closing",
            Self::Closed(_) => "closed",
            Self::Gone => "gone",
            Self::Spawned => "spawned",
            Self::Ended(_) => "ended",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::HookEnded { .. } => "hook_ended",
            Self::BackingOff => "backing_off",
            Self::Restarting { .. } => "restarting",
            #[cfg(feature = "sessions")]
            Self::Session(_) => "session",
            Self::Leak { .. } => "leak",
            Self::Deadlock { .. } => "deadlock",
            Self::LongPoll(_) => "long_poll",
        }
    }
}

/// `opened`, `closing (requested: deploy)`, `ended (finished)`
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closing(reason) => write!(f, "closing ({reason})"),
            Self::Closed(report) => {
                let tasks =
                    report.finished() + report.cancelled() + report.aborted() + report.panicked();
                let took = clock::human(report.duration());
                let clean = if report.is_clean() {
                    "clean"
                } else {
                    "not clean"
                };
                write!(
                    f,
                    "closed ({clean}, in {took}, after {})",
                    plural(usize::try_from(tasks).unwrap_or(usize::MAX), "task")
                )
            }
            Self::Ended(outcome) => write!(f, "ended ({outcome})"),
            Self::Failed(failure) => write!(f, "{}", Quoted(&failure.sentence())),
            Self::Refused(reason) => write!(f, "refused ({reason})"),
            Self::HookEnded { hook, location } => {
                let (file, line) = (location.file(), location.line());
                write!(f, "its hook {hook} at {file}:{line} ended")
            }
            Self::BackingOff => f.write_str("backing off"),
            Self::Restarting { attempt, pause } => {
                let pause = clock::human(*pause);
                write!(f, "attempt {attempt} follows in {pause}")
            }
            #[cfg(feature = "sessions")]
            Self::Session(change) => write!(f, "session {change}"),
            Self::Leak { count, text, .. } => write!(f, "{count} leaked: {}", Quoted(text)),
            Self::Deadlock { text, .. } => write!(f, "{}", Quoted(text)),
            Self::LongPoll(took) => {
                write!(f, "ran for {} without waiting", clock::human(*took))
            }
            other => f.write_str(other.name()),
        }
    }
}

/// On one line: `17 #t12 task work: spawned`
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (Printed(&self.kind), Printed(&self.name));
        let (Self { seq, id, .. }, what) = (self, self.what());
        write!(f, "{seq} {id} {kind} {name}: {what}")
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("seq", &self.seq)
            .field("id", &self.id)
            .field("name", &self.name)
            .field("what", self.what())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::{Event, What};
    use serde::ser::{Serialize, SerializeMap, Serializer};

    /// The fields of what happened are beside those of the event.
    impl Serialize for Event {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut out = serializer.serialize_map(None)?;
            out.serialize_entry("seq", &self.seq)?;
            out.serialize_entry("at", &self.at())?;
            out.serialize_entry("id", &self.id)?;
            out.serialize_entry("parent", &self.parent)?;
            out.serialize_entry("name", self.name())?;
            out.serialize_entry("kind", self.kind())?;
            out.serialize_entry("location", &self.location.to_string())?;
            out.serialize_entry("what", self.what().name())?;
            fields(self.what(), &mut out)?;
            out.end()
        }
    }

    fn fields<M: SerializeMap>(what: &What, out: &mut M) -> Result<(), M::Error> {
        match what {
            What::Closing(reason) => out.serialize_entry("reason", reason),
            What::Closed(report) => out.serialize_entry("report", report),
            What::Ended(outcome) => out.serialize_entry("outcome", outcome),
            What::Failed(failure) => out.serialize_entry("failure", failure),
            What::Refused(reason) => out.serialize_entry("reason", &reason.to_string()),
            What::HookEnded { hook, location } => {
                out.serialize_entry("hook", hook)?;
                out.serialize_entry("hook_location", &location.to_string())
            }
            What::Restarting { attempt, pause } => {
                out.serialize_entry("attempt", attempt)?;
                out.serialize_entry("pause_secs", &pause.as_secs_f64())
            }
            #[cfg(feature = "sessions")]
            What::Session(change) => out.serialize_entry("change", change),
            What::Leak {
                fingerprint,
                count,
                text,
            } => {
                out.serialize_entry("fingerprint", fingerprint)?;
                out.serialize_entry("count", count)?;
                out.serialize_entry("text", text)
            }
            What::Deadlock { members, text } => {
                out.serialize_entry("members", members)?;
                out.serialize_entry("text", text)
            }
            What::LongPoll(took) => out.serialize_entry("took_secs", &took.as_secs_f64()),
            What::Opened | What::Gone | What::Spawned | What::BackingOff => Ok(()),
        }
    }
}
