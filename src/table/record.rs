//! What a slot points to: the facts about one live thing, apart from the thing itself (I5).

use crate::{clock::Stamp, id::ResourceId, ledger::book::Ledger, name::Label, table::stripe};
use std::{any::Any, panic::Location};

/// Facts of a new record, from its caller.
pub(crate) struct Facts {
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) location: &'static Location<'static>,
}

/// The facts that never change after registration.
pub(crate) struct Meta {
    pub(crate) id: ResourceId,
    pub(crate) name: Label,
    pub(crate) kind: Label,
    pub(crate) location: &'static Location<'static>,
    pub(crate) created: Stamp,
    /// Orders entries of one thread that the clock cannot tell apart.
    made: u32,
}

impl Meta {
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

    /// Writes the facts where they shall be, field by field.
    ///
    /// # Safety
    ///
    /// `place` can be written.
    #[inline(always)]
    #[expect(
        unsafe_code,
        reason = "facts that are moved are moved in pieces that do not fit"
    )]
    pub(crate) unsafe fn init(place: *mut Self, id: ResourceId, facts: Facts) {
        let created = Stamp::now();
        // SAFETY: as demanded; these are all fields.
        unsafe {
            (&raw mut (*place).id).write(id);
            (&raw mut (*place).name).write(facts.name);
            (&raw mut (*place).kind).write(facts.kind);
            (&raw mut (*place).location).write(facts.location);
            (&raw mut (*place).created).write(created);
            (&raw mut (*place).made).write(stripe::next_made());
        }
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
            Self::Live => "live",
        })
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its future returned.
    Finished,
    /// It was cancellable, and its context's token was cancelled.
    Cancelled,
    /// Its future was dropped before it returned.
    Aborted,
    /// It panicked.
    Panicked,
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
    /// Who holds those handles, where that is written down.
    fn ledger(&self) -> Option<&Ledger> {
        None
    }
    /// Whether its context keeps a handle to it until it closes.
    fn is_owned(&self) -> bool {
        false
    }
    /// Whether it is the registry itself, which is listed nowhere.
    fn is_root(&self) -> bool {
        false
    }
    /// Whether its tasks are to be ended by force.
    fn condemns(&self) -> bool {
        false
    }
    /// Is told when one of its tasks is gone, as the last thing the task does.
    fn task_left(&self, _outcome: Outcome) {}
    /// The context that it is, for those who know more of contexts.
    fn as_context(&self) -> Option<&dyn Any> {
        None
    }
}
