//! What a slot points to: the facts about one live thing, apart from the thing itself (I5).

use crate::{
    clock::Stamp,
    id::ResourceId,
    ledger::handle_log::Ledger,
    name::{Label, Name, label},
    slab::stripe,
    table::numbers::Numbers,
};
use std::{any::Any, mem, panic::Location};

/// Facts of a new record, from its caller.
pub(crate) struct Facts {
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) location: &'static Location<'static>,
}

impl Facts {
    pub(crate) fn new(name: Name, kind: Name, location: &'static Location<'static>) -> Self {
        let (name, kind) = (label(name), label(kind));
        Self {
            name,
            kind,
            location,
        }
    }
}

/// The facts that never change after registration.
#[repr(C)]
pub(crate) struct Meta {
    /// First, because a scan reads it of each entry, and nothing else.
    pub(crate) created: Stamp,
    pub(crate) id: ResourceId,
    /// Orders entries of one thread that the clock cannot tell apart.
    made: u32,
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) location: &'static Location<'static>,
}

impl Meta {
    #[inline(always)]
    pub(crate) fn new(id: ResourceId, facts: Facts) -> Self {
        let Facts {
            name,
            kind,
            location,
        } = facts;
        Self {
            id,
            name,
            kind,
            location,
            created: Stamp::now(),
            made: stripe::next_made(),
        }
    }

    /// New facts in the place of old ones, field by field: to make them elsewhere and move them here takes longer.
    #[inline(always)]
    pub(crate) fn fill(&mut self, of: ResourceId, facts: Facts) {
        let Self {
            id,
            name,
            kind,
            location,
            created,
            made,
        } = self;
        *id = of;
        // Vacant before, and those are literals: there is nothing to drop.
        mem::forget(mem::replace(name, facts.name));
        mem::forget(mem::replace(kind, facts.kind));
        *location = facts.location;
        *created = Stamp::now();
        *made = stripe::next_made();
    }

    /// The facts of nothing. A constant: a new block of the slab has thousands of them.
    pub(crate) const NONE: Self = Self {
        created: Stamp::ZERO,
        id: ResourceId::REFUSED,
        made: 0,
        name: Label::borrowed(""),
        kind: Label::borrowed(""),
        location: Location::caller(),
    };

    /// Drops what is not a literal.
    pub(crate) fn clear(&mut self) {
        self.name = Label::borrowed("");
        self.kind = Label::borrowed("");
    }

    /// What this thread makes from here on is listed after this, also if the clock cannot tell them apart.
    pub(crate) fn precede(&self) {
        stripe::make_after(self.made);
    }

    /// Sorts by creation.
    pub(crate) fn order(&self) -> (Stamp, u32, u32) {
        (self.created, self.made, self.id.index)
    }
}

/// What kind of thing an entry stands for: decides what `untrack` and `clear` may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Context,
    Task,
    Resource,
}

/// How far along something is.
///
/// Contexts go from `Open` through `Closing` to `Closed`, tasks from `Waiting` to `Running`;
/// a resource is `Live` as long as it is listed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, State};
/// let registry = Registry::new();
/// let ctx = registry.context("job");
/// let task = ctx.task("work").cancellable().spawn(std::future::pending::<()>());
/// let state = || registry.live_now().find("work").unwrap().state();
/// assert_eq!((ctx.state(), state()), (State::Open, State::Waiting));
/// tokio::task::yield_now().await;
/// assert_eq!(state(), State::Running);
///
/// ctx.request_close("deploy");
/// assert_eq!(ctx.state(), State::Closing);
/// ctx.closed().await;
/// assert_eq!(ctx.state(), State::Closed);
/// # drop(task);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum State {
    /// A context that accepts tasks and children.
    Open,
    /// A context that refuses new work and waits for what it has.
    Closing,
    /// A context of which nothing is left but handles.
    Closed,
    /// A task that was accepted and not polled yet.
    Waiting,
    /// A task that was polled, or a blocking closure that was started.
    Running,
    /// A task that is to be [started again](crate::supervision) after a pause.
    #[cfg_attr(feature = "serde", serde(rename = "backing off"))]
    BackingOff,
    /// A registered, owned or tracked resource.
    Live,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::BackingOff => "backing off",
            Self::Live => "live",
        })
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its future returned.
    Finished,
    /// It was cancellable, and its context's token was cancelled; or it took longer than its deadline.
    Cancelled,
    /// Its future was dropped before it returned: by hand, or because its owner dropped it.
    Aborted,
    /// The same, because a close ended it by force.
    Forced,
    /// The same, because its runtime ended.
    RuntimeEnded,
    /// It panicked.
    Panicked,
    /// It was the pause between two attempts of a supervised task, which counts as nothing.
    #[cfg(feature = "supervision")]
    Paused,
}

/// What is to be said of something in listings, beside its state. It holds facts alone (I5).
pub(crate) trait Detail: Send + Sync {
    fn text(&self) -> Option<String>;

    /// The same, where that is what a person looks for when the task does not end.
    fn work(&self) -> Option<String> {
        None
    }
}

/// One entry of the table. Records hold facts, never the user's value.
pub(crate) trait Record: Send + Sync {
    fn meta(&self) -> &Meta;
    fn class(&self) -> Class;
    fn state(&self) -> State;
    /// The context it belongs to, if any.
    fn parent(&self) -> Option<&dyn Record>;
    /// Strong handles to the thing itself, where it has any.
    fn strong_count(&self) -> Option<usize> {
        None
    }
    /// What a context has that is not listed by itself.
    fn numbers(&self) -> Numbers {
        Numbers::default()
    }
    /// Who holds those handles, where that is written down.
    fn ledger(&self) -> Option<&Ledger> {
        None
    }
    /// Whether it is to be gone when its context is closed: a value of which that keeps a handle until then, or a registration
    /// that it made.
    fn is_owned(&self) -> bool {
        false
    }
    /// Its context has let go of that handle.
    fn released(&self) {}
    /// Whether it is the registry itself, which is listed nowhere.
    fn is_root(&self) -> bool {
        false
    }
    /// What there is to say beside its state.
    fn detail(&self) -> Option<String> {
        None
    }
    /// Whether its tasks are to be ended by force.
    fn is_aborting(&self) -> bool {
        false
    }
    /// Is told when one of its tasks is gone, as the last thing the task does.
    fn task_left(&self, _outcome: Outcome) {}
    /// Whether there are subscribers to what happens to the tasks of a context.
    fn is_heard(&self) -> bool {
        false
    }
    /// The context that it is, for those who know more of contexts.
    fn as_context(&self) -> Option<&dyn Any> {
        None
    }
}
